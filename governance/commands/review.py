"""`countersign review`: the page a person reads before they approve."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.predicates import Requester, Run
from governance.base.errors import ConfigError, InputError
from governance.base.storage import write_atomic
from governance.base.time import exact_instant
from governance.commands import session
from governance.history import packet
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine
from governance.people import kept, page, review, shown, speaking, subjects
from governance.people.review import Review
from governance.release import promotion
from governance.release.promotion import State


@click.command("review")
@click.argument("what", metavar="MODEL/VERSION|PACKET", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the page here too.")
@click.option(
    "--page",
    "signed",
    metavar="SHA256",
    help="The page that somebody signed, as it was shown to them.",
)
@session.key_option
@click.option(
    "--dry-run", is_flag=True, help="Show the page of the packet as it would be; record nothing."
)
@session.json_option
def command(
    what: str | None,
    output: Path | None,
    signed: str | None,
    key: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show what would be approved: the verdict so far, exceptions, gates, evaluation, and what
    changed.

    The page is made here, from the packet and the log alone. Where the version has no packet, or
    what it rests on changed, a new one is recorded first, with your key. Approve what you have
    read: countersign approve.

    With --page the page of an approval or rejection that stands in the log, as it was: kept here
    when it was signed, or made again from the log where that gives the same digest. It goes to
    standard output, or to the file of -o.
    """
    if (what is None) == (signed is None):
        raise ConfigError(
            "review takes one thing",
            expected="MODEL/VERSION, the digest of a packet, or --page SHA256",
        )
    machine = session.here()
    log = session.read(machine)
    if signed is not None:
        _as_it_was(machine, log, signed, output, as_json)
        return
    log, item = _packet(machine, log, str(what), key, dry_run)
    made = review.review(log, item)
    html = page.html(made)
    name, digest = f"{made.model}/{made.version}", review.digest_of(html)
    target = "nowhere: --dry-run"
    if not dry_run:
        last = shown.Shown(packet=made.packet, page=digest, at=exact_instant(session.clock()))
        target = str(shown.remember(machine, name, last, html))
    if output is not None:
        write_atomic(output, html)
        target = str(output)
    found = {**made.model_dump(mode="json"), "page": digest, "file": target}
    session.show(
        found, [*page.text(made), "", *_after(session.current(log), made, digest, target)], as_json
    )


def _as_it_was(machine: Machine, log: Log, sha256: str, output: Path | None, as_json: bool) -> None:
    content, found = kept.find(machine, log, session.current(log), sha256)
    if output is not None:
        write_atomic(output, content)
    elif not as_json:
        click.echo(content, nl=False)
        click.echo(f"page {sha256[:12]}: {found}", err=True)
        return
    target = str(output) if output else "nowhere: give -o"
    session.show(
        {"page": sha256, "found": found, "file": target},
        [f"page {sha256}: {found}", target],
        as_json,
    )


def _packet(
    machine: Machine, log: Log, what: str, key: str | None, dry_run: bool
) -> tuple[Log, Evidence]:
    """The packet that is meant; a new one where a version has none that stands."""
    now, at = session.current(log), session.clock()
    model, slash, version = what.partition("/")
    if not slash:
        return log, review.by_digest(now, what)
    item, changed = review.current(now, model, version, at)
    if item is not None and not changed:
        return log, item
    moment = exact_instant(at)
    if dry_run:
        run = Run(started=moment, finished=moment, seconds=0.0, requested_by=machine.requester)
        return log, review.frozen(now, model, version, at, run)
    signer = session.signer(key)
    person = speaking.person_of(now.authority.policies, signer)
    asked = Requester(name=person.name, authenticated=True)
    run = Run(started=moment, finished=moment, seconds=0.0, requested_by=asked)
    log = speaking.log_to_add_to(machine)
    made = promotion.freeze(promotion.state(log), model, version, at, run)
    evidence.record(log, signer, "packet", packet.subjects(made), made)
    now = promotion.state(log)
    return log, review.by_digest(now, packet.digest_of(made))


def _after(now: State, made: Review, digest: str, target: str) -> list[str]:
    """What is not on the page: what people said of this packet, and the next step."""
    lines = [f"page      {digest}", f"read      {target}"]
    try:
        what = subjects.find(now, ("packet", made.packet))
    except InputError:
        return lines
    if what.packet is not None and not promotion.is_true(now, what.packet):
        lines.append(
            "ATTENTION this packet does not say what the log said then: nobody can approve it;"
            " review the version"
        )
    for item in now.evidence.by_subject(what.sha256, "approval"):
        word = "approved" if item.predicate.decision == "approve" else "REJECTED"
        lines.append(
            f"E{item.index:<8} {item.predicate.principal} {word} as {item.predicate.role}:"
            f" {item.predicate.reason}"
        )
    return [
        *lines,
        (
            f"next      countersign approve {what.name}, or countersign reject {what.name}"
            " --reason ..."
        ),
    ]
