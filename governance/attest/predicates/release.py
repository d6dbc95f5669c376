"""What the registry and the release commands state: registrations, packets, promotions, reports."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import (
    CANDIDATE,
    Artifact,
    Finding,
    Instant,
    Logged,
    ModelFile,
    Run,
    evidence_kind,
)
from governance.base.model import Json, Model, Sha256, Slug, absent, empty


class SuiteRef(Model):
    """An evaluation suite as it was defined at that time."""

    name: Slug
    """The dataset it is made of."""
    digest: Sha256
    """Of dataset, split, metrics and generation settings."""
    records: Sha256
    """Of the dataset's ready records."""
    split: str


class FurtherSuite(SuiteRef):
    """A suite on which a model is evaluated beside its own."""

    row: Slug
    """The row of `evaluations` in params.yaml, of `tasks` or of `judged`."""
    harness: Literal["lm-eval"] | None = Field(None, exclude_if=absent)
    """The tool that runs it, where it is a task of that tool. `records` is then the digest of the
    task's folder, which is no dataset of the log.
    """
    judge: Sha256 | None = Field(None, exclude_if=absent)
    """Where a judge compares answers: its digest (`governance.attest.requests.judge_digest`)."""
    prompts: Slug | None = Field(None, exclude_if=absent)
    """The dataset of `records`, where the suite has a name of its own."""

    @property
    def stage(self) -> str:
        """The stage that evaluates it."""
        family = "evaluate_judged" if self.judge else "evaluate_further"
        return f"{'evaluate_task' if self.harness else family}@{self.row}"

    @property
    def dataset(self) -> str | None:
        """The dataset of its items; None where they are a task's own."""
        return None if self.harness else self.prompts or self.name


class DvcObject(Model):
    """A file or folder as DVC keeps it, in a cache or remote."""

    path: str
    """Where it stood in the project."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
    """DVC's id: an address, no proof."""
    size: int
    """In bytes."""
    stage: str = Field("", exclude_if=empty)
    """The DVC stage that wrote it; empty for what no stage wrote: sources, policies."""


class DvcState(Model):
    """What DVC knew of everything that a model depends on."""

    lock: Sha256
    """Over the RFC 8785 form of the entries in dvc.lock of the stages that it depends on."""
    objects: list[DvcObject]
    """Everything that these stages read and wrote, by path."""


@evidence_kind(
    "registration",
    scope="registration/{predicate.model}/{predicate.stage}",
    not_copied=True,
    granted=True,
)
class Registration(Logged):
    """A model version was registered."""

    model: Slug
    version: str
    stage: Slug
    tier: str
    model_digest: Sha256
    files: list[ModelFile]
    chain: list[Artifact]
    """Evidence it rests on: role is the kind of evidence, sha256 the digest of the statement."""
    policy: Sha256
    run: Run
    dvc: DvcState | None = Field(None, exclude_if=empty)
    """Absent from older statements, and where the model was made without DVC."""
    suite: SuiteRef | None = Field(None, exclude_if=empty)
    """The suite that decides on a model which was trained elsewhere. Absent for a model that was
    trained here: the gate of its training names the suite.
    """
    further: list[FurtherSuite] = Field([], exclude_if=empty)
    """The suites on which the model is evaluated beside its own."""

    @property
    def trained_elsewhere(self) -> bool:
        """Whether the model was imported as it is."""
        return self.suite is not None


