"""The second verifier agrees with the first about people: renamed, or approving in an incident."""

from __future__ import annotations

import pytest

from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.verify import TrustAnchors
from tests.governance.bundles import forged, made, pin
from tests.governance.governed import Governed

OPENED = {"opened_at": "2026-11-20T09:00:00Z"}


def both_accept(scene: Governed) -> bool:
    data, origin = made(scene.story.log), pin(scene.story.log)
    ours = verify_bundle(data, TrustAnchors(origin)).ok
    try:
        verifier.verify(data, origin)
    except verifier.Refused:
        assert not ours
        return False
    assert ours
    return True


@pytest.mark.parametrize("during", [False, True])
def test_an_approval_during_an_incident_does_not_count(scene: Governed, during: bool) -> None:
    """An approval without `opened_at` is from before this rule, and counts."""
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet, **OPENED)
    scene.incident("1", "open")
    scene.approve("ben", "risk", packet, **(OPENED if during else {}))
    scene.incident("1", "closed")
    scene.request()
    forged(scene)
    assert both_accept(scene) is not during


def test_names_that_one_key_had_are_one_person() -> None:
    groups = [{"ada", "ada-lovelace"}, {"ada-lovelace", "countess"}, {"ben"}]
    person = verifier._one_person("ada", groups)
    assert person == {"ada", "ada-lovelace", "countess"} == verifier._one_person("countess", groups)
    assert verifier._one_person("ben", groups) == {"ben"}
    assert verifier._one_person("new", groups) == {"new"}
