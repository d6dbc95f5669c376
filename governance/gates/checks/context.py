"""What a check may read: the request, the policies, the evidence that counts, and facts derived
from them once.

Facts are derived on first use. Where that raises, every check that needs the fact crashes, and a
crashed check denies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from governance.attest.findings import finding
from governance.attest.predicates import (
    Evaluate,
    Finding,
    Packet,
    PromotionRequest,
    Quality,
    Registration,
    Scan,
)
from governance.attest.requests import (
    FurtherSuite,
    GateRequest,
    GenerationRequest,
    ModelRef,
    ReleaseRequest,
    asked_of_gate,
)
from governance.base.errors import VerificationError
from governance.gates import assessment, judging
from governance.gates.assessment import Judged
from governance.history import lineage
from governance.history.lineage import DataChain, ModelNode
from governance.history.timeline import Timeline
from governance.log.rules import OWN_EVALUATION
from governance.policy.evaluation import BehaviourLimits, Demands, EvaluationPolicy, SuitePolicy
from governance.policy.policies import Policies
from governance.policy.rules import Datacard, ModelPolicy, Principal, Tier

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

UNKNOWN = "0" * 64
"""In place of the digest of a suite that no evidence names."""
Findings = Iterable[Finding]
Judge = Callable[[Evaluate, Demands, EvaluationPolicy], list[Judged]]


@dataclass(frozen=True)
class ModelFacts:
    """A model that is built upon or released: its chain, and its evaluation compared with
    policy.
    """

    ref: ModelRef
    view: EvidenceView
    policies: Policies
    champion: str | None = None
    released_as: str | None = None
    """The registered model, if it is released."""
    row: str | None = None
    """Where `ref` names a suite beside the model's own: the row of `evaluations` in params.yaml
    that evaluates it, empty if there is none. None for its own suite.
    """
    required: bool = True
    """Whether policy must say something of the suite."""

    def further(self, required: Sequence[str]) -> list[ModelFacts]:
        """The same model on each suite beside its own that decides: those that the request names,
        and those that policy requires.
        """
        named = {suite.name: suite for suite in self.ref.further}
        names = dict.fromkeys([*named, *required])
        return [
            self._on(name, named.get(name), name in required)
            for name in names
            if name != self.ref.suite
        ]

    def _on(self, name: str, suite: FurtherSuite | None, required: bool) -> ModelFacts:
        digest = suite.digest if suite else self._latest_digest(name)
        ref = self.ref.model_copy(update={"suite": name, "suite_digest": digest})
        return replace(self, ref=ref, row=suite.row if suite else "", required=required)

    def _latest_digest(self, suite: str) -> str:
        """The suite that policy pins, or that the model was evaluated on last: the request of a
        gate names none where policy required it later. What is released names all.
        """
        if self.released:
            return UNKNOWN
        policy = self.policies.evaluation.suites.get(suite)
        if policy is not None and policy.digest is not None:
            return policy.digest
        evaluations = lineage.evaluations(self.view, self.ref.sha256, suite)
        return evaluations[-1].predicate.suite if evaluations else UNKNOWN

    @cached_property
    def chain(self) -> list[ModelNode]:
        """Every model that it was made from, itself last."""
        return lineage.model_chain(
            self.view, self.ref.sha256, self.ref.name, released=self.released
        )

    @property
    def node(self) -> ModelNode:
        """The model itself."""
        return self.chain[-1]

    def finding(self, code: str, message: str = "", **details: Any) -> Finding:
        """A finding about this model's evaluation."""
        name, suite = self.ref.name, self.ref.suite
        subject = f"model {name}" if self.row is None else f"model {name} on {suite}"
        fields = {"stage": self.evaluate_stage, "method": self.node.method, "suite": suite}
        return finding(code, subject, message, **{"name": name, **fields, **details})

    @property
    def evaluate_stage(self) -> str:
        """The stage that evaluates it."""
        if self.row is not None:
            named = (suite.stage for suite in self.ref.further if suite.row == self.row)
            return next(named, "evaluate_further@ROW")
        return f"evaluate_base@{self.ref.name}" if self.ref.outside else self.own_stage

    @property
    def own_stage(self) -> str:
        """The stage that says how it behaves."""
        own = self.node.train is not None
        return f"evaluate@{self.node.name}" if own else f"evaluate_base@{self.ref.name}"

    @property
    def suite_policy(self) -> SuitePolicy:
        """What policy says of its suite. Policy must have demands on the suite."""
        return self.policies.evaluation.suites[self.ref.suite]

    @cached_property
    def demands(self) -> Demands | None:
        """The demands of policy on its stage or method, and suite; None where policy has none."""
        return self.policies.evaluation.demands(self.ref.suite, *self._judged_as)

    def limits_on(self, suite: str) -> BehaviourLimits | None:
        """The limits of policy for its behaviour on a suite; None where policy has none."""
        return self.policies.evaluation.limits(suite, *self._judged_as)

    @property
    def _judged_as(self) -> tuple[str, str, str | None]:
        return self.node.method, self.node.name, self.released_as

    @property
    def released(self) -> bool:
        """Whether it is released, not built upon."""
        return self.released_as is not None

    @property
    def has_demands(self) -> bool:
        """Whether policy has demands and the model has evidence. Other checks report missing
        evidence.
        """
        return self.node.known and self.demands is not None and self.demands.none is None

    @property
    def evaluation(self) -> Evidence[Evaluate] | None:
        """Its evaluation on the suite as defined now, else its latest on the suite of that name;
        without scores where its judge does not count.
        """
        return self._as_shown(self._evaluation)

    @cached_property
    def _evaluation(self) -> Evidence[Evaluate] | None:
        """The same, as it was signed."""
        if self.ref.suite_digest == UNKNOWN and self.row is not None:
            return None
        return self._evaluation_of(self.node)

    @cached_property
    def not_shown(self) -> tuple[judging.Reason, ...]:
        """Why its judge does not count, so that no figure of the suite is shown."""
        if self._evaluation is None:
            return ()
        return judging.against(self.view, self._evaluation, self.policies, self._judge)

    @property
    def is_judged(self) -> bool:
        """Whether a judge compares answers on the suite, as it is defined now."""
        return self._judge is not None

    @property
    def _judge(self) -> str | None:
        """The judge of the suite as it is defined now; None where it has none."""
        if self.row is None:
            return None
        named = (suite.judge for suite in self.ref.further if suite.row == self.row)
        return next(named, None)

    def _as_shown(self, evaluation: Evidence[Evaluate] | None) -> Evidence[Evaluate] | None:
        if evaluation is None:
            return None
        return judging.as_shown(self.view, evaluation, self.policies, self._judge)

    @cached_property
    def behaved(self) -> Evidence[Evaluate] | None:
        """The evaluation that says how it behaves: on the suite of the request; else, where a
        version of ours is a base with another suite, on the suite of its training.
        """
        for suite in (self.ref.suite, self._trained_for):
            scored = lineage.evaluations(self.view, self.ref.sha256, suite)
            if own := lineage.own_evaluations(self.view, self.node, scored):
                return lineage.pick(own, self._on_this_suite)
        return None

    @property
    def _trained_for(self) -> str:
        """The name of the suite that the gate of its training named."""
        try:
            gate = self.node.gate
            return asked_of_gate(gate.predicate).suite.name if gate else self.ref.suite
        except VerificationError:
            return self.ref.suite  # another check says so

    @property
    def behaved_beside(self) -> str | None:
        """The parent beside which its behaviour must have been measured; None where there is none
        with weights, or where earlier rules judge the evaluation.
        """
        behaved = self.behaved
        if behaved is None or self.view.rules_at(behaved.index) < OWN_EVALUATION:
            return None
        parents = (node for node in self.chain if node.sha256 == self.node.parent)
        return next((node.sha256 for node in parents if node.has_weights), None)

    @property
    def parent_behaved(self) -> Evaluate | None:
        """The evaluation of the parent on the suite of `behaved`."""
        if self.behaved is None or self.node.parent is None:
            return None
        own = self.behaved.predicate
        parent = lineage.model_node(self.view, self.node.parent)
        scored = lineage.evaluations(self.view, parent.sha256, own.suite_name)
        found = lineage.preferred(
            self.view, parent, scored, lambda statement: statement.predicate.suite == own.suite
        )
        return found.predicate if found else None

    @cached_property
    def judged(self) -> list[Judged]:
        """The result of every threshold."""
        return self._results(assessment.judge)

    @cached_property
    def sliced(self) -> list[Judged]:
        """The result of every threshold on slices."""
        return self._results(assessment.judge_slices)

    @cached_property
    def compared(self) -> list[Judged]:
        """The result of every comparison that policy demands."""
        return self._results(partial(assessment.compare, references=self.references))

    def _results(self, judge: Judge) -> list[Judged]:
        if self.evaluation is None or self.demands is None:
            return []
        return judge(self.evaluation.predicate, self.demands, self.policies.evaluation)

    @cached_property
    def references(self) -> Mapping[str, Evaluate | None]:
        """Maps each reference to its evaluation on the same suite. `champion` is there at a
        release, if the alias has a holder.
        """
        digests = {
            "parent": self.node.parent,
            "base": next((node.sha256 for node in self.chain if node.train is None), None),
        }
        if self.released and self.champion is not None:
            digests["champion"] = self.champion
        references: dict[str, Evaluate | None] = {}
        for name, digest in digests.items():
            node = lineage.model_node(self.view, digest) if digest else None
            evaluation = self._as_shown(self._evaluation_of(node)) if node else None
            references[name] = evaluation.predicate if evaluation else None
        return references

    def _evaluation_of(self, node: ModelNode) -> Evidence[Evaluate] | None:
        evaluations = lineage.evaluations(self.view, node.sha256, self.ref.suite)
        return lineage.preferred(self.view, node, evaluations, self._on_this_suite)

    def _on_this_suite(self, evaluation: Evidence[Evaluate]) -> bool:
        return evaluation.predicate.suite == self.ref.suite_digest


