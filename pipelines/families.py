"""What a family of stages declares about itself; everything else is derived from it.

A family is a module of `pipelines.stages` with the family's name and a `FAMILY`. To add one, write
three files: the module, its entry in dvc.yaml, and its test. The harness, `countersign repro`,
`countersign.lock` and the network setting read the declaration; nothing else lists the families.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from governance.base.errors import ConfigError, CountersignError, Problems, unknown
from pipelines import stages
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params

if TYPE_CHECKING:
    from pipelines.project import Project


def mistakes_of(work: Callable[[], object]) -> list[CountersignError]:
    """The mistakes that `work` raises; none if it succeeds."""
    try:
        work()
    except Problems as error:
        return list(error.problems)
    except CountersignError as error:
        return [error]
    return []


def no_mistakes(project: Project) -> Iterable[CountersignError]:
    """Of a family whose parameters need no check beforehand."""
    return ()


@dataclass(frozen=True)
class StageFamily:
    """One family of stages, e.g. `ingest`, of which `ingest@desk_sft` is a stage."""

    run: Callable[[Job], Outcome]
    """Reads the inputs, does one thing, writes deterministic outputs."""
    inputs: Callable[[Params, str], list[Input]]
    """The files and folders that stage `key` reads; they are hashed before it runs."""
    outputs: Callable[[Params, str], list[Output]]
    """The files and folders that stage `key` writes."""
    table: str = ""
    """The table of params.yaml that has one row per stage; empty for a family of one stage."""
    settings: tuple[str, ...] = ()
    """Further tables of params.yaml that its results depend on."""
    evidence: str | None = None
    """The kind of the signed statement; None records nothing."""
    also_signs: tuple[str, ...] = ()
    """The kinds of further statements that it records itself and that need a right."""
    engines: tuple[str, ...] = ()
    """Python distributions whose version can change an output."""
    optional_engines: Mapping[str, str] = field(default_factory=dict)
    """Further ones that a base install lacks, with our extra that installs each."""
    code_folders: tuple[str, ...] = ()
    """Folders of our packages that its code reads as files, and that count as its code."""
    network: bool = False
    """Whether its stages may download."""
    writes_runs: bool = False
    """Whether its stages write to the registry, so that the account needs a right there."""
    always_runs: bool = False
    """Whether its stages run at every repro, even if no input changed."""
    is_rechecked: bool = False
    """Whether `recheck` decides at every repro if its stages run, even if no input changed."""
    uses_digests_only: bool = False
    """Its statement is about digests that were taken, so inputs are not hashed a second time."""
    mistakes: Callable[[Project], Iterable[CountersignError]] = no_mistakes
    """Mistakes in parameters and policies that can be found before any stage runs."""

    @property
    def may_always_run(self) -> bool:
        """Whether its stages may run although no input changed. They cost seconds."""
        return self.always_runs or self.is_rechecked

    @property
    def signs(self) -> tuple[str, ...]:
        """The kinds of statements that its stages record and that need a right."""
        return (*((self.evidence,) if self.evidence else ()), *self.also_signs)


@cache
def names() -> tuple[str, ...]:
    """The names of all families, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(stages.__path__)))


def family(name: str) -> StageFamily:
    """The declaration of one family; imports its module. Raises `ConfigError`."""
    if name not in names():
        raise unknown("stage family", name, names())
    declared: StageFamily = importlib.import_module(f"{stages.__name__}.{name}").FAMILY
    return declared


def require_row(name: str, key: str, params: Params) -> None:
    """Raises `ConfigError` unless the family `name` has a stage `key`: a row of its table."""
    table = family(name).table
    if not table and key:
        fix = f"run `countersign stage {name}`"
        raise ConfigError(f"{name} is one stage, and {key[:80]!r} is none of it", fix=fix)
    rows = getattr(params, table) if table else {}
    if table and key not in rows:
        raise unknown(f"{name} stage", key, rows, f"params.yaml: {table}")


def all_families() -> Mapping[str, StageFamily]:
    """Name to declaration of every family. Imports every stage module, but no vendor library that
    a stage imports in its functions.
    """
    return {name: family(name) for name in names()}
