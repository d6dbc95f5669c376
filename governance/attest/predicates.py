"""What each kind of evidence says: the typed predicates of our in-toto statements, version 1.

A statement's `subject` are the stage's outputs by sha256; its predicate is one of the models below.
Numbers follow RFC 8785 (finite, integers within 2**53); a figure that does not exist is null, with
its reason beside it. Nothing here may hold record text, record ids, secrets or personal data:
counts, types, digests and Merkle roots only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from governance.base.model import Json, Model, Sha256, empty
from governance.base.time import instant_of

CANDIDATE = "candidate"
"""The alias that a version has once it is registered; governed ones take a promotion."""
TYPE_PREFIX = "https://countersign.dev/evidence/"
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Kind:
    """What the project knows of one kind of evidence beside its fields."""

    name: str
    model: type[Model]
    scope: str | None
    """Pattern over the `predicate`: within it, an entry of the log can be the latest. None
    for evidence that is recorded once.
    """
    stays: bool
    """It means something in its own log only, so it is not carried to another."""
    granted: bool
    """Policy may let a principal sign it (`signs` in policies/policy.yaml)."""
    afterwards: bool
    """It is signed after a release, so a release needs nobody who signs it."""

    @property
    def uri(self) -> str:
        """The predicate type."""
        return f"{TYPE_PREFIX}{self.name}/v1"


KINDS: dict[str, Kind] = {}
"""Every kind of evidence by its short name, in the order of this module."""
PREDICATES: dict[str, type[Model]] = {}
"""Predicate type URI to model."""


def evidence_kind(
    name: str,
    *,
    scope: str | None = None,
    stays: bool = False,
    granted: bool = False,
    afterwards: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Registers a predicate as a kind of evidence. Log, carrying, schemas and policy derive what
    they know of it from here.
    """

    def register(model: type[M]) -> type[M]:
        if name in KINDS:
            raise ValueError(f"two kinds of evidence are called {name!r}")
        KINDS[name] = kind = Kind(name, model, scope, stays, granted, afterwards)
        PREDICATES[kind.uri] = model
        return model

    return register


def _on_the_calendar(text: str) -> str:
    """Whoever signs a date that is none would stop everybody who has to compare it."""
    if not text.isascii() or not MINYEAR < instant_of(text).year < MAXYEAR:
        raise ValueError("no date of the calendar, with room before and after it")
    return text


Instant = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"),
    AfterValidator(_on_the_calendar),
]
"""An RFC 3339 instant in UTC."""


TEXTS = "texts"
"""In the detail of a gate's run: sha256 to the text that has it, of an objective and its reward
functions.
"""

PolicyFiles = Annotated[dict[str, str], Field(max_length=4096)]
"""Path below `policies/` to text, of every YAML file there: the digest of the policies follows from
it.
"""


class Artifact(Model):
    """A file, or a folder by the digest of its manifest
    (`governance.attest.digests.tree_digest`).
    """

    role: str
    """What it is to the stage: source, records, held_out, parent, scorer, gate, model, scores, ...
    """
    name: str
    """Where it stood, for people; it is identified by its digest."""
    sha256: Sha256


class Code(Model):
    """The code that ran. `commit` is null outside a git work tree."""

    commit: str | None
    dirty: bool
    """Whether code, parameters or policies differ from the commit (dvc.lock aside)."""


class Library(Model):
    """An installed distribution, as its own metadata describes it."""

    licence: str
    """An SPDX expression where the distribution gives one; empty where it gives none."""
    record: Sha256
    """sha256 of its RECORD, which lists the digest of each file."""


class Environment(Model):
    """Where it ran: what can change bits or behaviour."""

    python: str
    platform: str
    versions: dict[str, str]
    """Distribution to version, of the engines this stage's result depends on."""
    distributions: Sha256
    """sha256 over the sorted names and RECORD digests of everything installed
    (`pipelines.provenance`).
    """
    libraries: dict[str, Library] = Field({}, exclude_if=empty)
    """Licence and digest of each distribution in `versions`."""


class Requester(Model):
    """Who asked for the run. An operating-system account is a claim, not an authentication."""

    name: str
    authenticated: bool
    authorization: Sha256 | None = None
    """The statement by which this person allowed runs in their name; without one the name is a
    claim.
    """


class Run(Model):
    """When and how it ran. Left out of what makes two statements the same entry of the log."""

    started: Instant
    finished: Instant
    seconds: float
    requested_by: Requester
    detail: dict[str, Json] = {}
    """Figures that differ between two runs of the same thing: device hours, peak memory, MLflow run
    id.
    """


