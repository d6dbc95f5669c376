"""The typed audit report. The JSON twin, the page and the terminal text are made from it.

1. Every figure comes from verified records; nobody types any of it.
2. What does not exist is `null` or an empty list, never a word: a person may be called `none`.
3. A reason has a code and fields; `text` is the sentence made from them (`report.reasons`).
4. An evidence reference `12` is entry 12 of the log; `evidence` lists each entry with digest and
   key.
5. The same log and files give the same bytes, because every time in it comes from the log.

Format v1 had words such as `none` in place of null, and no codes. Reports that were signed in that
format are returned unchanged, by their digest.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from governance.attest.predicates import (
    BaseImport,
    ModelFile,
    Quality,
    Results,
    Scan,
    SignedReport,
    Train,
    Waiver,
)
from governance.attest.predicates.training import ToolUse
from governance.base.model import Json, Model, Sha256, empty
from governance.policy.declarations import Declaration
from governance.policy.readers import ContentKind
from governance.report.frameworks import Control

FORMAT = "https://countersign.dev/report/v2"
NOT_USED = "not established: the log does not verify"
"""The value of a text that the report of such a log does not have."""

Result = Literal["pass", "fail", "waived", "not run", "no threshold"]
VerdictWord = Literal[
    "APPROVED",
    "APPROVED WITH CONDITIONS",
    "NOT APPROVED",
    "PENDING",
    "WITHDRAWN",
    "COMPLETENESS NOT SHOWN",
    "EVIDENCE DOES NOT VERIFY",
]
GateName = Literal[
    "Data quality",
    "Personal data",
    "Lineage",
    "Labelling",
    "Evaluation",
    "Safety",
    "Privacy leakage",
    "Signatures and files",
]
Outcome = Literal[
    "evidence present and verified", "partial", "missing", "not applicable", "not assessed"
]
Presence = Literal["present", "partial", "missing", "not recorded"]
"""Of a kind of evidence: complete; partly there; missing; or Countersign keeps no record of it."""
GapResult = Literal["fail", "not run", "no threshold", "not recorded"]
GapCode = Literal[
    "GATE", "QUALITY_CHECK", "EARLIER_RUN", "REFUSED", "EVALUATION", "NO_TEST", "SLICES",
    "REPRODUCTION", "DRILL", "COUNTER_METRIC",
]  # fmt: skip
ScoreRole = Literal["this version", "champion", "parent", "scorer", "base", "earlier stage"]
Refs = list[int]
"""Indexes of log entries."""


class Reason(Model):
    """A reason with a code."""

    code: str
    """A name of `report.reasons.Say`."""
    fields: dict[str, Json]
    text: str


class Verdict(Model):
    """The verdict of the version."""

    word: VerdictWord
    reasons: list[Reason] = []
    reason: str
    """The sentences of `reasons`."""
    alias: str | None = None
    """The alias that was decided on last."""
    decided: str
    """When and by whom that was decided."""
    conditions: list[str] = []
    """Each waived finding with the end of its waiver."""
    evidence: Refs = []


class Separation(Model):
    """Whether different people trained, evaluated and approved."""

    state: Literal["holds", "broken", "not shown"] = "not shown"
    own: list[str] = []
    """Who approved their own work."""
    reasons: list[Reason] = []
    text: str = NOT_USED


class Use(Model):
    """What the model is for."""

    approved_for: list[str] = ["nothing: evidence that does not verify permits nothing"]
    not_approved_for: list[str] = ["any use"]
    tier: str = NOT_USED
    tier_demands: list[str] = []
    review_by: str = "now"


class Notice(Model):
    """An exception: something a reader has to know before any good news."""

    kind: Literal["fault", "waiver", "note"]
    """It contradicts the verdict or the records; a person accepted it for a while; neither."""
    code: str
    """A name of `report.reasons.About`."""
    fields: dict[str, Json]
    title: str
    detail: str
    evidence: Refs = []


class WaiverRow(Model):
    """A finding that somebody accepted for a while."""

    waiver: Waiver
    """The signed waiver."""
    why_ended: str | None
    """Why it is not in force; None while it is."""
    renewals: int
    """Waivers of the same before this one."""
    used: bool
    """Whether a decision allowed the version because of it."""
    evidence: Refs


class Gate(Model):
    """One row of page one's table."""

    name: GateName
    result: Result
    codes: list[str] = []
    """Finding codes that decide the result: those that stand, or those that are waived."""
    reasons: list[Reason]
    value: str
    """The sentences of `reasons`."""
    threshold: str | None = None
    evidence: Refs = []


