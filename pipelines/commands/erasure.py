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

from governance.attest.digests import digest_of
from governance.attest.predicates import Evaluate, Generation, Registration, Train
from governance.base.errors import ConfigError, InputError
from governance.commands import session, sources
from governance.commands.admitting import admitted, reader_of, rights_of
from governance.commands.session import Call
from governance.history.chain import Chain
from governance.history.contents import NOTHING, Contents
from governance.history.lineage import MAKERS, inputs, subject
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.readers import Content
from governance.release.reading import CODE, Wanted, refused
from pipelines import answers

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


@dataclass(frozen=True)
class Touched:
    """A model or version that was made from a dataset with the record, or scored on it."""

    what: str
    entry: int
    digest: str
    how: str


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


@dataclass(frozen=True)
class Step:
    """Something that a stage wrote, with the ids of records."""

    statement: Evidence
    dataset: str
    role: str
    """Of the file: `records`, or `answers` to them."""
    digest: str


def _steps(now: LogState) -> Iterator[Step]:
    """Every step of every dataset in the log, and the answers of every evaluation."""
    for kind in ("ingest", "scan", "quality"):
        for statement in now.evidence.all(kind):
            digest = subject(statement, "records")
            if digest is not None:
                yield Step(statement, statement.predicate.dataset, "records", digest)
    for scored in now.evidence.all(Evaluate):
        digest = subject(scored, "answers")
        if digest not in (None, NOTHING):
            yield Step(scored, scored.predicate.suite_name, "answers", digest)


def _closed(call: Call, now: LogState, root: Path) -> set[str]:
    """(3) The digests of records that this person may not read. Raises as `admitted`."""
    rights = rights_of(call, now)
    if not rights.restricted:
        return set()
    known, keyid = Contents(now.view), reader_of(call, now).keyid
    wanted = {
        Wanted.of(
            step.digest,
            known.of_digest(step.digest),
            frozenset({Content("dataset", step.dataset)}),
        )
        for step in _steps(now)
        if _is_here(step, root)
    }
    closed = {
        each
        for each in wanted
        if refused(rights, lambda policies: rights.of_key(policies, keyid, call.now), [each])
    }
    open_ones = sorted(wanted - closed, key=lambda each: each.sha256)
    if open_ones:
        admitted(call, "erasure", now, lambda: open_ones)
    return {each.sha256 for each in closed}


def _is_here(step: Step, root: Path) -> bool:
    """Whether a file of the step is here, so that the record can be looked up in it."""
    for role in (step.role, *LOOKED_IN):
        with suppress(InputError):
            _file(step.statement, root, role)
            return True
    return False


def look_up(
    now: LogState, root: Path, record: str, closed: Collection[str] = ()
) -> Iterator[LookUp]:
    """(2) Every step of every dataset in the log, in order. `closed`: digests of records that are
    not looked up.
    """
    for step in _steps(now):
        if step.digest in closed:
            result, reason = NOT_ALLOWED
        else:
            result, reason = _result(step, root, record)
        named, entry = step.statement.predicate.stage, step.statement.index
        if step.role == "answers":
            named = f"{named}, answers"
        yield LookUp(step.dataset, named, entry, step.digest, result, reason)


def made_from(now: LogState, digests: set[str]) -> Iterator[Touched]:
    """(4) The datasets generated from these, the trainings on any of them, the models trained from
    theirs, and the versions made of them.
    """
    trainings = list(now.evidence.all(Train))
    known = -1
    while len(digests) > known:  # again: a model may generate what the next one is trained on
        known = len(digests)
        users = trained(trainings, digests)
        derived = list(generated(now, digests, {user.digest for user in users}))
        digests = digests.union(*(_made_of(now, each.digest) for each in derived))
    yield from (*derived, *users)
    for registration in now.evidence.all(Registration):
        version = registration.predicate
        chain = Chain.registered(now.evidence, version)
        uses = {use for data, uses in chain.datasets for use in uses if data.sha256 in digests}
        if uses:
            name = f"{version.model}/{version.version}"
            how = f"built from {', '.join(sorted(uses))}"
            yield Touched(name, registration.index, version.model_digest, how)


def generated(now: LogState, digests: set[str], models: set[str]) -> Iterator[Touched]:
    """The datasets that were generated from these records, or by these models."""
    for made in now.evidence.all(Generation):
        source, used = subject(made, "source"), inputs(made)
        roles = [role for role in MAKERS if used.get(role) in models]
        how = f"its {roles[0]} has seen it" if roles else ""
        how = "generated from it" if used.get("prompts") in digests else how
        if source and how:
            yield Touched(made.predicate.stage, made.index, source, how)


def _made_of(now: LogState, source: str) -> set[str]:
    """The records that ingest, scan and quality made of a source."""
    found, before = {source}, 0
    while len(found) > before:
        before = len(found)
        found |= {
            step.digest
            for step in _steps(now)
            if step.role == "records"
            and not found.isdisjoint(
                inputs(step.statement).get(role) for role in ("source", "records")
            )
        }
    return found


def trained(trainings: list[Evidence], digests: set[str]) -> list[Touched]:
    """The trainings on these datasets, and those with a resulting model as parent or scorer."""
    touched: dict[int, Touched] = {}
    models: set[str] = set()
    before = -1
    while len(touched) > before:  # again: the log may have a child before its parent
        before = len(touched)
        for training in trainings:
            how = _how(inputs(training), digests, models)
            if how and training.index not in touched:
                model, stage = subject(training, "model"), training.predicate.stage
                models |= {model} if model else set()
                touched[training.index] = Touched(
                    stage, training.index, model or "not recorded", how
                )
    return [touched[index] for index in sorted(touched)]


def _how(used: dict[str, str], digests: set[str], models: set[str]) -> str:
    if used.get("data") in digests:
        return "trained on it"
    roles = [role for role in ("parent", "scorer") if used.get(role) in models]
    return f"its {roles[0]} has seen it" if roles else ""


def _result(step: Step, root: Path, record: str) -> tuple[Result, str]:
    statement = step.statement
    excluded = _exclusion(statement, root, record)
    try:
        if _holds(_file(statement, root, step.role), record):
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
        path = _file(statement, root, "excluded")
    except InputError:
        return ""
    with path.open(encoding="utf-8") as rows:
        for row in rows:
            excluded: dict[str, Any] = json.loads(row) if row.strip() else {}
            if str(excluded.get("id") or "").startswith(record):
                return str(excluded.get("reason"))
    return ""


def _file(statement: Evidence, root: Path, role: str) -> Path:
    """The file or folder that a step wrote. Raises `InputError` if it is not here as recorded."""
    artifact = next((artifact for artifact in statement.subjects if artifact.role == role), None)
    name = Path(artifact.name) if artifact else None
    if artifact is None or name is None or name.is_absolute() or ".." in name.parts:
        raise InputError("its statement names no such file inside the project")
    if not (root / name).exists():
        raise InputError(f"{name} is not here")
    if digest_of(root / name) != artifact.sha256:
        raise InputError(f"{name} differs from what was recorded")
    return root / name
