"""`countersign look DATASET`: what a scan found and what was left out, in the terminal of somebody
who has the data; and their judgement of a random sample, signed.

Texts are shown on a terminal only, unless `--text` asks for them. They are written nowhere: the
signed judgement holds counts.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from governance.attest.digests import tree_digest
from governance.attest.predicates import Artifact, Judgement, Requester, Run
from governance.base.errors import ConfigError, InputError, RefusedError, unknown
from governance.base.progress import Progress
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.admitting import admitted, state_here
from governance.commands.session import Call
from governance.history.contents import Contents
from governance.history.state import LogState
from governance.log import evidence
from governance.machine.machine import signer
from governance.policy.readers import Content
from governance.release.reading import Wanted
from pipelines import paths
from pipelines.pii.engine import PlainEngine
from pipelines.pii.sample import AROUND, Shown, counted, draw, findings, scan_report, written
from pipelines.pii.search import Search
from pipelines.project import Project, open_project
from pipelines.record_ids import load_key
from pipelines.records import Excluded, read_excluded
from pipelines.shards import open_records
from pipelines.sources.readers import read_rows, source_files
from pipelines.texts import texts

SHOWN = 20
"""Findings or records that are shown, and the size of a sample."""

WIDTH = 160
"""Characters of a left-out record that are shown."""


@click.command("look")
@click.argument("dataset")
@click.option("--n", "count", type=click.IntRange(1, 10_000), default=SHOWN, show_default=True)
@click.option("--skip", type=click.IntRange(0), default=0, help="Begin after so many.")
@click.option("--entity", "entities", multiple=True, help="Only findings of this type.")
@click.option("--left-out", is_flag=True, help="Show the records that were left out, and why.")
@click.option("--reason", "reasons", multiple=True, help="Only records left out for this code.")
@click.option("--judge", is_flag=True, help="Judge a random sample of the findings, and sign it.")
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), help="Of the sample; random by default.")
@click.option("--text", is_flag=True, help="Show texts where output is no terminal, too.")
@session.options("key", "role", "yes", "purpose", "as_json")
def command(
    call: Call,
    dataset: str,
    count: int,
    skip: int,
    entities: tuple[str, ...],
    left_out: bool,
    reasons: tuple[str, ...],
    judge: bool,
    seed: int | None,
    text: bool,
) -> None:
    """Show what the scan of DATASET found, or which records were left out and why.

    It needs the data in this folder. With --judge you say of each finding of a random sample
    whether it is personal data or a false alarm. The counts are signed, and the report shows them.
    """
    project = open_project(Path.cwd(), os.environ)
    if dataset not in project.params.datasets:
        raise unknown("dataset", dataset, project.params.datasets)
    if judge and (left_out or reasons or entities):
        raise ConfigError("a sample is drawn from all findings", fix="give --judge alone")
    now = state_here(call)
    admitted(call, "look", now, lambda: [_wanted(project, dataset, now)])
    texts_too = text or (sys.stdout.isatty() and not call.as_json)
    if left_out or reasons:
        rows = _left_out(project, dataset, reasons)
        page = rows[skip : skip + count]
        document = {"dataset": dataset, "left_out": _counts(rows), "shown": page}
        call.show(_without_texts(document, texts_too), list(_left_out_lines(rows, page, texts_too)))
        return
    shown = _found(project, dataset)
    if judge:
        _judge(call, project, dataset, shown, count, seed)
        return
    chosen = [one for one in shown if not entities or one.entity in entities]
    if wrong := set(entities) - {one.entity for one in shown}:
        raise unknown("finding of type", min(wrong), sorted({one.entity for one in shown}))
    page_of = chosen[skip : skip + count]
    after = written(project, dataset, page_of) if texts_too else {}
    document = {
        "dataset": dataset,
        "found": dict(sorted(Counter(one.entity for one in chosen).items())),
        "shown": [_plain(one, after.get(one)) for one in page_of],
    }
    lines = list(_lines(chosen, page_of, skip, after if texts_too else None))
    call.show(_without_texts(document, texts_too), lines)


def _wanted(project: Project, dataset: str, now: LogState | None) -> Wanted:
    """What the scan read, by its digest; left-out records and findings are content of it, too."""
    path = project.root / paths.ingested(dataset) / paths.RECORDS
    if not path.is_dir():
        fix = f"dvc pull, or countersign repro ingest@{dataset}"
        raise InputError("the records are not here", where=str(path), fix=fix)
    sha256 = tree_digest(path)
    known = Contents(now.view).of_digest(sha256) if now else frozenset()
    return Wanted.of(sha256, known, frozenset({Content("dataset", dataset)}))


# --- what was found -------------------------------------------------------------------------------


def _found(project: Project, dataset: str) -> list[Shown]:
    """All findings. Raises `InputError` where the scan or its data is not here."""
    scan_report(project, dataset)
    secret = load_key(project.root, project.params.records).secret
    cache = project.machine.state / "cache" / "pii.sqlite"
    records = len(open_records(project.root / paths.ingested(dataset) / paths.RECORDS))
    engine, progress = PlainEngine(project.policies.pii, project.root), Progress()
    with (
        Search(engine, cache, secret) as search,
        progress.bar(records, f"{dataset}: searching") as bar,
    ):
        return findings(project, dataset, search, bar.advance)


def _lines(
    chosen: Sequence[Shown], page: Sequence[Shown], skip: int, after: Mapping[Shown, str] | None
) -> Iterator[str]:
    """`after`: the texts as they were written; None where no text is shown."""
    listed = ", ".join(
        f"{name} {count}" for name, count in Counter(one.entity for one in chosen).most_common()
    )
    yield f"{len(chosen)} findings: {listed}" if chosen else "the scan found nothing"
    for number, one in enumerate(page, start=skip + 1):
        yield ""
        yield from _one(number, len(chosen), one, after)
    if len(chosen) > skip + len(page):
        yield ""
        yield f"{len(chosen) - skip - len(page)} more: --skip {skip + len(page)}, --n, --entity"
    if chosen and after is None:
        yield "output is no terminal, so no text is shown; --text shows it"


def _one(number: int, of: int, one: Shown, after: Mapping[Shown, str] | None) -> Iterator[str]:
    """A finding as it was found, and below as it was written."""
    score = f"{one.span.score:.2f}"
    yield f"{number}/{of}  {one.entity} {score}, {one.action}  {one.file}:{one.row} {one.field}"
    if after is None:
        yield f"  found    {one.span.end - one.span.start} of {len(one.text)} characters"
        return
    begins, ends = one.span.start > len(one.before), len(one.text) > one.span.end + len(one.after)
    marked = f"{_line(one.before)}[[{_line(one.found)}]]{_line(one.after)}"
    yield f"  found    {'...' if begins else ''}{marked}{'...' if ends else ''}"
    yield f"  written  {_as_written(one, after.get(one))}"


def _as_written(one: Shown, text: str | None) -> str:
    """The same part of the text as it was written. Both are equal up to the first difference."""
    if text is None:
        return "nothing: the record was left out"
    if text == one.text:
        return "the same"
    pairs = enumerate(zip(one.text, text, strict=False))
    differs = next((at for at, (a, b) in pairs if a != b), min(len(one.text), len(text)))
    begin = max(0, min(one.span.start, differs) - AROUND)
    part = _line(text[begin : begin + WIDTH])
    return f"{'...' if begin else ''}{part}{'...' if len(text) > begin + WIDTH else ''}"


def _line(text: str) -> str:
    """Text on one line, without characters that could repaint the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _plain(one: Shown, text: str | None) -> dict[str, Any]:
    return {
        "file": one.file, "row": one.row, "field": one.field, "entity": one.entity,
        "score": one.span.score, "action": one.action, "start": one.span.start,
        "end": one.span.end, "text": one.text, "written": text,
    }  # fmt: skip


