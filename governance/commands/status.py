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
    overview = status(root, machine_of(root, os.environ), datetime.now(UTC))
    click.echo(
        json.dumps(overview.model_dump(), indent=2) if as_json else "\n".join(lines(overview))
    )


def lines(overview: Status) -> list[str]:
    """The status for people."""
    rows = [*_head(overview), ""]
    if overview.datasets or overview.models:
        rows += [*_data(overview), "", *_models(overview), ""]
    rows += [*_live(overview), "", *_waits(overview)]
    return [timed(row) for row in rows]


def _head(overview: Status) -> Iterator[str]:
    log = overview.log
    yield f"project   {overview.project}"
    size = f"{log.entries} entries, the last at {log.last}" if log.entries else "none yet"
    yield f"log       {size if log.problem == 'none' else 'CANNOT BE USED'}; {log.address}"
    yield f"registry  {overview.registry}"
    yield f"policies  {overview.policies}"
    yield f"signs     {overview.signer}"
    for key in overview.keys:
        marked = "  DEVELOPMENT KEY" if key.development else ""
        yield f"key       {key.keyid[:KEY_CHARACTERS]}, {key.entries} entries{marked}"


def _data(overview: Status) -> Iterator[str]:
    rows = [
        (
            dataset.name,
            dataset.kind,
            dataset.ingest,
            dataset.scan,
            dataset.quality,
            "none" if dataset.records is None else f"{dataset.records:,}",
        )
        for dataset in overview.datasets
    ]
    yield from _table(
        ("DATA", "kind", "ingest", "scan", "quality", "records"), rows, "no datasets in params.yaml"
    )


def _models(overview: Status) -> Iterator[str]:
    rows = [
        (model.name, model.method, _gate(model), model.trained, model.evaluated)
        for model in overview.models
    ]
    yield from _table(
        ("MODELS", "method", "gate", "trained", "evaluated"), rows, "no models in params.yaml"
    )


def _gate(model: ModelState) -> str:
    """The gate's answer, with the number of findings that refuse."""
    return f"{model.gate} ({model.gate_findings})" if model.gate_findings else model.gate


def _live(overview: Status) -> Iterator[str]:
    rows = [
        (
            f"{version.model}/{version.version}",
            version.digest[:12],
            version.stage,
            ", ".join(version.aliases) or "no alias",
            version.since,
        )
        for version in overview.versions
    ]
    yield from _table(("VERSIONS", "sha256", "stage", "alias", "since"), rows, "none registered")
    for holder in overview.live:
        if holder.alias != CANDIDATE:
            yield f"way back  {holder.model}@{holder.alias}: {holder.back_tried}"


def _waits(overview: Status) -> Iterator[str]:
    yield "WAITS"
    yield from (f"- {wait}".replace("\n", "\n  ") for wait in overview.waits)
    if not overview.waits:
        yield "  nothing"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> Iterator[str]:
    """Columns as wide as their widest cell; the last one is left ragged."""
    if not rows:
        yield from (head[0], f"  {empty}")
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
