"""`countersign status`: what there is, what is live, what waits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from governance.attest.predicates import CANDIDATE
from governance.base.text import timed
from governance.machine.machine import machine_of
from governance.report.status import ModelState, Status, status

KEY_CHARACTERS = 12


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """What there is, what is live, what waits: from params.yaml, policies/ and the log."""
    root = Path.cwd()
    found = status(root, machine_of(root, os.environ), datetime.now(UTC))
    click.echo(json.dumps(found.model_dump(), indent=2) if as_json else "\n".join(lines(found)))


def lines(found: Status) -> list[str]:
    """The status for people."""
    made = [*_data(found), "", *_models(found), ""] if found.datasets or found.models else []
    return [timed(line) for line in (*_head(found), "", *made, *_live(found), "", *_waits(found))]


def _head(found: Status) -> Iterator[str]:
    log = found.log
    yield f"project   {found.project}"
    said = f"{log.entries} entries, the last at {log.last}" if log.entries else "none yet"
    yield f"log       {said if log.problem == 'none' else 'CANNOT BE USED'}; {log.address}"
    yield f"registry  {found.registry}"
    yield f"policies  {found.policies}"
    yield f"signs     {found.signer}"
    for key in found.keys:
        marked = "  DEVELOPMENT KEY" if key.development else ""
        yield f"key       {key.keyid[:KEY_CHARACTERS]}, {key.entries} entries{marked}"


def _data(found: Status) -> Iterator[str]:
    rows = [
        (
            one.name,
            one.kind,
            one.ingest,
            one.scan,
            one.quality,
            "none" if one.records is None else f"{one.records:,}",
        )
        for one in found.datasets
    ]
    yield from _table(
        ("DATA", "kind", "ingest", "scan", "quality", "records"), rows, "no datasets in params.yaml"
    )


def _models(found: Status) -> Iterator[str]:
    rows = [(one.name, one.method, _gate(one), one.trained, one.evaluated) for one in found.models]
    yield from _table(
        ("MODELS", "method", "gate", "trained", "evaluated"), rows, "no models in params.yaml"
    )


def _gate(model: ModelState) -> str:
    """The gate's answer, with the number of findings that refuse."""
    return f"{model.gate} ({model.gate_findings})" if model.gate_findings else model.gate


def _live(found: Status) -> Iterator[str]:
    rows = [
        (
            f"{one.model}/{one.version}",
            one.digest[:12],
            one.stage,
            ", ".join(one.aliases) or "no alias",
            one.since,
        )
        for one in found.versions
    ]
    yield from _table(("VERSIONS", "sha256", "stage", "alias", "since"), rows, "none registered")
    for one in found.live:
        if one.alias != CANDIDATE:
            yield f"way back  {one.model}@{one.alias}: {one.back_tried}"


def _waits(found: Status) -> Iterator[str]:
    yield "WAITS"
    yield from (f"- {wait}".replace("\n", "\n  ") for wait in found.waits)
    if not found.waits:
        yield "  nothing"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> Iterator[str]:
    """Columns as wide as their widest cell; the last one is left ragged."""
    if not rows:
        yield from (head[0], f"  {empty}")
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