def _without_texts(document: dict[str, Any], texts_too: bool) -> dict[str, Any]:
    if texts_too:
        return document
    hidden = ("text", "written")
    shown = [{k: v for k, v in row.items() if k not in hidden} for row in document["shown"]]
    return {**document, "shown": shown}


# --- what was left out ----------------------------------------------------------------------------


def _left_out(project: Project, dataset: str, reasons: Sequence[str]) -> list[dict[str, Any]]:
    """The records that each stage left out, in the order of the stages. Raises `ConfigError` for a
    reason that none has.
    """
    rows = []
    for stage, folder, before in (
        ("ingest", paths.ingested(dataset), None),
        ("scan_pii", paths.scanned(dataset), paths.ingested(dataset)),
        ("check_quality", paths.ready(dataset), paths.scanned(dataset)),
    ):
        path = project.root / folder / "excluded.jsonl"
        listed = read_excluded(path) if path.is_file() else []
        given = _texts(project, dataset, before, listed)
        rows += [
            {
                "stage": stage, "reason": one.reason, "detail": one.detail, "file": one.file,
                "row": one.row, "field": one.field, "text": given.get((one.file, one.row)),
            }
            for one in listed
        ]  # fmt: skip
    known = {str(row["reason"]) for row in rows}
    if wrong := set(reasons) - known:
        raise unknown("record left out for", min(wrong), sorted(known))
    return [row for row in rows if not reasons or row["reason"] in reasons]


