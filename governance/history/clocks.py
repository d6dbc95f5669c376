"""Which legal clocks an incident started, what is due, and what was late.

1. What people say of an incident adds up, from its opening to its closing: kinds and filings are
   joined; of a time and of the severity the latest counts.
2. Without a time of awareness, it is that of the first opening: whoever opens it is aware.
3. A clock runs if policy enables it for one of the incident's kinds, and the rule was in force at
   the trigger. A trigger that nobody has stated yet leaves the clock waiting.
4. Nothing here stops a move. An open incident does (`governance.history.incidents`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import Incident, Severity
from governance.base.time import instant_of

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.policy.clocks import Clock, Clocks, Trigger

State = Literal["waits", "due", "late", "filed", "filed late"]


@dataclass
class Case:
    """One incident of one version, from its opening to its closing."""

    model: str
    version: str
    opened: int
    """Entry of the first opening."""
    opened_at: datetime
    severity: Severity | None = None
    kinds: list[str] = field(default_factory=list)
    stated: dict[Trigger, datetime] = field(default_factory=dict)
    filed: dict[str, datetime] = field(default_factory=dict)
    """Clock to when a person filed what it asks for."""

    def trigger(self, clock: Clock) -> datetime | None:
        """(2) When the clock started; None where nobody has said."""
        if clock.after is not None:
            return self.filed.get(clock.after)
        known = self.stated.get(clock.trigger)
        return self.opened_at if known is None and clock.trigger == "awareness" else known


@dataclass(frozen=True)
class Running:
    """One clock of one incident."""

    model: str
    version: str
    opened: int
    clock: str
    rule: str
    to: str
    checked: bool
    """Whether somebody compared the rule with its source."""
    state: State
    trigger: str
    """What starts it."""
    since: datetime | None
    due: datetime | None
    filed: datetime | None


def cases(statements: Iterable[Evidence[Incident]]) -> list[Case]:
    """(1) The incidents of statements that count, in log order."""
    found: list[Case] = []
    open_cases: dict[tuple[str, str], Case] = {}
    for statement in statements:
        said = statement.predicate
        name = (said.model, said.version)
        if name not in open_cases:
            if said.state == "closed":
                continue  # closed once more, by another person
            at = instant_of(said.at)
            open_cases[name] = Case(said.model, said.version, statement.index, at)
            found.append(open_cases[name])
        _add(open_cases[name], said)
        if said.state == "closed":
            del open_cases[name]
    return found


def _add(case: Case, said: Incident) -> None:
    case.severity = said.severity or case.severity
    case.kinds += [kind for kind in said.kinds if kind not in case.kinds]
    times: dict[Trigger, str | None] = {
        "awareness": said.aware_at,
        "classification": said.classified_at,
        "determination": said.determined_at,
    }
    case.stated |= {name: instant_of(time) for name, time in times.items() if time is not None}
    for clock, time in said.filed.items():
        case.filed.setdefault(clock, instant_of(time))


def running(found: Sequence[Case], clocks: Clocks, at: datetime) -> list[Running]:
    """(3) The clocks of these incidents, earliest deadline first; those that wait stand last."""
    every = [one for case in found for one in _of(case, clocks, at)]
    return sorted(every, key=lambda one: (one.due is None, one.due or at, one.clock))


def _of(case: Case, clocks: Clocks, at: datetime) -> Iterator[Running]:
    for name, clock in clocks.clocks.items():
        if not clock.enabled or not set(clock.applies_to) & set(case.kinds):
            continue
        since = case.trigger(clock)
        if since is not None and since.date() < clock.in_force:
            continue
        due = None if since is None else clocks.due(name, since)
        filed = case.filed.get(name)
        yield Running(
            model=case.model,
            version=case.version,
            opened=case.opened,
            clock=name,
            rule=clock.rule,
            to=clock.to,
            checked=clock.checked is not None,
            state=_state(due, filed, at),
            trigger=f"filing of {clock.after}" if clock.after else clock.trigger,
            since=since,
            due=due,
            filed=filed,
        )


def _state(due: datetime | None, filed: datetime | None, at: datetime) -> State:
    if filed is not None:
        return "filed late" if due is not None and filed >= due else "filed"
    if due is None:
        return "waits"
    return "late" if at >= due else "due"
