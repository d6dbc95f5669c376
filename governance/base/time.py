"""Times as they are written in evidence and reports: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(moment: datetime) -> str:
    """To the millisecond."""
    return _written(moment, "milliseconds")


def exact_instant(moment: datetime) -> str:
    """To the microsecond: a decision made again has exactly this reference time."""
    return _written(moment, "microseconds")


def instant_of(text: str) -> datetime:
    """The time that was written. Raises `ValueError`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _written(moment: datetime, unit: str) -> str:
    return moment.astimezone(UTC).isoformat(timespec=unit).replace("+00:00", "Z")
