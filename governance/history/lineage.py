"""From a digest back to where it came from, by evidence alone.

1. A link holds when a statement whose subject is the digest names the digest before it among its
   inputs. File names, dataset names in paths and the working folder play no part.
2. Only statements signed by a key that policy lets sign their kind count
   (`EvidenceView.signed_under`). The others count as missing; a finding names their keys.
3. Of several statements about one digest, the latest that fits what is asked is taken, else the
   latest.
4. Nothing here decides; gaps are None, and `governance.gates.decisions` turns them into findings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from governance.attest.predicates import (
    Artifact,
    BaseImport,
    Evaluate,
    GateDecision,
    Predicate,
    Reproduction,
    Train,
)
from governance.base.model import Model

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView

Fits = Callable[["Evidence"], bool]
PredicateT = TypeVar("PredicateT", bound=Model)


@dataclass(frozen=True)
class DataChain:
    """A dataset's way: ready records <- quality <- scan <- ingest <- source. None is where it
    breaks.
    """

    dataset: str
    sha256: str
    quality: Evidence | None
    scan: Evidence | None
    ingest: Evidence | None

    @property
    def broken_at(self) -> str | None:
        """The first kind of evidence missing, coming from the ready records."""
        steps = {"quality": self.quality, "scan": self.scan, "ingest": self.ingest}
        return next((kind for kind, item in steps.items() if item is None), None)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of the records at every step that is evidenced, the ready ones included."""
        found = {self.sha256}
        for item in (self.quality, self.scan):
            found |= {inputs(item)["records"]} if item and "records" in inputs(item) else set()
        return frozenset(found)

    @property
    def source(self) -> str | None:
        """The digest of the source that was read."""
        return inputs(self.ingest).get("source") if self.ingest else None


@dataclass(frozen=True)
class ModelNode:
    """A model of a chain: trained behind a gate, or from outside, or without evidence."""

    name: str
    """The stage's or base's name."""
    sha256: str
    train: Evidence[Train] | None = None
    gate: Evidence[GateDecision] | None = None
    """The latest decision allowing the training that stands before it in the log."""
    base: Evidence[BaseImport] | None = None
    parent: str | None = None
    """The digest of the model this one was trained from."""
    scorer: str | None = None

    @property
    def method(self) -> str:
        """The training method; `base` for a model from outside."""
        return trained(self.train).method if self.train else "base"

    @property
    def known(self) -> bool:
        """Whether there is any evidence of where it comes from."""
        return self.train is not None or self.base is not None


def data_chain(
    view: EvidenceView, dataset: str, sha256: str, fits: Fits = lambda _: True
) -> DataChain:
    """The chain of a dataset's ready records. `fits` tells which of several statements is
    preferred.
    """

    def of_dataset(digest: str, kind: str) -> list[Evidence]:
        items = view.by_subject(digest, kind)
        return [
            item
            for item in items
            if subject(item, "records") == digest and _dataset(item) == dataset
        ]

    quality = pick(of_dataset(sha256, "quality"), fits)
    scan = pick(of_dataset(inputs(quality).get("records", ""), "scan"), fits) if quality else None
    ingest = pick(of_dataset(inputs(scan).get("records", ""), "ingest"), fits) if scan else None
    return DataChain(dataset, sha256, quality, scan, ingest)


def model_chain(view: EvidenceView, sha256: str, name: str = "") -> list[ModelNode]:
    """A model and all it rests on, parents and scorers, each after what it was made from. Ends at
    bases and gaps.
    """
    done: dict[str, ModelNode] = {}

    def visit(digest: str, called: str, above: frozenset[str]) -> None:
        if digest in done or digest in above:
            return
        node = model_node(view, digest, called)
        for before, role in ((node.parent, "parent"), (node.scorer, "scorer")):
            if before is not None:
                visit(before, _named(node.train, role), above | {digest})
        done[digest] = node

    visit(sha256, name, frozenset())
    return list(done.values())


def model_node(view: EvidenceView, sha256: str, name: str = "") -> ModelNode:
    """One model by its digest: the latest training of it behind an allowed gate, else the latest,
    else a base.
    """
    trainings = [
        item for item in view.by_subject(sha256, Train) if subject(item, "model") == sha256
    ]
    train = pick(trainings, lambda item: allowing_gate(view, item) is not None)
    if train is not None:
        before = inputs(train)
        stage = trained(train).stage.partition("@")[2]
        scorer = before.get("scorer")
        scorer = None if scorer == before.get("parent") else scorer
        return ModelNode(
            stage, sha256, train, allowing_gate(view, train), None, before.get("parent"), scorer
        )
    base = pick(
        [item for item in view.by_subject(sha256, BaseImport) if subject(item, "model") == sha256]
    )
    stage = _stage(base).partition("@")[2] if base else name
    return ModelNode(stage or name or sha256[:12], sha256, base=base)


