"""What several predicates share, and the table of the kinds of evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, StringConstraints, model_validator

from governance.base.model import Json, Model, Sha256, Slug, absent, empty
from governance.base.time import instant_of

CANDIDATE = "candidate"
"""The alias that a version has once it is registered. Other aliases need a promotion."""
TYPE_PREFIX = "https://countersign.dev/evidence/"
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Kind:
    """What the project knows of one kind of evidence beside its fields."""

    name: str
    model: type[Model]
    scope: str | None
    """Pattern over the `predicate`. Within this scope, an entry of the log can be the latest. None
    for evidence that is recorded once.
    """
    not_copied: bool
    """It means something in its own log only: `countersign evidence` copies it to no other."""
    granted: bool
    """Policy may let a principal sign it (`signs` in policies/policy.yaml)."""
    optional_for_release: bool
    """No release depends on it: `countersign init` demands no service that signs it."""

    @property
    def uri(self) -> str:
        """The predicate type."""
        return f"{TYPE_PREFIX}{self.name}/v1"


KINDS: dict[str, Kind] = {}
"""Every kind of evidence by its short name."""
PREDICATES: dict[str, type[Model]] = {}
"""Predicate type URI to model."""


def evidence_kind(
    name: str,
    *,
    scope: str | None = None,
    not_copied: bool = False,
    granted: bool = False,
    optional_for_release: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Registers a predicate as a kind of evidence. Log, copying, schemas and policy read the table
    of kinds.
    """

    def register(model: type[M]) -> type[M]:
        if name in KINDS:
            raise ValueError(f"two kinds of evidence are called {name!r}")
        KINDS[name] = kind = Kind(name, model, scope, not_copied, granted, optional_for_release)
        PREDICATES[kind.uri] = model
        return model

    return register


def _on_the_calendar(text: str) -> str:
    """A signed date that does not exist would stop everybody who has to compare it."""
    if not text.isascii() or not MINYEAR < instant_of(text).year < MAXYEAR:
        raise ValueError("no date of the calendar, with room before and after it")
    return text


Instant = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$"),
    AfterValidator(_on_the_calendar),
]
"""An RFC 3339 instant in UTC."""


Day = Annotated[date, PlainSerializer(date.isoformat)]
"""A day in UTC. A statement has it as text."""

TEXTS = "texts"
"""In the detail of a gate's run: sha256 to the text with this digest, for the objective and its
reward functions.
"""


class Logged(Model):
    """What every statement but the origin says of the log that it is made for."""

    log: Sha256 | None = Field(None, exclude_if=empty)
    """Hash of entry 0 of the only log in which it counts. Absent from older statements."""


class Artifact(Model):
    """A file, or a folder by the digest of its manifest
    (`governance.attest.digests.tree_digest`).
    """

    role: str
    """What it is to the stage: source, records, held_out, parent, scorer, gate, model, scores, ...
    """
    name: str
    """Where it stood, for people. Its digest identifies it."""
    sha256: Sha256


class ModelFile(Model):
    """One file of a released model."""

    path: str
    size: int
    sha256: Sha256


class Finding(Model):
    """One reason. Codes are listed in `governance.attest.codes`."""

    code: str
    subject: str
    message: str
    expected: str = ""
    found: str = ""
    next: str = ""
    figures: list[str] = Field([], exclude_if=empty)
    """What was found, as data: figures, names, digests, or the entry of an incident. A waiver
    accepts exactly these. Comparisons use them, never the sentences above.
    """
    measure: str = Field("", exclude_if=empty)
    """Which measurement the figures are of, e.g. a metric; empty where there is only one."""


class Code(Model):
    """The code that ran. `commit` is null outside a git work tree."""

    commit: str | None
    dirty: bool
    """Whether code, parameters or policies differ from the commit (dvc.lock aside)."""
    sources: Sha256 | None = Field(None, exclude_if=empty)
    """sha256 over the files of the packages `governance` and `pipelines` that ran
    (`pipelines.codefiles`).
    """


class Library(Model):
    """An installed distribution, as its own metadata describes it."""

    licence: str
    """An SPDX expression where the distribution gives one; empty where it gives none."""
    record: Sha256
    """sha256 of its RECORD, which lists the digest of each file."""


class Environment(Model):
    """The environment of a run: what can change bits or behaviour."""

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
    files: Sha256 | None = Field(None, exclude_if=empty)
    """sha256 over every installed file, whether a RECORD lists it or not
    (`pipelines.installed`).
    """
    altered: list[str] = Field([], exclude_if=empty)
    """Installed files that differ from their RECORD or changed during the run."""
    variables: list[str] = Field([], exclude_if=empty)
    """Names of environment variables that the machine passes on beside the usual ones
    (`pipelines.isolation`).
    """


