"""A generation that policy refuses and people waive: packets of what was trained on the data, and what
is shown of it.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.predicates import Artifact, Generation, Waiver
from governance.base.time import exact_instant
from governance.gates.decisions import decide_automatic
from governance.release import promotion, retrospect
from tests.governance import governed
from tests.governance.governed import Governed
from tests.governance.story import MODEL

CODE = "CONSTITUTION_MISSING"
PEOPLE = governed.principals(services={"ci": [*governed.KINDS, "generation"]})


def _declares(policies: Path) -> None:
    """The datacard names the model that wrote the records."""
    card = policies / "datacards" / "desk_sft.yaml"
    card.write_text(card.read_text(encoding="utf-8") + "\ngenerated_by: base\n", encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 was trained on what `base` wrote, by a constitution that policy does not have."""
    scene = governed.empty(tmp_path_factory.mktemp("generated"), edit=_declares, people=PEOPLE)
    governed.authorize(scene)
    story = scene.story
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.2, unsafe=0.3)
    story.generate("desk_sft", "desk_eval", "base", "base")
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    story.register("sft", "1")
    return scene


def _at(role: str, sha256: str) -> Artifact:
    return Artifact(role=role, name=f"somewhere/{role}", sha256=sha256)


def _waive(scene: Governed) -> str:
    """A waiver about the prompts; the digest of its statement."""
    terms = {
        "model": MODEL,
        "finding": CODE,
        "about": "constitution desk",
        "owner": "risk",
        "control": "people read what it wrote",
        "expires": exact_instant(scene.now + timedelta(days=7)),
        "accepts": [],
    }
    waiver = Waiver.model_validate(scene.signed("ben", "risk", **terms))
    entry = scene.say("ben", "waiver", [_at("data", scene.story.records["desk_eval"])], waiver)
    return next(one.digest for one in scene.story.view.all(Waiver) if one.index == entry)


def _codes(scene: Governed) -> tuple[set[str], set[str]]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "1", "champion")
    decision = decide_automatic(request, now.evidence, scene.now, now.authority)
    found, waived = decision.findings, decision.waived
    return {finding.code for finding in found}, {finding.code for finding in waived}


def test_the_packet_has_the_waiver_and_what_it_excuses(trained: Governed, tmp_path: Path) -> None:
    scene = trained.copy(tmp_path)
    assert _codes(scene) == ({CODE}, set())
    before = scene.packet(scene.freeze())
    assert before.waivers == [] and CODE in {finding.code for finding in before.findings}
    waiver = _waive(scene)
    assert _codes(scene) == (set(), {CODE})
    after = scene.packet(scene.freeze())
    assert after.waivers == [waiver]
    assert {finding.code for finding in after.waived} == {CODE} and after.findings == []


def test_people_approve_what_is_waived_before_it_is_released(
    trained: Governed, tmp_path: Path
) -> None:
    scene = trained.copy(tmp_path)
    _waive(scene)
    moved = scene.released()
    assert moved.allowed and {finding.code for finding in moved.waived} == {CODE}


def _generation(scene: Governed) -> int:
    (made,) = promotion.state(scene.story.log).evidence.all(Generation)
    return made.index


def test_the_decision_on_a_generation_can_be_made_again(trained: Governed) -> None:
    now = promotion.state(trained.story.log)
    again = retrospect.decided_again(now, _generation(trained))
    assert again.about == "generate@desk_sft" and not again.allowed_now
    assert [each.finding.code for each in again.differences] == [CODE]  # it says that it found none


def test_what_people_say_of_a_maker_stands_beside_what_is_live(
    trained: Governed, tmp_path: Path
) -> None:
    scene = trained.copy(tmp_path)
    _waive(scene)
    assert scene.released().allowed
    scene.main = "base"
    scene.story.register("base", "2")
    scene.incident("2", "open")
    now = promotion.state(scene.story.log)
    (live,) = [each for each in retrospect.live(now, MODEL, scene.now) if each.alias == "champion"]
    named = {line.partition(":")[0] for line in live.against_scorers}
    assert named == {"SCORER_WITHDRAWN model base", "PARENT_WITHDRAWN model base"}


def test_a_packet_from_before_the_waiver_is_out_of_date(trained: Governed, tmp_path: Path) -> None:
    scene = trained.copy(tmp_path)
    scene.asked_for()
    _waive(scene)
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "1", "champion")
    decision = promotion.decide(now, request, scene.now)
    assert "PACKET_OUT_OF_DATE" in {finding.code for finding in decision.findings}
