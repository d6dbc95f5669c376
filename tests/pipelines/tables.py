"""Small tables of records for tests of what works on records."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.kinds import KINDS
from pipelines.records import KIND_KEY

Turn = tuple[str, str]


def said(*turns: Turn | str) -> list[dict[str, str]]:
    """Messages from (role, content); a bare text is the user's, then the assistant's, in turn."""
    roles = ("user", "assistant")
    pairs = [(roles[at % 2], turn) if isinstance(turn, str) else turn for at, turn in enumerate(turns)]
    return [{"role": role, "content": content} for role, content in pairs]


def answer(text: str) -> list[dict[str, str]]:
    """One message of the assistant."""
    return [{"role": "assistant", "content": text}]


def table(kind: str, *rows: dict[str, Any]) -> pa.Table:
    """Records of a kind; id, split, file and row are made up where a row does not give them."""
    common = [{"id": f"{at:032x}", "split": "train", "file": "a.jsonl", "row": at + 1} for at in range(len(rows))]
    schema = KINDS[kind].schema.with_metadata({KIND_KEY: kind.encode()})
    return pa.Table.from_pylist([{**one, **row} for one, row in zip(common, rows, strict=True)], schema=schema)


def conversations(*turns: list[dict[str, str]], **more: Any) -> pa.Table:
    """Conversations of the given messages."""
    return table("conversation", *({"messages": messages, **more} for messages in turns))