def _texts(
    project: Project, dataset: str, before: Path | None, listed: Sequence[Excluded]
) -> dict[tuple[str, int], str]:
    """File and row to the text of each record that was left out, as far as it is here."""
    wanted = {(one.file, one.row) for one in listed}
    if before is None:
        return dict(_source_rows(project, dataset, wanted))
    path = project.root / before / paths.RECORDS
    if not wanted or not path.is_dir():
        return {}
    found: dict[tuple[str, int], str] = {}
    for table in open_records(path).tables():
        places = [(row["file"], row["row"]) for row in table.select(["file", "row"]).to_pylist()]
        for one in texts(table, project.params.datasets[dataset].kind):
            if (place := places[one.row]) in wanted:
                found[place] = f"{found[place]} | {one.text}" if place in found else one.text
    return found


def _source_rows(
    project: Project, dataset: str, wanted: set[tuple[str, int]]
) -> Iterator[tuple[tuple[str, int], str]]:
    row_of = project.params.datasets[dataset]
    source = project.root / row_of.source
    if not wanted or not source.exists():
        return
    for name, path in source_files(source):
        last = max((row for file, row in wanted if file == name), default=0)
        for row in islice(read_rows(path, row_of.encoding), last):
            if (name, row.row) in wanted:
                yield (name, row.row), str(row.value)


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(row["reason"] for row in rows).items()))


def _left_out_lines(
    rows: Sequence[dict[str, Any]], page: Sequence[dict[str, Any]], texts_too: bool
) -> Iterator[str]:
    listed = ", ".join(f"{reason} {count}" for reason, count in _counts(rows).items())
    yield f"{len(rows)} records left out: {listed}" if rows else "no record was left out"
    for row in page:
        yield ""
        field = f" {row['field']}" if row["field"] else ""
        yield f"{row['stage']}  {row['reason']}  {row['file']}:{row['row']}{field}"
        if row["detail"]:
            yield f"  why   {row['detail']}"
        if texts_too and row["text"] is not None:
            text = _line(row["text"])
            yield f"  text  {text[:WIDTH]}{'...' if len(text) > WIDTH else ''}"
    if len(rows) > len(page):
        yield ""
        yield f"{len(rows)} in all: --n, --skip, --reason"


# --- a person's judgement -------------------------------------------------------------------------


def _judge(
    call: Call, project: Project, dataset: str, shown: Sequence[Shown], count: int, seed: int | None
) -> None:
    """Asks about a random sample and signs the counts."""
    if not shown:
        raise InputError("the scan found nothing, so there is nothing to judge", where=dataset)
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise ConfigError("a person judges, at a terminal", fix="run it in a terminal")
    records = project.root / paths.scanned(dataset) / paths.RECORDS
    if not records.is_dir():
        raise InputError("the scan's result is not here", where=str(records), fix="dvc pull")
    chosen = secrets.randbelow(2**31) if seed is None else seed
    sample = draw(shown, count, chosen)
    answers = list(_answers(sample, written(project, dataset, sample)))
    if not answers:
        raise RefusedError("nothing was judged, so nothing is signed")
    who, key = _author(call)
    entities = counted(shown, answers)
    at = exact_instant(call.now)
    run = Run(started=at, finished=at, seconds=0.0, requested_by=who)
    said = Judgement.model_validate(
        {
            "dataset": dataset, "config": project.policies.pii_digest, "seed": chosen,
            "findings": len(shown), "sample": len(sample), "entities": entities, "run": run,
        }
    )  # fmt: skip
    session.tell(list(_result(said)))
    call.confirm(f"{who.name} signs this judgement of {dataset}.", dataset)
    subject = Artifact(role="records", name=dataset, sha256=tree_digest(records))
    entry = evidence.record(call.log, key, "judgement", [subject], said)
    session.tell([f"signed by {who.name}, entry {entry.index}"])


def _author(call: Call) -> tuple[Requester, Any]:
    """Who signs: a person with a part in releases, or this machine's development key."""
    authority = call.state().authority
    if call.has_key:
        roles = authority.policies.rules.responsible_roles
        author = call.signing.speaker(authority, roles, first=True)
        return Requester(name=author.name, authenticated=True), call.signer
    key = signer(call.machine)
    if key.keyid in authority.keys:
        raise ConfigError("a service judges nothing", fix="give --key, a person's key")
    return call.machine.requester, key


def _answers(sample: Sequence[Shown], after: Mapping[Shown, str]) -> Iterator[tuple[Shown, bool]]:
    """What the person says of each finding; ends where they stop."""
    for number, one in enumerate(sample, start=1):
        session.tell(["", *_one(number, len(sample), one, after)])
        question = "personal data [y], false alarm [n], cannot say [s], stop [q]"
        given = click.prompt(question, type=click.Choice(["y", "n", "s", "q"]), show_choices=False)
        if given == "q":
            return
        if given != "s":
            yield one, given == "y"


def _result(said: Judgement) -> Iterator[str]:
    yield ""
    yield f"{said.sample} of {said.findings} findings, seed {said.seed}"
    for name, counts in said.entities.items():
        if judged := counts.correct + counts.false_alarm:
            yield f"  {name}: {counts.correct} of {judged} correct ({counts.findings} found)"
