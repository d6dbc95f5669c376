"""The report where people speak: verdicts, exceptions before good news, the past, and four copies
that were spoiled.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from governance.attest.findings import finding
from governance.attest.predicates import (
    Artifact,
    Incident,
    Promotion,
    PromotionRequest,
)
from governance.base.errors import InputError, RefusedError
from governance.base.time import exact_instant
from governance.commands.exit_codes import exit_code
from governance.commands.report import code_of_all
from governance.log import evidence
from governance.machine.machine import signer
from governance.policy.policies import load_policies
from governance.release import promotion, retrospect
from governance.report import index, sections
from governance.report.build import build
from governance.report.html import page, page_one
from governance.report.model.report import Report
from tests.governance.audited import reject, second
from tests.governance.governed import RULES, Governed, authorize, empty, governed, principals
from tests.governance.report.fields import NOT_STATED
from tests.governance.story import MODEL, altered, digest, tell

Change = Callable[[Governed], object]


@pytest.fixture
def later(whole: Governed, tmp_path: Path) -> Governed:
    made = whole.copy(tmp_path)
    made.table.held = dict(whole.table.held)
    return made


def report(scene: Governed, version: str = "1", **how: datetime) -> Report:
    return build(scene.story.sources, MODEL, version, **how)


def front(made: Report) -> str:
    """Page one of the HTML."""
    html = page(made).decode()
    return html[html.index('<article class="front') : html.index("</article>")]


def faults(made: Report) -> set[str]:
    return {one.code for one in made.exceptions if one.kind == "fault"}


def reasons(made: Report) -> list[str]:
    return [one.code for one in made.verdict.reasons]


# -- The verdict, row by row -----------------------------------------------------------------------
def _both(scene: Governed) -> str:
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    scene.approve("ben", "risk", packet)
    return packet


def _rejected(scene: Governed) -> None:
    packet = _both(scene)
    reject(scene, packet, "Not with these scores.")


def _refused(scene: Governed) -> None:
    scene.freeze()
    scene.request()
    with pytest.raises(RefusedError):
        scene.consume()


def _worse(scene: Governed) -> None:
    scene.story.evaluate("sft", 0.5)


def _waived(scene: Governed) -> None:
    scene.story.evaluate("sft", 0.905)
    scene.waive("THRESHOLD_NOT_MET", "model sft")
    scene.released()


def _incident(scene: Governed) -> None:
    scene.released()
    scene.incident("1", "open")


def _closed(scene: Governed) -> None:
    _incident(scene)
    scene.incident("1", "closed")


def _retired(scene: Governed) -> None:
    scene.released()
    asked = scene.request("1", action="retire", alias="champion")
    scene.approve("ada", "ml-lead", asked, "promotion")
    scene.consume("1", action="retire")


def _worse_after(scene: Governed) -> None:
    scene.released()
    _worse(scene)


def _expired_approval(scene: Governed) -> None:
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    scene.approve("ben", "risk", packet, expires="2026-11-20T09:45:00Z")
    scene.request()
    scene.consume()
    scene.story.minutes += 60
    scene.incident("1", "closed")


def _forged(scene: Governed) -> None:
    """The service's key is misused: an allowed promotion that nobody approved."""
    packet = scene.freeze()
    request = scene.request()
    asked = promotion.ask(promotion.state(scene.story.log), "promote", MODEL, "1", "champion")
    at = exact_instant(scene.now)
    said = Promotion(
        model=MODEL,
        version="1",
        alias="champion",
        model_digest=asked.released.sha256,
        allowed=True,
        findings=[],
        policy=scene.story.policies.digest,
        at=at,
        run=scene.story.run(),
        request=request,
        packet=packet,
        caller="mallory",
        asked=asked.model_dump(mode="json"),
    )
    subject = [Artifact(role="model", name="m", sha256=said.model_digest)]
    evidence.record(scene.story.log, signer(scene.story.machine), "promotion", subject, said)


def _revoked_since(scene: Governed) -> None:
    scene.released()
    scene.revoke("ada", "ada", "ben", "policy-owner")


def _by_a_revoked_key(scene: Governed) -> None:
    scene.revoke("ada", "ada", "ben", "policy-owner")
    _both(scene)
    _forged(scene)