class Predicate(Model):
    """What every stage's evidence says."""

    stage: str
    """The DVC stage, e.g. `train@sft`."""
    inputs: list[Artifact]
    parameters: dict[str, Json]
    """What was asked for, as resolved."""
    policy: Sha256
    """Digest of `policies/` at the time."""
    code: Code
    environment: Environment
    run: Run


@evidence_kind("origin", scope="origin", stays=True)
class Origin(Model):
    """The log's first entry: whom and what to trust from here on."""

    project: str
    policy: Sha256
    checkpoint_key: str
    """Ed25519 public key (PEM) that signs checkpoints."""
    development_keys: list[str]
    """Public keys (PEM) made on this machine without ceremony: good for `candidate` only."""
    run: Run
    files: PolicyFiles | None = None
    """The policies themselves; absent from origins of before 0.2."""


@evidence_kind("policy", scope="policy", stays=True)
class PolicyChange(Model):
    """The policies changed; what they say is the subject. Whether that counts, people decide: see
    `Approval`.
    """

    previous: Sha256
    run: Run
    files: PolicyFiles | None = None


class Expectation(Model):
    """One expectation of a quality suite and its result."""

    name: str
    column: str
    severity: Literal["critical", "warning"]
    success: bool
    unexpected: int
    expected: str
    action: Literal["block", "drop", "report"]


class DataCounts(Model):
    """Records in and out of a data stage. in = out + sum(excluded)."""

    records_in: int
    records_out: int
    excluded: dict[str, int]
    """Reason (a finding code) to the number of records left out for it."""
    splits: dict[str, int]
    records_root: Sha256
    """RFC 6962 root over the sorted ids of the records that went on."""
    excluded_root: Sha256


@evidence_kind("ingest", granted=True)
class Ingest(Predicate):
    """A source was read and normalised."""

    dataset: str
    kind: str
    record_key: str
    """Key id; `development` marks the fixed public key."""
    fields_unused: dict[str, int]
    counts: DataCounts


class Planted(Model):
    """Made-up values of one kind of personal data: how many were planted, and how many of them the
    search found.
    """

    planted: int = Field(gt=0)
    found: int = Field(ge=0)

    @model_validator(mode="after")
    def _no_more(self) -> Planted:
        if self.found > self.planted:
            raise ValueError("more were found than planted")
        return self


class Recall(Model):
    """How much a scan's engine finds of made-up values, planted in the dataset's own texts."""

    seeds: Sha256
    """Digest of the values and the sentences they stand in (`pipelines.pii.seeds`)."""
    texts: int
    """Texts of the dataset they were planted in; 0 where there were none and the sentences stood
    alone.
    """
    entities: dict[str, Planted]
    """What was searched for and is not here has no made-up values, so its recall is not measured.
    """


@evidence_kind("scan", granted=True)
class Scan(Predicate):
    """Personal data was searched for and treated as policy says; what was written was scanned
    again.
    """

    dataset: str
    passed: bool
    engine: dict[str, str]
    """name, version, ner (`name-list`, or a model), ner_sha256."""
    config: Sha256
    """Digest of the scan's part of the policy (`policies/pii.yaml`)."""
    languages: list[str]
    entities_searched: list[str]
    cannot_find: list[str]
    """What this engine is known not to find, in words."""
    found: dict[str, int]
    """Entity to occurrences before treatment."""
    remaining: dict[str, int]
    """Entity to occurrences in what was written, allowed ones included."""
    actions: dict[str, str]
    """Entity to what policy did about it: block, drop, redact, allow."""
    counts: DataCounts
    recall: Recall | None = Field(None, exclude_if=empty)
    """Absent from scans of before it was measured."""


@evidence_kind("quality", granted=True)
class Quality(Predicate):
    """A dataset was held against its suite."""

    dataset: str
    kind: str
    passed: bool
    suite: Sha256
    expectations: list[Expectation]
    counts: DataCounts


@evidence_kind("base", granted=True)
class BaseImport(Predicate):
    """A model came from outside."""

    source: str
    files: int
    weights: bool
    """False for an architecture to be trained from scratch."""


class Finding(Model):
    """One reason. Codes are listed in `governance.attest.codes`."""

    code: str
    subject: str
    message: str
    expected: str = ""
    found: str = ""
    next: str = ""
    figures: list[str] = Field([], exclude_if=empty)
    """What was measured, as data: the figures that a waiver accepts, or the entry of an incident.
    Comparisons use it, never the sentences above.
    """


@evidence_kind("gate", scope="gate/{predicate.stage}", granted=True)
class GateDecision(Predicate):
    """Whether a stage may train. Its subject is the set of digests decided on."""

    allowed: bool
    method: str
    tier: str
    decided_on: dict[str, Sha256]
    """role (data, parent, scorer, objective, rewards) to digest."""
    findings: list[Finding]
    at: Instant
    """The reference time of the decision."""
    waived: list[Finding] = []
    """What a waiver in force passes."""


