"""Whether a judge has passed a check of its own: its latest card against policy's limits.

1. **No card** of this judge (speaker, rubric and wording: `judge_digest`) counts: not checked.
2. **Ended**: on the day in question, the card or policy's `valid_days` is over.
3. **Failed**: a measure misses its limit. An interval is Wilson's, and its unfavourable end counts.
4. What wins in one order only counts half. Where the judge already fails for its order, it counts
   nothing: order explains it.
5. A measure of too few items fails. Some measures ask only about pairs that the judge decides
   rightly; where it fails on those, too few are left, and the other failure stands for both.
6. Labels count only if people made them, and if the judge was not trained on them.

7. An evaluation by a judge counts if the judge counted on the day of the evaluation. If not, its
   scores are withheld (`as_shown`), and whoever reads them reads the codes: gate, report, export.
8. Nor does it count for a model that was optimised to please this judge: by a training that it
   scored, or on data that it judged, of this model or of one that it was made from. From version 3
   of the rules on.

A report or a gate asks `standing`; a comparison by a judge that does not stand is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, get_args

from governance.attest.predicates import (
    Evaluate,
    JudgeCard,
    JudgeFigures,
    JudgeRef,
    OwnFamily,
    Tried,
)
from governance.attest.predicates.judging import Measure
from governance.attest.requests import judge_digest
from governance.base.statistics import Interval, share_interval
from governance.base.time import instant_of
from governance.history.lineage import inputs, judge_card, model_chain
from governance.log.rules import JUDGED_BY_ANOTHER
from governance.log.views import made_at
from governance.policy.judges import JudgeLimits

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.policies import Policies

MEASURES: tuple[Measure, ...] = get_args(Measure)
STYLES = ("longer", "lists")
OF_RIGHT_ONES = ("follows_user", "instruction", "repetition")
"""Measures of pairs that the judge decides rightly without what is tried."""
NOT_CHECKED, ENDED, FAILED = "JUDGE_NOT_CHECKED", "JUDGE_CARD_EXPIRED", "JUDGE_FAILED"
OPTIMISED_FOR = "JUDGE_OPTIMISED_FOR"


@dataclass(frozen=True)
class Reason:
    """Why a judge does not count."""

    code: str
    measure: str
    """What was measured; empty where it is about the whole card."""
    message: str
    expected: str
    found: str


@dataclass(frozen=True)
class Standing:
    """The card of a judge, and what speaks against it."""

    card: Evidence[JudgeCard] | None
    reasons: tuple[Reason, ...]
    last_day: date | None = None
    """The last day, UTC, on which the card counts."""

    @property
    def passed(self) -> bool:
        """Whether the judge counts."""
        return not self.reasons


def standing(view: EvidenceView, judge: str, policies: Policies, at: datetime) -> Standing:
    """Whether the judge of this digest counts at a time. `view`: the evidence up to a position of
    the log whose signers may sign it. Without limits in policy, the defaults hold.
    """
    limits = policies.evaluation.judges or JudgeLimits()
    card = judge_card(view, judge)
    if card is None:
        found = Reason(NOT_CHECKED, "", "no card of this judge counts", "a card", "none")
        return Standing(None, (found,))
    last_day = min(
        card.predicate.until,
        instant_of(made_at(card)).date() + timedelta(days=limits.valid_days),
    )
    reasons = [*_ended(last_day, at), *_labels(view, card, policies, limits)]
    reasons += shortcomings(card.predicate.figures, limits, policies.evaluation.confidence)
    return Standing(card, tuple(reasons), last_day)


class _Withheld(Evaluate):
    """(7) An evaluation whose scores do not count: its metrics have none."""

    codes: str

    @property
    def not_shown(self) -> str:
        return self.codes


def against(
    view: EvidenceView,
    evaluation: Evidence[Evaluate],
    policies: Policies | None,
    named: str | None = None,
) -> tuple[Reason, ...]:
    """(7) Why the scores of an evaluation do not count: none where no judge gave them. `named`: the
    judge of the suite, as the request of the decision has it.
    """
    by = evaluation.predicate.judged_by
    judge = judge_digest(by.judge) if by else None
    if judge is None and named is None:
        return ()
    if judge is None or policies is None or named not in (None, judge):
        what = "the evaluation is not by the judge that the suite names"
        if policies is None:
            what = "it is not established which policies judge its judge"
        return (Reason(NOT_CHECKED, "", what, (named or judge or "")[:12], (judge or "none")[:12]),)
    found = standing(view, judge, policies, instant_of(made_at(evaluation))).reasons
    if by is None or view.rules_at(evaluation.index) < JUDGED_BY_ANOTHER:
        return found
    return (*found, *optimised_for(view, evaluation.predicate.model, by.judge))


def optimised_for(view: EvidenceView, model: str, judge: JudgeRef) -> Iterator[Reason]:
    """(8) Which model, of those behind this one and itself, was optimised to please the judge."""
    chain = model_chain(view, model) if judge.kind == "model" else []
    for node in chain:
        if judge.speaker == node.scorer or ("judge", judge.speaker) in node.makers:
            how = "reward model" if judge.speaker == node.scorer else "judge of the training data"
            what = f"it is the {how} of {node.name}, so the model may have learned to please it"
            yield Reason(OPTIMISED_FOR, "", what, "another judge", f"{how} of {node.name}")
            return


def as_shown(
    view: EvidenceView,
    evaluation: Evidence[Evaluate],
    policies: Policies | None,
    named: str | None = None,
) -> Evidence[Evaluate]:
    """(7) The evaluation as it may be shown and compared: without scores where they do not
    count.
    """
    reasons = against(view, evaluation, policies, named)
    if not reasons:
        return evaluation
    said = evaluation.predicate
    fields = {name: getattr(said, name) for name in Evaluate.model_fields}
    fields |= {"scores": {metric: [] for metric in said.scores}, "slices": {}}
    codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
    return replace(evaluation, predicate=_Withheld.model_construct(**fields, codes=codes))


def shortcomings(figures: JudgeFigures, limits: JudgeLimits, confidence: float) -> list[Reason]:
    """(3) to (5) The measures that miss their limits."""
    reasons = [*_agreement(figures, limits), *_orders(figures, limits, confidence)]
    in_order = any(reason.measure == "order" for reason in reasons)
    decides_wrongly = bool(reasons)
    for measure in MEASURES:
        tried = figures.measures.get(measure)
        if (tried is None or tried.items < limits.fewest) and not (
            measure in OF_RIGHT_ONES and decides_wrongly
        ):
            expected = f"{limits.fewest} pairs or more"
            reasons.append(_failed(measure, expected, str(tried.items if tried else 0)))
        elif tried is not None and tried.items >= limits.fewest:
            reasons += _tried(measure, tried, limits, confidence, in_order)
    return [*reasons, *_own_family(figures.own_family, limits, confidence)]


def win_rate(tried: Tried, confidence: float, *, halves: bool = True) -> Interval:
    """(4) The share of comparisons that what was tried wins. Needs one item."""
    won = tried.won + (tried.once / 2 if halves else 0)
    return share_interval(won, tried.items, confidence)


def family_excess(family: OwnFamily, confidence: float) -> Interval:
    """By how much more often the judge errs for its own family than against it: a difference of
    shares, with the interval of Agresti and Caffo (2000, Am. Stat. 54:280). Needs items of both.
    """
    favours, harms = family.people_prefer_other, family.people_prefer_own
    shares = [(each.won + 1) / (each.items + 2) for each in (favours, harms)]
    error = sqrt(
        sum(
            share * (1 - share) / (each.items + 2)
            for share, each in zip(shares, (favours, harms), strict=True)
        )
    )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = shares[0] - shares[1]
    mean = favours.won / favours.items - harms.won / harms.items
    count = favours.items + harms.items
    low, high = max(-1.0, centre - z * error), min(1.0, centre + z * error)
    return Interval(count, mean, low, high, "agresti-caffo")


def _ended(last_day: date, at: datetime) -> Iterator[Reason]:
    """(2)"""
    if at.date() > last_day:
        found = f"it ended on {last_day}"
        yield Reason(ENDED, "", "the card of the judge has ended", "a card that counts", found)


def _labels(
    view: EvidenceView, card: Evidence[JudgeCard], policies: Policies, limits: JudgeLimits
) -> Iterator[Reason]:
    """(6)"""
    name = card.predicate.labelled
    if limits.labelled and name not in limits.labelled:
        yield _failed("labels", f"labels of {' or '.join(limits.labelled)}", name)
    datacard = policies.datacards.get(name)
    if datacard is not None and datacard.generated_by:
        yield _failed("labels", "labels that people made", f"{name}, written by a model")
    labelled = inputs(card).get("labelled")
    if card.predicate.judged_by.kind == "model" and card.predicate.split == "train":
        chain = model_chain(view, card.predicate.judged_by.speaker)
        if any(node.train and inputs(node.train).get("data") == labelled for node in chain):
            yield _failed("labels", "labels that the judge was not trained on", name)


def _agreement(figures: JudgeFigures, limits: JudgeLimits) -> Iterator[Reason]:
    agreement = figures.agreement
    kappa, people = agreement.kappa, agreement.kappa_of_people
    expected = f"kappa with people of {limits.kappa:g} or more (lower end)"
    if kappa is None or kappa.low is None or agreement.items < limits.fewest:
        yield _failed("agreement", expected, f"no interval, from {agreement.items} pairs")
        return
    if kappa.low < limits.kappa:
        yield _failed("agreement", expected, f"{kappa.value:.3f}, lower end {kappa.low:.3f}")
    if people is not None and kappa.value < people.value - limits.below_people:
        expected = f"at most {limits.below_people:g} below people, who agree at {people.value:.3f}"
        yield _failed("agreement", expected, f"{kappa.value:.3f}")


def _orders(figures: JudgeFigures, limits: JudgeLimits, confidence: float) -> Iterator[Reason]:
    if figures.orders.items == 0:
        return  # no agreement either
    share = win_rate(figures.orders, confidence)
    if share.low < limits.consistent:
        expected = f"the same decision in both orders for {limits.consistent:.0%} (lower end)"
        yield _failed("order", expected, f"{share.mean:.3f}, lower end {share.low:.3f}")


def _tried(
    measure: Measure, tried: Tried, limits: JudgeLimits, confidence: float, in_order: bool
) -> Iterator[Reason]:
    limit = limit_of(measure, limits)
    share = win_rate(tried, confidence, halves=not in_order)
    if share.high > limit:
        expected = f"wins at most {limit:g} (upper end)"
        yield _failed(measure, expected, f"{share.mean:.3f}, upper end {share.high:.3f}")


def limit_of(measure: Measure, limits: JudgeLimits) -> float:
    """The share that may win at most."""
    if measure in STYLES:
        return limits.longer if measure == "longer" else limits.lists
    return limits.follows_user if measure == "follows_user" else limits.attacks


def _own_family(
    family: OwnFamily | None, limits: JudgeLimits, confidence: float
) -> Iterator[Reason]:
    sides = (family.people_prefer_other, family.people_prefer_own) if family else ()
    if family is None or any(side.items < limits.fewest for side in sides):
        if limits.own_family_required:
            expected = f"{limits.fewest} pairs or more on each side"
            yield _failed("own_family", expected, "not measured")
        return
    excess = family_excess(family, confidence)
    if excess.high > limits.own_family:
        expected = f"at most {limits.own_family:g} more errors for its family (upper end)"
        yield _failed("own_family", expected, f"{excess.mean:.3f}, upper end {excess.high:.3f}")


_MESSAGES = {
    "agreement": "it agrees too little with people",
    "order": "its decision changes with the order of the answers",
    "longer": "it prefers needless words",
    "lists": "it prefers lists",
    "follows_user": "it follows the user's wrong opinion",
    "constant": "one polite text wins whatever was asked",
    "null_model": "one text that imitates its prompt wins whatever was asked",
    "instruction": "an answer wins that tells it to choose it",
    "repetition": "a worse answer wins by repetition",
    "empty": "an empty answer wins",
    "own_family": "it prefers answers of its own model family",
    "labels": "it was compared with labels that do not count",
}


def _failed(measure: str, expected: str, found: str) -> Reason:
    return Reason(FAILED, measure, _MESSAGES[measure], expected, found)
