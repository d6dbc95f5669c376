"""Which windows of a version are compared: its beginning, and what is late.

1. The beginning are its first windows that together last some hours and have enough observations.
   Windows in which nothing was observed do not begin it.
2. What is late are the windows that ended within some hours before the end of the last one.
3. The same hours on both sides: a day is compared with a day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from governance.base.time import instant_of

if TYPE_CHECKING:
    from governance.attest.predicates import Monitoring
    from governance.log.evidence import Evidence

Windows = Sequence["Evidence[Monitoring]"]


def end_of(window: Evidence[Monitoring]) -> datetime:
    """When a window ended."""
    return instant_of(window.predicate.ends)


def lately(found: Windows, period: timedelta) -> list[Evidence[Monitoring]]:
    """(2) Those that ended within a period before the end of the last one."""
    if not found:
        return []
    since = max(map(end_of, found)) - period
    return [each for each in found if end_of(each) > since]


def begun(
    found: Windows,
    sample: Callable[[Evidence[Monitoring]], int],
    minimum: int,
    period: timedelta,
    since: date | None = None,
) -> tuple[Windows, Windows]:
    """(1) The beginning, and all windows after it in which something was observed, by time; without
    a beginning, both are empty. `sample`: the observations of a window. `since`: windows that began
    before this day are left out.
    """
    ordered = sorted(found, key=end_of)
    counted = [
        each
        for each in ordered
        if sample(each) and (since is None or instant_of(each.predicate.begins).date() >= since)
    ]
    observed = 0
    for at, window in enumerate(counted, 1):
        observed += sample(window)
        lasted = end_of(window) - instant_of(counted[0].predicate.begins)
        if observed >= minimum and lasted >= period:
            return counted[:at], counted[at:]
    return [], []
