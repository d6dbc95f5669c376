"""How well a score tells members (records that were trained on) from records that were held out.
Imports no torch.

- AUC: the probability that a member has the higher score, ties counting half. Its variance is that
  of DeLong et al. (1988, Biometrics 44:837), from the structural components.
- Members found at 1 % false alarms (Carlini et al. 2022, arXiv:2112.03570): the threshold is the
  lowest score that at most 1 % of the held-out records exceed. The threshold's own error is not in
  the interval.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance

from governance.attest.predicates.leaks import Membership

FALSE_ALARMS = 0.01
FEWEST = 100
"""Held-out records from which 1 % of them is a record."""
DIGITS = 6
"""Decimal digits that are kept of a figure."""


def membership(members: Sequence[float], non_members: Sequence[float]) -> Membership:
    """The figures of two scores at least on each side."""
    area, error = auc(members, non_members)
    found, alarms = at_one_percent(members, non_members)
    return Membership(
        members=len(members),
        non_members=len(non_members),
        auc=round(area, DIGITS),
        error=round(error, DIGITS),
        found=found,
        false_alarms=alarms,
    )


def auc(members: Sequence[float], non_members: Sequence[float]) -> tuple[float, float]:
    """The area under the ROC curve, and its standard error."""
    above = _shares_below(members, non_members)
    below = [1 - share for share in _shares_below(non_members, members)]
    error = sqrt(variance(above) / len(above) + variance(below) / len(below))
    return fmean(above), error


def _shares_below(scores: Sequence[float], others: Sequence[float]) -> list[float]:
    """For each score, the share of the others that are lower; equal ones count half."""
    ordered = sorted(others)
    counts = ((bisect_left(ordered, one), bisect_right(ordered, one)) for one in scores)
    return [(low + high) / 2 / len(ordered) for low, high in counts]


def at_one_percent(
    members: Sequence[float], non_members: Sequence[float]
) -> tuple[int | None, int | None]:
    """Members, and held-out records, above the threshold; None where too few are held out."""
    if len(non_members) < FEWEST:
        return None, None
    allowed = int(len(non_members) * FALSE_ALARMS)
    threshold = sorted(non_members, reverse=True)[allowed]
    found = sum(score > threshold for score in members)
    return found, sum(score > threshold for score in non_members)
