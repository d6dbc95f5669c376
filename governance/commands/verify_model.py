"""`countersign verify-model`: a model folder at hand against what was registered, from the log
alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from governance.base.errors import InputError, VerificationError
from governance.base.text import moment
from governance.commands import session
from governance.history.state import state
from governance.machine.machine import machine_of
from governance.models import folder as modelfolder
from governance.models.folder import Fault
from governance.release.serving import Served, resolve, serving_log

SHOWN = 20


@click.command("verify-model")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--against", "name", required=True, metavar="NAME", help="MODEL/VERSION or MODEL@ALIAS."
)
@click.option(
    "--origin",
    metavar="SHA256",
    help="Digest of entry 0, or id of the checkpoint key, as known to you.",
)
@click.option(
    "--bundle",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answer from a bundle, on any machine.",
)
@click.option("--quick", is_flag=True, help="Verify the log's head only; for very long logs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    path: Path,
    name: str,
    origin: str | None,
    bundle: Path | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Check the model folder at PATH against its registration in the log: every file, byte for
    byte, and no other.

    The log is verified first. Exit code 5 when it, or the folder, is not what it should be. The
    answer is about this moment: load the model with the verifying loader.
    """
    if not path.is_dir():
        raise InputError("no such folder", where=str(path))
    if bundle is not None:
        now = session.looking(bundle, origin or os.environ.get("COUNTERSIGN_ORIGIN"))
    else:
        now = state(serving_log(machine_of(Path.cwd(), os.environ), origin, quick=quick))
    served = resolve(now, name)
    registration = served.registration
    faults = modelfolder.check(path, registration.files, registration.model_digest)
    result = document(path, served, faults)
    click.echo(json.dumps(result, indent=2) if as_json else "\n".join(lines(path, served, faults)))
    ctx.exit(VerificationError.exit_code if faults else 0)


def document(path: Path, served: Served, faults: list[Fault]) -> dict[str, Any]:
    """The result as JSON."""
    registration = served.registration
    return {
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


def lines(path: Path, served: Served, faults: list[Fault]) -> list[str]:
    """The result for people: the verdict first."""
    registration = served.registration
    held = f", {served.alias} since {moment(served.move.at)}" if served.move else ""
    name = (
        f"{served.name}{held} (sha256 {registration.model_digest[:12]},"
        f" registered in entry {served.entry})"
    )
    if faults:
        text = [f"NOT THE REGISTERED MODEL: {path} is not {name}"]
        text += [f"  {fault}" for fault in faults[:SHOWN]]
        more = len(faults) - SHOWN
        text += [f"  and {more} more (--json lists them)"] if more > 0 else []
        return [*text, "  next: take the model from the registry again; never load it as it is"]
    size = sum(file.size for file in registration.files)
    text = [
        f"VERIFIED: {path} is {name}",
        f"  {len(registration.files)} files, {size:,} bytes, nothing else",
    ]
    text += ["  signed by a DEVELOPMENT KEY: good for candidate only"] if served.development else []
    return text + ([f"  INCIDENT OPEN: {served.incident}"] if served.incident else [])
