"""What the data stages state: ingest, scan, quality, generation."""

from typing import Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import (
    Day,
    Finding,
    Instant,
    Logged,
    Predicate,
    Run,
    evidence_kind,
)
from governance.base.model import Model, Sha256, absent, empty


class Shard(Model):
    """One file of a dataset."""

    file: str = Field(pattern=r"^[0-9]{5,9}\.parquet$")
    """Its name in the dataset's folder."""
    sha256: Sha256
    records: int = Field(gt=0)
    records_root: Sha256
    """RFC 6962 root over the sorted ids of its records."""


class DataCounts(Model):
    """Records in and out of a data stage. in = out + sum(excluded)."""

    records_in: int
    records_out: int
    excluded: dict[str, int]
    """Reason (a finding code) to the number of records left out for it."""
    splits: dict[str, int]
    records_root: Sha256
    """RFC 6962 root over the sorted ids of the records that were kept."""
    excluded_root: Sha256
    shards: list[Shard] = Field([], exclude_if=empty)
    """The files of the records that were kept. Absent where the dataset was one file."""

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.shards and sum(shard.records for shard in self.shards) != self.records_out:
            raise ValueError("the shards together do not have the records that were kept")
        return self


class Exclusions(Model):
    """The exclusion lists that an ingest applied (`policies/exclusions.jsonl`)."""

    digest: Sha256
    """sha256 of the file."""
    count: int = Field(ge=1)
    """Its entries: records, texts and values that no record may have."""
    roots: list[Sha256] = Field(min_length=1)
    """The root of each list, as the erasure that demands it names it."""


class Agreement(Model):
    """How far raters agree: Krippendorff's alpha with its 95% interval; None where it has none."""

    raters: int = Field(ge=0)
    ratings: int = Field(ge=0)
    items: int = Field(ge=0)
    """With a rating."""
    alpha: float | None
    low: float | None
    high: float | None


class Overruled(Model):
    """A group's ratings of items that have a majority of three raters or more."""

    raters: int = Field(ge=0)
    ratings: int = Field(ge=0)
    overruled: int = Field(ge=0)


class Suspicion(Model):
    """A finding about raters, by their names in records, or about a batch."""

    code: str
    raters: list[str]
    batch: int = Field(0, exclude_if=empty)
    """Place of the batch in the order of their names, from 1; 0 where the finding is of raters."""


class Labels(Model):
    """What ingest found of the raters of a dataset, by their names in records."""

    level: Literal["nominal", "interval"]
    """Nominal where answers were compared, interval for scores."""
    agreement: Agreement
    """Of all ratings in the source."""
    excluded: dict[str, int] = Field({}, exclude_if=empty)
    """Rater whom policy excludes, to the number of ratings left out."""
    without: Agreement | None = Field(None, exclude_if=empty)
    """Of the ratings that count, where some do not."""
    unanimous: int = Field(ge=0)
    majority: int = Field(ge=0)
    split: int = Field(ge=0)
    """Items with two ratings or more that count: all raters agree, more than half, or neither."""
    overruled: dict[str, dict[str, Overruled]] = Field({}, exclude_if=empty)
    """Attribute of the raters file to group to counts. Small groups are shown together."""
    suspicions: list[Suspicion] = Field([], exclude_if=empty)
    """Of all ratings; nobody is excluded because of them."""
    not_searched: list[str] | None = Field(None, exclude_if=absent)
    """Codes of suspicions that the source does not allow to look for; None in older evidence."""


class JudgedPairs(Model):
    """How many pairs of a dataset one model judged."""

    name: str = Field(max_length=100)
    """As the source has it."""
    rubric: Sha256 | None
    """Of the words it was told to judge by; None where the source does not give them."""
    pairs: int = Field(ge=1)


@evidence_kind("ingest", granted=True)
class Ingest(Predicate):
    """A source was read and normalised."""

    dataset: str
    kind: str
    record_key: str
    """Key id; `development` marks the fixed public key."""
    fields_unused: dict[str, int]
    counts: DataCounts
    exclusions: Exclusions | None = Field(None, exclude_if=empty)
    """Absent where nothing is excluded."""
    labels: Labels | None = Field(None, exclude_if=empty)
    """Absent where nothing was rated, and from older statements."""
    judges: list[JudgedPairs] = Field([], exclude_if=empty)
    """Models that judged the pairs of the dataset, where the source names one for each pair."""


class Planted(Model):
    """Made-up values of one kind of personal data: how many were planted, and how many of them the
    scan found.
    """

    planted: int = Field(gt=0)
    found: int = Field(ge=0)

    @model_validator(mode="after")
    def _no_more(self) -> Self:
        if self.found > self.planted:
            raise ValueError("more were found than planted")
        return self


class Recall(Model):
    """How many made-up values a scan's engine finds, planted in the dataset's own texts."""

    seeds: Sha256
    """Digest of the values and the sentences they stand in (`pipelines.pii.seeds`)."""
    texts: int
    """How many texts of the dataset they were planted in. 0 where the dataset had none, and the
    sentences stood alone.
    """
    entities: dict[str, Planted]
    """Kind of personal data to its made-up values. A kind that was searched for and is not here has
    no made-up values, so its recall is not measured.
    """


class AllowedFindings(Model):
    """Findings that an entry of the allow-list let stay."""

    entry: int = Field(ge=1)
    """Its number in `allowances` of the policy with the digest `config`."""
    entity: str
    until: Day
    """The last day on which it allows them."""
    findings: int = Field(ge=1)


