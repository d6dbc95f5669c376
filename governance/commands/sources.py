"""What commands read: this machine's log, files, policies and registry, or a bundle."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from governance.base.errors import ConfigError, VerificationError
from governance.bundle.form import content
from governance.bundle.sources import Sources, open_bundle, open_sources
from governance.commands import session
from governance.commands.anchors import anchors_of_bundle
from governance.commands.session import Call, named
from governance.history.state import LogState
from governance.machine.machine import Machine
from governance.release.reconcile import differing

if TYPE_CHECKING:
    from governance.exports.records import Records


def of(call: Call, *, registry: bool = True) -> Sources:
    """The log, files, policies and registry of this machine; or a bundle's, which is verified
    first: warnings about its origin and size go to stderr. Raises `StorageError` where there is no
    log, `ConfigError` for policies that cannot be read: without them, less would be required.
    """
    if call.bundle is not None:
        anchors = anchors_of_bundle(call, content(call.bundle))
        sources = open_bundle(call.bundle, anchors)
        report = sources.bundle
        notes = []
        if report and report.origin is None:
            notes.append("warning: nothing shows that this is the log you mean; give --origin")
        if report and not report.complete:
            extent = f"{report.entries} of the log's {report.size} entries"
            check = f"countersign verify {call.bundle} says more"
            notes.append(f"warning: COMPLETENESS NOT SHOWN: the bundle holds {extent} ({check})")
        if notes:
            session.tell(notes, err=True)
        return sources
    root = Path.cwd()
    policies = call.own_policies or ConfigError("no such folder", where=str(root / "policies"))
    sources = open_sources(root, call.machine, policies, call.now, call.origin)
    return compared(sources, call.machine) if registry else sources


def looking(call: Call, model: str = "") -> LogState:
    """The log of this machine or of a bundle, verified from its first entry. With `model`: raises
    `VerificationError` where a bundle may lack entries about it.
    """
    sources = verified(of(call, registry=False))
    if model:
        sources.must_show_all_of(model)
    return sources.read[0]


def verified(sources: Sources) -> Sources:
    """The sources, of a log that verifies. Raises `VerificationError` with the first broken item of
    any other.
    """
    if sources.verified.broken is not None:
        found = f"EVIDENCE DOES NOT VERIFY: {sources.verified.broken}"
        raise VerificationError(found, fix="countersign verify")
    return sources


def records_of(call: Call, version: str, time: datetime | None = None) -> Records:
    """The verified records of MODEL/VERSION, for exports and controls."""
    from governance.exports.records import read  # a command that needs no report imports none

    return read(of(call, registry=False), named(version), time)


def compared(sources: Sources, machine: Machine) -> Sources:
    """Compared with the registry of this machine, once that is asked for."""
    return replace(sources, compare=lambda now: differing(now.log, machine, now))