ROWS: dict[str, tuple[Change, str, str, int]] = {
    "nobody has spoken": (lambda scene: None, "PENDING", "It needs a packet", 0),
    "one approval": (
        lambda scene: scene.approve("ada", "ml-lead", scene.freeze()),
        "PENDING",
        "has: ada as ml-lead",
        0,
    ),
    "approved, not asked for": (_both, "PENDING", "It needs a signed request", 0),
    "rejected": (_rejected, "NOT APPROVED", "Rejected by ben as risk: Not with these scores.", 0),
    "refused, then nothing": (_refused, "PENDING", "approval by 2 people", 0),
    "a threshold not met": (_worse, "NOT APPROVED", "THRESHOLD_NOT_MET", 0),
    "released": (lambda scene: scene.released(), "APPROVED", "ada (ml-lead), ben (risk)", 0),
    "released with a waiver": (_waived, "APPROVED WITH CONDITIONS", "THRESHOLD_NOT_MET", 0),
    "an incident is open": (
        _incident,
        "NOT APPROVED",
        "(INCIDENT_OPEN). It still holds champion.",
        4,
    ),
    "the incident was closed": (_closed, "APPROVED", "Live as champion.", 0),
    "retired": (_retired, "WITHDRAWN", "Retired; cleo asked: because", 0),
    "scored again, worse": (_worse_after, "NOT APPROVED", "STILL SERVING as champion.", 4),
    "an approval has ended": (_expired_approval, "NOT APPROVED", "APPROVAL_MISSING", 4),
    "a key was revoked since": (_revoked_since, "APPROVED", "Live as champion.", 0),
    "approved by a revoked key": (
        _by_a_revoked_key,
        "NOT APPROVED",
        "logged as allowed, it comes out refused",
        5,
    ),
    "a forged decision": (
        _forged,
        "NOT APPROVED",
        "comes out refused: APPROVAL_MISSING. It still holds champion. Servers that follow the log",
        5,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_verdict_follows_from_what_people_said(
    scene: Governed, row: tuple[Change, str, str, int]
) -> None:
    change, word, reason, code = row
    change(scene)
    made = report(scene)
    assert (made.verdict.word, reason in made.verdict.reason) == (word, True), made.verdict
    assert word in front(made) and page(made) == page(report(scene))
    assert exit_code(made) == code


def test_serving_goes_on_at_an_incident_below_the_severity_of_policy(tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + "serving: {stop_at_incident: high}\n")
    scene.released()
    scene.incident("1", "open", severity="medium")
    assert reasons(report(scene))[-1] == "STILL_SERVING"
    scene.incident("1", "open", severity="high")
    assert reasons(report(scene))[-1] == "STILL_HELD"


@pytest.mark.slow
def test_who_was_superseded_is_still_approved_and_who_was_rolled_back_is_withdrawn(
    later: Governed,
) -> None:
    assert report(later, "1").verdict.word == "APPROVED"
    assert reasons(report(later, "1"))[-1] == "REPLACED"
    assert report(later, "1").way_back.target == "none needed: version 2 is champion"
    later.story.models["sft"] = (
        promotion.state(later.story.log).registration(MODEL, "1").predicate.model_digest
    )
    asked = later.request("1", action="rollback")
    later.approve("ada", "ml-lead", asked, "promotion")
    later.consume("1", action="rollback")
    gone, back = report(later, "2"), report(later, "1")
    assert gone.verdict.word == "WITHDRAWN" and reasons(gone) == ["ROLLED_BACK"]
    assert back.verdict.word == "APPROVED" and [one.until for one in back.holds][-1] is None


def _went_back(scene: Governed) -> None:
    """A second version becomes champion, and is rolled back from."""
    scene.released()
    asked = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.released("2")
    scene.story.models["sft"] = asked
    scene.approve("ada", "ml-lead", scene.request("1", action="rollback"), "promotion")
    scene.consume("1", action="rollback")


def _asked_for_another(scene: Governed) -> None:
    """Another model has the same bytes; ben, who approves this one, asks for that one, and says it
    is broken.
    """
    _both(scene)
    scene.request(who="ben", role="risk", model="help-desk", alias="challenger")
    subject = [Artifact(role="model", name="sft", sha256=scene.story.models["sft"])]
    registered = promotion.state(scene.story.log).registration(MODEL, "1").predicate
    twin = registered.model_copy(update={"model": "help-desk", "version": "3"})
    evidence.record(scene.story.log, signer(scene.story.machine), "registration", subject, twin)
    broken = Incident.model_validate(
        scene.signed("ben", "risk", model="help-desk", version="3", state="open")
    )
    scene.say("ben", "incident", subject, broken)


def _in_anothers_name(scene: Governed) -> None:
    scene.freeze()
    asked = scene.signed(
        "cleo", "release-manager", action="promote", model=MODEL, version="1", alias="champion"
    )
    asked |= {
        "model_digest": scene.story.models["sft"],
        "packet": None,
        "from_version": None,
        "nonce": "0",
    }
    said = PromotionRequest.model_validate({**asked, "expires": "2099-01-01T00:00:00Z"})
    scene.say(
        "eve", "request", [Artifact(role="model", name="sft", sha256=said.model_digest)], said
    )


def _refused_to_another(scene: Governed) -> None:
    _in_anothers_name(scene)
    with pytest.raises(RefusedError):
        scene.consume()


def _rescored(scene: Governed) -> None:
    """The threshold is lowered once the score is known, and the version scored again under the new
    policies.
    """
    _under_others(
        scene, "evaluation.yaml", "greedy_exact: {at_least: 0.9}", "greedy_exact: {at_least: 0.8}"
    )
    scene.story.evaluate("sft", 0.97, 0.02)


def _under_others(scene: Governed, name: str, found: str, put: str) -> None:
    path = scene.story.root / "policies" / name
    path.write_text(path.read_text(encoding="utf-8").replace(found, put), encoding="utf-8")
    made = load_policies(path.parent)
    scene.propose(made)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", made.digest, "policy")
    scene.story.policies = made


def _huge(scene: Governed) -> None:
    before = (
        promotion.state(scene.story.log)
        .view.by_subject(scene.story.models["sft"], "train")[-1]
        .predicate
    )
    scores = {"greedy_exact": [1e308] * 300}
    fields = {
        "model": scene.story.models["sft"],
        "suite": scene.story.suite,
        "suite_name": "desk_eval",
        "not_run": None,
    }
    made = [Artifact(role="scores", name="scores.jsonl", sha256=digest("huge"))]
    scene.story.record(
        "evaluate", "evaluate@sft", made, before.inputs, **fields, scores=scores, slices={}
    )


def _use(made: Report) -> str:
    return f"{made.use.approved_for[0]}; not {made.use.not_approved_for[0]}"


def _record(made: Report) -> str:
    lines = sections.text(made, "records")
    return re.sub(r" E\d+", "", next(line for line in lines if "Deployment date" in line))


TOLD: dict[str, tuple[Change, str, Callable[[Report], str], str]] = {
    "what was rolled back from is for nothing": (
        _went_back,
        "2",
        _use,
        "nothing: it was withdrawn; not",
    ),
    "what was retired is for nothing": (
        _retired,
        "1",
        _use,
        "nothing: it was withdrawn; not serving users",
    ),
    "a forged decision approves no use": (
        _forged,
        "1",
        _use,
        "nothing: no approval is in force, although it is live as champion; not serving users",
    ),
    "every time that it served": (
        _went_back,
        "1",
        _record,
        "champion since 2026-11-20 09:35:00 UTC, until 2026-11-20 09:50:00 UTC; champion since 2026-11-20 09:54:00 UTC",
    ),
    "nobody moves by asking for another model": (
        _asked_for_another,
        "1",
        lambda made: f"{made.verdict.alias}; {made.separation.state}",
        "champion; holds",
    ),
    "an incident is of the model that it names": (
        _asked_for_another,
        "1",
        lambda made: made.decisions[-1].about,
        "help-desk/3",
    ),
    "a request in another's name waits for nobody": (
        _in_anothers_name,
        "1",
        lambda made: str([one.owner for one in made.open]),
        "[None, None, None, 'policy-owner']",
    ),
    "nobody asked for what was refused": (
        _refused_to_another,
        "1",
        lambda made: made.verdict.decided,
        "in the name of cleo, who did not sign that",
    ),
    "thresholds lowered after the score": (
        _rescored,
        "1",
        lambda made: made.thresholds_fixed,
        "after it had been scored (E20)",
    ),
    "policies changed, thresholds not": (
        lambda scene: _under_others(scene, "policy.yaml", "max_share: 0.05", "max_share: 0.04"),
        "1",
        lambda made: made.thresholds_fixed,
        "in force since E0, before its gate (E18) and its scores (E20)",
    ),
    "scores that no float adds up": (
        _huge,
        "1",
        lambda made: str(made.metrics[0].scores[-1].model_dump(include={"mean", "low"})),
        "{'mean': 1e+308, 'low': None}",
    ),
}


@pytest.mark.parametrize("row", TOLD.values(), ids=TOLD.keys())
def test_what_is_told_holds(
    scene: Governed, row: tuple[Change, str, Callable[[Report], str], str]
) -> None:
    change, version, found, told = row
    change(scene)
    assert told in found(report(scene, version))


@pytest.mark.parametrize("row", TOLD.values(), ids=TOLD.keys())
def test_the_index_has_the_verdict_of_the_report(
    scene: Governed, row: tuple[Change, str, Callable[[Report], str], str]
) -> None:
    change, *_ = row
    change(scene)
    for version in _index(scene).versions:
        if version.model != MODEL:
            continue
        word = report(scene, version.version, clock=scene.now).verdict.word
        assert version.verdict == (None if version.state == "superseded" else word)


def test_a_fault_changes_the_row_of_the_index(scene: Governed) -> None:
    scene.released()
    (row,) = _index(scene).versions
    assert row.verdict_text == "APPROVED"
    scene.incident("1", "open")
    (row,) = _index(scene).versions
    assert row.verdict_text == "NOT APPROVED, WITH 1 FAULT"


def test_the_index_counts_words_as_the_decision_does(scene: Governed) -> None:
    """One person twice, the author, a role that does not approve; and a request that nobody who may
    speak made.
    """
    _in_anothers_name(scene)
    for who, role in (
        ("cleo", "product"),
        ("cleo", "release-manager"),
        ("dora", "engineer"),
        ("ben", "policy-owner"),
    ):
        scene.approve(who, role, scene.freeze())
    made = _index(scene)
    assert made.versions[0].approved_by == ["cleo (product)"]
    assert [one.what for one in made.waiting] == ["1 of 2 approvals"]
    assert made.versions[0].lacks == 1


def test_the_index_says_when_a_version_was_superseded_or_rolled_back(scene: Governed) -> None:
    _went_back(scene)
    rows = [(one.version, one.state, one.to, one.since[11:16]) for one in _index(scene).versions]
    assert rows == [("2", "rolled back", "1", "09:54"), ("1", "live", None, "09:54")]


def test_the_index_shows_purpose_owner_review_and_open_incidents(scene: Governed) -> None:
    scene.released()
    scene.incident("1", "open")
    made = _index(scene)
    (row,) = made.versions
    assert (row.purpose, row.owner, row.next_review) == (
        "customer-support",
        "not set",
        "2027-05-20",
    )
    opened = [one for one in made.waiting if one.code == "INCIDENT"]
    assert [(one.about, one.owner) for one in opened] == [("support-desk/1", "ben")]
    text = index.page(made).decode()
    assert "Next review" in text and "Purpose: customer-support" in text


def _index(scene: Governed) -> index.Index:
    sources = scene.story.sources
    return index.index(sources.read[0], sources.verified, scene.now)


def test_an_approvers_last_day_passes_without_a_word_in_the_log(tmp_path: Path) -> None:
    people = principals().replace('{"name": "ada",', '{"name": "ada", "until": "2026-12-01",')
    scene = empty(tmp_path, people=people)
    authorize(scene)
    tell(scene.story)
    scene.released()
    told = [report(scene, clock=datetime(2026, 12, day, tzinfo=UTC)).verdict for day in (1, 24)]
    assert [one.word for one in told] == [
        "APPROVED",
        "NOT APPROVED",
    ] and "APPROVAL_MISSING" in told[1].reason
    read = scene.story.sources
    known = [
        index.index(read.read[0], read.verified, datetime(2026, 12, day, tzinfo=UTC))
        for day in (1, 24)
    ]
    assert [
        [(each.kind, each.ended, each.about) for each in one.live[0].exceptions] for one in known
    ] == [[], [("approval", True, "ada (ml-lead)")]]
    assert [code_of_all(one) for one in known] == [0, 4]
    (row,) = known[0].live
    about = "RULE model incident-desk"
    waiver = index.IndexException(kind="waiver", ended=False, about=about, at="2027-01-01")
    waived = row.model_copy(update={"exceptions": [waiver]})
    assert code_of_all(known[0].model_copy(update={"versions": [waived]})) == 0


def test_a_gate_whose_request_nobody_can_read_is_told(scene: Governed) -> None:
    """Recorded by another version, or by whoever holds the service's key."""
    gate = Artifact(role="gate", name="gates/sft.json", sha256=digest("odd"))
    said = {"allowed": True, "method": "sft", "tier": "limited", "decided_on": {}, "findings": []}
    at = exact_instant(scene.now)
    scene.story.record("gate", "gate@sft", [gate], [], **said, at=at, parameters={"strange": 1})
    item = promotion.state(scene.story.log).view.by_subject(scene.story.models["sft"], "train")[-1]
    inputs = [one for one in item.predicate.inputs if one.role != "gate"]
    fields = item.predicate.model_dump(
        exclude={"stage", "inputs", "policy", "code", "environment", "run"}
    )
    scene.story.record("train", "train@sft", list(item.subjects), [*inputs, gate], **fields)
    made = report(scene)
    assert made.verdict.word == "NOT APPROVED" and "request cannot be read" in made.verdict.reason
    assert _index(scene).versions[0].state == "registered"


def test_a_waiver_that_ended_and_that_nothing_needs_is_no_fault(later: Governed) -> None:
    _under_others(
        later, "evaluation.yaml", "greedy_exact: {at_least: 0.9}", "greedy_exact: {at_least: 0.8}"
    )
    made = report(later, "2", clock=datetime(2026, 12, 24, tzinfo=UTC))
    assert made.verdict.word == "APPROVED" and faults(made) == set()
    assert "WAIVER_NOT_NEEDED" in {one.code for one in made.exceptions}


def test_a_waiver_renewed_late_carried_nothing_meanwhile(later: Governed) -> None:
    later.story.minutes += 20 * 24 * 60
    later.waive("THRESHOLD_NOT_MET", "model sft", 14)
    now = promotion.state(later.story.log)
    ended = [
        bool(retrospect.live(now, MODEL, datetime(2026, 12, day, tzinfo=UTC))[-1].expired)
        for day in (1, 6, 12)
    ]
    assert ended == [False, True, False]


# -- Four spoiled copies: each is seen on page one -------------------------------------------------
def test_altered_evidence_is_seen_on_page_one(later: Governed) -> None:
    altered(later.story.log, 20)
    text = front(report(later, "2"))
    assert "EVIDENCE DOES NOT VERIFY" in text and "entry 20" in text
    assert "APPROVED" not in text.replace("NOT APPROVED", "")


def test_self_approval_is_seen_on_page_one(scene: Governed) -> None:
    """dora asked for the runs and approves her own; cleo asks for the move she approves."""
    packet = scene.freeze()
    scene.approve("dora", "engineer", packet)
    scene.approve("cleo", "product", packet)
    scene.approve("ada", "ml-lead", packet)
    scene.request()
    with pytest.raises(RefusedError):
        scene.consume()
    made = report(scene)
    assert made.verdict.word == "PENDING" and "has: ada as ml-lead" in made.verdict.reason
    assert "SELF_APPROVAL" in faults(made)
    assert made.separation.state == "broken" and made.separation.own == ["cleo", "dora"]
    assert [one.code for one in made.separation.reasons] == ["DUTIES_BROKEN_UNCOUNTED"]
    text = front(made)
    assert (
        "Self-approval" in text
        and "DOES NOT COUNT" in text
        and "duties: broken" in text
        and "FAULT" in text
    )


def test_an_expired_waiver_is_seen_on_page_one(later: Governed) -> None:
    """Nothing was written since; time has passed."""
    during = report(later, "2", clock=datetime(2026, 12, 1, tzinfo=UTC))
    after = report(later, "2", clock=datetime(2026, 12, 24, tzinfo=UTC))
    assert during.verdict.word == "APPROVED WITH CONDITIONS" and faults(during) == set()
    assert after.verdict.word == "NOT APPROVED" and faults(after) == {"WAIVER_EXPIRED"}
    assert after.waivers[0].why_ended
    text = front(after)
    assert "Expired waiver" in text and "WAIVER_NOT_IN_FORCE" in text and "2026-12-04" in text


@pytest.mark.parametrize("version", ["1", "2"])
def test_page_one_made_alone_is_page_one_of_the_report(later: Governed, version: str) -> None:
    whole = build(later.story.sources, MODEL, version)
    alone = build(later.story.sources, MODEL, version, page_one=True)
    assert page_one(alone) == page_one(whole)
    assert exit_code(alone) == exit_code(whole)


def test_an_alias_moved_behind_our_back_is_seen_on_page_one(later: Governed) -> None:
    moved = finding(
        "REGISTRY_ALIAS_MOVED",
        f"{MODEL}@champion",
        "moved",
        expected="version 2",
        found="version 1",
    )
    for version in ("1", "2"):
        made = build(replace(later.story.sources, compare=lambda now: (moved,)), MODEL, version)
        text = front(made)
        assert "Alias moved without a decision" in text
        assert "the log says version 2, the registry says version 1" in text
    agreed = build(replace(later.story.sources, compare=lambda now: ()), MODEL, "2")
    assert agreed.integrity.registry == "agrees with the log" and faults(agreed) == set()


def test_a_rollback_by_one_person_alone_is_told_and_becomes_overdue(later: Governed) -> None:
    later.story.models["sft"] = (
        promotion.state(later.story.log).registration(MODEL, "1").predicate.model_digest
    )
    later.request("1", action="rollback", break_glass=True)
    later.consume("1", action="rollback")
    soon = report(later, "1")
    assert "SECOND_SIGNATURE_DUE" in {one.code for one in soon.exceptions} and faults(soon) == set()
    (waits,) = [one for one in soon.open if one.code == "SECOND_SIGNATURE"]
    assert not waits.overdue and waits.next.startswith("countersign approve promotion ")
    late = report(later, "1", clock=later.now + timedelta(days=4))
    assert "SECOND_SIGNATURE_OVERDUE" in faults(late)
    assert late.open[0].overdue and "OVERDUE" in front(late)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            _revoked_since,
            "the key by which ada approved as ml-lead in E24 was revoked later, in E28",
        ),
        (_by_a_revoked_key, "ada's of E25: the key was revoked before, in E23"),
    ],
)
def test_a_key_that_was_revoked_is_told_with_its_entry(
    scene: Governed, change: Change, told: str
) -> None:
    change(scene)
    assert told in unescape(front(report(scene)))