def reproductions(view: EvidenceView, node: ModelNode) -> list[Evidence[Reproduction]]:
    """The times this model's training was performed again, in the order of the log.

    Each names a training that made this very model from the same inputs, stands after it, and
    agrees with itself.
    """
    if node.train is None:
        return []
    same = {
        item.digest: item.index
        for item in view.by_subject(node.sha256, Train)
        if subject(item, "model") == node.sha256 and inputs(item) == inputs(node.train)
    }
    return [
        item for item in view.by_subject(node.sha256, Reproduction) if _performs(item, node, same)
    ]


def _performs(item: Evidence, node: ModelNode, trainings: Mapping[str, int]) -> bool:
    said = reproduced(item)
    return (
        subject(item, "model") == node.sha256
        and trainings.get(said.of, item.index) < item.index
        and node.train is not None
        and inputs(item) == inputs(node.train)
        and said.same_bytes == (said.model == node.sha256)
    )


def allowing_gate(view: EvidenceView, train: Evidence[Train]) -> Evidence[GateDecision] | None:
    """The decision that let this training go ahead: before it in the log, with no refusal of the
    same between.
    """
    output, data = inputs(train).get("gate", ""), inputs(train).get("data", "")
    stage = f"gate@{trained(train).stage.partition('@')[2]}"

    def before(digest: str) -> list[Evidence[GateDecision]]:
        return [
            item
            for item in view.by_subject(digest, GateDecision)
            if item.index < train.index and decided(item).stage == stage
        ]

    allowed = pick([item for item in before(output) if decided(item).allowed])
    if allowed is None:
        return None
    same = [
        item for item in before(data) if decided(item).decided_on == decided(allowed).decided_on
    ]
    refused_since = any(not decided(item).allowed and item.index > allowed.index for item in same)
    return None if refused_since else allowed


def evaluations(view: EvidenceView, sha256: str, suite: str) -> list[Evidence[Evaluate]]:
    """Every evaluation of a model on the suite of this name, in log order."""
    found = view.by_subject(sha256, Evaluate) or list(view.all(Evaluate))
    return [
        item
        for item in found
        if evaluated(item).model == sha256 and evaluated(item).suite_name == suite
    ]


def pick(
    items: Sequence[Evidence[PredicateT]],
    fits: Callable[[Evidence[PredicateT]], bool] = lambda _: True,
) -> Evidence[PredicateT] | None:
    """The latest that fits, else the latest, else None."""
    return next((item for item in reversed(items) if fits(item)), items[-1] if items else None)


def inputs(item: Evidence) -> dict[str, str]:
    """Role to digest of a stage's inputs."""
    predicate = item.predicate
    return (
        {artifact.role: artifact.sha256 for artifact in predicate.inputs}
        if isinstance(predicate, Predicate)
        else {}
    )


def subject(item: Evidence, role: str) -> str | None:
    """The digest of the subject of this role."""
    return next((artifact.sha256 for artifact in item.subjects if artifact.role == role), None)


def trained(item: Evidence) -> Train:
    """The predicate of a `train` statement."""
    predicate: Train = item.predicate
    return predicate


def reproduced(item: Evidence) -> Reproduction:
    """The predicate of a `reproduction` statement."""
    predicate: Reproduction = item.predicate
    return predicate


def decided(item: Evidence) -> GateDecision:
    """The predicate of a `gate` statement."""
    predicate: GateDecision = item.predicate
    return predicate


def evaluated(item: Evidence) -> Evaluate:
    """The predicate of an `evaluate` statement."""
    predicate: Evaluate = item.predicate
    return predicate


def _stage(item: Evidence) -> str:
    return item.predicate.stage if isinstance(item.predicate, Predicate) else ""


def _dataset(item: Evidence) -> str | None:
    return getattr(item.predicate, "dataset", None)


def _named(item: Evidence | None, role: str) -> str:
    """The name of an input for people, from its path: models/NAME/model."""
    found: list[Artifact] = (
        item.predicate.inputs if item and isinstance(item.predicate, Predicate) else []
    )
    parts = next((artifact.name.split("/") for artifact in found if artifact.role == role), [])
    return parts[1] if len(parts) > 2 else ""
