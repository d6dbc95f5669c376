"""Assurance of results: only stated by their signer, or reproduced.

1. Only statements of keys that had the right to sign them count (`Facts.view`).
2. A reproduction under the trainer's key shows that the result does not depend on chance. A
   reproduction under another key shows also that it does not depend on that signer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from governance.attest.predicates import Evaluate, Reproduction
from governance.history.lineage import ModelNode, evaluations, reproductions
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


def by_other_keys(facts: Facts, node: ModelNode) -> list[Evidence[Reproduction]]:
    """The reproductions of a training under other keys than the trainer's."""
    repeats = reproductions(facts.view, node)
    return [repeat for repeat in repeats if node.train and repeat.keyid != node.train.keyid]


def came_again(repeat: Evidence[Reproduction]) -> bool:
    """Whether the repeat gave the same bytes, or weights within a measured band."""
    return repeat.predicate.same_bytes or repeat.predicate.largest_difference is not None


def of_trainings(facts: Facts) -> str:
    """The assurance of all trainings: that of the weakest one."""
    repeats = {node.name: reproductions(facts.view, node) for node in facts.trained}
    missing = [name for name, found in repeats.items() if not any(map(came_again, found))]
    if len(missing) == len(repeats):
        return "self-attested"
    if missing:
        return f"self-attested ({', '.join(missing)}); the others reproduced"
    if all(any(repeat.predicate.same_bytes for repeat in found) for found in repeats.values()):
        return "reproduced: same bytes"
    return "reproduced within the band measured"


def of_scores(facts: Facts, evaluations_: Sequence[Evidence[Evaluate]]) -> str:
    """The assurance of all evaluations: that of the weakest one."""
    missing, several, differ = [], [], []
    for own in evaluations_:
        stage, others = own.predicate.stage, scored_again(facts, own)
        if not same_scores(own, _scored(facts, own, same_key=True)):
            several.append(stage)
        if not same_scores(own, others):
            differ.append(stage)
        if not others:
            missing.append(stage)
    if several:
        what = "scored more than once, with other scores, and the last count"
        return f"self-attested; {what} ({', '.join(several)})"
    if differ:
        return f"scored again under another key: other scores ({', '.join(differ)})"
    if len(missing) == len(evaluations_):
        return "self-attested"
    if missing:
        return f"self-attested ({', '.join(missing)}); the others scored again"
    return "scored again: same scores"


def scored_again(facts: Facts, own: Evidence[Evaluate]) -> list[Evidence[Evaluate]]:
    """Evaluations of the same model on the same suite under another key."""
    return _scored(facts, own, same_key=False)


def same_scores(own: Evidence[Evaluate], others: Iterable[Evidence[Evaluate]]) -> bool:
    """Whether all evaluations that were run have the same scores. Nothing is said of scores that do
    not count.
    """
    if own.predicate.not_shown:
        return True
    return all(other.predicate.scores == own.predicate.scores for other in others)


def _scored(facts: Facts, own: Evidence[Evaluate], *, same_key: bool) -> list[Evidence[Evaluate]]:
    model, suite = own.predicate.model, own.predicate.suite
    return [
        other
        for other in evaluations(facts.view, model, own.predicate.suite_name)
        if other.predicate.suite == suite
        and (other.keyid == own.keyid) == same_key
        and not (same_key and other.predicate.not_run)
    ]


def _words(repeat: Evidence[Reproduction], node: ModelNode) -> str:
    result = repeat.predicate
    other = node.train is not None and repeat.keyid != node.train.keyid
    key = "under another key" if other else "under the key that trained it"
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
