"""A report's sections for a terminal. Each answers one or two of a reviewer's questions.

`terminal` reads each section from the page, so that both agree. Control characters are visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from governance.attest.digests import sha256_bytes
from governance.base.text import moment, one_line
from governance.report import terminal
from governance.report.html import json_twin, page, page_one
from governance.report.model.report import Report
from governance.report.verdict import banner

PAGE_ONE = "page"
"""The section that is page one and nothing else. The rest of the page is not made for it."""


class Section(NamedTuple):
    """One section: the question it answers, and the report's fields that it shows."""

    question: str
    fields: str


def text(report: Report, name: str) -> list[str]:
    """A section as text: the verdict, then the section. If the log does not verify, the first
    broken item.
    """
    faults = sum(notice.kind == "fault" for notice in report.exceptions)
    head = f"{report.model}/{report.version}: {banner(report.verdict.word, faults).text}"
    if not report.integrity.verified:
        broken = f"  first broken    {report.integrity.first_broken}"
        return [one_line(head), one_line(broken)]
    html = page_one(report) if name == PAGE_ONE else page(report).decode()
    return [one_line(f"{head} as of {moment(report.as_of)}"), *terminal.section(html, name)]


def document(report: Report, name: str) -> dict[str, Any]:
    """A section as JSON: the report's fields, and the digest of the whole report."""
    fields = report.model_dump(mode="json")
    kept = ("format", "model", "version", "digest", "as_of", "log_range", "verdict", "integrity")
    head = {field: fields[field] for field in kept}
    section = {field: fields[field] for field in SECTIONS[name].fields.split()}
    return {**head, "report_sha256": sha256_bytes(json_twin(report)), "section": name, **section}


SECTIONS: Mapping[str, Section] = {
    PAGE_ONE: Section(
        "Page one.",
        "verdict use exceptions gates people separation integrity change_since changes way_back"
        " open",
    ),
    "decisions": Section("Was it approved, by whom, in which role; refusals.", "decisions"),
    "people": Section("Did trainer, evaluator and approver differ.", "people separation evidence"),
    "policy": Section(
        "Which rules and thresholds, and were they fixed before the run.", "policy thresholds_fixed"
    ),
    "waivers": Section("What exceptions there are, and when they end.", "waivers exceptions"),
    "evidence": Section("What it rests on, entry by entry.", "integrity evidence"),
    "data": Section("What data, from which sources, under which licences.", "datasets"),
    "pii": Section("Which personal data was searched for and found.", "datasets"),
    "labels": Section("Who labelled, and how well they agreed.", "datasets gates"),
    "readers": Section("Who may read the data and models, and who did.", "readers"),
    "training": Section("How it was trained, and with which rewards.", "bases trainings rewards"),
    "evaluation": Section(
        "Is it better than champion, parent, base; how sure.",
        "alignment metrics outside confidence thresholds_fixed",
    ),
    "behaviour": Section(
        "How it answers, without reference answers; how its reward models rank.",
        "behaviour stage_gains reward_models confidence",
    ),
    "safety": Section("Did tuning weaken safety.", "alignment metrics gates"),
    "gaps": Section("What failed or was not run.", "gaps"),
    "use": Section("What it must not be used for.", "use"),
    "back": Section("How to go back, and was that tried.", "way_back holds"),
    "incidents": Section("What went wrong since.", "decisions"),
    "open": Section("What is open, whose, what is overdue.", "open use"),
    "changes": Section(
        "What changed since the last approved version.", "change_since changes unchanged"
    ),
    "lineage": Section("Where it comes from.", "nodes edges"),
    "controls": Section(
        "What outside frameworks ask; `countersign control` has more.", "controls control_warnings"
    ),
    "reports": Section("Which reports of it were signed before, and by whom.", "signed_reports"),
    "records": Section(
        "The records every version must have.",
        "nodes edges trainings metrics people holds way_back decisions",
    ),
}
"""Name to section, in the order of `--help`."""
