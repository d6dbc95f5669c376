"""The report as one self-contained page, and its JSON twin. It has no scripts and no outside
files, and its only times are the log's.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base import text
from governance.report import charts, room
from governance.report.model import Report
from governance.report.verdict import banner

FILTERS = (
    "duration",
    "moment",
    "number",
    "plain",
    "share",
    "short",
    "signed",
    "size",
    "timed",
    "words",
)
"""Functions of `base.text` that templates use."""
HEADER = 24
"""Characters of a name in the running header, which has one line."""


def generator() -> str:
    """The program that makes a report, with its version."""
    try:
        return f"countersign {importlib.metadata.version('countersign')}"
    except importlib.metadata.PackageNotFoundError:
        return "countersign, version not recorded"


def json_twin(report: Report) -> bytes:
    """The report as canonical JSON (RFC 8785)."""
    return canonical.dumps(report.model_dump())


def page(report: Report) -> bytes:
    """The report as HTML, with the digest of its JSON twin in it."""
    templates, front = environment(), room.front(report)
    faults = sum(exception.kind == "fault" for exception in report.exceptions)
    rendered = templates.get_template("page.html.j2").render(
        report=report,
        front=front,
        twin=sha256_bytes(json_twin(report)),
        style=style(templates),
        banner=banner(report.verdict.word, faults),
        page_one=room.page_one(front),
        running=_running(front),
        names={node.id: node.label for node in report.nodes},
    )
    return rendered.encode("utf-8")


def _running(front: Report) -> str:
    """The running header of printed pages: model, digest, verdict."""
    name = f"{text.brief(front.model, HEADER)} {text.brief(front.version, HEADER)}"
    return f"{name}  {front.digest[:12]}  {front.verdict.word}"


def _css(value: str) -> str:
    """A text inside a CSS string: every character but letters and digits by its code point."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in value)


def style(made: Environment) -> Markup:
    """The style sheet that every page contains."""
    text = made.loader.get_source(made, "style.css")[0] if made.loader else ""
    return Markup(text)  # noqa: S704 - our own file


@cache
def environment() -> Environment:
    """Templates of pages, compiled once per process. All text is escaped, invisible characters
    are shown, an unknown name is an error.
    """
    made = Environment(
        loader=PackageLoader("governance", "report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({name: getattr(text, name) for name in FILTERS})
    made.globals["charts"] = charts
    made.filters["css"] = lambda value: Markup(_css(value))  # noqa: S704 - no markup is left
    return made


def lines(template: str, **records: Any) -> list[str]:
    """The lines of a template for a terminal."""
    return _terminal().get_template(template).render(**records).splitlines()


@cache
def _terminal() -> Environment:
    return environment().overlay(autoescape=False, finalize=lambda value: text.one_line(str(value)))


def _shown(value: Any) -> Any:
    """Makes invisible characters visible. Markup of our own stays as it is."""
    return (
        text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    )
