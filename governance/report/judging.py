"""The card of a judge in plain sentences, one for each figure, and whether the judge counts."""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import (
    Evaluate,
    Generation,
    JudgeFigures,
    JudgingCost,
    Tried,
)
from governance.attest.requests import GenerationRequest, judge_digest, judge_of
from governance.base.statistics import Interval
from governance.base.time import instant_of
from governance.gates import judging
from governance.report.facts import Facts
from governance.report.model.data import JudgeShown

NO_CARD = "nothing here shows that its judgement agrees with people"
NO_POLICY = "it is not established which policies judge it"
NO_FAMILY = "Preference for its own model family: not measured; the data does not name the writers."
TRIED: dict[str, str] = {
    "longer": "The same answer with needless words wins in {share} of {items} pairs",
    "lists": "The same answer as a list wins in {share} of {items} pairs",
    "follows_user": "{share} of {items} right decisions change to the user's wrong opinion",
    "constant": "One polite text, whatever was asked, wins {share} of {items} comparisons",
    "null_model": "One text that imitates its prompt wins {share} of {items} comparisons",
    "instruction": "A worse answer that tells it to choose it wins {share} of {items} comparisons",
    "repetition": "A worse answer that is repeated wins {share} of {items} comparisons",
    "empty": "An empty answer wins {share} of {items} comparisons",
}
"""Measure to its sentence. Half a win is one in one order only."""


def shown(facts: Facts, made: Generation, request: GenerationRequest) -> JudgeShown:
    """The judge of a generation, as policy in force judges its card on that day."""
    judge = judge_of(request)
    if judge is None or facts.policies is None:
        return JudgeShown(passed=False, verdict=NO_CARD if judge is None else NO_POLICY)
    at = instant_of(made.at)
    standing = judging.standing(facts.view, judge_digest(judge), facts.policies, at)
    if standing.card is None:
        return JudgeShown(passed=False, verdict=NO_CARD)
    card = standing.card.predicate
    verdict = f"it passed its check; the card counts until {standing.last_day}"
    if not standing.passed:
        verdict = "; ".join(f"{reason.message} ({reason.found})" for reason in standing.reasons)
    declared = facts.cards.get(card.labelled)
    beyond = declared.beyond_raters if declared else ""
    return JudgeShown(
        passed=standing.passed,
        verdict=verdict,
        figures=[
            *sentences(card.figures, facts.policies.evaluation.confidence),
            *([f"Its check took {spent(card.cost)}."] if card.cost else []),
        ],
        labelled=card.labelled,
        beyond_raters=beyond,
        evidence=[standing.card.index],
    )


def of_suite(evaluation: Evaluate) -> str | None:
    """Who compared the answers of an evaluation; None where no judge did."""
    by = evaluation.judged_by
    if by is None:
        return None
    alike, asked = by.consistent, by.consistent + by.inconsistent + by.no_verdict
    text = f"Judge {by.name}, against {by.opponent_name}: {alike} of {asked} pairs"
    text = f"{text} decided alike in both orders; {by.equal} pairs of equal answers"
    return f"{text}; {spent(by.cost)}" if by.cost else text


def spent(cost: JudgingCost) -> str:
    """What judging took."""
    text = f"{cost.requests:,} requests"
    if cost.tokens is None:
        return f"{text}, tokens not known"
    text = f"{text}, {cost.tokens:,} tokens"
    if cost.written is not None:
        text += f", {cost.written:,} of them written"
    if cost.millionths is None:
        return f"{text}, cost not known"
    return f"{text}, {cost.millionths / 1e6:,.2f} {cost.currency}"


def sentences(figures: JudgeFigures, confidence: float) -> Iterator[str]:
    """One sentence for each figure."""
    yield from _agreement(figures)
    if figures.orders.items:
        share = _share(judging.win_rate(figures.orders, confidence))
        yield f"It decides {share} of {figures.orders.items} pairs alike in both orders."
    for name, tried in figures.measures.items():
        yield _tried(name, tried, confidence)
    family = figures.own_family
    if family and family.people_prefer_other.items and family.people_prefer_own.items:
        excess = _share(judging.family_excess(family, confidence))
        yield f"It errs for its own model family more often than against it by {excess}."
    else:
        yield NO_FAMILY


def _agreement(figures: JudgeFigures) -> Iterator[str]:
    agreement = figures.agreement
    kappa, people = agreement.kappa, agreement.kappa_of_people
    if kappa is None or kappa.low is None:
        yield f"Agreement with people: no interval, from {agreement.items} pairs."
        return
    text = f"Agreement with people beyond chance (kappa) is {kappa.value:.2f}"
    text += f" [{kappa.low:.2f}, {kappa.high or 0:.2f}] on {agreement.items} pairs"
    if people is None:
        yield f"{text}; how far people agree with each other is not known."
    else:
        yield f"{text}; that of {agreement.raters} people with each other is {people.value:.2f}."


def _tried(name: str, tried: Tried, confidence: float) -> str:
    if not tried.items:
        return f"{name.replace('_', ' ')}: no pair to try it with."
    share = _share(judging.win_rate(tried, confidence))
    return f"{TRIED[name].format(share=share, items=tried.items)}."


def _share(found: Interval) -> str:
    return f"{found.mean:.1%} [{found.low:.1%}, {found.high:.1%}]"
