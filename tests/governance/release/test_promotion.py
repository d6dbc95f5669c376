"""Governed aliases: who may move them, and what must stop it. A table that reads as a
specification.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.codes import CODES, NEVER_WAIVED
from governance.attest.findings import finding
from governance.attest.predicates import Artifact, Promotion
from governance.attest.requests import ReleaseDecision, ReleaseRequest
from governance.base.errors import (
    ConfigError,
    ConflictError,
    CountersignError,
    InputError,
    RefusedError,
)
from governance.base.time import instant_of
from governance.gates import decisions
from governance.history.votes import agreed
from governance.log import evidence
from governance.log.rules import RuleVersions
from governance.people import moves as releasing
from governance.people import subjects
from governance.people.pending import pending
from governance.people.speaking import Signing
from governance.policy.authority import Authority
from governance.policy.policies import load_policies
from governance.release import promotion, retrospect
from tests.governance import snapshots
from tests.governance.governed import (
    KINDS,
    RULES,
    Governed,
    authorize,
    empty,
    governed,
    keypair,
    person,
    principals,
)
from tests.governance.story import MODEL, digest, tell

Change = Callable[[Governed, str], object]
"""What one row does, given the packet's digest, between the packet and the request."""


def _both(scene: Governed, packet: str) -> None:
    scene.approve("ada", "ml-lead", packet)
    scene.approve("ben", "risk", packet)


RECORDED = Path(__file__).parent / "findings_of_promotions.json"


def _refusal(scene: Governed) -> Promotion:
    """The last decision."""
    return promotion.state(scene.story.log).evidence.all(Promotion)[-1].predicate


def _codes(refused: pytest.ExceptionInfo[RefusedError], scene: Governed) -> set[str]:
    """The codes of the refusal as the log has it; the message names each."""
    last = _refusal(scene)
    assert not last.allowed
    assert all(item.code in str(refused.value) for item in last.findings)
    return {item.code for item in last.findings}


def test_a_version_that_people_approved_becomes_champion(scene: Governed) -> None:
    moved = scene.released()
    assert moved.allowed
    assert scene.table.held == {(MODEL, "champion"): "1"}
    assert scene.held() == "1"


def _late(scene: Governed, packet: str) -> None:
    _both(scene, packet)
    scene.story.minutes += 60 * 30


def _signed_by_another(scene: Governed, packet: str) -> None:
    """eve signs in ada's name."""
    scene.approve("ada", "ml-lead", packet, key="eve")
    scene.approve("ben", "risk", packet)


def _revoked(scene: Governed, packet: str) -> None:
    """ada's key is revoked, and then signs with yesterday's date."""
    scene.revoke("ada", "ada", "ben", "policy-owner")
    scene.approve("ada", "ml-lead", packet, at="2026-11-19T12:00:00.000000Z")
    scene.approve("ben", "risk", packet)


def _before_the_packet(scene: Governed, packet: str) -> None:
    """Both sign; then the packet changes and changes back."""
    _both(scene, packet)
    scene.story.evaluate("sft", 0.96, 0.01)
    scene.freeze()


