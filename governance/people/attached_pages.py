"""Files that a bundle contains beside the log: pages that people signed, and the last signed
report.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from governance.attest.digests import sha256_bytes
from governance.base.errors import InputError
from governance.bundle.form import Attached
from governance.history import lineage
from governance.history.state import LogState, state
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine
from governance.people import kept, reports


def pages(log: Log, model: str, version: str) -> list[Attached]:
    """The pages that people approved or rejected. A page is left out if this version of Countersign
    renders other bytes.
    """
    now = state(log)
    packets = [packet for packet in now.evidence.all("packet") if _of(packet, model, version)]
    attached = (page for packet in packets for page in _pages(now, packet))
    return list({page.sha256: page for page in attached}.values())


def signed_report(machine: Machine, log: Log, model: str, version: str) -> list[Attached]:
    """The last signed report of a version that is kept on this machine: page and JSON."""
    for statement in reversed(reports.of_version(state(log), model, version)):
        with suppress(InputError):
            signed = reports.content(statement, lambda sha256: kept.read(machine, sha256))
            files = {
                f"report-{statement.index}.html": signed.page,
                f"report-{statement.index}.json": signed.twin,
            }
            return [
                Attached(name=name, sha256=sha256_bytes(data), text=data.decode())
                for name, data in files.items()
            ]
    return []


def _pages(now: LogState, packet: Evidence) -> Iterator[Attached]:
    for vote in now.evidence.by_subject(lineage.subject(packet, "packet") or "", "approval"):
        html = kept.page_of_vote(now, vote)
        if html is not None and sha256_bytes(html) == vote.predicate.page:
            name = f"review-{packet.index}-{vote.index}.html"
            yield Attached(name=name, sha256=sha256_bytes(html), text=html.decode())


def _of(packet: Evidence, model: str, version: str) -> bool:
    return (packet.predicate.model, packet.predicate.version) == (model, version)