@dataclass(frozen=True)
class Context:
    """What every decision reads: the name of the model, its bytes, policies, evidence and time."""

    model: str
    refs: tuple[ModelRef, ...]
    policies: Policies
    evidence: EvidenceView
    at: datetime
    champion: str | None = None
    alias: str | None = None
    """The alias asked for; None at a gate."""
    authority: Authority | None = None
    """Who had which rights at each position of the log; None where the log gives no rights to
    people.
    """
    governed: bool = False
    """Whether rights are judged by the log's authority; else by the policies at hand."""

    @cached_property
    def view(self) -> EvidenceView:
        """The evidence whose signers may sign it."""
        if self.governed and self.authority is not None:
            return self.evidence.signed_under(self.authority)
        return self.evidence.signed_under(self.policies)

    @property
    def model_policy(self) -> ModelPolicy | None:
        """The policy of this model name; None where there is none."""
        return self.policies.rules.models.get(self.model)

    @property
    def tier(self) -> Tier | None:
        """The tier's demands; None where policy does not name the model."""
        return self.policies.tier_of(self.model)

    @property
    def tier_name(self) -> str:
        """The tier by name; `unknown` where there is none."""
        return self.model_policy.tier if self.model_policy else "unknown"

    def finding(self, code: str, subject: str = "", message: str = "", **details: Any) -> Finding:
        """A finding; about the model where no other subject is named."""
        fields = {"model": self.model, "tier": self.tier_name}
        return finding(code, subject or f"model {self.model}", message, **{**fields, **details})

    @cached_property
    def models(self) -> list[ModelFacts]:
        """The models of the request, with their evidence and policy, each on its own suite."""
        released_as = self.model if self.alias is not None else None
        return [
            ModelFacts(ref, self.view, self.policies, self.champion, released_as)
            for ref in self.refs
        ]

    @cached_property
    def evaluated(self) -> list[ModelFacts]:
        """The same models on every suite that decides, each model's own first."""
        required = self.policies.evaluation.required_of(self.model)
        return [facts for model in self.models for facts in (model, *model.further(required))]