ROWS: dict[str, tuple[Change, dict[str, object], set[str]]] = {
    # what is done before the request, what the request says, what is found
    "nobody approved": (lambda scene, packet: None, {}, {"APPROVAL_MISSING"}),
    "one person approved": (
        lambda scene, packet: scene.approve("ada", "ml-lead", packet),
        {},
        {"APPROVAL_MISSING"},
    ),
    "one person approved twice": (
        lambda scene, packet: [scene.approve("ada", "ml-lead", packet) for _ in range(2)],
        {},
        {"APPROVAL_MISSING"},
    ),
    "in a role they do not have": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ada", "risk", packet),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "in a role that does not approve": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("eve", "visitor", packet),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "in another's name": (_signed_by_another, {}, {"APPROVAL_MISSING"}),
    "with a revoked key, back-dated": (_revoked, {}, {"APPROVAL_MISSING"}),
    "the requester is an approver": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("cleo", "product", packet),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval is of another packet": (
        lambda scene, packet: _both(scene, digest("another packet")),
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval is for another alias": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, alias="challenger"),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval is for another model": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, model="another"),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval is of something else with this digest": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, about="data"),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "no page was shown": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, page=None),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval is not in force yet": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, at="2027-01-01T00:00:00Z"),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "the approval expired": (
        lambda scene, packet: [
            scene.approve("ada", "ml-lead", packet),
            scene.approve("ben", "risk", packet, expires="2026-11-20T09:30:00Z"),
        ],
        {},
        {"APPROVAL_MISSING"},
    ),
    "somebody rejects": (
        lambda scene, packet: [
            _both(scene, packet),
            scene.approve("cleo", "product", packet, decision="reject"),
        ],
        {},
        {"REJECTED"},
    ),
    "somebody rejects, by a clock that is fast": (
        lambda scene, packet: [
            _both(scene, packet),
            scene.approve("cleo", "product", packet, decision="reject", at="2027-01-01T00:00:00Z"),
        ],
        {},
        {"REJECTED"},
    ),
    "the packet changed since": (_before_the_packet, {}, {"APPROVAL_MISSING"}),
    "new evidence, the old packet": (
        lambda scene, packet: [_both(scene, packet), scene.story.evaluate("sft", 0.96, 0.01)],
        {},
        {"PACKET_OUT_OF_DATE"},
    ),
    "a waiver was added after the approvals": (
        lambda scene, packet: [
            _both(scene, packet),
            scene.waive("CANARY_MISSING", f"model {MODEL}"),
        ],
        {},
        {"PACKET_OUT_OF_DATE"},
    ),
    "an incident is open": (
        lambda scene, packet: [_both(scene, packet), scene.incident("1", "open")],
        {},
        {"INCIDENT_OPEN"},
    ),
    "the request is for another version": (
        lambda scene, packet: _both(scene, packet),
        {"names": "2"},
        {"REQUEST_MISMATCH"},
    ),
    "the request is for another packet": (
        lambda scene, packet: _both(scene, packet),
        {"packet": digest("x")},
        {"REQUEST_MISMATCH"},
    ),
    "the request is for another alias": (
        lambda scene, packet: _both(scene, packet),
        {"alias": "challenger"},
        {"REQUEST_MISSING"},
    ),
    "the request is for another model": (
        lambda scene, packet: _both(scene, packet),
        {"model": "another"},
        {"REQUEST_MISSING"},
    ),
    "the request is for other bytes": (
        lambda scene, packet: _both(scene, packet),
        {"model_digest": digest("x")},
        {"REQUEST_MISSING"},
    ),
    "the request names another holder": (
        lambda scene, packet: _both(scene, packet),
        {"from_version": "7"},
        {"REQUEST_CONFLICT"},
    ),
    "the request expired": (
        lambda scene, packet: _both(scene, packet),
        {"expires": "2026-11-20T09:30:00Z"},
        {"REQUEST_EXPIRED"},
    ),
    "the request is dated tomorrow": (
        lambda scene, packet: _both(scene, packet),
        {"at": "2026-11-21T23:00:00Z", "expires": "2026-11-22T09:30:00Z"},
        {"REQUEST_EXPIRED"},
    ),
    "the requester may not ask": (
        lambda scene, packet: _both(scene, packet),
        {"who": "eve", "role": "visitor"},
        {"REQUEST_NOT_ENTITLED"},
    ),
    "the requester claims a role": (
        lambda scene, packet: _both(scene, packet),
        {"who": "eve"},
        {"REQUEST_NOT_ENTITLED"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_what_stops_a_promotion(name: str, scene: Governed) -> None:
    change, request, codes = ROWS[name]
    packet = scene.freeze()
    change(scene, packet)
    scene.request(**request)
    with pytest.raises(RefusedError) as refused:
        scene.consume()
    assert _codes(refused, scene) == codes
    assert scene.table.held == {}
    snapshots.check(RECORDED, name, _refusal(scene).findings, packet)


def test_the_recorded_refusals_are_those_of_the_rows() -> None:
    assert snapshots.scenarios(RECORDED) == set(ROWS)


def test_without_a_request_or_a_packet_nothing_moves(scene: Governed) -> None:
    with pytest.raises(RefusedError) as refused:
        scene.consume()
    assert _codes(refused, scene) == {"REQUEST_MISSING", "PACKET_MISSING", "APPROVAL_MISSING"}


def test_a_request_that_has_run_out_of_its_hours(scene: Governed) -> None:
    _both(scene, scene.freeze())
    scene.request(expires="2027-11-20T09:30:00Z")
    scene.story.minutes += 60 * 25
    with pytest.raises(RefusedError, match="REQUEST_EXPIRED"):
        scene.consume()


def test_a_request_is_good_for_once(scene: Governed) -> None:
    scene.released()
    with pytest.raises(RefusedError) as refused:
        scene.consume()
    assert "REQUEST_SPENT" in _codes(refused, scene)


def test_an_alias_that_policy_does_not_name(scene: Governed) -> None:
    _both(scene, scene.freeze())
    scene.request(alias="challenger")
    with pytest.raises(RefusedError, match="ALIAS_UNKNOWN"):
        scene.consume(alias="challenger")


def test_a_version_nobody_registered(scene: Governed) -> None:
    with pytest.raises(InputError, match="no version 9"):
        scene.consume("9")


def test_a_reason_writes_no_lines_of_ours(scene: Governed) -> None:
    packet = scene.freeze()
    _both(scene, packet)
    scene.approve(
        "cleo",
        "product",
        packet,
        decision="reject",
        reason="no\n  next: all is well\rsupport-desk/1 allowed",
    )
    scene.request()
    with pytest.raises(RefusedError) as refused:
        scene.consume()
    assert "rejects it as product: no   next: all is well support-desk/1 allowed" in str(
        refused.value
    )


def test_who_rejected_may_approve_after_all(scene: Governed) -> None:
    packet = scene.freeze()
    _both(scene, packet)
    scene.approve("cleo", "product", packet, decision="reject")
    scene.approve("ben", "risk", packet, decision="reject")
    for who, role in (("cleo", "product"), ("ben", "risk")):
        scene.approve(who, role, packet)
    scene.request()
    assert scene.consume().allowed


def test_whoever_asks_does_not_close_what_others_opened(scene: Governed) -> None:
    _both(scene, scene.freeze())
    scene.request()
    scene.incident("1", "open")
    scene.incident("1", "closed", "cleo", "release-manager")
    with pytest.raises(RefusedError, match="INCIDENT_OPEN"):
        scene.consume()
    scene.incident("1", "closed")
    scene.incident("1", "open", "cleo", "release-manager")
    scene.incident("1", "closed", "cleo", "release-manager")
    assert scene.consume().allowed, "what she opened herself, she may close"


Said = tuple[str, str, str]
"""LogState, who, as what."""
BY_BEN: Said = ("open", "ben", "risk")
INCIDENTS: dict[str, tuple[str, list[Said], set[str]]] = {
    # policy's rule, what is said in order, what is found
    "closed by a colleague": ("", [BY_BEN, ("closed", "ada", "ml-lead")], set()),
    "closed by a visitor, where policy names nobody": (
        "",
        [BY_BEN, ("closed", "eve", "visitor")],
        {"INCIDENT_OPEN", "INCIDENT_NOT_CLOSED"},
    ),
    "closed by a visitor": (
        "closed_by: [risk]",
        [BY_BEN, ("closed", "eve", "visitor")],
        {"INCIDENT_OPEN", "INCIDENT_NOT_CLOSED"},
    ),
    "closed by a visitor and then by who may": (
        "closed_by: [risk]",
        [BY_BEN, ("closed", "eve", "visitor"), ("closed", "ben", "risk")],
        set(),
    ),
    "opened by a visitor": ("opened_by: [risk]", [("open", "eve", "visitor")], set()),
    "opened by a visitor, where policy names nobody": (
        "",
        [("open", "eve", "visitor")],
        set(),
    ),
    "opened again by who asks, and closed": (
        "",
        [BY_BEN, ("open", "cleo", "product"), ("closed", "cleo", "product")],
        {"INCIDENT_OPEN"},
    ),
    "opened before by who asks, and closed": (
        "",
        [("open", "cleo", "product"), BY_BEN, ("closed", "cleo", "product")],
        {"INCIDENT_OPEN"},
    ),
    "opened by who asks alone, and closed": (
        "",
        [("open", "cleo", "product"), ("closed", "cleo", "product")],
        set(),
    ),
    "closed in another's name": ("", [BY_BEN, ("closed", "ada", "risk")], {"INCIDENT_OPEN"}),
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_who_opens_and_closes_an_incident(name: str, tmp_path: Path) -> None:
    rule, said, found = INCIDENTS[name]
    scene = governed(tmp_path, RULES + (f"incidents: {{{rule}}}\n" if rule else ""))
    _both(scene, scene.freeze())
    scene.request()
    for state, who, role in said:
        scene.incident("1", state, who, role)
    if not found:
        assert scene.consume().allowed
        return
    with pytest.raises(RefusedError) as refused:
        scene.consume()
    assert _codes(refused, scene) == found


def test_a_closed_incident_does_not_stop_it(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.incident("1", "closed")
    assert scene.released().alias == "champion"


@pytest.mark.parametrize("check", ["approvals", "request", "packet"])
def test_each_check_is_what_stops_it(
    check: str, scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same input passes with every check of people taken out, and no less."""
    for other in ("approvals", "request", "packet", "incidents"):
        if other != check:
            monkeypatch.delitem(decisions.GOVERNED_CHECKS["promote"], other)
    with pytest.raises(RefusedError):
        scene.consume()
    monkeypatch.delitem(decisions.GOVERNED_CHECKS["promote"], check)
    assert scene.consume().allowed


def test_a_decision_made_again_comes_out_the_same(scene: Governed) -> None:
    packet = scene.freeze()
    scene.request()
    with pytest.raises(RefusedError):
        scene.consume()
    _both(scene, packet)
    scene.request()
    scene.consume()
    scene.story.evaluate("sft", 0.1, 0.9)  # what came later changes nothing
    said = [
        one
        for one in promotion.state(scene.story.log).evidence.all("promotion")
        if one.predicate.asked
    ]
    assert [one.predicate.allowed for one in said] == [True, False, True]
    for one in said:
        before = promotion.state(scene.story.log, one.index)
        asked = ReleaseRequest.model_validate(one.predicate.asked)
        again = promotion.decide(before, asked, instant_of(one.predicate.at))
        assert (again.allowed, list(again.findings)) == (
            one.predicate.allowed,
            one.predicate.findings,
        )


# -- Waivers ---------------------------------------------------------------------------------------
def _canary(folder: Path) -> Governed:
    """A tier that demands what nothing can meet yet."""
    scene = empty(folder, tier="    canary: true\n")
    authorize(scene)
    tell(scene.story)
    return scene


WAIVERS: dict[str, tuple[dict[str, object], str]] = {
    "accepted": ({}, ""),
    "too long": ({"days": 31}, "longer than 30 days"),
    "by somebody who may not": ({"who": "ada", "role": "ml-lead"}, "may not accept"),
    "of another finding": ({"code": "INCIDENT_OPEN"}, "CANARY_MISSING"),
    "about something else": ({"about": "model another"}, "CANARY_MISSING"),
    "for another model": ({"model": "another"}, "CANARY_MISSING"),
    "not in force yet": (
        {"at": "2026-12-20T00:00:00Z", "expires": "2026-12-30T00:00:00Z"},
        "begins at",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WAIVERS)
def test_a_waiver_passes_what_policy_lets_it(name: str, tmp_path: Path) -> None:
    scene = _canary(tmp_path)
    given, told = WAIVERS[name]
    scene.waive(**{"code": "CANARY_MISSING", "about": f"model {MODEL}", **given})
    if told:
        with pytest.raises(RefusedError, match=told):
            scene.released()
    else:
        assert [item.code for item in scene.released().waived] == ["CANARY_MISSING"]


def test_an_expired_waiver_denies_the_next_decision(tmp_path: Path) -> None:
    scene = _canary(tmp_path)
    scene.waive("CANARY_MISSING", f"model {MODEL}", days=1)
    packet = scene.freeze()
    _both(scene, packet)
    scene.story.minutes += 60 * 24
    scene.request()
    with pytest.raises(RefusedError, match="expired at"):
        scene.consume()


def _below(scene: Governed, accuracy: float) -> None:
    """Version 2, whose score misses its threshold."""
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=accuracy)
    scene.story.register("sft", "2")


def _automatic(scene: Governed, rights: Authority | None = None) -> ReleaseDecision:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "2", "champion")
    return decisions.decide_automatic(request, now.evidence, scene.now, rights or now.authority)


def test_a_waiver_covers_the_figures_that_it_names(scene: Governed) -> None:
    """One score below the threshold is accepted: neither a lower one, nor another metric's."""
    _below(scene, 0.905)
    accepts = scene.found("THRESHOLD_NOT_MET", "model sft")
    assert [each["measure"] for each in accepts] == ["greedy_exact"]
    scene.waive("THRESHOLD_NOT_MET", "model sft", accepts=accepts)
    scene.asked_for("2")
    assert [each.code for each in scene.consume("2").waived] == ["THRESHOLD_NOT_MET"]

    scene.story.evaluate("sft", 0.3, 0.02)
    decision = _automatic(scene)
    standing = {each.code: each.message for each in decision.findings}
    assert standing.keys() >= {"THRESHOLD_NOT_MET", "WAIVER_NOT_IN_FORCE"}
    assert "it accepts greedy_exact 0.907" in standing["WAIVER_NOT_IN_FORCE"]
    now = promotion.state(scene.story.log)
    (missed,) = [each for each in decision.findings if each.code == "THRESHOLD_NOT_MET"]
    assert now.timeline.waived_until(MODEL, missed, scene.now) is None


@pytest.mark.parametrize("change", [{"measure": "sampled_unsafe"}, {"figures": []}, None])
def test_what_a_waiver_does_not_name_it_does_not_cover(
    change: dict[str, object] | None, scene: Governed
) -> None:
    _below(scene, 0.905)
    (found,) = scene.found("THRESHOLD_NOT_MET", "model sft")
    accepts = [] if change is None else [{**found, **change}]
    scene.waive("THRESHOLD_NOT_MET", "model sft", accepts=accepts)
    assert "THRESHOLD_NOT_MET" in {each.code for each in _automatic(scene).findings}


def test_under_the_first_rules_a_waiver_covers_any_figures(scene: Governed) -> None:
    _below(scene, 0.905)
    scene.waive("THRESHOLD_NOT_MET", "model sft", accepts=[])
    rights = promotion.state(scene.story.log).authority
    earlier = replace(rights, rule_versions=RuleVersions())
    assert "THRESHOLD_NOT_MET" in {each.code for each in _automatic(scene, earlier).waived}


def test_some_findings_are_never_waived(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    scene.waive("APPROVAL_MISSING", f"model {MODEL}")
    scene.freeze()
    scene.request()
    with pytest.raises(RefusedError, match="never waived"):
        scene.consume()
    assert CODES.keys() >= NEVER_WAIVED


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_waiver_of_an_incident_passes_none_that_was_opened_since(
    action: str, scene: Governed
) -> None:
    """Whoever accepted the first knew nothing of the second, which says worse; who asks closes
    neither.
    """
    first = _second(scene)
    scene.story.models["sft"] = first
    scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", f"model {MODEL}")
    packet = scene.freeze()
    _both(scene, packet)
    request = scene.request(action=action, packet=packet)
    scene.approve("ben", "risk", request, "promotion")
    if action == "rollback":
        assert "INCIDENT_OPEN" in {
            one.code
            for one in releasing.plan(
                promotion.state(scene.story.log),
                releasing.Move("rollback", MODEL, "1", "champion", ""),
                scene.now,
            ).decision.waived
        }
    for state in ("closed", "open"):
        scene.incident("1", state, "ada", "ml-lead", reason="it gives away passwords")
    scene.incident("1", "closed", "cleo", "release-manager")
    with pytest.raises(RefusedError, match="opened since it was accepted") as refused:
        scene.consume()
    assert "passwords" in str(refused.value)


# -- Runs ------------------------------------------------------------------------------------------
def test_runs_that_nobody_authorized_are_good_for_candidate_only(tmp_path: Path) -> None:
    scene = empty(tmp_path)
    tell(scene.story)
    with pytest.raises(RefusedError, match="REQUESTER_UNKNOWN"):
        scene.released()


def test_an_authorization_that_had_ended(tmp_path: Path) -> None:
    scene = empty(tmp_path)
    authorize(scene, hours=0)
    tell(scene.story)
    with pytest.raises(RefusedError, match="REQUESTER_UNKNOWN"):
        scene.released()


def test_who_asked_for_the_run_cannot_approve_it(tmp_path: Path) -> None:
    scene = empty(tmp_path)
    authorize(scene, who="ada", role="ml-lead")
    tell(scene.story)
    with pytest.raises(RefusedError, match="ada does not count: ada started"):
        scene.released()


def test_a_new_name_makes_nobody_another_person(scene: Governed) -> None:
    """dora, who asked for the runs, is called dorothy since, by policies that owners signed."""
    path = scene.story.root / "policies" / "policy.yaml"
    row = '"name": "{}", "kind": "person", "roles": ["engineer"{}]'
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(row.format("dora", ""), row.format("dorothy", ', "risk"')), encoding="utf-8"
    )
    renamed = load_policies(path.parent)
    scene.propose(renamed)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", renamed.digest, "policy")
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    scene.approve("dorothy", "risk", packet, key="dora")
    scene.request()
    with pytest.raises(RefusedError, match="dorothy does not count: dorothy started"):
        scene.consume()


def test_uncommitted_code_is_good_for_candidate_only(tmp_path: Path) -> None:
    scene = empty(tmp_path)
    authorize(scene)
    scene.story.dirty = True
    tell(scene.story)
    with pytest.raises(RefusedError, match="uncommitted code"):
        scene.released()
    scene.waive("ALIAS_NOT_PERMITTED", f"model {MODEL}")
    with pytest.raises(RefusedError, match="ALIAS_NOT_PERMITTED is never waived"):
        scene.released()


@pytest.mark.parametrize("field", ["sources", "files"])
def test_a_training_that_does_not_say_which_files_ran_is_good_for_candidate_only(
    field: str, tmp_path: Path
) -> None:
    """An older version of this software trains, after the log follows the newer rules."""
    scene = empty(tmp_path)
    authorize(scene)
    scene.story.left_out = field
    tell(scene.story)
    with pytest.raises(RefusedError, match=r"no digest of the files that ran in .*train@"):
        scene.released()


def test_another_key_of_the_trainer_is_no_other_evaluator(tmp_path: Path) -> None:
    """The service got another key between the training and the evaluation, and nobody else came."""
    scene = governed(tmp_path)
    path = scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8").replace(keypair("ci")[1], keypair("ci2")[1])
    tier = "classifications: [public, internal, confidential]\n  # Data"
    path.write_text(
        text.replace(tier, tier.replace("\n", "\n    separate_evaluator: true\n")), encoding="utf-8"
    )
    rotated = load_policies(path.parent)
    environ = {**scene.story.machine.environ, "CI_KEY": keypair("ci2")[0].decode()}
    scene.story.machine = replace(scene.story.machine, environ=environ)
    scene.propose(rotated)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", rotated.digest, "policy")
    scene.story.evaluate("sft", 0.98)
    with pytest.raises(RefusedError, match="SEPARATE_EVALUATOR"):
        scene.released()


def test_a_commit_that_policy_does_not_name(tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + f"commits: ['{'1' * 40}']\n")
    with pytest.raises(RefusedError, match="COMMIT_NOT_PERMITTED"):
        scene.released()


@pytest.mark.parametrize(("builders", "named"), [("[]", "none"), ("[hermetic-ci]", "hermetic-ci")])
def test_a_service_that_policy_does_not_name_as_builder(
    builders: str, named: str, tmp_path: Path
) -> None:
    scene = governed(tmp_path, RULES + f"builders: {builders}\n")
    with pytest.raises(RefusedError, match="BUILDER_NOT_PERMITTED") as refused:
        scene.released()
    assert f"expected {named}; found ci" in str(refused.value)


def test_a_service_that_policy_names_as_builder(tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + "builders: [other, ci]\n")
    assert scene.released().alias == "champion"


def test_a_service_that_may_not_sign_promotions_moves_nothing(tmp_path: Path) -> None:
    """Its entry would not count: the alias would have moved without a word of the log."""
    people = principals().replace(', "promotion"', "")
    assert "promotion" in KINDS
    scene = empty(tmp_path, people=people)
    authorize(scene)
    tell(scene.story)
    with pytest.raises(CountersignError, match="do not let this key sign"):
        scene.released()
    assert scene.table.held == {}


# -- Rollback and retirement -----------------------------------------------------------------------
def _second(scene: Governed) -> str:
    """A second version, champion after the first; the stage's name is the same."""
    scene.released()
    first = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.released("2")
    assert scene.held() == "2"
    return first


def _back(scene: Governed, first: str, **fields: object) -> str:
    return scene.request("1", action="rollback", model_digest=first, **fields)


def test_a_rollback_by_two_people(scene: Governed) -> None:
    first = _second(scene)
    request = _back(scene, first)
    with pytest.raises(RefusedError, match="2 people behind it"):
        scene.consume("1")
    scene.approve("ben", "risk", request, "promotion")
    moved = scene.consume("1")
    assert (moved.action, moved.from_version, moved.second_signature_by) == ("rollback", "2", None)
    assert scene.held() == "1"


@pytest.mark.slow
@pytest.mark.parametrize("action", ["rollback", "retire"])
def test_a_move_is_seconded_in_the_roles_that_policy_names(action: str, tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + "seconded_by: [risk, product]\n")
    first = _second(scene)
    request = scene.request("1", action=action, model_digest=first)
    for who, role in (("eve", "visitor"), ("ben", "policy-owner")):
        scene.approve(who, role, request, "promotion")
        with pytest.raises(RefusedError, match="2 people"):
            scene.consume("1")
    now = promotion.state(scene.story.log)
    fitting = subjects.find(now, ("promotion", request)).fitting
    with pytest.raises(RefusedError, match="may not say this"):
        Signing(person("eve"), None, scene.now).speaker(now.authority, fitting, first=True)
    scene.approve(
        "ben",
        Signing(person("ben"), None, scene.now).speaker(now.authority, fitting, first=True).role,
        request,
        "promotion",
    )
    assert scene.consume("1").action == action


def test_who_asks_does_not_count_twice(scene: Governed) -> None:
    request = _back(scene, _second(scene))
    scene.approve("cleo", "product", request, "promotion")
    with pytest.raises(RefusedError, match="2 people behind it"):
        scene.consume("1")


def test_who_asks_is_no_second_person_by_a_new_name(scene: Governed) -> None:
    """cleo is called clea since she asked, by policies that owners signed."""
    request = _back(scene, _second(scene))
    path = scene.story.root / "policies" / "policy.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"name": "cleo"', '"name": "clea"'),
        encoding="utf-8",
    )
    renamed = load_policies(path.parent)
    scene.propose(renamed)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", renamed.digest, "policy")
    scene.approve("clea", "product", request, "promotion", key="cleo")
    with pytest.raises(RefusedError, match="2 people behind it"):
        scene.consume("1")
    now = promotion.state(scene.story.log)
    (waits,) = [one for one in pending(now, scene.now) if one.kind == "rollback"]
    assert waits.why.endswith("so far clea")
    assert waits.people == ["ada", "ben"]
    (missing,) = releasing.plan(
        now, releasing.Move("rollback", MODEL, "1", "champion", ""), scene.now
    ).missing
    assert (missing.count, missing.who) == (1, ("ada", "ben"))
    scene.approve("ben", "risk", request, "promotion")
    assert scene.consume("1").allowed


def test_breaking_the_glass_leaves_a_deadline(scene: Governed) -> None:
    request = _back(scene, _second(scene), break_glass=True)
    moved = scene.consume("1")
    assert moved.second_signature_by is not None
    due = instant_of(moved.second_signature_by)
    state = promotion.state(scene.story.log)
    assert state.timeline.overdue(due - timedelta(minutes=1)) == []
    assert [one.predicate.version for one in state.timeline.overdue(due)] == ["1"]
    scene.approve("ben", "risk", request, "promotion")
    assert promotion.state(scene.story.log).timeline.overdue(due) == []


@pytest.mark.parametrize(
    "field", [{"expires": "2026-11-20T09:30:00Z"}, {"at": "2027-01-01T00:00:00Z"}]
)
def test_a_second_signature_counts_while_it_is_in_force(
    field: dict[str, str], scene: Governed
) -> None:
    request = _back(scene, _second(scene))
    scene.approve("ben", "risk", request, "promotion", **field)
    with pytest.raises(RefusedError, match="2 people behind it"):
        scene.consume("1")


def test_a_release_under_another_name_is_none_of_this_model(tmp_path: Path) -> None:
    """The same bytes were champion of a model that asks for nobody's approval."""
    scene = empty(tmp_path)
    authorize(scene)
    tell(scene.story)
    scene.released()
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    digest_of_two = scene.story.models["sft"]
    registered = promotion.state(scene.story.log).registration(MODEL, "2").predicate
    subject = [Artifact(role="model", name="sft", sha256=digest_of_two)]
    fields = {"model": "toy", "version": "2"}
    evidence.record(
        scene.story.log, person("ci"), "registration", subject, registered.model_copy(update=fields)
    )
    moved = next(
        one
        for one in promotion.state(scene.story.log).moves(MODEL)
        if one.predicate.alias == "champion"
    )
    as_toy = moved.predicate.model_copy(update={**fields, "model_digest": digest_of_two})
    evidence.record(scene.story.log, person("ci"), "promotion", subject, as_toy)
    scene.request("2", action="rollback", break_glass=True)
    with pytest.raises(RefusedError, match="NEVER_RELEASED"):
        scene.consume("2")


def test_a_rollback_goes_to_what_was_released_only(scene: Governed) -> None:
    scene.released()
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.request("2", action="rollback", break_glass=True)
    with pytest.raises(RefusedError, match="NEVER_RELEASED"):
        scene.consume("2")


Three = tuple[Governed, list[str]]


@pytest.fixture
def three(scene: Governed) -> Three:
    """Three versions that were champion one after the other, and the digest of each."""
    digests = [_second(scene), scene.story.models["sft"]]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99, unsafe=0.01)
    scene.story.register("sft", "3")
    scene.released("3")
    return scene, [*digests, scene.story.models["sft"]]


def _to(three: Three, version: int) -> None:
    """One person, by break-glass."""
    scene, digests = three
    digest = digests[version - 1]
    scene.request(str(version), action="rollback", model_digest=digest, break_glass=True)
    scene.consume(str(version))


@pytest.mark.slow
def test_a_rollback_goes_to_the_last_earlier_version(three: Three) -> None:
    """3, 1, 3, 2, 3 by one person's break-glass: not one of these steps."""
    with pytest.raises(RefusedError, match=r"ROLLBACK_TARGET(.|\n)*expected 2; found 1"):
        _to(three, 1)
    _to(three, 2)
    with pytest.raises(RefusedError, match=r"ROLLBACK_TARGET(.|\n)*expected 1; found 3"):
        _to(three, 3)
    _to(three, 1)
    for version in (2, 3):
        with pytest.raises(RefusedError, match=r"ROLLBACK_TARGET(.|\n)*expected none"):
            _to(three, version)


def test_a_rollback_passes_over_a_version_against_which_something_is_open(three: Three) -> None:
    scene, digests = three
    scene.story.models["sft"] = digests[1]
    scene.incident("2", "open")
    with pytest.raises(RefusedError, match="INCIDENT_OPEN"):
        _to(three, 2)
    _to(three, 1)
    assert scene.held() == "1"


def test_an_incident_that_its_requester_closed_is_open_against_the_version_passed_over(
    three: Three,
) -> None:
    """Else a requester who closed it could go neither there nor further back."""
    scene, digests = three
    scene.story.models["sft"] = digests[1]
    scene.incident("2", "open")
    scene.incident("2", "closed", who="cleo", role="release-manager")
    _to(three, 1)


def test_the_glass_is_not_broken_again_over_a_signature_that_is_overdue(three: Three) -> None:
    scene, digests = three
    _to(three, 2)
    alone = promotion.state(scene.story.log).timeline.moves[-1].predicate.request or ""
    scene.story.minutes += 60 * 80
    with pytest.raises(RefusedError, match="SECOND_SIGNATURE_OVERDUE") as refused:
        _to(three, 1)
    step = f"next: countersign approve promotion {alone[:12]}, by somebody else"
    assert step in str(refused.value)
    scene.approve("ben", "risk", alone, "promotion")
    scene.request("1", action="rollback", model_digest=digests[0], break_glass=True)
    assert scene.consume("1").second_signature_by is not None


def test_the_earlier_rules_asked_for_no_target(three: Three) -> None:
    """What they allowed is reproduced."""
    scene, digests = three
    scene.request("1", action="rollback", model_digest=digests[0], break_glass=True)
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "rollback", MODEL, "1", "champion")
    earlier = replace(now.authority, rule_versions=RuleVersions())
    for rights, codes in ((now.authority, ["ROLLBACK_TARGET"]), (earlier, [])):
        decision = decisions.decide_release(
            request, rights.policies, now.evidence, scene.now, authority=rights
        )
        assert [finding.code for finding in decision.findings] == codes


def test_a_rollback_to_a_model_with_an_open_incident(scene: Governed) -> None:
    first = _second(scene)
    scene.story.models["sft"] = first
    scene.incident("1", "open")
    _back(scene, first, break_glass=True)
    with pytest.raises(RefusedError, match="INCIDENT_OPEN"):
        scene.consume("1")


def test_a_retirement_takes_two_people_and_the_aliases_with_it(scene: Governed) -> None:
    scene.released()
    request = scene.request("1", action="retire", alias="retired", from_version=None)
    with pytest.raises(RefusedError, match="2 people"):
        scene.consume("1", "retired", action="retire")
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1", "retired", action="retire")
    assert scene.held() is None
    assert scene.table.held == {}
    scene.story.register("sft", "2")  # the same bytes under another number
    for version in ("1", "2"):
        _both(scene, scene.freeze(version))
        scene.request(version)
        with pytest.raises(RefusedError, match=r"RETIRED.*as version 1"):
            scene.consume(version)


@pytest.mark.parametrize("action", ["promote", "retire"])
def test_a_move_that_somebody_claims_stops_none(action: str, scene: Governed) -> None:
    """eve, who may move nothing, says that the request was carried out, or the bytes retired."""
    _both(scene, scene.freeze())
    asked = scene.request()
    last = list(promotion.state(scene.story.log).evidence.all("promotion"))[-1]
    said = last.predicate.model_copy(
        update={"alias": "champion", "action": action, "request": asked}
    )
    scene.say("eve", "promotion", last.subjects, said)  # past the server, which takes none of these
    assert scene.consume().request == asked


@pytest.mark.parametrize(
    ("without", "told"),
    [({}, "APPROVAL_MISSING"), ({"asked": None}, "it does not hold what was asked")],
)
def test_a_move_that_was_forged_does_not_come_out_again(
    without: dict[str, None], told: str, scene: Governed
) -> None:
    """Whoever has the service's key writes an entry past the decision: anybody can see that it was
    none.
    """
    scene.freeze()
    scene.request()
    now = promotion.state(scene.story.log)
    asked = promotion.ask(now, "promote", MODEL, "1", "champion")
    decision = replace(promotion.decide(now, asked, scene.now), allowed=True, findings=())
    moved = scene.promoter._promotion(now, asked, decision, "root").model_copy(update=without)
    scene.promoter._record(now, moved)
    assert scene.held() == "1"
    (found,) = retrospect.forged(promotion.state(scene.story.log))
    assert found.code == "DECISION_NOT_REPRODUCED"
    assert told in found.message


def test_nobody_is_retired_from_candidate(scene: Governed) -> None:
    """It would take the governed aliases, too, by a key that is good for `candidate` only."""
    moved = scene.released()
    with pytest.raises(ValueError, match="not from `candidate`"):
        Promotion.model_validate({**moved.model_dump(), "alias": "candidate", "action": "retire"})


def test_a_retirement_takes_an_alias_that_policy_dropped(tmp_path: Path) -> None:
    """Log and registry agree on who holds it: nobody."""
    scene = governed(tmp_path)
    scene.released()
    path = scene.story.root / "policies/policy.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  champion:", "  challenger:"), encoding="utf-8")
    dropped = load_policies(path.parent)
    scene.propose(dropped)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", dropped.digest, "policy")
    request = scene.request("1", action="retire", alias="challenger", from_version=None)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1", "challenger", action="retire")
    assert scene.held() is None and scene.table.held == {}