class Person(Model):
    """Who did something, as far as that is shown."""

    did: Literal["trained", "evaluated", "validated", "approved", "rejected", "deployed"]
    state: Literal["done", "ended", "not counted", "superseded", "not done"]
    """`ended`: it was deployed and is not any more."""
    who: str
    role: str | None = None
    at: str | None = None
    key: str | None = None
    assurance: str = "none"
    opened_at: str | None = None
    """When an approver opened the page; None where that is not recorded."""
    seconds: float | None = None
    """Between opening the page and signing."""
    evidence: Refs = []


NO_ANCHOR = "none: no checkpoint outside this machine is recorded"


class Integrity(Model):
    """Whether the records can be believed, and how far."""

    verified: bool
    complete: bool = True
    """Whether no entry about the model can be missing. False for a bundle that does not show it."""
    first_broken: str | None = None
    entries: int
    root: str = NOT_USED
    origin: str = NOT_USED
    tree_head: str = NOT_USED
    """What a checkpoint of the log at this size says, but for its signature: log, entries, root."""
    anchor: str = NO_ANCHOR
    """Which witness cosigned how many entries, and when."""
    signatures: str = NOT_USED
    evidence_present: str = NOT_USED
    registry: str = NOT_USED
    shows: list[str]
    does_not_show: list[str]


class Change(Model):
    """One thing that two versions are compared by, and differ in."""

    group: str
    """Data, recipe, code, base model, rules, or results."""
    what: str
    before: str
    now: str


class Item(Model):
    """Something open."""

    code: str
    """A finding's code, or `INCIDENT`, `SECOND_SIGNATURE`, `WAIVER_ENDS`, `REQUEST`,
    `APPROVALS`, `CANDIDATE_ONLY`, `NOT_SET`, `REVIEW`.
    """
    about: str | None = None
    """The version or model, e.g. `desk/2`."""
    what: str
    next: str | None = None
    owner: str | None = None
    due: str | None = None
    overdue: bool = False
    evidence: Refs = []


Answer = Literal[
    "allowed",
    "refused",
    "approved",
    "rejected",
    "asked",
    "waived",
    "frozen",
    "opened",
    "closed",
    "does not count",
    "registered",
    "stopped",
]


class Decision(Model):
    """What was decided, or said by a person, about this version or a stage it rests on; in the
    order of the log.
    """

    about: str
    what: str
    answer: Answer
    by: str = "the automatic checks"
    """Who said it, and in which role."""
    words: str | None = None
    """A person's own reason."""
    shown: str | None = None
    """Digest of the page that an approver was shown."""
    at: str
    tier: str | None = None
    findings: list[str] = []
    evidence: Refs


class SignedRow(Model):
    """A report of this version that somebody signed before."""

    report: SignedReport
    by: str
    evidence: Refs


class Hold(Model):
    """An alias that the version held."""

    alias: str
    since: str
    until: str | None
    """When it was taken away; None while it holds the alias."""
    ended: str | None
    """How it ended."""
    asked_by: str
    evidence: Refs


class Back(Model):
    """How to go back."""

    target: str = NOT_USED
    steps: str = NOT_USED
    people: str = NOT_USED
    drill: str = NOT_USED
    evidence: Refs = []


class PolicyUsed(Model):
    """Under which policies the version is judged, and since when they are fixed."""

    which: str = NOT_USED
    digest: str = NOT_USED
    since: str = NOT_USED
    signed_by: list[str] = []
    proposals: list[str] = []
    """Policies that were recorded and are not in force."""
    demands: list[str] = [NOT_USED]
    evidence: Refs = []


class Link(Model):
    """One kind of evidence, and what this version has of it."""

    key: str
    asks: str
    """What complete evidence contains."""
    state: Presence
    says: str
    lacks: list[str]
    evidence: Refs


class ControlRow(Model):
    """What an outside framework asks, and the evidence for it of this version."""

    framework: str
    control: Control
    """The entry of the catalogue."""
    asked_by: str | None
    """The older id that the caller gave, and what replaced it; None for a current id."""
    result: Outcome
    why: str | None
    """Why the control is not applicable or not assessed; None otherwise."""
    kinds: dict[str, str]
    """The kinds of evidence that could show it, and what this version has of each."""
    in_force: str
    """On the day of the report, in words."""
    in_force_later: bool
    """Whether it is not in force for anybody on that day."""
    evidence: Refs
    """At most `controls.EVIDENCE_SHOWN`."""


class Gap(Model):
    """A test that failed, was not run, or says nothing."""

    code: GapCode
    what: str
    result: GapResult
    why: str
    evidence: Refs = []


