"""Which records of a dataset a probe compares: some that were trained on, and some of the same
dataset that were held out.

A record's split follows from its id, an HMAC. So both are random samples of one source, and differ
in nothing but the training. Records of another source could differ in topic or date, and a probe
would measure that (Duan et al. 2024, arXiv:2402.07841).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.kinds import TOOLS
from pipelines.params import Stage

Row = dict[str, Any]


class Texts(NamedTuple):
    """A record as the texts whose probabilities are compared."""

    id: str
    prompt: list[Row]
    answer: list[Row]
    other: list[Row]
    """The answer that is not to be given; empty in kinds that have none."""
    tools: str | None


def held_out_splits(stage: Stage) -> tuple[str, ...]:
    """The splits that a stage did not learn from: where its model was selected or stopped by the
    validation split, only the other one.
    """
    used = stage.select is not None or (stage.stop is not None and stage.stop.suite is not None)
    return ("test",) if used else ("validation", "test")


def sample(records: Path, splits: Collection[str], limit: int) -> list[Texts]:
    """The first `limit` records of some splits by id, of those that have an answer. One shard is in
    memory at a time.
    """
    import pyarrow.compute as pc

    from pipelines.shards import open_records

    stored, kept = open_records(records), list[Row]()
    for table in stored.tables():
        chosen = table.filter(pc.is_in(table["split"], value_set=_values(splits)))
        kept += chosen.sort_by("id").slice(0, 2 * limit).to_pylist()
        kept = sorted(kept, key=lambda row: str(row["id"]))[: 2 * limit]
    texts = (texts_of(stored.kind, row) for row in kept)
    return [each for each in texts if each is not None][:limit]


def _values(splits: Collection[str]) -> Any:
    import pyarrow as pa

    return pa.array(sorted(splits), pa.string())


def texts_of(kind: str, row: Row) -> Texts | None:
    """A record as texts; None where it has no answer that the model was to give.

    Of a conversation, the last answer counts, after all before it.
    """
    prompt, answer, other = _parts(kind, row)
    if not any(message["content"] for message in answer):
        return None
    return Texts(str(row["id"]), prompt, answer, other, row.get(TOOLS))


def _parts(kind: str, row: Row) -> tuple[list[Row], list[Row], list[Row]]:
    if kind == "preference":
        return row["prompt"], row["chosen"], row["rejected"]
    if kind == "unpaired":
        return row["prompt"], row["completion"] if row["label"] else [], []
    if kind == "prompt":
        answer = row["answer"]
        return row["prompt"], [{"role": "assistant", "content": answer}] if answer else [], []
    messages = row["messages"]
    last = max((at for at, one in enumerate(messages) if one["role"] == "assistant"), default=-1)
    return (messages[:last], [messages[last]], []) if last >= 0 else ([], [], [])
