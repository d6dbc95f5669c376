"""A model is probed for its training data before it is released, through the real graph."""

from __future__ import annotations

from typing import Any

import pytest

from governance.attest.predicates import LeakProbe, Registration
from tests.project import Project

ROW = "sft_leaks"
PLANTED = {"count": 4, "repetitions": 3}
LIMITS = {"required_of": ["support-desk"], "exposure": 6.5, "canaries": 4, "auc": 0.9}


def _add_row(params: dict[str, Any]) -> None:
    params["datasets"]["desk_sft"]["splits"] = {"train": 0.7, "validation": 0, "test": 0.3}
    for stage in ("base", "sft"):
        params["stages"][stage]["canaries"] = {**PLANTED}
    row = {"data": "desk_sft", "candidates": 127}
    params["leak_probes"] = {
        "base_leaks": {"model": "base", "parent": "tiny", **row},
        ROW: {"model": "sft", "parent": "base", **row},
    }


def _limit(policy: dict[str, Any]) -> None:
    policy["leaks"] = {**LIMITS, "records": 20}


@pytest.mark.nightly
def test_registration_comes_after_the_probe_and_names_it(
    before_registering: Project, tmp_path: Any
) -> None:
    project = before_registering.copy(tmp_path)
    project.edit("params.yaml", _add_row)
    project.edit("policies/evaluation.yaml", _limit)
    project.commit("a leak probe")
    project.made("register")
    probes = {item.predicate.trained: item for item in project.evidence("leak_probe")}
    assert {*probes} == {"base", "sft"}
    trained = [item for item in project.evidence("train") if item.predicate.canaries]
    stated = {item.predicate.stage: item.predicate.canaries for item in trained}
    for stage, item in probes.items():
        probe: LeakProbe = item.predicate
        assert probe.canaries and probe.membership
        assert probe.canaries.planted == stated[f"train@{stage}"]
        assert probe.referenced == (stage == "sft")
    (registered,) = project.evidence("registration")
    registration: Registration = registered.predicate
    assert probes["sft"].index < registered.index
    assert {item.digest for item in probes.values()} <= {one.sha256 for one in registration.chain}
