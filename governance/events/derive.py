"""The events of a log: those of its entries, and those of its open tasks.

1. An entry gives an event if it counts: history decides that, not this module.
2. An open task (`governance.people.pending`) gives an event when it is first seen, one within
   `NEAR` of its deadline, and one when the deadline is over. A task that is seen late gives no
   event "near". A task that ends and begins again gives new events.
3. The table `TOPICS` says which types a kind of task has. A kind that it does not name has the
   types `task.*`, so that no task is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from governance.attest.predicates import GateDecision, Generation, Promotion, Refusal
from governance.base.time import instant_of
from governance.events.event import (
    Data,
    Event,
    code_name,
    event,
    link,
    model_name,
    version_name,
)
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.log.views import made_at
from governance.people.pending import Wait

NEAR = timedelta(hours=24)
NOTHING, FIRST, CLOSE, OVER = range(4)
"""How much was told of a task."""
_ACTIONS = {"promote": "promotion", "rollback": "rollback", "retire": "retirement"}


class Topic(NamedTuple):
    """The types of a kind of task: when it is first seen, near its deadline, after it."""

    first: str | None
    near: str | None = None
    over: str | None = None


_APPROVAL = Topic("approval.wanted", None, "approval.late")
_ERASURE = Topic("erasure.wanted", "erasure.due", "erasure.late")
TOPICS = {
    "no_owners": Topic(None),  # the project has no governed log: nobody waits
    "incident_open": Topic(None),  # `incident.opened` has said so
    "first_policies_unsigned": _APPROVAL,
    "policies_proposed": _APPROVAL,
    "checkpoint_key_proposed": _APPROVAL,
    "registered_twice": _APPROVAL,
    "moved_alone": _APPROVAL,
    "move_requested": _APPROVAL,
    "approvals_missing": _APPROVAL,
    "gate_waits": _APPROVAL,
    "no_packet": Topic("packet.wanted"),
    "packet_changed": Topic("packet.wanted"),
    "approved": Topic("request.wanted"),
    "clock": Topic("clock.started", "clock.due", "clock.late"),
    "waiver": Topic("waiver.ending", "waiver.due", "waiver.ended"),
    "authorization": Topic("authorization.ending", None, "authorization.ended"),
    "review": Topic("review.wanted", "review.due", "review.late"),
    "monitoring": Topic("monitoring.breached"),
    "rollout": Topic("rollout.wanted"),
    "rollout_due": Topic("rollout.unanswered"),
    "erasure": _ERASURE,
    "not_erased": _ERASURE,
}
OTHER = Topic("task.wanted", "task.due", "task.late")


@dataclass(frozen=True)
class Place:
    """Where events come from: the project, its log, and the address of its server's pages."""

    project: str
    origin: str
    server: str | None = None

    def data(self, entries: int, **said: Any) -> Data:
        """The content of an event. Names that cannot be names of models are left out."""
        model, version = (
            model_name(said.pop("model", None)),
            version_name(said.pop("version", None)),
        )
        return Data(
            project=self.project,
            origin=self.origin,
            entries=entries,
            model=model,
            version=version,
            alias=model_name(said.pop("alias", None)),
            link=link(self.server, model, version),
            **said,
        )


# -- Entries ---------------------------------------------------------------------------------------
def of_entries(now: LogState, since: int, place: Place) -> list[Event]:
    """(1) The events of the entries from `since` on, in the order of the log."""
    statements = [*_moves(now), *_refused(now), *_calls(now), *_incidents(now)]
    new = [found for found in statements if found[0].index >= since]
    new.sort(key=lambda found: found[0].index)
    return [_of_entry(statement, kind, said, place) for statement, kind, said in new]


Found = tuple[Evidence[Any], str, dict[str, Any]]
"""A statement, the type of its event, and what the event says of it."""


def _of_entry(statement: Evidence[Any], kind: str, said: dict[str, Any], place: Place) -> Event:
    key = [str(statement.index), statement.digest]
    about = {"entry": statement.index, "statement": statement.digest}
    data = place.data(statement.index + 1, **about, **said)
    return event(kind, key, instant_of(made_at(statement)), data)


def _moves(now: LogState) -> Iterator[Found]:
    """Decisions on governed aliases."""
    for statement in now.decisions():
        move: Promotion = statement.predicate
        kind = f"{_ACTIONS[move.action]}.{'done' if move.allowed else 'refused'}"
        named = {"model": move.model, "version": move.version, "alias": move.alias}
        yield statement, kind, {**named, "codes": _codes(move.findings)}


def _refused(now: LogState) -> Iterator[Found]:
    """Gates and generations that were refused."""
    for gate in now.view.all(GateDecision):
        if not gate.predicate.allowed:
            yield gate, "gate.refused", {"codes": _codes(gate.predicate.findings)}
    for generation in now.view.all(Generation):
        if not generation.predicate.allowed:
            yield generation, "generation.refused", {"codes": _codes(generation.predicate.findings)}


def _calls(now: LogState) -> Iterator[Found]:
    for call in now.view.all(Refusal):
        yield call, "call.refused", {"model": call.predicate.model}


def _incidents(now: LogState) -> Iterator[Found]:
    begins = {case.opened for case in now.timeline.cases}
    for statement in now.timeline.all_incidents:
        said = statement.predicate
        kind = "incident.opened" if statement.index in begins else "incident.updated"
        kind = "incident.closed" if said.state == "closed" else kind
        named = {"model": said.model, "version": said.version, "severity": said.severity}
        yield statement, kind, named


def _codes(findings: Iterable[Any]) -> list[str]:
    codes = (code_name(finding.code) for finding in findings)
    return list(dict.fromkeys(code for code in codes if code is not None))


# -- Tasks -----------------------------------------------------------------------------------------
def of_tasks(
    waits: Iterable[Wait], told: Mapping[str, int], size: int, at: datetime, place: Place
) -> tuple[list[Event], dict[str, int]]:
    """(2) The events of the tasks that are open at a time, and how much is told of each then.
    `told`: how much was told before. `size`: the entries of the log.
    """
    events: list[Event] = []
    by_now: dict[str, int] = {}
    for wait in waits:
        key = key_of(wait)
        if key in by_now:
            continue
        before, reached = told.get(key, NOTHING), _reached(wait, at)
        by_now[key] = max(before, reached)
        topic = TOPICS.get(wait.reason, OTHER)
        for phase, kind in ((FIRST, topic.first), (CLOSE, topic.near), (OVER, topic.over)):
            is_skipped = phase == CLOSE and reached == OVER
            if kind is not None and before < phase <= reached and not is_skipped:
                events.append(_of_task(wait, kind, key, size, at, place))
    return events, by_now


def key_of(wait: Wait) -> str:
    """Identifies a task as long as it is open."""
    about = wait.about
    what = about.digest or str(about.entry)
    return "/".join(
        [wait.reason, what, *map(str, (about.model, about.version, about.alias, about.code))]
    )


def _reached(wait: Wait, at: datetime) -> int:
    if wait.due is None:
        return FIRST
    due = instant_of(wait.due)
    if at >= due:
        return OVER
    return CLOSE if at >= due - NEAR else FIRST


def _of_task(wait: Wait, kind: str, key: str, size: int, at: datetime, place: Place) -> Event:
    about = wait.about
    data = place.data(
        size,
        entry=about.entry,
        digest=about.digest,
        reason=wait.reason,
        model=about.model,
        version=about.version,
        alias=about.alias,
        code=code_name(about.code),
        due=wait.due,
    )
    return event(kind, [key, str(size)], at, data)