# -- What is told ----------------------------------------------------------------------------------
def test_every_word_is_in_the_record_in_order(later: Governed) -> None:
    made = report(later, "2")
    said = [
        (one.answer, one.by.partition(" ")[0])
        for one in made.decisions
        if not one.about.startswith("gate@")
    ]
    assert said == [
        ("registered", "ci"),
        ("refused", "the"),
        ("frozen", "the"),
        ("rejected", "ben"),
        ("waived", "ben"),
        ("frozen", "the"),
        ("approved", "ada"),
        ("approved", "ben"),
        ("asked", "cleo"),
        ("allowed", "the"),
        ("opened", "ben"),
        ("closed", "ben"),
    ]
    rejected = next(one for one in made.decisions if one.answer == "rejected")
    assert rejected.words == "Below the threshold, and nothing is done instead."
    assert [one.evidence[0] for one in made.decisions] == sorted(
        one.evidence[0] for one in made.decisions
    )
    assert "Below the threshold, and nothing is done instead." in page(made).decode()


def test_a_waiver_is_told_with_who_accepted_it_the_control_and_the_end(later: Governed) -> None:
    made = report(later, "2")
    notice = next(one for one in made.exceptions if one.kind == "waiver")
    fields = notice.fields
    assert (fields["principal"], fields["role"]) == ("ben", "risk")
    assert fields["expires"].startswith("2026-12-04") and "the output filter" in fields["control"]
    assert made.exceptions.index(notice) == 0
    row = next(row for row in made.gates if row.name == "Evaluation")
    assert row.result == "waived" and row.codes == ["THRESHOLD_NOT_MET"]
    assert re.search(r"until 2026-12-04 [^,]*, accepted by ben as risk", front(made))


