"""The report as one self-contained page, and its JSON twin: no script, no assets, no time but the log's."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from governance import canonical
from governance.digests import sha256_bytes
from governance.report import charts, text
from governance.report.model import Report, VerdictWord

TONES: dict[VerdictWord, tuple[str, str]] = {
    "APPROVED": ("good", "✓"),
    "APPROVED WITH CONDITIONS": ("wait", "◐"),
    "NOT APPROVED": ("bad", "✗"),
    "PENDING": ("wait", "○"),
    "WITHDRAWN": ("bad", "✗"),
    "EVIDENCE DOES NOT VERIFY": ("bad", "✗"),
}
"""Verdict to its colour and its sign; the word says it all without either."""


def json_twin(report: Report) -> bytes:
    """The report as canonical JSON (RFC 8785)."""
    return canonical.dumps(report.model_dump())


def page(report: Report) -> bytes:
    """The report as HTML, with the digest of its JSON twin in it."""
    tone, sign = TONES[report.verdict.word]
    made = environment()
    rendered = made.get_template("page.html.j2").render(
        report=report,
        twin=sha256_bytes(json_twin(report)),
        style=style(made),
        tone=tone,
        sign=sign,
        charts=charts,
        told=_told(report),
        names={node.id: node.label for node in report.nodes},
    )
    return rendered.encode("utf-8")


ROOM = 5
"""Exceptions that page one has room for; faults and waivers are all told, whatever the room."""
LINES = 5
"""Changes on page one, at most two of a group."""
LONG = 350
"""Characters of a verdict's reason from which on page one is printed smaller."""
ROWS = 8
"""People on page one: whoever counts, then whoever does not."""


def _told(report: Report) -> dict[str, Any]:
    """What page one has room for, most telling first, and how many of what there are."""
    kinds = [item.kind for item in report.exceptions]
    chosen = [
        change
        for index, change in enumerate(report.changes)
        if sum(one.group == change.group for one in report.changes[:index]) < 2
    ]
    shown = max(ROOM, kinds.count("fault") + kinds.count("waiver"))
    aside = [one for one in report.people if one.assurance.startswith("superseded")]
    counted = [one for one in report.people if one not in aside]
    return {
        "faults": kinds.count("fault"),
        "waivers": kinds.count("waiver"),
        "notes": kinds.count("note"),
        "shown": shown,
        "crowded": shown > ROOM or len(report.people) > ROWS or len(report.verdict.reason) > LONG,
        "also": [item.title for item in report.exceptions[shown:]],
        "people": [one for one in report.people if one in [*counted, *aside][:ROWS]],
        "changes": chosen[:LINES],
        "incidents": sum(one.state == "open" for one in report.incidents),
        "evaluated": next((one.assurance for one in report.people if one.did == "evaluated"), "none"),
        "champion": any("champion" in score.relation for metric in report.metrics for score in metric.scores),
    }


def style(made: Environment) -> Markup:
    """The style sheet that every page carries in itself."""
    text = made.loader.get_source(made, "style.css")[0] if made.loader else ""
    return Markup(text)  # noqa: S704  # our own file


def environment() -> Environment:
    """Templates of pages: everything is escaped, what cannot be seen is made visible, an unknown name is an error."""
    made = Environment(
        loader=PackageLoader("governance", "report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("duration", "moment", "number", "plain", "renewed", "share", "short", "signed", "timed", "words")
    made.filters.update({name: getattr(text, name) for name in filters})
    made.filters["capitalised"] = lambda value: value[:1].upper() + value[1:]
    return made


def _shown(value: Any) -> Any:
    """What cannot be seen is made visible; markup of our own passes."""
    return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
