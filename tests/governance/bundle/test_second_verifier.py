"""The second verifier agrees with the first about people: renamed, or approving in an incident."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from ruamel.yaml.error import YAMLError

from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.verify import TrustAnchors
from tests.governance.bundles import forged, made, pin
from tests.governance.governed import Governed, authorize, empty
from tests.governance.story import tell

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


@pytest.mark.parametrize("field", ["", "sources", "files"])
def test_statements_that_do_not_say_which_files_ran_move_no_governed_alias(
    field: str, tmp_path: Path
) -> None:
    scene = empty(tmp_path)
    authorize(scene)
    scene.story.left_out = field
    tell(scene.story)
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet, **OPENED)
    scene.approve("ben", "risk", packet, **OPENED)
    scene.request()
    forged(scene)
    assert both_accept(scene) is (field == "")


def test_names_that_one_key_had_are_one_person() -> None:
    ada, lovelace, countess, ben = ({"name": n} for n in ("ada", "ada-lovelace", "countess", "ben"))
    periods = [{"a": ada, "b": ben}, {"a": lovelace, "c": lovelace}, {"c": countess}]
    rights = object.__new__(verifier.Rights)
    rights.periods = [cast(verifier.Policy, SimpleNamespace(owner=owner)) for owner in periods]
    person = rights.person("ada")
    assert person == {"ada", "ada-lovelace", "countess"} == rights.person("countess")
    assert rights.person("ben") == {"ben"}
    assert rights.person("new") == {"new"}


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: !!int '1'\n",
        "%YAML 1.1\n---\na: yes\n",
        "a: 1\na: 2\n",
        "<<: {a: 1}\nb: 2\n",
        "a: [{<<: [{b: 1}, {b: 2}]}]\n",
        "a" * 600_000,
    ],
    ids=["an alias", "a tag", "a directive", "a key twice", "a merge", "merges", "too large"],
)
def test_policies_are_plain_yaml(text: str) -> None:
    with pytest.raises((verifier.Refused, YAMLError)):
        verifier.policy_rules(text)


def test_stars_and_exclamation_marks_in_policies_are_text() -> None:
    assert verifier.policy_rules("a: '*x !!'  # 100%\n") == {"a": "*x !!"}
    assert verifier.policy_rules("'<<': a << b\n") == {"<<": "a << b"}
