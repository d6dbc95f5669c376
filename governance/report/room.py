"""Fits page one to one page, whatever the records contain.

Faults and waivers come first and are all counted. Shortened lists name the number of missing rows.
Sections and the JSON twin have everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from governance.base.model import Model
from governance.base.text import brief
from governance.report.model import Change, Report

ModelT = TypeVar("ModelT", bound=Model)
NAME = 60
"""Characters of a name of a model, version or person."""
POINT = 65
"""Characters of an open point; its column is narrow."""
TEXT = 240
"""Characters of any other text."""
TIGHT = {"fault": 120, "waiver": 60, "note": 60}
"""Characters of an exception's text where there are many."""
FULL_EXCEPTIONS, MOST_EXCEPTIONS = 5, 6
"""Exceptions: full ones that fit, and one-line ones that fit."""
TITLES = 3
"""Titles named of exceptions that do not fit."""
CHANGES = 5
"""Changes, at most two of a group."""
PEOPLE, PEOPLE_IF_MANY = 7, 6
"""Rows of people: usually, and where there are many exceptions or long texts."""
OPEN, OPEN_IF_MANY = 4, 2
"""Open points: usually, and where there are many exceptions or long texts."""


def front(report: Report) -> Report:
    """The report with its texts shortened for page one."""
    shortened = with_texts(report, lambda text: brief(text, TEXT))
    names = {name: brief(getattr(report, name), NAME) for name in ("project", "model", "version")}
    lengths = TIGHT if _urgent(report) > FULL_EXCEPTIONS else {}
    exceptions = []
    for short, notice in zip(shortened.exceptions, report.exceptions, strict=True):
        detail = brief(notice.detail, lengths.get(notice.kind, TEXT))
        exceptions.append(short.model_copy(update={"detail": detail}))
    people = []
    for short_row, person in zip(shortened.people, report.people, strict=True):
        role = person.role and brief(person.role, NAME)
        people.append(short_row.model_copy(update={"who": brief(person.who, NAME), "role": role}))
    open_points = [
        short_point.model_copy(update={"what": brief(point.what, POINT)})
        for short_point, point in zip(shortened.open, report.open, strict=True)
    ]
    changes = {"exceptions": exceptions, "people": people, "open": open_points}
    return shortened.model_copy(update={**names, **changes})


def page_one(report: Report) -> dict[str, Any]:
    """The rows of the report's lists that page one shows, and their counts."""
    kinds = [notice.kind for notice in report.exceptions]
    urgent = _urgent(report)
    many = urgent > FULL_EXCEPTIONS or len(report.verdict.reason) > TEXT
    shown = min(max(FULL_EXCEPTIONS, urgent), MOST_EXCEPTIONS)
    superseded = [person for person in report.people if person.state == "superseded"]
    others = [person for person in report.people if person.state != "superseded"]
    evaluators = [person.assurance for person in report.people if person.did == "evaluated"]
    roles = {score.role for metric in report.metrics for score in metric.scores}
    return {
        "faults": kinds.count("fault"),
        "waivers": kinds.count("waiver"),
        "notes": kinds.count("note"),
        "shown": shown,
        "also": _titles(report, shown),
        "people": [*others, *superseded][: PEOPLE_IF_MANY if many else PEOPLE],
        "open": report.open[: OPEN_IF_MANY if many else OPEN],
        "changes": _changes(report),
        "incidents": sum(decision.answer == "opened" for decision in report.decisions),
        "open_incidents": sum(item.code == "INCIDENT" for item in report.open),
        "evaluated": evaluators[0] if evaluators else "not recorded",
        "champion": "champion" in roles,
    }


def _titles(report: Report, shown: int) -> list[str]:
    """The titles of the exceptions that are not shown, and how many titles are left out."""
    titles = [notice.title for notice in report.exceptions[shown:]]
    more = len(titles) - TITLES
    return [*titles[:TITLES], *([f"{more} more"] if more > 0 else [])]


def _changes(report: Report) -> list[Change]:
    """The first changes, at most two of a group."""
    chosen: list[Change] = []
    for change in report.changes:
        same_group = [other for other in chosen if other.group == change.group]
        if len(same_group) < 2:
            chosen.append(change)
    return chosen[:CHANGES]


def _urgent(report: Report) -> int:
    return sum(exception.kind != "note" for exception in report.exceptions)


def with_texts(typed: ModelT, change: Callable[[str], str]) -> ModelT:
    """A typed answer with every text changed."""
    return type(typed).model_validate(_changed(typed.model_dump(), change))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _changed(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change) for part in value]
    return change(value) if isinstance(value, str) else value
