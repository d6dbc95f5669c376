"""Members and held-out records are samples by record id, whatever the shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.leaks.sampling import held_out_splits, sample, texts_of
from pipelines.params import Stage
from tests.pipelines.tables import answer, said, table, write_records

SPLITS = ("train", "validation", "test")


def test_the_first_by_id_of_the_splits_in_any_shards(tmp_path: Path) -> None:
    rows = [
        {"id": f"{(7 * at) % 31:032x}", "split": SPLITS[at % 3], "messages": said("q", f"a{at}")}
        for at in range(30)
    ]
    samples = []
    for most in (30, 4):
        write_records(tmp_path / str(most), table("conversation", *rows), "conversation", most)
        samples.append(sample(tmp_path / str(most), ("validation", "test"), 8))
    assert samples[0] == samples[1] and len(samples[0]) == 8
    wanted = sorted(row["id"] for row in rows if row["split"] != "train")[:8]
    assert [one.id for one in samples[0]] == wanted


ASKED, OTHER = said("q"), answer("worse")


@pytest.mark.parametrize(
    ("kind", "row", "parts"),
    [
        ("conversation", {"messages": said("q", "a", "r", "b")}, (said("q", "a", "r"), "b", [])),
        ("conversation", {"messages": answer("text")}, ([], "text", [])),
        ("conversation", {"messages": said("q")}, None),
        (
            "preference",
            {"prompt": ASKED, "chosen": answer("a"), "rejected": OTHER},
            (ASKED, "a", OTHER),
        ),
        ("unpaired", {"prompt": ASKED, "completion": answer("a"), "label": True}, (ASKED, "a", [])),
        ("unpaired", {"prompt": ASKED, "completion": answer("a"), "label": False}, None),
        ("prompt", {"prompt": ASKED, "answer": "a"}, (ASKED, "a", [])),
        ("prompt", {"prompt": ASKED, "answer": None}, None),
    ],
)
def test_what_the_model_was_to_give(kind: str, row: dict[str, Any], parts: Any) -> None:
    texts = texts_of(kind, {"id": "1", **row})
    if parts is None:
        assert texts is None
        return
    assert texts is not None
    prompt, text, other = parts
    assert (texts.prompt, texts.answer, texts.other) == (prompt, answer(text), other)


def test_a_split_that_chose_the_model_is_not_held_out() -> None:
    common = {"method": "sft", "data": "d", "parent": "b", "scorer": "b", "suite": "e"}
    assert held_out_splits(Stage.model_validate(common)) == ("validation", "test")
    assert held_out_splits(Stage.model_validate({**common, "select": {"every": 5}})) == ("test",)
    stop = {"suite": {"metric": "greedy_exact", "every": 5, "above": 0.9}}
    assert held_out_splits(Stage.model_validate({**common, "stop": stop})) == ("test",)
