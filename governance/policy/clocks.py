"""policies/clocks.yaml: the deadlines of laws and codes that an incident can start, and when they
end.

The tool computes and warns. A person decides which rule applies, and files. A rule is an entry of a
table: nothing here interprets law.

How a deadline is counted (Regulation (EEC, Euratom) 1182/71, article 3, unless the rule's source
says otherwise):

1. Hours: exactly so many hours after the trigger. No weekend extends them. The Regulation would add
   the rest of the first hour and, over holidays, more: the earlier time is taken.
2. Days, working days and months are counted in the rule's time zone. The trigger's day does not
   count. The deadline is the end of the last day: the midnight after it is too late.
3. Working days leave out Saturdays, Sundays and the holidays of the rule's calendar.
4. A month ends on the day with the trigger's number, or on the last day of a shorter month.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from governance.base.model import Model, Slug
from governance.base.time import months_later

Trigger = Literal["awareness", "classification", "determination", "notification"]
"""What starts a clock: somebody became aware; a person classified the incident; a person
determined a cause or a link; what the clock in `after` asks for was filed.
"""
Unit = Literal["hours", "days", "working days", "months"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError("no time zone of the IANA database, e.g. Europe/Brussels") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


class Clock(Model):
    """One deadline."""

    rule: Text
    """Law or code, with article."""
    to: Text
    """Who is told what."""
    applies_to: Annotated[list[Slug], Field(min_length=1)]
    """Kinds of incidents, as people name them when they open one."""
    trigger: Trigger
    after: Slug | None = None
    """For `notification`: the clock whose filing starts this one."""
    length: int = Field(ge=1, le=1000, strict=True)
    unit: Unit
    zone: Zone = "UTC"
    holidays: Slug | None = None
    """The calendar of `working days`, in `holidays`."""
    in_force: date
    """Incidents whose trigger is earlier do not start it."""
    source: Text
    """Where the rule is published."""
    checked: date | None = None
    """When a person compared this entry with its source; null: written from memory."""
    enabled: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.after is not None) != (self.trigger == "notification"):
            raise ValueError(
                "`after` names a clock where the trigger is notification, and only there"
            )
        if self.holidays is not None and self.unit != "working days":
            raise ValueError("only working days have a calendar of holidays")
        return self


class Clocks(Model):
    """policies/clocks.yaml."""

    holidays: dict[Slug, list[date]] = {}
    clocks: dict[Slug, Clock] = {}

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name, clock in self.clocks.items():
            if clock.after is not None and clock.after not in self.clocks:
                raise ValueError(f"{name}: after: no clock {clock.after}")
            if clock.holidays is not None and clock.holidays not in self.holidays:
                raise ValueError(f"{name}: holidays: no calendar {clock.holidays}")
            self._ends(name)
        return self

    def _ends(self, name: str) -> None:
        seen, at = {name}, self.clocks[name].after
        while at is not None:
            if at in seen:
                raise ValueError(f"{name}: after: the clocks start each other")
            seen.add(at)
            at = self.clocks[at].after

    def due(self, name: str, trigger: datetime) -> datetime:
        """The first instant (UTC) at which filing is late, for a trigger with a time zone."""
        clock = self.clocks[name]
        if clock.unit == "hours":
            return trigger.astimezone(UTC) + timedelta(hours=clock.length)
        zone = ZoneInfo(clock.zone)
        first = trigger.astimezone(zone).date()
        if clock.unit == "days":
            last = first + timedelta(days=clock.length)
        elif clock.unit == "months":
            last = months_later(first, clock.length)
        else:
            last = working_days_later(
                first, clock.length, self.holidays.get(clock.holidays or "", ())
            )
        return datetime.combine(last + timedelta(days=1), time(), zone).astimezone(UTC)


def working_days_later(first: date, count: int, holidays: Collection[date]) -> date:
    """(3) The last of `count` working days after a day."""
    day = first
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5 and day not in holidays
    return day
