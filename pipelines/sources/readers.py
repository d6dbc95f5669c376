"""Reads rows from JSONL, JSON, CSV and Parquet files, and names every problem by file, row and
field.

1. A file that is unreadable as a whole or cut off is an `InputError`.
2. An unreadable row is a `Row` with a problem; the rows after it are still read.
3. JSONL, CSV and Parquet are streamed. A JSON document is held in memory as text, its rows are not.
4. Problems give types, sizes and positions, never text of the row.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from governance.base.errors import ConfigError, InputError

MAX_ROW = 16 << 20
"""Largest row in characters; a longer row is left out."""

MANY_DIGITS = 9
"""A field name with this many digits may be a number of a person: a card, an account, a
telephone.
"""

BOMS = {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\x1f\x8b": "gzip",
    b"PK": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""First bytes of file formats that people rename to .jsonl."""


TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    str: "text",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
}


class RowProblem(Exception):
    """One row cannot become a record. `reason` is a finding code; `detail` never holds text of the
    row.
    """

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.field, self.detail = reason, field, detail


@dataclass(frozen=True)
class Row:
    """One row of a source file."""

    row: int
    """1-based: the line in JSONL and CSV, the position in JSON arrays and Parquet."""
    value: dict[str, Any]
    problem: RowProblem | None = None


def source_files(source: Path) -> list[tuple[str, Path]]:
    """(name, path) of a file, or of every data file in a folder, in the order of their names."""
    if source.is_file():
        _reader(source)
        return [(source.name, source)]
    if not source.is_dir():
        raise InputError("no such file or folder", where=str(source))
    found = [
        path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in READERS
    ]
    if not found:
        raise InputError(
            "no data file in this folder", where=str(source), expected=", ".join(READERS)
        )
    return sorted((path.relative_to(source).as_posix(), path) for path in found)


def read_rows(path: Path, encoding: str = "utf-8") -> Iterator[Row]:
    """The rows of a file, by its suffix. Raises `InputError` where the file as a whole is not
    readable.
    """
    try:
        yield from _reader(path)(path, encoding)
    except UnicodeError as error:
        raise InputError(
            f"not text in {encoding} ({type(error).__name__})",
            where=str(path),
            fix="set `encoding` of the dataset",
        ) from None
    except LookupError:
        where = "params.yaml: datasets"
        raise ConfigError(
            f"no encoding {encoding!r}", where=where, expected="e.g. utf-8, cp1252"
        ) from None
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None


def plain_name(name: object) -> str:
    """A field name that is safe in a report: field names can hold personal data, and so can their
    digests.
    """
    plain = isinstance(name, str) and re.fullmatch(r"[\w .:/\[\]-]{1,64}", name)
    return str(name) if plain and sum(map(str.isdigit, str(name))) < MANY_DIGITS else "(odd name)"


def type_name(value: object) -> str:
    """The type of a value, in JSON's words."""
    return TYPE_NAMES.get(type(value), type(value).__name__)


