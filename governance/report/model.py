"""What an audit report says, typed: its JSON twin, and all that the page is drawn from.

1. Every figure here is a fact from verified records; nobody types any of it. Where there is none,
   the field says so in words ("none", "not done", "not run", "not recorded"), with the reason.
2. An evidence reference `E12` is entry 12 of the log; `evidence` lists each with its digest and
   key.
3. The same log and files give the same bytes: there is no time here but those the log holds.
"""

from __future__ import annotations

from typing import Literal

from governance.base.model import Json, Model, Sha256

FORMAT = "https://countersign.dev/report/v1"

Result = Literal["pass", "fail", "waived", "not run"]
VerdictWord = Literal[
    "APPROVED",
    "APPROVED WITH CONDITIONS",
    "NOT APPROVED",
    "PENDING",
    "WITHDRAWN",
    "EVIDENCE DOES NOT VERIFY",
]
Refs = list[int]
"""Indexes of log entries."""


class Verdict(Model):
    """The one line a reader takes away."""

    word: VerdictWord
    reason: str
    alias: str
    """What was last decided about this version: an alias, or `none`."""
    decided: str
    """When and by whom that was decided."""
    conditions: list[str]
    """What an approval hangs on, each with its end; empty where it hangs on nothing."""
    evidence: Refs


class Use(Model):
    """What the model is for."""

    approved_for: list[str]
    not_approved_for: list[str]
    tier: str
    tier_demands: list[str]
    review_by: str


class Notice(Model):
    """An exception: something a reader has to know before any good news."""

    kind: Literal["fault", "waiver", "note"]
    """What contradicts the verdict or the records; what a person accepted for a while; what is
    merely so.
    """
    title: str
    detail: str
    accepted_by: str
    control: str
    """What is done instead."""
    expires: str
    evidence: Refs


class WaiverRow(Model):
    """A finding that somebody accepted for a while."""

    finding: str
    about: str
    owner: str
    accepted_by: str
    role: str
    control: str
    reason: str
    at: str
    expires: str
    state: str
    """`in force`, or why it is not."""
    renewals: int
    """Waivers of the same before this one."""
    used: bool
    """Whether a decision allowed the version because of it."""
    evidence: Refs


class Gate(Model):
    """One row of page one's table."""

    name: str
    result: Result
    value: str
    threshold: str
    evidence: Refs


class Person(Model):
    """Who did something, as far as that is shown."""

    did: str
    who: str
    role: str
    at: str
    key: str
    assurance: str
    evidence: Refs


class Integrity(Model):
    """Whether the records can be believed, and how far."""

    verified: bool
    first_broken: str
    entries: int
    root: str
    origin: str
    tree_head: str
    """What a checkpoint of the log at this size says, but for its signature: log, entries, root."""
    anchor: str
    signatures: str
    evidence_present: str
    registry: str
    """Whether the registry says what the log says."""
    clock: str
    shows: list[str]
    does_not_show: list[str]


class Change(Model):
    """One thing that two versions are compared by, and differ in."""

    group: str
    """Data, recipe, code, base model, rules, or results."""
    what: str
    before: str
    now: str


class Compared(Model):
    """One group of things that two versions are compared by: how many are what."""

    group: str
    same: int
    changed: int
    new: int
    gone: int


class Item(Model):
    """Something open."""

    what: str
    next: str
    owner: str
    due: str
    overdue: bool
    evidence: Refs


class Record(Model):
    """One of the records every version must have."""

    name: str
    value: str
    evidence: Refs


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
]


class Decision(Model):
    """What was decided, or said by a person, about this version or a stage it rests on; in the
    order of the log.
    """

    about: str
    what: str
    answer: Answer
    by: str
    """Who said it, and in which role; `the decision function` where nobody did."""
    words: str
    """A person's own reason; `none` where nobody gave one."""
    shown: str
    """Digest of the page that an approver was shown; `none` where there was none."""
    at: str
    tier: str
    findings: list[str]
    evidence: Refs


class SignedRow(Model):
    """A report of this version that somebody signed before."""

    page: Sha256
    twin: Sha256
    verdict: str
    as_of: str
    entries: int
    """Of the log, that it read."""
    generator: str
    by: str
    role: str
    words: str
    at: str
    evidence: Refs


class Hold(Model):
    """An alias that the version held."""

    alias: str
    since: str
    until: str
    """`now`, or when it was taken away."""
    ended: str
    """How it ended, in words."""
    asked_by: str
    evidence: Refs


class Incident(Model):
    """Something that was wrong with these bytes, as somebody who may speak said."""

    state: Literal["open", "closed"]
    by: str
    role: str
    words: str
    at: str
    evidence: Refs


class Back(Model):
    """How to go back."""

    target: str
    steps: str
    people: str
    drill: str
    evidence: Refs


class PolicyUsed(Model):
    """Under which policies the version is judged, and since when they are fixed."""

    which: str
    digest: str
    since: str
    signed_by: list[str]
    proposals: list[str]
    """Policies that were recorded and are not in force."""
    thresholds_fixed: str
    demands: list[str]
    evidence: Refs


class ControlRow(Model):
    """What an outside framework asks, and the evidence for it of this version."""

    framework: str
    id: str
    title: str
    result: str
    """`evidence present and verified`, `partial`, `missing`, `not applicable`, or `not assessed`.
    """
    why: str
    gap: str
    in_force: str
    """On the day of the report, in words."""
    confirm: str
    """What a person must confirm of the entry itself; `none` where it was checked against its
    source.
    """
    evidence: Refs


