"""The scores of a version, beside other models."""

from __future__ import annotations

from typing import Literal

from governance.attest.predicates import Results
from governance.base.model import Model, Sha256
from governance.report.model.parts import Estimate, Refs, ScoreRole


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
    judged: str | None = None
    """Who compared the answers, and how consistently, in a sentence; None where no judge did."""
    not_shown: str | None = None
    """Codes of the findings for which this version's figures are not shown: its judge does not
    count.
    """


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
