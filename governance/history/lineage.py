"""Follows a digest back to its origin, by evidence alone.

1. A statement links its subject to its inputs, by digest. File names, dataset names in paths and
   the working folder play no part.
2. A statement counts only if policy lets its key sign that kind (`EvidenceView.signed_under`).
   Other statements count as missing; a finding names their keys.
3. Of several statements about one digest, the latest that fits is taken; if none fits, the latest.
4. Nothing here decides. A gap is None; `governance.gates.decisions` turns gaps into findings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from governance.attest.predicates import (
    Artifact,
    BaseImport,
    Evaluate,
    GateDecision,
    Generation,
    Ingest,
    JudgeCard,
    LeakProbe,
    Predicate,
    Quality,
    Reproduction,
    Scan,
    SeedRun,
    Train,
)
from governance.attest.requests import judge_digest
from governance.base.model import Model
from governance.log.rules import MAKES_ANOTHER, OWN_EVALUATION

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView

MAKERS = ("generator", "judge")
"""The roles of the models by which a dataset is generated."""

Fits = Callable[["Evidence"], bool]
PredicateT = TypeVar("PredicateT", bound=Model)
RepeatT = TypeVar("RepeatT", Reproduction, SeedRun)


@dataclass(frozen=True)
class DataChain:
    """The chain of a dataset: ready records <- quality <- scan <- ingest <- source. The first
    missing statement, and all before it, are None.
    """

    dataset: str
    sha256: str
    quality: Evidence[Quality] | None
    scan: Evidence[Scan] | None
    ingest: Evidence[Ingest] | None
    generation: Evidence[Generation] | None = None
    """By which the source was generated from other data; None where it was not."""

    @property
    def broken_at(self) -> str | None:
        """The first missing kind of evidence, starting at the ready records."""
        steps = {"quality": self.quality, "scan": self.scan, "ingest": self.ingest}
        return next((kind for kind, statement in steps.items() if statement is None), None)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of the records at every step with evidence, the ready records included."""
        digests = {self.sha256}
        for statement in (self.quality, self.scan):
            if statement and "records" in inputs(statement):
                digests.add(inputs(statement)["records"])
        return frozenset(digests)

    @property
    def source(self) -> str | None:
        """The digest of the source that ingest read; None where it is not known."""
        return inputs(self.ingest).get("source") if self.ingest else None


@dataclass(frozen=True)
class ModelNode:
    """A model of a chain: trained behind a gate, imported, or without evidence."""

    name: str
    """The name of its stage or base."""
    sha256: str
    train: Evidence[Train] | None = None
    gate: Evidence[GateDecision] | None = None
    """The latest decision before the training in the log that allowed it."""
    base: Evidence[BaseImport] | None = None
    parent: str | None = None
    """The digest of the model that this one was trained from."""
    scorer: str | None = None
    released: bool = False
    """Whether the chain is that of a release of this model."""
    makers: tuple[tuple[str, str], ...] = ()
    """Role (generator, judge) and digest of the models that made the data it was trained on, or the
    prompts of that data.
    """

    @property
    def made_from(self) -> tuple[tuple[str, str], ...]:
        """Role and digest of every model that it was made from."""
        before = (("parent", self.parent), ("scorer", self.scorer))
        known = tuple((role, digest) for role, digest in before if digest is not None)
        return (*known, *self.makers)

    @property
    def method(self) -> str:
        """The training method. For an imported model `imported` where it is released as it is, else
        `base`.
        """
        if self.train is not None:
            return self.train.predicate.method
        return "imported" if self.released else "base"

    @property
    def has_weights(self) -> bool:
        """Whether it can answer: an import may be an architecture only."""
        return self.train is not None or (self.base is not None and self.base.predicate.weights)

    @property
    def imported(self) -> bool:
        """Whether it is released as it was imported: it was trained elsewhere."""
        return self.released and self.train is None and self.base is not None

    @property
    def known(self) -> bool:
        """Whether there is evidence of its origin."""
        return self.train is not None or self.base is not None


def data_chain(
    view: EvidenceView, dataset: str, sha256: str, fits: Fits = lambda _: True
) -> DataChain:
    """The chain of a dataset's ready records. `fits`: which of several statements is preferred."""

    def latest(kind: type[PredicateT], digest: str) -> Evidence[PredicateT] | None:
        statements = view.by_subject(digest, kind)
        return pick(
            [
                statement
                for statement in statements
                if subject(statement, "records") == digest
                and getattr(statement.predicate, "dataset", None) == dataset
            ],
            fits,
        )

    quality = latest(Quality, sha256)
    scan = latest(Scan, inputs(quality).get("records", "")) if quality else None
    ingest = latest(Ingest, inputs(scan).get("records", "")) if scan else None
    generation = pick(_generations(view, ingest)) if ingest else None
    return DataChain(dataset, sha256, quality, scan, ingest, generation)


def task_scan(
    view: EvidenceView, folder: str, fits: Fits = lambda _: True
) -> Evidence[Scan] | None:
    """The scan of the files of a task of another harness, by the digest of its folder."""
    return pick(
        [one for one in view.by_subject(folder, Scan) if subject(one, "task") == folder], fits
    )


