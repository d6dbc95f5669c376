"""Which models were made from a model: trained from it, scored by it, or trained on data that it
wrote or judged; and the models that were made from these, and so on.

The opposite direction of `governance.history.lineage`, by the same links. What was made without
evidence is not found.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from governance.attest.predicates import Artifact, Train
from governance.history.lineage import model_node, subject

if TYPE_CHECKING:
    from governance.history.timeline import Timeline
    from governance.log.views import EvidenceView

MODEL = "model"
"""Role of what a training makes."""


def descendants(timeline: Timeline, digest: str) -> list[Artifact]:
    """The models that were made from these bytes, in the order in which they were trained. Each is
    named by its versions; where it has none, by its training stage.
    """
    made = _made_from(timeline.view, digest)
    versions: dict[str, list[str]] = defaultdict(list)
    for (model, version), registration in timeline.registrations.items():
        versions[registration.predicate.model_digest].append(f"{model}/{version}")
    return [
        Artifact(role=MODEL, name=name, sha256=sha256)
        for sha256, stage in made.items()
        for name in versions[sha256] or [stage]
    ]


def _made_from(view: EvidenceView, digest: str) -> dict[str, str]:
    """Digest to training stage of every model that was made from these bytes."""
    trained = {
        sha256: train.predicate.stage
        for train in view.all(Train)
        if (sha256 := subject(train, MODEL)) is not None
    }
    makers = {
        sha256: {maker for _, maker in model_node(view, sha256).made_from} for sha256 in trained
    }
    reached, before = {digest}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {sha256 for sha256, made_from in makers.items() if made_from & before}
    return {sha256: stage for sha256, stage in trained.items() if sha256 in reached - {digest}}
