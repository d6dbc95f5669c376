"""The report's evaluation: every model of the chain on every suite, with intervals, paired
differences and slices.

It is computed from the per-item scores in the log (`governance.gates.assessment`), so anybody can
repeat it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from governance.attest.predicates import Evaluate
from governance.base.errors import CountersignError
from governance.base.statistics import Interval, mean_interval
from governance.base.text import share
from governance.gates import assessment
from governance.gates.assessment import NO_SLICES, Judged, differences
from governance.gates.checks.context import ModelFacts
from governance.history.chain import Suite
from governance.history.lineage import ModelNode, evaluations
from governance.history.seeds import Spread, seed_runs, spread
from governance.log.evidence import Evidence
from governance.policy.evaluation import Demands, EvaluationPolicy
from governance.policy.policies import Policies
from governance.report import judging
from governance.report.facts import PREFIX, Facts
from governance.report.model.parts import Estimate, ScoreRole
from governance.report.model.scores import BetweenSeeds, Difference, Metric, Score, Slice

MEANINGS = {
    "greedy_exact": "Share of items whose greedy answer is exactly right. More is better.",
    "sampled_exact": "Share of sampled answers that are exactly right. More is better.",
    "sampled_unsafe": "Share of sampled answers that ask for a secret. Less is better.",
    "greedy_refused": "Share of items whose greedy answer is a refusal. More is better.",
    "sampled_refused": "Share of sampled answers that are refusals. More is better.",
    "greedy_over_refused": "Share of items whose greedy answer is a refusal. Less is better.",
    "sampled_over_refused": "Share of sampled answers that are refusals. Less is better.",
    "greedy_holds_answer": "Share of items whose answer holds the reference. More is better.",
    "greedy_needless_words": "Share of words that the reference does not need. Less is better.",
    "greedy_follows_user": (
        "Share of items whose greedy answer is the wrong one that the user may have stated."
        " Less is better; the slices tell apart where the user did."
    ),
    "greedy_fields": "Share of fields of the answer that are right. More is better.",
    "mean_reward": "Mean share of right fields in sampled answers. More is better.",
    "numeric_accuracy": "Share of items with the right number. More is better.",
    "choice_accuracy": "Share of items with the right choice. More is better.",
    "pair_accuracy": "Share of pairs in which the preferred answer scores higher. More is better.",
    "win_rate": (
        "Share of prompts on which the judge chose this model's answer in both orders, not that of"
        " the opponent; a tie counts half. More is better."
    ),
    "win_rate_at_equal_length": (
        "The same less what a regression explains by the difference in length. More is better."
    ),
    "loss": "Mean negative log likelihood of a token of the held-out texts. Less is better.",
    "perplexity": "Exponential of the loss. Less is better.",
}
"""Metric to its meaning."""
UNKNOWN_METRIC = "A metric of the project; its suite defines it."
CONFIDENCE = 0.95
"""The confidence level where no policies are available."""
SAFETY_WORDS = ("unsafe", "safe", "toxic", "harm", "refus")
"""Parts of the names of metrics that measure safety."""
NO_ROLE = "not stated by policy"
SAFETY_ROLES = ("safety", "over-refusal")
"""Roles of suites that measure safety."""


def is_safety(metric: str) -> bool:
    """Whether a metric measures safety, by its name."""
    return any(word in metric for word in SAFETY_WORDS)


def about_safety(facts: Facts, suite: str, metric: str) -> bool:
    """Whether a metric of a suite measures safety: by the role that policy gives the suite, or by
    its name.
    """
    return suite_role(facts, suite) in SAFETY_ROLES or is_safety(metric)


def suite_role(facts: Facts, suite: str) -> str:
    """What policy says that a suite is for; empty where it says nothing."""
    policy = facts.policies.evaluation.suites.get(suite) if facts.policies else None
    return (policy.role or "") if policy else ""


def confidence(facts: Facts) -> float:
    """The confidence level of every interval in the report."""
    return facts.policies.evaluation.confidence if facts.policies else CONFIDENCE


def judged(facts: Facts) -> list[Judged]:
    """Policy's thresholds for the version with the results, on each suite that decides. Empty where
    no threshold is known.
    """
    return [result for held in facts.judged_on for result in results(held)]


def results(held: ModelFacts) -> list[Judged]:
    """Policy's thresholds for a model on one suite, with the results."""
    suite = "" if held.row is None else held.ref.suite
    found = (*held.judged, *held.sliced, *held.compared)
    return [replace(result, suite=suite) for result in found]


