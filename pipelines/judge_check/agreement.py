"""How far a judge agrees with the people who labelled the same pairs, beside how far people agree
with each other.

Raters of at least half of the pairs are compared with the judge one by one; the figure is the mean
of Cohen's kappa. Where there are none (many raters, each of a few pairs), the judge is compared
with what most people said, and people's own figure is Fleiss' kappa.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from governance.attest.predicates import Figure, PeopleAgreement
from pipelines.agreement.bootstrap import Estimate, estimates
from pipelines.agreement.panel import MISSING, Panel
from pipelines.judge_check.labelled import ONE_LABEL, Pair
from pipelines.judging.asking import FIRST, SECOND, TIE

_JUDGE = "the judge"
_VALUES = (TIE, FIRST, SECOND)
_DIGITS = 6
"""Kept of a figure."""


def agreement(pairs: Sequence[Pair], decisions: Sequence[int]) -> PeopleAgreement:
    """`decisions`: what the judge decided of each pair, `TIE` where it did not."""
    names = sorted({rater for pair in pairs for rater in pair.labels})
    steady = [
        name for name in names if 2 * sum(name in pair.labels for pair in pairs) >= len(pairs)
    ]
    labels = [pair.labels if steady else {ONE_LABEL: pair.people} for pair in pairs]
    compared = steady or [ONE_LABEL]
    both = [{**row, _JUDGE: made} for row, made in zip(labels, decisions, strict=True)]
    judged = estimates(_panel(both, [*compared, _JUDGE]), "nominal").raters[_JUDGE]
    people = None
    if len(names) > 1:
        pool = estimates(_panel([pair.labels for pair in pairs], names), "nominal").pool
        people = _figure(pool["cohen_kappa" if steady else "fleiss_kappa"])
    return PeopleAgreement(
        items=len(pairs),
        raters=len(names),
        kappa=_figure(judged["cohen_kappa"]),
        kappa_of_people=people,
    )


def _panel(rows: Sequence[Mapping[str, int]], raters: Sequence[str]) -> Panel:
    codes = [[row.get(rater, MISSING) for rater in raters] for row in rows]
    return Panel(np.array(codes, dtype=np.int64), tuple(map(float, _VALUES)), tuple(raters))


def _figure(found: Estimate) -> Figure | None:
    if found.value is None:
        return None
    ends = [None if end is None else round(end, _DIGITS) for end in (found.low, found.high)]
    return Figure(value=round(found.value, _DIGITS), low=ends[0], high=ends[1])
