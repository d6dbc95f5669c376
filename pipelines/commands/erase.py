"""`countersign erase`: erases records on request, and issues the certificate (docs/erasure.md).

1. Without a key, or with --dry-run, it shows the impact and changes nothing.
2. With the key of a person who may approve data it asks, signs the erasure in the log, and deletes.
3. Stopped on the way, the same call goes on.
4. What was asked for is never repeated. `-` reads it from stdin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from pathlib import Path

import click

from governance.base.errors import ConfigError
from governance.base.text import moment
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.session import Call
from governance.policy.speakers import data_roles
from governance.release.erasure_certificate import NOT_REMOVED, PLACES, reading
from pipelines.commands.repro import one_at_a_time
from pipelines.erasing import case
from pipelines.erasing.case import Plan, Terms
from pipelines.erasing.places import DELETED, Held
from pipelines.project import Project, open_project
from pipelines.record_ids import Key, load_key
from pipelines.trace.looked_up import look_up
from pipelines.trace.made_from import Touched
from pipelines.trace.question import Asked, asked_for


@click.command("erase")
@click.argument("record", metavar="[RECORD]", required=False)
@click.option("--text", metavar="TEXT", help="Records with exactly this text; - reads stdin.")
@click.option("--subject", metavar="VALUE", help="Records with this value; - reads stdin.")
@click.option("--file", "listed", metavar="LIST", help="Record ids, one a line; - reads stdin.")
@click.option("--reference", required=True, metavar="CASE", help="A case number, no name.")
@click.option("--deadline", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The last day.")
@click.option(
    "--rewrite-sources", "rewrite", is_flag=True, help="Take the rows out of sources, too."
)
@click.option(
    "--backup", "backups", multiple=True, help="A backup that you cannot reach from here."
)
@session.options("purpose", "origin", *session.SIGNS)
def command(
    call: Call,
    record: str | None,
    text: str | None,
    subject: str | None,
    listed: str | None,
    reference: str,
    deadline: datetime,
    rewrite: bool,
    backups: tuple[str, ...],
) -> None:
    """Erase records: RECORD (12 characters of its id at least), a list of ids, all records with a
    text, or all with a value, such as an address or a name. No later ingest takes them in.

    First the impact is shown. You sign with your key; live models that have seen the records are
    then to be retrained or retired by the deadline. What you give is not shown, logged or kept.
    """
    asked = asked_for(record, text, subject, listed)
    root = Path.cwd()
    project = open_project(root, os.environ)
    key = load_key(root, project.params.records)
    ends = datetime.combine(deadline.date(), time(23, 59, 59), UTC)
    if ends < call.now:
        raise ConfigError("the deadline is over", where="--deadline", expected="a later day")
    terms = Terms(reference, exact_instant(ends), rewrite, backups)
    plan, shown = _planned(call, project, key, asked, terms)
    lines = list(impact(plan, *shown))
    if not call.has_key or call.dry_run:
        call.show(document(plan, *shown), [*lines, "nothing was changed"])
        return
    session.tell(lines, err=True)
    now = call.state()
    roles = sorted(data_roles(now.authority.policies.rules))
    author = call.signing.speaker(now.authority, roles, first=True)
    call.confirm(f"{author.name} erases this as {author.role}.", reference)
    with one_at_a_time(root):
        performed = case.perform(project, key, call.log, author, plan)
    result = {
        **document(plan, *shown),
        "erasure": performed.erasure.index,
        "erased": performed.done.index,
        "certificate": str(performed.certificate),
        "left": [[each.place, str(each.path)] for each in performed.left],
    }
    told = [*reading(performed.erasure, performed.done), f"certificate: {performed.certificate}"]
    call.show(result, [*told, *_next(plan)])


Shown = tuple[list[Held], list[Touched]]


def _planned(
    call: Call, project: Project, key: Key, asked: Asked, terms: Terms
) -> tuple[Plan, Shown]:
    """The plan; of a case that was stopped, its own. Raises `ConfigError` where that one was about
    something else.
    """
    begun = case.begun(project, terms.reference)
    if begun is not None:
        if begun.question != case.question(key, asked):
            other = f"case {terms.reference} has begun with another question, and has not ended"
            raise ConfigError(other, fix="end it first: the same call as then goes on")
        return begun, ([], [])
    found = look_up(call, asked, "erase", exhaustive=True)
    if asked.by in ("record", "file") and not found.records:
        fix = "countersign trace shows what is looked into"
        raise ConfigError("none of these ids is known here", where="RECORD", fix=fix)
    plan, held = case.planned(project, key, asked, found, terms)
    return plan, (held, found.touched)


def document(plan: Plan, held: Sequence[Held], touched: Sequence[Touched]) -> dict[str, object]:
    """The impact, for programs. It has no ids, texts or values."""
    return {
        "reference": plan.reference,
        "deadline": plan.deadline,
        "counts": plan.counts,
        "touched": [
            {"what": one.what, "how": one.how, "digest": one.digest, "entry": one.entry}
            for one in touched
        ],
        "files": [{"place": each.place, "path": str(each.path)} for each in held],
        "remote": [each.model_dump() for each in plan.remote],
        "sources": [each.model_dump(exclude={"sha256"}) for each in plan.sources],
        "not_removed": plan.not_removed,
    }


def impact(plan: Plan, held: Sequence[Held], touched: Sequence[Touched]) -> Iterator[str]:
    """For people: what an erasure would reach, and what it cannot."""
    counts = plan.counts
    yield f"case {plan.reference}, by {moment(plan.deadline)}"
    yield (
        f"{counts['records']} records, {counts['derived']} of them generated, in"
        f" {counts['datasets']} datasets ({counts['contents']} versions of their steps) and"
        f" {counts['answers']} files of stored answers"
    )
    for one in touched:
        yield f"  {one.what:<24} {one.how}  [E{one.entry}]"
    yield "files that hold them:"
    for place, count in plan.files.items():
        what = "deleted" if place in DELETED else "stay"
        yield f"  {PLACES.get(place, place)}: {count}, {what}"
    yield f"  {PLACES['remote']}: {len(plan.remote)}, deleted"
    for source in plan.sources:
        rows = ", ".join(map(str, source.rows[:20])) + (" ..." if len(source.rows) > 20 else "")
        yield f"  {source.path}: rows {rows}"
    yield "not removed:"
    yield from (
        f"  {NOT_REMOVED[name]}: {count}" for name, count in plan.not_removed.items() if count
    )
    if plan.sources and not plan.rewrite:
        yield "the owner of the sources takes the rows out, or: --rewrite-sources"


def _next(plan: Plan) -> Iterator[str]:
    yield "next: git commit policies/exclusions.jsonl, then countersign repro"
    if plan.counts["models"]:
        yield "then retrain or retire what has seen the records: countersign pending"