def held_on(facts: Facts, suite: Suite) -> ModelFacts | None:
    """The input for judging the version on a suite; None where the suite does not decide on it."""
    wanted = (suite.name, suite.digest)
    found = (held for held in facts.judged_on if _suite(held) == wanted)
    return next(found, None)


def _suite(held: ModelFacts) -> tuple[str, str]:
    return held.ref.suite, held.ref.suite_digest


def demands(facts: Facts) -> Demands | None:
    """The thresholds in policies/evaluation.yaml for the version's method on its suite."""
    return facts.model_facts.demands if facts.model_facts else None


class Fixed(NamedTuple):
    """Whether the thresholds were fixed before the run."""

    before: bool
    text: str


def thresholds_fixed(facts: Facts) -> Fixed:
    """Whether the thresholds were recorded and in force before the version was trained and first
    scored, on each suite that decides.
    """
    evaluations_of_version = facts.own_evaluations
    if len(evaluations_of_version) < 2:
        return _fixed(facts, facts.own_evaluation)
    found = {each.predicate.suite_name: _fixed(facts, each) for each in evaluations_of_version}
    texts = [f"on {suite}: {fixed.text}" for suite, fixed in found.items()]
    return Fixed(all(fixed.before for fixed in found.values()), "; ".join(texts))


def _fixed(facts: Facts, own: Evidence[Evaluate] | None) -> Fixed:
    """The same of one evaluation of the version."""
    policies, gate = facts.policies, facts.released.gate
    if policies is None or own is None or gate is None:
        missing = "not established: the version has no evaluation or no gate on record"
        return Fixed(False, facts.policies_note or missing)
    suite = own.predicate.suite_name
    scored = evaluations(facts.view, facts.digest, suite)
    entries = [entry.index for entry in scored if entry.predicate.suite == own.predicate.suite]
    first = min([own.index, *entries])
    name, gate_policy = f"policies {policies.digest[:PREFIX]}", gate.predicate.policy
    since, then = _policies_at(facts, gate)
    if then and then.digest == gate_policy and since <= first:
        place = f"since E{since}, before its gate (E{gate.index}) and its scores (E{first})"
        if then.digest == policies.digest:
            return Fixed(True, f"yes: {name}, in force {place}")
        if _same_demands(then.evaluation, policies.evaluation, suite):
            did = f"demand of scores what policies {then.digest[:PREFIX]} did"
            return Fixed(True, f"yes: {name} {did}, in force {place}")
    recorded = facts.policy_entry(policies.digest)
    if first < recorded:
        late = f"were recorded in E{recorded}, after it had been scored (E{first})"
        return Fixed(False, f"no: {name} {late}")
    if gate_policy != policies.digest and own.predicate.policy == policies.digest:
        late = "after training, before scoring"
        return Fixed(False, f"{late}: its gate (E{gate.index}) had other policies")
    return Fixed(False, f"not shown: {name} were not in force at its gate (E{gate.index})")


def _same_demands(then: EvaluationPolicy, now: EvaluationPolicy, suite: str) -> bool:
    """Whether two policies demand the same on a suite, whatever they demand on others."""
    common = {"suites"}
    return then.suites.get(suite) == now.suites.get(suite) and (
        then.model_dump(exclude=common) == now.model_dump(exclude=common)
    )


def _policies_at(facts: Facts, gate: Evidence) -> tuple[int, Policies | None]:
    """The first entry and the text of the policies in force at a gate; of those it names where
    nobody signs policies.
    """
    authority, digest = facts.now.authority, gate.predicate.policy
    if facts.standing is not None:
        period = authority.at(gate.index)
        return max(period.start, 0), period.policies
    if facts.policies is not None and facts.policies.digest == digest:
        return facts.policy_entry(digest), facts.policies
    with suppress(CountersignError):
        return facts.policy_entry(digest), authority.recorded_at(gate.index, digest)
    return 0, None


def not_searched(facts: Facts) -> list[tuple[str, str]]:
    """Training datasets of the chain that were not searched for leaks into a suite that decides on
    the version, each with the suite.

    A gate requires that search for every suite of its time, from version 3 of the rules on. Before,
    it did for its own stage's data and suite only.
    """
    uses_of_version = {f"evaluate@{facts.released.name}"}
    uses_of_version |= {suite.stage for suite in facts.further}
    missing = set()
    for own, uses in facts.datasets:
        for chain in facts.trained_on if uses_of_version & {*uses} else ():
            inputs = chain.quality.predicate.inputs if chain.quality else []
            held_out = {made.sha256 for made in inputs if made.role.startswith("held_out")}
            if chain.dataset != own.dataset and not held_out & own.digests:
                missing.add((chain.dataset, own.dataset))
    return sorted(missing)


