"""Limits on the records that a training leaves out or cuts."""

from __future__ import annotations

import pytest

from governance.attest.findings import same_exception
from governance.attest.predicates import RecordUse
from governance.gates.records import record_limits
from governance.policy.data import TrainingRules


def of(dropped: int, truncated: int, **limits: float) -> list[str]:
    """What is found in a training of 100 records, by the words that name the limit."""
    use = RecordUse(
        offered=100, used=100 - dropped, dropped={"NO_ROOM": dropped}, truncated=truncated
    )
    found = record_limits("model sft", {"train": use}, TrainingRules.model_validate(limits))
    return [each.measure for each in found]


def test_who_accepts_that_records_were_cut_has_not_accepted_that_they_were_left_out() -> None:
    use = {"train": RecordUse(offered=100, used=80, dropped={"NO_ROOM": 20}, truncated=20)}
    rules = TrainingRules(max_dropped_share=0.1, max_truncated_share=0.1)
    left_out, cut = record_limits("model sft", use, rules)
    assert left_out.figures == cut.figures
    assert not same_exception(left_out, cut)
    assert left_out.measure != cut.measure


@pytest.mark.parametrize("percent", range(101))
def test_the_share_that_policy_permits_is_permitted(percent: int) -> None:
    """As a product of floats, 0.29 of 100 is a little less than 29."""
    share = float(f"0.{percent:02d}") if percent < 100 else 1.0
    assert of(percent, 0, max_dropped_share=share) == []
    assert of(0, percent, max_truncated_share=share) == []
    if percent < 100:
        assert of(percent + 1, 0, max_dropped_share=share) == ["left out"]
        assert of(0, percent + 1, max_truncated_share=share) == ["cut"]
