"""`countersign verify`: the log from its first entry, registry and files at hand against it; or a
bundle.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
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
from governance.release.promotion import State, state
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
    help="An older checkpoint: proves growth only.",
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
    """Check the log from its first entry, and the registry and the files at hand against it.

    Or check FILE, a bundle, on any machine: no log, no project folder, no network
    (docs/formats.md).

    Exit code 5 when anything does not verify, or when nothing establishes that this is the log you
    mean.
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
    project = (
        root if (root / "policies").is_dir() or not os.environ.get("COUNTERSIGN_PROJECT") else None
    )
    keys = load_policies(root / "policies").keys if project else {}
    log = begun(log_of(machine))
    seen = {**last_seen(machine, log), **_replaced(target)}
    own = None if on_server(machine) else own_checkpoint_key(machine)
    pins = TrustAnchors(origin, _read(older) if older else None, own, seen)
    with Progress().bar(log.size(), "entries verified") as bar:
        report = verify.verify_log(log, machine.project, keys, pins, counted=bar.advance)
    if report.ok:
        _remember(machine, report.checkpoint)
    now = state(log) if report.broken is None else None
    compared = _compare(project, machine, now, keys) if files and now else None
    registry, unread = _registry(machine, log) if now else (None, "")
    forged = _forged(now) if now else []
    exposed = exposed_keys(machine)
    if as_json:
        found = {
            **document(report, compared, registry, forged),
            "exposed_keys": [str(path) for path in exposed],
        }
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(visible("\n".join(lines(report, compared, registry, forged))))
        if unread:
            click.echo(f"warning: the registry was not compared: {unread}", err=True)
        for path in exposed:
            click.echo(
                f"warning: {path} can be read by other accounts; next: chmod 600 {path}", err=True
            )
    ok = report.ok and not forged and not registry and not (compared and compared.mismatches)
    _end(ctx, ok, report.checkpoint, target)


def _end(ctx: click.Context, ok: bool, checkpoint: str, target: Path | None) -> NoReturn:
    """Keeps the checkpoint of what verified, and leaves."""
    if target and ok:
        write_atomic(target, checkpoint.encode())
    ctx.exit(0 if ok else VerificationError.exit_code)


def _bundle(path: Path, pins: TrustAnchors, as_json: bool) -> tuple[bool, str]:
    """Prints what holds of a bundle; whether it verifies, and its checkpoint."""
    found = verify_bundle.verified(path, pins)
    text = (
        json.dumps(verify_bundle.document(found), indent=2)
        if as_json
        else "\n".join(verify_bundle.lines(found))
    )
    click.echo(text)
    return found.ok, found.checkpoint


Differences = Sequence[Finding] | None
"""Of the registry from the log; None where it was not compared."""


def document(
    report: verify.LogReport,
    compared: FilesReport | None,
    registry: Differences = None,
    forged: Sequence[Finding] = (),
) -> dict[str, Any]:
    """The result as JSON."""
    return {
        "verified": (
            report.ok and not forged and not registry and not (compared and compared.mismatches)
        ),
        "log": dataclasses.asdict(report),
        "files": dataclasses.asdict(compared) if compared else None,
        "registry": [one.model_dump() for one in registry] if registry is not None else None,
        "decisions": [one.model_dump() for one in forged],
        "limits": list(verify.LIMITS),
    }


def lines(
    report: verify.LogReport,
    compared: FilesReport | None,
    registry: Differences = None,
    forged: Sequence[Finding] = (),
) -> list[str]:
    """The result for people: verdict first, then what it rests on, then what it does not show."""
    text = [verdict(report, compared, registry, forged), ""]
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    text.append(f"log      {report.project}: {report.entries} entries verified ({kinds or 'none'})")
    if report.broken is None:
        text.append(f"root     {report.root}, signed by key {report.checkpoint_key[:16]}")
        text.append(
            f"origin   {report.first}, "
            + (f"established by {report.origin}" if report.origin else "not established")
        )
        for signer in report.signers:
            what = (
                "development key, good for `candidate` only"
                if signer.development
                else "named by policies"
            )
            text.append(f"signer   {signer.keyid[:16]}: {signer.entries} entries ({what})")
        if report.grown_from is not None:
            text.append(
                f"growth   holds the {report.grown_from} entries of the older checkpoint, unchanged"
            )
        text += _decision_lines(forged) + _registry_lines(registry)
        text += _file_lines(compared)
    return [*text, "", "What this does not show:", *(f"- {limit}" for limit in verify.LIMITS)]


