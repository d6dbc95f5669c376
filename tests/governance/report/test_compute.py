"""What trainings used, in words and in sum: only what their statements say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from governance.attest.predicates.monitoring import Cost
from governance.attest.predicates.training import Compute, Train
from governance.policy.data import TrainingRules
from governance.report import compute
from tests.governance.examples import every_kind

MEASURED = {
    "device_hours": 0.5,
    "devices": 2,
    "energy_joules": 1_800_000.0,
    "energy_counters": ["package-0"],
    "energy_not_measured": "",
    "cost": {"currency": "EUR", "millionths": 1_250_000},
}
PARTLY = {**MEASURED, "energy_not_measured": "GPUs: none found"}
OLD = {"device_hours": 0.25, "peak_rss_bytes": 9}


def training(detail: dict[str, Any], device: str = "cpu") -> Train:
    example = every_kind()["train"]
    run = example.run.model_copy(update={"detail": detail})
    return example.model_copy(update={"run": run, "device": device})


@pytest.mark.parametrize(
    ("detail", "parts"),
    [
        (MEASURED, ["0.5 device hours on cpu (2 in use)", "0.5 kWh", "1.2500 EUR"]),
        (PARTLY, ["without GPUs: none found"]),
        (OLD, ["0.25 device hours", "energy not measured"]),
        ({**OLD, "energy_not_measured": "no counter"}, ["energy not measured: no counter"]),
        ({}, ["not recorded"]),
        ({"device_hours": "many"}, ["not recorded"]),
        ({**MEASURED, "energy_joules": -1}, ["not recorded"]),
    ],
)
def test_one_training_in_words(detail: dict[str, Any], parts: list[str]) -> None:
    said = compute.of_training(training(detail))
    assert [part for part in parts if part not in said] == []


def test_the_sum_says_of_how_many_trainings_it_is() -> None:
    trains = [training(MEASURED), training(PARTLY, "cuda"), training(OLD)]
    hours, energy, cost = compute.in_all(trains)
    assert "0.75 on cpu" in hours and "0.5 on cuda" in hours
    assert "1 kWh" in energy and "2 of 3 trainings" in energy and "incomplete in 2" in energy
    assert "2.5000 EUR" in cost and "2 of 3" in cost
    assert [compute.is_measured(train) for train in trains] == [True, False, False]
    assert compute.in_all_energy([training(OLD)]) == "not measured"
    assert compute.in_all([]) == []


def test_a_price_of_policy_gives_the_cost() -> None:
    rules = TrainingRules(currency="EUR", device_hour={"cuda": 2.4})
    assert rules.cost("cuda", 1.5) == Cost(currency="EUR", millionths=3_600_000)
    assert rules.cost("cpu", 1.5) is None
    assert TrainingRules().cost("cuda", 1.5) is None
    with pytest.raises(ValidationError, match="currency"):
        TrainingRules(device_hour={"cuda": 2.4})


def test_what_is_stored_is_read_again() -> None:
    stated = Compute.model_validate(MEASURED)
    stored = {**stated.model_dump(mode="json"), "peak_rss_bytes": 9, "launcher": "torchrun"}
    assert Compute.of(stored) == stated
