"""A project as every stage and command sees it: parameters, policies and machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from governance.base.errors import ConfigError
from governance.machine.machine import Machine, machine
from governance.policy.policies import Policies, load_policies
from pipelines.params import Params, load_params


@dataclass(frozen=True)
class Project:
    """Parameters, policies and machine of a project."""

    root: Path
    params: Params
    policies: Policies
    machine: Machine


def open_project(root: Path, environ: Mapping[str, str]) -> Project:
    """The project at `root`. Raises `ConfigError` with every mistake of its parameters and
    policies.
    """
    if not (root / "params.yaml").is_file():
        fix = "change to the project's folder"
        raise ConfigError("no params.yaml here", where=str(root), expected="a project", fix=fix)
    params = load_params(root)
    return Project(root, params, load_policies(root / "policies"), machine(params.project, environ))


def utc_now() -> datetime:
    """The machine's clock: the only source of time for stages."""
    return datetime.now(UTC)