class Excluded(Model):
    """Records left out for one reason."""

    reason: str
    title: str
    records: int
    ids: list[str]
    """Beginnings of the record ids (HMACs under the project's key), at most `build.IDS_SHOWN`."""
    ids_note: str


class DataStep(Model):
    """One stage of a dataset's way."""

    stage: str
    result: Literal["passed", "refused"]
    records_in: int
    records_out: int
    excluded: list[Excluded]
    evidence: Refs


class Recalled(Model):
    """Made-up values of one type, planted in the dataset's own texts: how many the search found."""

    name: str
    planted: int
    found: int
    low: float
    high: float
    """The 95% interval of the share."""
    demanded: float | None
    """What policy wants the lower end to reach; None where it demands nothing."""


class Precision(Model):
    """Findings of one type in a person's random sample: how many of them are personal data."""

    name: str
    findings: int
    correct: int
    judged: int
    low: float
    high: float
    """The 95% interval of the share."""


class JudgedSample(Model):
    """A person's judgement of a random sample of a scan's findings."""

    by: str
    at: str
    seed: int
    sample: int
    findings: int
    """How many the sample was drawn from."""
    rows: list[Precision]
    evidence: Refs


class GeneratedBy(Model):
    """How a dataset was generated: by a model, from prompts, by the principles of a
    constitution.
    """

    kind: str
    """pairs or revisions."""
    prompts: str
    """The dataset of the prompts."""
    constitution: str
    generator: str
    judge: str
    judge_checked: bool
    """Whether the judge passed a gate of its own."""
    asked: int
    kept: int
    dropped: dict[str, int]
    evidence: Refs


class Dataset(Model):
    """One dataset this version rests on."""

    name: str
    kind: str
    used_by: list[str]
    digest: Sha256
    source: str
    card: dict[str, str]
    card_note: str
    steps: list[DataStep]
    scan: Scan | None
    """The signed result of the search for personal data."""
    recall: list[Recalled]
    """Of that search, the least first; empty where it was not measured."""
    judged: list[JudgedSample]
    """What people said of samples of its findings, in the order of the log."""
    quality: Quality | None
    """The signed results of the quality checks."""
    generated: GeneratedBy | None = None
    """Absent where people or other systems made it."""
    gap: str | None
    """Where the chain of evidence breaks."""


class ReadCount(Model):
    """How often somebody read, or was refused."""

    who: str | None
    """The principal; None for all accounts and keys that policy does not name."""
    count: int
    """Entries of the log: the same read is recorded once a day, equal refusals once."""
    last: str
    evidence: Refs
    """The last of them."""


class ContentReaders(Model):
    """Who may read a dataset or model, and who did."""

    kind: ContentKind
    name: str
    listed: list[str]
    """The row of policy: principals, roles, or `everybody`. Empty: nobody."""
    people: list[str]
    """Whom the row permits at the report's time: principals, or `everybody`."""
    reads: list[ReadCount]
    refused: list[ReadCount]
    """Refused reads that the log holds: those of models on a server."""


class ReadersPart(Model):
    """Who may read the content of the chain's datasets and models, and who did."""

    state: Literal["restricted", "not restricted", "not shown"] = "not shown"
    text: str = NOT_USED
    reads_shown: bool = True
    """Whether the reads can be counted. False for a bundle of a model, which holds none."""
    rows: list[ContentReaders] = []


class Curve(Model):
    """One training signal by step."""

    name: str
    points: list[tuple[float, float]]


class Along(Model):
    """Where a training with rewards was at one step."""

    step: int
    kl: float | None
    """Nats per token from the reference; None where it was not measured."""
    reward: float
    scores: dict[str, float] = {}
    """Metric to its mean over held-back records, where these were scored."""


class Training(Model):
    """One training stage this version rests on."""

    stage: str
    model_digest: Sha256
    train: Train
    """The signed record of the training."""
    parent: str
    scorer: str
    data: str
    other_trainings: Refs
    """Entries of other trainings of the same stage."""
    assurance: str
    """Whether the same came out again, in words."""
    curves: list[Curve]
    curves_note: str
    along: list[Along] = []
    """Reward and held-back scores against divergence: at most some rows, with every look."""
    against_kl: list[Curve] = []
    """The same as curves, whose points are of divergence and value."""
    gate: str
    evidence: Refs


class Base(Model):
    """A model from outside that this version rests on."""

    name: str
    digest: Sha256
    imported: BaseImport | None
    """The signed record of its import; None where there is no evidence of its origin."""
    licence: str
    evidence: Refs
    declared: Declaration | None = Field(None, exclude_if=empty)
    """What is declared of a version that was trained elsewhere: self-attested."""


