"""Which stages run again because of what is installed: DVC has kept each stage's results with the
entry of `countersign.lock` under which it ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines import dvc_lock
from pipelines.families import family
from pipelines.lock import FILE, Difference, Entry, between, in_words
from pipelines.plan.changes import Planned
from pipelines.plan.graph import Graph, after


def again(root: Path, stages: Graph, entries: Mapping[str, Entry]) -> list[Planned]:
    """The stages with results that run again under these entries, in order. A stage `after` others
    runs only if what they write has changed. Families that run each time are left out.
    """
    recorded = _recorded(root)
    causes = {
        stage: in_words(_differences(stage, recorded[stage], entries), named=False)
        for stage in stages
        if stage in recorded and not _family(stage).may_always_run
    }
    direct = {stage: found for stage, found in causes.items() if found}
    followers = after(stages, direct)
    return list(_planned(stages, recorded, direct, followers))


def _planned(
    stages: Graph,
    recorded: Mapping[str, Any],
    direct: Mapping[str, list[str]],
    followers: Mapping[str, list[str]],
) -> Iterator[Planned]:
    for stage in stages:
        if stage in direct:
            yield Planned(stage, "changed", tuple(direct[stage]))
        elif stage in followers and stage in recorded and not _family(stage).may_always_run:
            yield Planned(stage, "after", tuple(followers[stage]))


def _differences(stage: str, old: Entry | None, entries: Mapping[str, Entry]) -> list[Difference]:
    name = stage.partition("@")[0]
    return list(between(name, old, entries[name]))


def _family(stage: str) -> Any:
    return family(stage.partition("@")[0])


def _recorded(root: Path) -> dict[str, Entry | None]:
    """Stage to the entry under which DVC has kept its results; None if to none that can be read."""
    return {
        stage: _entry(stage.partition("@")[0], kept) for stage, kept in dvc_lock.read(root).items()
    }


def _entry(name: str, kept: Any) -> Entry | None:
    try:
        return Entry.model_validate(kept["params"][str(FILE)][name])
    except (LookupError, TypeError, ValidationError):
        return None
