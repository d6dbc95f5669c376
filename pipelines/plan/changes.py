"""What a run will run, and why. DVC knows what changed since a stage last ran; whatever reads from
it may run, too.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines import dvc_lock, dvc_yaml, lock
from pipelines.dvc_errors import translated
from pipelines.families import family
from pipelines.plan.graph import Graph, after

Why = Literal["new", "changed", "after", "always"]
"""`new`: it has no results here. `changed`: something that it reads did. `after`: another stage
runs before it. `always`: it runs each time and costs seconds.
"""
NEVER_RAN = frozenset({"deleted", "not in cache"})


@dataclass(frozen=True)
class Planned:
    """One stage that will run."""

    stage: str
    why: Why
    causes: tuple[str, ...]
    """The files, parameters, code and engines that changed, or the stages that run before it."""


def changes(root: Path, stages: Graph, needed: Collection[str]) -> list[Planned]:
    """The stages of `needed` that will run, in order. DVC runs a stage `after` others only if what
    they write has changed.
    """
    status = _status(root)
    direct = {stage: _causes(status.get(stage, [])) for stage in needed}
    for stage, differences in _not_locked(root, needed).items():
        direct[stage] += differences
    ran = dvc_lock.read(root).keys()
    new = {stage for stage in needed if _is_new(status.get(stage, []), stage in ran)}
    changed = {stage for stage, causes in direct.items() if causes}
    followers = after({stage: stages[stage] for stage in needed}, changed | new)
    return list(_planned(needed, direct, new, followers))


def _planned(
    needed: Collection[str],
    direct: Mapping[str, Sequence[str]],
    new: Collection[str],
    followers: Mapping[str, Sequence[str]],
) -> Iterator[Planned]:
    for stage in needed:
        if stage in new:
            yield Planned(stage, "new", ())
        elif direct[stage]:
            yield Planned(stage, "changed", tuple(direct[stage]))
        elif stage in followers:
            yield Planned(stage, "after", tuple(followers[stage]))
        elif family(stage.partition("@")[0]).may_always_run:
            yield Planned(stage, "always", ())


def _status(root: Path) -> Mapping[str, list[Any]]:
    """Stage to what DVC found changed: see `dvc status --json`. Raises DVC's errors as ours."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    dvc_yaml.install()
    try:
        with Repo(str(root)) as repo:
            status: Mapping[str, list[Any]] = repo.status()
    except DvcException as error:
        raise translated(error) from error
    return status


def _is_new(found: Sequence[Any], ran: bool) -> bool:
    """`ran`: DVC has a record of the stage, the only trace of one without outputs."""
    outs = [state for each in _tables(found, "changed outs") for state in each.values()]
    if not outs:
        return bool(found) and not ran
    return all(state in NEVER_RAN for state in outs)


def _causes(found: Sequence[Any]) -> list[str]:
    """Changed inputs and parameters, by name."""
    causes = [name for table in _tables(found, "changed deps") for name in _named(table)]
    outs = [name for table in _tables(found, "changed outs") for name in table]
    return [*causes, *(f"{name} (its output)" for name in outs)]


def _named(table: Mapping[str, Any]) -> Iterator[str]:
    for name, state in table.items():
        if isinstance(state, dict):  # parameters of a file
            yield from (f"{name}: {parameter}" for parameter in state)
        elif state != "deleted":  # the stage that writes it is named already
            yield name


def _tables(found: Sequence[Any], name: str) -> Iterator[Mapping[str, Any]]:
    return (each[name] for each in found if isinstance(each, dict) and name in each)


def _not_locked(root: Path, needed: Collection[str]) -> dict[str, list[str]]:
    """Stage to the code and engines that differ from the lock; it refuses to run until they are
    locked.
    """
    names = {stage.partition("@")[0] for stage in needed}
    found: dict[str, list[lock.Difference]] = {}
    for difference in lock.differences(root, names):
        found.setdefault(difference.family, []).append(difference)
    return {
        stage: lock.in_words(found[stage.partition("@")[0]], named=False)
        for stage in needed
        if stage.partition("@")[0] in found
    }