@evidence_kind("scan", granted=True)
class Scan(Predicate):
    """A scan searched for personal data and treated it as policy says. Then it searched the result
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
    """Entity to occurrences before treatment, without those in `allowances`."""
    remaining: dict[str, int]
    """Entity to occurrences in the result, without those in `allowances`. What the action `allow`
    keeps is included.
    """
    actions: dict[str, str]
    """Entity to what policy did about it: block, drop, redact, allow."""
    counts: DataCounts
    recall: Recall | None = Field(None, exclude_if=empty)
    """Absent from scans that are older than this measurement."""
    allowances: list[AllowedFindings] = Field([], exclude_if=empty)
    """What remains in the result because the allow-list names it."""
    merged: int = Field(0, ge=0, exclude_if=empty)
    """By how many records the number of different ones fell, because redaction made them equal."""


class JudgedFindings(Model):
    """Findings of one type that a person looked at."""

    findings: int = Field(ge=0)
    """How many the search found in the whole dataset."""
    correct: int = Field(ge=0)
    false_alarm: int = Field(ge=0)


@evidence_kind("judgement", not_copied=True)
class Judgement(Logged):
    """Somebody looked at a random sample of what a scan found, and said of each finding whether it
    is personal data or a false alarm. It holds counts only. No decision reads it.

    Its subject is the scan's result. The sample is drawn by Python's `random.Random(seed).sample`
    from the findings in the order of the records.
    """

    dataset: str
    config: Sha256
    """Digest of the scan's part of the policy."""
    seed: int = Field(ge=0, le=2**53 - 1)
    findings: int = Field(ge=1)
    """Findings that the sample was drawn from."""
    sample: int = Field(ge=1)
    """Findings that were drawn; those that nobody answered are in no count."""
    entities: dict[str, JudgedFindings] = Field(min_length=1)
    """Type of personal data to what was judged of it."""
    run: Run

    @model_validator(mode="after")
    def _possible(self) -> Self:
        counts = self.entities.values()
        judged = [one.correct + one.false_alarm for one in counts]
        if any(part > one.findings for part, one in zip(judged, counts, strict=True)):
            raise ValueError("more findings of a type are judged than there are")
        if sum(one.findings for one in counts) != self.findings:
            raise ValueError("the types together do not have as many findings as there are")
        if not sum(judged) <= self.sample <= self.findings:
            raise ValueError("more is judged than drawn, or more drawn than there is")
        return self


class Expectation(Model):
    """One expectation of a quality suite and its result."""

    name: str
    column: str
    severity: Literal["critical", "warning"]
    success: bool
    unexpected: int
    expected: str
    action: Literal["block", "drop", "report"]


class ComparedSuite(Model):
    """A suite or task of the project with which the records of a dataset were compared."""

    name: str
    records: Sha256
    """Of the suite's dataset, as the scan left it; of a task, of its folder."""
    split: str
    """The split whose records are held out."""
    harness: Literal["lm-eval"] | None = Field(None, exclude_if=absent)
    """The tool that runs it, where it is a task of that tool."""


@evidence_kind("quality", granted=True)
class Quality(Predicate):
    """A dataset was tested with a quality suite."""

    dataset: str
    kind: str
    passed: bool
    suite: Sha256
    expectations: list[Expectation]
    counts: DataCounts
    compared: list[ComparedSuite] = Field([], exclude_if=empty)
    """The suites and tasks whose records were searched for, by name. Absent from checks that are
    older than this comparison, and of datasets that are held out as a whole.
    """


class GenerationCounts(Model):
    """What became of the answers that were asked for. asked = kept + sum(dropped)."""

    asked: int = Field(ge=0)
    """Prompts times principles."""
    kept: int = Field(ge=0)
    dropped: dict[str, int]
    """Reason to records that were left out: see `pipelines.generation.work`. INCONSISTENT: the
    judge's verdict changed with the order of the answers. REFUSED: an endpoint does not take what
    it is asked.
    """
    redacted: dict[str, int] = Field({}, exclude_if=empty)
    """Type of personal data to how often it was replaced in what was sent to an endpoint."""

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.kept + sum(self.dropped.values()) != self.asked:
            raise ValueError("kept and dropped together are not what was asked for")
        return self


@evidence_kind(
    "generation", scope="generation/{predicate.stage}", granted=True, optional_for_release=True
)
class Generation(Predicate):
    """Whether a dataset may be generated from prompts, and if so, what was generated. The subject
    `source` is the file that ingest reads. Its request stands in `parameters`.
    """

    allowed: bool
    tier: str
    decided_on: dict[str, Sha256]
    """role (prompts, constitution, templates, generator, judge) to digest. A model of the project
    has that of its folder, an endpoint that of its address and model name.
    """
    findings: list[Finding]
    at: Instant
    """The reference time of the decision."""
    waived: list[Finding] = []
    """Findings that a waiver in force excuses."""
    counts: GenerationCounts | None = None
    """None where nothing was allowed."""
    replies: Sha256 | None = None
    """sha256 over the digests of all requests to endpoints and of their replies; None where no
    endpoint was asked.
    """
    judge_gate: Sha256 | None = None
    """The statement that is the judge's card. None: the judge was not checked."""

    @model_validator(mode="after")
    def _counted_if_allowed(self) -> Self:
        if self.allowed != (self.counts is not None) or self.allowed == bool(self.findings):
            raise ValueError("allowed means no finding, and counts of what was generated")
        return self
