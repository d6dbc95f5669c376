"""What waits for whom, and that it no longer does once it is done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.attest.codes import NEVER_WAIVED
from governance.attest.predicates import Artifact
from governance.attest.requests import DataRef, GateRequest, SuiteRef
from governance.base.time import instant
from governance.gates.decisions import decide_gate
from governance.history.state import state
from governance.policy.policies import Policies, load_policies
from tests.governance.governed import Governed, authorize, empty, governed
from tests.governance.people.desk import NAME, WHY, Desk, desk
from tests.governance.story import MODEL, digest, tell

YES = "--yes"
OTHER = "bank-desk"


def waits(d: Desk, who: str = "", **only: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = d.must(who, "pending", "--json").json["pending"]
    return [one for one in found if all(one[key] == value for key, value in only.items())]


@pytest.mark.slow
def test_a_release_from_the_first_review_to_the_second_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = desk(tmp_path, governed(tmp_path), monkeypatch)
    (wait,) = waits(d)
    assert (wait["kind"], wait["why"], wait["people"]) == (
        "packet",
        "it has no packet yet",
        ["ada", "ben", "cleo"],
    )
    d.reads("ada", "ben")
    d.must("ada", "approve", NAME, WHY, YES)
    assert waits(d, "ada") == []
    assert waits(d, "ben")[0]["next"] == f"countersign review {NAME}"
    d.must("ben", "approve", NAME, WHY, YES)
    (wait,) = waits(d)
    assert (wait["kind"], wait["people"]) == ("promote", ["cleo"])
    d.scene.request()
    assert waits(d) == []
    d.scene.consume()
    assert waits(d) == []


@pytest.mark.slow
def test_a_rollback_alone_waits_for_a_second_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = governed(tmp_path)
    scene.released()
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.released("2")
    d = desk(tmp_path, scene, monkeypatch)
    (registered,) = [
        one
        for one in state(scene.story.log).evidence.all("registration")
        if one.predicate.version == "1"
    ]
    scene.request(action="rollback", model_digest=registered.predicate.model_digest)
    assert [one["kind"] for one in waits(d)] == ["rollback"]
    scene.request(
        action="rollback", break_glass=True, model_digest=registered.predicate.model_digest
    )
    moved = scene.consume()
    assert [one["kind"] for one in waits(d)] == ["second signature"], (
        "what was overtaken, and version 2, wait no more"
    )
    assert moved.action == "rollback" and moved.second_signature_by is not None
    (wait,) = waits(d, kind="second signature")
    assert "cleo did it alone" in wait["why"] and "cleo" not in wait["people"]
    assert waits(d, "cleo", kind="second signature") == []
    command = wait["next"].split()[1:]
    assert "somebody else has to sign" in d.refused("cleo", *command, WHY, YES)
    d.now = scene.now + timedelta(hours=100)
    assert "OVERDUE" in waits(d, kind="second signature")[0]["why"]
    d.now = None
    d.must("ben", *command, "--role", "risk", WHY, YES)
    assert waits(d, kind="second signature") == []


def test_what_trains_a_model_of_a_high_tier_waits_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = _high(tmp_path)
    _gate(scene)
    d = desk(tmp_path, scene, monkeypatch)
    found = waits(d, "ada", kind="before training")
    assert {one["next"] for one in found} == {
        "countersign approve data desk_sft",
        "countersign approve objective sft",
    }
    assert waits(d, "dora") == []
    shown = d.must("ada", "approve", "data", "desk_sft", WHY, "--dry-run")
    assert (
        "personal data: found" in shown.out
        and "records in" in shown.out
        and "datacard:" in shown.out
    )
    assert "may not say this" in d.refused(
        "cleo", "approve", "data", "desk_sft", "--role", "release-manager", WHY, YES
    )
    d.must("ada", "approve", "data", "desk_sft", WHY, YES)
    assert {one["what"] for one in waits(d, kind="before training")} == {
        f"objective sft of {MODEL}"
    }
    assert "forged text" not in shown.out
    read = d.must("ben", "approve", digest("objective sft")[:12], WHY, YES)
    assert "\nobjective sft\n" in read.out
    assert waits(d, kind="before training") == []
    assert "APPROVAL_MISSING" not in _gate(scene)
    d.must("ben", "reject", "data", "desk_sft", "--reason", "a complaint came in", YES)
    assert "APPROVAL_MISSING" in _gate(scene)


def test_a_gate_s_finding_is_waived_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = _high(tmp_path)
    codes = sorted(_gate(scene) - NEVER_WAIVED)
    assert codes, "the tier demands something that a waiver passes"
    d = desk(tmp_path, scene, monkeypatch)
    how = (
        "--control",
        "looked at by hand",
        "--owner",
        "ben",
        "--days",
        "5",
        "--reason",
        "known",
        YES,
    )
    for code in codes:
        d.must("ben", "waive", "gate@sft", "--finding", code, *how)
    assert not _gate(scene) & set(codes)
    assert "no decision of 'gate@nonsense'" in d.refused(
        "ben", "waive", "gate@nonsense", "--finding", codes[0], *how, code=3
    )


def test_a_stage_of_two_models_waits_for_both_and_is_waived_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = _high(
        tmp_path, models=f"  {OTHER}: {{tier: high, purpose: customer-support, region: EU}}\n"
    )
    codes = _gate(scene, OTHER) - NEVER_WAIVED
    code = sorted(codes - {"APPROVAL_MISSING"})[0]
    d = desk(tmp_path, scene, monkeypatch)
    data = {one["what"] for one in waits(d, "ada", kind="before training") if "data" in one["what"]}
    assert data == {f"data desk_sft of {MODEL}", f"data desk_sft of {OTHER}"}
    d.must("ada", "approve", "data", "desk_sft", WHY, YES)
    assert not [one for one in waits(d, kind="before training") if "data" in one["what"]]
    terms = ("--control", "looked at", "--owner", "ben", "--days", "5", "--reason", "known", YES)
    words = ("waive", "gate@sft", "--finding", code, *terms)
    assert f"decides for {MODEL}, {OTHER}" in d.refused("ben", *words, code=2)
    assert "decides for" in d.refused("ben", *words, "--model", "nobody", code=2)
    d.must("ben", *words, "--model", MODEL)
    assert code in _gate(scene, OTHER), "a waiver for one of them excuses nothing for the other"
    assert code not in _gate(scene)
    _gate(scene, OTHER)
    d.must("ben", *words, "--model", OTHER)
    assert code not in _gate(scene, OTHER)


def _high(folder: Path, models: str = "") -> Governed:
    """The same policy, the model in tier high."""
    scene = empty(folder, models=models)
    path = scene.story.root / "policies" / "policy.yaml"
    text = path.read_text().replace("    tier: limited\n", "    tier: high\n")
    path.write_text(text)
    authorize(scene)
    scene.story.policies = _enacted(scene)
    story = scene.story
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    return scene


def _enacted(scene: Governed) -> Policies:
    made = load_policies(scene.story.root / "policies")
    scene.propose(made)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", made.digest, "policy")
    assert state(scene.story.log).authority.in_force.digest == made.digest
    return made


def _gate(scene: Governed, *also: str) -> set[str]:
    """gate@sft decided as the pipeline does, and recorded; the codes of its findings."""
    story, now = scene.story, state(scene.story.log)
    suite = SuiteRef(
        name="desk_eval", digest=story.suite, records=story.records["desk_eval"], split="test"
    )
    request = GateRequest(
        model=MODEL, also=[*also], stage="sft", method="sft", kind="conversation",
        data=DataRef(dataset="desk_sft", sha256=story.records["desk_sft"]), suite=suite,
        parent=story.reference("tiny"), scorer=None, objective=digest("objective sft"), rewards={},
    )  # fmt: skip
    decision = decide_gate(
        request, story.policies, now.evidence, scene.now, authority=now.authority
    )
    story.record(
        "gate",
        "gate@sft",
        [Artifact(role="decided_on/data", name="x", sha256=story.records["desk_sft"])],
        [],
        allowed=decision.allowed,
        method="sft",
        tier=decision.tier,
        decided_on=decision.decided_on,
        findings=list(decision.findings),
        at=instant(decision.at),
        parameters=request.model_dump(mode="json"),
        run=story.run(
            {
                "texts": {
                    digest("objective sft"): "objective sft",
                    story.records["desk_sft"]: "forged text",
                }
            }
        ),
    )
    return {one.code for one in decision.findings}


def test_runs_in_somebody_s_name_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = empty(tmp_path)
    authorize(scene, hours=1)
    tell(scene.story)
    d = desk(tmp_path, scene, monkeypatch)
    d.must("dora", "authorize", "--hours", "2", YES)
    d.must("eve", "authorize", "--hours", "2", YES)  # no run is in her name: nobody waits for her
    assert waits(d, kind="authorization") == []
    d.now = d.scene.now + timedelta(hours=3)
    (wait,) = waits(d, "dora", kind="authorization")
    assert wait["why"] == "the authorization ended"


def test_somebody_else_s_list_needs_no_key_and_a_name_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = desk(tmp_path, governed(tmp_path), monkeypatch)
    assert d.must("", "pending", "--as", "ben", "--json").json["person"] == "ben"
    assert "no person or service 'zoe'" in d.refused("", "pending", "--as", "zoe", code=2)
    assert "nothing waits for eve" in d.must("eve", "pending").out
    assert "who   ada, ben, cleo" in d.must("", "pending").out


def test_an_open_incident_waits_for_those_who_may_close_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = desk(tmp_path, governed(tmp_path), monkeypatch)
    d.scene.incident("1", "open")
    (wait,) = waits(d, kind="incident")
    assert "ada" in wait["people"] and NAME in wait["what"]
    assert wait["next"].startswith(f"countersign incident close {NAME}")
    d.scene.incident("1", "closed")
    assert waits(d, kind="incident") == []
