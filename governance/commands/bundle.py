"""`countersign bundle`: everything the log says about a version in one file that anybody can check,
offline.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.storage import write_atomic
from governance.bundle import Pins, bundle_of, verify_bundle, write
from governance.bundle.form import MAX_BYTES, Attached
from governance.commands import session
from governance.commands.moves import named
from governance.people.attached_pages import pages, signed_report


@click.command("bundle")
@click.argument("version", metavar="MODEL/VERSION")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write."
)
@click.option(
    "--attach",
    "attached",
    multiple=True,
    type=click.Path(path_type=Path),
    help=(
        "A text file to add: a report, or a review page that is kept elsewhere. May be given again."
    ),
)
@click.option(
    "--since", type=click.Path(path_type=Path), help="An older checkpoint, to prove growth from."
)
@click.option(
    "--whole", is_flag=True, help="Every entry of the log, so that nothing can have been left out."
)
@session.json_option
def command(
    version: str,
    output: Path,
    attached: tuple[Path, ...],
    since: Path | None,
    whole: bool,
    as_json: bool,
) -> None:
    """Write what the log says about MODEL/VERSION to one file: packet, statements, proofs,
    checkpoint, policies, pages.

    Also the report of it that was signed last, where it is kept here. The same log gives the same
    entries. Check it anywhere: countersign verify FILE --origin SHA256.
    """
    model, number = named(version)
    machine = session.here()
    log = session.read(machine)
    files = _distinct(
        [
            *pages(log, model, number),
            *signed_report(machine, log, model, number),
            *(_attached(path) for path in attached),
        ]
    )
    data = write(
        bundle_of(
            log, model, number, files=files, since=_text(since) if since else None, whole=whole
        )
    )
    report = verify_bundle(data, Pins(), where=output.name)
    if report.broken is not None:  # nobody is handed what does not verify
        raise VerificationError(
            report.broken, fix="countersign verify names what is wrong with the log"
        )
    write_atomic(output, data)
    told = {
        "file": str(output),
        "sha256": sha256_bytes(data),
        "bytes": len(data),
        "entries": report.entries,
        "size": report.size,
        "origin": report.first,
        "checkpoint": report.checkpoint,
        "limits": list(report.limits),
    }
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(
            f"{output}: {model}/{number}, {report.entries} of the log's {report.size} entries,"
            f" {len(data)} bytes\n  sha256 {told['sha256']}\n  check it: countersign verify"
            f" {output} --origin {report.first}\n  (give the origin by another way than the file)"
        )


def _distinct(files: list[Attached]) -> list[Attached]:
    """Each content once, under the name it has first."""
    return list({file.sha256: file for file in reversed(files)}.values())


def _attached(path: Path) -> Attached:
    text = _text(path)
    try:
        return Attached(name=path.name, sha256=sha256_bytes(text.encode()), text=text)
    except ValueError:
        raise ConfigError(
            "its name has odd characters", where=str(path), expected="letters, digits, . _ -"
        ) from None


def _text(path: Path) -> str:
    """A file's text, to the byte. Raises `InputError`."""
    try:
        if path.stat().st_size > MAX_BYTES // 2:
            raise InputError(
                "too large for a bundle",
                where=str(path),
                expected=f"at most {MAX_BYTES // 2} bytes",
            )
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("not text", where=str(path), expected="UTF-8") from None
