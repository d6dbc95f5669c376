"""`countersign verify` and `verify-model`: a log with registry and files, a bundle, a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import click

from governance.attest.predicates import Finding
from governance.base.errors import (
    ConfigError,
    CountersignError,
    InputError,
    StorageError,
    VerificationError,
)
from governance.base.storage import write_atomic
from governance.bundle.check import verify_bundle
from governance.bundle.form import content
from governance.commands import session, sources
from governance.commands.anchors import anchors_of_bundle
from governance.commands.session import Call
from governance.history import verify
from governance.history.model_entries import ModelEntries
from governance.history.state import state
from governance.history.verify import TrustAnchors
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import Evidence, key_ring
from governance.log.http_client import is_server, same_origin
from governance.log.notes import MAX_BYTES as MAX_CHECKPOINT
from governance.log.notes import read_vkey
from governance.log.port import Log
from governance.log.sql import SqlLog
from governance.log.views import read_entry
from governance.machine import trust
from governance.machine.machine import (
    Machine,
    begun,
    checkpoint_keys,
    exposed_keys,
    log_of,
    missing_head,
    on_server,
    read_log,
)
from governance.models import folder as model_folder
from governance.policy.policies import load_policies
from governance.policy.witnesses import Requirement
from governance.registry.addresses import moved_from
from governance.release import erasure_certificate, retrospect
from governance.release.artifacts import FilesReport, in_artifact_root, verify_files
from governance.release.reconcile import reconcile
from governance.release.serving import check_registry, late_review, resolve, serving_log
from governance.witness.compare import compare

SHOWN = 20
"""Files and entries printed of a kind; --json has all."""


@click.command("verify")
@click.argument("file", metavar="[FILE]", required=False, type=session.FILE)
@click.option("--checkpoint", "older", type=session.FILE, help="An older one: the log only grew.")
@click.option("--write-checkpoint", "target", type=session.FILE, help="Write the checkpoint here.")
@click.option(
    "--witness", "vkeys", multiple=True, help="VKEY of a witness that must have cosigned."
)
@click.option("--against", help="Another copy: a witness or server (URL), or a checkpoint's file.")
@click.option("--files/--no-files", default=True, help="Compare the files at hand.")
@session.options(*session.READS)
def verify_command(
    call: Call,
    file: Path | None,
    older: Path | None,
    target: Path | None,
    vkeys: tuple[str, ...],
    against: str | None,
    files: bool,
) -> None:
    """Verify the log from its first entry, and compare the registry and the files here with it.

    Or verify FILE, a bundle: this needs no log, no project folder and no network
    (docs/formats.md). Or FILE, the certificate of an erasure: the log here has it.

    Exit code 5 if anything does not verify, if nothing shows that this is the log you mean, or if
    nothing shows that a bundle is complete. With --against, only two copies of the log are
    compared: exit code 5 and both signed checkpoints if these have different histories.
    """
    if file is not None and call.bundle is not None:
        raise ConfigError("two bundles are named", expected="FILE or --bundle FILE")
    anchors = TrustAnchors(
        call.origin, _read(older) if older else None, witnesses=_named_witnesses(vkeys)
    )
    if file is not None and (certificate := _certificate(file)):
        _verify_certificate(call, certificate)
        return
    bundle = file or call.bundle
    if against is not None:
        if bundle is not None or older or target:
            raise ConfigError(
                "two copies of a log are compared, and nothing else", where="--against"
            )
        _compare(call, against)
    if bundle is not None:
        ok, checkpoint = _verify_bundle(call, bundle, anchors)
    else:
        ok, checkpoint = _verify_log(call, anchors, target, files)
    if target and ok:
        write_atomic(target, checkpoint.encode())
    call.exit(0 if ok else VerificationError.exit_code)


def _compare(call: Call, address: str) -> NoReturn:
    """Compares the log here with another copy, and ends the command."""
    machine, account = call.machine, None
    log = read_log(machine)
    if same_origin(address, machine.log_uri):
        environ = machine.environ
        account = (environ.get("COUNTERSIGN_USER", ""), environ.get("COUNTERSIGN_PASSWORD", ""))
    result = compare(log, checkpoint_keys(log), address, account)
    verdict = "THE COPIES AGREE" if result.agrees else "THE COPIES DIFFER"
    lines = [f"{verdict}: {result.size} entries here, {result.other_size} there", result.shown]
    if not result.agrees:
        lines += ["here:", *result.note.splitlines(), "there:", *result.other_note.splitlines()]
    call.show(dataclasses.asdict(result), lines)
    call.exit(0 if result.agrees else VerificationError.exit_code)


# --- The certificate of an erasure ----------------------------------------------------------------


def _certificate(path: Path) -> bytes | None:
    """The bytes of a file that is one signed statement; None of any other, such as a bundle."""
    data = content(path)
    return data if b'"payloadType"' in data and data.startswith(b'{"payload"') else None


def _verify_certificate(call: Call, data: bytes) -> None:
    """Verifies the log, and that it has this certificate. Raises `VerificationError`."""
    now = sources.looking(call)
    erasure, done = erasure_certificate.check(now, data)
    lines = ["VERIFIED: the log has this certificate, by somebody who may sign it"]
    result: dict[str, Any] = {"verified": True, "entry": done.index, "erasure": erasure.index}
    result |= {"certificate": done.predicate.model_dump(mode="json")}
    call.show(result, [*lines, *erasure_certificate.reading(erasure, done)])


# --- A bundle -------------------------------------------------------------------------------------


def _verify_bundle(call: Call, path: Path, anchors: TrustAnchors) -> tuple[bool, str]:
    """Verifies a bundle. Returns whether it verifies and is complete, and its checkpoint."""
    data = content(path)
    here = anchors_of_bundle(call, data, anchors.witnesses)
    here = dataclasses.replace(here, checkpoint=anchors.checkpoint)
    report = verify_bundle(data, here, where=path.name)
    result: dict[str, Any] = {"verified": report.ok, "complete": report.complete}
    result["completeness"] = report.completeness
    result["bundle"] = dataclasses.asdict(report)
    call.draw("verify_bundle", result, report=report, shown=SHOWN)
    return report.ok and report.complete, report.checkpoint


# --- The log --------------------------------------------------------------------------------------


def _verify_log(
    call: Call, anchors: TrustAnchors, target: Path | None, files: bool
) -> tuple[bool, str]:
    """Verifies the log and compares registry and files with it. Returns whether all is well, and
    the checkpoint.
    """
    machine, root = call.machine, Path.cwd()
    policies = call.own_policies
    if policies is None and not machine.environ.get("COUNTERSIGN_PROJECT"):
        policies = load_policies(root / "policies")  # raises: a project has policies
    keys = policies.keys if policies else {}
    log = begun(log_of(machine))
    here = trust.trust_anchors(
        machine, log, policies, call.now, origin=anchors.origin, witnesses=anchors.witnesses
    )
    seen = {**here.seen, **_replaced(target)}
    here = dataclasses.replace(here, checkpoint=anchors.checkpoint, seen=seen)
    report = trust.verified(machine, log, policies, here)
    missing = missing_head(machine, log) if report.broken is None else ""
    moved = _moved(machine, log)
    try:
        trust.remember_verified(machine, log, report)
    except StorageError as error:  # an auditor may have no right to write here
        kept = "warning: this machine cannot keep the checkpoint for next time"
        session.tell([f"{kept}: {error.found}"], err=True)
    compared: FilesReport | None = None
    registry: Sequence[Finding] | None = None
    decisions: Sequence[Finding] = ()
    rejected: Sequence[Finding] = ()
    if report.broken is None:
        now = state(log)
        registry = _registry(machine, log)
        if files:
            ring = key_ring(log, {**now.authority.keys, **keys})
            versions = now.authority.rule_versions
            read = (  # one entry at a time
                read_entry(entry, ring, versions.strict_at(entry.index)) for entry in log.entries()
            )
            statements = (entry for entry in read if isinstance(entry, Evidence))
            artifacts = in_artifact_root(machine.artifact_root)
            compared = verify_files(root if policies else None, statements, artifacts)
        if now.authority.in_force.policies is not None:
            decisions, rejected = retrospect.forged(now), retrospect.rejected(now)
    indexes, lying = _indexes(log) if report.broken is None else (None, "")
    is_refused = decisions or rejected or registry or lying
    wrong = bool(is_refused or (compared and compared.mismatches))
    exposed = [str(path) for path in exposed_keys(machine)]
    result: dict[str, Any] = {
        "verified": report.ok and not wrong,
        "log": dataclasses.asdict(report),
        "files": dataclasses.asdict(compared) if compared else None,
        "registry": None if registry is None else [finding.model_dump() for finding in registry],
        "decisions": [finding.model_dump() for finding in decisions],
        "indexes": indexes,
        "index_fault": lying,
        "rejected": [finding.model_dump() for finding in rejected],
        "limits": list(verify.LIMITS),
        "exposed_keys": exposed,
        "head_missing": missing or None,
        "addresses_moved": moved or None,
    }
    call.draw("verify", result, report=report, shown=SHOWN)
    if missing and not call.as_json:
        session.tell([f"warning: {missing}"], err=True)
    for path in () if call.as_json else exposed:
        session.tell([f"warning: other accounts can read {path}; next: chmod 600 {path}"], err=True)
    if moved and not call.as_json:
        session.tell([f"warning: {moved}"], err=True)
    return report.ok and not wrong, report.checkpoint


def _named_witnesses(vkeys: Sequence[str]) -> Requirement | None:
    """The witnesses of `--witness`: all must have cosigned, within a day where the log is at
    hand.
    """
    keys = tuple(read_vkey(text, "--witness") for text in dict.fromkeys(vkeys))
    return Requirement(keys, len(keys), timedelta(hours=24)) if keys else None


def _indexes(log: Log) -> tuple[int | None, str]:
    """How many of the server's signed indexes of models are those of the copy, and what is wrong
    with one. None where no server signs them, or, with a warning, where it cannot be asked.
    """
    from governance.log.mirror import MirrorLog  # a log on this machine needs no HTTP

    if not isinstance(log, MirrorLog):
        return None, ""
    entries, models = ModelEntries(), state(log).timeline.models
    try:
        for model in models:
            entries.check(log, log.model_index(model), checkpoint_keys(log))
    except VerificationError as error:
        return None, str(error).replace("\n  ", "; ")
    except CountersignError as error:
        session.tell([f"warning: the indexes were not compared: {error.found}"], err=True)
        return None, ""
    return len(models), ""


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


def _moved(machine: Machine, log: Log) -> str:
    """What is to be said where the folder of this machine's registry was moved; empty otherwise.
    The next command that writes lets the addresses follow.
    """
    if not isinstance(log, SqlLog) or machine.registry_uri != machine.log_uri:
        return ""
    before = moved_from(log.database, machine.project, machine.artifact_root)
    if before is None:
        return ""
    return (
        f"MLflow's addresses of files begin with {before}, but the files are in"
        f" {machine.artifact_root}; next: countersign repro, which corrects them"
    )


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
        from governance.commands.sources import looking  # not needed without a bundle

        now = looking(call, name.partition("@")[0].partition("/")[0])
    else:
        now = state(
            serving_log(call.machine, call.now, call.own_policies, call.origin, quick=quick)
        )
    served = resolve(now, name)
    if call.bundle is None:
        check_registry(now.log, call.machine, served)
    registration, late = served.registration, late_review(now, served, call.now)
    files, digest = registration.files, registration.model_digest
    faults = model_folder.check(path, files, digest, configs=served.configs)
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
        "review_overdue": f"due on {late.due}{late.lateness}" if late else None,
        "faults": [{"path": fault.path, "reason": fault.reason} for fault in faults],
    }
    call.draw("verify_model", result, served=served, shown=SHOWN)
    call.exit(VerificationError.exit_code if faults else 0)
