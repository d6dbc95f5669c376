"""`countersign review`: the page that people read before they approve."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.predicates import Requester, Run
from governance.base.errors import ConfigError, CountersignError
from governance.base.storage import write_atomic
from governance.base.time import exact_instant
from governance.commands import session
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.machine.machine import Machine
from governance.people import kept, packets, page, review, speaking
from governance.people.review import Review

FOUND: dict[kept.PageSource, str] = {
    "kept": "kept on this machine when it was signed",
    "rendered": "rendered again from the log",
}


@click.command("review")
@click.argument("what", metavar="MODEL/VERSION|PACKET", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the page here.")
@click.option("--page", "signed", metavar="SHA256", help="A page that somebody signed, as it was.")
@session.key_option
@session.json_option
def command(
    what: str | None, output: Path | None, signed: str | None, key: str | None, as_json: bool
) -> None:
    """Show the page that people approve: what speaks against the version first, then the evidence.

    The page is rendered here, from the log alone, and nothing is written to the log. With your key
    this machine notes that you opened the page, so that you can approve it: countersign approve.
    Without a packet, or with an outdated one, the page is a preview: countersign freeze.

    With --page the page of an approval or rejection, as its author saw it. It goes to standard
    output, or to the file of -o.
    """
    if (what is None) == (signed is None):
        raise ConfigError(
            "review takes one argument",
            expected="MODEL/VERSION, the digest of a packet, or --page SHA256",
        )
    machine = session.here()
    now = session.current(session.read(machine))
    if signed is not None:
        _signed_page(machine, now, signed, output, as_json)
        return
    at = session.clock()
    packet = _packet(machine, now, str(what))
    content = review.review(now, packet, at)
    html = page.html(content)
    digest = review.digest_of(html)
    preview = packet.index >= now.size
    person = None if preview else _reader(now, key)
    target = _write(machine, html, digest, output)
    if person is not None:
        kept.note_opened(machine, person, digest, at)
    result = {
        **content.model_dump(mode="json"),
        "page": digest,
        "file": str(target),
        "preview": preview,
        "opened_by": person,
    }
    lines = [*page.text(content), "", f"page      {digest}", f"read      {target}"]
    session.show(result, [*lines, *_next(now, content, packet, person, preview)], as_json)


def _write(machine: Machine, html: bytes, digest: str, output: Path | None) -> Path:
    """Writes the page to `output`, else to this machine's folder of previews."""
    target = output or machine.state / "review" / f"{digest[:16]}.html"
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(target, html)
    return target


def _signed_page(
    machine: Machine, now: LogState, sha256: str, output: Path | None, as_json: bool
) -> None:
    content, source = kept.find(machine, now, sha256)
    if output is not None:
        write_atomic(output, content)
    elif not as_json:
        click.echo(content, nl=False)
        click.echo(f"page {sha256[:12]}: {FOUND[source]}", err=True)
        return
    target = str(output) if output else "not written: give -o"
    lines = [f"page {sha256}: {FOUND[source]}", target]
    session.show({"page": sha256, "found": source, "file": target}, lines, as_json)


def _packet(machine: Machine, now: LogState, what: str) -> Evidence:
    """The packet that `what` names, or the one that `freeze` would record."""
    model, slash, version = what.partition("/")
    if not slash:
        return packets.by_digest(now, what)
    at = session.clock()
    latest, _ = packets.current(now, model, version, at)
    if latest is not None:
        return latest
    moment = exact_instant(at)
    requester = Requester(name=machine.requester.name, authenticated=False)
    run = Run(started=moment, finished=moment, seconds=0.0, requested_by=requester)
    return packets.unrecorded(now, model, version, at, run)


def _reader(now: LogState, key: str | None) -> str | None:
    """The person of this key. None without a key, or if policy does not name the key."""
    if not session.has_key(key):
        return None
    try:
        return speaking.person_of(now.authority.policies, session.own_key(key)).name
    except CountersignError as error:
        session.tell([f"note: {error.found}; you can read the page, not approve it"], err=True)
        return None


def _next(
    now: LogState, content: Review, packet: Evidence, person: str | None, preview: bool
) -> list[str]:
    """The votes on this packet so far, and the next step."""
    name = f"{content.model}/{content.version}"
    if preview or content.verdict == "outdated":
        return [f"next      countersign freeze {name}; nobody can approve this page"]
    lines = []
    for vote in now.evidence.by_subject(packet.subjects[0].sha256, "approval"):
        word = "approved" if vote.predicate.decision == "approve" else "REJECTED"
        vote_line = f"{vote.predicate.principal} {word} as {vote.predicate.role}"
        lines.append(f"E{vote.index:<8} {vote_line}: {vote.predicate.reason}")
    if person is None:
        return [*lines, f"next      with your key: countersign review {name} --key KEY"]
    if content.verdict == "incident_open":
        return [*lines, f"next      countersign incident close {name}, or countersign waive {name}"]
    step = f"countersign approve {name} --reason ..., or countersign reject {name} --reason ..."
    return [*lines, f"next      {step}"]
