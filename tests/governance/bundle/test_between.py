"""Both verifiers judge alike what stands between two parts: a log that began by earlier rules, an
incident about several digests, votes about a registration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.digests import manifest_digest
from governance.attest.envelope import sign_statement, unverified
from governance.attest.predicates import KINDS, Artifact, Incident, Refusal, Registration
from governance.base.errors import VerificationError
from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.model_entries import ModelEntries
from governance.history.verify import TrustAnchors
from governance.log import evidence
from governance.log.rules import CURRENT
from governance.machine import machine
from governance.machine.machine import log_to_add_to, open_log, signer
from governance.release import promotion, serving
from tests.governance.bundles import forged, made, pin, requested
from tests.governance.forged import forge, second
from tests.governance.governed import PEOPLE, Governed, authorize, begun, empty, person
from tests.governance.story import MODEL, START, digest, tell


def settled(scene: Governed, choices: Sequence[int]) -> str:
    """Version 1, registered with other bytes as well, past the server. Both policy owners approve
    the registrations of these numbers. The digest of the one that was approved.
    """
    log = scene.story.log
    first = promotion.state(log).registration(MODEL, "1").predicate
    files = [first.files[0].model_copy(update={"sha256": digest("other")}), *first.files[1:]]
    changes = {"files": files, "model_digest": manifest_digest(files), "log": None}
    other = first.model_copy(update=changes)
    subject = Artifact(role="model", name="sft", sha256=other.model_digest)
    evidence.record(log, signer(scene.story.machine), "registration", [subject], other)
    registrations = promotion.state(log).evidence.all(Registration)
    for choice in choices:
        for owner in ("ada", "ben"):
            scene.approve(owner, "policy-owner", registrations[choice].digest, "registration")
    return registrations[choices[0]].predicate.model_digest if choices else ""


@pytest.mark.parametrize("choices", [(), (0,), (1,), (0, 1)])
def test_a_version_has_the_bytes_that_owners_settled(
    scene: Governed, choices: tuple[int, ...]
) -> None:
    """Until they did, nobody accepts or serves it; then everybody takes the same bytes."""
    expected = settled(scene, choices)
    log = scene.story.log
    data, origin = made(log), pin(log)
    report, now = verify_bundle(data, TrustAnchors(origin)), promotion.state(log)
    if len(choices) == 1:
        assert (report.ok, report.model_digest) == (True, expected)
        assert verifier.verify(data, origin)["digest"] == expected
        served = serving.resolve(now, f"{MODEL}/1")
        assert served.registration.model_digest == expected
        return
    assert "registered with different bytes" in (report.broken or "")
    with pytest.raises(verifier.Refused, match="registered with different bytes"):
        verifier.verify(data, origin)
    with pytest.raises(VerificationError, match="registered with different bytes"):
        serving.resolve(now, f"{MODEL}/1")


def upgraded(folder: Path, monkeypatch: pytest.MonkeyPatch, left_out: str = "") -> Governed:
    """A log that began by rules 1, with one version; it follows those of today since."""
    monkeypatch.setattr(machine, "CURRENT", 1)
    scene = empty(folder)
    authorize(scene)
    scene.story.left_out = left_out
    tell(scene.story)
    monkeypatch.setattr(machine, "CURRENT", CURRENT)
    scene.story.log = open_log(scene.story.machine, scene.story.policies, lambda: START)
    assert promotion.state(scene.story.log).authority.rules == CURRENT
    return scene


def test_a_log_may_follow_later_rules_than_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is judged by the rules at its own position, not at that of the move. The entry that
    raised the version is no statement without a right.
    """
    scene = upgraded(tmp_path, monkeypatch, "sources")
    move = scene.released()
    assert move.allowed
    data, origin = made(scene.story.log), pin(scene.story.log)
    report = verify_bundle(data, TrustAnchors(origin))
    assert report.ok, report.broken
    assert verifier.verify(data, origin)["moves"]
    assert not report.aside


