"""The stages of a project, and which of them reads what another writes.

The families declare both (`pipelines.families`); a test holds dvc.yaml to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from governance.base.errors import ConfigError, CountersignError, Problems, did_you_mean
from pipelines import paths
from pipelines.families import all_families
from pipelines.params import Params

Graph = Mapping[str, frozenset[str]]
"""Stage, as DVC names it, to the stages that it reads from; in an order in which they can run."""


def graph(params: Params) -> Graph:
    """All stages of these parameters."""
    inputs: dict[str, list[Path]] = {}
    makers: dict[Path, str] = {}
    for name, family in all_families().items():
        for key in getattr(params, family.table) if family.table else [""]:
            stage = f"{name}@{key}" if key else name
            inputs[stage] = [file.path for file in family.inputs(params, key)]
            inputs[stage] += [paths.rechecked(key)] if family.is_rechecked else []
            makers |= {file.path: stage for file in family.outputs(params, key)}
    reads = {
        stage: frozenset(
            makers[place]
            for path in paths
            for place in (path, *path.parents)
            if makers.get(place, stage) != stage
        )
        for stage, paths in inputs.items()
    }
    return {stage: reads[stage] for stage in TopologicalSorter(reads).static_order()}


def needed(stages: Graph, targets: Iterable[str]) -> list[str]:
    """The targets (stages, or families) and every stage that they read from; all stages without
    targets. In an order in which they can run. Raises `ConfigError` for an unknown one.
    """
    queue = named(stages, targets)
    found: set[str] = set()
    while queue:
        stage = queue.pop()
        if stage not in found:
            found.add(stage)
            queue += stages[stage]
    return [stage for stage in stages if stage in found]


def named(stages: Graph, targets: Iterable[str]) -> list[str]:
    """The targets alone; all stages without targets. Raises `ConfigError` for an unknown one."""
    wanted = list(targets) or list(stages)
    known = {name for stage in stages for name in (stage, stage.partition("@")[0])}
    wrong: list[CountersignError] = [_unknown(name, known) for name in wanted if name not in known]
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)
    return [stage for stage in stages if {stage, stage.partition("@")[0]} & set(wanted)]


def _unknown(name: str, known: Collection[str]) -> ConfigError:
    expected = "a stage or a family of stages: see `countersign graph`"
    fix = did_you_mean(name, sorted(known))
    return ConfigError(f"no stage {name[:80]!r}", expected=expected, fix=fix)


def after(stages: Graph, changed: Iterable[str]) -> dict[str, list[str]]:
    """The stages that read, directly or not, from changed ones, with those that they read from
    directly.
    """
    touched, followers = set(changed), {}
    for stage, reads in stages.items():
        causes = sorted(reads & touched)
        if causes and stage not in touched:
            followers[stage] = causes
            touched.add(stage)
    return followers
