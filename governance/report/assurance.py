"""Assurance of results: only stated by their signer, or reproduced.

1. Only statements of keys that had the right to sign them count (`Facts.view`).
2. A reproduction under the trainer's key shows that the result does not depend on chance. A
   reproduction under another key shows also that it does not depend on that signer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from governance.history.lineage import ModelNode, evaluated, evaluations, reproduced, reproductions
from governance.log.evidence import Evidence
from governance.report.facts import Facts

SELF = "self-attested; never run again"
SHOWN = 3
"""Reproductions shown of each training: the latest ones."""


def words(facts: Facts, node: ModelNode) -> str:
    """The assurance of one training, as text."""
    repeats = reproductions(facts.view, node)
    return "; ".join(_words(repeat, node) for repeat in repeats[-SHOWN:]) or SELF


def entries(facts: Facts, node: ModelNode) -> list[int]:
    """The log entries that `words` is about."""
    return [repeat.index for repeat in reproductions(facts.view, node)[-SHOWN:]]


def of_all(facts: Facts) -> str:
    """The assurance of all trainings: that of the weakest one."""
    missing = [
        node.name
        for node in facts.trained
        if not any(map(came_again, reproductions(facts.view, node)))
    ]
    if not missing:
        exact = all(
            any(_exact(repeat) for repeat in reproductions(facts.view, node))
            for node in facts.trained
        )
        return "reproduced: same bytes" if exact else "reproduced within the band measured"
    if len(missing) == len(facts.trained):
        return "self-attested"
    return f"self-attested ({', '.join(missing)}); the others reproduced"


def by_another(facts: Facts) -> bool:
    """Whether every training behind the version was reproduced under another key than the
    trainer's.
    """
    return bool(facts.trained) and all(
        any(
            came_again(repeat) and _other(repeat, node)
            for repeat in reproductions(facts.view, node)
        )
        for node in facts.trained
    )


def scored_again(facts: Facts, own: Evidence) -> list[Evidence]:
    """Evaluations of the same model on the same suite under another key."""
    return [evaluation for evaluation in _scored(facts, own) if evaluation.keyid != own.keyid]


def scored_otherwise(facts: Facts, own: Evidence) -> bool:
    """Whether the same key recorded different scores of the same model on the same suite. The
    last scores count.
    """
    by_same_key = [
        evaluation
        for evaluation in _scored(facts, own)
        if evaluation.keyid == own.keyid and evaluated(evaluation).not_run is None
    ]
    return not same_scores(own, by_same_key)


def _scored(facts: Facts, own: Evidence) -> list[Evidence]:
    evaluations_of_model = evaluations(facts.view, evaluated(own).model, evaluated(own).suite_name)
    return [
        evaluation
        for evaluation in evaluations_of_model
        if evaluated(evaluation).suite == evaluated(own).suite
    ]


def same_scores(own: Evidence, others: Iterable[Evidence]) -> bool:
    """Whether all evaluations have the same scores."""
    return all(evaluated(evaluation).scores == evaluated(own).scores for evaluation in others)


def of_scores(facts: Facts, evaluations_: Sequence[Evidence]) -> str:
    """The assurance of all evaluations: that of the weakest one."""
    if several := [
        evaluation.predicate.stage
        for evaluation in evaluations_
        if scored_otherwise(facts, evaluation)
    ]:
        return (
            "self-attested; scored more than once, with other scores, and the last count"
            f" ({', '.join(several)})"
        )
    rescored = {
        evaluation.predicate.stage: (evaluation, scored_again(facts, evaluation))
        for evaluation in evaluations_
    }
    differ = [stage for stage, (own, others) in rescored.items() if not same_scores(own, others)]
    missing = [stage for stage, (_, others) in rescored.items() if not others]
    if differ:
        return f"scored again under another key: other scores ({', '.join(differ)})"
    if len(missing) == len(rescored):
        return "self-attested"
    return (
        f"self-attested ({', '.join(missing)}); the others scored again"
        if missing
        else "scored again: same scores"
    )


def came_again(repeat: Evidence) -> bool:
    """Whether the repeat gave the same bytes, or weights within a measured band."""
    return reproduced(repeat).same_bytes or reproduced(repeat).largest_difference is not None


def _exact(repeat: Evidence) -> bool:
    return reproduced(repeat).same_bytes


def _other(repeat: Evidence, node: ModelNode) -> bool:
    return node.train is not None and repeat.keyid != node.train.keyid


def _words(repeat: Evidence, node: ModelNode) -> str:
    result = reproduced(repeat)
    key = "under another key" if _other(repeat, node) else "under the key that trained it"
    key += ", a development key" if repeat.development else ""
    where = f"on {result.device}, entry {repeat.index} ({key})"
    differ = f"{result.differing} of {result.tensors} tensors differ"
    if result.same_bytes:
        return f"reproduced: same bytes {where}"
    if result.largest_difference is None:
        return f"NOT reproduced: {differ}, by more than numbers tell, {where}"
    if result.differing == 0:
        return f"reproduced: same weights, other files of the model differ, {where}"
    return f"reproduced within {result.largest_difference:.3g}: {differ}, {where}"