def verdict(
    report: verify.LogReport,
    compared: FilesReport | None,
    registry: Differences = None,
    forged: Sequence[Finding] = (),
) -> str:
    """One line."""
    if report.broken is not None:
        return f"EVIDENCE DOES NOT VERIFY: {report.broken}"
    if forged:
        return f"A DECISION DOES NOT COME OUT AGAIN: {forged[0].subject}: {forged[0].message}"
    if registry:
        first = registry[0]
        return (
            f"THE REGISTRY DOES NOT MATCH THE LOG: {first.code} {first.subject}: "
            f"expected {first.expected}; found {first.found}"
        )
    if compared and compared.mismatches:
        return (
            f"FILES DO NOT MATCH THE EVIDENCE: {compared.mismatches[0].path}:"
            f" {compared.mismatches[0].reason}"
        )
    if report.origin is None:
        return (
            "INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED: nothing here shows that this is the log"
            " you mean; give --origin, or --checkpoint with one kept elsewhere"
        )
    return "EVIDENCE VERIFIES" if compared else "EVIDENCE VERIFIES (files were not compared)"


def _registry(machine: Machine, log: Log) -> tuple[Differences, str]:
    """What the registry says otherwise than the log; where a server does not show it, None and
    why.
    """
    try:
        return reconcile(log, machine), ""
    except StorageError as error:
        if not (on_server(machine) or is_server(machine.registry_uri)):
            raise
        return None, error.found


def _forged(now: State) -> list[Finding]:
    """Moves of governed aliases that do not come out again; none in a log that was begun without
    its policies.
    """
    return [] if now.authority.in_force.policies is None else forged_moves(now)


def _decision_lines(forged: Sequence[Finding]) -> list[str]:
    if not forged:
        return ["decided  every move of a governed alias was decided again, and came out the same"]
    text = [f"decided  {len(forged)} move(s) of a governed alias do not come out again"]
    return text + [f"         {one.code} {one.subject}: {one.message}" for one in forged[:SHOWN]]


def _registry_lines(registry: Differences) -> list[str]:
    if registry is None:
        return ["registry not compared: there is none here, or its server does not show it"]
    text = [f"registry {len(registry) or 'no'} difference(s) from the log"]
    for one in registry[:SHOWN]:
        text.append(f"         {one.code} {one.subject}: {one.message}")
        text.append(f"             expected {one.expected}; found {one.found}")
        text.append(f"             next: {one.next}")
    return text


def _file_lines(compared: FilesReport | None) -> list[str]:
    if compared is None:
        return ["files    not compared"]
    text = [
        f"files    {compared.compared} compared, and the files of {compared.versions} registered"
        " version(s)"
    ]
    text += [f"         not on this machine: the files of {name}" for name in compared.out_of_reach]
    text += [f"         {one.path}: {one.reason}" for one in compared.mismatches[:SHOWN]]
    if len(compared.mismatches) > SHOWN:
        text.append(f"         and {len(compared.mismatches) - SHOWN} more (--json lists them)")
    if compared.mismatches:
        text.append(
            "         next: make them again (countersign repro --force STAGE), join the log that"
            " has their evidence (COUNTERSIGN_HOME), or remove what no stage made"
        )
    return text


def _compare(
    root: Path | None, machine: Machine, now: State, keys: Mapping[str, str]
) -> FilesReport:
    """One entry at a time: a log may be larger than the memory."""
    ring = key_ring(now.log, {**now.authority.keys, **keys})
    read = (read_entry(entry, ring) for entry in now.log.entries())
    said = (item for item in read if isinstance(item, Evidence))
    return verify_files(root, said, in_artifact_root(machine.artifact_root))


def _remember(machine: Machine, checkpoint: str) -> None:
    try:
        remember(machine, checkpoint)
    except (
        StorageError
    ) as error:  # an auditor may have no right to write here: that is no fault of the log
        click.echo(
            f"warning: this machine cannot keep the checkpoint for next time: {error.found}",
            err=True,
        )


def _replaced(target: Path | None) -> dict[str, str]:
    """The checkpoint that would be written over: it is not given up for one of a log that does not
    hold it.
    """
    if target is None or not target.exists():
        return {}
    note = _read(target)
    try:
        parse_checkpoint(note)
    except VerificationError as error:
        raise ConfigError(
            f"this file is no checkpoint ({error.found}), and is not written over",
            where=str(target),
        ) from None
    return {f"the checkpoint in {target}, which would be written over": note}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:  # no more of it than tells that it is none
            return file.read(4 * MAX_CHECKPOINT + 4).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the older checkpoint cannot be read: {error}", where=str(path)
        ) from None
