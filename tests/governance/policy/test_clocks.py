"""When a legal deadline ends: a table over weekends, holidays, zones, daylight saving, leap days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from governance.base.time import instant_of
from governance.base.yaml import load_model
from governance.policy.clocks import Clock, Clocks
from tests.conftest import ROOT

HOLIDAYS = {"us": [date(2026, 12, 25), date(2027, 1, 1)]}


def clocks(**fields: Any) -> Clocks:
    row = {
        "rule": "a law", "to": "an office", "applies_to": ["leak"], "trigger": "awareness",
        "in_force": "2020-01-01", "source": "https://example.org", **fields,
    }  # fmt: skip
    return Clocks(holidays=HOLIDAYS, clocks={"one": Clock.model_validate(row)})


TABLE = [
    # length, unit, zone, trigger, the first instant that is late
    (72, "hours", "UTC", "2026-11-20T17:30:00Z", "2026-11-23T17:30:00Z", "over a weekend"),
    (24, "hours", "Europe/Brussels", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z",
     "24 hours are 24 hours where clocks go forward"),
    (4, "hours", "UTC", "2028-02-28T22:00:00Z", "2028-02-29T02:00:00Z", "into a leap day"),
    (15, "days", "UTC", "2026-11-10T00:00:01Z", "2026-11-26T00:00:00Z", "the first day is free"),
    (15, "days", "UTC", "2026-11-10T23:59:59Z", "2026-11-26T00:00:00Z", "whatever the hour"),
    (2, "days", "Europe/Brussels", "2026-11-10T23:30:00Z", "2026-11-13T23:00:00Z",
     "it is the 11th in Brussels"),
    (2, "days", "Europe/Brussels", "2026-03-27T12:00:00Z", "2026-03-29T22:00:00Z",
     "the last day has 23 hours"),
    (2, "days", "Europe/Brussels", "2026-10-23T12:00:00Z", "2026-10-25T23:00:00Z",
     "the last day has 25 hours"),
    (10, "days", "America/New_York", "2028-02-20T12:00:00Z", "2028-03-02T05:00:00Z",
     "a leap day counts"),
    (60, "days", "America/New_York", "2026-01-15T12:00:00Z", "2026-03-17T04:00:00Z",
     "daylight saving begins in between"),
    (5, "working days", "UTC", "2026-11-20T12:00:00Z", "2026-11-28T00:00:00Z",
     "Friday to the Friday after"),
    (5, "working days", "UTC", "2026-11-21T12:00:00Z", "2026-11-28T00:00:00Z", "from a Saturday"),
    (5, "working days", "UTC", "2026-12-23T12:00:00Z", "2027-01-01T00:00:00Z",
     "over Christmas Day, which is a Friday"),
    (5, "working days", "UTC", "2026-12-28T12:00:00Z", "2027-01-06T00:00:00Z",
     "over New Year's Day"),
    (1, "months", "UTC", "2026-01-31T12:00:00Z", "2026-03-01T00:00:00Z", "February is shorter"),
    (1, "months", "UTC", "2028-01-31T12:00:00Z", "2028-03-01T00:00:00Z", "of a leap year, too"),
    (1, "months", "UTC", "2026-12-15T12:00:00Z", "2027-01-16T00:00:00Z", "into the next year"),
    (12, "months", "UTC", "2028-02-29T12:00:00Z", "2029-03-01T00:00:00Z", "from a leap day"),
]  # fmt: skip


@pytest.mark.parametrize(("length", "unit", "zone", "trigger", "late", "why"), TABLE)
def test_a_deadline(length: int, unit: str, zone: str, trigger: str, late: str, why: str) -> None:
    calendar = {"holidays": "us"} if unit == "working days" else {}
    found = clocks(length=length, unit=unit, zone=zone, **calendar)
    assert found.due("one", instant_of(trigger)) == instant_of(late), why


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["hours", "days", "working days", "months"]),
    st.integers(1, 100),
    st.sampled_from(["UTC", "Europe/Brussels", "America/New_York", "Asia/Kolkata"]),
    st.integers(0, 3 * 86_400),
)
def test_a_later_trigger_never_ends_earlier_and_no_period_is_cut_short(
    moment: datetime, unit: str, length: int, zone: str, seconds: int
) -> None:
    found = clocks(length=length, unit=unit, zone=zone)
    trigger = moment.replace(tzinfo=UTC)
    due = found.due("one", trigger)
    assert due <= found.due("one", trigger + timedelta(seconds=seconds))
    whole = {"hours": timedelta(hours=length), "months": timedelta(days=28 * length)}
    wanted = whole.get(unit, timedelta(days=length))
    assert due - trigger >= wanted - timedelta(hours=1)  # a day of 23 hours
    if unit != "hours":
        assert due.astimezone(ZoneInfo(zone)).timetz().replace(tzinfo=None).isoformat() in (
            "00:00:00",
            "01:00:00",
        )


WRONG = [
    ({"zone": "Europe/Nowhere"}, "time zone"),
    ({"zone": "../../etc/passwd"}, "time zone"),
    ({"trigger": "notification"}, "after"),
    ({"after": "one"}, "after"),
    ({"trigger": "notification", "after": "two"}, "no clock two"),
    ({"trigger": "notification", "after": "one"}, "start each other"),
    ({"holidays": "us"}, "working days"),
    ({"unit": "working days", "holidays": "eu"}, "no calendar eu"),
    ({"unit": "weeks"}, "unit"),
    ({"length": 0}, "length"),
    ({"applies_to": []}, "applies_to"),
]


@pytest.mark.parametrize(("fields", "named"), WRONG)
def test_a_wrong_entry_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        clocks(**{"length": 3, "unit": "hours", **fields})


def test_every_shipped_rule_names_its_source_and_says_whether_it_was_checked() -> None:
    shipped = load_model(ROOT / "policies" / "clocks.yaml", Clocks)
    assert len(shipped.clocks) > 20
    assert all(clock.source.startswith("https://") for clock in shipped.clocks.values())
    assert all("checked" in clock.model_fields_set for clock in shipped.clocks.values())