@dataclass(frozen=True, kw_only=True)
class DataContext(Context, ABC):
    """What a decision on the use of a dataset reads besides: the request, and the dataset."""

    request: GateRequest | GenerationRequest
    before: Evidence | None = None
    """The run that was decided on; None where it has not happened yet."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kind of record that is needed."""

    @property
    def details(self) -> dict[str, str]:
        """Fields for findings about the dataset."""
        return {}

    @cached_property
    def chain(self) -> DataChain:
        """The chain of the data. Of several statements, one made under the policy in force is
        preferred.
        """
        return lineage.data_chain(
            self.view, self.request.data.dataset, self.request.data.sha256, self._in_force
        )

    @property
    def quality(self) -> Quality | None:
        """The quality statement about the records."""
        return self.chain.quality.predicate if self.chain.quality else None

    @property
    def scan(self) -> Scan | None:
        """The scan statement about what the quality gate read."""
        return self.chain.scan.predicate if self.chain.scan else None

    @property
    def card(self) -> Datacard | None:
        """The dataset's datacard."""
        return self.policies.datacards.get(self.request.data.dataset)

    def data_finding(self, code: str, message: str = "", **details: Any) -> Finding:
        """A finding about the dataset."""
        details = {**self.details, **details}
        return self.finding(code, f"dataset {self.request.data.dataset}", message, **details)

    def suites_in_force(self, digest: str, kind: str) -> list[str]:
        """The names of the quality suites in policies/ with this digest and kind of record."""
        suites = self.policies.quality.items()
        return [
            name
            for name, suite in suites
            if suite.kind == kind and self.policies.suite_digest(name) == digest
        ]

    def _in_force(self, statement: Evidence) -> bool:
        predicate = statement.predicate
        if isinstance(predicate, Quality):
            return predicate.passed and bool(self.suites_in_force(predicate.suite, predicate.kind))
        if isinstance(predicate, Scan):
            return predicate.passed and predicate.config == self.policies.pii_digest
        return True


