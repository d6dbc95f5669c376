"""The bytes of a version are also registered under another model name, where people withdrew them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.gates.checks import scorers
from governance.gates.decisions import decide_automatic
from governance.log.rules import CURRENT
from governance.release import promotion
from tests.governance import forged, story
from tests.governance import governed as scenes
from tests.governance.bundles import both_accept
from tests.governance.forged import forge
from tests.governance.governed import Governed, authorize, empty

OTHER = "bank-desk"
CODE = "OTHER_NAME_WITHDRAWN"
MODELS = f"  {OTHER}: {{tier: limited, purpose: customer-support, region: EU}}\n"
Act = Callable[[Governed], object]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 is registered under both names; read only."""
    scene = empty(tmp_path_factory.mktemp("names"), models=MODELS)
    authorize(scene)
    story.tell(scene.story)
    as_other(scene, lambda scene: scene.story.register("sft", "1"))
    return scene


@pytest.fixture
def scene(told: Governed, tmp_path: Path) -> Governed:
    return told.copy(tmp_path)


def as_other(scene: Governed, act: Act) -> None:
    """Does it about the model of the other name."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (story, scenes, forged):
            patch.setattr(module, "MODEL", OTHER)
        act(scene)


def rejected(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", scene.freeze("1"), decision="reject")


def retired(scene: Governed) -> None:
    asked = scene.request("1", action="retire", alias="champion", from_version=None)
    scene.approve("ada", "policy-owner", asked, "promotion")
    scene.consume("1", action="retire")


def codes(scene: Governed) -> set[str]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", story.MODEL, "1", "champion")
    found = decide_automatic(request, now.evidence, scene.now, now.authority).findings
    return {finding.code for finding in found}


@pytest.mark.parametrize("act", [rejected, retired])
def test_what_people_withdrew_under_another_name_is_not_promoted(
    scene: Governed, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert codes(scene) == set()
    as_other(scene, act)
    assert codes(scene) == {CODE}
    monkeypatch.setattr(scorers, "JUDGES_NAMES", CURRENT + 1)
    assert codes(scene) == set()


def test_both_verifiers_refuse_a_move_of_bytes_retired_under_another_name(scene: Governed) -> None:
    as_other(scene, retired)
    scene.asked_for("1")
    forge(scene, "1")
    assert not both_accept(scene, "1")


def test_both_verifiers_accept_it_by_a_waiver(scene: Governed) -> None:
    as_other(scene, retired)
    scene.waive(CODE, f"model {OTHER}")
    moved = scene.released("1")
    assert moved.allowed and [finding.code for finding in moved.waived] == [CODE]
    assert both_accept(scene, "1")
