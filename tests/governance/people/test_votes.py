"""Who may say what of a packet, and when it counts; each row changes one thing. Real keys, real
log, real commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from governance.base.errors import RefusedError
from governance.base.time import instant_of
from governance.gates.checks.votes import packet_votes
from governance.people.votes import release_context
from governance.release import promotion
from tests.conftest import rows
from tests.governance.governed import Governed, authorize, empty, keypair, principals
from tests.governance.people.desk import NAME, WHY, Desk, desk
from tests.governance.story import tell

YES = "--yes"


@pytest.fixture
def at_desk(scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return desk(tmp_path, scene, monkeypatch)


@pytest.fixture(scope="module")
def read_by_three(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A version whose review page ada, ben and dora opened; read only."""
    folder = tmp_path_factory.mktemp("read")
    with pytest.MonkeyPatch.context() as patch:
        return reviewed(desk(folder, life.copy(folder), patch)).scene


@pytest.fixture
def reviewed_desk(read_by_three: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A copy of it."""
    return desk(tmp_path, read_by_three.copy(tmp_path), monkeypatch)


def reviewed(d: Desk) -> Desk:
    d.reads("ada", "ben", "dora")
    return d


def test_two_people_in_different_roles_make_a_release_possible(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    first = d.must("ada", "approve", NAME, WHY, YES)
    assert "missing   the packet" in first.out
    second = d.must("ben", "approve", NAME, WHY, YES, "--json")
    assert second.json["role"] == "risk" and second.json["about"] == "packet"
    item = next(
        one
        for one in promotion.state(d.scene.story.log).evidence.all("approval")
        if one.index == second.json["entry"]
    )
    assert item.predicate.page == second.json["page"]
    assert item.predicate.opened_at == second.json["opened_at"]
    assert item.subjects[0].sha256 == second.json["subject"]
    d.scene.request()
    assert d.scene.consume().allowed


def _changed_policy(d: Desk) -> None:
    path = d.scene.story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text().replace("max_days: 30", "max_days: 29"))
    digest = d.must("ada", "policy", "propose", "--json").json["digest"]
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], WHY, YES)


def _revoked(d: Desk) -> None:
    d.must("ada", "revoke", "ada", "--reason", "lost", YES)


def _revoked_and_clock_set_back(d: Desk) -> None:
    _revoked(d)
    d.now = d.scene.now - timedelta(days=30)


def _owner_no_more(d: Desk) -> None:
    """A signed policy takes the role away under which ada would speak."""
    path = d.scene.story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text().replace('"policy-owner", "ml-lead"', '"policy-owner"'))
    digest = d.must("ada", "policy", "propose", "--json").json["digest"]
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], WHY, YES)
    d.reads("ben", "ada")


REFUSED: dict[str, tuple[str, Callable[[Desk], object], str]] = {
    # who, what happened since the review, and what they are told
    "nobody enrolled": ("stranger", lambda d: None, "do not name this key"),
    "a service": ("ci", lambda d: None, "the key of service ci"),
    "who asked for the runs": ("dora", lambda d: None, "may not say this"),
    "a role that approves nothing": ("eve", lambda d: None, "may not say this"),
    "a key that was revoked": ("ada", _revoked, "was revoked at entry"),
    "a key that was revoked, by a clock set back": (
        "ada",
        _revoked_and_clock_set_back,
        "was revoked at entry",
    ),
    "a role taken away since": ("ada", _owner_no_more, "ada (policy-owner) may not say this"),
    "the policies changed": (
        "ada",
        _changed_policy,
        "changed since its evidence was frozen: the policies",
    ),
    "a waiver was added": (
        "ada",
        lambda d: d.scene.waive("THRESHOLD_NOT_MET", "model sft"),
        "changed since its evidence was frozen: the waivers",
    ),
    "another packet": (
        "ada",
        lambda d: (d.scene.waive("THRESHOLD_NOT_MET", "model sft"), d.scene.freeze()),
        "has not opened this review page",
    ),
}


@pytest.mark.parametrize(("who", "meanwhile", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_who_may_not_approve_and_what_no_longer_stands(
    reviewed_desk: Desk, who: str, meanwhile: Callable[[Desk], object], says: str
) -> None:
    d = reviewed_desk
    meanwhile(d)
    before = d.entries()
    assert says in d.refused(who, "approve", NAME, WHY, YES)
    assert d.entries() == before


def test_nobody_approves_unread(at_desk: Desk) -> None:
    at_desk.scene.freeze()
    assert "ada has not opened" in at_desk.refused("ada", "approve", NAME, WHY, YES)


@pytest.mark.slow
def test_a_page_that_another_person_opened_is_not_opened_by_this_one(at_desk: Desk) -> None:
    d = at_desk
    d.reads("ada")
    assert "ben has not opened" in d.refused("ben", "approve", NAME, WHY, YES)
    notes = d.folder / "home" / "support-desk" / "opened" / "ada.json"
    for text in ('{"%s": "2026-01-01T00:00:00Z"}' % ("0" * 64), "{}", "not JSON"):
        notes.write_text(text)
        assert "ada has not opened" in d.refused("ada", "approve", NAME, WHY, YES)


def test_the_approval_has_the_time_at_which_its_author_opened_the_page(at_desk: Desk) -> None:
    d = at_desk
    d.now = d.scene.now
    d.reads("ada")
    opened = d.now
    d.now = opened + timedelta(minutes=40)
    d.must("ada", "review", NAME)
    entry = d.must("ada", "approve", NAME, WHY, YES, "--json").json["entry"]
    votes = promotion.state(d.scene.story.log).evidence.all("approval")
    approval = next(one.predicate for one in votes if one.index == entry)
    assert instant_of(approval.opened_at) == opened
    assert instant_of(approval.at) == d.now


def test_reading_writes_nothing_to_the_log(at_desk: Desk) -> None:
    d = at_desk
    before = d.entries()
    assert d.must("ada", "review", NAME, "--json").json["preview"]
    d.must("ada", "pending")
    d.must("ada", "status")
    assert d.entries() == before
    assert not (d.folder / "home" / "support-desk" / "opened").exists()


@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", "  ")])
def test_an_approval_needs_a_reason(reviewed_desk: Desk, reason: tuple[str, ...]) -> None:
    d = reviewed_desk
    done = d.run("ada", "approve", NAME, YES, *reason)
    assert done.code == 2 and "--reason" in done.out


# -- Incidents -------------------------------------------------------------------------------------
def test_nobody_approves_while_an_incident_is_open(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    opens = ("incident", "open", NAME, "--reason", "it invents prices", YES)
    assert "eve (visitor) may not say this" in d.refused("eve", *opens)
    d.must("cleo", *opens, "--role", "product")
    assert "an incident is open" in d.refused("ada", "approve", NAME, WHY, YES)
    page = d.must("ada", "review", NAME, "--json").json
    assert page["verdict"] == "incident_open"
    assert [one["signed"]["reason"] for one in page["against"]["incidents"]] == [
        "it invents prices"
    ]
    before = d.entries()
    assert "an incident is open" in d.refused("ada", "approve", NAME, WHY, YES)
    assert d.entries() == before
    fixed = ("--reason", "fixed", "--effective", "none of 300 answers")
    d.must("ben", "incident", "close", NAME, *fixed, "--role", "risk", YES)
    d.must("ada", "approve", NAME, WHY, YES)
    d.must("ben", "approve", NAME, WHY, YES)
    d.scene.request()
    assert d.scene.consume().allowed


def test_an_approval_made_during_an_incident_never_counts(at_desk: Desk) -> None:
    """A client of one's own signs it all the same; an older approval, without `opened_at`, is read
    as it was.
    """
    d = at_desk
    frozen = d.scene.freeze()
    d.scene.incident("1", "open")
    opened = {"opened_at": "2026-01-01T00:00:00Z"}
    late = d.scene.approve("ada", "ml-lead", frozen, **opened)
    d.scene.approve("ben", "risk", frozen)
    d.scene.incident("1", "closed")
    now = promotion.state(d.scene.story.log)
    item = next(one for one in now.evidence.all("packet"))
    votes, aside = packet_votes(release_context(now, item, d.scene.now))
    assert [name for name, _, _ in votes] == ["ben"]
    assert [(one.person, one.reason, one.statement.index) for one in aside] == [
        ("ada", "incident_open", late)
    ]


ODD = ("brokenshire", "none", "waived", "failed", "e1")


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(ODD, in_ci={"none", "e1"}))
def test_names_and_reasons_change_nothing_but_what_is_displayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ordinary: object, name: str
) -> None:
    """The same story with other names: the same codes everywhere."""
    plain = json.loads(json.dumps(ordinary).replace("zelda", name))
    assert _story(tmp_path / name, monkeypatch, name) == plain


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The story of somebody with an ordinary name."""
    with pytest.MonkeyPatch.context() as patch:
        return _story(tmp_path_factory.mktemp("ordinary") / "zelda", patch, "zelda")


def _story(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> object:
    """Somebody of this name reviews, rejects, approves, and asks for the move, with their name as
    reason.
    """
    folder.mkdir()
    people = principals().replace('"name": "ben"', f'"name": "{name}"')
    scene = empty(folder, people=people)
    authorize(scene)
    tell(scene.story)
    d = desk(folder, scene, monkeypatch)
    why = f"--reason={name}"
    d.reads("ada", "ben")
    found = [d.must("ada", "pending", "--all", "--json").json]
    d.must("ada", "approve", NAME, why, YES)
    d.must("ben", "reject", NAME, why, YES)
    found.append(d.must("ada", "pending", "--all", "--json").json)
    d.reads("ben")
    page = d.must("ada", "review", NAME, "--json").json
    found.append((page["verdict"], page["against"]["rejections"], page["sections"]["gates"]))
    d.must("ben", "approve", NAME, why, YES)
    plan = d.run("cleo", "promote", NAME, why, "--dry-run", "--json")
    found.append((plan.code, plan.json["missing_signatures"], plan.json["findings"]))
    d.must("ben", "incident", "open", NAME, why, "--role", "risk", YES)
    refused = d.run("cleo", "promote", NAME, why, "--dry-run", "--json")
    found.append((refused.code, [one["code"] for one in refused.json["findings"]]))
    page = d.must("ada", "review", NAME, "--json").json
    found.append((page["verdict"], page["against"]["incidents"]))
    return json.loads(re.sub(r"[0-9a-f]{12,64}", "HEX", json.dumps(found)))


@pytest.mark.slow
def test_who_asked_for_a_run_cannot_approve_it_in_any_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dora, who asked, is given a role that approves: her own work all the same."""
    people = principals().replace('"engineer"', '"engineer", "product"')
    scene = empty(tmp_path, people=people)
    authorize(scene)
    tell(scene.story)
    d = reviewed(desk(tmp_path, scene, monkeypatch))
    assert "dora started" in d.refused("dora", "approve", NAME, WHY, YES)
    waits = {one["kind"]: one for one in d.must("", "pending", "--json").json["pending"]}
    assert "dora" not in waits["packet"]["people"]


@pytest.mark.slow
def test_two_keys_of_one_person_are_one_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {
        "ada": ["ada", "ada2"],
        "ben": ["ben"],
        "cleo": ["cleo"],
        "dora": ["dora"],
        "eve": ["eve"],
    }
    people = principals(mine).replace(
        '"policy-owner", "ml-lead"', '"policy-owner", "ml-lead", "risk"'
    )
    scene = empty(tmp_path, people=people)
    authorize(scene)
    tell(scene.story)
    d = reviewed(desk(tmp_path, scene, monkeypatch))
    d.must("ada", "approve", NAME, WHY, YES, "--role", "ml-lead")
    done = d.must("ada2", "approve", NAME, WHY, YES, "--role", "risk")
    assert "missing   the packet" in done.out
    assert "may say this as ml-lead or as risk" in d.refused(
        "ada", "approve", NAME, WHY, YES, code=2
    )


def test_one_key_cannot_stand_under_two_names(at_desk: Desk) -> None:
    message = at_desk.refused("", "enrol", "zoe", keypair("ada")[1], "--role", "risk", code=2)
    assert "named twice: it is ada's" in message


@pytest.mark.slow
def test_a_rejection_stands_until_its_author_thinks_otherwise(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    for who in ("ada", "ben"):
        d.must(who, "approve", NAME, WHY, YES)
    d.must("ben", "reject", NAME, "--reason", "toxic in German", YES)
    d.scene.request()
    with pytest.raises(RefusedError, match=r"REJECTED[\s\S]*toxic in German"):
        d.scene.consume()
    assert "has not opened" in d.refused("ben", "approve", NAME, WHY, YES)
    d.must("ben", "review", NAME)
    d.must("ben", "approve", NAME, WHY, YES)
    assert d.scene.consume().allowed


def test_a_rejection_is_read_in_every_later_review(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    d.must("ben", "reject", NAME, "--reason", "no slice for German", YES)
    _changed_policy(d)
    d.must("ada", "freeze", NAME)
    shown = d.must("ada", "review", NAME)
    assert "ben as risk REJECTED an earlier packet: “no slice for German”" in shown.out


def test_an_approval_that_expires_is_asked_for_again(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    d.must("ada", "approve", NAME, WHY, YES, "--days", "2")
    d.must("ben", "approve", NAME, WHY, YES)
    assert not [
        one for one in d.must("ada", "pending", "--json").json["pending"] if one["kind"] == "packet"
    ]
    d.now = d.scene.now + timedelta(days=3)
    assert [
        one for one in d.must("ada", "pending", "--json").json["pending"] if one["kind"] == "packet"
    ]


def test_what_was_said_once_is_not_said_again(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    d.must("ada", "approve", NAME, WHY, YES)
    before = d.entries()
    assert "ada already approved" in d.must("ada", "approve", NAME, WHY, YES).out
    assert d.entries() == before


def test_a_dry_run_writes_nothing(at_desk: Desk) -> None:
    d = at_desk
    before = d.entries()
    d.must("ada", "freeze", NAME, "--dry-run")
    assert d.entries() == before
    d.reads("ada")
    before = d.entries()
    for arguments in (["approve", NAME, WHY], ["reject", NAME, "--reason", "x"]):
        assert "nothing was written" in d.must("ada", *arguments, "--dry-run").out
    assert d.entries() == before


def test_nothing_is_signed_where_nobody_can_say_yes(reviewed_desk: Desk) -> None:
    d = reviewed_desk
    before = d.entries()
    assert "nobody is there to say yes" in d.refused("ada", "approve", NAME, WHY, code=2)
    assert d.entries() == before


def test_what_cannot_be_approved_is_named(at_desk: Desk) -> None:
    d = at_desk
    assert "has no packet yet" in d.refused("ada", "approve", NAME, WHY, YES, code=3)
    assert "no version 7" in d.refused("ada", "approve", "support-desk/7", WHY, YES, code=3)
    assert "knows nothing 'abcdefabcdef'" in d.refused(
        "ada", "approve", "abcdefabcdef", WHY, YES, code=3
    )
    assert "names nothing" in d.refused("ada", "approve", "a", "b", "c", WHY, YES, code=2)


def test_an_approval_of_one_packet_is_none_of_another(reviewed_desk: Desk) -> None:
    """Approvals of what was shown before do not carry over, though the model's bytes are the
    same.
    """
    d = reviewed_desk
    for who in ("ada", "ben"):
        d.must(who, "approve", NAME, WHY, YES)
    _changed_policy(d)
    d.reads("ada")
    d.scene.request()
    with pytest.raises(RefusedError, match="APPROVAL_MISSING"):
        d.scene.consume()


# -- Waivers ---------------------------------------------------------------------------------------
def incident(d: Desk) -> Desk:
    d.scene.incident("1", "open")
    return d


INCIDENT = "INCIDENT_OPEN"
WAIVE = ("--control", "a filter", "--owner", "ben", "--reason", "known")

NOT_WAIVED: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "a code that is none": (
        "ben",
        ("--finding", "NONSENSE", "--days", "3"),
        2,
        "is no finding code",
    ),
    "a code mistyped": (
        "ben",
        ("--finding", "INCIDENT_OPENN", "--days", "3"),
        2,
        "did you mean 'INCIDENT_OPEN'?",
    ),
    "an owner mistyped": (
        "ben",
        ("--finding", INCIDENT, "--days", "3", "--owner", "bem"),
        2,
        "did you mean 'ben'?",
    ),
    "a service as owner": (
        "ben",
        ("--finding", INCIDENT, "--days", "3", "--owner", "ci"),
        2,
        "ci is a service",
    ),
    "never, by rule": (
        "ben",
        ("--finding", "EVIDENCE_MISSING", "--days", "3"),
        4,
        "is never waived",
    ),
    "what does not stand": (
        "ben",
        ("--finding", "CANARY_MISSING", "--days", "3"),
        4,
        "no CANARY_MISSING stands",
    ),
    "by who may not": ("ada", ("--finding", "INCIDENT_OPEN", "--days", "3"), 4, "may not say this"),
    "too long": (
        "ben",
        ("--finding", "INCIDENT_OPEN", "--days", "31"),
        4,
        "lasts longer than 30 days",
    ),
}


@pytest.mark.parametrize(
    ("who", "options", "code", "says"), NOT_WAIVED.values(), ids=NOT_WAIVED.keys()
)
def test_what_is_not_waived(
    at_desk: Desk, who: str, options: tuple[str, ...], code: int, says: str
) -> None:
    d = incident(at_desk)
    before = d.entries()
    assert says in d.refused(who, "waive", NAME, *WAIVE, *options, YES, code=code)
    assert d.entries() == before


@pytest.mark.slow
def test_a_waiver_joins_the_next_packet_and_is_read_there(at_desk: Desk) -> None:
    d = reviewed(incident(at_desk))
    done = d.must(
        "ben", "waive", NAME, "--finding", "INCIDENT_OPEN", "--days", "7", *WAIVE, YES, "--json"
    )
    assert done.json["about"] == "model support-desk"
    assert f"next: countersign freeze {NAME}" in d.refused("ada", "approve", NAME, WHY, YES)
    d.reads("ada", "ben")
    shown = d.must("ada", "review", NAME)
    assert "WAIVED FINDINGS ONLY" in shown.out and "control: a filter" in shown.out
    d.must("ada", "approve", NAME, WHY, YES)
    d.must("ben", "approve", NAME, WHY, YES)
    d.scene.request()
    assert d.scene.consume().allowed
    d.now = d.scene.now + timedelta(days=8)
    (wait,) = [
        one for one in d.must("ben", "pending", "--json").json["pending"] if one["kind"] == "waiver"
    ]
    assert "it ended" in wait["why"]
