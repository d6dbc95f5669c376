"""The reward functions of the version's training stages, as their sources declare them.

A source is read from the statement of the stage's gate, where its digest proves it. A project's
files are not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.requests import GateRequest, text_of
from governance.attest.reward_source import SCORER, RewardDeclaration, declared, parsed
from governance.base.errors import ConfigError
from governance.history.lineage import ModelNode
from governance.report.facts import Facts
from governance.report.model.training import CounterMetric, RewardFunction

LONGEST = 256 << 10
"""Characters of a source that is read."""


def rewards(facts: Facts) -> list[RewardFunction]:
    """Every reward function of every stage, in the order of the chain."""
    return [
        row
        for node in facts.trained
        if (request := facts.requests.get(node.sha256))
        for row in _of_stage(facts, node, request)
    ]


def _of_stage(facts: Facts, node: ModelNode, request: GateRequest) -> Iterator[RewardFunction]:
    for name, digest in sorted(request.rewards.items()):
        row = RewardFunction(
            stage=node.name,
            name=name,
            digest=digest,
            evidence=[node.gate.index] if node.gate else [],
        )
        if name == SCORER:
            scorer = request.scorer.name if request.scorer else "not recorded"
            yield row.model_copy(update={"scorer": scorer})
        else:
            yield row.model_copy(update=_declaration(facts, node, name, digest))


def _declaration(facts: Facts, node: ModelNode, name: str, digest: str | None) -> dict[str, object]:
    """The fields of a declaration; or why there is none."""
    text = text_of(node.gate.predicate, digest) if node.gate and digest else None
    if text is None:
        return {"not_declared": "the log does not have its source"}
    if len(text) > LONGEST:
        return {"not_declared": f"its source has more than {LONGEST:,} characters"}
    try:
        found = declared(parsed(text, name), name)
    except ConfigError as error:
        return {"not_declared": f"its declaration cannot be read: {error.found}"}
    if found == RewardDeclaration():
        return {"not_declared": "its source says nothing of it"}
    return {
        "purpose": found.purpose,
        "range": found.bounds,
        "blind_spots": found.blind_spots,
        "counter_metrics": [
            CounterMetric(name=metric, measured_on=_measured_on(facts, node, metric))
            for metric in found.counter_metrics
        ],
    }


def _measured_on(facts: Facts, node: ModelNode, metric: str) -> list[str]:
    """The suites on which the model of the stage, or the version, has scores of a metric."""
    return [
        suite.name
        for suite in facts.suites
        if any(
            (evaluation := facts.evaluation(model, suite))
            and any(score is not None for score in evaluation.predicate.scores.get(metric, ()))
            for model in (node, facts.released)
        )
    ]