@pytest.mark.slow
@pytest.mark.parametrize(("rules", "accepted"), [(2, False), (1, True)])
def test_a_run_begins_before_its_authorization_ends(
    rules: int, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the same second, which the end is written without a fraction of. The rules of version
    1 compared the texts.
    """
    runs = promotion.state(begun(tmp_path / "first").story.log).view.all()
    started = [one.predicate.run.started for one in runs if one.kind in ("train", "evaluate")]
    monkeypatch.setattr(machine, "CURRENT", rules)
    scene = empty(tmp_path / "second")
    authorize(scene, until=max(started).replace(".000Z", "Z"))
    tell(scene.story)
    monkeypatch.setattr(machine, "CURRENT", CURRENT)
    scene.story.log = open_log(scene.story.machine, scene.story.policies, lambda: START)
    requested(scene)
    forged(scene)
    data, origin = made(scene.story.log), pin(scene.story.log)
    assert verify_bundle(data, TrustAnchors(origin)).ok == accepted
    if accepted:
        assert verifier.verify(data, origin)["moves"]
        return
    with pytest.raises(verifier.Refused, match="nobody authorized"):
        verifier.verify(data, origin)


def test_members_that_may_be_absent_are_the_same_to_both() -> None:
    """Those with a default, but for what the second verifier reads with one of its own: the log's
    name, and what it does not read.
    """
    unread = {"log", "slices", "recall", "rules", "use", "dvc", "declaration"}
    unread |= {"behaviour", "pairs", "equal_rewards", "functions", "chat_template", "stopped"}
    unread |= {"selected", "answers", "curve", "looks", "tools", "allowances", "merged", "canaries"}
    unread |= {"judged_by", "judges", "compared", "canary", "gap", "metrics"}
    unread |= {"exclusions", "labels", "kinds", "aware_at", "classified_at", "filed"}
    unread |= {"determined_at", "informed", "affected"}
    unread |= {"request_bytes", "answer_characters", "searched"}
    unread_kinds = {"read", "generation", "seed_run", "results", "judge_card"}
    expected = {
        name: {
            field: info.get_default(call_default_factory=True)
            for field, info in kind.model.model_fields.items()
            if not info.is_required() and field not in unread
        }
        for name, kind in KINDS.items()
        if name not in unread_kinds
    }
    assert {name: fields for name, fields in expected.items() if fields} == verifier.ABSENT


def test_a_statement_may_lack_what_says_nothing(scene: Governed) -> None:
    """Anybody enrolled can send an approval without the members that have a default. It spoils no
    bundle.
    """
    scene.released()
    log = log_to_add_to(scene.story.machine)
    for entry in list(log.entries(1)):
        statement, keyid = unverified(entry.envelope)
        predicate, without = statement["predicate"], verifier.ABSENT.get(entry.kind, {})
        kept = {
            name: value
            for name, value in predicate.items()
            if name not in without or value != without[name]
        }
        if kept != predicate:
            people = {person(name).keyid: person(name) for name in PEOPLE}
            author = people.get(keyid, signer(scene.story.machine))
            envelope = sign_statement({**statement, "predicate": kept}, author)
            log.append(envelope, replace(evidence.filed_under(envelope), again=True))
    data, origin = made(log), pin(log)
    first = verify_bundle(data, TrustAnchors(origin)).broken
    if first is None:
        assert verifier.verify(data, origin)["moves"]
        return
    with pytest.raises(verifier.Refused) as refused:
        verifier.verify(data, origin)
    assert "cannot be read" not in str(refused.value), (first, refused.value)


TIMES = {
    "an approval that begins a moment later": ("approve", {"at": "{second}.500000Z"}),
    "an approval that ends a moment later": ("approve", {"expires": "{second}.500000Z"}),
    "a request that begins a moment later": ("request", {"at": "{second}.500000Z"}),
    "a request that ends a moment later": ("request", {"expires": "{second}.500000Z"}),
}
"""What is dated within the second in which a move is decided, whose text is a whole second."""


@pytest.mark.parametrize("row", TIMES)
def test_times_are_compared_not_texts(row: str, scene: Governed) -> None:
    """Both verifiers: a whole second is before its fractions, although its text sorts after
    theirs.
    """
    kind, fields = TIMES[row]
    story = scene.story
    frozen = scene.freeze()
    second = f"{START + timedelta(minutes=story.minutes + 10):%Y-%m-%dT%H:%M:%S}"
    dated = {name: text.format(second=second) for name, text in fields.items()}
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen, **(dated if kind == "approve" else {}))
    scene.request(**(dated if kind == "request" else {}))
    forged(scene, at=f"{second}Z")
    data, origin = made(story.log), pin(story.log)
    in_time = "ends" in row
    assert verify_bundle(data, TrustAnchors(origin)).ok == in_time
    if in_time:
        assert verifier.verify(data, origin)["moves"]
        return
    with pytest.raises(verifier.Refused):
        verifier.verify(data, origin)


def test_an_incident_is_about_one_version_only(scene: Governed) -> None:
    """Other digests beside those of the version would be blocked, and no command could close it."""
    story = scene.story
    story.data("other", "conversation", "conversation", 100)
    story.train("sft2", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    story.register("sft2", "2")
    models = [
        Artifact(role="model", name=name, sha256=story.models[name]) for name in ("sft", "sft2")
    ]
    incident = Incident.model_validate(
        scene.signed("ben", "risk", model=MODEL, version="1", state="open")
    )
    scene.say("ben", "incident", models, incident)
    timeline = promotion.state(story.log).timeline
    for version in ("1", "2"):
        ours = bool(timeline.open_incidents(story.models["sft" if version == "1" else "sft2"]))
        theirs = any(
            "incident" in line
            for line in verifier.verify(made(story.log, version), pin(story.log))["against"]
        )
        assert (ours, theirs) == (False, False)


def test_every_vote_about_a_registration_is_in_the_index(scene: Governed) -> None:
    log = scene.story.log
    registration = promotion.state(log).registration(MODEL, "1")
    index = scene.approve("ada", "policy-owner", registration.digest, "registration", model=None)
    assert index in ModelEntries().of(log, MODEL, log.size())


def test_refused_statements_are_in_no_index(scene: Governed) -> None:
    """Any account can cause them, and a bundle has room for so many entries."""
    for model in ("", MODEL):
        _refuse(scene, model)


def _refuse(scene: Governed, model: str) -> None:
    log = scene.story.log
    refusal = Refusal(
        operation="append",
        model=model,
        caller="guest",
        reason="gate: account",
        run=scene.story.run(),
    )
    subject = Artifact(role="model", name="none", sha256=digest("append"))
    entry = evidence.record(log, signer(scene.story.machine), "refusal", [subject], refusal)
    assert entry.index not in ModelEntries().of(log, MODEL, log.size())


def test_a_retirement_may_name_any_alias(scene: Governed) -> None:
    """It takes every alias of the version. Both verifiers take who asked for it."""
    scene.released()
    asked = scene.request("1", action="retire", alias="retired", from_version=None)
    scene.approve("ben", "risk", asked, "promotion")
    entry = scene.story.log.size()
    assert scene.consume("1", "retired", action="retire").allowed
    data, origin = made(scene.story.log), pin(scene.story.log)
    report = verify_bundle(data, TrustAnchors(origin))
    assert report.ok and not report.aside, report.broken
    assert f"entry {entry}: retire as retired" in verifier.verify(data, origin)["moves"]


@pytest.mark.parametrize("complete", [True, False])
def test_a_forged_move_of_another_version_is_found_in_a_complete_bundle(
    scene: Governed, complete: bool
) -> None:
    """Version 1 was released rightly. Then version 2 got the alias past the server."""
    scene.released()
    scene.story.data("other", "conversation", "conversation", 100)
    second(scene)
    entry = forge(scene, "2")
    data, origin = (
        made(scene.story.log, **({} if complete else {"index": ""})),
        pin(scene.story.log),
    )
    report = verify_bundle(data, TrustAnchors(origin))
    if complete:
        assert f"entry {entry}" in (report.broken or "")
        with pytest.raises(verifier.Refused):
            verifier.verify(data, origin)
        return
    assert report.ok and not report.complete
    assert (
        f"Not repeated: the decisions about other versions, at entries {entry - 1}, {entry}."
        in (report.limits[1])
    )
    assert "the moves of the model's other versions" in verifier.verify(data, origin)["relies_on"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_move_of_candidate_that_holds_no_request_is_found_in_a_complete_bundle(
    scene: Governed, version: str
) -> None:
    scene.released()
    scene.story.data("other", "conversation", "conversation", 100)
    second(scene)
    forge(scene, version, alias="candidate", asked=None)
    data, origin = made(scene.story.log), pin(scene.story.log)
    report = verify_bundle(data, TrustAnchors(origin))
    assert "does not hold what was asked" in (report.broken or "")
    with pytest.raises(verifier.Refused, match="does not hold what was asked"):
        verifier.verify(data, origin)