def test_a_retirement_is_asked_for_under_every_alias_that_it_takes(tmp_path: Path) -> None:
    """Whoever may ask for challenger only takes nobody's champion away."""
    lax = "aliases:\n  challenger: {requesters: [engineer]}\n"
    scene = governed(tmp_path, RULES.replace("aliases:\n", lax))
    scene.released()
    request = scene.request(
        "1", who="dora", role="engineer", action="retire", alias="challenger", from_version=None
    )
    scene.approve("ben", "risk", request, "promotion")
    with pytest.raises(RefusedError, match="REQUEST_NOT_ENTITLED"):
        scene.consume("1", "challenger", action="retire")
    assert scene.held() == "1"


def _ended(folder: Path, who: str) -> Governed:
    """A world in which somebody's last day was yesterday."""
    row = f'"name": "{who}", "kind": "person", '
    one = RULES.replace("owners: {people: 2", "owners: {people: 1")
    scene = empty(folder, one, principals().replace(row, f'{row}"until": "2026-11-19", '))
    authorize(scene)
    tell(scene.story)
    return scene


def test_an_approval_dated_before_its_authors_last_day(tmp_path: Path) -> None:
    scene = _ended(tmp_path, "ben")
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    scene.approve("ben", "risk", packet, at="2026-11-19T09:00:00Z")
    scene.request()
    with pytest.raises(RefusedError, match="ben does not count: policy ended ben's time"):
        scene.consume()


