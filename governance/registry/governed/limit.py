"""Limits how many calls of one kind are recorded one by one, so that a hostile client cannot fill
log and disk.

Further refused calls are only counted. The first, the tenth, the hundredth of them and so on are
recorded with their number. Each process counts for itself, and starts again each hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

PER_HOUR = 30
ACCEPTED_PER_HOUR = 600
"""Accepted calls of one kind, by one caller on one model: more than pipelines make."""
HOUR = timedelta(hours=1)
SAID_PER_HOUR = 300
"""New statements by one account: more than people sign, and few enough for the log's readers."""

Key = tuple[str, ...]
"""What is counted together: caller, operation and governed model."""


@dataclass
class Limit:
    """Counts calls within an hour."""

    now: Callable[[], datetime]
    per_hour: int = PER_HOUR
    _seen: dict[Key, tuple[datetime, int]] = field(default_factory=dict)
    """When the hour began, and the number of calls since."""
    _lock: Lock = field(default_factory=Lock)

    def has_room(self, key: Key) -> bool:
        """Whether one more would be recorded by itself."""
        with self._lock:
            return self._here(key)[1] < self.per_hour

    def count(self, key: Key) -> int:
        """Counts one call. Returns how many are beyond the limit, this one included."""
        with self._lock:
            began, before = self._here(key)
            self._seen[key] = (began, before + 1)
            return max(0, before + 1 - self.per_hour)

    def _here(self, key: Key) -> tuple[datetime, int]:
        at = self.now()
        began, count = self._seen.get(key, (at, 0))
        return (at, 0) if at - began >= HOUR else (began, count)


def is_told(beyond: int) -> bool:
    """Whether this number beyond the limit is recorded: 1, 10, 100, and so on."""
    return str(beyond).strip("0") == "1"