class Estimate(Model):
    """A mean over items, with its confidence interval."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


class BetweenSeeds(Model):
    """How a model's mean varies between training seeds. It has nothing to do with the interval over
    items.
    """

    seeds: list[int]
    """Of the runs that have a score: the same training with other seeds."""
    stopped: list[int]
    """Of the runs whose training stopped."""
    mean: float | None
    deviation: float | None
    """Standard deviation of the runs' means."""
    lowest: float | None
    highest: float | None
    separate: int
    """Runs under another key than that of the training."""
    words: str
    evidence: Refs


class Score(Estimate):
    """A model's mean on one metric."""

    model: str
    digest: Sha256
    role: ScoreRole
    relation: str
    """The role in words, e.g. `champion before it`."""
    missing: int
    evidence: Refs
    between_seeds: BetweenSeeds | None = None
    """None where no other seed was trained."""


class Difference(Estimate):
    """This version less another model, on the same items."""

    against: str
    words: str


class Slice(Estimate):
    """This version's mean on one metric over the items of one slice."""

    by: str
    label: str
    mean: float


class Metric(Model):
    """One metric of one suite, over all models of the chain that were scored on it."""

    suite: str
    suite_digest: Sha256
    name: str
    meaning: str
    """What it measures, in a sentence."""
    role: str
    """What policy says that the suite is for."""
    safety: bool
    models_scored: int | None
    """How many models the log has scores of on this suite: how often it was looked at. None where a
    bundle does not have the whole log.
    """
    scores: list[Score]
    differences: list[Difference]
    slices: list[Slice]
    """The worst first."""
    slices_by_worst: bool
    """Whether policy says which end is bad; else the lowest comes first."""
    slices_note: str
    """The worst of them in words, or why there are none."""
    thresholds: list[str]
    at_least: float | None
    at_most: float | None


class CounterMetric(Model):
    """A metric that falls when a reward function is gamed."""

    name: str
    measured_on: list[str]
    """The suites on which the model of the stage, or the version, has scores of it; empty: not
    measured.
    """


class RewardFunction(Model):
    """A reward function of a training stage, as its source declares it."""

    stage: str
    name: str
    digest: Sha256 | None
    scorer: str | None = None
    """The reward model that stands in place of a function."""
    not_declared: str | None = None
    """Why there is no declaration; None where there is one, or a scorer."""
    purpose: str = ""
    range: str = ""
    blind_spots: list[str] = []
    counter_metrics: list[CounterMetric] = []
    evidence: Refs
    """The gate, whose statement has the source text."""


class Measure(Estimate):
    """A mean over the version's answers to held-out prompts."""

    name: str
    meaning: str
    parent: float | None
    """The mean of the parent's answers to the same prompts; None of `kl`, which is a difference."""
    limit: str | None
    """What is demanded of the mean; None where nothing is."""
    met: bool | None


class Behaviour(Model):
    """How the version answers on held-out prompts, without reference answers."""

    suite: str | None = None
    not_measured: str | None = NOT_USED
    """Why there are no measures; None where there are."""
    limits: str = NOT_USED
    """Whose limits judge the version."""
    measures: list[Measure] = []
    reward_gain: Estimate | None = None
    """The rise of the training's own rewards against the parent's answers."""
    equal_rewards: float | None = None
    """Share of groups in training whose answers all got the same reward."""
    equal_rewards_below: float | None = None
    """The share from which on there was nothing to learn from; None where nothing is demanded."""
    tools: ToolUse | None = None
    """Which tools the version could call on its suite, and what became of calls."""
    findings: list[str] = []
    """What the decision made again has against the behaviour of the models of the chain."""
    evidence: Refs = []


class QualityGain(Estimate):
    """A metric of a stage's model less that of its parent, on the same items."""

    metric: str
    result: Literal["better", "worse", "no demonstrated difference"]


class StageGain(Model):
    """What a stage gained: in its own rewards, in held-out quality, and at which divergence."""

    stage: str
    method: str
    suite: str
    kl: Estimate | None
    """Nats per token of divergence from the parent."""
    reward: Estimate | None
    """The rise of the training's own rewards against the parent's answers."""
    quality: list[QualityGain]
    evidence: Refs


class Baseline(Model):
    """A rule that reads nothing, and how much more often a reward model is right."""

    rule: str
    accuracy: float
    gain: Estimate
    better: bool
    """Whether the whole interval of the gain lies above zero."""