def test_a_rollback_waits_for_whoever_counts_when_it_is_decided(tmp_path: Path) -> None:
    """eve, who is gone, stands behind it with an earlier date."""
    scene = _ended(tmp_path, "eve")
    request = scene.request("1", action="rollback", model_digest=_second(scene))
    scene.approve("eve", "visitor", request, "promotion", at="2026-11-19T09:00:00Z")
    (wait,) = (
        one
        for one in pending(promotion.state(scene.story.log), scene.now)
        if one.kind == "rollback"
    )
    assert "ben" in wait.people and wait.why.endswith("so far cleo")
    with pytest.raises(RefusedError, match="APPROVAL_MISSING"):
        scene.consume("1")


def test_what_is_trained_after_its_approvers_last_day_was_not_approved(tmp_path: Path) -> None:
    """Whatever its date. What was used while they acted stays approved."""
    row = '"name": "ben", "kind": "person", '
    scene = empty(tmp_path, RULES, principals().replace(row, f'{row}"until": "2026-11-19", '))
    scene.approve("ben", "risk", digest("data"), "data", at="2026-11-19T09:00:00Z")
    now = promotion.state(scene.story.log)
    said = now.evidence.by_subject(digest("data"), "approval")
    for used, holds in (
        (None, False),
        ("2026-11-20T00:00:00Z", False),
        ("2026-11-19T23:59:59Z", True),
    ):
        assert (
            agreed(
                now.authority, said, "data", ["risk"], scene.now, instant_of(used) if used else None
            )
            == holds
        )