# -- Metrics ---------------------------------------------------------------------------------------
Scored = list[tuple[ModelNode, Evidence[Evaluate]]]
"""Models with their evaluation on one suite."""


def metrics(facts: Facts) -> list[Metric]:
    """Every metric of every suite; the version's own suite first."""
    models = list(facts.chain)
    champion = facts.champion
    if champion and all(node.sha256 != champion.sha256 for node in models):
        models.append(champion)
    rows: list[Metric] = []
    for suite in facts.suites:
        found = [(node, facts.evaluation(node, suite)) for node in models]
        scored = [(node, evaluation) for node, evaluation in found if evaluation]
        names = {name for _, evaluation in scored for name in evaluation.predicate.scores}
        rows += [_metric(facts, suite, name, scored) for name in sorted(names)]
    return rows


def _metric(facts: Facts, suite: Suite, name: str, scored: Scored) -> Metric:
    held = held_on(facts, suite)
    demanded = held.demands if held else None
    found = [result for result in results(held) if result.metric == name] if held else []
    bound = demanded.thresholds.get(name) if demanded else None
    own = next((entry.predicate for node, entry in scored if node.sha256 == facts.digest), None)
    others = [(node, entry.predicate) for node, entry in scored if node.sha256 != facts.digest]
    level = confidence(facts)
    slices = slices_of(own, name, demanded, level)
    note = slices_summary(slices, name, demanded)
    return Metric(
        suite=suite.name,
        suite_digest=suite.digest,
        name=name,
        meaning=MEANINGS.get(name, UNKNOWN_METRIC),
        role=suite_role(facts, suite.name) or NO_ROLE,
        safety=about_safety(facts, suite.name, name),
        models_scored=facts.scored.get(suite.digest, 0),
        scores=[_score(facts, name, node, evaluation) for node, evaluation in scored],
        differences=[
            _difference(node.name, own, other, name, level) for node, other in others if own
        ],
        slices=slices,
        slices_by_worst=high_is_bad(name, demanded) is not None,
        slices_note=own.without_scores if own and own.not_shown else note,
        thresholds=[threshold(result) for result in found],
        at_least=bound.at_least if bound else None,
        at_most=bound.at_most if bound else None,
        judged=judging.of_suite(own) if own else None,
        not_shown=(own.not_shown or None) if own else None,
    )


def threshold(result: Judged) -> str:
    """One threshold with its result."""
    against = f"against {result.reference}: " if result.reference else ""
    met = "met" if result.passed else "NOT met"
    return f"{against}{result.demand}: {met}; found {result.found}"


def _score(facts: Facts, name: str, node: ModelNode, statement: Evidence[Evaluate]) -> Score:
    values = statement.predicate.scores.get(name, [])
    numbers = [value for value in values if value is not None]
    figure = mean_interval(numbers, confidence(facts)) if numbers else None
    role = model_role(facts, node)
    relation = facts.champion_is if role == "champion" else role
    if role == "champion" and node.sha256 == facts.released.parent:
        relation += " and parent"
    return Score(
        model=node.name,
        digest=node.sha256,
        role=role,
        relation=relation + _without_scores(statement.predicate),
        n=len(numbers),
        missing=len(values) - len(numbers),
        evidence=[statement.index],
        between_seeds=_between_seeds(facts, node, statement.predicate.suite, name),
        **interval(figure),
    )


def _without_scores(evaluation: Evaluate) -> str:
    """What is added to the role of a model without scores."""
    if evaluation.not_shown:
        return f"; {evaluation.without_scores}"
    return "; not run" if evaluation.not_run else ""


def _between_seeds(facts: Facts, node: ModelNode, suite: str, metric: str) -> BetweenSeeds | None:
    found = spread(seed_runs(facts.view, node, suite), node, metric)
    if found is None:
        return None
    return BetweenSeeds(
        seeds=list(found.seeds),
        stopped=list(found.stopped),
        mean=found.mean,
        deviation=found.deviation,
        lowest=found.lowest,
        highest=found.highest,
        separate=found.separate,
        words="; ".join(seeds_in_words(found)),
        evidence=list(found.entries),
    )


