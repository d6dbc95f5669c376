"""`countersign erasure`: which datasets, models and versions have seen a record.

1. The log holds roots and counts, never record ids. The log alone shows only which datasets went
   into which model.
2. If a dataset's file is here with the recorded digest, the id is looked up in it and in the list
   of excluded records. If not, the answer is "not looked up" with the reason, never "no".
3. Where policy says who may read, a dataset that the person may not read is not looked up. The
   reads of the others are recorded first.
4. Everything made from a dataset that holds the record is followed by digest: generated datasets,
   trainings, evaluations, versions.
5. The stored answers of evaluations have the ids of the items that they answer: they are looked up,
   too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from governance.base.errors import ConfigError, InputError
from governance.commands import session, sources
from governance.commands.admitting import admitted
from governance.commands.session import Call
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.release.reading import CODE
from pipelines import answers
from pipelines.trace.made_from import Touched, made_from
from pipelines.trace.rights import allowed_and_closed
from pipelines.trace.steps import Step, proven, steps

ID = re.compile(r"[0-9a-f]{12,64}")
NOT_SHOWN = (
    (
        "Which records are about a person: an id is of a record's content. Find the person's"
        " records in the source; their ids are in the shards in data/ingested/DATASET/records."
    ),
    (
        "Stored answers that repeat a record of other data than their suite: a model may have"
        " learned it by heart."
    ),
    (
        "Copies outside this project: DVC's cache and remotes, backups, and the weights themselves."
        " Nothing proves that a model has forgotten a record."
    ),
)


Result = Literal["holds", "excluded", "absent", "not looked up"]
LOOKED_IN = ("records", "excluded")
"""Roles of the files that say whether a step had a record."""
NOT_ALLOWED: tuple[Result, str] = (
    "not looked up",
    f"policy does not let you read it ({CODE})",
)
TEXTS: dict[Result, str] = {
    "holds": "holds it",
    "excluded": "left it out: {reason}",
    "absent": "does not hold it",
    "not looked up": "not looked up: {reason}",
}


@dataclass(frozen=True)
class LookUp:
    """What one step of one dataset did with the record."""

    dataset: str
    step: str
    entry: int
    digest: str
    result: Result
    reason: str = ""
    """The code for which it was excluded, or why it was not looked up."""

    @property
    def answer(self) -> str:
        """The result in words."""
        return TEXTS[self.result].format(reason=self.reason)


@click.command("erasure")
@click.argument("record", metavar="HASH")
@session.options("key", "purpose", *session.READS)
def command(call: Call, record: str) -> None:
    """Which datasets, models and versions have seen the record with this id (12 characters of it at
    least).
    """
    if not ID.fullmatch(record):
        found = f"{record[:80]!r} is not a record id"
        raise ConfigError(found, expected="12 to 64 hexadecimal digits")
    here = sources.verified(sources.of(call))
    now, _ = here.read
    look_ups = list(look_up(now, Path.cwd(), record, _closed(call, now, Path.cwd())))
    holders = {step.digest for step in look_ups if step.result == "holds"}
    touched = list(made_from(now, holders))
    document = {
        "record": record,
        "datasets": [{**asdict(step), "answer": step.answer} for step in look_ups],
        "touched": [asdict(user) for user in touched],
        "not_shown": NOT_SHOWN,
    }
    call.show(document, list(lines(record, look_ups, touched)))


def lines(record: str, look_ups: list[LookUp], touched: list[Touched]) -> Iterator[str]:
    """The answer for people: first what has seen the record, then where it was looked up."""
    missing = sum(step.result == "not looked up" for step in look_ups)
    known = missing < len(look_ups)
    seen = f"seen by {len(touched)} trainings and versions" if known else "NOT KNOWN"
    yield f"record {record}: {seen}; {missing} of {len(look_ups)} files could not be read"
    for user in touched:
        yield f"  {user.what:<24} {user.how}, sha256 {user.digest[:12]}  [E{user.entry}]"
    if not touched and known:
        yield "  no training or version used a dataset that holds it, as far as files could be read"
    yield "datasets"
    for step in look_ups:
        yield f"  {step.step:<28} {step.answer}  [E{step.entry}]"
    yield from (f"not shown: {line}" for line in NOT_SHOWN)


def _closed(call: Call, now: LogState, root: Path) -> set[str]:
    """(3) The digests of records that this person may not read. Raises as `admitted`."""
    here = (step for step in steps(now) if _is_here(step, root))
    open_ones, closed = allowed_and_closed(call, now, here)
    if open_ones:
        admitted(call, "erasure", now, lambda: open_ones)
    return closed


def _is_here(step: Step, root: Path) -> bool:
    """Whether a file of the step is here, so that the record can be looked up in it."""
    for role in (step.role, *LOOKED_IN):
        with suppress(InputError):
            proven(step.statement, root, role)
            return True
    return False


def look_up(
    now: LogState, root: Path, record: str, closed: Collection[str] = ()
) -> Iterator[LookUp]:
    """(2) Every step of every dataset in the log, in order. `closed`: digests of records that are
    not looked up.
    """
    for step in steps(now):
        if step.digest in closed:
            result, reason = NOT_ALLOWED
        else:
            result, reason = _result(step, root, record)
        named, entry = step.statement.predicate.stage, step.statement.index
        if step.role == "answers":
            named = f"{named}, answers"
        yield LookUp(step.dataset, named, entry, step.digest, result, reason)


def _result(step: Step, root: Path, record: str) -> tuple[Result, str]:
    statement = step.statement
    excluded = _exclusion(statement, root, record)
    try:
        if _holds(proven(statement, root, step.role), record):
            return "holds", ""
        return ("excluded", excluded) if excluded else ("absent", "")
    except ModuleNotFoundError:
        missing = "reading it needs the extra `pipeline`"
    except InputError as error:
        missing = error.found
    except ValueError:  # pyarrow's
        missing = "its file cannot be read as records"
    if excluded:
        return "excluded", excluded
    if step.role == "answers":
        return "not looked up", missing
    counts = statement.predicate.counts
    recorded = f"{counts.records_out:,} records, root {counts.records_root[:12]}"
    return "not looked up", f"{missing}; the log has {recorded}"


def _holds(path: Path, record: str) -> bool:
    """`path`: a folder of shards, a file that an older version wrote, or answers."""
    if path.suffix == ".jsonl":
        return any(item.id.startswith(record) for item in answers.read(path))
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        for batch in parquet.ParquetFile(file).iter_batches(columns=["id"]):
            if compute.any(compute.starts_with(batch.column(0), record)).as_py():
                return True
    return False


def _exclusion(statement: Evidence, root: Path, record: str) -> str:
    """The code for which the step excluded the record; empty if its list is not here or does not
    have the record.
    """
    try:
        path = proven(statement, root, "excluded")
    except InputError:
        return ""
    with path.open(encoding="utf-8") as rows:
        for row in rows:
            excluded: dict[str, Any] = json.loads(row) if row.strip() else {}
            if str(excluded.get("id") or "").startswith(record):
                return str(excluded.get("reason"))
    return ""
