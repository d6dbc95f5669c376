"""Small tables of records for tests of what works on records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines import samples
from pipelines.kinds import KINDS
from pipelines.params import Params
from pipelines.record_ids import load_key
from pipelines.shards import KIND_KEY, SHARD_RECORDS, RecordWriter, read_records
from pipelines.sources.ingest import ingest
from tests.conftest import ROOT

Turn = tuple[str, str]


def said(*turns: Turn | str) -> list[dict[str, str]]:
    """Messages from (role, content); a bare text is the user's, then the assistant's, in turn."""
    roles = ("user", "assistant")
    pairs = [
        (roles[at % 2], turn) if isinstance(turn, str) else turn for at, turn in enumerate(turns)
    ]
    return [{"role": role, "content": content} for role, content in pairs]


def answer(text: str) -> list[dict[str, str]]:
    """One message of the assistant."""
    return [{"role": "assistant", "content": text}]


def table(kind: str, *rows: dict[str, Any]) -> pa.Table:
    """Records of a kind; id, split, file and row are made up where a row does not give them."""
    common = [
        {"id": f"{at:032x}", "split": "train", "file": "a.jsonl", "row": at + 1}
        for at in range(len(rows))
    ]
    schema = KINDS[kind].schema.with_metadata({KIND_KEY: kind.encode()})
    return pa.Table.from_pylist(
        [{**one, **row} for one, row in zip(common, rows, strict=True)], schema=schema
    )


def conversations(*turns: list[dict[str, str]], **more: Any) -> pa.Table:
    """Conversations of the given messages."""
    return table("conversation", *({"messages": messages, **more} for messages in turns))


def write_records(folder: Path, records: pa.Table, kind: str, most: int = SHARD_RECORDS) -> None:
    """Writes a table as a dataset with at most so many records in a shard."""
    with RecordWriter(folder, kind) as writer:
        for start in range(0, records.num_rows, most):
            writer.add_shard(records.slice(start, most))


def contents_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ingested(params: Params, name: str, tmp_path: Path) -> pa.Table:
    """A sample dataset as ingest leaves it."""
    source, target = tmp_path / f"{name}.jsonl", tmp_path / name
    part = params.samples[name]
    source.write_text(
        "\n".join(samples.lines(part.part, part.n, part.seed)) + "\n", encoding="utf-8"
    )
    ingest(source, params.datasets[name], load_key(ROOT, params.records), target)
    return read_records(target)
