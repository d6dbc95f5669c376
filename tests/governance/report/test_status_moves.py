"""`status` says of each version which aliases it has now: after a promotion, a rollback, a
retirement.
"""

from __future__ import annotations

from governance.release import promotion
from governance.report.status import status
from tests.governance.governed import Governed


def aliases(scene: Governed) -> dict[str, list[str]]:
    found = status(scene.story.root, scene.story.machine, scene.now)
    return {one.version: sorted(one.aliases) for one in found.versions}


def serving(scene: Governed) -> set[tuple[str, str]]:
    found = status(scene.story.root, scene.story.machine, scene.now)
    return {(one.alias, one.version) for one in found.live}


def test_a_retired_version_is_no_champion(scene: Governed) -> None:
    scene.released()
    assert aliases(scene) == {"1": ["candidate", "champion"]}
    request = scene.request("1", action="retire", alias="retired", from_version=None)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1", "retired", action="retire")
    assert "champion" not in aliases(scene)["1"]
    assert ("champion", "1") not in serving(scene)


def test_after_a_rollback_the_alias_is_the_older_versions(scene: Governed) -> None:
    scene.released()
    first = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.released("2")
    assert aliases(scene) == {"1": [], "2": ["candidate", "champion"]}
    request = scene.request("1", action="rollback", model_digest=first)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1")
    assert promotion.state(scene.story.log).holder("support-desk", "champion") is not None
    assert aliases(scene) == {"1": ["champion"], "2": ["candidate"]}
    assert ("champion", "1") in serving(scene)
