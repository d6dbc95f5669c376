"""`countersign export`: what other tools read of a model version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.commands import session

if TYPE_CHECKING:
    from governance.exports.catalog import Export
    from governance.exports.records import Records


@click.command("export")
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("formats", metavar="[FORMAT]...", nargs=-1)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Default: exports/MODEL-VERSION.",
)
@click.option(
    "--list",
    "listed",
    is_flag=True,
    help="List the formats and their files; write nothing.",
)
@click.option(
    "--sign",
    is_flag=True,
    help="Sign in-toto statements with this machine's key (DSSE envelopes).",
)
@session.bundle_options
@session.json_option
def command(
    version: str,
    formats: tuple[str, ...],
    folder: Path | None,
    listed: bool,
    sign: bool,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Write MODEL/VERSION in the formats of other tools: all of them, or those named.

    --list shows the formats. Exports are made from verified records. They are not evidence
    themselves; the signed log is. Either all files are written or none.
    """
    from governance.exports.catalog import export
    from governance.exports.files import refuse_sealed, write
    from governance.exports.text import file_name
    from governance.machine.machine import known_signer

    records = session.records_of(session.named(version), bundle, origin)
    registration = records.facts.registration
    name = f"{file_name(registration.model)}-{file_name(registration.version)}"
    target = folder or Path("exports") / name
    refuse_sealed(target)
    keys = records.facts.policies.keys if records.facts.policies else {}
    exports = export(
        records, formats, known_signer(session.here(), keys) if sign and not listed else None
    )
    if not listed:
        write(target, [export for each in exports for export in each.documents])
    if as_json:
        click.echo(json.dumps(_document(exports, target, listed), indent=2))
    else:
        click.echo("\n".join(_lines(records, exports, target, listed)))


def _lines(records: Records, exports: list[Export], target: Path, listed: bool) -> Iterator[str]:
    from governance.base.text import visible

    verified = records.verified
    origin = (
        f"origin established by {verified.origin}" if verified.origin else "origin NOT established"
    )
    word = "would write" if listed else "written:"
    yield visible(f"{records.name}: {verified.entries} entries verified, {origin}")
    for export in exports:
        yield f"{export.format.name}: {export.format.title}"
        yield from (
            f"  {word} {target / each.path} ({len(each.data)} bytes)" for each in export.documents
        )
        yield from (visible(f"  nothing for {each}") for each in export.missing)


def _document(exports: list[Export], target: Path, listed: bool) -> dict[str, Any]:
    from governance.attest.digests import sha256_bytes

    return {
        "written": not listed,
        "folder": str(target),
        "formats": [
            {
                "format": export.format.name,
                "files": [
                    {"path": each.path, "size": len(each.data), "sha256": sha256_bytes(each.data)}
                    for each in export.documents
                ],
                "missing": list(export.missing),
            }
            for export in exports
        ],
    }
