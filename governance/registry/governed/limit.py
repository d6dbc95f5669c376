"""How many refused calls of one kind are recorded one by one: a hostile client fills neither the
log nor the disk.

Beyond that they are counted, and told at the first, the tenth, the hundredth of them, and so on: in
the server's output, and in the log. They are refused all the same. A count is this process's own,
and begins anew each hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

PER_HOUR = 30
ACCEPTED_PER_HOUR = 600
"""Of one kind of call that is let through, by one caller on one model: more than pipelines make."""
HOUR = timedelta(hours=1)
SAID_PER_HOUR = 300
"""Of what one person's key says to the log: more than people do, and less than what keeps everybody
else reading.
"""

Key = tuple[str, ...]
"""What is counted together: who called what about which governed model."""


@dataclass
class Limit:
    """Counts refused calls."""

    now: Callable[[], datetime]
    per_hour: int = PER_HOUR
    _seen: dict[Key, tuple[datetime, int]] = field(default_factory=dict)
    """When the hour began, and how many there were since."""
    _lock: Lock = field(default_factory=Lock)

    def has_room(self, key: Key) -> bool:
        """Whether one more would be recorded by itself."""
        with self._lock:
            return self._here(key)[1] < self.per_hour

    def count(self, key: Key) -> int:
        """Counts one: 0 where it is recorded by itself, else how many of this hour are not."""
        with self._lock:
            began, before = self._here(key)
            self._seen[key] = (began, before + 1)
            return max(0, before + 1 - self.per_hour)

    def _here(self, key: Key) -> tuple[datetime, int]:
        at = self.now()
        began, count = self._seen.get(key, (at, 0))
        return (at, 0) if at - began >= HOUR else (began, count)


def is_told(beyond: int) -> bool:
    """Whether the count of those that are not recorded one by one is told now: at 1, 10, 100,
    ...
    """
    return str(beyond).strip("0") == "1"
