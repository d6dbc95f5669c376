"""Fits page one to one page, whatever the records contain.

Faults and waivers come first and are all counted. Shortened lists name the number of missing rows.
Sections and the JSON twin have everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.base.text import brief
from governance.report.model import Report

NAME = 60
"""Characters of a name of a model, version or person."""
POINT = 90
"""Characters of an open point; its column is narrow."""
TEXT = 240
"""Characters of any other text."""
TIGHT = {"fault": 120, "waiver": 60, "note": 60}
"""Characters of an exception's text where there are many."""
ROOM, MOST = 5, 8
"""Exceptions: full ones that fit, and one-line ones that fit."""
TITLES = 6
"""Titles named of exceptions that do not fit."""
LINES = 5
"""Changes, at most two of a group."""
LONG = 240
"""A verdict's reason with more characters makes page one's print smaller."""
ROWS, FEW = 8, 6
"""Rows of people: usually, and where there are many exceptions."""
OPEN, FEWER = 4, 2
"""Open points: usually, and where there are many exceptions."""


def front(report: Report) -> Report:
    """The report with its texts shortened for page one."""
    found = with_texts(report, lambda text: brief(text, TEXT))
    names = {name: brief(getattr(report, name), NAME) for name in ("project", "model", "version")}
    room = TIGHT if _urgent(report) > ROOM else {}
    exceptions = [
        each.model_copy(update={"detail": brief(one.detail, room.get(one.kind, TEXT))})
        for each, one in zip(found.exceptions, report.exceptions, strict=True)
    ]
    people = [
        each.model_copy(
            update={"who": brief(one.who, 2 * NAME), "role": one.role and brief(one.role, NAME)}
        )
        for each, one in zip(found.people, report.people, strict=True)
    ]
    open_points = [
        each.model_copy(update={"what": brief(one.what, POINT)})
        for each, one in zip(found.open, report.open, strict=True)
    ]
    return found.model_copy(
        update={**names, "exceptions": exceptions, "people": people, "open": open_points}
    )


def page_one(report: Report) -> dict[str, Any]:
    """The rows of the report's lists that page one shows, and their counts."""
    kinds = [item.kind for item in report.exceptions]
    chosen = [
        change
        for index, change in enumerate(report.changes)
        if sum(one.group == change.group for one in report.changes[:index]) < 2
    ]
    urgent = _urgent(report)
    shown = min(max(ROOM, urgent), MOST)
    rows = FEW if urgent > ROOM else ROWS
    aside = [one for one in report.people if one.state == "superseded"]
    counted = [one for one in report.people if one.state != "superseded"]
    left = [item.title for item in report.exceptions[shown:]]
    return {
        "faults": kinds.count("fault"),
        "waivers": kinds.count("waiver"),
        "notes": kinds.count("note"),
        "shown": shown,
        "crowded": urgent > ROOM or len(report.people) > ROWS or len(report.verdict.reason) > LONG,
        "also": [*left[:TITLES], *([f"{len(left) - TITLES} more"] if len(left) > TITLES else [])],
        "people": [*counted, *aside][:rows],
        "open": report.open[: FEWER if urgent > ROOM else OPEN],
        "changes": chosen[:LINES],
        "incidents": sum(one.state == "open" for one in report.incidents),
        "evaluated": next(
            (one.assurance for one in report.people if one.did == "evaluated"), "not recorded"
        ),
        "champion": any(
            score.role == "champion" for metric in report.metrics for score in metric.scores
        ),
    }


def _urgent(report: Report) -> int:
    return sum(exception.kind != "note" for exception in report.exceptions)


def with_texts(report: Report, change: Callable[[str], str]) -> Report:
    """The report with every text changed."""
    return Report.model_validate(_changed(report.model_dump(), change))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _changed(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