def test_it_is_compared_with_the_champion_and_the_version_approved_last(later: Governed) -> None:
    made = report(later, "2")
    metric = next(one for one in made.metrics if one.name == "greedy_exact")
    assert ("support-desk/1", "champion before it") in [
        (one.model, one.relation) for one in metric.scores
    ]
    assert [one.words for one in metric.differences if one.against == "support-desk/1"] == [
        "lower (the interval excludes zero)"
    ]
    assert made.change_since.startswith("version 1") and "approved last" in made.change_since
    assert made.unchanged["data"] == 3 and "results" not in made.unchanged
    assert {(one.group, one.what) for one in made.changes} == {
        ("results", "greedy_exact on desk_eval"),
        ("results", "sampled_unsafe on desk_eval"),
    }
    assert made.way_back.target.startswith("version 1")


def test_open_points_name_an_owner_and_a_day(later: Governed) -> None:
    made = report(later, "2")
    ending = [one for one in made.open if one.due]
    assert [one.code for one in made.open if not one.due] == ["NOT_SET"]
    assert [(one.what, one.owner, (one.due or "")[:10]) for one in ending] == [
        ("waiver of THRESHOLD_NOT_MET model sft ends", "risk", "2026-12-04")
    ]
    assert "2026-12-04" in made.use.review_by


