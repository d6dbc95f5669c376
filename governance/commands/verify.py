"""`countersign verify`: verifies the log and compares registry and files with it, or verifies a
bundle.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from governance.attest.predicates import Finding
from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.base.http_client import is_server
from governance.base.progress import Progress
from governance.base.storage import write_atomic
from governance.base.text import visible
from governance.commands import verify_bundle
from governance.history import verify
from governance.history.state import LogState, state
from governance.history.verify import TrustAnchors
from governance.log.checkpoint import MAX_BYTES as MAX_CHECKPOINT
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import Evidence, key_ring, read_entry
from governance.log.port import Log
from governance.machine.machine import (
    Machine,
    begun,
    exposed_keys,
    last_seen,
    log_of,
    machine_of,
    on_server,
    own_checkpoint_key,
    remember,
)
from governance.models.artifacts import FilesReport, in_artifact_root, verify_files
from governance.policy.policies import load_policies
from governance.release.reconcile import reconcile
from governance.release.retrospect import forged as forged_moves

SHOWN = 20
"""Files printed; --json has all."""


@click.command("verify")
@click.argument("bundle", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--bundle", "same", metavar="FILE", type=click.Path(path_type=Path), help="As FILE.")
@click.option(
    "--checkpoint",
    "older",
    type=click.Path(path_type=Path),
    help="An older checkpoint, to show that the log only grew.",
)
@click.option(
    "--write-checkpoint",
    "target",
    type=click.Path(path_type=Path),
    help="Write the checkpoint to a file.",
)
@click.option(
    "--origin",
    metavar="SHA256",
    envvar="COUNTERSIGN_ORIGIN",
    help="Digest of entry 0, or id of the checkpoint key, as known to you.",
)
@click.option(
    "--files/--no-files", default=True, help="Compare the files at hand.", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path | None,
    same: Path | None,
    older: Path | None,
    target: Path | None,
    origin: str | None,
    files: bool,
    as_json: bool,
) -> None:
    """Verify the log from its first entry, and compare the registry and the files here with it.

    Or verify FILE, a bundle: this needs no log, no project folder and no network
    (docs/formats.md).

    Exit code 5 if anything does not verify, or if nothing shows that this is the log you mean.
    """
    if bundle is not None and same is not None:
        raise ConfigError(
            "two bundles are named", expected="FILE or --bundle FILE", where="countersign verify"
        )
    bundle = bundle or same
    if bundle is not None:
        ok, note = _bundle(bundle, TrustAnchors(origin, _read(older) if older else None), as_json)
        _end(ctx, ok, note, target)
    root = Path.cwd()
    machine = machine_of(root, os.environ)
    at_hand = (root / "policies").is_dir() or not os.environ.get("COUNTERSIGN_PROJECT")
    project = root if at_hand else None
    keys = load_policies(root / "policies").keys if project else {}
    log = begun(log_of(machine))
    anchors = TrustAnchors(
        origin,
        _read(older) if older else None,
        None if on_server(machine) else own_checkpoint_key(machine),
        {**last_seen(machine, log), **_replaced(target)},
    )
    with Progress().bar(log.size(), "entries verified") as bar:
        report = verify.verify_log(log, machine.project, keys, anchors, counted=bar.advance)
    if report.ok:
        _remember(machine, report.checkpoint)
    verification, unread = Verification(report), ""
    if report.broken is None:
        now = state(log)
        registry, unread = _registry(machine, log)
        compared = _compare(project, machine, now, keys) if files else None
        verification = Verification(report, compared, registry, tuple(_not_reproduced(now)))
    _print(verification, unread, exposed_keys(machine), as_json)
    _end(ctx, verification.ok, report.checkpoint, target)


@dataclass(frozen=True)
class Verification:
    """What was verified, and compared with it."""

    log: verify.LogReport
    files: FilesReport | None = None
    """None if files were not compared."""
    registry: Sequence[Finding] | None = None
    """Where the registry differs from the log; None if it was not compared."""
    decisions: Sequence[Finding] = ()
    """Moves of governed aliases that give another result when they are repeated."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong, and the origin is established."""
        wrong = self.decisions or self.registry or (self.files and self.files.mismatches)
        return self.log.ok and not wrong


