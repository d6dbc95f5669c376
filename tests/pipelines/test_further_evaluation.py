"""A model is evaluated on a suite beside its own before it is released, through the real graph."""

from __future__ import annotations

from typing import Any

import pytest

from governance.attest.predicates import Registration
from tests.project import Project

ROW = "sft_again"


@pytest.fixture(scope="module")
def evaluated(before_registering: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with a further suite on the records of its training set, which policy
    requires.
    """
    project = before_registering.copy(tmp_path_factory.mktemp("further"))
    project.edit("params.yaml", _add_row)
    project.edit("policies/evaluation.yaml", _require)
    project.commit("a further suite")
    return project


def _add_row(params: dict[str, Any]) -> None:
    params["suites"]["desk_sft"] = {"metrics": ["loss"], "split": "train", "limit": 60}
    params["evaluations"] = {ROW: {"model": "sft", "suite": "desk_sft"}}


def _require(policy: dict[str, Any]) -> None:
    why = "only what is released is scored on it"
    policy["suites"]["desk_sft"] = {
        "role": "language modelling",
        "required_of": ["support-desk"],
        "methods": {
            **{method: {"none": why} for method in ("base", "pretrain")},
            "sft": {"thresholds": {"loss": {"at_most": 50.0}}},
        },
    }


@pytest.mark.nightly
@pytest.mark.slow
def test_registration_comes_after_the_further_evaluation_and_names_its_suite(
    evaluated: Project,
) -> None:
    evaluated.made("register")
    (scored,) = [
        item
        for item in evaluated.evidence("evaluate")
        if item.predicate.stage == f"evaluate_further@{ROW}"
    ]
    (registered,) = evaluated.evidence("registration")
    registration: Registration = registered.predicate
    assert scored.index < registered.index
    assert scored.predicate.suite_name == "desk_sft" and scored.predicate.scores["loss"]
    (further,) = registration.further
    assert (further.row, further.name, further.digest) == (ROW, "desk_sft", scored.predicate.suite)
    assert scored.digest in {link.sha256 for link in registration.chain}
    kept = {each.path for each in registration.dvc.objects} if registration.dvc else set()
    assert {f"evaluations/sft/{ROW}/scores.jsonl", "data/suites/desk_sft.json"} <= kept
    shown = [name for name, _ in evaluated.runs() if name == f"evaluate_further@{ROW}"]
    assert shown, "MLflow has a run of it"
