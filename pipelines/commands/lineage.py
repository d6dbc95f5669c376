"""`countersign lineage`: what a version was made from; with `--records` every record of the
datasets behind it.

1. Where policy says who may read, a dataset that the person may not read is not looked into. The
   reads of the others are recorded first.
2. What is neither here nor indexed is "not looked up". Ids are HMACs; nothing prints text.
3. Rows are printed as they are read.

Exit codes with `--records`: 0 shown; 5 a row was lost between steps, or the records are not as many
as evidence says.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.attest.predicates import Ingest, Scan
from governance.base.errors import ConfigError, VerificationError
from governance.base.progress import Progress
from governance.commands import sections, session, sources
from governance.commands.session import Call, named

if TYPE_CHECKING:
    from governance.history.state import LogState
    from pipelines.trace.back import Behind, Looked, Row
    from pipelines.trace.index import Index

NOT_HERE = "neither here nor in DVC's cache"
NOT_ALLOWED = "policy does not let you read it"


@click.command("lineage")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--records", is_flag=True, help="Every record behind it; with --json JSON lines.")
@session.options("key", "purpose", "moment", *session.READS)
def command(call: Call, version: str, records: bool) -> None:
    """Everything MODEL/VERSION was made from, by digest: sources, datasets, stages, bases. As `show
    ... lineage`.

    --records lists the rows of their sources: id, file, row, whether it is in or was left out and
    why, whether it was redacted, and the records that it was generated from.
    """
    if not records:
        sections.show(call, version, "lineage")
        return
    if call.moment is not None:
        raise ConfigError("--records and --at do not go together", fix="leave one of them out")
    _show_records(call, version)


def _show_records(call: Call, version: str) -> None:
    from governance.commands.admitting import admitted
    from governance.history.chain import Chain
    from pipelines.trace.back import behind, rows
    from pipelines.trace.index import FILE, Index
    from pipelines.trace.rights import allowed_and_closed

    now, _ = sources.verified(sources.of(call)).read
    registration = now.registration(*named(version)).predicate
    datasets = behind(Chain.registered(now.evidence, registration))
    _, closed = allowed_and_closed(call, now, (step for one in datasets for step in one.steps))
    with Index(call.machine.state / FILE) as index:
        looked = _looked(index, now, datasets, closed)
        known = [each.step for _, steps in looked for each in steps if each.known]
        wanted, _ = allowed_and_closed(call, now, known)
        if wanted:
            admitted(call, "lineage", now, lambda: wanted)
        _tell(call, _document(version, looked, closed), _heads(version, looked, closed))
        counts: Counter[tuple[str, str, str]] = Counter()
        for row in rows(index, looked):
            counts[row.dataset, row.digest, row.state] += 1
            _tell(call, asdict(row), [_line(row)])
    differing = list(_differing(looked, counts))
    total = {"rows": counts.total(), "differing": differing}
    _tell(call, total, [f"{counts.total()} rows", *(f"DIFFERS: {line}" for line in differing)])
    call.exit(VerificationError.exit_code if differing else 0)


def _looked(
    index: Index, now: LogState, datasets: Sequence[Behind], closed: set[str]
) -> list[tuple[Behind, list[Looked]]]:
    """What the index knows of each step, after it has read what is here and may be read."""
    from pipelines.project import open_project
    from pipelines.record_ids import load_key
    from pipelines.trace.back import looked_into
    from pipelines.trace.files import Files
    from pipelines.trace.fill import fill, fill_redacted
    from pipelines.trace.index import MEMBERS

    project = open_project(Path.cwd(), os.environ)
    key = load_key(project.root, project.params.records)
    chosen = [step for one in datasets for step in one.steps if step.digest not in closed]
    scans = [step for step in chosen if isinstance(step.statement.predicate, Scan)]
    files, progress = Files.of(project.root, now), Progress()
    fill(index, files, chosen, None, progress)
    compared = index.contents(fill_redacted(index, files, scans, key, progress))
    known = index.contents(MEMBERS) - closed
    return [
        (
            one,
            [
                looked_into(step, known, compared if _has_ids_by(one, key.key_id) else ())
                for step in one.steps
            ],
        )
        for one in datasets
    ]


def _has_ids_by(one: Behind, key_id: str) -> bool:
    """Whether the ids of a dataset were made with this key."""
    found = [step.statement.predicate for step in one.steps]
    return any(isinstance(each, Ingest) and each.record_key == key_id for each in found)


# --- the answer -----------------------------------------------------------------------------------


def _tell(call: Call, value: dict[str, Any], lines: Iterable[str]) -> None:
    """One line of JSON, or lines for people."""
    if call.as_json:
        click.echo(json.dumps(value))
    else:
        session.tell(list(lines))


def _document(
    version: str, looked: Sequence[tuple[Behind, list[Looked]]], closed: set[str]
) -> dict[str, Any]:
    return {
        "version": version,
        "datasets": [
            {
                "dataset": one.dataset,
                "digest": one.digest,
                "uses": one.uses,
                "generated_by": one.generated_by,
                "steps": [_step(each, closed) for each in steps],
            }
            for one, steps in looked
        ],
    }


def _step(each: Looked, closed: set[str]) -> dict[str, Any]:
    counts = each.step.statement.predicate.counts
    return {
        "step": each.name,
        "entry": each.step.statement.index,
        "digest": each.step.digest,
        "records_in": counts.records_in,
        "records_out": counts.records_out,
        "left_out": counts.excluded,
        "not_looked_up": _why_not(each, closed),
    }


def _why_not(each: Looked, closed: set[str]) -> str:
    """Why a step is not looked into; empty where it is."""
    if each.known:
        return ""
    return NOT_ALLOWED if each.step.digest in closed else NOT_HERE


def _heads(
    version: str, looked: Sequence[tuple[Behind, list[Looked]]], closed: set[str]
) -> Iterator[str]:
    yield f"{version}: {len(looked)} datasets"
    for one, steps in looked:
        made = f", generated by {one.generated_by}" if one.generated_by else ""
        yield f"{one.dataset} {one.digest[:12]}: {', '.join(one.uses)}{made}"
        for each in steps:
            said = _step(each, closed)
            reasons = ", ".join(f"{code} {count}" for code, count in said["left_out"].items())
            yield (
                f"  {each.name:<28} {said['records_in']} in, {said['records_out']} out"
                f"{f'; left out: {reasons}' if reasons else ''}  [E{said['entry']}]"
            )
            if said["not_looked_up"]:
                yield f"  {each.name}: not looked up, {said['not_looked_up']}"


def _line(row: Row) -> str:
    what = f"{row.state} by {row.step}" if row.step else row.state
    parts = [f"{what}: {row.reason}" if row.reason else what]
    parts += ["redacted"] if row.redacted else []
    parts += [f"generated from {parent}" for parent in row.parents]
    place = f"{row.file}:{row.row}" if row.file else "place not recorded"
    return f"{row.record or 'no record':<32}  {row.dataset}  {place}  {', '.join(parts)}"


def _differing(
    looked: Sequence[tuple[Behind, list[Looked]]], counts: Mapping[tuple[str, str, str], int]
) -> Iterator[str]:
    """What is not as evidence says."""
    for one, steps in looked:
        if lost := counts.get((one.dataset, one.digest, "lost"), 0):
            yield f"{one.dataset}: {lost} rows are neither in nor left out"
        found = counts.get((one.dataset, one.digest, "in"), 0)
        said = steps[-1].step.statement.predicate.counts.records_out if steps else 0
        if steps and steps[-1].known and found != said:
            yield f"{one.dataset}: {found} records are in, evidence says {said}"
