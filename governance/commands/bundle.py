"""`countersign bundle`: everything the log says about a version in one file that anybody can check,
offline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval, Packet
from governance.base.errors import InputError, OfflineError, StorageError, VerificationError
from governance.base.storage import write_atomic
from governance.bundle import bundle_of, verify_bundle, write
from governance.bundle.form import Attached, content
from governance.commands import session
from governance.commands.anchors import anchors_of_bundle
from governance.commands.session import Call, named
from governance.history.state import LogState
from governance.machine.machine import model_index
from governance.people import kept, reports


@click.command("bundle")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("-o", "--output", type=session.FILE, required=True, help="The file to write.")
@click.option("--since", type=session.FILE, help="An older checkpoint, to prove growth from.")
@click.option("--whole", is_flag=True, help="Every entry of the log: nothing can be missing.")
@click.option("--with-verifier", is_flag=True, help="Also write a verifier: one Python file.")
@session.options("as_json")
def command(
    call: Call, version: str, output: Path, since: Path | None, whole: bool, with_verifier: bool
) -> None:
    """Write what the log says about MODEL/VERSION to one file that anybody can check offline.

    The file has the packet, statements, proofs, checkpoint, policies, review pages and the report
    that was signed last, if this machine has them. Two people who bundle the same log get the same
    entries.

    Check it with `countersign verify FILE --origin SHA256`. Without Countersign, use the second
    verifier (--with-verifier): python FILE.verify.py FILE --origin SHA256.
    """
    model, number = named(version)
    now = call.read()
    files = [*_pages(now, model, number), *_report(call, now, model, number)]
    distinct = list({file.sha256: file for file in reversed(files)}.values())
    growth = content(since).decode(errors="replace") if since else None
    note = "" if whole else _index(call, now, model)
    bundle = bundle_of(
        now.log, model, number, index=note, files=distinct, since=growth, whole=whole
    )
    data = write(bundle)
    report = verify_bundle(data, anchors_of_bundle(call, data), where=output.name)
    if report.broken is not None:
        raise VerificationError(report.broken, fix="countersign verify shows what is wrong")
    write_atomic(output, data)
    verifier = output.with_name(f"{output.name}.verify.py") if with_verifier else None
    if verifier is not None:
        source = resources.files("governance.bundle").joinpath("standalone_verifier.py")
        write_atomic(verifier, source.read_bytes())
    result = {
        "file": str(output),
        "sha256": sha256_bytes(data),
        "bytes": len(data),
        "entries": report.entries,
        "completeness": report.completeness,
        "size": report.size,
        "origin": report.first,
        "checkpoint": report.checkpoint,
        "verifier": str(verifier) if verifier else None,
        "limits": report.limits,
    }
    call.draw("bundle", result, version=version)


def _index(call: Call, now: LogState, model: str) -> str:
    """The signed index of the model. Where the key is not at hand, a warning, and none."""
    try:
        return model_index(call.machine, now.log, model)
    except (StorageError, OfflineError) as error:
        lack = f"warning: the bundle will not show that it is complete: {error.found}"
        session.tell([f"{lack}; --whole needs no index"], err=True)
        return ""


def _pages(now: LogState, model: str, version: str) -> Iterator[Attached]:
    """The pages that people approved or rejected. A page is left out if this version of Countersign
    renders other bytes.
    """
    for packet in now.evidence.all(Packet):
        if (packet.predicate.model, packet.predicate.version) != (model, version):
            continue
        for vote in now.evidence.by_subject(packet.subjects[0].sha256, Approval):
            html = kept.page_of_vote(now, vote)
            if html is not None:
                yield _file(f"review-{packet.index}-{vote.index}.html", html)


def _report(call: Call, now: LogState, model: str, version: str) -> list[Attached]:
    """The last signed report of a version that is kept on this machine: page and JSON."""
    for statement in reversed(reports.of_version(now, model, version)):
        with suppress(InputError):
            signed = reports.content(statement, lambda sha256: kept.read(call.machine, sha256))
            name = f"report-{statement.index}"
            return [_file(f"{name}.html", signed.page), _file(f"{name}.json", signed.twin)]
    return []


def _file(name: str, data: bytes) -> Attached:
    return Attached(name=name, sha256=sha256_bytes(data), text=data.decode())
