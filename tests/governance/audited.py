"""The log that docs/auditing.md walks through: a champion, and a second version that people argued
about.

Version 1 is approved and made champion. Version 2 scores below the threshold: ben rejects it, then
accepts the finding for two weeks with a control; both approve, cleo asks, it becomes champion. An
incident is opened and closed.
"""

from __future__ import annotations

from pathlib import Path

from governance.attest.predicates import Approval, Artifact
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, digest


def audited(folder: Path) -> Governed:
    """The whole of it."""
    scene = governed(folder)
    scene.released()
    second(scene)
    return scene


def second(scene: Governed, days: int = 14) -> None:
    """Version 2: rejected, waived, approved, released; something goes wrong and is mended."""
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.905, unsafe=0.01)
    scene.story.register("sft", "2")
    reject(scene, scene.freeze("2"), "Below the threshold, and nothing is done instead.")
    scene.waive(
        "THRESHOLD_NOT_MET",
        "model sft",
        days,
        reason="Half a point for two weeks, while the prompts are mended.",
        control="the output filter holds back what it cannot route",
    )
    frozen = scene.freeze("2")
    scene.approve(
        "ada", "ml-lead", frozen, reason="Unsafe answers halved; the drop is within noise."
    )
    scene.approve("ben", "risk", frozen, reason="With the filter on, and until the waiver ends.")
    scene.request("2", reason="Fewer unsafe answers.")
    scene.consume("2")
    for state, reason in (
        ("open", "It answered in French on Sunday."),
        ("closed", "The prompt was at fault."),
    ):
        scene.incident("2", state, reason=reason)


def reject(scene: Governed, packet: str, reason: str) -> None:
    """ben says no."""
    said = {
        "decision": "reject",
        "about": "packet",
        "model": MODEL,
        "page": digest("page"),
        "reason": reason,
    }
    predicate = Approval.model_validate(scene.signed("ben", "risk", **said))
    scene.say("ben", "approval", [Artifact(role="packet", name="x", sha256=packet)], predicate)