def test_gaps_tell_what_failed_before_what_was_not_run(later: Governed) -> None:
    results = [one.result for one in report(later, "2").gaps]
    assert results == sorted(results, key=("fail", "not run", "no threshold", "not recorded").index)


def test_nothing_is_blank(later: Governed) -> None:
    found = _blank(report(later, "2").model_dump(), "")
    assert set(found) <= {"ids_note", "curves_note", "card_note", "beyond_raters", *NOT_STATED}


def _blank(value: object, name: str) -> list[str]:
    if isinstance(value, dict):
        return [one for key, item in value.items() for one in _blank(item, str(key))]
    if isinstance(value, list):
        return [one for item in value for one in _blank(item, name)]
    return [name] if value == "" else []


# -- The past --------------------------------------------------------------------------------------
def test_the_past_is_told_as_it_was(whole: Governed) -> None:
    def at(time: str, version: str = "1") -> Report:
        return report(whole, version, as_of=datetime.fromisoformat(f"2026-11-20T{time}+00:00"))

    assert (
        at("09:31:30").verdict.word == "PENDING"
        and "has: ada as ml-lead" in at("09:31:30").verdict.reason
    )
    assert at("09:35:00").verdict.word == "APPROVED" and at("09:35:00").holds[0].until is None
    assert at("09:47:00", "2").verdict.word == "NOT APPROVED"
    assert (
        at("09:56:30", "2").verdict.word == "NOT APPROVED"
        and "INCIDENT_OPEN" in at("09:56:30", "2").verdict.reason
    )
    assert at("09:57:30", "2").verdict.word == "APPROVED WITH CONDITIONS"
    assert str(at("09:35:00").reads).startswith("entries 0..27 without those dated later")
    with pytest.raises(InputError, match="no version"):
        at("09:35:00", "2")
    with pytest.raises(InputError, match="begins later"):
        at("08:00:00")


