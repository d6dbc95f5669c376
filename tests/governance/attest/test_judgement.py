"""A judgement whose counts cannot all be true is no evidence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from governance.attest.predicates import Judgement
from tests.governance.examples import every_kind


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample", 18),
        ("sample", 41),
        ("findings", 39),
        ("findings", 41),
        ("entities", {"PERSON": {"findings": 40, "correct": 40, "false_alarm": 1}}),
    ],
)
def test_impossible_counts_are_refused(field: str, value: object) -> None:
    """The example: 40 findings, 20 drawn, 17 correct, 2 false alarms."""
    good = every_kind()["judgement"].model_dump(mode="json")
    assert Judgement.model_validate(good)
    with pytest.raises(ValidationError, match=r"judged|findings"):
        Judgement.model_validate({**good, field: value})
