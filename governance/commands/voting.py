"""What `approve` and `reject` share: find the subject, show it, sign it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from governance.attest.digests import sha256_bytes
from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.moves import signed_thing
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.machine.machine import Machine
from governance.people import kept, moves, page, review, speaking, subjects, votes
from governance.people.moves import Move
from governance.people.review import Review
from governance.people.subjects import Subject
from governance.people.votes import Vote

Decision = Literal["approve", "reject"]
DONE: dict[Decision, str] = {"approve": "approved", "reject": "rejected"}


def cast(
    words: tuple[str, ...],
    decision: Decision,
    reason: str,
    signing: Signing,
    alias: str | None = None,
    days: int | None = None,
) -> None:
    """Finds the subject, shows it, signs the vote, and lists the missing signatures."""
    machine, at = session.here(), session.clock()
    log = session.log_to_add_to(machine, signing.dry_run)
    now = session.current(log)
    subject = subjects.find(now, words)
    signer = session.signer(signing.key)
    person = speaking.person_of(now.authority.policies, signer).name
    content, opened, lines = _shown(machine, now, subject, decision, person, at)
    expires = at + timedelta(days=days) if days else None
    page_opened = (opened or exact_instant(at)) if subject.packet else None
    vote = Vote(decision, reason, sha256_bytes(content), page_opened, alias, expires)
    author, approval = votes.check(now, subject, vote, signer, signing.role, at)
    if subject.packet is not None and opened is None:
        raise _not_opened(subject.packet, person)
    session.tell(lines, err=signing.as_json)
    result: dict[str, Any] = {
        "decision": decision,
        "about": subject.about,
        "subject": subject.sha256,
        "name": subject.name,
        "page": vote.page,
        "opened_at": opened,
        "person": author.name,
        "role": author.role,
        "entry": None,
    }
    earlier = None if expires else votes.same_vote(now, subject, vote, author)
    if earlier is not None:
        result["entry"] = earlier
        line = f"{author.name} already {DONE[decision]} {subject.name} (entry {earlier})"
        session.show(result, [line], signing.as_json)
        return
    if signing.dry_run:
        line = (
            f"{author.name} would {decision} {subject.name} as {author.role}; nothing was written"
        )
        session.show(result, [line], signing.as_json)
        return
    question = (
        f"\n{author.name} {decision}s {subject.about} {subject.name} as {author.role}."
        f" Reason: {reason}"
    )
    typed = subject.name if subject.about == "packet" else subject.sha256[: subjects.SHORTEST]
    session.confirm(question, typed, signing.yes)
    now = session.current(log)  # somebody may have opened an incident meanwhile
    author, approval = votes.check(now, subject, vote, signer, signing.role, at)
    kept.keep(machine, content)
    result["entry"] = votes.cast(log, subject, author, approval).index
    result["missing"] = _missing(session.current(log), subject, alias, at)
    lines = [
        f"{author.name} {DONE[decision]} {subject.name} as {author.role} (entry {result['entry']})"
    ]
    if decision == "reject":
        lines.append(f"It blocks promotion until {author.name} approves.")
    else:
        lines += result["missing"]
    session.show(result, lines, signing.as_json)


def _shown(
    machine: Machine, now: LogState, subject: Subject, decision: Decision, person: str, at: datetime
) -> tuple[bytes, str | None, list[str]]:
    """The page, when this person opened it, and the lines for the terminal. A rejection shows the
    page here.
    """
    if subject.packet is None:
        return subject.text, None, list(subject.shown)
    content = review.review(now, subject.packet, at)
    html = page.html(content)
    opened = kept.opened_at(machine, person, review.digest_of(html))
    if decision == "reject":
        return html, opened or exact_instant(at), page.text(content)
    return html, opened, _summary(content, review.digest_of(html))


def _not_opened(packet: Evidence, person: str) -> RefusedError:
    name = f"{packet.predicate.model}/{packet.predicate.version}"
    return RefusedError(
        f"{person} has not opened this review page, or the page changed since",
        where=f"packet {packet.subjects[0].sha256[:12]}",
        fix=f"countersign review {name}",
    )


def _summary(content: Review, digest: str) -> list[str]:
    codes = ", ".join(dict.fromkeys(finding.code for finding in content.frozen.findings)) or "none"
    return [
        f"{content.model}/{content.version}  {page.TITLES[content.verdict][0]}",
        f"packet {content.packet}",
        f"page   {digest}",
        f"open findings: {codes}; waived findings: {len(content.waived)}",
    ]


def _missing(now: LogState, subject: Subject, alias: str | None, at: datetime) -> list[str]:
    """The signatures that the promotion still lacks."""
    if subject.packet is None:
        return []
    frozen = subject.packet.predicate
    to = alias or now.authority.policies.main_alias
    plan = moves.plan(now, Move("promote", frozen.model, frozen.version, to, ""), at)
    lines = []
    for signature in plan.missing:
        people = f" by {', '.join(signature.who)}" if signature.who else ""
        lines.append(f"missing: {signed_thing(signature)}{people}; {signature.next}")
    return lines or [f"next: countersign promote {subject.name} --to {to}"]
