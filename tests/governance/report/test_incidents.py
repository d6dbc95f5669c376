"""Incidents, overrides and review dates in a version's report."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.base.time import exact_instant
from governance.report.build import build
from governance.report.html import page
from governance.report.model.report import Report
from tests.governance.governed import Governed, authorize, empty
from tests.governance.story import MODEL, tell

ROW = (
    "rule: a law, to: an office, in_force: 2020-01-01, source: 'https://example.org', enabled: true"
)
CLOCKS = (
    f"clocks:\n  fast: {{{ROW}, applies_to: [leak], trigger: awareness, length: 72, unit: hours}}\n"
)
TIER = "    review_every: 1\n    overdue_review: {grace_days: 10, then: block_moves}\n"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Read only: a released version with an incident that is open and late; a model was made from it."""
    folder = tmp_path_factory.mktemp("told")
    scene = empty(
        folder, tier=TIER, edit=lambda policies: (policies / "clocks.yaml").write_text(CLOCKS)
    )
    authorize(scene)
    tell(scene.story)
    scene.story.train("later", "sft", "conversation", "desk_sft", "sft")
    scene.released()
    aware = exact_instant(scene.now - timedelta(hours=2))
    scene.incident(
        "1", "open", kinds=["leak"], severity="high", aware_at=aware, actions=["<b>withdrew</b>"],
        informed=["the office"], reason="answers <i>contained</i> addresses",
    )  # fmt: skip
    scene.intervene(what="an answer was <u>replaced</u>")
    scene.review(reason="it does well", at=exact_instant(scene.now - timedelta(days=9)))
    return scene


def report_of(scene: Governed, days: int) -> Report:
    at = scene.now + timedelta(days=days)
    return build(scene.story.sources, MODEL, "1", clock=at)


def test_the_report_has_all_that_was_said(told: Governed) -> None:
    (incident,) = report_of(told, 0).incidents
    assert (incident.state, incident.severity, incident.kinds) == ("open", "high", ["leak"])
    assert [each.name for each in incident.affected] == ["train@later"]
    assert [each.text for each in incident.actions] == ["<b>withdrew</b>"]
    assert [each.what for each in incident.interventions] == ["an answer was <u>replaced</u>"]
    assert "check of effectiveness" in incident.not_stated


def test_the_record_of_decisions_has_them(told: Governed) -> None:
    said = {(item.what, item.answer, item.by) for item in report_of(told, 0).decisions}
    assert {
        ("Incident", "opened", "ben as risk"),
        ("In operation: override", "logged", "ben as risk"),
        ("May it stay in use?", "reviewed", "ben as risk"),
    } <= said


@pytest.mark.parametrize(("days", "state"), [(0, "due"), (2, "due"), (4, "late")])
def test_a_deadline_is_late_when_the_report_is_made(days: int, state: str, told: Governed) -> None:
    """Nothing was added to the log since: the deadline itself is the event."""
    (incident,) = report_of(told, days).incidents
    assert [clock.state for clock in incident.clocks] == [state]


@pytest.mark.parametrize(
    ("days", "said"),
    [(100, None), (170, ""), (183, "; OVERDUE"), (195, "LAPSED: no promotion of the model")],
)
def test_a_review_is_an_open_point_from_a_month_before(
    days: int, said: str | None, told: Governed
) -> None:
    """Made without a time, a report is of the last event; that a date comes near is none."""
    at = told.now + timedelta(days=days)
    asked = build(told.story.sources, MODEL, "1", as_of=at)
    points = [item for item in asked.open if item.code == "REVIEW"]
    by_event = [item for item in report_of(told, days).open if item.code == "REVIEW"]
    assert by_event == (points if said else [])
    if said is None:
        assert points == []
        return
    (point,) = points
    assert said in point.what and point.overdue == bool(said)
    assert point.next == f"countersign periodic-review {MODEL}/1"


def test_the_page_shows_them_without_markup_of_others(told: Governed) -> None:
    html = page(report_of(told, 4)).decode()
    assert "<b>withdrew" not in html and "&lt;b&gt;withdrew" in html
    assert "<i>contained" not in html and "<u>replaced" not in html
    assert "LATE" in html and "Overrides and exceptions in operation" in html