def _print(verification: Verification, unread: str, exposed: Sequence[Path], as_json: bool) -> None:
    if as_json:
        paths = [str(path) for path in exposed]
        click.echo(json.dumps({**document(verification), "exposed_keys": paths}, indent=2))
        return
    click.echo(visible("\n".join(lines(verification))))
    if unread:
        click.echo(f"warning: the registry was not compared: {unread}", err=True)
    for path in exposed:
        click.echo(f"warning: other accounts can read {path}; next: chmod 600 {path}", err=True)


def _end(ctx: click.Context, ok: bool, checkpoint: str, target: Path | None) -> NoReturn:
    """Writes the checkpoint if everything verified, and exits."""
    if target and ok:
        write_atomic(target, checkpoint.encode())
    ctx.exit(0 if ok else VerificationError.exit_code)


def _bundle(path: Path, pins: TrustAnchors, as_json: bool) -> tuple[bool, str]:
    """Prints the result for a bundle. Returns whether it verifies, and its checkpoint."""
    report = verify_bundle.verified(path, pins)
    text = (
        json.dumps(verify_bundle.document(report), indent=2)
        if as_json
        else "\n".join(verify_bundle.lines(report))
    )
    click.echo(text)
    return report.ok, report.checkpoint


def document(verification: Verification) -> dict[str, Any]:
    """The result as JSON."""
    registry = verification.registry
    return {
        "verified": verification.ok,
        "log": dataclasses.asdict(verification.log),
        "files": dataclasses.asdict(verification.files) if verification.files else None,
        "registry": [finding.model_dump() for finding in registry]
        if registry is not None
        else None,
        "decisions": [finding.model_dump() for finding in verification.decisions],
        "limits": list(verify.LIMITS),
    }


def lines(verification: Verification) -> list[str]:
    """The result for people: verdict first, then what it rests on, then what it does not show."""
    report = verification.log
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    text = [headline(verification), ""]
    text.append(f"log      {report.project}: {report.entries} entries verified ({kinds or 'none'})")
    if report.broken is None:
        established = f"established by {report.origin}" if report.origin else "not established"
        text.append(f"root     {report.root}, signed by key {report.checkpoint_key[:16]}")
        text.append(f"origin   {report.first}, {established}")
        for signer in report.signers:
            named_by = "named by policies"
            if signer.development:
                named_by = "development key, for `candidate` only"
            text.append(f"signer   {signer.keyid[:16]}: {signer.entries} entries ({named_by})")
        if report.grown_from is not None:
            text.append(f"growth   contains the older checkpoint's {report.grown_from} entries")
        text += _decision_lines(verification.decisions) + _registry_lines(verification.registry)
        text += _file_lines(verification.files)
    return [*text, "", "What this does not show:", *(f"- {limit}" for limit in verify.LIMITS)]


def headline(verification: Verification) -> str:
    """The result in one line: the first thing that is wrong."""
    report, compared = verification.log, verification.files
    if report.broken is not None:
        return f"EVIDENCE DOES NOT VERIFY: {report.broken}"
    if verification.decisions:
        first = verification.decisions[0]
        return f"A DECISION GIVES ANOTHER RESULT WHEN REPEATED: {first.subject}: {first.message}"
    if verification.registry:
        first = verification.registry[0]
        return (
            f"THE REGISTRY DOES NOT MATCH THE LOG: {first.code} {first.subject}: "
            f"expected {first.expected}; found {first.found}"
        )
    if compared and compared.mismatches:
        wrong = compared.mismatches[0]
        return f"FILES DO NOT MATCH THE EVIDENCE: {wrong.path}: {wrong.reason}"
    if report.origin is None:
        return (
            "INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED: nothing shows that this is the log you"
            " mean; give --origin, or --checkpoint with one kept elsewhere"
        )
    return "EVIDENCE VERIFIES" if compared else "EVIDENCE VERIFIES (files were not compared)"


