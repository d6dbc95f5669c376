"""Times as they are written in evidence and reports: RFC 3339, in UTC."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime


def instant(moment: datetime) -> str:
    """To the millisecond."""
    return _written(moment, "milliseconds")


def exact_instant(moment: datetime) -> str:
    """To the microsecond: a decision made again has exactly this reference time."""
    return _written(moment, "microseconds")


def instant_of(text: str) -> datetime:
    """The time that was written. Raises `ValueError`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def months_later(first: date, count: int) -> date:
    """The day that many months after a day; the last day of a shorter month."""
    years, month = divmod(first.month - 1 + count, 12)
    year = first.year + years
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(first.day, last))


def _written(moment: datetime, unit: str) -> str:
    return moment.astimezone(UTC).isoformat(timespec=unit).replace("+00:00", "Z")