@evidence_kind("train", granted=True)
class Train(Predicate):
    """A model was trained. Its subject `model` is what is released."""

    method: str
    objective: Sha256
    records: int
    steps: int
    final: dict[str, float | None]
    """Last value of each of the method's signals."""
    device: str
    threads: int
    adapter: Sha256 | None


@evidence_kind("evaluate", granted=True)
class Evaluate(Predicate):
    """A model was scored. The scores stand here, so that every comparison can be done again from
    the log.
    """

    model: Sha256
    """Digest of the model folder that was scored."""
    suite: Sha256
    """Digest of dataset, split, metrics and generation settings."""
    suite_name: str
    not_run: str | None
    """Why there are no scores, where there are none."""
    scores: dict[str, list[float | None]]
    """Metric to one score per item, in the suite's order."""
    slices: dict[str, list[str]] = Field({}, exclude_if=empty)
    """What items are told apart by (language, topic) to one label per item, in the same order; none
    in older ones.
    """


class ModelFile(Model):
    """One file of a released model."""

    path: str
    size: int
    sha256: Sha256


@evidence_kind(
    "registration",
    scope="registration/{predicate.model}/{predicate.stage}",
    stays=True,
    granted=True,
)
class Registration(Model):
    """A model version in the registry."""

    model: str
    version: str
    stage: str
    tier: str
    model_digest: Sha256
    files: list[ModelFile]
    chain: list[Artifact]
    """Evidence it rests on: role is the evidence kind, sha256 the statement's digest."""
    policy: Sha256
    run: Run


@evidence_kind(
    "promotion",
    scope="promotion/{predicate.model}/{predicate.alias}",
    stays=True,
    granted=True,
)
class Promotion(Model):
    """An alias was given to a version, moved or taken away, or that was refused.

    The decision can be made again from here: `asked`, the policies in force at this position, and
    `at`.
    """

    model: str
    version: str
    alias: str
    model_digest: Sha256
    allowed: bool
    findings: list[Finding]
    policy: Sha256
    at: Instant
    run: Run
    action: Literal["promote", "rollback", "retire"] = "promote"
    request: Sha256 | None = None
    """The signed request that this consumes; a governed alias never moves without one."""
    packet: Sha256 | None = None
    from_version: str | None = None
    """Who held the alias before; None where nobody did."""
    caller: str = ""
    """The account that made the call, as the server authenticated it."""
    asked: dict[str, Json] | None = None
    """The `governance.attest.requests.ReleaseRequest` that was decided."""
    waived: list[Finding] = []
    """What a waiver in force passes."""
    second_signature_by: Instant | None = None
    """Until when a rollback made by one person alone must be signed by a second."""

    @model_validator(mode="after")
    def _retired_from_governed(self) -> Promotion:
        if self.action == "retire" and self.alias == CANDIDATE:
            raise ValueError("a version is retired from governed aliases, not from `candidate`")
        return self


@evidence_kind("reproduction", granted=True, afterwards=True)
class Reproduction(Predicate):
    """A training was run again from the same inputs; its subject is the model that was trained
    first.
    """

    of: Sha256
    """Digest of the `train` statement that was performed again."""
    model: Sha256
    """Digest of the model that came out now."""
    same_bytes: bool
    largest_difference: float | None
    """The largest absolute difference of any weight; 0 where the bytes are the same, None where
    shapes differ.
    """
    differing: int
    """Tensors that differ."""
    tensors: int
    final: dict[str, float | None]
    """Last value of each signal now, to be held against the first training's."""
    device: str


class DrillStep(Model):
    """One step of a rehearsal."""

    name: str
    passed: bool
    seconds: float
    found: str


@evidence_kind("drill", granted=True, afterwards=True)
class Drill(Model):
    """A rollback was rehearsed: the target was found, checked, loaded and asked. Its subject is the
    target's model.
    """

    model: str
    alias: str
    version: str
    """The version that a rollback would go back to."""
    from_version: str | None
    model_digest: Sha256
    passed: bool
    steps: list[DrillStep]
    items: int
    """Items of the evaluation suite that it was asked."""
    policy: Sha256
    at: Instant
    run: Run


class PacketStage(Model):
    """One step that a release rests on."""

    name: str
    """The DVC stage, e.g. `train@sft`."""
    kind: str
    statement: Sha256
    """Digest of the statement in the log."""
    digest: Sha256
    """Of what the step made."""


