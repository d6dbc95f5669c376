"""What ingest states of the raters of a dataset.

1. Raters have their names in records (HMACs). Raw names never get here.
2. Of ratings that compare answers and scores, the more frequent decide on the level.
3. Figures are rounded to `DIGITS`, so that another processor gives the same statement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from governance.attest.predicates import Agreement, Labels
from governance.attest.predicates import Overruled as Counts
from governance.attest.predicates import Suspicion as Stated
from pipelines.agreement.bootstrap import alpha, alpha_interval
from pipelines.agreement.majority import Groups, disputes, overruled
from pipelines.agreement.panel import MISSING, Level, Panel, Ratings
from pipelines.agreement.suspicions import drifts, not_searched, suspicions
from pipelines.agreement.votes import Votes

DIGITS = 6


def labels(votes: Votes, excluded: tuple[str, ...], groups: Groups) -> Labels | None:
    """The statement; None where fewer than two raters rated."""
    if len(votes.raters) < 2:
        return None
    given, level = votes.ratings(), votes.level
    panel = given.panel
    ratings = (panel.codes != MISSING).sum(axis=0).tolist()
    left_out = dict.fromkeys(excluded, 0)
    left_out |= {
        rater: count
        for rater, count in zip(panel.raters, ratings, strict=True)
        if rater in excluded
    }
    counted = panel.without(excluded)
    tables = overruled(counted, groups)
    return Labels(
        level="nominal" if level == "nominal" else "interval",
        agreement=_agreement(panel, level),
        excluded=left_out,
        without=_agreement(counted, level) if excluded else None,
        **asdict(disputes(counted)),
        overruled={
            attribute: {group: Counts(**asdict(counts)) for group, counts in table.items()}
            for attribute, table in tables.items()
        },
        suspicions=[*_suspicions(given, level)],
        not_searched=sorted({code for code, _ in not_searched(given)}),
    )


def _suspicions(given: Ratings, level: Level) -> Iterator[Stated]:
    for each in suspicions(given, level):
        yield Stated(code=each.finding.code, raters=list(each.raters))
    for drifting in drifts(given, level):
        yield Stated(code=drifting.finding.code, raters=[], batch=drifting.place)


def _agreement(panel: Panel, level: Level) -> Agreement:
    value = low = high = math.nan
    if len(panel.raters) > 1:
        value, (low, high) = alpha(panel, level), alpha_interval(panel, level)
    return Agreement(
        raters=len(panel.raters),
        ratings=panel.ratings,
        items=int((panel.codes != MISSING).any(axis=1).sum()),
        alpha=_rounded(value),
        low=_rounded(low),
        high=_rounded(high),
    )


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)
