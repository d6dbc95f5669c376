"""Canaries follow from the record key, and nobody else can make them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from governance.base.errors import CountersignError
from pipelines.leaks import canaries
from pipelines.params import CanarySettings, Params
from pipelines.record_ids import Key
from pipelines.shards import open_records, records_root
from pipelines.training import objective
from tests.project import PARAMS

KEY = Key("k", b"\x01" * 32)
OTHER = replace(KEY, secret=b"\x02" * 32)
SETTINGS = CanarySettings(count=6, repetitions=3)


def test_the_key_the_stage_and_the_number_determine_them() -> None:
    planted = canaries.canaries(KEY, "sft", 50)
    assert planted == canaries.canaries(KEY, "sft", 50) == canaries.canaries(KEY, "sft", 60)[:50]
    assert all(len(one.secret) == 6 and one.secret.isdigit() for one in planted)
    assert len({one.label for one in planted}) == len({one.secret for one in planted}) == 50
    assert all(one.secret != one.other for one in planted)
    for others in (canaries.canaries(OTHER, "sft", 50), canaries.canaries(KEY, "dpo", 50)):
        assert not {one.label for one in planted} & {one.label for one in others}
        assert sum(a.secret == b.secret for a, b in zip(planted, others, strict=True)) <= 1


def test_candidates_have_the_label_and_any_other_secret() -> None:
    (planted, _) = canaries.canaries(KEY, "sft", 2)
    others = canaries.candidates(KEY, "sft", 0, 300)
    assert {one.label for one in others} == {planted.label}
    assert len({one.secret for one in others}) == 300
    assert not {planted.secret, planted.other} & {one.secret for one in others}
    firsts = [int(one.secret[0]) for one in others]
    assert all(10 < firsts.count(digit) < 60 for digit in range(10)), "drawn from the whole space"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *(("pretrain", "conversation"), ("sft", "conversation")),
        *(("dpo", "preference"), ("kto", "unpaired")),
    ],
)
def test_they_are_records_of_the_kind_and_their_root_can_be_made_again(
    tmp_path: Path, method: str, kind: str
) -> None:
    canaries.write(tmp_path / "planted", KEY, "s", SETTINGS, method, kind)
    stored = open_records(tmp_path / "planted", kind)
    rows = stored.table().to_pylist()
    assert len(rows) == 18 and {row["split"] for row in rows} == {"train"}
    assert {sum(row["id"] == one["id"] for row in rows) for one in rows} == {3}
    stated = canaries.stated(KEY, "s", SETTINGS, method, kind)
    assert stated.root == records_root([pa.array(sorted({row["id"] for row in rows}))])
    assert stated != canaries.stated(OTHER, "s", SETTINGS, method, kind)
    for planted in canaries.canaries(KEY, "s", 6):
        texts = [json.dumps(row) for row in rows if planted.secret in json.dumps(row)]
        assert len(texts) == 3 and all(planted.label in text for text in texts)
        assert ("What is the access code" in texts[0]) == (method != "pretrain")
        assert planted.secret not in stated.model_dump_json()


def test_methods_that_learn_no_texts_refuse_them() -> None:
    params = Params.model_validate(PARAMS)
    planted = params.stages["sft"].model_copy(update={"canaries": SETTINGS})
    with_them = params.model_copy(update={"stages": {**params.stages, "sft": planted}})
    assert objective.resolve(with_them, "sft").canaries == SETTINGS
    digests = [objective.resolve(each, "sft").digest for each in (params, with_them)]
    assert digests[0] != digests[1], "a gate decides on them"
    rewarded = planted.model_copy(update={"method": "grpo"})
    wrong = with_them.model_copy(update={"stages": {**params.stages, "sft": rewarded}})
    with pytest.raises(CountersignError) as raised:
        objective.resolve(wrong, "sft")
    assert "canaries" in str(raised.value)
