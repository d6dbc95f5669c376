"""Who may say what of a packet, and when it counts; each row changes one thing. Real keys, real
log, real commands.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from governance.base.errors import RefusedError
from governance.release import promotion
from tests.governance.governed import authorize, empty, governed, keypair, principals
from tests.governance.people.desk import NAME, Desk, desk
from tests.governance.story import tell

YES = "--yes"


@pytest.fixture
def at_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return desk(tmp_path, governed(tmp_path), monkeypatch)


def reviewed(d: Desk) -> Desk:
    d.must("ada", "review", NAME)
    return d


def test_two_people_in_different_roles_make_a_release_possible(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    first = d.must("ada", "approve", NAME, YES)
    assert "still to sign: the packet" in first.out
    d.must("", "review", NAME)
    second = d.must("ben", "approve", NAME, YES, "--json")
    assert second.json["role"] == "risk" and second.json["about"] == "packet"
    item = next(
        one
        for one in promotion.state(d.scene.story.log).evidence.all("approval")
        if one.index == second.json["entry"]
    )
    assert item.predicate.page == second.json["page"]
    assert item.subjects[0].sha256 == second.json["subject"]
    d.scene.request()
    assert d.scene.consume().allowed


def _changed_policy(d: Desk) -> None:
    path = d.scene.story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text().replace("max_days: 30", "max_days: 29"))
    digest = d.must("ada", "policy", "propose", "--json").json["digest"]
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], YES)


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
        d.must(who, "policy", "sign", digest[:12], YES)
    d.must("ben", "review", NAME)


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
        "changed since the packet was put together: the policies",
    ),
    "a waiver was added": (
        "ada",
        lambda d: d.scene.waive("THRESHOLD_NOT_MET", "model sft"),
        "changed since the packet was put together: the waivers",
    ),
    "another packet": (
        "ada",
        lambda d: (d.scene.waive("THRESHOLD_NOT_MET", "model sft"), d.scene.freeze()),
        "changed since it was shown: there is another packet",
    ),
}


@pytest.mark.parametrize(("who", "meanwhile", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_who_may_not_approve_and_what_no_longer_stands(
    at_desk: Desk, who: str, meanwhile: Callable[[Desk], object], says: str
) -> None:
    d = reviewed(at_desk)
    meanwhile(d)
    before = d.entries()
    assert says in d.refused(who, "approve", NAME, YES)
    assert d.entries() == before


def test_nobody_approves_unread(at_desk: Desk) -> None:
    at_desk.scene.freeze()
    assert "was not shown on this machine" in at_desk.refused("ada", "approve", NAME, YES)


def test_what_was_shown_elsewhere_is_not_what_was_shown_here(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    memory = d.folder / "home" / "support-desk" / "shown" / "shown.json"
    text = memory.read_text()
    page = text[text.index('"page": "') + 9 :][:64]
    memory.write_text(text.replace(page, "0" * 64))
    assert "the page of the same packet is another" in d.refused("ada", "approve", NAME, YES)
    memory.write_text("{}")
    assert "was not shown" in d.refused("ada", "approve", NAME, YES)
    memory.write_text("not JSON")
    assert "was not shown" in d.refused("ada", "approve", NAME, YES)


def test_who_asked_for_a_run_cannot_approve_it_in_any_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dora, who asked, is given a role that approves: her own work all the same."""
    people = principals().replace('"engineer"', '"engineer", "product"')
    scene = empty(tmp_path, people=people)
    authorize(scene)
    tell(scene.story)
    d = reviewed(desk(tmp_path, scene, monkeypatch))
    assert "this would not count: they asked for" in d.refused("dora", "approve", NAME, YES)
    waits = {one["kind"]: one for one in d.must("", "pending", "--json").json["pending"]}
    assert "dora" not in waits["packet"]["people"]


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
    d.must("ada", "approve", NAME, YES, "--role", "ml-lead")
    done = d.must("ada2", "approve", NAME, YES, "--role", "risk")
    assert "still to sign: the packet" in done.out
    assert "may say this as ml-lead or as risk" in d.refused("ada", "approve", NAME, YES, code=2)


def test_one_key_cannot_stand_under_two_names(at_desk: Desk) -> None:
    message = at_desk.refused("", "enrol", "zoe", keypair("ada")[1], "--role", "risk", code=2)
    assert "named twice: it is ada's" in message