def _registry(machine: Machine, log: Log) -> tuple[Sequence[Finding] | None, str]:
    """Where the registry differs from the log; if a server does not show it, None and why."""
    try:
        return reconcile(log, machine), ""
    except StorageError as error:
        if not (on_server(machine) or is_server(machine.registry_uri)):
            raise
        return None, error.found


def _not_reproduced(now: LogState) -> list[Finding]:
    """Moves of governed aliases that give another result. A log without its policies has none."""
    return [] if now.authority.in_force.policies is None else forged_moves(now)


def _decision_lines(decisions: Sequence[Finding]) -> list[str]:
    if not decisions:
        return ["decided  every move of a governed alias was repeated, with the same result"]
    text = [f"decided  {len(decisions)} move(s) of a governed alias give another result"]
    return text + [
        f"         {finding.code} {finding.subject}: {finding.message}"
        for finding in decisions[:SHOWN]
    ]


def _registry_lines(registry: Sequence[Finding] | None) -> list[str]:
    if registry is None:
        return ["registry not compared: there is none here, or its server does not show it"]
    text = [f"registry {len(registry) or 'no'} difference(s) from the log"]
    for finding in registry[:SHOWN]:
        text.append(f"         {finding.code} {finding.subject}: {finding.message}")
        text.append(f"             expected {finding.expected}; found {finding.found}")
        text.append(f"             next: {finding.next}")
    return text


def _file_lines(compared: FilesReport | None) -> list[str]:
    if compared is None:
        return ["files    not compared"]
    versions = f"files of {compared.versions} registered version(s)"
    text = [f"files    {compared.compared} compared, and the {versions}"]
    text += [f"         not on this machine: the files of {name}" for name in compared.out_of_reach]
    text += [
        f"         {mismatch.path}: {mismatch.reason}" for mismatch in compared.mismatches[:SHOWN]
    ]
    if len(compared.mismatches) > SHOWN:
        text.append(f"         and {len(compared.mismatches) - SHOWN} more (--json lists them)")
    if compared.mismatches:
        text.append(
            "         next: make them again (countersign repro --force STAGE), join the log that"
            " has their evidence (COUNTERSIGN_HOME), or delete what no stage made"
        )
    return text


def _compare(
    root: Path | None, machine: Machine, now: LogState, keys: Mapping[str, str]
) -> FilesReport:
    """Reads one entry at a time: a log may be larger than memory."""
    ring = key_ring(now.log, {**now.authority.keys, **keys})
    read = (read_entry(entry, ring) for entry in now.log.entries())
    statements = (entry for entry in read if isinstance(entry, Evidence))
    return verify_files(root, statements, in_artifact_root(machine.artifact_root))


def _remember(machine: Machine, checkpoint: str) -> None:
    try:
        remember(machine, checkpoint)
    except StorageError as error:  # an auditor may have no right to write here
        click.echo(
            f"warning: this machine cannot keep the checkpoint for next time: {error.found}",
            err=True,
        )


def _replaced(target: Path | None) -> dict[str, str]:
    """The checkpoint that would be replaced. The new log must contain what it counts."""
    if target is None or not target.exists():
        return {}
    note = _read(target)
    try:
        parse_checkpoint(note)
    except VerificationError as error:
        raise ConfigError(
            f"this file is not a checkpoint ({error.found}), so it is not overwritten",
            where=str(target),
        ) from None
    return {f"the checkpoint in {target}, which would be overwritten": note}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:  # no more than shows that it is not one
            return file.read(4 * MAX_CHECKPOINT + 4).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the older checkpoint cannot be read: {error}", where=str(path)
        ) from None