def generated_from(view: EvidenceView, records: str) -> list[Evidence[Generation]]:
    """The generations from whose files these ready records came, whatever dataset they are
    called.
    """
    if not view.all(Generation):
        return []  # most logs: no digest needs to be followed
    quality = view.by_subject(records, Quality)
    scans = _behind(view, quality, Scan)
    return [made for ingest in _behind(view, scans, Ingest) for made in _generations(view, ingest)]


def _behind(
    view: EvidenceView, statements: Sequence[Evidence], kind: type[PredicateT]
) -> list[Evidence[PredicateT]]:
    """The statements of a kind about the records that these read."""
    digests = dict.fromkeys(inputs(statement).get("records", "") for statement in statements)
    return [made for digest in digests for made in view.by_subject(digest, kind)]


def _generations(view: EvidenceView, ingest: Evidence[Ingest]) -> list[Evidence[Generation]]:
    source = inputs(ingest).get("source", "")
    return [
        made
        for made in view.by_subject(source, Generation)
        if subject(made, "source") == source and made.index < ingest.index
    ]


def model_chain(
    view: EvidenceView, sha256: str, name: str = "", *, released: bool = False
) -> list[ModelNode]:
    """A model with its parents and scorers, each after what it was made from. Ends at bases and
    gaps. `released`: whether this model itself is released.
    """
    done: dict[str, ModelNode] = {}

    def visit(digest: str, called: str, above: frozenset[str]) -> None:
        if digest in done or digest in above:
            return
        node = model_node(view, digest, called)
        if _leads_back(view, node, above | {digest}):
            node = ModelNode(node.name, digest)
        for role, before in node.made_from:
            visit(before, _named(node.train, role), above | {digest})
        done[digest] = node

    visit(sha256, name, frozenset())
    done[sha256] = replace(done[sha256], released=released)
    return list(done.values())


def _leads_back(view: EvidenceView, node: ModelNode, above: frozenset[str]) -> bool:
    """Whether a model was made from one that was made from it, or from itself: then nothing says
    where they come from. `above`: the models that lead to it, and itself.
    """
    return (
        node.train is not None
        and not above.isdisjoint(digest for _, digest in node.made_from)
        and view.rules_at(node.train.index) >= MAKES_ANOTHER
    )


def model_node(view: EvidenceView, sha256: str, name: str = "") -> ModelNode:
    """One model by its digest, with its latest training behind an allowed gate; else its latest
    training; else its import. A training that gave back its parent's bytes made nothing.
    """
    imports = _made(view, sha256, BaseImport)
    trainings = [
        made
        for made in _made(view, sha256, Train)
        if inputs(made).get("parent") != sha256
        or (not imports and view.rules_at(made.index) < MAKES_ANOTHER)
    ]
    train = pick(trainings, lambda made: allowing_gate(view, made) is not None)
    if train is not None:
        digests, stage = inputs(train), train.predicate.stage.partition("@")[2]
        parent, scorer = digests.get("parent"), digests.get("scorer")
        gate = allowing_gate(view, train)
        return ModelNode(
            stage, sha256, train, gate, None, parent, None if scorer == parent else scorer,
            makers=_makers(view, digests.get("data", "")),
        )  # fmt: skip
    base = pick(imports)
    stage = base.predicate.stage.partition("@")[2] if base else name
    return ModelNode(stage or name or sha256[:12], sha256, base=base)


def _makers(view: EvidenceView, records: str) -> tuple[tuple[str, str], ...]:
    """The models of the project that generated or judged these records, or the prompts that they
    were generated from, and so on.
    """
    found: dict[tuple[str, str], None] = {}
    done, ahead = set[str](), [records]
    while ahead:
        digest = ahead.pop()
        if digest in done:
            continue
        done.add(digest)
        for used in map(inputs, generated_from(view, digest)):
            found |= dict.fromkeys((role, used[role]) for role in MAKERS if role in used)
            ahead += [used["prompts"]] if "prompts" in used else []
    return tuple(found)


def _made(view: EvidenceView, sha256: str, kind: type[PredicateT]) -> list[Evidence[PredicateT]]:
    """The statements of a kind by which a model was made."""
    statements = view.by_subject(sha256, kind)
    return [statement for statement in statements if subject(statement, "model") == sha256]


def reproductions(view: EvidenceView, node: ModelNode) -> list[Evidence[Reproduction]]:
    """The reproductions of this model's training, in log order, whose own fields agree."""
    return [
        statement
        for statement in repeats(view, node, Reproduction)
        if statement.predicate.same_bytes == (statement.predicate.model == node.sha256)
    ]


def repeats(view: EvidenceView, node: ModelNode, kind: type[RepeatT]) -> list[Evidence[RepeatT]]:
    """The statements that each repeat an earlier training which made this model from the same
    inputs.
    """
    if node.train is None:
        return []
    trainings = {
        statement.digest: statement.index
        for statement in _made(view, node.sha256, Train)
        if inputs(statement) == inputs(node.train)
    }
    return [
        statement
        for statement in _made(view, node.sha256, kind)
        if trainings.get(statement.predicate.of, statement.index) < statement.index
        and inputs(statement) == inputs(node.train)
    ]


