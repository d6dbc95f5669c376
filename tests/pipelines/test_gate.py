"""The gate as a stage, and its enforcing form in front of a training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest.predicates import Artifact
from governance.attest.requests import GateRequest
from governance.base.errors import ConfigError, RefusedError
from governance.base.progress import Progress
from governance.gates.decisions import decide_release
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.machine.machine import open_log
from pipelines import paths
from pipelines.harness import run_stage
from pipelines.project import open_project
from pipelines.stages import gate
from pipelines.training import objective
from tests.kept import share
from tests.pipelines import gated
from tests.pipelines.jobs import NOW
from tests.simulator import digest, in_memory, model, ready

ROOT = Path(__file__).parent.parent.parent
OTHER = digest("something else")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    gated.files(tmp_path)
    return tmp_path


def test_an_allowed_stage_writes_what_was_decided_on(root: Path) -> None:
    made = gated.gating(root)
    outcome = gate.run(made)
    assert outcome.refused == ()
    answer = json.loads(made.output("gate").read_text(encoding="utf-8"))
    assert answer["allowed"] is True and answer["stage"] == "grpo"
    assert answer["decided_on"]["data"] == ready("tickets")
    assert answer["decided_on"]["scorer"] == model("reward")
    assert answer["decided_on"]["objective"] == objective.resolve(made.params, "grpo").digest
    assert set(answer["decided_on"]) == {
        "data",
        "parent",
        "scorer",
        "objective",
        "reward/route_exact",
        "reward/model",
    }
    assert (
        GateRequest.model_validate(outcome.parameters).decided_on == outcome.predicate["decided_on"]
    )
    assert {one.sha256 for one in outcome.subjects} == set(answer["decided_on"].values())
    assert not {one.name for one in outcome.subjects} & {one.name for one in made.inputs.values()}


def test_the_answer_does_not_move_with_policy_or_time(root: Path) -> None:
    """So that a decision made again trains nothing anew."""
    first = gated.gating(root)
    gate.run(first)
    before = first.output("gate").read_bytes()
    plan = gated.planned(gated.params())
    plan.policy(digest=OTHER)
    plan.tier(approvals=3)
    later = replace(gated.gating(root, plan), now=lambda: NOW.replace(hour=23))
    outcome = gate.run(later)
    assert later.output("gate").read_bytes() == before
    assert outcome.predicate["at"] == "2026-11-20T23:00:00.000Z"


def test_a_refusal_leaves_a_readable_report(root: Path) -> None:
    plan = gated.planned(gated.params())
    plan.card("tickets", steward="", licence="CC-BY-NC-4.0")
    outcome = gate.run(gated.gating(root, plan))
    assert [finding.code for finding in outcome.refused] == [
        "DATACARD_INCOMPLETE",
        "LICENCE_NOT_PERMITTED",
    ]
    assert outcome.predicate["allowed"] is False
    text = (root / paths.gate_report("grpo")).read_text(encoding="utf-8")
    assert text.startswith("# gate@grpo: refused, 2 finding(s)")
    for finding in outcome.refused:
        assert finding.code in text and finding.next in text
    assert "blank: steward" in text and "policies/datacards/tickets.yaml" in text


def test_only_what_is_used_is_asked_for() -> None:
    roles = {item.role for item in gate.inputs(gated.params(), "dpo")}
    assert roles == {"data", "suite", "parent", "parent_scores", "parent_suite"}
    assert {"scorer", "scorer_scores", "scorer_suite"} <= {
        item.role for item in gate.inputs(gated.params(), "grpo")
    }


def test_training_may_start_behind_its_gate(root: Path) -> None:
    assert gate.enforce_gate(gated.training(root)).allowed


def _other(role: str) -> Artifact:
    return Artifact(role=role, name=f"somewhere/{role}", sha256=OTHER)


@pytest.mark.parametrize(
    ("role", "code"),
    [
        ("data", "EVIDENCE_MISSING"),
        ("parent", "EVIDENCE_MISSING"),
        ("scorer", "EVIDENCE_MISSING"),
        ("gate", "EVIDENCE_INCONSISTENT"),
    ],
)
def test_training_refuses_other_bytes(root: Path, role: str, code: str) -> None:
    training = gated.training(root)
    changed = replace(training, inputs={**training.inputs, role: _other(role)})
    with pytest.raises(RefusedError, match=code):
        gate.enforce_gate(changed)


def test_training_refuses_a_gate_that_is_not_in_the_log(root: Path) -> None:
    """`dvc repro --single-item train@grpo` on a machine whose log never saw the decision."""
    with pytest.raises(RefusedError, match="GATE_MISSING"):
        gate.enforce_gate(gated.training(root, recorded=False))


def test_training_decides_again(root: Path) -> None:
    """The gate allowed it; since then the policy has changed."""
    training = gated.training(root)
    stricter = gated.planned(gated.params())
    stricter.rules(rewards=[])
    with pytest.raises(RefusedError, match="REWARD_NOT_PERMITTED"):
        gate.enforce_gate(replace(training, policies=stricter.policies))


def test_another_objective_needs_another_decision(root: Path) -> None:
    training = gated.training(root)
    stages = {
        **training.params.stages,
        "grpo": training.params.stages["grpo"].model_copy(update={"seed": 7}),
    }
    changed = training.params.model_copy(update={"stages": stages})
    with pytest.raises(RefusedError, match="EVIDENCE_INCONSISTENT"):
        gate.enforce_gate(replace(training, params=changed))


def test_a_mistake_in_the_row_is_told_before_anything_is_decided(root: Path) -> None:
    made = gated.gating(root)
    stages = {
        **made.params.stages,
        "grpo": made.params.stages["grpo"].model_copy(update={"trainer": {"lerning_rate": 1}}),
    }
    with pytest.raises(ConfigError, match="learning_rate"):
        gate.run(replace(made, params=made.params.model_copy(update={"stages": stages})))


def test_a_release_is_asked_about_the_released_stage(root: Path) -> None:
    params = gated.params()
    world = in_memory(gated.planned(params))
    request = gate.release_request(params, root, "support-desk", digest=model("grpo"))
    assert (
        request.released.name == "grpo"
        and request.model == "support-desk"
        and request.alias == "candidate"
    )
    assert decide_release(request, world.policies, world.evidence, world.at, authority=None).allowed


@pytest.mark.slow
def test_a_cold_log_is_told_in_full_and_the_refusal_is_recorded(tmp_path: Path) -> None:
    """Files are there, as from a colleague's cache; the log here knows nothing of them."""
    root = tmp_path / "project"
    shutil.copytree(ROOT / "policies", root / "policies")
    for name in ("params.yaml", "countersign.lock"):
        shutil.copy(ROOT / name, root / name)
    share(tmp_path / "home")
    project = open_project(
        root, {"COUNTERSIGN_HOME": str(tmp_path / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    )
    for item in gate.inputs(project.params, "dpo"):
        path = root / item.path
        path = path / "config.json" if item.path.name == "model" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    for suite in project.params.suites:
        records = root / paths.scanned(suite) / paths.RECORDS
        records.parent.mkdir(parents=True, exist_ok=True)
        records.write_text("{}", encoding="utf-8")
    with pytest.raises(RefusedError) as caught:
        run_stage("gate", "dpo", project, lambda: NOW, Progress())
    text = str(caught.value)
    assert (
        "countersign repro --force ingest@desk_pref scan_pii@desk_pref check_quality@desk_pref"
        in text
    )
    assert "countersign repro --force gate@sft train@sft" in text
    assert not (root / paths.gate("dpo")).exists()
    assert "EVIDENCE_MISSING" in (root / paths.gate_report("dpo")).read_text(encoding="utf-8")
    log = open_log(project.machine, project.policies, lambda: NOW)
    (refusal,) = log_evidence(log, key_ring(log, project.policies.keys)).all("gate")
    assert refusal.predicate.allowed is False and refusal.predicate.stage == "gate@dpo"
    assert {finding.code for finding in refusal.predicate.findings} == {"EVIDENCE_MISSING"}
