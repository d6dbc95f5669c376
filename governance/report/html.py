"""The report as one self-contained page, and its JSON twin. It has no scripts and no outside
files, and its only times are the log's.

Page one fits on one printed page, whatever the records contain. Faults and waivers come first and
are all counted. Texts and lists that are cut say how much is missing; the page has all of it below,
and so has the twin.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base import text
from governance.base.compiled_templates import CompiledTemplates, compiled_templates
from governance.base.distribution import VERSION
from governance.base.model import Model
from governance.base.storage import write_atomic
from governance.report import charts
from governance.report.model.record import Change
from governance.report.model.report import Report
from governance.report.verdict import banner

FILTERS = "brief duration moment number plain share short signed size timed words"
"""Functions of `base.text` that templates use."""
HEADER = 24
"""Characters of a name in the running header, which has one line."""
TEXT = 240
"""Characters of a text on page one. Its template sets less for names and open points."""
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


def generator() -> str:
    """The program that makes a report, with its version."""
    return f"countersign {VERSION}"


def json_twin(content: Model) -> bytes:
    """The content of a page as canonical JSON (RFC 8785)."""
    return canonical.dumps(content.model_dump(mode="json"))


def page(report: Report, twin: bytes | None = None) -> bytes:
    """The report as HTML, with the digest of its JSON twin in it; `twin` is made where none is
    given.
    """
    templates = environment()
    names = (text.brief(report.model, HEADER), text.brief(report.version, HEADER))
    rendered = templates.get_template(
        "page.html.j2"
    ).render(
        _content(report),
        front=Markup(page_one(report)),  # noqa: S704 - our own template escaped it
        twin=sha256_bytes(json_twin(report) if twin is None else twin),
        style=style(templates),
        names={node.id: node.label for node in report.nodes},
        running=f"{' '.join(names)}  {report.digest[:12]}  {report.verdict.word}",
    )
    return rendered.encode("utf-8")


def page_one(report: Report) -> str:
    """The part of the page that fits on one printed page, as HTML."""
    return _page_one_environment().get_template("front.html.j2").render(_content(report))


def _content(report: Report) -> dict[str, Any]:
    """What page one and the rest of the page are drawn from."""
    faults = sum(item.kind == "fault" for item in report.exceptions)
    return {
        "report": report,
        "banner": banner(report.verdict.word, faults),
        "page_one": _page_one(report),
    }


def _page_one(report: Report) -> dict[str, Any]:
    """The rows of the report's lists that page one shows, and their counts."""
    kinds = [notice.kind for notice in report.exceptions]
    urgent = len(kinds) - kinds.count("note")
    many = urgent > FULL_EXCEPTIONS or len(report.verdict.reason) > TEXT
    shown = min(max(FULL_EXCEPTIONS, urgent), MOST_EXCEPTIONS)
    titles = [notice.title for notice in report.exceptions[shown:]]
    more = [f"{len(titles) - TITLES} more"] if len(titles) > TITLES else []
    people = sorted(report.people, key=lambda person: person.state == "superseded")
    return {
        "faults": kinds.count("fault"),
        "waivers": kinds.count("waiver"),
        "notes": kinds.count("note"),
        "shown": shown,
        "room": TIGHT if urgent > FULL_EXCEPTIONS else dict.fromkeys(TIGHT, TEXT),
        "also": [*titles[:TITLES], *more],
        "people": people[: PEOPLE_IF_MANY if many else PEOPLE],
        "open": report.open[: OPEN_IF_MANY if many else OPEN],
        "changes": _changes(report),
        "incidents": len(report.incidents),
        "open_incidents": sum(each.state == "open" for each in report.incidents),
    }


def _changes(report: Report) -> list[Change]:
    """The first changes, at most two of a group."""
    chosen: list[Change] = []
    for change in report.changes:
        if sum(other.group == change.group for other in chosen) < 2:
            chosen.append(change)
    return chosen[:CHANGES]


def style(made: Environment) -> Markup:
    """The style sheet that every page contains."""
    sheet = made.loader.get_source(made, "style.css")[0] if made.loader else ""
    return Markup(sheet)  # noqa: S704 - our own file


def differs(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether `folder` does not hold exactly these files."""
    return any(
        not (folder / name).is_file() or (folder / name).read_bytes() != data
        for name, data in files.items()
    )


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes each file whole or not at all; their paths, the page last. Raises `StorageError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    return [folder / name for name in files]


@cache
def environment() -> Environment:
    """Templates of pages. All text is escaped, invisible characters are shown, an unknown name is
    an error.
    """
    made = Environment(
        loader=PackageLoader("governance", "report"),
        autoescape=True,
        finalize=lambda value: text.visible(value) if _is_text(value) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled("pages"),
    )
    made.filters.update({name: getattr(text, name) for name in FILTERS.split()})
    made.globals["charts"] = charts
    made.filters["css"] = lambda value: Markup(_css(value))  # noqa: S704 - no markup is left
    return made


@cache
def _page_one_environment() -> Environment:
    """The same, and every text is cut."""
    return environment().overlay(
        finalize=lambda value: text.brief(value, TEXT) if _is_text(value) else value,
        bytecode_cache=_compiled("page one"),
    )


def _compiled(name: str) -> CompiledTemplates | None:
    """Constants of templates pass through functions of these two modules."""
    return compiled_templates(os.environ, name, sys.modules[__name__], text)


def prepare() -> None:
    """Compiles the templates of a report, in a process that others are forked from."""
    for name in ("page.html.j2", "base.html.j2", "parts.html.j2", "charts.svg.j2"):
        environment().get_template(name)
    for name in ("front.html.j2", "parts.html.j2"):
        _page_one_environment().get_template(name)


def _is_text(value: Any) -> bool:
    """Whether a value is text of the records. Markup of our own stays as it is."""
    return isinstance(value, str) and not isinstance(value, Markup)


def _css(value: str) -> str:
    """A text inside a CSS string: every character but letters and digits by its code point."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in value)


@cache
def _terminal() -> Environment:
    return environment().overlay(
        autoescape=False,
        finalize=lambda value: text.one_line(str(value)),
        bytecode_cache=_compiled("terminal"),
    )


def lines(template: str, **records: Any) -> list[str]:
    """The lines of a template for a terminal."""
    return _terminal().get_template(template).render(**records).splitlines()
