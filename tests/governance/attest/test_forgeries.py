"""What somebody sends to a server's log so that others' words count where they were not meant:
replays and forgeries.

Whoever sends it has an account, can read the whole log, and has at most a key of their own. Each
row says what it tries; none of it moves an alias, and the log verifies afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.attest import canonical
from governance.attest.envelope import sign_statement
from governance.attest.predicates import (
    Approval,
    Artifact,
    Authorization,
    CheckpointKey,
    Incident,
    Packet,
    PolicyChange,
    PromotionRequest,
    Revocation,
    Waiver,
)
from governance.base.errors import CountersignError, InputError, RefusedError, VerificationError
from governance.base.time import instant_of
from governance.history import packet
from governance.history.packet import digest_of
from governance.history.verify import TrustAnchors, verify_log
from governance.log import api, evidence
from governance.log.carry import Transfer, carry
from governance.log.port import Filing
from governance.machine.machine import signer
from governance.people import policies, subjects, votes
from governance.people.speaking import Signing
from governance.policy.policies import files_digest, load_policies
from governance.registry.governed.limit import Limit
from governance.release import promotion, retrospect
from governance.server.append import verifier
from tests.governance.governed import RULES, Governed, empty, governed, person, with_check
from tests.governance.story import MODEL, digest


def send(scene: Governed, envelope: bytes) -> int:
    """As the server takes it; the entry."""
    return api.append(scene.story.log, verifier(scene.story.log, scene.story.now), envelope).index


def said(scene: Governed, index: int) -> bytes:
    return scene.story.log.entry(index).envelope


def beside(envelope: bytes, *, first: bool, keyid: str = "ab" * 32) -> bytes:
    """The same statement with a second signature, by nobody."""
    data = json.loads(envelope)
    data["signatures"].insert(
        0 if first else 1, {"keyid": keyid, "sig": data["signatures"][0]["sig"]}
    )
    return canonical.dumps(data)


def verifies(scene: Governed) -> None:
    log = scene.story.log
    report = verify_log(
        log, MODEL, scene.story.policies.keys, TrustAnchors(origin=log.entry(0).leaf_hash.hex())
    )
    assert report.ok, report.broken


Again = Callable[[bytes], bytes]
AGAIN: dict[str, Again] = {
    "the same bytes": lambda envelope: envelope,
    "a signature by nobody before it": lambda envelope: beside(envelope, first=True),
    "a signature by nobody after it": lambda envelope: beside(envelope, first=False),
    "a signature that claims a person": lambda envelope: beside(
        envelope, first=True, keyid=json.loads(envelope)["signatures"][0]["keyid"]
    ),
}


@pytest.mark.parametrize("row", AGAIN)
def test_an_approval_taken_back_is_not_said_again_by_others(row: str, scene: Governed) -> None:
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    taken_back = said(scene, scene.approve("ben", "risk", packet))
    scene.approve("ben", "risk", packet, decision="reject", reason="I was wrong")
    scene.request()
    size = scene.story.log.size()
    try:
        send(scene, AGAIN[row](taken_back))
    except CountersignError as error:
        assert "2 signatures" in str(error)
    assert scene.story.log.size() == size
    with pytest.raises(RefusedError, match="REJECTED"):
        scene.consume()
    verifies(scene)


@pytest.mark.parametrize("kind", ["gate", "registration", "promotion"])
def test_what_may_be_said_twice_is_not_said_twice_by_others(kind: str, scene: Governed) -> None:
    """An older decision of a service, sent again after a later one, would be the latest word."""
    first = next(iter(promotion.state(scene.story.log).evidence.all(kind)))
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99)
    scene.story.register("sft", "2")
    size = scene.story.log.size()
    assert send(scene, said(scene, first.index)) == first.index
    assert scene.story.log.size() == size
    verifies(scene)


def _without_exceptions(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    return honest.model_copy(update={"waived": []}), honest.model_digest


def _with_a_small_exception(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    small = [
        one.model_copy(update={"found": "0.9499", "figures": ["0.9499"]}) for one in honest.waived
    ]
    return honest.model_copy(update={"waived": small}), honest.model_digest


def _of_another_model(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    """It shows the first version's model, and is filed under the second's."""
    first = promotion.state(scene.story.log).registration(MODEL, "1").predicate
    state = promotion.state(scene.story.log)
    shown = promotion.freeze(state, MODEL, "1", scene.now, scene.story.run())
    assert shown.model_digest == first.model_digest != honest.model_digest
    return shown.model_copy(update={"version": "2"}), honest.model_digest


def _of_other_files(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    return honest.model_copy(update={"files": honest.files[:1]}), honest.model_digest


def _of_another_commit(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    return honest.model_copy(update={"commits": ["f" * 40]}), honest.model_digest


def _with_another_champion(scene: Governed, honest: Packet) -> tuple[Packet, str]:
    """Which people only read: whoever shows it to them finds out."""
    return honest.model_copy(update={"champion": "0" * 64}), honest.model_digest


PACKETS: dict[str, tuple[Callable[[Governed, Packet], tuple[Packet, str]], str]] = {
    "without the exceptions": (_without_exceptions, "nobody who approved it saw it"),
    "with an exception that looks small": (
        _with_a_small_exception,
        "nobody who approved it saw it",
    ),
    "of another model": (_of_another_model, "the registration"),
    "of other files": (_of_other_files, "the registration"),
    "of another commit": (_of_another_commit, "the code or the environment"),
}


def forged(scene: Governed, made: tuple[Packet, str]) -> str:
    """By cleo, who may freeze a version; its digest."""
    packet, about = made
    digest = digest_of(packet)
    subjects = [
        Artifact(role="packet", name="x", sha256=digest),
        Artifact(role="model", name="sft", sha256=about),
    ]
    scene.say("cleo", "packet", subjects, packet)  # past the server, which takes none of these
    return digest


def second(scene: Governed) -> Packet:
    """A version that passes by a waiver only; its honest packet."""
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.905, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.waive("THRESHOLD_NOT_MET", "model sft")
    return promotion.freeze(
        promotion.state(scene.story.log), MODEL, "2", scene.now, scene.story.run()
    )


@pytest.mark.parametrize("row", PACKETS)
def test_a_packet_that_is_not_what_the_log_says(row: str, scene: Governed) -> None:
    """Whoever approved it was deceived, and it moves nothing."""
    make, told = PACKETS[row]
    digest = forged(scene, make(scene, second(scene)))
    scene.approve("ada", "ml-lead", digest)
    scene.approve("ben", "risk", digest)
    scene.request("2")
    with pytest.raises(RefusedError, match="PACKET_OUT_OF_DATE") as refused:
        scene.consume("2")
    assert told in str(refused.value)
    verifies(scene)


@pytest.mark.parametrize("make", [*(one for one, _ in PACKETS.values()), _with_another_champion])
def test_a_packet_that_is_not_what_the_log_says_is_not_approved(
    make: Callable[[Governed, Packet], tuple[Packet, str]], scene: Governed
) -> None:
    """An approver's own client puts it together again."""
    forged(scene, make(scene, second(scene)))
    state = promotion.state(scene.story.log)
    _, changed = votes.current(state, MODEL, "2", scene.now)
    assert changed
    what = subjects.find(state, [f"{MODEL}/2"])
    how = votes.Vote("approve", "because", "0" * 64)
    with pytest.raises(RefusedError, match="changed since its evidence was frozen"):
        votes.check(state, what, how, Signing(person("ben"), "risk", scene.now))


