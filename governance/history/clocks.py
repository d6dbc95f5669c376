"""Which legal clocks an incident started, what is due, and what was late.

1. What people say of an incident adds up: `governance.history.cases`.
2. A clock runs if policy enables it for one of the incident's kinds, and the rule was in force at
   the trigger. A trigger that nobody has stated yet leaves the clock waiting.
3. Nothing here stops a move. An open incident does (`governance.history.incidents`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from governance.history.cases import Case
    from governance.policy.clocks import Clocks

State = Literal["waits", "due", "late", "filed", "filed late"]


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


def running(found: Sequence[Case], clocks: Clocks, at: datetime) -> list[Running]:
    """(2) The clocks of these incidents, earliest deadline first; those that wait stand last."""
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
