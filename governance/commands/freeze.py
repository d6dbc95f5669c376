"""`countersign freeze`: record the evidence that a version's approval rests on, as one packet."""

from __future__ import annotations

import click

from governance.attest.predicates import Requester, Run
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.session import Signing, named
from governance.history import packet
from governance.log import evidence
from governance.people import packets, speaking
from governance.release import promotion


@click.command("freeze")
@click.argument("version", metavar="MODEL/VERSION")
@session.signs
def command(version: str, signing: Signing) -> None:
    """Freeze the evidence of MODEL/VERSION for approval. People then review and approve exactly it.

    Where the latest packet is still up to date, nothing is written.
    """
    model, number = named(version)
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now, at = session.current(log), session.clock()
    latest, changed = packets.current(now, model, number, at)
    result = {"model": model, "version": number, "changed": changed, "written": False}
    after = f"next: countersign review {version}"
    if latest is not None and not changed:
        result |= {"packet": packet.digest_of(latest.predicate), "entry": latest.index}
        line = f"the packet of entry {latest.index} is up to date: {result['packet']}"
        session.show(result, [line, after], signing.as_json)
        return
    signer = session.signer(signing.key)
    person = speaking.person_of(now.authority.policies, signer)
    moment = exact_instant(at)
    requester = Requester(name=person.name, authenticated=True)
    run = Run(started=moment, finished=moment, seconds=0.0, requested_by=requester)
    frozen = promotion.freeze(now, model, number, at, run)
    result["packet"] = packet.digest_of(frozen)
    if signing.dry_run:
        session.show(
            result, [f"would freeze {version}: packet {result['packet']}"], signing.as_json
        )
        return
    entry = evidence.record(log, signer, "packet", packet.subjects(frozen), frozen)
    result |= {"entry": entry.index, "written": True}
    lines = [f"evidence of {version} frozen for approval: packet {result['packet']}"]
    lines += [f"changed since the packet before: {', '.join(changed)}"] if changed else []
    session.show(result, [*lines, after], signing.as_json)
