"""`countersign bundle`: everything the log says about a version in one file that anybody can check,
offline.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.storage import write_atomic
from governance.bundle import bundle_of, verify_bundle, write
from governance.bundle.form import MAX_BYTES, Attached
from governance.commands import session
from governance.commands.moves import named
from governance.history.verify import TrustAnchors
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
@click.option(
    "--with-verifier",
    is_flag=True,
    help="Also write a verifier beside it: one Python file that needs no Countersign.",
)
@session.json_option
def command(
    version: str,
    output: Path,
    attached: tuple[Path, ...],
    since: Path | None,
    whole: bool,
    with_verifier: bool,
    as_json: bool,
) -> None:
    """Write what the log says about MODEL/VERSION to one file that anybody can check offline.

    The file has the packet, statements, proofs, checkpoint, policies, review pages and the report
    that was signed last, if this machine has them. Two people who bundle the same log get the same
    entries.

    Check it with `countersign verify FILE --origin SHA256`. Without Countersign, use the second
    verifier (--with-verifier): python FILE.verify.py FILE --origin SHA256.
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
    report = verify_bundle(data, TrustAnchors(), where=output.name)
    if report.broken is not None:
        raise VerificationError(report.broken, fix="countersign verify shows what is wrong")
    write_atomic(output, data)
    verifier = output.with_name(f"{output.name}.verify.py") if with_verifier else None
    if verifier is not None:
        write_atomic(verifier, second_verifier())
    result = {
        "file": str(output),
        "sha256": sha256_bytes(data),
        "bytes": len(data),
        "entries": report.entries,
        "size": report.size,
        "origin": report.first,
        "checkpoint": report.checkpoint,
        "verifier": str(verifier) if verifier else None,
        "limits": list(report.limits),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    arguments = f"{output} --origin {report.first}"
    without = f"python {verifier} {arguments}" if verifier else "add --with-verifier"
    click.echo(
        f"{output}: {model}/{number}, {report.entries} of {report.size} log entries,"
        f" {len(data)} bytes\n"
        f"  sha256               {result['sha256']}\n"
        f"  check it             countersign verify {arguments}\n"
        f"  without Countersign  {without}\n"
        "Send the origin by another way than the file."
    )


def second_verifier() -> bytes:
    """The source of the standalone verifier."""
    return resources.files("governance.bundle").joinpath("standalone_verifier.py").read_bytes()


def _distinct(files: list[Attached]) -> list[Attached]:
    """Each content once, under its first name."""
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
    """The text of a file, unchanged. Raises `InputError`."""
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