# -- From one log into another ---------------------------------------------------------------------
@pytest.fixture
def elsewhere(tmp_path: Path) -> Governed:
    """Another log of the same project, policies and people."""
    return empty(tmp_path / "elsewhere")


ELSEWHERE: dict[str, Callable[[Governed, dict[str, Any]], int]] = {
    "an approval of policies": lambda there, log: there.approve(
        "ada", "policy-owner", digest("x"), "policy", **log
    ),
    "an approval of a packet": lambda there, log: there.approve(
        "ada", "ml-lead", digest("x"), **log
    ),
    "a waiver": lambda there, log: there.say(
        "ben",
        "waiver",
        [Artifact(role="model", name="sft", sha256=digest("x"))],
        Waiver.model_validate(
            there.signed(
                "ben",
                "risk",
                model=MODEL,
                finding="THRESHOLD_NOT_MET",
                about="model sft",
                owner="risk",
                control="none",
                expires="2026-11-27T09:00:00Z",
                **log,
            )
        ),
    ),
    "a revocation": lambda there, log: there.say(
        "ben",
        "revocation",
        [Artifact(role="key", name="ada", sha256=person("ada").keyid)],
        Revocation.model_validate(there.signed("ben", "policy-owner", owner="ada", **log)),
    ),
}


@pytest.mark.parametrize("row", ELSEWHERE)
def test_what_was_said_to_one_log_counts_in_no_other(
    row: str, scene: Governed, elsewhere: Governed
) -> None:
    other = elsewhere.story.log.entry(0).leaf_hash.hex()
    assert other != scene.story.log.entry(0).leaf_hash.hex()
    index = ELSEWHERE[row](elsewhere, {"log": other})
    with pytest.raises(RefusedError, match="does not count in this log"):
        send(scene, said(elsewhere, index))
    assert send(elsewhere, said(elsewhere, index)) == index
    made = Transfer()
    checks = verifier(scene.story.log, scene.story.now)
    carry(elsewhere.story.log, scene.story.log, checks, signer(scene.story.machine), made)
    assert index not in {one.index for one in made.statements}, "it stays"
    scene.story.log.append(
        said(elsewhere, index), Filing("x", "x", row.split()[1], (digest("x"),))
    )  # somebody put it there all the same
    authority = promotion.state(scene.story.log).authority
    assert authority.revoked == {}
    assert authority.proposals == ()


