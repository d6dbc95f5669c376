"""`countersign trace`: which dataset versions, stages, models and aliases have seen records, now
and then.

What was asked for is never repeated: neither texts nor subjects. `-` reads them from stdin. See
`pipelines.trace.looked_up`.

Exit codes: 0 answered; 3 an id is in nothing that was looked into; 5 reading found what the index
lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

import click

from governance.base.errors import InputError, VerificationError
from governance.commands import session
from governance.commands.session import Call
from pipelines.trace.answer import Held, Place, Traced
from pipelines.trace.looked_up import look_up
from pipelines.trace.made_from import Touched
from pipelines.trace.question import Asked, Check, asked_for
from pipelines.trace.steps import Step

SHOWN = 3
"""Records whose places are listed one by one for people."""
NOT_SHOWN = (
    "Personal data that the scan does not find. --exhaustive --subject reads every text for it.",
    "Stored answers that repeat a record of other data than their suite.",
    "Copies elsewhere: DVC's remotes, backups, the weights themselves. Nothing proves that a model"
    " has forgotten a record.",
)


@click.command("trace")
@click.argument("record", metavar="[RECORD]", required=False)
@click.option("--text", metavar="TEXT", help="Records with exactly this text; - reads stdin.")
@click.option("--subject", metavar="VALUE", help="Records about this person; - reads stdin.")
@click.option("--file", "listed", metavar="LIST", help="Record ids, one a line; - reads stdin.")
@click.option("--exhaustive", is_flag=True, help="Read all files, too: is the index complete?")
@session.options("key", "purpose", *session.READS)
def command(
    call: Call,
    record: str | None,
    text: str | None,
    subject: str | None,
    listed: str | None,
    exhaustive: bool,
) -> None:
    """Which dataset versions, stages, models and aliases have seen a record (RECORD: 12 characters
    of its id at least), now and then.

    --subject is an address, a name or a number as the scan finds it. What you give is not shown,
    logged or kept. With `-` it is not in your shell's history either.
    """
    asked = asked_for(record, text, subject, listed)
    found = look_up(call, asked, "trace", exhaustive=exhaustive)
    records, touched, aliases, check = found.records, found.touched, found.aliases, found.check
    document = {
        "asked": asked.by,
        "records": [asdict(one) for one in records],
        "touched": [
            {**asdict(user), "aliases": [asdict(one) for one in aliases[user.what]]}
            for user in touched
        ],
        "not_looked_up": [
            {"step": step.statement.predicate.stage, "dataset": step.dataset,
             "entry": step.statement.index, "digest": step.digest, "reason": reason}
            for step, reason in found.missing
        ],
        "exhaustive": asdict(check) if check else None,
        "not_shown": NOT_SHOWN,
    }  # fmt: skip
    call.show(document, list(lines(records, touched, aliases, found.missing, check)))
    call.exit(_exit_code(asked, records, check))


def _exit_code(asked: Asked, records: Collection[Traced], check: Check | None) -> int:
    if check is not None and not check.complete:
        return VerificationError.exit_code
    unknown = [
        each for each in asked.beginnings if not any(one.id.startswith(each) for one in records)
    ]
    return InputError.exit_code if unknown else 0


# --- the answer -----------------------------------------------------------------------------------


def lines(
    records: Sequence[Traced],
    touched: Sequence[Touched],
    aliases: dict[str, list[Held]],
    missing: Sequence[tuple[Step, str]],
    check: Check | None,
) -> Iterator[str]:
    """For people: first what has seen the records."""
    seen = f"seen by {len(touched)} generated datasets, trainings and versions"
    yield f"{len(records)} records; {seen}; {len(missing)} steps not looked up"
    for user in touched:
        yield f"  {user.what:<24} {user.how}, sha256 {user.digest[:12]}  [E{user.entry}]"
        yield from (f"    {_alias(one)}" for one in aliases[user.what])
    for one in records[:SHOWN]:
        yield f"record {one.id}"
        yield from (f"  generated from {parent}" for parent in one.parents)
        yield from (f"  {derived} was generated from it" for derived in one.derived)
        yield from (f"  {_place(place)}" for place in one.places)
    if len(records) > SHOWN:
        yield from _summary(records)
    for step, reason in missing:
        stage = step.statement.predicate.stage
        yield f"not looked up: {stage}, {reason}  [E{step.statement.index}]"
    if check is not None:
        yield from _check_lines(check)
    yield from (f"not shown: {line}" for line in NOT_SHOWN)


def _alias(one: Held) -> str:
    if one.until is None:
        return f"{one.alias} since {one.since}, now"
    return f"{one.alias} from {one.since} to {one.until} ({one.how_ended})"


def _place(place: Place) -> str:
    did = f"left it out: {place.reason}" if place.reason else "holds it"
    when = "now" if place.latest else "then"
    source = f", {place.file}:{place.row}" if place.file else ""
    return f"{place.step:<28} {when:<4} {did}{source}  [E{place.entry}]"


def _summary(records: Sequence[Traced]) -> Iterator[str]:
    """How many of many records each step has."""
    counts: Counter[tuple[int, str, bool, str]] = Counter()
    for one in records:
        counts.update(
            {(place.entry, place.step, place.latest, place.reason) for place in one.places}
        )
    yield f"all {len(records)} records (--json lists them)"
    for (entry, step, latest, reason), count in sorted(counts.items()):
        did = f"left out {count}: {reason}" if reason else f"holds {count}"
        yield f"  {step:<28} {'now' if latest else 'then':<4} {did}  [E{entry}]"


def _check_lines(check: Check) -> Iterator[str]:
    if check.complete:
        yield "the index is complete: every file that is here and that you may read was read"
    else:
        yield f"INDEX NOT COMPLETE: reading found {len(check.lacking)} records that it lacks"
        yield from (f"  {record}" for record in check.lacking)
    for step in check.not_read:
        yield f"not read: {step}, its files are not here any more"
