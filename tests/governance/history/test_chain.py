"""A version that was trained from an older version of the same stage name: what is behind both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from governance.exports.formats.slsa_provenance import provenance
from governance.gates.decisions import decide_automatic
from governance.history import chain as chains
from governance.history import packet
from governance.history.chain import Chain, Suite
from governance.log.rules import CURRENT
from governance.machine import machine
from governance.release import promotion
from tests.governance.bundles import both_accept
from tests.governance.exports.told import records_of
from tests.governance.governed import Governed, empty, governed
from tests.governance.story import MODEL, digest


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 is the base `ours` of another training by the stage `sft`, which is version 2."""
    scene = governed(tmp_path_factory.mktemp("again"))
    story = scene.story
    story.take("ours", "1", "sft")
    story.train("sft", "sft", "conversation", "desk_text", "ours")
    story.register("sft", "2")
    return scene


def _chain(scene: Governed) -> Chain:
    now = promotion.state(scene.story.log)
    return Chain.registered(now.view, now.registration(MODEL, "2").predicate)


def _by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under the earlier rules."""
    for module in (chains, packet):
        monkeypatch.setattr(module, "STEPS_BY_DIGEST", CURRENT + 1)


def test_both_steps_of_one_name_are_there(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _chain(scene)
    assert [node.name for node in found.trained] == ["base", "sft", "sft"]
    both = {data.dataset for data, _ in found.datasets}
    assert {"desk_text", "desk_sft", "desk_eval"} <= both
    assert scene.story.records["desk_sft"] in found.decided_on
    kinds = [one.predicate.stage for one in found.statements() if one.kind == "quality"]
    assert "check_quality@desk_sft" in kinds
    _by_name(monkeypatch)
    assert both - {data.dataset for data, _ in _chain(scene).datasets} == {"desk_sft"}


def test_every_gate_of_one_name_is_decided_again(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decided() -> list[str]:
        now = promotion.state(scene.story.log)
        request = promotion.ask(now, "promote", MODEL, "2", "champion")
        return [*decide_automatic(request, now.evidence, scene.now, now.authority).gates]

    assert decided() == [node.sha256 for node in _chain(scene).trained]
    _by_name(monkeypatch)
    assert decided() == ["base", "sft"]


def test_a_packet_that_lacks_the_older_step_is_out_of_date(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene.copy(tmp_path)
    whole = scene.packet(scene.freeze("2"))
    trained = [step for step in whole.stages if step.name == "train@sft"]
    assert len(trained) == 2
    lacking = [step for step in whole.stages if step != trained[0]]
    now = promotion.state(scene.story.log)
    (logged,) = [one for one in now.evidence.all("packet") if one.predicate == whole]
    forged = whole.model_copy(update={"stages": lacking})

    def changed() -> list[str]:
        subjects = tuple(packet.subjects(forged))
        statement = replace(logged, predicate=forged, subjects=subjects)
        rights = now.authority
        return packet.differing(statement, now.view, rights, evidence=now.evidence, at=scene.now)

    assert changed() == ["train@sft"]
    _by_name(monkeypatch)
    assert "train@sft" not in changed()


def test_the_packet_has_the_evaluation_of_a_base_on_a_suite_that_no_stage_has(
    scene: Governed, tmp_path: Path
) -> None:
    scene = scene.copy(tmp_path)
    story = scene.story
    other = Suite("desk_pref_eval", digest("another suite"))
    story.evaluate("ours", 0.97, suite=other.digest, suite_name=other.name)
    node = _chain(scene).chain[2]
    assert node.sha256 == story.models["ours"]
    found = _chain(scene)
    base = story.reference("ours").model_copy(
        update={"suite": other.name, "suite_digest": other.digest}
    )
    asked = {
        sha256: request.model_copy(update={"parent": base}) if sha256 == found.digest else request
        for sha256, request in found.requests.items()
    }
    found.__dict__["requests"] = asked
    suites = [one.predicate.suite for one in found.statements() if one.kind == "evaluate"]
    assert other.digest in suites


def test_each_training_has_a_provenance_of_its_own(scene: Governed) -> None:
    made = provenance(records_of(scene.story, "2")).documents
    assert len({document.path for document in made}) == len(made) == 3


def test_both_verifiers_accept_a_version_that_was_trained_from_another_of_its_stage(
    scene: Governed, tmp_path: Path
) -> None:
    scene = scene.copy(tmp_path)
    assert scene.released("2").allowed
    assert both_accept(scene, "2")


@pytest.mark.parametrize("rules", [2, CURRENT])
def test_a_view_knows_the_rules_of_what_is_decided_on_it(
    rules: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CURRENT", rules)
    scene = empty(tmp_path)
    now = promotion.state(scene.story.log)
    assert scene.story.view.rules == now.view.rules == now.authority.rules == rules
