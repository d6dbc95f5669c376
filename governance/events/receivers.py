"""The receivers of this machine: machine configuration, like COUNTERSIGN_LOG, and not policy.

    server: https://countersign.example.org     # links in events lead there
    receivers:
      chat:
        url: env:CHAT_URL                       # or https://..., or file:PATH
        secret: file:/run/secrets/chat          # or env:NAME
        events: [approval.wanted, incident.*]   # default: all

1. The file is COUNTERSIGN_EVENTS, else `receivers.yaml` in the project's state folder, so it is not
   in git. It holds no secret: it names a variable, or a file that only its owner can read. An
   address that is secret itself (Slack's is) is named in the same way.
2. Messages name a receiver, and of its address the host at most.
3. An address is https. http is for this machine only.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from governance.base.errors import ConfigError, CountersignError, Problems, did_you_mean, unknown
from governance.base.model import Model, Slug
from governance.base.storage import home_expanded
from governance.base.yaml import load_model, place
from governance.events.event import TEST, TYPES
from governance.events.signing import read_secrets
from governance.log.http_client import is_loopback, is_server
from governance.machine.machine import Machine

VARIABLE = "COUNTERSIGN_EVENTS"
FILE = "receivers.yaml"
MAX_BYTES = 4096
"""Of a file with a secret or an address."""
EXAMPLE = "env:NAME or file:PATH"


class Row(Model):
    """One receiver as the file names it."""

    url: str = Field(repr=False)
    secret: str = Field(repr=False)
    events: list[str] = ["*"]
    """Types of events, or patterns such as `incident.*`."""
    since: int | Literal["now"] = "now"
    """The entry of the log from which a new receiver gets events. `now`: when it is first seen."""


class File(Model):
    """The whole file."""

    server: str | None = None
    receivers: dict[Slug, Row] = Field(min_length=1)


@dataclass(frozen=True)
class Receiver:
    """A receiver, ready to be sent to."""

    name: str
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    patterns: tuple[str, ...] = ("*",)
    since: int | None = None

    @property
    def host(self) -> str:
        """(2) What messages say of the address."""
        return urlsplit(self.url).hostname or ""

    def wants(self, kind: str) -> bool:
        """Whether it gets events of a type."""
        return any(fnmatch.fnmatchcase(kind, pattern) for pattern in self.patterns)


@dataclass(frozen=True)
class Receivers:
    """The configuration of this machine."""

    path: Path
    server: str | None
    """The address whose pages events link to."""
    all: tuple[Receiver, ...]

    def named(self, name: str) -> Receiver:
        """One of them. Raises `ConfigError`."""
        found = next((receiver for receiver in self.all if receiver.name == name), None)
        if found is None:
            names = [receiver.name for receiver in self.all]
            raise unknown("receiver", name, names, str(self.path))
        return found


def path_of(machine: Machine) -> Path:
    """(1) The file of the receivers."""
    given = machine.environ.get(VARIABLE)
    return home_expanded(given) if given else machine.state / FILE


def receivers(machine: Machine) -> Receivers:
    """The receivers of this machine. Raises `ConfigError`, or `Problems` with every mistake."""
    path = path_of(machine)
    if not path.exists():
        fix = f"write the file as docs/events.md shows, or set {VARIABLE}"
        raise ConfigError("no receivers are configured", where=str(path), fix=fix)
    file = load_model(path, File)
    problems: list[CountersignError] = []
    found: list[Receiver] = []
    for name, row in file.receivers.items():
        try:
            found.append(_receiver(name, row, path, machine.environ))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise Problems(problems)
    return Receivers(path, _server(file, machine, path), tuple(found))


def _receiver(name: str, row: Row, path: Path, environ: Mapping[str, str]) -> Receiver:
    def where(key: str) -> str:
        return place(path, "receivers", name, key)

    for pattern in row.events:
        _check_pattern(pattern, where("events"))
    if isinstance(row.since, int) and row.since < 0:
        raise ConfigError(f"{row.since} is no entry", where=where("since"), expected="0 or more")
    url = _value(row.url, path, environ, where("url")) if _is_named(row.url) else row.url
    check_url(url, where("url"))
    if not _is_named(row.secret):
        found = "the secret stands in this file, or is none"
        raise ConfigError(found, where=where("secret"), expected=EXAMPLE)
    secret = _value(row.secret, path, environ, where("secret"))
    secrets = read_secrets(secret, where("secret"))
    since = row.since if isinstance(row.since, int) else None
    return Receiver(name, url, secrets, tuple(row.events), since)


def _check_pattern(pattern: str, where: str) -> None:
    known = [kind for kind in TYPES if kind != TEST]
    if not any(fnmatch.fnmatchcase(kind, pattern) for kind in known):
        fix = did_you_mean(pattern, known) or "countersign events list --types"
        expected = "a type of event, or a pattern such as incident.*"
        raise ConfigError(
            f"no event is a {pattern[:80]!r}", where=where, expected=expected, fix=fix
        )


def check_url(url: str, where: str) -> None:
    """(3) Raises `ConfigError`, which does not quote the address."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    odd = parts.username or parts.password or parts.fragment or re.search(r"[^\x21-\x7e]", url)
    if odd or not parts.hostname or not is_server(url):
        raise ConfigError("not the address of a receiver", where=where, expected="https://HOST/...")
    if parts.scheme != "https" and not is_loopback(url):
        found = f"events would be sent unencrypted to {parts.hostname}"
        raise ConfigError(found, where=where, expected="https://")


def _is_named(text: str) -> bool:
    return text.startswith(("env:", "file:"))


def _value(reference: str, path: Path, environ: Mapping[str, str], where: str) -> str:
    """(1) The value that a reference names. Raises `ConfigError`, which does not quote it."""
    scheme, _, name = reference.partition(":")
    if scheme == "env":
        value = environ.get(name, "").strip()
        if not value:
            found = f"the variable {name[:80]} is not set"
            raise ConfigError(found, where=where, fix=f"set {name[:80]} where events are sent")
        return value
    return _read(path.parent / home_expanded(name), where)


def _read(path: Path, where: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(MAX_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        found = f"{path} cannot be read: {type(error).__name__}"
        raise ConfigError(found, where=where) from None
    if mode & 0o077:
        found = f"other accounts can read or write {path} (mode {mode:04o})"
        fix = f"chmod 600 {path}; if others may have read it, replace what it holds"
        raise ConfigError(found, where=where, fix=fix)
    if not text:
        raise ConfigError(f"{path} is empty", where=where)
    return text


def _server(file: File, machine: Machine, path: Path) -> str | None:
    """The address that links lead to: the file's, else the server that keeps the log."""
    if file.server is None:
        return machine.log_uri if is_server(machine.log_uri) else None
    check_url(file.server, place(path, "server"))
    if urlsplit(file.server).query:
        found = "not the address of a server"
        raise ConfigError(found, where=place(path, "server"), expected="https://HOST")
    return file.server