class Requester(Model):
    """Who asked for the run. An operating-system account is a claim, not an authentication."""

    name: str
    authenticated: bool
    authorization: Sha256 | None = None
    """The statement in which this person lets services run in their name. Without it, the name is
    a claim.
    """


class Run(Model):
    """When and how it ran. Two statements that differ only in this are one entry of the log."""

    started: Instant
    finished: Instant
    seconds: float
    requested_by: Requester
    detail: dict[str, Json] = {}
    """Figures that differ between two runs of the same thing: device hours, energy, cost, peak
    memory, MLflow run id.
    """


class Predicate(Logged):
    """What the evidence of every stage says."""

    stage: str
    """The DVC stage, e.g. `train@sft`."""
    inputs: list[Artifact]
    parameters: dict[str, Json]
    """The parameters of the run, with every default filled in."""
    policy: Sha256
    """Digest of `policies/` at the time."""
    code: Code
    environment: Environment
    run: Run


class JudgeRef(Model):
    """A judge: who compares, by which rubric, asked in which words."""

    kind: Literal["model", "endpoint", "replies"]
    speaker: Sha256
    """The digest of a model's folder, of an endpoint's address and model name, or of a file of
    recorded replies.
    """
    rubric: Sha256
    """The digest of the constitution, or of another rubric."""
    templates: Sha256
    """The digest of the words in which the judge is asked."""


Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""


class JudgingCost(Model):
    """What the replies of an endpoint took on which a result rests, kept replies included."""

    requests: int = Field(ge=1)
    tokens: int | None = Field(ge=0)
    """Read and written, as the endpoint counts them; None where it does not for every reply."""
    written: int | None = Field(ge=0)
    """How many of them it wrote; None where that is not known."""
    currency: Currency | None = None
    """None where policy has no price for the endpoint, or these tokens are not known."""
    millionths: int | None = Field(None, ge=0)
    """Of one unit of the currency, by the price of policy at the time."""

    @model_validator(mode="after")
    def _priced_by_tokens(self) -> Self:
        if self.written is not None and (self.tokens is None or self.written > self.tokens):
            raise ValueError("more tokens were written than there are")
        if (self.currency is None) != (self.millionths is None):
            raise ValueError("an amount has a currency")
        if self.currency is not None and self.written is None:
            raise ValueError("an amount follows from tokens")
        return self


class JudgedBy(Model):
    """Who compared the answers of an evaluated model with those of an opponent."""

    judge: JudgeRef
    """Its card is the one of `governance.attest.requests.judge_digest`."""
    name: str = Field(max_length=200)
    """What people call the judge."""
    row: Slug
    """The row of `judges` in params.yaml that checks it."""
    prompts: Slug
    """The dataset whose prompts both models answered. Its digest is the input `records`."""
    opponent: Sha256
    """Digest of the folder of the model whose answers were compared with those of this one."""
    opponent_name: Slug
    consistent: int = Field(ge=0)
    """Pairs that the judge decided alike in both orders."""
    inconsistent: int = Field(ge=0)
    """Pairs whose decision changed with the order: they count as ties."""
    equal: int = Field(0, ge=0)
    """Pairs of one and the same text: ties, of which nobody was asked."""
    no_verdict: int = Field(0, ge=0)
    """Pairs of which the judge named no answer in some order. They have no score."""
    left_out: int = Field(0, ge=0)
    """Prompts with tools, calls or further turns."""
    lengths: list[int]
    """Characters of the model's answers, in the suite's order."""
    opponent_lengths: list[int]
    cost: JudgingCost | None = Field(None, exclude_if=absent)
    """None where no endpoint was asked, and in older evidence."""
    tokens: int | None = Field(None, ge=0, exclude_if=absent)
    """Tokens that an endpoint counted for its replies and what it read; None where not known."""
    replies: Sha256 | None = Field(None, exclude_if=absent)
    """sha256 over the requests to an endpoint and its replies; None where none was asked."""

    @model_validator(mode="after")
    def _of_the_same_pairs(self) -> Self:
        pairs = self.consistent + self.inconsistent + self.equal + self.no_verdict
        if not len(self.lengths) == len(self.opponent_lengths) == pairs:
            raise ValueError("the numbers of pairs differ")
        return self