def test_a_rejection_stands_until_its_author_thinks_otherwise(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    for who in ("ada", "ben"):
        d.must(who, "approve", NAME, YES)
    d.must("ben", "reject", NAME, "--reason", "toxic in German", YES)
    d.scene.request()
    with pytest.raises(RefusedError, match=r"REJECTED[\s\S]*toxic in German"):
        d.scene.consume()
    d.must("ben", "approve", NAME, YES)
    assert d.scene.consume().allowed


def test_a_rejection_is_read_in_every_later_review(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    d.must("ben", "reject", NAME, "--reason", "no slice for German", YES)
    _changed_policy(d)
    shown = d.must("ada", "review", NAME)
    assert "ben as risk REJECTED an earlier packet: no slice for German" in shown.out


def test_an_approval_that_expires_is_asked_for_again(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    d.must("ada", "approve", NAME, YES, "--days", "2")
    d.must("ben", "approve", NAME, YES)
    assert not [
        one for one in d.must("ada", "pending", "--json").json["pending"] if one["kind"] == "packet"
    ]
    d.now = d.scene.now + timedelta(days=3)
    assert [
        one for one in d.must("ada", "pending", "--json").json["pending"] if one["kind"] == "packet"
    ]


def test_what_was_said_once_is_not_said_again(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    d.must("ada", "approve", NAME, YES)
    before = d.entries()
    assert "approved it already" in d.must("ada", "approve", NAME, YES).out
    assert d.entries() == before


def test_a_dry_run_writes_nothing(at_desk: Desk) -> None:
    d = at_desk
    before = d.entries()
    d.must("", "review", NAME, "--dry-run")
    assert d.entries() == before and not (d.folder / "home" / "support-desk" / "shown").exists()
    d.must("ada", "review", NAME)
    before = d.entries()
    for arguments in (["approve", NAME], ["reject", NAME, "--reason", "x"]):
        assert "nothing was written" in d.must("ada", *arguments, "--dry-run").out
    assert d.entries() == before


def test_nothing_is_signed_where_nobody_can_say_yes(at_desk: Desk) -> None:
    d = reviewed(at_desk)
    before = d.entries()
    assert "nobody is there to say yes" in d.refused("ada", "approve", NAME, code=2)
    assert d.entries() == before


def test_what_cannot_be_approved_is_named(at_desk: Desk) -> None:
    d = at_desk
    assert "has no packet yet" in d.refused("ada", "approve", NAME, YES, code=3)
    assert "no version 7" in d.refused("ada", "approve", "support-desk/7", YES, code=3)
    assert "knows nothing 'abcdefabcdef'" in d.refused(
        "ada", "approve", "abcdefabcdef", YES, code=3
    )
    assert "names nothing" in d.refused("ada", "approve", "a", "b", "c", YES, code=2)


def test_an_approval_of_one_packet_is_none_of_another(at_desk: Desk) -> None:
    """Approvals of what was shown before do not carry over, though the model's bytes are the
    same.
    """
    d = reviewed(at_desk)
    for who in ("ada", "ben"):
        d.must(who, "approve", NAME, YES)
    _changed_policy(d)
    d.must("ada", "review", NAME)
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


def test_a_waiver_joins_the_next_packet_and_is_read_there(at_desk: Desk) -> None:
    d = reviewed(incident(at_desk))
    done = d.must(
        "ben", "waive", NAME, "--finding", "INCIDENT_OPEN", "--days", "7", *WAIVE, YES, "--json"
    )
    assert done.json["about"] == "model support-desk"
    assert f"next: countersign review {NAME}" in d.refused("ada", "approve", NAME, YES)
    shown = d.must("ada", "review", NAME)
    assert "EXCEPTIONS STAND" in shown.out and "meanwhile a filter" in shown.out
    d.must("ada", "approve", NAME, YES)
    d.must("ben", "approve", NAME, YES)
    d.scene.request()
    assert d.scene.consume().allowed
    d.now = d.scene.now + timedelta(days=8)
    (wait,) = [
        one for one in d.must("ben", "pending", "--json").json["pending"] if one["kind"] == "waiver"
    ]
    assert "it ended" in wait["why"]
