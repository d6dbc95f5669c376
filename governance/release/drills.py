"""Rollback drills: the last one in the log, and its result in words."""

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
    """The last drill up to a time, by a signer with the right to sign drills; None without one."""
    drills = [
        statement
        for statement in now.view.all(Drill)
        if (statement.predicate.model, statement.predicate.alias) == (model, alias)
        and subject(statement, "model") == statement.predicate.model_digest
        and (until is None or instant_of(statement.predicate.at) <= until)
    ]
    return drills[-1] if drills else None


def summary(statement: Evidence[Drill] | None, target: str | None) -> str:
    """One drill in a line. `target`: the version that a rollback would restore now."""
    if statement is None:
        return NO_DRILL
    drill = statement.predicate
    took = duration(sum(step.seconds for step in drill.steps))
    what = f"to version {drill.version} ({short(drill.model_digest)}), {took}"
    text = f"passed {moment(drill.at)}: {what}, {drill.items} items asked"
    if not drill.passed:
        failures = [f"{step.name}: {step.found}" for step in drill.steps if not step.passed]
        text = f"FAILED {moment(drill.at)}: {what}; {'; '.join(failures) or 'no step says why'}"
    if target in (None, drill.version):
        return text
    return f"{text}; version {target} is next below now, and was not tried"
