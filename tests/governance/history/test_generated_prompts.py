"""A model whose training data was generated from prompts that another model generated."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.bundle import standalone_verifier as verifier
from governance.history.chain import Chain
from governance.release import promotion
from tests.governance import governed
from tests.governance.bundles import both_accept, made, pin
from tests.governance.governed import Governed
from tests.governance.story import MODEL

PEOPLE = governed.principals(services={"ci": [*governed.KINDS, "generation"]})
WAIVED = ("CONSTITUTION_MISSING", "constitution desk")


def _declares(policies: Path) -> None:
    for dataset, writer in (("desk_prompts", "writer"), ("desk_sft", "base")):
        card = policies / "datacards" / f"{dataset}.yaml"
        text = card.read_text(encoding="utf-8")
        card.write_text(f"{text}\ngenerated_by: {writer}\n", encoding="utf-8")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """`writer` writes prompts, `base` answers them, and version 1 is trained on the answers."""
    scene = governed.empty(tmp_path_factory.mktemp("prompts"), people=PEOPLE, edit=_declares)
    governed.authorize(scene)
    story = scene.story
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.2, unsafe=0.3)
    story.train("writer", "sft", "conversation", "desk_text", "base")
    story.generate("desk_prompts", "desk_eval", "writer", "writer")
    story.data("desk_prompts", "prompt", "prompt", 600)
    story.generate("desk_sft", "desk_prompts", "base", "base")
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    story.register("sft", "1")
    scene.waive(*WAIVED)
    return scene


def _chain(scene: Governed) -> Chain:
    now = promotion.state(scene.story.log)
    return Chain.registered(now.view, now.registration(MODEL, "1").predicate)


def test_the_models_that_wrote_the_prompts_are_behind_it(scene: Governed) -> None:
    assert [node.name for node in _chain(scene).chain] == ["tiny", "base", "writer", "sft"]
    made_by = dict(_chain(scene).released.made_from)
    assert made_by["parent"] == scene.story.models["base"]
    assert scene.story.models["writer"] in {
        digest for _, digest in _chain(scene).released.made_from
    }


def test_the_second_verifier_follows_generators_and_judges(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene.copy(tmp_path)
    assert scene.released("1").allowed
    assert both_accept(scene, "1")
    writer, whole = scene.story.models["writer"], verifier.Move._behind

    def without_writer(move: verifier.Move, packet: verifier.Entry) -> list[verifier.Entry]:
        return [one for one in whole(move, packet) if ("model", writer) not in one.subjects]

    monkeypatch.setattr(verifier.Move, "_behind", without_writer)
    with pytest.raises(verifier.Refused, match="neither training nor import"):
        verifier.verify(made(scene.story.log, "1"), pin(scene.story.log))
