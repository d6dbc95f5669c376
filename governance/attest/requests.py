"""What a decision is asked about, and what it answers. Digests decide; names are for people and for
policy's tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    CANDIDATE,
    TEXTS,
    ComparedSuite,
    Finding,
    GateDecision,
    Generation,
    JudgeRef,
    Promotion,
)
from governance.attest.predicates import FurtherSuite as FurtherSuite
from governance.attest.predicates import SuiteRef as SuiteRef
from governance.base.errors import RefusedError, VerificationError
from governance.base.model import Model, Sha256, Slug, empty

M = TypeVar("M", bound=Model)


class DataRef(Model):
    """The records a stage trains on: `data/ready/DATASET/records`."""

    dataset: Slug
    sha256: Sha256
    generated: Slug | None = Field(None, exclude_if=empty)
    """The row of `generate` in params.yaml that writes its source; None where none does."""


class ModelRef(Model):
    """A model folder, and how it is evaluated."""

    name: Slug
    """The stage or base it is called by."""
    outside: bool
    """A base, as params.yaml has it. Evidence decides whether it is one."""
    sha256: Sha256
    """`governance.attest.digests.tree_digest`."""
    files: list[str]
    """Paths in the folder, POSIX, sorted."""
    suite: Slug
    suite_digest: Sha256
    further: list[FurtherSuite] = Field([], exclude_if=empty)
    """Suites on which it is evaluated beside its own, as they are defined now."""


class GateRequest(Model):
    """May this stage train? Recorded with the decision, so that it can be decided again at
    release.
    """

    model: Slug
    """The name under which the chain is released; gives the tier."""
    also: list[Slug] = Field([], exclude_if=empty)
    """Further names under which it is released. The stage must be allowed for each."""
    stage: Slug
    method: Slug
    kind: str
    """The dataset kind that the method trains on."""
    data: DataRef
    suite: SuiteRef
    """On which the result will be evaluated, and into which nothing may leak."""
    parent: ModelRef
    scorer: ModelRef | None
    """None where the objective does not use it."""
    objective: Sha256 | None
    rewards: dict[str, Sha256 | None]
    """Reward function to the digest of its source; `model` is the scorer."""
    compared: list[ComparedSuite] = Field([], exclude_if=empty)
    """Every suite and task of the project, with which the data must have been compared. Absent from
    requests that are older than this demand.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """Every name under which the chain is released."""
        return (self.model, *self.also)

    @property
    def decided_on(self) -> dict[str, str]:
        """Role to digest of everything that goes into the training."""
        digests: dict[str, str | None] = {
            "data": self.data.sha256,
            "parent": self.parent.sha256,
            "objective": self.objective,
        }
        digests |= {"scorer": self.scorer.sha256 if self.scorer else None}
        digests |= {f"reward/{name}": digest for name, digest in self.rewards.items()}
        return {role: digest for role, digest in sorted(digests.items()) if digest is not None}


class EndpointRef(Model):
    """A model that is asked elsewhere, as policy had it when it was asked."""

    name: Slug
    url: str
    model: str

    @property
    def digest(self) -> str:
        """sha256 of address and model name, whatever policy calls it."""
        return sha256_bytes(canonical.dumps({"url": self.url, "model": self.model}))


class GenerationRequest(Model):
    """May this dataset be generated? Recorded with the decision, so that it can be decided again
    where the dataset is used.
    """

    model: Slug
    """The name under which what is trained on the dataset is released; gives tier and purpose."""
    also: list[Slug] = Field([], exclude_if=empty)
    """Further names. The dataset must be allowed for each."""
    stage: Slug
    kind: Literal["revisions", "pairs"]
    data: DataRef
    """The prompts."""
    constitution: Slug
    constitution_digest: Sha256 | None
    """None where policy has no such constitution."""
    templates: Sha256 | None
    """Digest of the words in which models are asked; of the constitution."""
    generator: ModelRef | EndpointRef | None
    """Who writes answers. None: an endpoint that policy does not name."""
    judge: ModelRef | EndpointRef | None
    """Who criticises or compares them."""
    endpoints: dict[Literal["generator", "judge"], Slug] = {}
    """Role to the name of the endpoint that params.yaml asks for."""
    checked: Slug | None = Field(None, exclude_if=empty)
    """The row of `judges` in params.yaml that checks the judge; None where there is none."""

    @property
    def models(self) -> tuple[str, ...]:
        """Every name under which a model trained on the dataset is released."""
        return (self.model, *self.also)

    @property
    def asked(self) -> tuple[ModelRef, ...]:
        """The models of the project that are asked, each once."""
        refs = (self.generator, self.judge)
        models = {ref.sha256: ref for ref in refs if isinstance(ref, ModelRef)}
        return tuple(models.values())

    @property
    def decided_on(self) -> dict[str, str]:
        """Role to digest of everything that goes into the dataset."""
        digests = {
            "prompts": self.data.sha256,
            "constitution": self.constitution_digest,
            "templates": self.templates,
            "generator": speaker_digest(self.generator),
            "judge": speaker_digest(self.judge),
        }
        return {role: digest for role, digest in sorted(digests.items()) if digest is not None}


