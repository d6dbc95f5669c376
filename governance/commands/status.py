"""`countersign status`: what there is, what is live, what waits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from governance.attest.predicates import CANDIDATE
from governance.commands import session
from governance.commands.session import Call
from governance.report.status import Status, status


@click.command("status")
@session.options("as_json")
def command(call: Call) -> None:
    """What there is, what is live, what waits: from params.yaml, policies/ and the log."""
    overview = status(Path.cwd(), call.machine, call.now)
    call.show(overview, () if call.as_json else lines(overview))


def lines(overview: Status) -> list[str]:
    """The status for people."""
    data = [
        [each.name, each.kind, each.ingest, each.scan, each.quality, _count(each.records)]
        for each in overview.datasets
    ]
    models = [
        [
            each.name,
            each.method,
            f"{each.gate} ({each.gate_findings})" if each.gate_findings else each.gate,
            each.trained,
            each.evaluated,
        ]
        for each in overview.models
    ]
    versions = [
        [
            f"{each.model}/{each.version}",
            each.digest[:12],
            each.stage,
            ", ".join(each.aliases) or "no alias",
            each.since,
        ]
        for each in overview.versions
    ]
    return session.text(
        "status",
        result=overview,
        data=_table("DATA kind ingest scan quality records", data),
        models=_table("MODELS method gate trained evaluated", models),
        versions=_table("VERSIONS sha256 stage alias since", versions),
        candidate=CANDIDATE,
    )


def _count(records: int | None) -> str:
    return "none" if records is None else f"{records:,}"


def _table(head: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; the head alone where there are no rows."""
    if not rows:
        return [head.split()[0]]
    table = [head.split(), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    ]
