"""Looks for planted values in whatever was written: every file of a folder, and what is inside it.

A value is found as it is, in upper or lower case, in UTF-16, in base64 at each of its three
alignments, in hexadecimal; in names of files; in compressed data, archives, git objects, Parquet
files and SQLite databases, whose pages keep what was deleted.
"""

from __future__ import annotations

import base64
import gzip
import io
import os
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

DEPTH = 4
"""Containers in containers that are opened."""


class Searcher:
    """Says which values stand somewhere. Values are ASCII and unlike anything else."""

    def __init__(self, values: Iterable[str]) -> None:
        self._forms = {form: value for value in values for form in _forms(value)}
        self._plain = re.compile(b"|".join(map(re.escape, sorted(self._forms))))

    def in_bytes(self, data: bytes, depth: int = DEPTH) -> set[str]:
        """The values that these bytes hold."""
        found = {self._forms[match] for match in self._plain.findall(data)}
        found |= {self._forms[match] for match in self._plain.findall(data.lower())}
        if depth:
            for inner in _inside(data):
                found |= self.in_bytes(inner, depth - 1)
        return found

    def in_folder(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Each file that holds a value, or whose name does, with the value."""
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                path = Path(place) / name
                found = self.in_bytes(os.fsencode(name), 0)
                if path.is_file() and not path.is_symlink():
                    found |= self.in_bytes(path.read_bytes())
                yield from ((path, value) for value in sorted(found))


def _forms(value: str) -> Iterator[bytes]:
    plain = value.encode("ascii")
    for form in {plain, plain.lower(), plain.upper()}:
        yield form
        yield form.hex().encode()
        yield from (form.decode().encode(wide) for wide in ("utf-16-le", "utf-16-be"))
        for shift in range(3):  # the first and the last letters depend on what is beside the value
            whole = base64.b64encode(bytes(shift) + form)
            start = -(-shift * 8 // 6)
            yield whole[start : (shift + len(form)) * 8 // 6]


def _inside(data: bytes) -> Iterator[bytes]:
    """What a container holds; nothing for other data."""
    with suppress(
        OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException, sqlite3.Error
    ):
        if data.startswith(b"\x1f\x8b"):
            yield gzip.decompress(data)
        elif data[:1] == b"\x78" and len(data) > 2:
            yield zlib.decompress(data)
        elif data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    yield name.encode()
                    yield archive.read(name)
        elif data.startswith(b"PAR1"):
            file = pq.ParquetFile(io.BytesIO(data))
            yield repr((file.schema_arrow, file.schema_arrow.metadata)).encode()
            for batch in file.iter_batches(1000):
                yield repr(batch.to_pylist()).encode("utf-8", "surrogatepass")
        elif data.startswith(b"SQLite format 3"):
            yield from _cells(data)
        elif data.startswith(b"PACK"):
            yield from _packed(data)


def _cells(data: bytes) -> Iterator[bytes]:
    """The cells of every table: a long one is spread over pages of the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "copy.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            connection.text_factory = bytes
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in tables.fetchall():
                query = f'SELECT * FROM "{name.decode()}"'
                for row in connection.execute(query):
                    yield from (cell for cell in row if isinstance(cell, bytes))


def _packed(data: bytes) -> Iterator[bytes]:
    """The objects of a git pack that are whole; differences to others are read as they are."""
    for start in (match.start() for match in re.finditer(rb"\x78[\x01\x9c\xda]", data)):
        with suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[start:])
