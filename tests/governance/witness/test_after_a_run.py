"""`countersign repro` asks the witnesses of a log that is kept on this machine, when the run is
over; and what the report says of them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from governance.base.text import moment
from governance.history.state import state
from governance.history.verify import LogReport
from governance.report.build import build
from governance.report.facts import gather
from governance.report.html import page
from governance.report.links import LOG, link
from governance.report.model.report import Report
from pipelines.commands.ready import ask_witnesses
from pipelines.project import Project, open_project
from tests.governance.story import MODEL
from tests.governance.witness.worlds import NAMES, Witnessed


def project(here: Witnessed) -> Project:
    story = here.scene.story
    return replace(open_project(story.root, story.machine.environ), machine=story.machine)


def asked(here: Witnessed, later: timedelta = timedelta()) -> list[str]:
    return ask_witnesses(project(here), lambda: here.scene.now + later)


def test_a_run_asks_the_witnesses_of_its_own_log(here: Witnessed) -> None:
    assert asked(here) == []
    report = here.verify()
    assert report.ok and {one.size for one in report.witnessed} == {here.log.size()}


def test_a_witness_that_does_not_answer_is_a_warning_within_the_grace_period(
    here: Witnessed,
) -> None:
    assert asked(here) == []
    here.servers[1].shutdown()
    here.servers[1].server_close()
    (one,) = asked(here)
    assert one.startswith(f"warning: witness {NAMES[1]}: ")
    here.pass_hours(25)
    one, few = asked(here)
    assert "too few witnesses" in few and "countersign witness request" in few


def test_without_witnesses_nobody_is_asked(here: Witnessed, tmp_path: Path) -> None:
    served = replace(project(here).machine, log_uri="https://countersign.example.org")
    assert ask_witnesses(replace(project(here), machine=served), lambda: here.scene.now) == []


# -- The report ------------------------------------------------------------------------------------


def report_of(here: Witnessed) -> tuple[Report, LogReport]:
    sources = here.scene.story.sources
    anchors = replace(sources.anchors, at=here.scene.now, witnessed=False)
    sources = replace(sources, anchors=anchors)
    return build(sources, MODEL, "1"), sources.verified


def test_a_cosigned_log_lacks_no_anchor(here: Witnessed) -> None:
    missing = "an anchor outside this machine, with its time"
    now = here.scene.now
    facts = gather(
        state(here.log), MODEL, here.scene.story.root, project(here).policies, MODEL, "1", now
    )
    before = link(LOG, facts, report_of(here)[1])
    assert missing in before.lacks
    here.ask()
    report, verified = report_of(here)
    found = link(LOG, facts, verified)
    assert (
        missing not in found.lacks
        and f"{NAMES[0]} cosigned {here.log.size()} entries" in found.says
    )
    shown = page(report).decode()
    for one in verified.witnessed:
        assert f"{one.witness} cosigned {one.size} entries at {moment(one.at)}" in shown


def test_a_log_that_was_cosigned_of_late_does_not_want_witnesses(here: Witnessed) -> None:
    assert "WITNESSES_MISSING" in page(report_of(here)[0]).decode()
    here.ask()
    assert "WITNESSES_MISSING" not in page(report_of(here)[0]).decode()


def test_a_release_stays_approved_when_its_cosignatures_are_old(here: Witnessed) -> None:
    """They had to be fresh when it was promoted."""
    here.ask()
    here.scene.released()
    before = report_of(here)[0].verdict.word
    here.pass_hours(30)
    sources = here.scene.story.sources
    late = replace(sources.anchors, at=here.scene.now, witnessed=False)
    report = build(replace(sources, anchors=late), MODEL, "1", as_of=here.scene.now)
    assert report.verdict.word == before != "NOT APPROVED"
