"""What policy says of a model's use: limits, the next review, and who answers for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from governance.policy.policies import Policies, load_policies
from governance.policy.rules import Tier
from tests.conftest import ROOT

MODEL = "support-desk"


def policies(model: dict[str, object], tier: dict[str, object]) -> Policies:
    """The shipped policies, with these fields of the model and of its tier."""
    shipped = load_policies(ROOT / "policies")
    rules = shipped.rules
    known = rules.models[MODEL]
    bare = {"limits": [], "review_every": None, "owner": ""}
    models = {MODEL: known.model_copy(update={**bare, **model})}
    tiers = {known.tier: rules.tiers[known.tier].model_copy(update=tier)}
    return replace(shipped, rules=rules.model_copy(update={"models": models, "tiers": tiers}))


@pytest.mark.parametrize(
    ("model", "tier", "months"),
    [
        ({}, {}, None),
        ({}, {"review_every": 12}, 12),
        ({"review_every": 3}, {"review_every": 12}, 3),
    ],
)
def test_a_model_is_reviewed_as_often_as_it_or_its_tier_says(
    model: dict[str, object], tier: dict[str, object], months: int | None
) -> None:
    assert policies(model, tier).review_every(MODEL) == months


@pytest.mark.parametrize(
    ("approved", "months", "due"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), 1, date(2026, 2, 28)),
        (datetime(2027, 12, 31, tzinfo=UTC), 2, date(2028, 2, 29)),
        (datetime(2026, 11, 30, tzinfo=UTC), 1, date(2026, 12, 30)),
        (datetime(2026, 11, 22, tzinfo=UTC), 12, date(2027, 11, 22)),
        (datetime(2026, 11, 22, tzinfo=UTC), 14, date(2028, 1, 22)),
    ],
)
def test_the_next_review_is_so_many_months_after_the_approval(
    approved: datetime, months: int, due: date
) -> None:
    assert policies({"review_every": months}, {}).next_review(MODEL, approved) == due


def test_without_a_rule_there_is_no_next_review() -> None:
    assert policies({}, {}).next_review(MODEL, datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_the_limits_of_a_model_stand_before_those_of_its_tier() -> None:
    found = policies({"limits": ["health advice", "law"]}, {"limits": ["law", "hiring"]})
    assert found.limits_of(MODEL) == ["health advice", "law", "hiring"]
    assert found.limits_of("unknown") == []
    assert policies({"owner": "support team"}, {}).owner_of(MODEL) == "support team"


@pytest.mark.parametrize(
    ("months", "accepted"),
    [(0, False), (1, True), (120, True), (121, False), ("6", False), (6.0, False), (True, False)],
)
def test_a_review_period_is_a_whole_number_of_months(months: object, accepted: bool) -> None:
    shipped = load_policies(ROOT / "policies").rules.tiers["limited"]
    fields = {**shipped.model_dump(mode="json"), "review_every": months}
    if accepted:
        assert Tier.model_validate(fields).review_every == months
    else:
        with pytest.raises(ValidationError, match="review_every"):
            Tier.model_validate(fields)
