"""Rehearsals of the way back as the log has them: which was the last, and how it is told."""

from __future__ import annotations

from datetime import datetime

from governance.attest.predicates import Drill
from governance.base.text import duration, moment, short
from governance.base.time import instant_of
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.log.evidence import Evidence

NO_DRILL = "not tried: no drill is recorded"


def last(
    now: LogState, model: str, alias: str, until: datetime | None = None
) -> Evidence[Drill] | None:
    """The last rehearsal that counts, up to a time: whoever signed it was given `drill` by
    policy.
    """
    found = [item for item in now.view.all(Drill) if _is_of(item, model, alias)]
    found = [item for item in found if until is None or instant_of(item.predicate.at) <= until]
    return found[-1] if found else None


def summary(item: Evidence[Drill] | None, target: str | None) -> str:
    """One rehearsal in a line. `target`: the version that a rollback would go back to now."""
    if item is None:
        return NO_DRILL
    said = item.predicate
    took = duration(sum(step.seconds for step in said.steps))
    what = f"to version {said.version} ({short(said.model_digest)}), {took}"
    text = f"passed {moment(said.at)}: {what}, {said.items} items asked"
    if not said.passed:
        wrong = [f"{step.name}: {step.found}" for step in said.steps if not step.passed]
        text = f"FAILED {moment(said.at)}: {what}; {'; '.join(wrong) or 'no step says why'}"
    return (
        text
        if target in (None, said.version)
        else f"{text}; version {target} is next below now, and was not tried"
    )


def _is_of(item: Evidence[Drill], model: str, alias: str) -> bool:
    said = item.predicate
    return (said.model, said.alias) == (model, alias) and subject(
        item, "model"
    ) == said.model_digest
