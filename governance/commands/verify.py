"""`countersign verify` and `verify-model`: a log with registry and files, a bundle, a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from governance.attest.predicates import Finding
from governance.base.errors import ConfigError, InputError, StorageError, VerificationError
from governance.base.progress import Progress
from governance.base.storage import write_atomic
from governance.bundle.check import verify_bundle
from governance.bundle.form import content
from governance.commands import session
from governance.commands.session import Call
from governance.history import verify
from governance.history.state import state
from governance.history.verify import TrustAnchors
from governance.log.checkpoint import MAX_BYTES as MAX_CHECKPOINT
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import Evidence, key_ring
from governance.log.http_client import is_server
from governance.log.port import Log
from governance.log.views import read_entry
from governance.machine.machine import (
    Machine,
    begun,
    exposed_keys,
    last_seen,
    log_of,
    on_server,
    own_checkpoint_key,
    remember,
)
from governance.machine.workers import in_processes
from governance.models import folder as model_folder
from governance.policy.policies import load_policies
from governance.release.artifacts import FilesReport, in_artifact_root, verify_files
from governance.release.reconcile import reconcile
from governance.release.retrospect import forged as forged_moves
from governance.release.serving import resolve, serving_log

SHOWN = 20
"""Files and entries printed of a kind; --json has all."""


@click.command("verify")
@click.argument("file", metavar="[FILE]", required=False, type=session.FILE)
@click.option("--checkpoint", "older", type=session.FILE, help="An older one: the log only grew.")
@click.option("--write-checkpoint", "target", type=session.FILE, help="Write the checkpoint here.")
@click.option("--files/--no-files", default=True, help="Compare the files at hand.")
@session.options(*session.READS)
def verify_command(
    call: Call, file: Path | None, older: Path | None, target: Path | None, files: bool
) -> None:
    """Verify the log from its first entry, and compare the registry and the files here with it.

    Or verify FILE, a bundle: this needs no log, no project folder and no network
    (docs/formats.md).

    Exit code 5 if anything does not verify, or if nothing shows that this is the log you mean.
    """
    if file is not None and call.bundle is not None:
        raise ConfigError("two bundles are named", expected="FILE or --bundle FILE")
    anchors = TrustAnchors(call.origin, _read(older) if older else None)
    bundle = file or call.bundle
    if bundle is not None:
        ok, checkpoint = _verify_bundle(call, bundle, anchors)
    else:
        ok, checkpoint = _verify_log(call, anchors, target, files)
    if target and ok:
        write_atomic(target, checkpoint.encode())
    call.exit(0 if ok else VerificationError.exit_code)


# --- A bundle -------------------------------------------------------------------------------------


def _verify_bundle(call: Call, path: Path, anchors: TrustAnchors) -> tuple[bool, str]:
    """Verifies a bundle. Returns whether it verifies, and its checkpoint."""
    report = verify_bundle(content(path), anchors, where=path.name)
    result: dict[str, Any] = {"verified": report.ok, "complete": report.complete}
    result["bundle"] = dataclasses.asdict(report)
    call.draw("verify_bundle", result, report=report, shown=SHOWN)
    return report.ok, report.checkpoint


# --- The log --------------------------------------------------------------------------------------


def _verify_log(
    call: Call, anchors: TrustAnchors, target: Path | None, files: bool
) -> tuple[bool, str]:
    """Verifies the log and compares registry and files with it. Returns whether all is well, and
    the checkpoint.
    """
    machine, root = call.machine, Path.cwd()
    in_project = (root / "policies").is_dir() or not machine.environ.get("COUNTERSIGN_PROJECT")
    keys = load_policies(root / "policies").keys if in_project else {}
    log = begun(log_of(machine))
    anchors = dataclasses.replace(
        anchors,
        checkpoint_key=None if on_server(machine) else own_checkpoint_key(machine),
        seen={**last_seen(machine, log), **_replaced(target)},
    )
    with Progress().bar(log.size(), "entries verified") as bar:
        report = verify.verify_log(
            log, machine.project, keys, anchors, run=in_processes(), counted=bar.advance
        )
    if report.ok:
        try:
            remember(machine, report.checkpoint)
        except StorageError as error:  # an auditor may have no right to write here
            kept = "warning: this machine cannot keep the checkpoint for next time"
            session.tell([f"{kept}: {error.found}"], err=True)
    compared: FilesReport | None = None
    registry: Sequence[Finding] | None = None
    decisions: Sequence[Finding] = ()
    if report.broken is None:
        now = state(log)
        registry = _registry(machine, log)
        if files:
            ring = key_ring(log, {**now.authority.keys, **keys})
            read = (read_entry(entry, ring) for entry in log.entries())  # one entry at a time
            statements = (entry for entry in read if isinstance(entry, Evidence))
            artifacts = in_artifact_root(machine.artifact_root)
            compared = verify_files(root if in_project else None, statements, artifacts)
        decisions = forged_moves(now) if now.authority.in_force.policies is not None else ()
    wrong = bool(decisions or registry or (compared and compared.mismatches))
    exposed = [str(path) for path in exposed_keys(machine)]
    result: dict[str, Any] = {
        "verified": report.ok and not wrong,
        "log": dataclasses.asdict(report),
        "files": dataclasses.asdict(compared) if compared else None,
        "registry": None if registry is None else [finding.model_dump() for finding in registry],
        "decisions": [finding.model_dump() for finding in decisions],
        "limits": list(verify.LIMITS),
        "exposed_keys": exposed,
    }
    call.draw("verify", result, report=report, shown=SHOWN)
    for path in () if call.as_json else exposed:
        session.tell([f"warning: other accounts can read {path}; next: chmod 600 {path}"], err=True)
    return report.ok and not wrong, report.checkpoint


def _registry(machine: Machine, log: Log) -> Sequence[Finding] | None:
    """The differences between registry and log; None, with a warning, if a server does not show the
    registry.
    """
    try:
        return reconcile(log, machine)
    except StorageError as error:
        if not (on_server(machine) or is_server(machine.registry_uri)):
            raise
        session.tell([f"warning: the registry was not compared: {error.found}"], err=True)
        return None


def _replaced(target: Path | None) -> dict[str, str]:
    """The checkpoint that would be replaced. The new log must contain what it counts."""
    if target is None or not target.exists():
        return {}
    note = _read(target)
    try:
        parse_checkpoint(note)
    except VerificationError as error:
        found = f"this file is not a checkpoint ({error.found}), so it is not overwritten"
        raise ConfigError(found, where=str(target)) from None
    return {f"the checkpoint in {target}, which would be overwritten": note}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:  # no more than shows that it is not one
            return file.read(4 * MAX_CHECKPOINT + 4).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"the older checkpoint cannot be read: {error}"
        raise ConfigError(found, where=str(path)) from None


# --- A model folder -------------------------------------------------------------------------------


@click.command("verify-model")
@click.argument("path", type=session.FILE)
@click.option("--against", "name", required=True, help="MODEL/VERSION or MODEL@ALIAS.")
@click.option("--quick", is_flag=True, help="Verify the log's head only; for very long logs.")
@session.options(*session.READS)
def verify_model_command(call: Call, path: Path, name: str, quick: bool) -> None:
    """Check the model folder at PATH against its registration in the log: every file, byte for
    byte, and no other.

    The log is verified first. Exit code 5 when it, or the folder, is not what it should be. The
    answer is about this moment: load the model with the verifying loader.
    """
    if not path.is_dir():
        raise InputError("no such folder", where=str(path))
    if call.bundle is not None:
        from governance.commands.sources import looking  # reports are not needed without a bundle

        now = looking(call)
    else:
        now = state(serving_log(call.machine, call.origin, quick=quick))
    served = resolve(now, name)
    registration = served.registration
    faults = model_folder.check(path, registration.files, registration.model_digest)
    result: dict[str, Any] = {
        "verified": not faults,
        "path": str(path),
        "model": registration.model,
        "version": registration.version,
        "alias": served.alias,
        "sha256": registration.model_digest,
        "files": len(registration.files),
        "entry": served.entry,
        "development_key": served.development,
        "incident": served.incident,
        "faults": [{"path": fault.path, "reason": fault.reason} for fault in faults],
    }
    call.draw("verify_model", result, served=served, shown=SHOWN)
    call.exit(VerificationError.exit_code if faults else 0)
