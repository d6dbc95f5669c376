"""The projects that this machine knows: those of `projects.yaml` in COUNTERSIGN_HOME, those whose
log is kept here, and the one at hand.

`projects.yaml` is machine configuration, like COUNTERSIGN_LOG, which it replaces for each project:

    projects:
      support-desk: {log: "postgresql://countersign@db/support_desk", signer: "file2:/keys/desk"}
      claims: {log: "https://countersign.example.org/claims", origin: SHA256}

It holds no password: PostgreSQL reads them from PGPASSFILE. A row on a server names the account
and where its password is:

      claims: {log: "https://models.example.org/claims", user: ann, password_file: claims-password}

A row without `user` has the account of the environment (COUNTERSIGN_USER, MLFLOW_TRACKING_USERNAME
and their passwords) only if COUNTERSIGN_LOG or COUNTERSIGN_REGISTRY is an address of the same
server: that account is told to no other.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from governance.base.errors import ConfigError
from governance.base.home import state_home
from governance.base.model import SLUG, Model, Slug
from governance.base.yaml import load_model, place
from governance.log.http_client import is_server, same_origin
from governance.machine.machine import DATABASE, Machine, machine

FILE = "projects.yaml"
OWN = ("LOG", "ORIGIN", "SIGNER", "SIGNER_PUBLIC", "CHECKPOINT", "CHECKPOINT_PUBLIC")
"""The variables, after `COUNTERSIGN_`, that a row sets; a row without one has the default."""
ACCOUNTS = (
    *("COUNTERSIGN_USER", "COUNTERSIGN_PASSWORD"),
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
)
"""The variables with an account on one server."""
MAX_PASSWORD = 1024


class Row(Model):
    """One project: the values of `OWN`, in lower case."""

    log: str | None = Field(None, repr=False)
    """As COUNTERSIGN_LOG; by default the project's own file in COUNTERSIGN_HOME."""
    origin: str | None = None
    signer: str | None = None
    signer_public: str | None = None
    checkpoint: str | None = None
    checkpoint_public: str | None = None
    user: str | None = Field(None, min_length=1)
    """The account on the server of `log`."""
    password_file: str | None = None
    """A file with its password that only its owner can read; a relative path is below the folder of
    projects.yaml.
    """
    password_variable: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Or the environment variable that holds it."""

    @model_validator(mode="after")
    def _account(self) -> Self:
        passwords = [self.password_file, self.password_variable]
        if self.user is None and any(passwords):
            raise ValueError("a password needs `user`")
        if self.user is not None and passwords.count(None) != 1:
            raise ValueError("`user` needs one of `password_file` and `password_variable`")
        if self.user is not None and not is_server(self.log or ""):
            raise ValueError("`user` is an account on a server: `log` is https://...")
        return self


class Projects(Model):
    """The contents of projects.yaml."""

    projects: dict[Slug, Row] = Field(min_length=1)


def listed(path: Path, environ: Mapping[str, str]) -> dict[str, Machine]:
    """The projects of a projects.yaml, each as this machine has it. Raises `ConfigError` or
    `Problems`; two projects with one log are a mistake.
    """
    rows = load_model(path, Projects).projects
    machines = {}
    for name, row in rows.items():
        account = _account(row, environ, path, place(path, "projects", name))
        machines[name] = machine(name, {**_environ(name, row, environ), **account})
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
    if row.user is not None or (row.log and not _is_server_of(row.log, environ)):
        kept = {variable: value for variable, value in kept.items() if variable not in ACCOUNTS}
    return {**kept, **given, "COUNTERSIGN_PROJECT": name}


def _is_server_of(log: str, environ: Mapping[str, str]) -> bool:
    """Whether the account of the environment is for the server of this log."""
    own = (environ.get("COUNTERSIGN_LOG", ""), environ.get("COUNTERSIGN_REGISTRY", ""))
    return any(same_origin(log, address) for address in own)


def _account(row: Row, environ: Mapping[str, str], path: Path, where: str) -> dict[str, str]:
    """The account that a row names, as variables. Raises `ConfigError`."""
    if row.user is None:
        return {}
    if row.password_file is not None:
        password = _read_password(path.parent / row.password_file)
    else:
        password = environ.get(row.password_variable or "", "")
    if not password:
        source = row.password_file or row.password_variable
        found = f"no password in {source}"
        raise ConfigError(found, where=where, expected=f"the password of {row.user}")
    return {"COUNTERSIGN_USER": row.user, "COUNTERSIGN_PASSWORD": password}


def _read_password(path: Path) -> str:
    """The one line of a file. Raises `ConfigError` where others can read it."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_PASSWORD)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"it cannot be read: {type(error).__name__}", where=str(path)) from None
    if mode & 0o077:
        found = f"others can read or write this password (mode {mode:04o})"
        fix = f"chmod 600 {path}; if others may have read it, change the password"
        raise ConfigError(found, where=str(path), fix=fix)
    return text.strip()
