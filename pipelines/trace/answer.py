"""What became of records, from the index and the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from governance.history.state import LogState
from governance.history.timeline import Tenure
from pipelines.trace.files import BESIDE
from pipelines.trace.index import Index, Member
from pipelines.trace.made_from import Touched
from pipelines.trace.steps import Step, artifact


@dataclass(frozen=True)
class Place:
    """A step of a dataset that has a record, or left it out."""

    step: str
    dataset: str
    entry: int
    digest: str
    """Of the dataset's records after this step."""
    latest: bool
    """Whether the stage has made nothing else since."""
    file: str
    """Of the source; empty where it is not recorded."""
    row: int
    """1-based; 0 where it is not recorded."""
    reason: str
    """The code for which the step left the record out; empty where it has the record."""


@dataclass(frozen=True)
class Traced:
    """One record."""

    id: str
    parents: list[str]
    """The records that it was generated from."""
    derived: list[str]
    """The records that were generated from it."""
    places: list[Place]


@dataclass(frozen=True)
class Held:
    """An alias that a version held, or holds."""

    alias: str
    since: str
    until: str | None
    """None: now."""
    how_ended: str | None


def traced(index: Index, steps: Collection[Step], ids: Iterable[str]) -> list[Traced]:
    """These records and all that were generated from them, as far as these steps know them."""
    by_content = _by_content(steps)
    latest = {step.statement.predicate.stage: step.statement.index for step in steps}
    found: dict[str, Traced] = {}
    queue = sorted(set(ids))
    while queue:
        record = queue.pop()
        children = index.children(record)
        members = index.members([record])
        places = sorted(set(_places(members, by_content, latest)), key=lambda one: one.entry)
        if record not in found and places:
            queue += children
        if places:
            found[record] = Traced(record, index.parents(record), children, places)
            queue = [each for each in queue if each not in found]
    return [found[record] for record in sorted(found)]


def _by_content(steps: Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        named = (artifact(step.statement, role) for role in (step.role, *BESIDE))
        for sha256 in {each.sha256 for each in named if each is not None}:
            found[sha256].append(step)
    return found


def _places(
    members: Iterable[Member], by_content: dict[str, list[Step]], latest: dict[str, int]
) -> Iterator[Place]:
    for member in members:
        for step in by_content.get(member.content, ()):
            stage, entry = step.statement.predicate.stage, step.statement.index
            named = f"{stage}, answers" if step.role == "answers" else stage
            yield Place(
                named, step.dataset, entry, step.digest, latest[stage] == entry,
                member.file, member.row, member.reason,
            )  # fmt: skip


def holders(records: Iterable[Traced]) -> set[str]:
    """The digests of the contents that have any of these records."""
    return {place.digest for one in records for place in one.places if not place.reason}


def held(now: LogState, touched: Touched) -> list[Held]:
    """The aliases of a version, in the order in which it got them."""
    tenures = [
        each for each in now.timeline.tenures if f"{each.model}/{each.version}" == touched.what
    ]
    return [_held(each) for each in tenures]


def _held(tenure: Tenure) -> Held:
    until = tenure.ended.predicate.at if tenure.ended else None
    return Held(tenure.alias, tenure.given.predicate.at, until, tenure.how_ended)