@evidence_kind(
    "promotion",
    scope="promotion/{predicate.model}/{predicate.alias}",
    not_copied=True,
    granted=True,
)
class Promotion(Logged):
    """A decision on an alias: it was given to a version, moved or taken away, or this was refused.

    The decision can be repeated from `asked`, the policies in force at this entry, and `at`.
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
    """The signed request that this consumes. A governed alias never moves without one."""
    packet: Sha256 | None = None
    from_version: str | None = None
    """The version that held the alias before; None where no version did."""
    caller: str = ""
    """The account that made the call, as the server authenticated it."""
    asked: dict[str, Json] | None = None
    """The `governance.attest.requests.ReleaseRequest` that was decided."""
    waived: list[Finding] = []
    """Findings that a waiver in force excuses."""
    second_signature_by: Instant | None = None
    """The time until which a second person must sign a rollback that one person made alone."""

    @model_validator(mode="after")
    def _retired_from_governed(self) -> Self:
        if self.action == "retire" and self.alias == CANDIDATE:
            raise ValueError("a version is retired from governed aliases, not from `candidate`")
        return self


class DrillStep(Model):
    """One step of a rehearsal."""

    name: str
    passed: bool
    seconds: float
    found: str


@evidence_kind("drill", granted=True, optional_for_release=True)
class Drill(Logged):
    """A rollback was rehearsed: its target was found, verified, loaded and tested. The subject is
    the target's model.
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
    """How many items of the evaluation suite it was tested with."""
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


@evidence_kind("packet", scope="packet/{predicate.model}/{predicate.version}", not_copied=True)
class Packet(Logged):
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
    """The policies under which it was made. Approvals of it hold under no others."""
    stages: list[PacketStage]
    waivers: list[Sha256]
    """Statements of the waivers that were in the log, without expired ones, sorted."""
    findings: list[Finding]
    """The findings against the release at that time, waived ones included. Findings about approvals
    are left out, because approvals come later.
    """
    waived: list[Finding]
    champion: Sha256 | None
    """Digest of the model that served at that time."""
    commits: list[str]
    """Commits of the code that trained and evaluated; `none` where there was no work tree."""
    environments: list[Sha256]
    """Digests of what was installed, sorted."""
    run: Run
    declaration: Sha256 | None = Field(None, exclude_if=empty)
    """sha256 of the file by which a model that was trained elsewhere is declared: how it was made
    is self-attested. Absent for a model that was trained here.
    """
    canary: Sha256 | None = Field(None, exclude_if=empty)
    """The statement that a canary rollout to these bytes passed, where the tier demands one."""


REFUSED_READ = "read artifact"
"""The operation of a refused read of a model's files."""


@evidence_kind(
    "refusal",
    scope="refusal/{predicate.model}/{predicate.operation}/{predicate.caller}",
    not_copied=True,
)
class Refusal(Logged):
    """A call on a governed model that a rule refused, before any decision."""

    operation: str
    model: str
    caller: str
    reason: str
    run: Run


@evidence_kind("report", not_copied=True)
class SignedReport(Logged):
    """A version's report as it was computed, and who answers for it. Its subjects are the page, the
    JSON form and the model.
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
    """The time that the report was asked for (`--at`); None for the present."""
    entries: int
    """How many entries of the log it read, from the first."""
    root: Sha256
    """Of the tree over these."""
    generator: str
    reason: str
    role: str | None
    """The role in which a person signed it; None for a service."""
    run: Run


@evidence_kind("cosigned", scope="cosigned", not_copied=True)
class Cosigned(Logged):
    """Witnesses cosigned checkpoints of this log. The notes show it by themselves; the server
    records them when a decision rests on them. The subjects are the roots.
    """

    notes: list[Annotated[str, Field(max_length=1 << 16)]] = Field(min_length=1, max_length=32)
    """C2SP signed notes, each with the line of a witness (https://c2sp.org/tlog-cosignature)."""
    run: Run


@evidence_kind("call", scope="call/{predicate.model}/{predicate.alias}", not_copied=True)
class Call(Logged):
    """A call on a governed model that needs no decision, and what it changed."""

    operation: str
    model: str
    version: str | None
    """The version that was made or that has the alias now; None where the alias was taken away."""
    alias: str | None
    caller: str
    from_version: str | None
    """The version that held the alias before; None where no version did, or without an alias."""
    run: Run