def _reader(path: Path) -> Callable[[Path, str], Iterator[Row]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        found = f"no reader for {path.suffix or 'a name without suffix'}"
        raise InputError(found, where=str(path), expected=", ".join(READERS))
    return reader


def _open(path: Path, encoding: str, newline: str) -> TextIO:
    """Opens text. Bytes that are not `encoding` become lone surrogates, which rows are checked
    for.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    for mark, what in BOMS.items():
        if head.startswith(mark) and not encoding.lower().startswith(what):
            known = "set `encoding: utf-16` of the dataset (countersign add: --encoding utf-16)"
            fix = known if what == "utf-16" else "unpack the file first"
            raise InputError(
                f"this is {what}", where=str(path), expected=f"{encoding} text", fix=fix
            )
    if b"\0" in head and encoding.lower().startswith(("utf-8", "utf8")):
        fix = "set `encoding` of the dataset if it is text, e.g. utf-16-le"
        raise InputError(
            "this is not text: it has zero bytes",
            where=str(path),
            expected=f"{encoding} text",
            fix=fix,
        )
    chosen = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    return path.open(encoding=chosen, errors="surrogateescape", newline=newline)


def _check_encoding(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        detail = f"character {error.start + 1} is not valid in the file's encoding"
        raise RowProblem("ROW_ENCODING", "", detail) from None


# --- JSON -----------------------------------------------------------------------------------------


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise RowProblem("KEY_REPEATED", plain_name(doubled), "an object has the same key twice")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
_LENIENT = json.JSONDecoder()


def _decode(text: str) -> dict[str, Any]:
    """A row of JSON. Raises `RowProblem`."""
    _check_encoding(text)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise RowProblem("ROW_UNREADABLE", "", "nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RowProblem("ROW_UNREADABLE", "", f"not valid JSON at column {error.colno}") from None
    except ValueError:
        raise RowProblem("ROW_UNREADABLE", "", "a number with too many digits") from None
    return _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowProblem("ROW_NOT_OBJECT", "", f"found {type_name(value)}, expected an object")
    return value


def _jsonl(path: Path, encoding: str) -> Iterator[Row]:
    with _open(path, encoding, "\n") as stream:
        number = 0
        while line := stream.readline(MAX_ROW):
            number += 1
            if len(line) == MAX_ROW and not line.endswith("\n"):
                size = len(line) + _skip_line(stream)
                yield Row(
                    number,
                    {},
                    RowProblem("ROW_TOO_LONG", "", f"{size} characters, at most {MAX_ROW}"),
                )
            elif line.strip():
                yield _jsonl_row(path, number, line)


def _skip_line(stream: TextIO) -> int:
    """Skips to the end of the line; returns the number of characters."""
    size = 0
    while part := stream.readline(MAX_ROW):
        size += len(part)
        if part.endswith("\n"):
            break
    return size


def _jsonl_row(path: Path, number: int, line: str) -> Row:
    try:
        return Row(number, _decode(line))
    except RowProblem as problem:
        if problem.reason == "ROW_UNREADABLE" and not line.endswith("\n"):
            raise InputError(
                "the file ends in the middle of a row: it was cut off",
                where=f"{path}:{number}",
                expected="one whole JSON object a line",
                fix="copy the file again, or remove the last line",
            ) from None
        return Row(number, {}, problem)


def _json(path: Path, encoding: str) -> Iterator[Row]:
    """Rows of an array of objects, of an object with one list of them, or of JSONL under another
    name.
    """
    with _open(path, encoding, "\n") as stream:
        text = stream.read()
    try:
        _check_encoding(text)
    except RowProblem as problem:
        raise InputError(
            problem.detail, where=str(path), fix="set `encoding` of the dataset"
        ) from None
    start = _space(text, 0)
    if text[start : start + 1] == "[":
        yield from _array(path, text, start)
        return
    value, end = _whole(path, text, start)
    if _space(text, end) < len(text):
        yield from _jsonl(path, encoding)
        return
    lists = (
        [value[name] for name in value if isinstance(value[name], list)]
        if isinstance(value, dict)
        else []
    )
    chosen = (
        value.get("data")
        if isinstance(value, dict) and isinstance(value.get("data"), list)
        else None
    )
    if chosen is None and len(lists) != 1:
        raise InputError(
            f"a JSON {type_name(value)} with {len(lists)} lists",
            where=str(path),
            expected='a list of objects, an object with one such list, or {"data": [...]}',
        )
    for row, one in enumerate(lists[0] if chosen is None else chosen, start=1):
        yield _array_row(row, one)


def _array(path: Path, text: str, start: int) -> Iterator[Row]:
    """The elements of the array at `start`, decoded one by one."""
    at, row = _space(text, start + 1), 0
    if text[at : at + 1] == "]":
        return
    while True:
        row += 1
        try:
            value, end = _DECODER.raw_decode(text, at)
            yield _array_row(row, value)
        except RowProblem as problem:
            _, end = _whole(path, text, at)
            yield Row(row, {}, problem)
        except (ValueError, RecursionError):
            _, end = _whole(path, text, at)
        at = _space(text, end)
        if text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ",":
            cut = at >= len(text)
            raise InputError(
                (
                    "the file ends in the middle of the list: it was cut off"
                    if cut
                    else "no comma between two rows"
                ),
                where=f"{path}:{_line(text, at)}",
                expected="valid JSON",
                fix="copy or correct the file",
            )
        at = _space(text, at + 1)


def _array_row(row: int, value: Any) -> Row:
    try:
        return Row(row, _object(value))
    except RowProblem as problem:
        return Row(row, {}, problem)


def _whole(path: Path, text: str, at: int) -> tuple[Any, int]:
    """The JSON value at `at` and where it ends. Raises `InputError`."""
    try:
        return _LENIENT.raw_decode(text, at)
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - 1
        end = "; the file ends there: it was cut off" if cut else ""
        raise InputError(
            f"not valid JSON at column {error.colno}{end}",
            where=f"{path}:{error.lineno}",
            expected="valid JSON",
            fix="copy or correct the file",
        ) from None
    except (RecursionError, ValueError):
        where = f"{path}:{_line(text, at)}"
        raise InputError(
            "nested too deeply, or a number with too many digits", where=where
        ) from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


_SPACE = re.compile(r"[ \t\r\n]*")


def _space(text: str, at: int) -> int:
    """The first position from `at` on that is not JSON white space."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


# --- CSV ------------------------------------------------------------------------------------------


def _csv(path: Path, encoding: str) -> Iterator[Row]:
    """Rows below a header; commas, semicolons or tabs. Quoted fields may have line breaks."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _open(path, encoding, "") as stream:
        first = stream.readline(MAX_ROW)
        delimiter = max(",;\t", key=first.count)
        stream.seek(0)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = _header(path, next(reader, []))
            number = reader.line_num + 1
            for values in reader:
                if values:
                    yield _csv_row(number, header, values)
                number = reader.line_num + 1
        except csv.Error as error:
            cut = (
                "the file ends inside quotes: it was cut off"
                if "unexpected end" in str(error)
                else str(error)
            )
            where = f"{path}:{reader.line_num}"
            raise InputError(cut, where=where, expected="CSV with quotes that are closed") from None


def _header(path: Path, names: list[str]) -> list[str]:
    stripped = [name.strip() for name in names]
    if not any(stripped):
        raise InputError("no header line", where=f"{path}:1", expected="the names of the columns")
    doubled = sorted({plain_name(name) for name in stripped if stripped.count(name) > 1})
    if doubled:
        raise InputError(f"column named twice: {', '.join(doubled)}", where=f"{path}:1")
    return stripped


def _csv_row(number: int, header: list[str], values: list[str]) -> Row:
    try:
        if len(values) != len(header):
            raise RowProblem(
                "ROW_UNREADABLE", "", f"{len(values)} fields, the header has {len(header)}"
            )
        if sum(map(len, values)) > MAX_ROW:
            raise RowProblem(
                "ROW_TOO_LONG", "", f"{sum(map(len, values))} characters, at most {MAX_ROW}"
            )
        for value in values:
            _check_encoding(value)
        return Row(number, dict(zip(header, values, strict=True)))
    except RowProblem as problem:
        return Row(number, {}, problem)


# --- Parquet --------------------------------------------------------------------------------------


def _parquet(path: Path, encoding: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise InputError("a column is named twice", where=str(path))
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    row += 1
                    yield Row(row, value)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"not a readable Parquet file ({type(error).__name__})",
            where=str(path),
            fix="copy the file again",
        ) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnicodeError):
            raise
        raise InputError(
            f"a value that Python cannot hold ({type(error).__name__})",
            where=f"{path}:{row + 1}",
            expected="dates from year 1 to 9999, and objects whose fields have names of their own",
            fix="write the file again without that column",
        ) from None


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
"""Suffix to reader."""
