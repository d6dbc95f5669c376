"""`countersign export`: what other tools read of a model version."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Registration
from governance.commands import session
from governance.commands.session import Call
from governance.exports.catalog import Document, Made
from governance.machine.signers import model_signer
from governance.models.signature import signed_files


def _model_signature(call: Call, registration: Registration) -> Made:
    """The signature of the registered files, by this machine's key."""
    files = signed_files(registration.model, registration.files, model_signer(call.machine.keys))
    return Made([Document(path, data) for path, data in files.items()])


@click.command("export")
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("formats", metavar="[FORMAT]...", nargs=-1)
@click.option("-o", "--output", "folder", type=session.FILE, help="Default: exports/MODEL-VERSION.")
@click.option("--list", "listed", is_flag=True, help="List formats and files; write nothing.")
@click.option("--sign", is_flag=True, help="Sign in-toto statements with this machine's key.")
@click.option("--model-signature", is_flag=True, help="Sign the files for OpenSSF Model Signing.")
@session.options(*session.READS)
def command(
    call: Call,
    version: str,
    formats: tuple[str, ...],
    folder: Path | None,
    listed: bool,
    sign: bool,
    model_signature: bool,
) -> None:
    """Write MODEL/VERSION in the formats of other tools: all of them, or those named.

    --list shows the formats. Exports are made from verified records. They are not evidence
    themselves; the signed log is. Either all files are written or none. --model-signature adds
    model.sig and its public key: `model_signing verify key FOLDER --signature model.sig
    --public_key model.sig.pub.pem`.
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
    if model_signature:
        exports["model-signing"] = _model_signature(call, registration)
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
