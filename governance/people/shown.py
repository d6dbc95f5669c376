"""What this machine showed its person last: approving is refused where that is no longer what would
be shown.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from governance.base.errors import RefusedError
from governance.base.model import Model, Sha256
from governance.base.storage import write_atomic
from governance.base.text import moment
from governance.machine.machine import Machine


class Shown(Model):
    """One page that was shown."""

    packet: Sha256
    page: Sha256
    at: str


_ALL = TypeAdapter(dict[str, Shown])


def remember(machine: Machine, name: str, shown: Shown, page: bytes) -> Path:
    """Keeps the page, and that it was the last one shown of MODEL/VERSION; where the page is."""
    folder = _folder(machine)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{shown.packet}.html"
    write_atomic(path, page)
    known = {**_read(machine), name: shown}
    data = json.dumps({key: one.model_dump() for key, one in sorted(known.items())}, indent=1)
    write_atomic(folder / "shown.json", data.encode(), mode=0o600)
    return path


def check(machine: Machine, name: str, packet: str, page: str) -> None:
    """Raises `RefusedError` unless exactly this page of this packet was shown last."""
    last = _read(machine).get(name)
    fix = f"read it: countersign review {name}"
    if last is None:
        raise RefusedError(
            f"{name} was not shown on this machine, and nobody approves unread", fix=fix
        )
    if last.packet != packet:
        raise RefusedError(
            f"{name} changed since it was shown: there is another packet",
            expected=f"packet {last.packet[:12]}, shown {moment(last.at)}",
            where=f"packet {packet[:12]}",
            fix=fix,
        )
    if last.page != page:
        raise RefusedError(
            f"{name} changed since it was shown: the page of the same packet is another",
            expected=f"page {last.page[:12]}, shown {moment(last.at)}",
            where=f"page {page[:12]}",
            fix=fix,
        )


def _folder(machine: Machine) -> Path:
    return machine.state / "shown"


def _read(machine: Machine) -> dict[str, Shown]:
    """What is remembered; a file that cannot be read remembers nothing."""
    try:
        return _ALL.validate_json((_folder(machine) / "shown.json").read_bytes())
    except (OSError, ValidationError, ValueError):
        return {}