def allowing_gate(view: EvidenceView, train: Evidence[Train]) -> Evidence[GateDecision] | None:
    """The latest decision before this training that allowed it, unless the same request was refused
    after that.
    """
    output, data = inputs(train).get("gate", ""), inputs(train).get("data", "")
    stage = f"gate@{train.predicate.stage.partition('@')[2]}"

    def before(digest: str) -> list[Evidence[GateDecision]]:
        return [
            decision
            for decision in view.by_subject(digest, GateDecision)
            if decision.index < train.index and decision.predicate.stage == stage
        ]

    allowed = pick([decision for decision in before(output) if decision.predicate.allowed])
    if allowed is None:
        return None
    refused_since = any(
        decision.index > allowed.index
        and not decision.predicate.allowed
        and decision.predicate.decided_on == allowed.predicate.decided_on
        for decision in before(data)
    )
    return None if refused_since else allowed


def evaluations(view: EvidenceView, sha256: str, suite: str) -> list[Evidence[Evaluate]]:
    """The evaluations of a model on the suite of this name, in log order."""
    statements = view.by_subject(sha256, Evaluate) or list(view.all(Evaluate))
    return [
        statement
        for statement in statements
        if (statement.predicate.model, statement.predicate.suite_name) == (sha256, suite)
    ]


def leak_probes(view: EvidenceView, sha256: str) -> list[Evidence[LeakProbe]]:
    """The leak probes of a model, in log order: of each training, the latest."""
    latest: dict[tuple[str, str], Evidence[LeakProbe]] = {}
    for statement in view.by_subject(sha256, LeakProbe):
        probe = statement.predicate
        if probe.model == sha256:
            latest[probe.data, probe.parent] = statement
    return sorted(latest.values(), key=lambda statement: statement.index)


def probe_of(probes: Sequence[Evidence[LeakProbe]], node: ModelNode) -> Evidence[LeakProbe] | None:
    """The one among them that is about the training of a node: its data and its parent."""
    used = inputs(node.train) if node.train else {}
    wanted = (used.get("data"), used.get("parent"))
    about = ((one, (one.predicate.data, one.predicate.parent)) for one in probes)
    return next((one for one, training in about if training == wanted), None)


def own_evaluations(
    view: EvidenceView, node: ModelNode, statements: Sequence[Evidence[Evaluate]]
) -> list[Evidence[Evaluate]]:
    """Of evaluations of a model, those by the stage that evaluates what its training made: beside
    its parent, with its rewards. Of an import, those of bases. The same bytes may be a base, too,
    or stand in a row of further evaluations. Before version 3 of the rules: all.
    """
    trainings = [
        made
        for made in _made(view, node.sha256, Train)
        if node.train is not None and inputs(made).get("parent") == node.parent
    ]
    stages = {f"evaluate@{made.predicate.stage.partition('@')[2]}" for made in trainings}
    return [
        one
        for one in statements
        if view.rules_at(one.index) < OWN_EVALUATION
        or one.predicate.stage in stages
        or (node.train is None and one.predicate.stage.startswith("evaluate_base@"))
    ]


def preferred(
    view: EvidenceView,
    node: ModelNode,
    statements: Sequence[Evidence[Evaluate]],
    fits: Callable[[Evidence[Evaluate]], bool],
) -> Evidence[Evaluate] | None:
    """The latest evaluation of its own that fits; else as `pick`."""
    own = [one for one in own_evaluations(view, node, statements) if fits(one)]
    return own[-1] if own else pick(statements, fits)


def pick(
    statements: Sequence[Evidence[PredicateT]],
    fits: Callable[[Evidence[PredicateT]], bool] = lambda _: True,
) -> Evidence[PredicateT] | None:
    """The latest statement that fits; else the latest; None where there is none."""
    latest = statements[-1] if statements else None
    return next((statement for statement in reversed(statements) if fits(statement)), latest)


def judge_card(view: EvidenceView, judge: str) -> Evidence[JudgeCard] | None:
    """The latest card of the judge of this digest."""
    cards = view.by_subject(judge, JudgeCard)
    return pick([card for card in cards if judge_digest(card.predicate.judged_by) == judge])


def inputs(statement: Evidence) -> dict[str, str]:
    """Maps the role of each input of a stage to its digest."""
    predicate = statement.predicate
    return (
        {artifact.role: artifact.sha256 for artifact in predicate.inputs}
        if isinstance(predicate, Predicate)
        else {}
    )


def subject(statement: Evidence, role: str) -> str | None:
    """The digest of the subject of this role."""
    return next((artifact.sha256 for artifact in statement.subjects if artifact.role == role), None)


def _named(statement: Evidence | None, role: str) -> str:
    """The display name of an input, from its path models/NAME/model; else empty."""
    artifacts: list[Artifact] = (
        statement.predicate.inputs
        if statement and isinstance(statement.predicate, Predicate)
        else []
    )
    parts = next((artifact.name.split("/") for artifact in artifacts if artifact.role == role), [])
    return parts[1] if len(parts) > 2 else ""
