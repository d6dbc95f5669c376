"""`countersign export`: what other tools read of a model version."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.commands import session
from governance.commands.session import Call


@click.command("export")
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("formats", metavar="[FORMAT]...", nargs=-1)
@click.option("-o", "--output", "folder", type=session.FILE, help="Default: exports/MODEL-VERSION.")
@click.option("--list", "listed", is_flag=True, help="List formats and files; write nothing.")
@click.option("--sign", is_flag=True, help="Sign in-toto statements with this machine's key.")
@session.options(*session.READS)
def command(
    call: Call,
    version: str,
    formats: tuple[str, ...],
    folder: Path | None,
    listed: bool,
    sign: bool,
) -> None:
    """Write MODEL/VERSION in the formats of other tools: all of them, or those named.

    --list shows the formats. Exports are made from verified records. They are not evidence
    themselves; the signed log is. Either all files are written or none.
    """
    from governance.commands.sources import records_of
    from governance.exports.catalog import export, known_formats
    from governance.exports.files import refuse_sealed, write
    from governance.exports.text import file_name
    from governance.machine.machine import known_signer

    records = records_of(call, version)
    registration = records.facts.registration
    name = f"{file_name(registration.model)}-{file_name(registration.version)}"
    target = folder or Path("exports") / name
    refuse_sealed(target)
    keys = records.facts.policies.keys if records.facts.policies else {}
    signer = known_signer(call.machine, keys) if sign and not listed else None
    exports = export(records, formats, signer)
    if not listed:
        write(target, [document for made in exports.values() for document in made.documents])
    result = {
        "written": not listed,
        "folder": str(target),
        "formats": [
            {
                "format": name,
                "files": [
                    {"path": file.path, "size": len(file.data), "sha256": sha256_bytes(file.data)}
                    for file in made.documents
                ],
                "missing": list(made.missing),
            }
            for name, made in exports.items()
        ],
    }
    call.draw("export", result, records=records, known=known_formats())
