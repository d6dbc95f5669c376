"""Whose vote on a packet counts while an incident of these bytes is open."""

from __future__ import annotations

from datetime import datetime

import pytest

from governance.attest.predicates import Approval
from governance.base.time import exact_instant
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import authors, packet_votes
from governance.release import promotion
from tests.governance.governed import Governed
from tests.governance.story import MODEL


def context(scene: Governed) -> ReleaseContext:
    now, at = promotion.state(scene.story.log), scene.now
    request = promotion.ask(now, "promote", MODEL, "1", "champion")
    return ReleaseContext.of(request, now.authority, now.evidence, at)


def opened(at: datetime) -> dict[str, str]:
    """An approval made by a person who opened the page at this time."""
    return {"opened_at": exact_instant(at)}


def counted(scene: Governed) -> tuple[set[str], list[tuple[str, str]]]:
    """Whose votes count; whose do not, and the reason."""
    votes, set_aside = packet_votes(context(scene))
    return {name for name, _, _ in votes}, [(vote.person, vote.why) for vote in set_aside]


def test_an_approval_after_an_incident_was_opened_does_not_count(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen, **opened(scene.now))
    entry = scene.incident("1", "open")
    scene.approve("ben", "risk", frozen, **opened(scene.now))
    assert counted(scene) == ({"ada"}, [("ben", f"an incident is open (entry {entry})")])
    scene.incident("1", "closed")
    scene.approve("ben", "risk", frozen, **opened(scene.now))
    assert counted(scene)[0] == {"ada", "ben"}


def test_older_approvals_and_rejections_are_read_as_before(scene: Governed) -> None:
    """An approval without `opened_at` is older than the rule. A rejection needs no rule."""
    frozen = scene.freeze()
    scene.incident("1", "open")
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("cleo", "product", frozen, decision="reject", **opened(scene.now))
    assert counted(scene) == ({"ada", "cleo"}, [])


def test_a_packet_that_carries_the_waiver_may_be_approved(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", f"model {MODEL}")
    frozen = scene.freeze()
    assert [finding.code for finding in scene.packet(frozen).waived] == ["INCIDENT_OPEN"]
    scene.approve("ada", "ml-lead", frozen, **opened(scene.now))
    assert counted(scene) == ({"ada"}, [])
    later = scene.incident("1", "open", who="cleo", role="product")
    scene.approve("ben", "risk", frozen, **opened(scene.now))
    assert counted(scene) == ({"ada"}, [("ben", f"an incident is open (entry {later})")])


@pytest.mark.parametrize(
    ("who", "role", "fields", "why"),
    [
        ("dora", "engineer", {}, "role engineer does not approve"),
        (
            "ada",
            "ml-lead",
            {"model": "other"},
            "at that entry, the key was not ada's, or they had no right to say this",
        ),
        ("ada", "ml-lead", {"alias": "challenger"}, "it is about alias challenger"),
        ("ada", "ml-lead", {"page": None}, "no page was opened"),
        ("ada", "ml-lead", {"at": "2027-01-01T00:00:00Z"}, "it is not in force at this time"),
        (
            "ada",
            "risk",
            {},
            "at that entry, the key was not ada's, or they had no right to say this",
        ),
    ],
)
def test_a_vote_that_does_not_count_has_one_reason(
    who: str, role: str, fields: dict[str, str], why: str, scene: Governed
) -> None:
    scene.approve(who, role, scene.freeze(), **fields)
    votes, set_aside = packet_votes(context(scene))
    assert votes == []
    assert (who, why) in [(vote.person, vote.why) for vote in set_aside]


def test_nobody_approves_what_they_asked_for(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("cleo", "product", frozen)
    assert counted(scene)[0] == {"cleo"}
    assert {name: reason for name, (reason, _) in authors(context(scene)).items()} == {
        "dora": "asked_for_run",
        "ci": "signed_run",
    }
    scene.request()
    now, at = promotion.state(scene.story.log), scene.now
    request = promotion.ask(now, "promote", MODEL, "1", "champion")
    (asked,) = now.timeline.open_requests(MODEL)
    named = request.model_copy(update={"request": asked.digest})
    governed = ReleaseContext.of(named, now.authority, now.evidence, at)
    votes, set_aside = packet_votes(governed)
    assert votes == []
    assert [(vote.person, vote.why) for vote in set_aside] == [("cleo", "cleo requests the move")]
    assert {vote.statement.predicate.about for vote in set_aside} == {"packet"}
    assert all(isinstance(vote.statement.predicate, Approval) for vote in set_aside)
