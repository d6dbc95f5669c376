"""Items, folders and votes for the tests of labelling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_bytes
from pipelines.labelling import sample, tasks
from pipelines.labelling.sample import Item
from pipelines.labelling.tasks import Compared, Folder, SampleRecord
from pipelines.record_ids import Key

KEY = Key("0" * 16, b"a key of the tests")


def items(count: int) -> list[Item]:
    """Items whose scores differ by their number, in two slices."""
    return [
        Item(
            id=f"{at:032x}",
            prompt=f"question {at}",
            answers=(f"one {at}", f"two {at}"),
            scores=(0.0, at / count),
            slices={"team": "low" if at < count // 2 else "high"},
        )
        for at in range(count)
    ]


def exported(folder: Path, count: int = 6, key: Key = KEY) -> Folder:
    """A folder for raters, as it is read again."""
    drawn = sample.draw(items(count), "random", count, 1)
    content = tasks.tasks_bytes(tasks.tasks_of(drawn.items, key))
    record = SampleRecord(
        rule="random", seed=1, metric="m", asked=count, population=drawn.population,
        population_sha256=drawn.population_sha256, identical=0, suite="s", how="greedy",
        models=(compared("a"), compared("b")), key_id=key.key_id, items=count,
        tasks_sha256=sha256_bytes(content),
    )  # fmt: skip
    tasks.write(folder, content, record, None)
    return tasks.read(folder)


def compared(name: str) -> Compared:
    return Compared(name=name, sha256="1" * 64, answers="2" * 64, entry=3)


def label_studio(folder: Path, chosen: Sequence[str], rater: Any = 7) -> list[dict[str, Any]]:
    """What Label Studio exports (JSON), with a choice for each task."""
    rows: list[dict[str, Any]] = json.loads((folder / tasks.TASKS).read_text(encoding="utf-8"))
    for row, choice in zip(rows, chosen, strict=True):
        result = {
            "id": "x", "type": "choices", "from_name": "better", "to_name": "prompt",
            "value": {"choices": [choice]},
        }  # fmt: skip
        row["annotations"] = [
            {
                "id": 1, "completed_by": rater, "lead_time": 12.5, "was_cancelled": False,
                "created_at": "2026-11-25T10:00:00Z", "result": [result],
            }
        ]  # fmt: skip
    return rows
