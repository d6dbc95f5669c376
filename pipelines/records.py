"""The list of excluded records (`excluded.jsonl` of every data stage), and the counts of what was
kept and excluded. Nothing here prints text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import pyarrow as pa

from governance.attest.predicates import DataCounts
from governance.base.errors import InputError
from pipelines.shards import RecordWriter

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, order=True)
class Excluded:
    """One excluded record and the reason. Never holds record text."""

    id: str | None
    """The record's id, or None if the row never became a record."""
    file: str
    row: int
    """1-based row in the source file."""
    field: str
    reason: str
    """A code of `governance.attest.codes`."""
    detail: str
    """Types, lengths and counts; never record text."""


# --- excluded records ---------------------------------------------------------------------------


def exclusions(table: pa.Table, reasons: Mapping[int, tuple[str, str, str]]) -> list[Excluded]:
    """The excluded records of a table; `reasons` has the (field, reason, detail) of each row."""
    rows = sorted(reasons)
    sources = table.select(["id", "file", "row"]).take(pa.array(rows, pa.int64())).to_pylist()
    return [
        Excluded(**source, field=field, reason=reason, detail=detail)
        for source, (field, reason, detail) in zip(
            sources, [reasons[row] for row in rows], strict=True
        )
    ]


def write_excluded(path: Path, excluded: Sequence[Excluded]) -> None:
    """One JSON object a line, in source order."""
    ordered = sorted(excluded, key=lambda record: astuple(record)[1:5])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in ordered:
            stream.write(json.dumps(asdict(record), sort_keys=True, ensure_ascii=False) + "\n")


def read_excluded(path: Path) -> list[Excluded]:
    """Reads what `write_excluded` wrote. Raises `InputError`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [Excluded(**json.loads(line)) for line in lines if line]
    except (OSError, ValueError, TypeError) as error:
        found = f"not a readable list of excluded records ({type(error).__name__})"
        raise InputError(found, where=str(path)) from None


# --- counts ---------------------------------------------------------------------------------------


def counts_of(records_in: int, written: RecordWriter, excluded: Sequence[Excluded]) -> DataCounts:
    """The figures and Merkle roots of a data stage's statement. in = out + excluded."""
    return DataCounts(
        records_in=records_in,
        records_out=written.splits.total(),
        excluded=dict(sorted(Counter(record.reason for record in excluded).items())),
        splits={name: written.splits[name] for name in SPLITS if name in written.splits},
        records_root=written.records_root(),
        excluded_root=_root(
            f"{record.id or ''} {record.file}:{record.row} {record.reason}" for record in excluded
        ),
        shards=written.shards,
    )


def _root(leaves: Iterable[str]) -> str:
    """RFC 6962 Merkle tree root over the sorted leaves, as UTF-8."""
    from governance.log import merkle

    return merkle.root_of(merkle.leaf_hash(leaf.encode("utf-8")) for leaf in sorted(leaves)).hex()