def test_what_is_written_after_a_later_decision_changes_no_past(scene: Governed) -> None:
    """Back-dated statements too: the past ends at the first decision that is later."""
    scene.released()
    then = datetime(2026, 11, 20, 9, 40, tzinfo=UTC)
    scene.story.minutes = 45
    asked = scene.request("1", action="retire", alias="champion")
    scene.approve("ada", "ml-lead", asked, "promotion")
    scene.consume("1", action="retire")
    before = report(scene, as_of=then)
    scene.incident("1", "open", at="2026-11-20T09:36:00.000000Z")
    second(scene)
    after = report(scene, as_of=then)
    parts = ("verdict", "decisions", "exceptions", "people", "holds", "reads")
    assert all(getattr(before, name) == getattr(after, name) for name in parts)


def test_the_same_log_and_time_give_the_same_bytes(whole: Governed) -> None:
    first = report(whole, "2", clock=datetime(2026, 11, 25, tzinfo=UTC))
    again = report(whole, "2", clock=datetime(2026, 11, 28, tzinfo=UTC))
    assert page(first) == page(again)


# -- The database, spoiled by somebody with access to it -------------------------------------------
def test_an_entry_taken_out_is_seen(later: Governed) -> None:
    with sqlite3.connect(later.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_DELETE")
        database.execute("DELETE FROM countersign_entry WHERE idx = 33")
    assert report(later, "2").verdict.word == "EVIDENCE DOES NOT VERIFY"
