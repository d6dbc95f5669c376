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
def command(version: str, how: Signing) -> None:
    """Freeze the evidence of MODEL/VERSION for approval. People then review and approve exactly it.

    Where the latest packet is still up to date, nothing is written.
    """
    model, number = named(version)
    log = session.log_to_add_to(session.here(), how.dry_run)
    now, at = session.current(log), session.clock()
    item, changed = packets.current(now, model, number, at)
    found = {"model": model, "version": number, "changed": changed, "written": False}
    after = f"next: countersign review {version}"
    if item is not None and not changed:
        found |= {"packet": packet.digest_of(item.predicate), "entry": item.index}
        line = f"the packet of entry {item.index} is up to date: {found['packet']}"
        session.show(found, [line, after], how.as_json)
        return
    signer = session.signer(how.key)
    person = speaking.person_of(now.authority.policies, signer)
    moment = exact_instant(at)
    asked = Requester(name=person.name, authenticated=True)
    run = Run(started=moment, finished=moment, seconds=0.0, requested_by=asked)
    made = promotion.freeze(now, model, number, at, run)
    found["packet"] = packet.digest_of(made)
    if how.dry_run:
        session.show(found, [f"would freeze {version}: packet {found['packet']}"], how.as_json)
        return
    entry = evidence.record(log, signer, "packet", packet.subjects(made), made)
    found |= {"entry": entry.index, "written": True}
    lines = [f"evidence of {version} frozen for approval: packet {found['packet']}"]
    lines += [f"changed since the packet before: {', '.join(changed)}"] if changed else []
    session.show(found, [*lines, after], how.as_json)