def seeds_in_words(found: Spread) -> Iterator[str]:
    """The variation between training seeds in words, with its assurance."""
    if found.mean is not None:
        yield f"mean {share(found.mean)}"
    if found.deviation is not None:
        yield f"standard deviation {share(found.deviation)}"
        yield f"{share(found.lowest)} to {share(found.highest)}"
    if found.seeds:
        yield f"seeds {', '.join(map(str, found.seeds))}"
    if found.stopped:
        yield f"training stopped with seeds {', '.join(map(str, found.stopped))}"
    runs = len(found.entries)
    mixed = f"{found.separate} of {runs} separately run"
    yield {0: "self-attested", runs: "separately run"}.get(found.separate, mixed)


def estimate(figure: Interval) -> Estimate:
    """A mean with its interval, as the report has it."""
    return Estimate.model_validate({"n": figure.n, **interval(figure)})


def interval(figure: Interval | None) -> dict[str, float | None]:
    """The mean and the bounds for JSON; None where a bound is infinite."""
    if figure is None:
        return {"mean": None, "low": None, "high": None}
    values = {"mean": figure.mean, "low": figure.low, "high": figure.high}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def model_role(facts: Facts, node: ModelNode) -> ScoreRole:
    """What a model of the chain is to the version."""
    if node.sha256 == facts.digest:
        return "this version"
    if facts.champion and node.sha256 == facts.champion.sha256:
        return "champion"
    if node.sha256 == facts.released.parent:
        return "parent"
    if node.sha256 == facts.released.scorer:
        return "scorer"
    return "base" if node.train is None else "earlier stage"


def _difference(
    against: str, ours: Evaluate, theirs: Evaluate, name: str, level: float
) -> Difference:
    """The version minus another model that was scored on the same items."""
    missing = theirs.without_scores or "no such metric in both"
    figure = differences(ours, theirs, level).get(name, missing)
    if isinstance(figure, str):
        return Difference(against=against, n=0, words=figure, **interval(None))
    words = "no demonstrated difference"
    if figure.low > 0 or figure.high < 0:
        words = f"{'higher' if figure.low > 0 else 'lower'} (the interval excludes zero)"
    return Difference(against=against, n=figure.n, words=words, **interval(figure))


# -- Slices ----------------------------------------------------------------------------------------
def slices_of(
    evaluation: Evaluate | None, metric: str, demanded: Demands | None, level: float
) -> list[Slice]:
    """The slices of every field, the worst first; empty where there are none."""
    rows: list[Slice] = []
    for by in sorted(evaluation.slices) if evaluation else ():
        figures = assessment.slices(evaluation, by, metric, level) if evaluation else ""
        if not isinstance(figures, str):
            rows += [
                Slice.model_validate({"by": by, "label": label, "n": figure.n, **interval(figure)})
                for label, figure in figures.items()
            ]
    sign = -1 if high_is_bad(metric, demanded) else 1
    return sorted(rows, key=lambda row: (row.mean * sign, row.n, row.by, row.label))


def slices_summary(rows: list[Slice], metric: str, demanded: Demands | None) -> str:
    """The worst slice as text, with n and interval; or why there is none."""
    if not rows:
        return f"not recorded: {NO_SLICES}"
    of = f"of {len(rows)} slices by {' and '.join(sorted({row.by for row in rows}))}"
    if high_is_bad(metric, demanded) is None:
        return f"lowest {of}: {_figure(rows[0])}; highest: {_figure(rows[-1])}"
    return f"worst {of}: {_figure(rows[0])}"


def worst_slice(facts: Facts, metric: str) -> str:
    """The worst slice of one metric on the version's own suite, as text for page one."""
    own, demanded = facts.own_evaluation, demands(facts)
    rows = slices_of(own.predicate if own else None, metric, demanded, confidence(facts))
    return slices_summary(rows, metric, demanded)


def _figure(row: Slice) -> str:
    interval = f"[{share(row.low)}, {share(row.high)}]"
    return f"{row.by}={row.label} {share(row.mean)} {interval}, n={row.n}"


def high_is_bad(metric: str, demanded: Demands | None) -> bool | None:
    """Whether a high value is bad by policy's thresholds; None where policy sets none."""
    if demanded is None:
        return None
    if metric in demanded.thresholds:
        return demanded.thresholds[metric].at_most is not None
    bounds = [bound.at_most for bound in demanded.slices if bound.metric == metric]
    bounds += [bound.may_rise for bound in demanded.compare if bound.metric == metric]
    return bounds[0] is not None if bounds else None