def test_a_no_outlasts_its_authors_last_day(tmp_path: Path) -> None:
    scene = _ended(tmp_path, "ben")
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    scene.approve("ben", "risk", packet, decision="reject", at="2026-11-19T09:00:00Z")
    scene.request()
    with pytest.raises(RefusedError, match="REJECTED"):
        scene.consume()


def test_a_request_dated_before_its_authors_last_day(tmp_path: Path) -> None:
    scene = _ended(tmp_path, "cleo")
    _both(scene, scene.freeze())
    scene.request(at="2026-11-19T11:00:00Z")
    with pytest.raises(RefusedError, match="whose time has ended"):
        scene.consume()


def test_what_was_decided_comes_out_again(scene: Governed) -> None:
    scene.released()
    assert retrospect.forged(promotion.state(scene.story.log)) == []


# -- Many at once ----------------------------------------------------------------------------------
def test_nobody_stands_in_the_way_of_a_request_by_making_another(scene: Governed) -> None:
    _both(scene, scene.freeze())
    asked = scene.request()
    for action in ("promote", "rollback"):
        scene.request(who="eve", role="visitor", action=action)
    assert scene.consume().request == asked


def test_an_exception_for_a_second_is_one_too(scene: Governed) -> None:
    """Approved, and only then accepted for less than the second in which it is decided."""
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.905, unsafe=0.01)
    scene.story.register("sft", "2")
    _both(scene, scene.freeze("2"))
    scene.request("2")
    end = (scene.now + timedelta(minutes=3)).replace(microsecond=0)
    scene.waive("THRESHOLD_NOT_MET", "model sft", expires=f"{end:%Y-%m-%dT%H:%M:%S}.999999Z")
    scene.story.now = lambda: end.replace(microsecond=500_000)  # type: ignore[method-assign]
    with pytest.raises(RefusedError, match="the waivers"):
        scene.consume("2")