class MarginPart(Estimate):
    """A reward model's accuracy on a quarter of the pairs, by the size of its margin."""

    smallest: float
    largest: float


class RewardModel(Model):
    """The card of a reward model that ranked the pairs of its suite: the version, or a scorer of
    its chain.
    """

    model: str
    digest: Sha256
    role: ScoreRole
    suite: str
    accuracy: Estimate
    baselines: list[Baseline]
    against_length: Estimate | None
    """Accuracy on the pairs in which the rule of length is wrong; None where it is never wrong."""
    by_margin: list[MarginPart]
    """Quarters of the pairs, the smallest margins first."""
    calibration_error: float
    """Expected calibration error of the probability that it gives to its own ranking."""
    slices: list[Slice]
    """The accuracy by slice, the lowest first."""
    evidence: Refs


class TaxComparison(Estimate):
    """The version less another model, on the main metric of a suite."""

    relation: str
    """`base`, `parent`, `champion`, or several of these."""
    model: str
    p_adjusted: float | None
    """Of the two-sided test, adjusted by Holm's procedure over the table."""
    result: Literal["better", "worse", "not distinguishable", "not comparable"]
    why: str | None
    """Why it cannot be compared."""
    evidence: Refs


class TaxRow(Estimate):
    """One suite: the version's mean on its main metric, and the comparisons."""

    suite: str
    suite_digest: Sha256
    role: str
    metric: str
    less_is_better: bool
    against: list[TaxComparison]


class AlignmentTax(Model):
    """The version against its base, its parent and the champion, by suite."""

    rows: list[TaxRow] = []
    comparisons: int = 0
    """How many comparisons the claims are adjusted for."""


class OutsideResults(Model):
    """Results that another evaluation tool wrote about this version."""

    results: Results
    """The signed record of their import."""
    words: str
    """Their assurance."""
    evidence: Refs


class Node(Model):
    """One thing in the drawing of where the version comes from."""

    id: str
    kind: Literal["source", "dataset", "base", "stage", "release"]
    label: str
    note: str
    digest: str
    row: int
    evidence: Refs


class Edge(Model):
    """`start` was made into, or used for, `end`."""

    start: str
    end: str
    role: str


class Statement(Model):
    """One entry of the log that this report rests on."""

    index: int
    kind: str
    about: str
    digest: Sha256
    subjects: list[str]
    key: str
    """The key id."""
    signer: str
    """Whose key it is, in words."""
    at: str


class EvidenceSections(Model):
    """The evidence of a version: the report and the page that approvers sign both show this."""

    gates: list[Gate] = []
    change_since: str = NOT_USED
    changes: list[Change] = []
    unchanged: dict[str, int] = {}
    """Group to the number of properties that are the same in the version before."""
    datasets: list[Dataset] = []
    confidence: float
    thresholds_fixed: str = NOT_USED
    alignment: AlignmentTax = AlignmentTax()
    metrics: list[Metric] = []
    behaviour: Behaviour = Behaviour()
    stage_gains: list[StageGain] = []
    reward_models: list[RewardModel] = []
    rewards: list[RewardFunction] = []
    outside: list[OutsideResults] = []
    """Results of other evaluation tools."""


class Report(EvidenceSections):
    """The audit report of one model version."""

    format: str = FORMAT
    generator: str
    """Of the same log, files, time and generator the bytes are the same."""
    project: str
    model: str
    version: str
    digest: str = NOT_USED
    """sha256 of the model folder's manifest; words where that is not established."""
    as_of: str
    """Time of the last entry of the log that was read."""
    log_range: str
    entries_read: int
    """It rests on entries before this one."""
    reads: str | None = None
    """How far the log was read; None for its end."""
    verdict: Verdict
    use: Use = Use()
    exceptions: list[Notice] = []
    waivers: list[WaiverRow] = []
    people: list[Person] = []
    separation: Separation = Separation()
    integrity: Integrity
    way_back: Back = Back()
    holds: list[Hold] = []
    open: list[Item] = []
    gaps: list[Gap] = []
    policy: PolicyUsed = PolicyUsed()
    controls: list[ControlRow] = []
    control_warnings: list[str] = [NOT_USED]
    decisions: list[Decision] = []
    signed_reports: list[SignedRow] = []
    readers: ReadersPart = ReadersPart()
    bases: list[Base] = []
    trainings: list[Training] = []
    nodes: list[Node] = []
    edges: list[Edge] = []
    files: list[ModelFile] = []
    meanings: dict[str, str] = {}
    """Each finding code named in the report, with its meaning in a sentence."""
    evidence: list[Statement] = []