def speaker_digest(ref: ModelRef | EndpointRef | None) -> str | None:
    """The digest of a model that is asked, here or elsewhere."""
    return ref.digest if isinstance(ref, EndpointRef) else ref.sha256 if ref else None


def judge_of(request: GenerationRequest) -> JudgeRef | None:
    """The judge of a generation; None where it, or what it judges by, is not known."""
    speaker = speaker_digest(request.judge)
    rubric, templates = request.constitution_digest, request.templates
    if speaker is None or rubric is None or templates is None:
        return None
    kind: Literal["model", "endpoint"]
    kind = "endpoint" if isinstance(request.judge, EndpointRef) else "model"
    return JudgeRef(kind=kind, speaker=speaker, rubric=rubric, templates=templates)


def judge_digest(judge: JudgeRef) -> str:
    """sha256 over speaker, rubric and wording: another of them is another judge."""
    return sha256_bytes(canonical.dumps(judge.model_dump(mode="json")))


Action = Literal["promote", "rollback", "retire"]
"""What a decision may do with an alias."""


class ReleaseRequest(Model):
    """May this model be called `alias` under this name? For a governed alias: as a signed request
    asks.
    """

    model: Slug
    released: ModelRef
    champion: Sha256 | None = None
    """Digest of the model that serves now; None where none does."""
    alias: Slug = CANDIDATE
    action: Action = "promote"
    version: str = ""
    """The registry's number, for a governed alias."""
    from_version: str | None = None
    """Who holds the alias, as the log says; None where nobody does."""
    packet: Sha256 | None = None
    """The latest packet of this version."""
    request: Sha256 | None = None
    """Digest of the statement by which a person asks for the move; None where nobody does."""


def asked_of_gate(gate: GateDecision) -> GateRequest:
    """What a gate was asked. Its signer wrote it: the schema of a gate lets any parameters stand.
    Raises `VerificationError` where it is no such request.
    """
    return _asked(GateRequest, gate.parameters)


def asked_of_generation(generation: Generation) -> GenerationRequest:
    """What was asked before a dataset was generated. Its signer wrote it. Raises
    `VerificationError` where it is no such request.
    """
    return _asked(GenerationRequest, generation.parameters)


def asked_of_move(promotion: Promotion) -> ReleaseRequest:
    """What was asked about an alias. Its signer wrote it. Raises `VerificationError` where it is no
    such request.
    """
    return _asked(ReleaseRequest, promotion.asked)


def text_of(gate: GateDecision, sha256: str) -> str | None:
    """The text with this digest, of an objective or a reward function, if the gate's statement has
    it. Its signer wrote it, and the digest proves it.
    """
    texts = gate.run.detail.get(TEXTS)
    text = texts.get(sha256) if isinstance(texts, dict) else None
    proved = isinstance(text, str) and sha256_bytes(text.encode()) == sha256
    return text if proved else None


def _asked(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except ValidationError:
        raise VerificationError("what was asked cannot be read") from None


@dataclass(frozen=True)
class Decision:
    """The answer: denied unless there is no finding at all."""

    allowed: bool
    tier: str
    """`unknown` where policy does not name the model."""
    decided_on: dict[str, str]
    findings: tuple[Finding, ...]
    """What stands against it."""
    at: datetime
    """The reference time; nothing here reads a clock."""
    waived: tuple[Finding, ...] = ()
    """What would stand against it but for a waiver in force."""


@dataclass(frozen=True)
class ReleaseDecision(Decision):
    """The answer for a release, with the gates of its chain decided anew."""

    gates: dict[str, Decision] = field(default_factory=dict)
    """Digest of each model of the chain to the decision of its gate under the policy in force. In a
    log of earlier rules: stage to decision.
    """
    candidate_only: tuple[str, ...] = ()
    """Why nothing better than `candidate` could be given on this evidence, in words."""


def explain(decision: Decision, name: str) -> str:
    """A decision in plain text."""
    return (
        f"{name} allowed (tier {decision.tier})"
        if decision.allowed
        else refusal(name, decision.findings)
    )


def refusal(name: str, findings: Sequence[Finding]) -> str:
    """All findings as text: what, expected, found, and the next step of each."""
    lines = [f"{name} refused, {len(findings)} finding(s):"]
    for finding in findings:
        lines.append(f"  {finding.code} {_line(finding.subject)}: {_line(finding.message)}")
        if finding.expected or finding.found:
            expected, found = _line(finding.expected) or "n/a", _line(finding.found) or "nothing"
            lines.append(f"      expected {expected}; found {found}")
        if finding.next:
            lines.append(f"      next: {finding.next}")
    return "\n".join(lines)


def _line(text: str) -> str:
    """In one line: a finding may quote what somebody wrote, who must not write lines of ours."""
    return " ".join(text.splitlines())


def enforce(decision: Decision, name: str) -> None:
    """Raises `RefusedError` with every finding unless the decision allows."""
    if not decision.allowed:
        raise RefusedError(explain(decision, name))
