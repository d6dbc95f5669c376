"""A small table of each kind of record."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.kinds import KINDS


def said(*contents: str) -> list[dict[str, str]]:
    """Messages of the user and the assistant in turn."""
    return [
        {"role": "user" if at % 2 == 0 else "assistant", "content": text}
        for at, text in enumerate(contents)
    ]


def common(at: int) -> dict[str, Any]:
    """The columns that every kind has."""
    return {
        "id": f"{at:032x}",
        "split": "test" if at % 3 == 0 else "train",
        "file": "a.jsonl",
        "row": at + 1,
    }


CONTENT: dict[str, Any] = {
    "conversation": {"messages": said("Hi", "Hello", "")},
    "preference": {"prompt": said("Q"), "chosen": said("good"), "rejected": said("bad", "worse")},
    "unpaired": {"prompt": said("Q"), "completion": said("A"), "label": True},
    "prompt": {"prompt": said("Q"), "answer": "42"},
    "rated": {
        "prompt": said("Q"),
        "completions": [said("a", "b"), [], said("c")],
        "ratings": [{"rater": "r", "value": 1.0}],
    },
}


def table(kind: str, n: int = 5) -> pa.Table:
    """`n` records of a kind with the same content."""
    return pa.Table.from_pylist(
        [{**common(at), **CONTENT[kind]} for at in range(n)], schema=KINDS[kind].schema
    )
