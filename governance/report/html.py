"""The report as one self-contained page, and its JSON twin: no script, no assets, no time but the
log's.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base import text
from governance.report import charts, room
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
    made, front = environment(), room.front(report)
    rendered = made.get_template("page.html.j2").render(
        report=report,
        front=front,
        twin=sha256_bytes(json_twin(report)),
        style=style(made),
        tone=tone,
        sign=sign,
        told=room.told(front),
        names={node.id: node.label for node in report.nodes},
    )
    return rendered.encode("utf-8")


def style(made: Environment) -> Markup:
    """The style sheet that every page carries in itself."""
    text = made.loader.get_source(made, "style.css")[0] if made.loader else ""
    return Markup(text)  # noqa: S704 - our own file


def environment() -> Environment:
    """Templates of pages: everything is escaped, what cannot be seen is made visible, an unknown
    name is an error.
    """
    made = Environment(
        loader=PackageLoader("governance", "report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        "duration",
        "moment",
        "number",
        "plain",
        "renewed",
        "share",
        "short",
        "signed",
        "timed",
        "words",
    )
    made.filters.update({name: getattr(text, name) for name in filters})
    made.globals["charts"] = charts
    made.filters["capitalised"] = lambda value: value[:1].upper() + value[1:]
    return made


def _shown(value: Any) -> Any:
    """What cannot be seen is made visible; markup of our own passes."""
    return (
        text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    )
