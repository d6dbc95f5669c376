"""The reports of the data stages: JSON for programs, a Markdown page for people.

The same content gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.attest.codes import CODES
from governance.attest.predicates import Finding
from pipelines.job import Job

MACROS = "macros.md.jinja"


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def write_reports(
    job: Job, template: str, findings: Sequence[Finding], report: Mapping[str, Any]
) -> None:
    """report.json, and the page that a template of `templates/` makes of it."""
    # No escaping: the pages are Markdown.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    write_json(job.output("report"), report)
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, reasons=_reasons)
    page = environment.get_template(template).render(**report, findings=findings)
    job.output("summary").write_text(page, encoding="utf-8", newline="\n")


def _cell(value: object) -> str:
    return str(value).replace("|", "/")


def _reasons(excluded: Mapping[str, int]) -> list[tuple[str, int, str]]:
    return [(code, count, CODES[code].title) for code, count in excluded.items()]
