"""Judges how a reward model ranks the pairs of its suite. The log has its margin (score of the
chosen answer less that of the rejected one) and both lengths of each pair.

1. **Not better**: its accuracy is not distinguishably above that of two rules that read nothing:
   `constant` (every answer gets the same score: 0.5) and `length` (the longer answer is the better
   one, or the shorter one, whichever is right more often). A tie is half right.
2. **Length bias of the pairs**: the rule `length` is right in more of them than policy permits, so
   they cannot show whether a model reads more than the length (Singhal et al. 2023,
   arXiv:2310.03716).
3. **Length bias of the model**: where the rule `length` is wrong, so is the model, in most pairs
   and with the whole interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import exp, fsum

from governance.attest.predicates import Pairs
from governance.base.statistics import Interval, difference_interval, mean_interval
from governance.gates.behaviour import Reason
from governance.policy.evaluation import BehaviourLimits

ENOUGH = 20
"""Pairs that rule 3 needs."""
CHANCE = 0.5


def right(pairs: Pairs) -> list[float]:
    """For each pair whether the model ranks it rightly: 1, 0, or 0.5 of a tie."""
    return [_sign(margin) for margin in pairs.margins]


def right_by_length(pairs: Pairs) -> tuple[str, list[float]]:
    """The rule of length that is right more often, `longer` or `shorter`, and the same for it."""
    both = zip(pairs.chosen_tokens, pairs.rejected_tokens, strict=True)
    longer = [_sign(chosen - rejected) for chosen, rejected in both]
    shorter = [1 - each for each in longer]
    return ("longer", longer) if fsum(longer) >= fsum(shorter) else ("shorter", shorter)


def against_length(pairs: Pairs) -> list[float]:
    """What `right` gives for the pairs in which the rule of length is wrong."""
    _, by_length = right_by_length(pairs)
    return [one for one, length in zip(right(pairs), by_length, strict=True) if length == 0]


def gains(pairs: Pairs, confidence: float) -> dict[str, Interval]:
    """Rule 1: baseline to how much more often the model is right, pair by pair."""
    ours = right(pairs)
    _, by_length = right_by_length(pairs)
    baselines = {"constant": [CHANCE] * len(ours), "length": by_length}
    return {
        name: difference_interval(ours, theirs, confidence) for name, theirs in baselines.items()
    }


def by_margin(pairs: Pairs, parts: int = 4) -> list[list[tuple[float, float]]]:
    """The size of the margin and what `right` gives, of each pair; in parts of equal number, those
    with the smallest margins first. A part without pairs is left out.
    """
    ranked = sorted(zip(map(abs, pairs.margins), right(pairs), strict=True))
    ends = [len(ranked) * part // parts for part in range(parts + 1)]
    return [ranked[start:end] for start, end in pairwise(ends) if end > start]


def calibration_error(pairs: Pairs, bins: int = 10) -> float:
    """Expected calibration error of sigmoid(margin), the probability that a Bradley-Terry model
    gives to its own ranking, in bins of equal width from 0.5 to 1 (Guo et al. 2017,
    arXiv:1706.04599, eq. 3).
    """
    held: dict[int, list[tuple[float, float]]] = {}
    for margin in pairs.margins:
        confidence = 1 / (1 + exp(-abs(margin)))
        place = min(int((confidence - CHANCE) * 2 * bins), bins - 1)
        held.setdefault(place, []).append((confidence, _sign(margin)))
    gaps = [abs(fsum(one - two for one, two in values)) for values in held.values()]
    return fsum(gaps) / len(pairs.margins)


def not_better(pairs: Pairs, confidence: float) -> Iterator[Reason]:
    """Rule 1."""
    for baseline, gain in gains(pairs, confidence).items():
        if gain.low <= 0:
            message = f"it ranks pairs no better than a rule that reads nothing ({baseline})"
            demand = f"more accurate than `{baseline}`, with the whole interval"
            yield Reason.of("REWARD_MODEL_NOT_BETTER", baseline, message, demand, gain)


def length_bias(pairs: Pairs, limits: BehaviourLimits, confidence: float) -> Iterator[Reason]:
    """Rules 2 and 3."""
    rule, by_length = right_by_length(pairs)
    share = mean_interval(by_length, confidence)
    if share.mean > limits.ranked_by_length:
        message = f"in nearly all pairs of its suite the {rule} answer is the better one"
        demand = f"at most {limits.ranked_by_length:g} (mean)"
        yield Reason.of("RANKED_BY_LENGTH", "ranked_by_length", message, demand, share)
    against = against_length(pairs)
    if len(against) < ENOUGH:
        return
    accuracy = mean_interval(against, confidence)
    if accuracy.high < CHANCE:
        message = f"it prefers the {rule} answer where that is the worse one"
        demand = f"right in at least {CHANCE:g} of such pairs"
        yield Reason.of("RANKED_BY_LENGTH", "against_length", message, demand, accuracy)


def _sign(difference: float) -> float:
    if difference == 0:
        return CHANCE
    return float(difference > 0)
