"""What each kind of evidence says: the typed predicates of our in-toto statements, version 1.

A statement's `subject` are the stage's outputs by sha256; its predicate is one of the models below.
Numbers follow RFC 8785 (finite, integers within 2**53); a figure that does not exist is null, with
its reason beside it. Nothing here may hold record text, record ids, secrets or personal data: counts,
types, digests and Merkle roots only.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from governance.model import Json, Model, Sha256

TYPE_PREFIX = "https://countersign.dev/evidence/"

Instant = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$")]
"""An RFC 3339 instant in UTC."""


class Artifact(Model):
    """A file, or a folder by the digest of its manifest (`governance.digests.tree_digest`)."""

    role: str
    """What it is to the stage: source, records, held_out, parent, scorer, gate, model, scores, ..."""
    name: str
    """Where it stood, for people; it is identified by its digest."""
    sha256: Sha256


class Code(Model):
    """The code that ran. `commit` is null outside a git work tree."""

    commit: str | None
    dirty: bool
    """Whether code, parameters or policies differ from the commit (dvc.lock aside)."""


class Environment(Model):
    """Where it ran: what can change bits or behaviour."""

    python: str
    platform: str
    versions: dict[str, str]
    """Distribution to version, of the engines this stage's result depends on."""
    distributions: Sha256
    """sha256 over the sorted names and RECORD digests of everything installed (`pipelines.provenance`)."""


class Requester(Model):
    """Who asked for the run. An operating-system account is a claim, not an authentication."""

    name: str
    authenticated: bool


class Run(Model):
    """When and how it ran. Left out of what makes two statements the same entry of the log."""

    started: Instant
    finished: Instant
    seconds: float
    requested_by: Requester
    detail: dict[str, Json] = {}
    """Figures that differ between two runs of the same thing: device hours, peak memory, MLflow run id."""


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


class Origin(Model):
    """The log's first entry: whom and what to trust from here on."""

    project: str
    policy: Sha256
    checkpoint_key: str
    """Ed25519 public key (PEM) that signs checkpoints."""
    development_keys: list[str]
    """Public keys (PEM) made on this machine without ceremony: good for `candidate` only."""
    run: Run


class PolicyChange(Model):
    """The policies changed; what they say is the subject."""

    previous: Sha256
    run: Run


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


class Ingest(Predicate):
    """A source was read and normalised."""

    dataset: str
    kind: str
    record_key: str
    """Key id; `development` marks the fixed public key."""
    fields_unused: dict[str, int]
    counts: DataCounts


class Scan(Predicate):
    """Personal data was searched for and treated as policy says; what was written was scanned again."""

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


class Quality(Predicate):
    """A dataset was held against its suite."""

    dataset: str
    kind: str
    passed: bool
    suite: Sha256
    expectations: list[Expectation]
    counts: DataCounts


class Finding(Model):
    """One reason. Codes are listed in `governance.findings`."""

    code: str
    subject: str
    message: str
    expected: str = ""
    found: str = ""
    next: str = ""


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


class BaseImport(Predicate):
    """A model came from outside."""

    source: str
    files: int
    weights: bool
    """False for an architecture to be trained from scratch."""


class Evaluate(Predicate):
    """A model was scored. The scores stand here, so that every comparison can be done again from the log."""

    model: Sha256
    """Digest of the model folder that was scored."""
    suite: Sha256
    """Digest of dataset, split, metrics and generation settings."""
    suite_name: str
    not_run: str | None
    """Why there are no scores, where there are none."""
    scores: dict[str, list[float | None]]
    """Metric to one score per item, in the suite's order."""


class ModelFile(Model):
    """One file of a released model."""

    path: str
    size: int
    sha256: Sha256


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


class Promotion(Model):
    """An alias was given to a version, or refused."""

    model: str
    version: str
    alias: str
    model_digest: Sha256
    allowed: bool
    findings: list[Finding]
    policy: Sha256
    at: Instant
    run: Run


_MODELS: dict[str, type[Model]] = {
    "origin": Origin,
    "policy": PolicyChange,
    "ingest": Ingest,
    "scan": Scan,
    "quality": Quality,
    "gate": GateDecision,
    "base": BaseImport,
    "train": Train,
    "evaluate": Evaluate,
    "registration": Registration,
    "promotion": Promotion,
}
PREDICATES: dict[str, type[Model]] = {f"{TYPE_PREFIX}{name}/v1": model for name, model in _MODELS.items()}
"""Predicate type URI to model."""
