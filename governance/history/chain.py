"""One model and the evidence behind it: models, gates, datasets, evaluations.

Registrations, packets and reports all read the chain from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from governance.attest.predicates import (
    Evaluate,
    FurtherSuite,
    Generation,
    JudgeCard,
    Registration,
    SuiteRef,
)
from governance.attest.requests import (
    GateRequest,
    ModelRef,
    asked_of_gate,
    asked_of_generation,
    judge_digest,
    judge_of,
)
from governance.base.errors import VerificationError
from governance.history.lineage import (
    DataChain,
    ModelNode,
    data_chain,
    evaluations,
    judge_card,
    leak_probes,
    model_chain,
    preferred,
    task_scan,
)
from governance.log.evidence import Evidence
from governance.log.rules import STEPS_BY_DIGEST
from governance.log.views import EvidenceView


@dataclass(frozen=True)
class Suite:
    """An evaluation suite of the chain, by name and digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class Chain:
    """A model by its digest, followed back through the log."""

    view: EvidenceView
    """Where policies are at hand: only statements whose signers have the right to sign them."""
    digest: str
    """The digest of the model."""
    stage: str
    """The name of the training stage that made the model, or of its base."""
    suite: SuiteRef | None = field(default=None, kw_only=True)
    """The suite of a model that was trained elsewhere, from its registration."""
    further: Sequence[FurtherSuite] = field(default=(), kw_only=True)
    """The suites on which the model is evaluated beside its own, from its registration."""

    @classmethod
    def registered(cls, view: EvidenceView, registration: Registration) -> Chain:
        """The chain of a registered version."""
        stage, suite = registration.stage, registration.suite
        digest, further = registration.model_digest, registration.further
        return Chain(view, digest, stage, suite=suite, further=further)

    @cached_property
    def chain(self) -> list[ModelNode]:
        """The model and every model it was made from, each after its own parents."""
        return model_chain(self.view, self.digest, self.stage, released=True)

    @property
    def released(self) -> ModelNode:
        """The model's own node."""
        return self.chain[-1]

    @property
    def trained(self) -> list[ModelNode]:
        """The nodes that were trained here."""
        return [node for node in self.chain if node.train is not None]

    @cached_property
    def requests(self) -> dict[str, GateRequest]:
        """Maps the digest of each model that was trained here to the request of its gate, from the
        logged decision.
        """
        requests: dict[str, GateRequest] = {}
        for node in self.chain:
            if node.gate is None:
                continue
            try:
                requests[node.sha256] = asked_of_gate(node.gate.predicate)
            except VerificationError:
                continue
        return requests

    @cached_property
    def _steps(self) -> list[tuple[str, GateRequest]]:
        """The name and the request of each stage. Before version 3 of the rules, a stage hid the
        earlier ones of its name.
        """
        asked = [(node, self.requests.get(node.sha256)) for node in self.chain]
        steps = {
            step_key(self.view, node): (node.name, request) for node, request in asked if request
        }
        return list(steps.values())

    @property
    def own_suite(self) -> SuiteRef | None:
        """The suite that decides on the model: of its gate's request, or of the registration where
        it was trained elsewhere. None where neither is known.
        """
        if self.released.imported:
            return self.suite
        request = self.requests.get(self.released.sha256)
        return request.suite if request else None

    @cached_property
    def datasets(self) -> list[tuple[DataChain, list[str]]]:
        """Each dataset that a model of the chain was trained or evaluated on, with its uses; and
        the prompts that such a dataset was generated from.
        """
        uses: dict[tuple[str, str], list[str]] = {}
        for stage, request in self._steps:
            uses.setdefault((request.data.dataset, request.data.sha256), []).append(
                f"train@{stage}"
            )
        for stage, request in self._steps:
            uses.setdefault((request.suite.name, request.suite.records), []).append(
                f"evaluate@{stage}"
            )
        if self.released.imported and self.suite is not None:
            use = f"evaluate_base@{self.released.name}"
            uses.setdefault((self.suite.name, self.suite.records), []).append(use)
        for further in self.further_suites:
            if further.dataset is not None:
                uses.setdefault((further.dataset, further.records), []).append(further.stage)
        done: dict[tuple[str, str], DataChain] = {}
        while rest := [key for key in uses if key not in done]:
            for key in rest:
                done[key] = data_chain(self.view, *key)
                made = done[key].generation
                if made is not None and (prompts := _prompts(made)):
                    uses.setdefault(prompts, []).append(made.predicate.stage)
        return [(chain, uses[key]) for key, chain in done.items()]

    @property
    def decided_on(self) -> set[str]:
        """What the decisions behind the model were about: those of its gates, and those by which
        its data was generated.
        """
        gates = [request.decided_on for _, request in self._steps]
        made = [generation.predicate.decided_on for generation in self.generations]
        return {digest for decided_on in (*gates, *made) for digest in decided_on.values()}

    @property
    def generations(self) -> list[Evidence[Generation]]:
        """By which datasets behind the model were generated."""
        return [data.generation for data, _ in self.datasets if data.generation]

    @property
    def makers(self) -> list[ModelRef]:
        """The models that were asked for these."""
        asked: list[ModelRef] = []
        for made in self.generations:
            with suppress(VerificationError):
                asked += asked_of_generation(made.predicate).asked
        return asked

    @cached_property
    def suites(self) -> list[Suite]:
        """The suites that the models of the chain were evaluated on; the model's own suite first,
        and last those beside each model's own.
        """
        suites = [request.suite for _, request in reversed(self._steps)]
        if self.released.imported and self.suite is not None:
            suites.append(self.suite)
        if suites:
            suites += self.further_suites
        return list(dict.fromkeys(Suite(suite.name, suite.digest) for suite in suites))

    @property
    def own_suites(self) -> list[Suite]:
        """The suites that the model itself is evaluated on; its own first."""
        further = (Suite(suite.name, suite.digest) for suite in self.further)
        return list(dict.fromkeys([*self.suites[:1], *further])) if self.suites else []

    @cached_property
    def further_suites(self) -> list[FurtherSuite]:
        """The suites beside each model's own: of the model, then of those it was made from."""
        suites = [*self.further, *(suite for ref in self._built_on for suite in ref.further)]
        return [suite for at, suite in enumerate(suites) if suite not in suites[:at]]

    @property
    def _built_on(self) -> list[ModelRef]:
        """The models that the gates of the chain judged, each as a gate named it."""
        refs = [ref for _, request in self._steps for ref in (request.parent, request.scorer)]
        return [ref for ref in refs if ref is not None]

    def evaluation(self, node: ModelNode, suite: Suite) -> Evidence[Evaluate] | None:
        """The latest evaluation of a model on this suite that has scores, of its own first; else
        the latest one.
        """
        statements = [
            statement
            for statement in evaluations(self.view, node.sha256, suite.name)
            if statement.predicate.suite == suite.digest
        ]
        return preferred(
            self.view, node, statements, lambda statement: statement.predicate.not_run is None
        )

    def statements(self) -> Iterator[Evidence]:
        """Every statement behind the model: trainings, bases, gates, evaluations, datasets."""
        for node in self.chain:
            evaluations_of_node = self._evaluations_of(node)
            probes = leak_probes(self.view, node.sha256)
            statements = (node.base, node.gate, node.train, *evaluations_of_node, *probes)
            yield from (statement for statement in statements if statement)
        yield from self._judged()
        yield from self._judge_cards()
        for suite in self.further_suites:
            if suite.harness is not None and (scan := task_scan(self.view, suite.records)):
                yield scan
        for chain, _ in self.datasets:
            steps = (chain.generation, chain.ingest, chain.scan, chain.quality)
            yield from (statement for statement in steps if statement)

    def _evaluations_of(self, node: ModelNode) -> list[Evidence[Evaluate]]:
        """The evaluations of a model on the suites of the chain."""
        found = (Chain.evaluation(self, node, suite) for suite in self.suites)
        return [evaluation for evaluation in found if evaluation]

    def _judge_cards(self) -> Iterator[Evidence[JudgeCard]]:
        """The cards of the judges of generated data, and of evaluations."""
        judges: dict[str, None] = {}
        for made in self.generations:
            with suppress(VerificationError):
                judge = judge_of(asked_of_generation(made.predicate))
                judges |= {judge_digest(judge): None} if judge else {}
        for node in self.chain:
            for evaluation in self._evaluations_of(node):
                by = evaluation.predicate.judged_by
                judges |= {judge_digest(by.judge): None} if by else {}
        for digest in judges:
            card = judge_card(self.view, digest)
            yield from (card,) if card else ()

    def _judged(self) -> Iterator[Evidence[Evaluate]]:
        """The evaluations on which gates and generations judged their models. A base may have a
        suite that no stage has.
        """
        nodes = {node.sha256: node for node in self.chain}
        judged_here = (*self._built_on, *self.makers) if self.view.rules >= STEPS_BY_DIGEST else ()
        for ref in judged_here:
            suite, node = Suite(ref.suite, ref.suite_digest), nodes.get(ref.sha256)
            if node is not None and suite not in self.suites:
                judged = self.evaluation(node, suite)
                yield from (judged,) if judged else ()


def step_key(view: EvidenceView, node: ModelNode) -> str:
    """By what a step of a chain is told from others: the digest of what it made; under the earlier
    rules, its name.
    """
    return node.sha256 if view.rules >= STEPS_BY_DIGEST else node.name


def _prompts(made: Evidence[Generation]) -> tuple[str, str] | None:
    """The name and digest of the records that a dataset was generated from."""
    try:
        data = asked_of_generation(made.predicate).data
    except VerificationError:
        return None
    return data.dataset, data.sha256