class Gap(Model):
    """A test that failed, was not run, or says nothing."""

    what: str
    result: Literal["failed", "not run", "not recorded"]
    why: str
    evidence: Refs


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
    result: str
    records_in: int
    records_out: int
    excluded: list[Excluded]
    evidence: Refs


class Entity(Model):
    """Personal data of one type: found, treated, remaining."""

    name: str
    found: int
    action: str
    remaining: int


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


class Privacy(Model):
    """How personal data was searched for and what came of it."""

    engine: str
    assurance: str
    languages: list[str]
    searched: list[str]
    cannot_find: list[str]
    entities: list[Entity]
    recall: list[Recalled]
    """The least first; empty where it was not measured."""
    recall_note: str
    """What it is worth, or why there is none."""
    evidence: Refs


class Check(Model):
    """One expectation of a quality suite."""

    name: str
    column: str
    expected: str
    severity: str
    action: str
    result: Result
    unexpected: int


class Dataset(Model):
    """One dataset this version rests on."""

    name: str
    kind: str
    used_by: list[str]
    digest: Sha256
    source: str
    card: dict[str, str]
    card_note: str
    splits: dict[str, int]
    steps: list[DataStep]
    privacy: Privacy | None
    quality: list[Check]
    quality_evidence: Refs
    gap: str
    """Where the chain of evidence breaks; `none` where it does not."""


class Beside(Model):
    """A dataset of the same project that this version does not rest on."""

    name: str
    kind: str
    steps: list[DataStep]
    """Its latest way to ready records; a later refusal last."""
    entities: list[Entity]


class Curve(Model):
    """One training signal by step."""

    name: str
    points: list[tuple[float, float]]


class Training(Model):
    """One training stage this version rests on."""

    stage: str
    method: str
    model_digest: Sha256
    adapter: str
    parent: str
    scorer: str
    data: str
    records: int
    steps: int
    parameters: dict[str, Json]
    final: dict[str, float | None]
    seconds: float
    detail: dict[str, Json]
    device: str
    threads: int
    code: str
    python: str
    platform: str
    versions: dict[str, str]
    distributions: Sha256
    requested_by: str
    attempts: str
    assurance: str
    """Whether the same came out again, in words."""
    curves: list[Curve]
    curves_note: str
    gate: str
    evidence: Refs


class Base(Model):
    """A model from outside that this version rests on."""

    name: str
    digest: Sha256
    source: str
    weights: str
    licence: str
    evidence: Refs


class Score(Model):
    """A model's mean on one metric, with its confidence interval."""

    model: str
    digest: Sha256
    relation: str
    """`this version`, `parent`, `base`, ..."""
    n: int
    missing: int
    mean: float | None
    low: float | None
    high: float | None
    evidence: Refs


class Difference(Model):
    """This version less another model, on the same items."""

    against: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    words: str


class Slice(Model):
    """This version's mean on one metric over the items of one slice."""

    by: str
    label: str
    n: int
    mean: float
    low: float | None
    high: float | None


class Metric(Model):
    """One metric of one suite, over all models of the chain that were scored on it."""

    suite: str
    suite_digest: Sha256
    name: str
    scores: list[Score]
    differences: list[Difference]
    slices: list[Slice]
    """The worst first."""
    slices_note: str
    """The worst of them in words, or why there are none."""
    thresholds: list[str]
    at_least: float | None
    at_most: float | None


class Node(Model):
    """One thing in the drawing of where the version comes from."""

    id: str
    kind: Literal["source", "dataset", "base", "stage", "release"]
    label: str
    note: str
    digest: str
    lane: int
    """0 models, 1 datasets, 2 sources."""
    column: int
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
    signer: str
    """Whose key it is, in words."""
    at: str


class Key(Model):
    """A key that signed something here."""

    keyid: str
    owner: str
    signed: int
    kinds: list[str]


class EvidenceSections(Model):
    """The evidence of a version: the report and the page that approvers sign both show this."""

    gates: list[Gate]
    change_since: str
    changes: list[Change]
    compared: list[Compared]
    datasets: list[Dataset]
    confidence: float
    thresholds_fixed: str
    metrics: list[Metric]


class Report(EvidenceSections):
    """The audit report of one model version."""

    format: str
    generator: str
    """Of the same log, files, time and generator the bytes are the same."""
    project: str
    model: str
    version: str
    digest: str
    """sha256 of the model folder's manifest; words where that is not established."""
    as_of: str
    """Time of the last entry of the log that was read."""
    log_range: str
    entries_read: int
    """It rests on entries before this one."""
    reads: str
    """How far the log was read."""
    verdict: Verdict
    use: Use
    exceptions: list[Notice]
    waivers: list[WaiverRow]
    people: list[Person]
    separation: str
    integrity: Integrity
    way_back: Back
    holds: list[Hold]
    incidents: list[Incident]
    open: list[Item]
    gaps: list[Gap]
    policy: PolicyUsed
    controls: list[ControlRow]
    control_warnings: list[str]
    not_covered: list[str]
    records: list[Record]
    decisions: list[Decision]
    signed_reports: list[SignedRow]
    beside: list[Beside]
    bases: list[Base]
    trainings: list[Training]
    nodes: list[Node]
    edges: list[Edge]
    files: list[str]
    keys: list[Key]
    evidence: list[Statement]