DATED: dict[str, tuple[dict[str, Any], bool]] = {
    # what is approved, and when: whether the server takes it
    "now": ({}, True),
    "by a clock that is a little wrong": ({"at": "2026-11-20T09:45:00Z"}, True),
    "before its author's last day": ({"at": "2026-11-19T12:00:00Z"}, False),
    "when its author has gone": ({"at": "2027-01-01T00:00:00Z"}, False),
    "before, of data": ({"about": "data", "at": "2026-11-01T12:00:00Z"}, False),
    "ahead, of data": ({"about": "data", "at": "2027-01-01T00:00:00Z"}, False),
}


@pytest.mark.parametrize("row", DATED)
def test_what_people_say_is_dated_when_they_say_it(row: str, scene: Governed) -> None:
    """Their clocks decide nothing that the server's own can see."""
    fields, taken = DATED[row]
    about = {"decision": "approve", "about": "packet", "model": MODEL, "page": digest("page")}
    said = Approval.model_validate({**scene.signed("ben", "risk"), **about, **fields})
    subject = Artifact(role="x", name="x", sha256=digest("x"))
    envelope = sign_statement(evidence.build_statement("approval", [subject], said), person("ben"))
    size = scene.story.log.size()
    if taken:
        assert send(scene, envelope) == size
        scene.story.minutes += 60 * 24
        assert send(scene, envelope) == size, "sent again, it is there already"
    else:
        with pytest.raises(RefusedError, match="it is dated"):
            send(scene, envelope)


def test_policies_that_owners_signed_for_one_log_are_not_in_force_in_another(
    scene: Governed, elsewhere: Governed
) -> None:
    """A trial's lax policies, carried into production with their signatures."""
    path = elsewhere.story.root / "policies" / "policy.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("approvals: 2", "approvals: 0"), encoding="utf-8"
    )
    lax = load_policies(path.parent)
    elsewhere.propose(lax)
    log, first = elsewhere.story.log, elsewhere.story.log.size()
    for who in ("ada", "ben"):
        authority = promotion.state(log).authority
        offer = policies.offer(authority, lax.digest[:12])
        policies.sign(
            log,
            authority,
            offer,
            policies.owner(authority, Signing(person(who), None, elsewhere.now)),
            "a trial",
        )
    assert promotion.state(log).authority.in_force.digest == lax.digest
    scene.propose(lax)
    for entry in list(log.entries(first)):
        with pytest.raises(RefusedError, match="does not count in this log"):
            send(scene, entry.envelope)
    assert promotion.state(scene.story.log).authority.in_force.digest == scene.story.policies.digest


