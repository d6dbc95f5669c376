"""The datasets behind a version, and who may read them."""

from __future__ import annotations

from typing import Literal

from governance.attest.predicates import Overruled, Quality, Scan
from governance.base.model import Model, Sha256
from governance.policy.readers import ContentKind
from governance.report.model.parts import NOT_USED, Refs


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


class JudgeShown(Model):
    """The card of a judge."""

    passed: bool
    verdict: str
    """What is said of it, in words."""
    figures: list[str] = []
    """One sentence for each."""
    labelled: str = ""
    """The dataset of people's labels that it was compared with."""
    beyond_raters: str = ""
    """Why people cannot reliably judge such answers, as the datacard of the labels declares."""
    evidence: Refs = []


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
    judged: JudgeShown
    asked: int
    kept: int
    dropped: dict[str, int]
    evidence: Refs


class Answer(Model):
    """An answer about labels, in words."""

    question: str
    answer: str


class Labelled(Model):
    """Who labelled, by which guideline, with what agreement, and what was excluded."""

    answers: list[Answer]
    overruled: dict[str, dict[str, Overruled]]
    """Attribute of raters to group to counts."""


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
    beyond_raters: str = ""
    """Why people cannot reliably judge the answers, as the datacard declares."""
    generated: GeneratedBy | None = None
    """Absent where people or other systems made it."""
    labelled: Labelled | None = None
    """Absent where the kind of record has no labels."""
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
