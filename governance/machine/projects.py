"""The projects that this machine knows: those of `projects.yaml` in COUNTERSIGN_HOME, those whose
log is kept here, and the one at hand.

`projects.yaml` is machine configuration, like COUNTERSIGN_LOG, which it replaces for each project:

    projects:
      support-desk: {log: "postgresql://countersign@db/support_desk", signer: "file2:/keys/desk"}
      claims: {log: "https://countersign.example.org/claims", origin: SHA256}

It need not hold passwords: PostgreSQL reads them from PGPASSFILE, and COUNTERSIGN_PASSWORD is for
servers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from governance.base.errors import ConfigError
from governance.base.home import state_home
from governance.base.model import SLUG, Model, Slug
from governance.base.yaml import load_model, place
from governance.machine.machine import DATABASE, Machine, machine

FILE = "projects.yaml"
OWN = ("LOG", "ORIGIN", "SIGNER", "SIGNER_PUBLIC", "CHECKPOINT", "CHECKPOINT_PUBLIC")
"""The variables, after `COUNTERSIGN_`, that a row sets; a row without one has the default."""


class Row(Model):
    """One project: the values of `OWN`, in lower case."""

    log: str | None = Field(None, repr=False)
    """As COUNTERSIGN_LOG; by default the project's own file in COUNTERSIGN_HOME."""
    origin: str | None = None
    signer: str | None = None
    signer_public: str | None = None
    checkpoint: str | None = None
    checkpoint_public: str | None = None


class Projects(Model):
    """The contents of projects.yaml."""

    projects: dict[Slug, Row] = Field(min_length=1)


def listed(path: Path, environ: Mapping[str, str]) -> dict[str, Machine]:
    """The projects of a projects.yaml, each as this machine has it. Raises `ConfigError` or
    `Problems`; two projects with one log are a mistake.
    """
    rows = load_model(path, Projects).projects
    machines = {name: machine(name, _environ(name, row, environ)) for name, row in rows.items()}
    logs = Counter(each.log_uri for each in machines.values())
    for name, each in machines.items():
        if logs[each.log_uri] > 1:
            found = "two projects have the same log; a statement belongs to one log"
            fix = "give each a database of its own"
            raise ConfigError(found, where=place(path, "projects", name), fix=fix)
    return machines


def known(environ: Mapping[str, str], here: Machine | None = None) -> dict[str, Machine]:
    """All projects that this machine knows, by name. `here`: the one at hand, as its environment
    describes it. Raises `ConfigError` for a projects.yaml with mistakes.
    """
    home = state_home(environ)
    found = listed(home / FILE, environ) if (home / FILE).exists() else {}
    for database in sorted(home.glob(f"*/{DATABASE}")):
        name = database.parent.name
        if re.fullmatch(SLUG, name) and name not in found:
            found[name] = machine(name, _environ(name, Row(), environ))
    if here is not None and here.project not in found:
        found[here.project] = here
    return dict(sorted(found.items()))


def _environ(name: str, row: Row, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of one project: what the environment says of another one is left out."""
    ours = {f"COUNTERSIGN_{variable}" for variable in (*OWN, "PROJECT", "REGISTRY")}
    kept = {variable: value for variable, value in environ.items() if variable not in ours}
    values = {f"COUNTERSIGN_{variable}": getattr(row, variable.lower()) for variable in OWN}
    given = {variable: value for variable, value in values.items() if value is not None}
    return {**kept, **given, "COUNTERSIGN_PROJECT": name}
