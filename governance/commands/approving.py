"""`countersign freeze`, `review`, `approve`, `reject` and `waive`: people decide on a version."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import click

from governance.attest.digests import SHORTEST, sha256_bytes
from governance.attest.predicates import Approval
from governance.base.errors import ConfigError, CountersignError, RefusedError
from governance.base.storage import write_atomic
from governance.base.text import moment
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.moves import missing_signatures
from governance.commands.session import Call, named
from governance.history import packet
from governance.history.state import LogState
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.people import kept, moves, review, speaking, subjects, votes
from governance.people.moves import Move
from governance.people.review import Review
from governance.people.subjects import Subject
from governance.people.votes import Vote
from governance.release import promotion

DONE = {"approve": "approved", "reject": "rejected"}


@click.command("freeze")
@click.argument("version", metavar="MODEL/VERSION")
@session.options(*session.SIGNS)
def freeze_command(call: Call, version: str) -> None:
    """Freeze the evidence of MODEL/VERSION for approval. People then review and approve exactly it.

    Where the latest packet is still up to date, nothing is written.
    """
    model, number = named(version)
    call.check_witnessed()
    now = call.state()
    latest, changed = votes.current(now, model, number, call.now)
    result = {"model": model, "version": number, "changed": changed, "written": False}
    after = f"next: countersign review {version}"
    if latest is not None and not changed:
        result |= {"packet": packet.digest_of(latest.predicate), "entry": latest.index}
        line = f"the packet of entry {latest.index} is up to date: {result['packet']}"
        call.show(result, [line, after])
        return
    roles = now.authority.policies.rules.responsible_roles
    person = call.signing.speaker(now.authority, roles, first=True).name
    frozen = promotion.freeze(now, model, number, call.now, speaking.run_by(person, call.now))
    result["packet"] = packet.digest_of(frozen)
    if call.dry_run:
        call.show(result, [f"would freeze {version}: packet {result['packet']}"])
        return
    entry = evidence.record(call.log, call.signer, "packet", packet.subjects(frozen), frozen)
    result |= {"entry": entry.index, "written": True}
    lines = [f"evidence of {version} frozen for approval: packet {result['packet']}"]
    lines += [f"changed since the packet before: {', '.join(changed)}"] if changed else []
    call.show(result, [*lines, after])


# --- Reading --------------------------------------------------------------------------------------


@click.command("review")
@click.argument("what", metavar="MODEL/VERSION|PACKET", required=False)
@click.option("-o", "--output", type=session.FILE, help="Write the page here.")
@click.option("--page", "signed", metavar="SHA256", help="A page that somebody signed, as it was.")
@session.options("key", "as_json")
def review_command(call: Call, what: str | None, output: Path | None, signed: str | None) -> None:
    """Show the page that people approve: what speaks against the version first, then the evidence.

    The page is rendered here, from the log alone, and nothing is written to the log. With your key
    this machine notes that you opened the page, so that you can approve it: countersign approve.
    Without a packet, or with an outdated one, the page is a preview: countersign freeze.

    With --page the page of an approval or rejection, as its author saw it. It goes to standard
    output, or to the file of -o.
    """
    now = call.read()
    if signed is not None and what is None:
        _signed_page(call, now, signed, output)
    elif what is not None and signed is None:
        _review(call, now, what, output)
    else:
        raise ConfigError("review takes MODEL/VERSION, the digest of a packet, or --page SHA256")


def _review(call: Call, now: LogState, what: str, output: Path | None) -> None:
    recorded = _packet(call, now, what)
    content = review.review(now, recorded, call.now)
    html = review.html(content)
    digest = sha256_bytes(html)
    preview = recorded.index >= now.size
    person = None if preview else _reader(call, now)
    target = output or call.machine.state / "review" / f"{digest[:16]}.html"
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(target, html)
    if person is not None:
        kept.note_opened(call.machine, person, digest, call.now)
    result = content.model_dump(mode="json")
    result |= {"page": digest, "file": str(target), "preview": preview, "opened_by": person}
    votes_before = now.evidence.by_subject(recorded.subjects[0].sha256, Approval)
    rest = session.text("review", result=result, votes=votes_before)
    call.show(result, [*review.text(content), "", *rest])


def _packet(call: Call, now: LogState, what: str) -> Evidence:
    """The packet that `what` names, or the one that `freeze` would record."""
    if "/" not in what:
        return subjects.find(now, ("packet", what)).statement
    model, version = named(what)
    latest, _ = votes.current(now, model, version, call.now)
    if latest is not None:
        return latest
    run = speaking.run_by(call.machine.requester.name, call.now, authenticated=False)
    frozen = promotion.freeze(now, model, version, call.now, run)
    return Evidence(now.size, "packet", tuple(packet.subjects(frozen)), frozen, "", False, "")


def _reader(call: Call, now: LogState) -> str | None:
    """The person of this key. None without a key, or if policy does not name the key."""
    if not call.has_key:
        return None
    try:
        return speaking.person_of(now.authority.policies, call.public_key()).name
    except CountersignError as error:
        session.tell([f"note: {error.found}; you can read the page, not approve it"], err=True)
        return None


def _signed_page(call: Call, now: LogState, sha256: str, output: Path | None) -> None:
    content = kept.find(call.machine, now, sha256)
    if output is not None:
        write_atomic(output, content)
    elif not call.as_json:
        click.echo(content, nl=False)
        return
    target = str(output) if output else "not written: give -o"
    call.show({"page": sha256, "file": target}, [f"page {sha256}: {target}"])


# --- Signing --------------------------------------------------------------------------------------


@click.command("approve")
@click.argument("words", nargs=-1, required=True, metavar="MODEL/VERSION | KIND NAME")
@session.reason_option("Why you approve.")
@click.option("--alias", help="Approve it for this alias only.")
@click.option("--days", type=click.IntRange(1, 3650), help="The approval ends after so many days.")
@session.options(*session.SIGNS)
def approve_command(
    call: Call, words: tuple[str, ...], reason: str, alias: str | None, days: int | None
) -> None:
    """Approve the packet of MODEL/VERSION. Open its page first: countersign review.

    KIND is data, objective (NAME is its stage) or reward: where the tier asks for it, approve them
    before training. Or it is promotion: another person's rollback or retirement (NAME is its
    digest). Or it is registration: the one that stands, of several for one version (NAME is the
    digest of its statement; countersign pending shows it).
    """
    _vote(call, words, "approve", reason, alias, days)


@click.command("reject")
@click.argument("words", nargs=-1, required=True, metavar="MODEL/VERSION | KIND NAME")
@session.reason_option("Why you reject; every later review of these bytes shows it.")
@session.options(*session.SIGNS)
def reject_command(call: Call, words: tuple[str, ...], reason: str) -> None:
    """Reject the packet of MODEL/VERSION, or what a gate asks for (KIND: data, objective, reward).
    It blocks until you approve.
    """
    _vote(call, words, "reject", reason, None, None)


def _vote(
    call: Call,
    words: tuple[str, ...],
    decision: Literal["approve", "reject"],
    reason: str,
    alias: str | None,
    days: int | None,
) -> None:
    """Finds the subject, shows it, signs the vote, and lists the missing signatures."""
    if decision == "approve" and words[0] != "promotion":  # a second signature never waits
        call.check_witnessed()
    now = call.state()
    subject = subjects.find(now, words)
    person = speaking.person_of(now.authority.policies, call.signer).name
    content, opened, shown = _shown(call, now, subject, decision, person)
    expires = call.now + timedelta(days=days) if days else None
    page_opened = (opened or exact_instant(call.now)) if subject.packet else None
    vote = Vote(decision, reason, sha256_bytes(content), page_opened, alias, expires)
    author, approval = votes.check(now, subject, vote, call.signing)
    if subject.packet is not None and opened is None:
        raise RefusedError(
            f"{person} has not opened this review page, or the page changed since",
            where=f"packet {subject.packet.subjects[0].sha256[:12]}",
            fix=f"countersign review {subject.name}",
        )
    session.tell(shown, err=call.as_json)
    names = {"subject": subject.sha256, "name": subject.name}
    earlier = None if expires else votes.same_vote(now, subject, vote, author)
    if earlier is not None:
        already = f"{author.name} already {DONE[decision]} {subject.name} (entry {earlier})"
        call.show(approval, [already], **names, entry=earlier)
        return
    question = f"\n{author.name} {decision}s {subject.about} {subject.name} as {author.role}."
    typed = subject.name if subject.about == "packet" else subject.sha256[:SHORTEST]
    call.confirm(f"{question} Reason: {reason}", typed, approval, **names, entry=None)
    now = call.state()  # somebody may have opened an incident meanwhile
    author, approval = votes.check(now, subject, vote, call.signing)
    kept.keep(call.machine, content)
    entry = author.record(call.log, "approval", subject.artifact, approval).index
    done = f"{author.name} {DONE[decision]} {subject.name} as {author.role} (entry {entry})"
    missing, after = [], []
    if subject.packet is not None:
        now, frozen = call.state(), subject.packet.predicate
        to = alias or now.authority.policies.main_alias
        move = Move("promote", frozen.model, frozen.version, to, "")
        missing = missing_signatures(moves.plan(now, move, call.now))
        after = [f"next: countersign promote {subject.name} --to {to}"]
        after = session.text("missing", missing=missing) or after
    if decision == "reject":
        after = [f"It blocks promotion until {author.name} approves."]
    call.show(approval, [done, *after], **names, entry=entry, missing=missing)


def _shown(
    call: Call, now: LogState, subject: Subject, decision: str, person: str
) -> tuple[bytes, str | None, list[str]]:
    """The page, when this person opened it, and the lines for the terminal. A rejection shows the
    page here.
    """
    if subject.packet is None:
        return subject.text.encode(), None, subject.text.splitlines()
    content: Review = review.review(now, subject.packet, call.now)
    html = review.html(content)
    digest = sha256_bytes(html)
    opened = kept.opened_at(call.machine, person, digest)
    if decision == "reject":
        return html, opened or exact_instant(call.now), review.text(content)
    codes = ", ".join(dict.fromkeys(finding.code for finding in content.frozen.findings)) or "none"
    summary = [
        f"{content.model}/{content.version}  {content.verdict.replace('_', ' ')}",
        f"packet {content.packet}",
        f"page   {digest}",
        f"open findings: {codes}; waived findings: {len(content.waived)}",
    ]
    return html, opened, summary


@click.command("waive")
@click.argument("what", metavar="MODEL/VERSION|gate@STAGE|generate@NAME")
@click.option("--finding", required=True, help="The code of the finding.")
@click.option("--about", help="The subject, where the code occurs several times.")
@click.option(
    "--model",
    help="For gate@STAGE and generate@NAME: the released model, where several are made from it.",
)
@click.option("--control", required=True, help="The compensating control.")
@click.option("--owner", required=True, help="The person who answers for the risk.")
@click.option("--days", type=click.IntRange(1), required=True, help="How many days.")
@session.reason_option("Why it is acceptable.")
@session.options(*session.SIGNS)
def waive_command(call: Call, what: str, model: str | None, **terms: Any) -> None:
    """Waive one finding of MODEL/VERSION, of a stage before it trains, or of a dataset before it is
    generated, until a date.

    The next packet has the waiver, so approvers see it. Approvals of earlier packets no longer
    count.
    """
    call.check_witnessed()
    now = call.state()
    target = votes.waiver_target(now, what, call.now, model)
    acceptance = votes.Acceptance(**terms)
    author, waiver = votes.check_waiver(now, target, acceptance, call.signing)
    found = f", as found: {waiver.accepted}," if waiver.accepted else ""
    line = f"{waiver.finding} ({waiver.about}){found} of {what} until {moment(waiver.expires)}"
    question = f"{author.name} waives {line}; compensating control: {waiver.control}."
    sha256 = target.artifact.sha256
    call.confirm(question, waiver.finding, waiver, subject=sha256, entry=None)
    author, waiver = votes.check_waiver(call.state(), target, acceptance, call.signing)
    entry = author.record(call.log, "waiver", target.artifact, waiver).index
    after = f"next: countersign {'freeze' if '/' in what else 'repro'} {what}"
    lines = [f"{author.name} waived {line} (entry {entry})", after]
    call.show(waiver, lines, subject=sha256, entry=entry)
