"""`countersign trace`: which dataset versions, stages, models and aliases have seen records, now
and then.

1. The log says which contents belong to which steps; the index says which records are in them
   (`pipelines.trace.index`). New contents are read first, from the project and from DVC's cache.
2. A content that is in neither place, and that was never indexed, is "not looked up", never "no".
3. Where policy says who may read, a dataset that the person may not read is neither read nor looked
   up. The reads of the others are recorded first.
4. What was asked for is never repeated: neither texts nor subjects. `-` reads them from stdin.

Exit codes: 0 answered; 3 an id is in nothing that was looked into; 5 reading found what the index
lacks.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click

from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.progress import Progress
from governance.commands import session, sources
from governance.commands.admitting import admitted
from governance.commands.session import Call
from pipelines.project import open_project
from pipelines.record_ids import load_key
from pipelines.trace.answer import Held, Place, Traced, held, holders, traced
from pipelines.trace.files import Files
from pipelines.trace.fill import fill
from pipelines.trace.index import FILE, MEMBERS, Index
from pipelines.trace.made_from import Touched, made_from
from pipelines.trace.rights import allowed_and_closed
from pipelines.trace.steps import Step, steps
from pipelines.trace.words import Words, plain_subject, plain_text

ID = re.compile(r"[0-9a-f]{12,32}")
SHOWN = 3
"""Records whose places are listed one by one for people."""
NOT_SHOWN = (
    "Personal data that the scan does not find. --exhaustive --subject reads every text for it.",
    "Stored answers that repeat a record of other data than their suite.",
    "Copies elsewhere: DVC's remotes, backups, the weights themselves. Nothing proves that a model"
    " has forgotten a record.",
)
Kind = Literal["record", "file", "text", "subject"]


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    by: Kind
    beginnings: tuple[str, ...] = ()
    """Of record ids."""
    value: str = ""
    """A text or a subject. It is never shown."""


@dataclass(frozen=True)
class Check:
    """What reading the files found."""

    complete: bool
    lacking: list[str]
    """Records that the index does not have, or not everywhere where they are."""
    not_read: list[str]
    """Steps whose files are not here."""


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
    asked = _asked(record, text, subject, listed)
    now, _ = sources.verified(sources.of(call)).read
    _, closed = allowed_and_closed(call, now, steps(now))
    chosen = [step for step in steps(now) if step.digest not in closed]
    files = Files.of(Path.cwd(), now)
    with ExitStack() as stack:
        index = stack.enter_context(Index(call.machine.state / FILE))
        words = _words(asked, stack)
        fill(index, files, chosen, words, Progress())
        known = index.contents(MEMBERS)
        wanted, _ = allowed_and_closed(call, now, (one for one in chosen if one.digest in known))
        if wanted:
            admitted(call, "trace", now, lambda: wanted)
        ids = _ids(index, asked, words)
        check = _checked(index, files, chosen, asked, words, ids) if exhaustive else None
        records = traced(index, chosen, ids.union(check.lacking if check else ()))
    touched = list(made_from(now, holders(records)))
    aliases = {user.what: held(now, user) for user in touched}
    missing = [
        *((step, "neither here nor in DVC's cache") for step in chosen if step.digest not in known),
        *(
            (step, "policy does not let you read it")
            for step in steps(now)
            if step.digest in closed
        ),
    ]
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
            for step, reason in missing
        ],
        "exhaustive": asdict(check) if check else None,
        "not_shown": NOT_SHOWN,
    }  # fmt: skip
    call.show(document, list(lines(records, touched, aliases, missing, check)))
    call.exit(_exit_code(asked, records, check))


def _exit_code(asked: Asked, records: Collection[Traced], check: Check | None) -> int:
    if check is not None and not check.complete:
        return VerificationError.exit_code
    unknown = [
        each for each in asked.beginnings if not any(one.id.startswith(each) for one in records)
    ]
    return InputError.exit_code if unknown else 0


# --- what is asked --------------------------------------------------------------------------------


def _asked(record: str | None, text: str | None, subject: str | None, listed: str | None) -> Asked:
    """Exactly one of the four. Raises `ConfigError`, which never quotes what was given."""
    if sum(each is not None for each in (record, text, subject, listed)) != 1:
        raise ConfigError("one question at a time", expected="RECORD, --text, --subject or --file")
    if record is not None:
        return Asked("record", (_id(record, "RECORD"),))
    if listed is not None:
        rows = _given(listed, "--file").splitlines() if listed == "-" else _rows(Path(listed))
        ids = [
            _id(row.strip(), f"--file, line {number}")
            for number, row in enumerate(rows, start=1)
            if row.strip()
        ]
        if not ids:
            raise ConfigError("the list has no record ids", where="--file")
        return Asked("file", tuple(dict.fromkeys(ids)))
    by: Kind = "text" if text is not None else "subject"
    value = _given(text if text is not None else subject or "", f"--{by}")
    plain = plain_text(value) if by == "text" else plain_subject(value)
    if not plain:
        raise ConfigError(f"an empty {by}", where=f"--{by}")
    return Asked(by, value=value)


def _given(value: str, where: str) -> str:
    text = sys.stdin.read() if value == "-" else value
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("not UTF-8", where=where) from None
    return text


def _rows(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = f"the list cannot be read ({type(error).__name__})"
        raise InputError(found, where=str(path)) from None


def _id(given: str, where: str) -> str:
    if not ID.fullmatch(given):
        expected = "12 to 32 hexadecimal digits"
        raise ConfigError("not a record id", where=where, expected=expected)
    return given


def _words(asked: Asked, stack: ExitStack) -> Words | None:
    """What is looked up by its HMAC."""
    if asked.by not in ("text", "subject"):
        return None
    from pipelines.pii.engine import PlainEngine
    from pipelines.pii.search import Search
    from pipelines.trace.words import Subjects, Texts

    project = open_project(Path.cwd(), os.environ)
    key = load_key(project.root, project.params.records)
    if asked.by == "text":
        return Texts(key)
    engine = PlainEngine(project.policies.pii, project.root)
    cache = project.machine.state / "cache" / "pii.sqlite"
    return Subjects(key, stack.enter_context(Search(engine, cache, key.secret)))


def _ids(index: Index, asked: Asked, words: Words | None) -> set[str]:
    """The records that the index names."""
    if words is not None:
        return set(index.with_word(words.key(asked.value)))
    return {record for beginning in asked.beginnings for record in index.ids(beginning)}


def _checked(
    index: Index,
    files: Files,
    chosen: Sequence[Step],
    asked: Asked,
    words: Words | None,
    ids: Collection[str],
) -> Check:
    """The index beside the files."""
    from pipelines.trace.exhaustive import holding, read

    named = holding(files, chosen, words, asked.value) if words else set()
    done = read(files, chosen, (*asked.beginnings, *ids, *named))
    found = {member.record for member in done.members}
    indexed = {
        member for member in index.members({*ids, *found}) if member.content in done.contents
    }
    differing = {member.record for member in done.members ^ indexed}
    lacking = sorted(differing | (named - set(ids)))
    not_read = [
        step.statement.predicate.stage for step in chosen if step.digest not in done.contents
    ]
    return Check(not lacking, lacking, not_read)


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