def test_of_many_promoters_one_wins(scene: Governed) -> None:
    _both(scene, scene.freeze())
    scene.request()

    def attempt(_: int) -> bool:
        try:
            return scene.consume().allowed
        except (RefusedError, ConflictError):
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert scene.table.held == {(MODEL, "champion"): "1"}


def test_a_clock_that_was_set_back_opens_nothing_again(scene: Governed) -> None:
    _both(scene, scene.freeze())
    scene.request()
    scene.story.minutes += 60 * 25
    with pytest.raises(RefusedError, match="REQUEST_EXPIRED"):
        scene.consume()
    scene.story.minutes -= 60 * 25
    with pytest.raises(ConfigError, match="clock"):
        scene.consume()
    assert scene.held() is None


def test_what_a_pipeline_says_of_candidate_stops_nothing(scene: Governed) -> None:
    """Its clock is wrong by a lifetime, or it names somebody's request as spent."""
    _both(scene, scene.freeze())
    asked = scene.request()
    log, at = scene.story.log, "2099-01-01T00:00:00Z"
    last = list(promotion.state(log).evidence.all("promotion"))[-1]
    said = last.predicate.model_copy(update={"at": at, "request": asked})
    evidence.record(log, person("ci"), "promotion", list(last.subjects), said)
    assert scene.consume().request == asked


