"""Deletes the files that hold erased records. Each step can be repeated: a killed run goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from governance.base.errors import InputError
from governance.base.storage import write_atomic
from pipelines.erasing.places import DELETED, Held, Places

LINES = (".jsonl", ".ndjson")
"""Sources whose rows are lines."""


def object_ids(held: Iterable[Held], places: Places) -> set[str]:
    """DVC's ids of these files: of an object of its cache by its path, else of the bytes."""
    return {
        each.path.parent.name + each.path.name if each.place == "cache" else _md5(each.path)
        for each in held
        if (each.path.is_file() and each.path.is_relative_to(places.root)) or each.place == "cache"
    }


def delete(held: Iterable[Held], places: Places) -> None:
    """Deletes what may be deleted, and all unfinished work. DVC makes deleted outputs again."""
    for each in held:
        if each.place in DELETED:
            each.path.unlink(missing_ok=True)
    for folder in places.whole():
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.suffix != ".lock":
                entry.unlink(missing_ok=True)


def rewrite(path: Path, rows: Collection[int]) -> None:
    """Takes rows (1-based) out of a source. Raises `InputError` for a form whose rows are not
    written back.
    """
    if path.suffix.lower() in LINES:
        lines = path.read_bytes().split(b"\n")
        kept = [line for number, line in enumerate(lines, start=1) if number not in rows]
        write_atomic(path, b"\n".join(kept))
    elif path.suffix.lower() == ".parquet":
        table = pq.read_table(path)
        mask = pa.array([number not in rows for number in range(1, table.num_rows + 1)])
        beside = path.with_name(f".{path.name}.part")
        try:
            pq.write_table(table.filter(mask), beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    else:
        found = f"rows are not taken out of a {path.suffix or 'nameless'} file"
        fix = "take them out yourself, then run this again without --rewrite-sources"
        raise InputError(found, where=str(path), expected=", ".join((*LINES, ".parquet")), fix=fix)


def rewritable(path: Path) -> bool:
    """Whether `rewrite` knows its form."""
    return path.suffix.lower() in (*LINES, ".parquet")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