@evidence_kind("packet", scope="packet/{predicate.model}/{predicate.version}", stays=True)
class Packet(Model):
    """Everything a release rests on, frozen under one digest, before anybody approves it.

    Its digest is sha256 over the canonical form of everything but `run`
    (`governance.history.packet.digest_of`).
    """

    model: str
    version: str
    model_digest: Sha256
    files: list[ModelFile]
    stage: str
    tier: str
    policy: Sha256
    """The policies under which it was put together: approvals of it hold under no others."""
    stages: list[PacketStage]
    waivers: list[Sha256]
    """Statements of the waivers that were in the log, expired ones left out; sorted."""
    findings: list[Finding]
    """What stood against the release then, waived findings included; approvals apart, which come
    later.
    """
    waived: list[Finding]
    champion: Sha256 | None
    """Digest of the model that served then."""
    commits: list[str]
    """Commits of the code that trained and evaluated; `none` where there was no work tree."""
    environments: list[Sha256]
    """Digests of what was installed, sorted."""
    run: Run


class Signed(Model):
    """What every statement by a person says of that person."""

    principal: str
    role: str
    """In which they speak."""
    reason: str
    at: Instant
    """By their own clock; rights are judged by the position in the log."""
    log: Sha256 | None = Field(None, exclude_if=empty)
    """Hash of entry 0 of the only log in which it counts; none of what may be carried to another,
    and of before.
    """


@evidence_kind("approval")
class Approval(Signed):
    """A person approved or rejected exactly these bytes, having seen the page rendered from
    them.
    """

    decision: Literal["approve", "reject"]
    about: Literal["packet", "policy", "data", "objective", "reward", "checkpoint_key", "promotion"]
    model: str | None = None
    alias: str | None = None
    """For a packet: the alias it may be given; None for any that policy governs."""
    page: Sha256 | None
    """sha256 of the review page that was shown; None where there is no page."""
    expires: Instant | None = None
    opened_at: Instant | None = Field(None, exclude_if=empty)
    """When its author opened that page, by their own clock; absent from older approvals and where
    there is no page.
    """


@evidence_kind("waiver")
class Waiver(Signed):
    """A finding is accepted for a while. Its subject is the model; it joins the next packet."""

    model: str
    finding: str
    """Its code."""
    about: str
    """The finding's subject, e.g. `model grpo`."""
    owner: str
    """Who answers for the risk meanwhile."""
    control: str
    """What is done instead."""
    expires: Instant


@evidence_kind("request", stays=True)
class PromotionRequest(Signed):
    """One person asks for one move of one alias, once."""

    action: Literal["promote", "rollback", "retire"]
    model: str
    version: str
    alias: str
    model_digest: Sha256
    packet: Sha256 | None
    from_version: str | None
    nonce: str
    expires: Instant
    break_glass: bool = False


@evidence_kind("authorization")
class Authorization(Signed):
    """A person lets services run in their name, until an instant. Its subject is the policies they
    know.
    """

    expires: Instant


@evidence_kind("revocation", stays=True)
class Revocation(Signed):
    """A key is good for nothing from here on. Its subject is the key's id, which is a sha256."""

    owner: str
    """The principal whose key it is."""


@evidence_kind("checkpoint_key", stays=True)
class CheckpointKey(Signed):
    """A successor of the key that signs checkpoints; its subject is the key's id. In force once
    owners approve it.
    """

    pem: str


@evidence_kind("incident")
class Incident(Signed):
    """Something is wrong with a model, or is no longer. While one is open, no alias is given to
    it.
    """

    model: str
    version: str
    state: Literal["open", "closed"]


@evidence_kind(
    "refusal",
    scope="refusal/{predicate.model}/{predicate.operation}/{predicate.caller}",
    stays=True,
)
class Refusal(Model):
    """A call on a governed model that was refused by rule, before any decision."""

    operation: str
    model: str
    caller: str
    reason: str
    run: Run


@evidence_kind("report", stays=True)
class SignedReport(Model):
    """A report of a version as it was computed, and who answers for it. Its subjects are page, JSON
    twin and model.
    """

    model: str
    version: str
    model_digest: Sha256
    page: Sha256
    """Of the HTML."""
    twin: Sha256
    """Of its JSON."""
    verdict: str
    as_of: Instant
    asked_at: Instant | None
    """The time it was asked for; None for one of now."""
    entries: int
    """Of the log: those it read, from the first."""
    root: Sha256
    """Of the tree over these."""
    generator: str
    reason: str
    role: str | None
    """In which a person signed it; None for a service."""
    run: Run


@evidence_kind("call", scope="call/{predicate.model}/{predicate.alias}", stays=True)
class Call(Model):
    """A call on a governed model that rules let through without a decision, and what it changed."""

    operation: str
    model: str
    version: str | None
    """The version that was made or that has the alias now; None where the alias was taken away."""
    alias: str | None
    caller: str
    from_version: str | None
    """Who held the alias before; None where nobody did, or where there is none."""
    run: Run