def test_what_is_said_during_the_decision_is_heard(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rejection that arrives between decision and commit."""
    packet = scene.freeze()
    _both(scene, packet)
    scene.request()
    decide, said = promotion.decide, []

    def slow(*args: object) -> object:
        decision = decide(*args)  # type: ignore[arg-type]
        if not said:
            said.append(scene.approve("cleo", "product", packet, decision="reject"))
        return decision

    monkeypatch.setattr(promotion, "decide", slow)
    with pytest.raises(RefusedError, match="REJECTED"):
        scene.consume()


def test_the_registry_behind_the_logs_back(scene: Governed) -> None:
    """The row says another version than the log: nothing moves, and the difference is told."""

    class Row:
        def move(self, *args: object) -> None:
            raise ConflictError("the registry gives champion of support-desk to version 7")

    _both(scene, scene.freeze())
    scene.request()
    scene.table = Row()  # type: ignore[assignment]
    with pytest.raises(ConflictError, match="version 7"):
        scene.consume()
    assert scene.held() is None


def test_a_finding_of_each_new_code_is_in_the_table() -> None:
    for code in NEVER_WAIVED:
        assert finding(code, "x", "y").next


def test_subjects_name_the_request_that_was_spent(scene: Governed) -> None:
    moved = scene.released()
    (entry,) = scene.story.log.by_subject(moved.request or "")
    assert entry.kind == "promotion"
    assert Artifact(role="request", name="promote", sha256=moved.request or "")


@pytest.mark.parametrize("kind", ["ingest", "scan", "quality"])
@pytest.mark.parametrize(("rules", "codes"), [(2, ["ALIAS_NOT_PERMITTED"]), (1, [])])
def test_data_stages_ran_from_committed_code(
    kind: str, rules: int, codes: list[str], scene: Governed
) -> None:
    """Each of the statements about the data that the model was trained on; before, nobody asked."""
    now = promotion.state(scene.story.log)
    for statement in now.view.all(kind):
        dirty = statement.predicate.code.model_copy(update={"dirty": True})
        predicate = statement.predicate.model_copy(update={"code": dirty, "log": None})
        evidence.record(scene.story.log, person("ci"), kind, statement.subjects, predicate)
    later = promotion.state(scene.story.log)
    rights = later.authority
    if rules == 1:
        rights = replace(rights, rule_versions=RuleVersions())
    request = promotion.ask(later, "promote", MODEL, "1", "champion")
    decision = decisions.decide_automatic(request, later.evidence, scene.now, rights)
    assert [finding.code for finding in decision.findings] == codes
