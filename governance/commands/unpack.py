"""`countersign unpack NAME FOLDER`: a verified copy for programs that load a folder
(docs/serving.md).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from governance.attest.requests import refusal
from governance.base.errors import RefusedError
from governance.commands import session
from governance.commands.admitting import admitted
from governance.commands.session import Call
from governance.history.state import LogState, state
from governance.proxy.canary import Moment
from governance.proxy.facts import said_of
from governance.release.serving import (
    Served,
    check_registry,
    content_of,
    resolve,
    reviewed,
    serving_log,
    where,
)
from governance.release.unpacking import check_target, replaceable, unpack


@click.command("unpack")
@click.argument("name", metavar="NAME")
@click.argument("folder", type=session.FILE)
@click.option("--replace", is_flag=True, help="Replace files of this model's versions in FOLDER.")
@session.options("key", "origin", "purpose", "as_json")
def command(call: Call, name: str, folder: Path, replace: bool) -> None:
    """Write the verified files of NAME into FOLDER: MODEL@ALIAS or MODEL/VERSION, with or without
    countersign://.

    Refuses what the verifying loader refuses, and of an alias also what `countersign serve` would
    not serve now. FOLDER has to be empty or not to exist. Nothing in it changes before every file
    is verified. The answer is about this moment: let nobody write to FOLDER afterwards.

    \b
    Exit codes: 0 written; 2 no such name, or usage; 3 no such version, or FOLDER
    is not empty; 4 refused by policy, an incident or a lapsed review; 5 log,
    decision or files do not verify; 6 log, registry or disk; 8 the server cannot
    be reached.
    """
    log = serving_log(call.machine, call.now, call.own_policies, call.origin)
    now = state(log)
    served = reviewed(now, resolve(now, name), call.now)
    check_registry(log, call.machine, served)
    _check_servable(now, served, Moment(call.now, 0.0))
    may_replace = replaceable(now, served.registration.model) if replace else None
    check_target(folder, may_replace)
    admitted(call, "unpack", now, lambda: [content_of(now, served)])
    with ended_in_order():
        unpack(served, where(call.machine, served), folder, may_replace)
    _show(call, served, folder)


def _check_servable(now: LogState, served: Served, at: Moment) -> None:
    """Raises `RefusedError` where the alias would not be served now: an incident for which policy
    stops serving, or a retirement of these bytes.
    """
    if served.alias is None:
        return
    model = served.registration.model
    said = said_of(now, model, served.alias, at)
    found = [*said.findings, *(each for held in said.versions for each in held.against)]
    if found:
        raise RefusedError(refusal(f"unpacking {model}@{served.alias}", found))


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that it removes its copy. The first process of a
    container would not end by it otherwise.
    """
    before = None
    with suppress(ValueError):  # not the main thread
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _show(call: Call, served: Served, folder: Path) -> None:
    registration = served.registration
    size = sum(file.size for file in registration.files)
    result: dict[str, Any] = {
        "folder": str(folder),
        "model": registration.model,
        "version": registration.version,
        "alias": served.alias,
        "sha256": registration.model_digest,
        "files": len(registration.files),
        "bytes": size,
        "entry": served.entry,
        "development_key": served.development,
        "incident": served.incident,
        "review_overdue": served.review,
    }
    held = f", {served.alias} since {served.move.at}" if served.move else ""
    lines = [
        f"UNPACKED: {folder} is {served.name}{held} (sha256 {registration.model_digest[:12]},"
        f" registered in entry {served.entry})",
        f"  {len(registration.files)} files, {size:,} bytes, nothing else",
    ]
    if served.development:
        lines.append("  signed by a DEVELOPMENT KEY: good for candidate only")
    if served.incident:
        lines.append(f"  INCIDENT OPEN: {served.incident}")
    if served.review:
        lines.append(f"  PERIODIC REVIEW: {served.review}")
    call.show(result, lines)
