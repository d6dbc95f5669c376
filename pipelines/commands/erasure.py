"""`countersign erasure`: which datasets, models and versions have seen a record.

1. The log holds roots and counts, never record ids. The log alone shows only which datasets went
   into which model.
2. If a dataset's file is here with the recorded digest, the id is looked up in it and in the list
   of excluded records. If not, the answer is "not looked up" with the reason, never "no".
3. Everything made from a dataset that holds the record is followed by digest: trainings,
   evaluations, versions.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from governance.attest.digests import sha256_file
from governance.base.errors import ConfigError, InputError
from governance.commands import session, sources
from governance.commands.session import Call
from governance.history.chain import Chain
from governance.history.lineage import inputs, subject
from governance.history.state import LogState
from governance.log.evidence import Evidence

ID = re.compile(r"[0-9a-f]{12,64}")
NOT_SHOWN = (
    (
        "Which records are about a person: an id is of a record's content. Find the person's"
        " records in the source; their ids are in data/ingested/DATASET/records.parquet."
    ),
    (
        "Copies outside this project: DVC's cache and remotes, backups, and the weights themselves."
        " Nothing proves that a model has forgotten a record."
    ),
)


Result = Literal["holds", "excluded", "absent", "not looked up"]
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


@dataclass(frozen=True)
class Touched:
    """A model or version that was made from a dataset with the record, or scored on it."""

    what: str
    entry: int
    digest: str
    how: str


@click.command("erasure")
@click.argument("record", metavar="HASH")
@session.options(*session.READS)
def command(call: Call, record: str) -> None:
    """Which datasets, models and versions have seen the record with this id (12 characters of it at
    least).
    """
    if not ID.fullmatch(record):
        raise ConfigError(
            f"{record[:80]!r} is not a record id", expected="12 to 64 hexadecimal digits"
        )
    here = sources.verified(sources.of(call.bundle, call.origin))
    now, _ = here.read
    look_ups = list(look_up(now, Path.cwd(), record))
    holders = {one.digest for one in look_ups if one.result == "holds"}
    touched = list(made_from(now, holders))
    document = {
        "record": record,
        "datasets": [{**asdict(one), "answer": one.answer} for one in look_ups],
        "touched": [asdict(one) for one in touched],
        "not_shown": NOT_SHOWN,
    }
    call.show(document, list(lines(record, look_ups, touched)))


def lines(record: str, look_ups: list[LookUp], touched: list[Touched]) -> Iterator[str]:
    """The answer for people: first what has seen the record, then where it was looked up."""
    missing = sum(one.result == "not looked up" for one in look_ups)
    known = missing < len(look_ups)
    seen = f"seen by {len(touched)} trainings and versions" if known else "NOT KNOWN"
    yield f"record {record}: {seen}; {missing} of {len(look_ups)} files could not be read"
    for one in touched:
        yield f"  {one.what:<24} {one.how}, sha256 {one.digest[:12]}  [E{one.entry}]"
    if not touched and known:
        yield "  no training or version used a dataset that holds it, as far as files could be read"
    yield "datasets"
    for step in look_ups:
        yield f"  {step.step:<28} {step.answer}  [E{step.entry}]"
    yield from (f"not shown: {line}" for line in NOT_SHOWN)


def look_up(now: LogState, root: Path, record: str) -> Iterator[LookUp]:
    """(2) Every step of every dataset in the log, in order."""
    for kind in ("ingest", "scan", "quality"):
        for item in now.evidence.all(kind):
            digest = subject(item, "records")
            if digest is not None:
                step = item.predicate
                result, reason = _result(item, root, record)
                yield LookUp(step.dataset, step.stage, item.index, digest, result, reason)


def made_from(now: LogState, digests: set[str]) -> Iterator[Touched]:
    """(3) The trainings on these datasets, the models trained from theirs, and the versions made of
    them.
    """
    yield from trained(list(now.evidence.all("train")), digests)
    for item in now.evidence.all("registration"):
        version = item.predicate
        chain = Chain(now.evidence, version.model_digest, version.stage)
        uses = sorted(
            {use for data, used in chain.datasets for use in used if data.sha256 in digests}
        )
        if uses:
            yield Touched(
                f"{version.model}/{version.version}",
                item.index,
                version.model_digest,
                f"built from {', '.join(uses)}",
            )


def trained(trainings: list[Evidence], digests: set[str]) -> list[Touched]:
    """The trainings on these datasets, and those with a resulting model as parent or scorer."""
    found: dict[int, Touched] = {}
    models: set[str] = set()
    before = -1
    while len(found) > before:  # again after each find: the log may have a child before its parent
        before = len(found)
        for item in trainings:
            how = _how(inputs(item), digests, models)
            if how and item.index not in found:
                model = subject(item, "model")
                models |= {model} if model else set()
                found[item.index] = Touched(
                    item.predicate.stage, item.index, model or "not recorded", how
                )
    return [found[index] for index in sorted(found)]


def _how(given: dict[str, str], digests: set[str], models: set[str]) -> str:
    if given.get("data") in digests:
        return "trained on it"
    return next(
        (f"its {role} has seen it" for role in ("parent", "scorer") if given.get(role) in models),
        "",
    )


def _result(item: Evidence, root: Path, record: str) -> tuple[Result, str]:
    missing = _missing(item, root, "records")
    excluded = _exclusion(item, root, record)
    if not missing:
        try:
            held = _holds(root / _path(item, "records"), record)
        except ModuleNotFoundError:
            missing = "reading it needs the extra `pipeline`"
        except ValueError:  # pyarrow's
            missing = f"{_path(item, 'records')} cannot be read as records"
        else:
            if held:
                return "holds", ""
            return ("excluded", excluded) if excluded else ("absent", "")
    if excluded:
        return "excluded", excluded
    counts = item.predicate.counts
    recorded = f"{counts.records_out:,} records, root {counts.records_root[:12]}"
    return "not looked up", f"{missing}; the log has {recorded}"


def _holds(path: Path, record: str) -> bool:
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    for batch in parquet.ParquetFile(path).iter_batches(columns=["id"]):
        if compute.any(compute.starts_with(batch.column(0), record)).as_py():
            return True
    return False


def _exclusion(item: Evidence, root: Path, record: str) -> str:
    """Why the step excluded the record, if its list is here and has the record."""
    if _missing(item, root, "excluded"):
        return ""
    with (root / _path(item, "excluded")).open(encoding="utf-8") as rows:
        for row in rows:
            excluded: dict[str, Any] = json.loads(row) if row.strip() else {}
            if str(excluded.get("id") or "").startswith(record):
                return str(excluded.get("reason"))
    return ""


def _missing(item: Evidence, root: Path, role: str) -> str:
    """Why a file that a step wrote cannot be used; empty if it can."""
    name, digest = _path(item, role), subject(item, role)
    if digest is None or Path(name).is_absolute() or ".." in Path(name).parts:
        return "its statement names no such file inside the project"
    try:
        same = sha256_file(root / name) == digest
    except InputError:
        return f"{name} is not here"
    return "" if same else f"{name} differs from what was recorded"


def _path(item: Evidence, role: str) -> str:
    return next((one.name for one in item.subjects if one.role == role), os.devnull)
