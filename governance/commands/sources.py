"""What the commands that read reports share: the sources on this machine, names, times, exit
codes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from governance.attest.predicates import Finding
from governance.base.errors import (
    ConfigError,
    CountersignError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.http_client import is_server
from governance.base.time import instant_of
from governance.commands import session
from governance.log.port import Log
from governance.machine.machine import Machine, machine_of
from governance.policy.policies import Policies, load_policies
from governance.registry.rows import sqlite_reading
from governance.release.reconcile import reconcile
from governance.report.build import Sources, build, open_sources
from governance.report.model import Report
from governance.report.reasons import UNVERIFIED

F = TypeVar("F", bound=Callable[..., Any])


def at_option(command: F) -> F:
    """`--at`."""
    return click.option(
        "--at",
        "moment",
        metavar="TIME",
        help="As of then: RFC 3339, e.g. 2026-11-20T12:00:00Z; now where not given.",
    )(command)


def time_of(moment: str | None) -> datetime | None:
    """The time given. Raises `ConfigError` for one without a zone."""
    if moment is None:
        return None
    try:
        time = instant_of(moment)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        expected = "with its zone, e.g. 2026-11-20T12:00:00Z"
        raise ConfigError(f"{moment[:80]!r} is no time", where="--at", expected=expected)
    return time.astimezone(UTC)


def of(bundle: Path | None, origin: str | None) -> Sources:
    """This machine's, or a bundle's, which is verified first."""
    return here() if bundle is None else session.carried(bundle, origin).sources


def here() -> Sources:
    """The log, files, policies and registry of this machine. Raises `StorageError` where there is
    no log.
    """
    return compared(log_alone(), machine_of(Path.cwd(), os.environ))


def log_alone() -> Sources:
    """The log, files and policies of this machine; its registry is not looked at."""
    root = Path.cwd()
    policies: Policies | CountersignError
    try:
        policies = load_policies(root / "policies")
    except CountersignError as error:
        policies = error
    return open_sources(root, machine_of(root, os.environ), policies)


def verified(sources: Sources) -> Sources:
    """The sources, of a log that verifies. Raises `VerificationError` with the first broken item of
    any other.
    """
    if sources.verified.broken is not None:
        raise VerificationError(
            f"EVIDENCE DOES NOT VERIFY: {sources.verified.broken}", fix="countersign verify"
        )
    return sources


def compared(sources: Sources, machine: Machine) -> Sources:
    """With what the registry of this machine says otherwise than the log, where there is one that
    can be read.
    """
    differences = differing(sources.log, machine)
    return sources if differences is None else replace(sources, registry=tuple(differences))


def differing(log: Log, machine: Machine) -> list[Finding] | None:
    """What the registry of this machine says otherwise than the log; None where it was not
    compared.
    """
    if not _has_registry(machine):
        return None
    try:
        return reconcile(log, machine)
    except VerificationError:
        return None  # the log itself is broken, which the report says
    except StorageError:
        if is_server(machine.registry_uri):
            return None  # it does not show the registry to this account
        raise


def _has_registry(machine: Machine) -> bool:
    """Whether a registry stands where this machine has it; a log alone, as an auditor may have it,
    is no fault.
    """
    uri = machine.registry_uri.removeprefix("governed+")
    if not uri.startswith("sqlite:///"):
        return True
    with sqlite_reading(Path(uri.removeprefix("sqlite:///"))) as read:
        return read is not None


def report_of(version: str, moment: str | None, bundle: Path | None, origin: str | None) -> Report:
    """The report of MODEL/VERSION, as of a time or of now."""
    model, number = session.named(version)
    return build(of(bundle, origin), model, number, as_of=time_of(moment), clock=session.clock())


def exit_code(report: Report) -> int:
    """5 where something does not verify, 4 where page one tells of another fault or users are
    served all the same.

    What does not verify: the log, a decision that does not come out as it was logged, a registry
    that says otherwise.
    """
    faults = {fault.code for fault in report.exceptions if fault.kind == "fault"}
    if faults & UNVERIFIED or not report.integrity.verified:
        return VerificationError.exit_code
    serves = any(holding.until is None for holding in report.holds)
    return (
        RefusedError.exit_code
        if faults or (serves and report.verdict.word == "NOT APPROVED")
        else 0
    )