def test_a_request_whose_digest_begins_alike_is_not_signed_for_another(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody tries nonces until their request begins like the one that a colleague was told
    of.
    """
    monkeypatch.setattr(subjects, "SHORTEST", 1)
    scene.freeze()
    asked: dict[str, str] = {}
    while (made := scene.request())[:1] not in asked:
        asked[made[:1]] = made
    state = promotion.state(scene.story.log)
    with pytest.raises(InputError, match="several digests begin with"):
        subjects.find(state, ["promotion", made[:1]])
    assert subjects.find(state, ["promotion", made]).sha256 == made


# -- Words that would stop everybody ---------------------------------------------------------------
DATES = {
    "no month": "2026-13-45T09:00:00Z",
    "no hour": "2026-11-20T99:00:00Z",
    "a leap second": "2026-12-31T23:59:60Z",
    "no year": "0000-01-01T00:00:00Z",
    "nothing after it": "9999-12-31T23:59:59Z",
    "digits of another alphabet": "٢٠٢٦-11-20T09:00:00Z",
}


@pytest.mark.parametrize("row", DATES)
def test_a_date_that_is_none_is_no_statement(row: str, scene: Governed) -> None:
    """Every decision compares dates: one that cannot be compared, once in the log, would stop every
    release.
    """
    scene.released()
    model = Artifact(role="model", name="sft", sha256=scene.story.models["sft"])
    fields = {"model": MODEL, "finding": "x", "about": "x", "owner": "x", "control": "x"}
    good = Waiver.model_validate(
        scene.signed("eve", "visitor", expires="2026-11-27T09:00:00Z", **fields)
    )
    statement = evidence.build_statement("waiver", [model], good)
    statement["predicate"]["expires"] = DATES[row]
    size = scene.story.log.size()
    with pytest.raises(VerificationError, match="does not follow the schema"):
        send(scene, sign_statement(statement, person("eve")))
    assert scene.story.log.size() == size


def test_a_successor_that_is_no_key_is_not_taken(scene: Governed) -> None:
    said = CheckpointKey.model_validate(scene.signed("ada", "policy-owner", pem="garbage"))
    subject = Artifact(role="checkpoint_key", name="x", sha256=digest("x"))
    with pytest.raises(RefusedError, match="does not contain an Ed25519 public key"):
        send(
            scene,
            sign_statement(
                evidence.build_statement("checkpoint_key", [subject], said), person("ada")
            ),
        )


def test_an_incident_is_closed_by_who_may_only(tmp_path: Path) -> None:
    """Policy names the roles; a visitor's word that all is well again is not even taken."""
    scene = governed(tmp_path, RULES + "incidents: {closed_by: [risk]}\n")
    model = Artifact(role="model", name="sft", sha256=scene.story.models["sft"])
    scene.incident("1", "open")
    for who, role, taken in (("eve", "visitor", False), ("ben", "risk", True)):
        signed = scene.signed(who, role, model=MODEL, version="1", state="closed")
        said = Incident.model_validate(with_check(signed))
        envelope = sign_statement(evidence.build_statement("incident", [model], said), person(who))
        if taken:
            assert send(scene, envelope) == scene.story.log.size() - 1
        else:
            with pytest.raises(RefusedError, match="permits no visitor to sign"):
                send(scene, envelope)


def test_an_incident_is_not_closed_without_a_check(tmp_path: Path) -> None:
    """The server does not take the closing."""
    scene = governed(tmp_path)
    model = Artifact(role="model", name="sft", sha256=scene.story.models["sft"])
    scene.incident("1", "open")
    said = Incident.model_validate(
        scene.signed("ben", "risk", model=MODEL, version="1", state="closed")
    )
    envelope = sign_statement(evidence.build_statement("incident", [model], said), person("ben"))
    with pytest.raises(RefusedError, match="nobody who may has checked"):
        send(scene, envelope)


# -- Who may do nothing, and is in the way ---------------------------------------------------------
def _packet_of_another_commit(scene: Governed, by: str, problem: str) -> Packet:
    """Sent by a person, and refused for this problem."""
    now = promotion.state(scene.story.log)
    honest = promotion.freeze(now, MODEL, "1", scene.now, scene.story.run())
    other = honest.model_copy(update={"commits": ["f" * 40]})
    statement = evidence.build_statement("packet", packet.subjects(other), other)
    with pytest.raises(RefusedError, match=problem):
        send(scene, sign_statement(statement, person(by)))
    return other


def _another_packet(scene: Governed) -> None:
    _packet_of_another_commit(scene, "cleo", "not the one that this log gives")


def _a_packet_by_a_visitor(scene: Governed) -> None:
    """Also where it came past the server, it counts for nobody."""
    other = _packet_of_another_commit(scene, "eve", "does not let this key sign packet")
    scene.say("eve", "packet", packet.subjects(other), other)


def _a_packet_of(date: str) -> Callable[[Governed], None]:
    """What stands against the release then is what she says it is, and not what stands against it
    now.
    """

    def send_it(scene: Governed) -> None:
        state, run = (
            promotion.state(scene.story.log),
            scene.story.run().model_copy(update={"finished": date}),
        )
        other = promotion.freeze(state, MODEL, "1", instant_of(date), run)
        envelope = sign_statement(
            evidence.build_statement("packet", packet.subjects(other), other), person("cleo")
        )
        with pytest.raises(RefusedError, match="not the one that this log gives"):
            send(scene, envelope)

    return send_it


def _policies(scene: Governed) -> None:
    """They can be read, and are nobody's but hers."""
    files = dict(scene.story.policies.files)
    files["policy.yaml"] = files["policy.yaml"].replace(
        "lawful_bases: [no_personal_data, consent,", "lawful_bases: ["
    )
    assert files != scene.story.policies.files
    change = PolicyChange(previous=digest("x"), run=scene.story.run(), files=files)
    scene.say(
        "eve",
        "policy",
        [Artifact(role="policy", name="policies", sha256=files_digest(files))],
        change,
    )


IN_THE_WAY: dict[str, Callable[[Governed], object]] = {
    "another packet": _another_packet,
    "a packet by a visitor": _a_packet_by_a_visitor,
    "a packet of a day when its data has expired": _a_packet_of("2099-01-01T00:00:00Z"),
    "a packet of long ago": _a_packet_of("2020-01-01T00:00:00Z"),
    "a waiver": lambda scene: scene.waive(
        "THRESHOLD_NOT_MET", "model sft", who="eve", role="visitor"
    ),
    "a request": lambda scene: scene.request(who="eve", role="visitor", action="retire"),
    "policies": _policies,
}


@pytest.mark.parametrize("row", IN_THE_WAY)
def test_nobody_puts_aside_what_people_approved(row: str, scene: Governed) -> None:
    """The packets made the packet another one, or out of date, as often as their author liked."""
    frozen = scene.freeze()
    for who, role in (("ada", "ml-lead"), ("ben", "risk")):
        scene.approve(who, role, frozen)
    scene.request()
    IN_THE_WAY[row](scene)
    assert scene.consume().allowed
    verifies(scene)


def test_policies_that_a_visitor_records_are_not_those_that_a_gate_was_decided_under(
    scene: Governed,
) -> None:
    """Else an honest decision would come out otherwise, and look forged."""
    _policies(scene)
    scene.story.train("other", "sft", "conversation", "desk_sft", "base", accuracy=0.97)
    now = promotion.state(scene.story.log)
    gate = list(now.evidence.all("gate"))[-1]
    assert retrospect.decided_again(now, gate.index).same


def test_a_retirement_is_of_what_somebody_may_ask_for(scene: Governed) -> None:
    scene.released()
    for who, role, version in (("cleo", "release-manager", "1"), ("eve", "visitor", "77")):
        scene.request("1", who, role, action="retire", names=version)
    assert promotion.to_retire(promotion.state(scene.story.log), MODEL, "champion") == "1"


def _rejection(scene: Governed, who: str, reason: str) -> bytes:
    role = {"eve": "visitor", "ben": "risk", "ada": "ml-lead"}[who]
    predicate = Approval.model_validate(
        {
            **scene.signed(who, role),
            "reason": reason,
            "decision": "reject",
            "about": "data",
            "page": None,
        }
    )
    subject = Artifact(role="data", name="x", sha256=digest(reason))
    statement = evidence.build_statement("approval", [subject], predicate)
    return sign_statement(statement, person(who))


def test_an_account_adds_so_many_new_statements_in_an_hour(scene: Governed) -> None:
    """Whoever signed them; a statement that is there already is none, and blocks nobody."""
    log = scene.story.log
    verify = verifier(log, scene.story.now, Limit(lambda: scene.now, 2))
    first = _rejection(scene, "ben", "one")
    for _ in range(5):
        api.append(log, verify, first, account="mallory")
    api.append(log, verify, _rejection(scene, "ada", "two"), account="mallory")
    with pytest.raises(RefusedError, match="this account has added 2 statements within the hour"):
        api.append(log, verify, _rejection(scene, "ben", "three"), account="mallory")
    size = log.size()
    api.append(log, verify, _rejection(scene, "ben", "three"), account="ben")
    trained = next(iter(promotion.state(log).evidence.all("train")))
    for _ in range(3):
        api.append(log, verify, said(scene, trained.index), account="mallory")
    assert log.size() == size + 1


def test_revocations_and_incidents_have_no_limit(scene: Governed) -> None:
    log = scene.story.log
    verify = verifier(log, scene.story.now, Limit(lambda: scene.now, 1))
    api.append(log, verify, _rejection(scene, "ben", "one"), account="ben")
    model = Artifact(role="model", name="sft", sha256=scene.story.models["sft"])
    for reason in ("one", "two", "three"):
        incident = Incident.model_validate(
            {
                **scene.signed("ben", "risk", model=MODEL, version="1", state="open"),
                "reason": reason,
            }
        )
        statement = evidence.build_statement("incident", [model], incident)
        api.append(log, verify, sign_statement(statement, person("ben")), account="ben")
    for owner in ("cleo", "dora"):
        revocation = Revocation.model_validate(scene.signed("ben", "policy-owner", owner=owner))
        key = Artifact(role="key", name=owner, sha256=person(owner).keyid)
        statement = evidence.build_statement("revocation", [key], revocation)
        api.append(log, verify, sign_statement(statement, person("ben")), account="ben")
        scene.story.minutes += 1
        again = Revocation.model_validate(scene.signed("ben", "policy-owner", owner=owner))
        statement = evidence.build_statement("revocation", [key], again)
        with pytest.raises(RefusedError, match="this key was revoked before"):
            api.append(log, verify, sign_statement(statement, person("ben")), account="ben")


# -- Who may say what: the same on acceptance and on reading ---------------------------------------
Predicate = tuple[str, str, Any]
"""Kind, sha256 of the subject, and predicate."""


def _vote(scene: Governed, about: str, **fields: Any) -> Predicate:
    said = {"decision": "approve", "about": about, "model": MODEL, "page": digest("page")}
    vote = Approval.model_validate({**scene.signed("eve", "visitor"), **said, **fields})
    return "approval", digest("x"), vote


WITHOUT_RIGHT: dict[str, Callable[[Governed], Predicate]] = {
    **{
        f"an approval of a {about}": lambda scene, about=about: _vote(scene, about)
        for about in (
            "packet", "policy", "data", "objective", "reward", "checkpoint_key", "promotion",
        )
    },
    "a rejection": lambda scene: _vote(scene, "packet", decision="reject"),
    "a waiver": lambda scene: (
        "waiver",
        scene.story.models["sft"],
        Waiver.model_validate(
            scene.signed(
                "eve", "visitor", model=MODEL, finding="THRESHOLD_NOT_MET", about="model sft",
                owner="risk", control="none", expires="2026-11-27T09:00:00Z",
            )
        ),
    ),
    "a request": lambda scene: (
        "request",
        scene.story.models["sft"],
        PromotionRequest.model_validate(
            scene.signed(
                "eve", "visitor", action="retire", model=MODEL, version="1", alias="champion",
                model_digest=scene.story.models["sft"], packet=None, from_version=None,
                nonce="x", expires="2026-11-21T09:00:00Z",
            )
        ),
    ),
    **{
        f"an incident that is {state}": lambda scene, state=state: (
            "incident",
            scene.story.models["sft"],
            Incident.model_validate(
                scene.signed("eve", "visitor", model=MODEL, version="1", state=state)
            ),
        )
        for state in ("open", "closed")
    },
    "a revocation": lambda scene: (
        "revocation",
        person("ada").keyid,
        Revocation.model_validate(scene.signed("eve", "visitor", owner="ada")),
    ),
    "a revocation of a key that nobody has": lambda scene: (
        "revocation",
        digest("key"),
        Revocation.model_validate(scene.signed("eve", "visitor", owner="eve")),
    ),
    "a checkpoint key": lambda scene: (
        "checkpoint_key",
        person("next").keyid,
        CheckpointKey.model_validate(
            scene.signed("eve", "visitor", pem=person("next").public_pem)
        ),
    ),
    "a long reason": lambda scene: (
        "authorization",
        scene.story.policies.digest,
        Authorization.model_validate(
            {
                **scene.signed("eve", "visitor", expires="2026-11-21T09:00:00Z"),
                "reason": "x" * 700_000,
            }
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", WITHOUT_RIGHT)
def test_what_is_not_accepted_does_not_count_where_it_is_read(row: str, scene: Governed) -> None:
    kind, subject, predicate = WITHOUT_RIGHT[row](scene)
    subjects = [Artifact(role="x", name="x", sha256=subject)]
    before = promotion.state(scene.story.log).authority
    statement = evidence.build_statement(kind, subjects, predicate)
    with pytest.raises(RefusedError):
        send(scene, sign_statement(statement, person("eve")))
    index = scene.say("eve", kind, subjects, predicate)  # past the server
    now = promotion.state(scene.story.log)
    logged = next(one for one in now.evidence.all(kind) if one.index == index)
    assert now.authority.speaker(logged) is None
    assert now.authority.revoked == before.revoked
    assert now.authority.proposals == before.proposals
    assert not now.timeline.all_open_incidents
    verifies(scene)


def test_policies_that_are_too_large_are_no_proposal(scene: Governed) -> None:
    files = dict(scene.story.policies.files)
    files["policy.yaml"] += "# " + "x" * (300 << 10) + "\n"
    change = PolicyChange(
        previous=digest("x"),
        run=scene.story.run(),
        files=files,
        log=scene.story.log.entry(0).leaf_hash.hex(),
    )
    subjects = [Artifact(role="policy", name="policies", sha256=files_digest(files))]
    statement = evidence.build_statement("policy", subjects, change)
    with pytest.raises(RefusedError, match="too large"):
        send(scene, sign_statement(statement, person("ada")))
    scene.say("ada", "policy", subjects, change)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", subjects[0].sha256, "policy")
    authority = promotion.state(scene.story.log).authority
    assert authority.in_force.digest == scene.story.policies.digest
    assert authority.proposals == ()


# -- The account that sends ------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["registration", "gate", "promotion"])
def test_a_service_sends_its_decisions_itself(kind: str, scene: Governed) -> None:
    """A statement that the service has signed and not sent, e.g. in a run that ended early."""
    log = scene.story.log
    verify = verifier(log, scene.story.now)
    latest = list(promotion.state(log).evidence.all(kind))[-1]
    changed = {"gate": {"method": "other"}, "registration": {"tier": "other"}}.get(
        kind, {"version": "2"}
    )
    statement = evidence.build_statement(
        kind, latest.subjects, latest.predicate.model_copy(update=changed)
    )
    envelope = sign_statement(statement, signer(scene.story.machine))
    for account in ("mallory", "cleo", "admin", ""):
        with pytest.raises(RefusedError, match="only the account of the service"):
            api.append(log, verify, envelope, account=account)
    assert api.append(log, verify, envelope, account="ci").index == log.size() - 1
