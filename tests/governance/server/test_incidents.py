"""A server refuses an approval of a packet while an incident on the same bytes is open."""

from __future__ import annotations

from typing import Literal

import pytest

from governance.attest.envelope import sign_statement
from governance.attest.predicates import Approval, Artifact
from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.log import evidence
from governance.log.port import Filing
from governance.server.append import verifier
from tests.governance.governed import Governed, person
from tests.governance.story import MODEL, digest


def sent(
    scene: Governed, packet: str, decision: Literal["approve", "reject"] = "approve"
) -> Filing:
    """ada's vote on a packet, as her client sends it; an older client sends no `opened_at`."""
    vote = Approval(
        principal="ada",
        role="ml-lead",
        reason="because",
        at=exact_instant(scene.now),
        log=scene.story.log.entry(0).leaf_hash.hex(),
        decision=decision,
        about="packet",
        model=MODEL,
        page=digest("page"),
    )
    subjects = [Artifact(role="packet", name="x", sha256=packet)]
    envelope = sign_statement(evidence.build_statement("approval", subjects, vote), person("ada"))
    return verifier(scene.story.log, lambda: scene.now)(envelope)


def test_an_approval_is_refused_while_an_incident_is_open(scene: Governed) -> None:
    frozen = scene.freeze()
    assert sent(scene, frozen).kind == "approval"
    scene.incident("1", "open")
    with pytest.raises(RefusedError, match="incident is open"):
        sent(scene, frozen)
    assert sent(scene, frozen, "reject").kind == "approval"
    scene.incident("1", "closed")
    assert sent(scene, frozen).kind == "approval"


def test_a_packet_with_the_waiver_of_the_incident_can_be_approved(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", "model support-desk")
    frozen = scene.freeze()
    assert sent(scene, frozen).kind == "approval"
    scene.incident("1", "open", who="cleo", role="release-manager")
    with pytest.raises(RefusedError, match="incident is open"):
        sent(scene, frozen)
