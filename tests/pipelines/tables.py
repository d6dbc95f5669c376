"""Small tables of records for tests of what works on records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines import samples
from pipelines.kinds import KINDS
from pipelines.params import Params
from pipelines.record_ids import load_key
from pipelines.records import KIND_KEY, read_records
from pipelines.stages import ingest
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


def ingested(params: Params, name: str, tmp_path: Path) -> pa.Table:
    """A sample dataset as ingest leaves it."""
    source, target = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.parquet"
    part = params.samples[name]
    source.write_text(
        "\n".join(samples.lines(part.part, part.n, part.seed)) + "\n", encoding="utf-8"
    )
    ingest.ingest(source, params.datasets[name], load_key(ROOT, params.records), target)
    return read_records(target)
