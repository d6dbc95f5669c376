"""The way back from a version: every record of the datasets behind it, from the index and the log.

1. A row of a source is *in* where the last step of its dataset has it, and *left out* where a step
   lists it. A row that a step took and neither has nor lists is *lost*: index, files and evidence
   do not agree. Where a step is not looked into, what it did with a row is *not known*.
2. A redacted record keeps its id: that of its content as ingested.
3. Records are read in the order of their ids, a part of them at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from governance.attest.predicates import Scan
from governance.history.chain import Chain
from governance.history.lineage import DataChain, inputs
from pipelines.trace.index import Index, Member, Range
from pipelines.trace.steps import Step, artifact

State = Literal["in", "left out", "lost", "not known"]
Place = tuple[str, int]
"""File and row of a source."""

NOWHERE = ("", 0)
"""The place of every record in files of older versions."""


@dataclass(frozen=True)
class Behind:
    """A dataset behind a version."""

    dataset: str
    digest: str
    """Of the records that were used."""
    uses: list[str]
    generated_by: str
    """The stage that made its source; empty where none did."""
    steps: list[Step]
    """Ingest, scan and quality; without those that have no evidence."""


@dataclass(frozen=True)
class Row:
    """A row of a source, and what became of it."""

    dataset: str
    digest: str
    """Of the records that were used: two versions of a dataset may be behind a model."""
    record: str
    """Empty: it never became a record."""
    file: str
    row: int
    state: State
    step: str = ""
    """The step that left it out or lost it."""
    reason: str = ""
    """The code for which it was left out."""
    redacted: bool | None = None
    """Whether the scan changed it; None where this is not known."""
    parents: Sequence[str] = ()
    """The records that it was generated from."""


@dataclass(frozen=True)
class Looked:
    """What the index knows of a step."""

    step: Step
    listed: str
    """The content that lists what it left out; empty where it has none."""
    known: bool
    compared: bool
    """Whether it is known which of its records were redacted."""

    @property
    def name(self) -> str:
        """The name of its stage."""
        return str(self.step.statement.predicate.stage)


def behind(chain: Chain) -> list[Behind]:
    """The datasets that a version rests on."""
    return [
        Behind(
            data.dataset,
            data.sha256,
            sorted(uses),
            data.generation.predicate.stage if data.generation else "",
            _steps(data),
        )
        for data, uses in chain.datasets
    ]


def _steps(data: DataChain) -> list[Step]:
    found, digest = list[Step](), data.sha256
    for statement in (data.quality, data.scan, data.ingest):
        if statement is not None:
            found.insert(0, Step(statement, data.dataset, "records", digest))
            digest = inputs(statement).get("records", "")
    return found


def looked_into(step: Step, known: Collection[str], compared: Collection[str]) -> Looked:
    """`known`: the contents that the index has; `compared`: those in which it knows what was
    redacted.
    """
    excluded = artifact(step.statement, "excluded")
    listed = excluded.sha256 if excluded else ""
    is_known = step.digest in known and (not listed or listed in known)
    return Looked(step, listed, is_known, step.digest in compared)


def rows(index: Index, datasets: Sequence[tuple[Behind, list[Looked]]]) -> Iterator[Row]:
    """Every row of these datasets that a step which is looked into names."""
    wanted = {
        sha256
        for _, steps in datasets
        for each in steps
        if each.known
        for sha256 in (each.step.digest, each.listed)
        if sha256
    }
    for part in index.ranges(wanted):
        for record, members in groupby(part.members, key=lambda member: member.record):
            named = list(members)
            for data, steps in datasets:
                yield from _rows(record, named, data, steps, part)


def _rows(
    record: str, named: list[Member], data: Behind, steps: list[Looked], part: Range
) -> Iterator[Row]:
    has: dict[str, set[Place]] = {}
    left_out: dict[str, dict[Place, str]] = {}
    for each in (each for each in steps if each.known):
        mine = [(one.file, one.row) for one in named if one.content == each.step.digest]
        has[each.name] = set(mine)
        left_out[each.name] = {
            (one.file, one.row): one.reason for one in named if one.content == each.listed
        }
    places = set().union(*has.values(), *left_out.values())
    if any(NOWHERE in found for found in has.values()):
        places = {NOWHERE}
    redacted, parents = _redacted(record, steps, part), part.parents.get(record, ())
    for place in sorted(places):
        state, step, reason = _state(place, steps, has, left_out)
        stays = state in ("in", "not known")
        yield Row(
            data.dataset, data.digest, record, *place, state, step, reason,
            redacted if stays else None, parents,
        )  # fmt: skip


def _state(
    place: Place,
    steps: list[Looked],
    has: dict[str, set[Place]],
    left_out: dict[str, dict[Place, str]],
) -> tuple[State, str, str]:
    """(1) And the step and the reason."""
    for each in (each for each in steps if each.known):
        listed = left_out[each.name]
        if place in listed:
            return "left out", each.name, listed[place]
        if place == NOWHERE and listed and not has[each.name]:
            return "left out", each.name, next(iter(listed.values()))
        if place not in has[each.name] and not (place == NOWHERE and has[each.name]):
            return "lost", each.name, ""
    return ("in" if steps and steps[-1].known else "not known"), "", ""


def _redacted(record: str, steps: list[Looked], part: Range) -> bool | None:
    """(2)"""
    scans = [each for each in steps if isinstance(each.step.statement.predicate, Scan)]
    if not scans or not all(each.compared for each in scans):
        return None
    return any((record, each.step.digest) in part.redacted for each in scans)