@dataclass(frozen=True, kw_only=True)
class GateContext(DataContext):
    """What a gate reads besides: the request of the stage, and its data."""

    request: GateRequest

    @property
    def kind(self) -> str:
        """As `DataContext`."""
        return self.request.kind

    @property
    def details(self) -> dict[str, str]:
        """As `DataContext`."""
        return {"suite": self.request.suite.name}

    @cached_property
    def held_out_chain(self) -> DataChain:
        """The chain of the suite's dataset. A leak check may have used any of its digests."""
        return lineage.data_chain(self.view, self.request.suite.name, self.request.suite.records)


@dataclass(frozen=True, kw_only=True)
class GenerationContext(DataContext):
    """What a decision on generating a dataset reads besides: its request, and the prompts."""

    request: GenerationRequest

    @property
    def kind(self) -> str:
        """As `DataContext`."""
        return "prompt"


@dataclass(frozen=True, kw_only=True)
class ReleaseContext(Context):
    """What a decision on a governed alias reads besides: the request and the authority."""

    request: ReleaseRequest
    rights: Authority
    signed_request: Evidence[PromotionRequest] | None = None
    """The request of the move that asks about another version: `of_version`."""

    @classmethod
    def of(
        cls, request: ReleaseRequest, rights: Authority, evidence: EvidenceView, at: datetime
    ) -> ReleaseContext:
        """The context under the policies in force."""
        return cls(
            request.model,
            (request.released,),
            rights.policies,
            evidence,
            at,
            request.champion,
            request.alias,
            authority=rights,
            governed=True,
            request=request,
            rights=rights,
        )

    def of_version(self, registered: Registration) -> ReleaseContext:
        """The same move to another version: what stands against that one."""
        paths = sorted(file.path for file in registered.files)
        released = ModelRef(
            name=registered.stage, outside=False, sha256=registered.model_digest, files=paths,
            suite="none", suite_digest="0" * 64, further=registered.further,
        )  # fmt: skip
        changes = {"released": released, "version": registered.version}
        request = self.request.model_copy(update=changes)
        return replace(self, refs=(released,), request=request, signed_request=self.signed)

    def finding(self, code: str, subject: str = "", message: str = "", **details: Any) -> Finding:
        """A finding; its next step can name the version and the alias."""
        fields = {"version": self.request.version, "alias": self.request.alias}
        return super().finding(code, subject, message, **{**fields, **details})

    @cached_property
    def timeline(self) -> Timeline:
        """The history of the log up to this decision."""
        return Timeline(self.evidence, self.rights)

    @cached_property
    def packet(self) -> Evidence[Packet] | None:
        """The packet that the request names."""
        digest = self.request.packet
        packets = self.evidence.by_subject(digest, Packet) if digest else []
        named = (
            packet
            for packet in packets
            if lineage.subject(packet, "packet") == digest and self.rights.admits(packet)
        )
        return next(named, None)

    @cached_property
    def signed(self) -> Evidence[PromotionRequest] | None:
        """The signed request for the move."""
        if self.signed_request is not None:
            return self.signed_request
        requests = self.evidence.by_subject(self.request.released.sha256, PromotionRequest)
        return next(
            (request for request in requests if request.digest == self.request.request), None
        )

    @property
    def asks(self) -> str:
        """The name in the request; empty where there is no request."""
        return self.signed.predicate.principal if self.signed else ""

    @property
    def requester(self) -> Principal | None:
        """The person who signed the request; None where its signer has no rights."""
        return self.rights.speaker(self.signed) if self.signed else None


def signed_by(keys: Sequence[str]) -> str:
    """What is there in place of missing evidence: statements by these keys, which may not sign."""
    known = ", ".join(key[:16] for key in keys)
    return f"only by a key that policy does not let sign it: {known}" if keys else "none"
