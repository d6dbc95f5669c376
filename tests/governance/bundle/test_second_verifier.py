"""The second verifier agrees with the first about people: renamed, or approving in an incident."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ruamel.yaml.error import YAMLError

from governance.attest.predicates import Requester
from governance.base.errors import ConfigError
from governance.base.yaml import parse_yaml
from governance.bundle import standalone_verifier as verifier
from governance.history import packet
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import signer
from governance.release import promotion
from tests.governance.bundles import both_accept, forged
from tests.governance.governed import Governed, authorize, empty
from tests.governance.story import MODEL, tell
from tests.simulator import JUDGE, judged_by

OPENED = {"opened_at": "2026-11-20T09:00:00Z"}


@pytest.mark.parametrize("during", [False, True])
def test_an_approval_during_an_incident_does_not_count(scene: Governed, during: bool) -> None:
    """An approval without `opened_at` is from before this rule, and counts."""
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen, **OPENED)
    scene.incident("1", "open")
    scene.approve("ben", "risk", frozen, **(OPENED if during else {}))
    scene.incident("1", "closed")
    scene.request()
    forged(scene)
    assert both_accept(scene) is not during


def _below(scene: Governed) -> list[dict[str, Any]]:
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.905)
    scene.story.register("sft", "2")
    return scene.found("THRESHOLD_NOT_MET", "model sft")


def test_a_score_that_its_waiver_names(scene: Governed) -> None:
    scene.waive("THRESHOLD_NOT_MET", "model sft", accepts=_below(scene))
    scene.asked_for("2")
    scene.consume("2")
    assert both_accept(scene, "2")


@pytest.mark.parametrize(("authorized", "judged"), [(True, False), (False, False), (True, True)])
def test_an_evaluation_on_a_further_suite_counts_like_that_on_the_models_own(
    authorized: bool, judged: bool, scene: Governed
) -> None:
    """Somebody must have authorized its run, too; also where a judge gave the scores."""
    story = scene.story
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    asked = story.asked
    if not authorized:
        story.asked = Requester(name="ada", authenticated=False)
    by = {"judged_by": judged_by(JUDGE) | {"prompts": "desk_eval"}} if judged else {}
    story.evaluate_further("sft", "desk_harm", {"refuses": [1.0] * 200}, **by)
    story.asked = asked
    story.register("sft", "2")
    frozen = scene.freeze("2")
    scene.approve("ada", "ml-lead", frozen, **OPENED)
    scene.approve("ben", "risk", frozen, **OPENED)
    scene.request("2")
    forged(scene, version="2")
    assert both_accept(scene, "2") is authorized


@pytest.mark.parametrize("named", ["another figure", "another metric", "nothing"])
def test_a_score_that_its_waiver_does_not_name(named: str, scene: Governed) -> None:
    """The service wrote that the waiver passed it."""
    (found,) = _below(scene)
    rows: dict[str, list[dict[str, Any]]] = {
        "another figure": [{**found, "figures": ["0.99", *found["figures"][1:]]}],
        "another metric": [{**found, "measure": "sampled_unsafe"}],
        "nothing": [],
    }
    scene.waive("THRESHOLD_NOT_MET", "model sft", accepts=rows[named])
    now = state(scene.story.log)
    frozen = promotion.freeze(now, MODEL, "2", scene.now, scene.story.run())
    missed = [each for each in frozen.findings if each.code == "THRESHOLD_NOT_MET"]
    lie = frozen.model_copy(update={"findings": [], "waived": missed})
    service, log = signer(scene.story.machine), scene.story.log
    evidence.record(log, service, "packet", packet.subjects(lie), lie)
    digest = packet.digest_of(lie)
    scene.approve("ada", "ml-lead", digest)
    scene.approve("ben", "risk", digest)
    scene.request("2")
    forged(scene, version="2", waived=missed)
    assert not both_accept(scene, "2")


@pytest.mark.slow
@pytest.mark.parametrize("field", ["", "sources", "files"])
def test_statements_that_do_not_say_which_files_ran_move_no_governed_alias(
    field: str, tmp_path: Path
) -> None:
    scene = empty(tmp_path)
    authorize(scene)
    scene.story.left_out = field
    tell(scene.story)
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen, **OPENED)
    scene.approve("ben", "risk", frozen, **OPENED)
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
        "a: b  # \u202eevil\n",
        "a: b  # c\x85d: e\n",
        "a: b  # c\rd: e\n",
    ],
    ids=["an alias", "a tag", "a directive", "a key twice", "a merge", "merges", "too large",
         "another order", "another line", "another line's end"],
)  # fmt: skip
def test_policies_are_plain_yaml(text: str) -> None:
    """Neither verifier reads others: what one of them put in force would be unknown to the other."""
    with pytest.raises((verifier.Refused, YAMLError)):
        verifier.policy_rules(text)
    with pytest.raises(ConfigError):
        parse_yaml(text, "policy.yaml")


def test_stars_and_exclamation_marks_in_policies_are_text() -> None:
    assert verifier.policy_rules("a: '*x !!'  # 100%\n") == {"a": "*x !!"}
    assert verifier.policy_rules("'<<': a << b\n") == {"<<": "a << b"}


def test_every_file_of_earlier_policies_is_read_as_it_was(scene: Governed) -> None:
    """Policies that were recorded under version 1 of the rules may have merge keys."""
    files = {**scene.story.policies.files, "bases.yaml": "bases: {<<: {tiny: {licence: MIT}}}\n"}
    earlier = verifier.Policy(0, "", files, strict=False)
    assert earlier.read("bases.yaml") == {"bases": {"tiny": {"licence": "MIT"}}}
    with pytest.raises(verifier.Refused, match="a merge key"):
        verifier.Policy(0, "", files, strict=True).read("bases.yaml")
