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
    how: Signing,
    alias: str | None = None,
    days: int | None = None,
) -> None:
    """Finds the subject, shows it, signs the vote, and lists the missing signatures."""
    machine, at = session.here(), session.clock()
    log = session.log_to_add_to(machine, how.dry_run)
    now = session.current(log)
    what = subjects.find(now, words)
    signer = session.signer(how.key)
    person = speaking.person_of(now.authority.policies, signer).name
    content, opened, lines = _shown(machine, now, what, decision, person, at)
    expires = at + timedelta(days=days) if days else None
    page_opened = (opened or exact_instant(at)) if what.packet else None
    vote = Vote(decision, reason, sha256_bytes(content), page_opened, alias, expires)
    who, approval = votes.check(now, what, vote, signer, how.role, at)
    if what.packet is not None and opened is None:
        raise _not_opened(what.packet, person)
    session.tell(lines, err=how.as_json)
    found: dict[str, Any] = {
        "decision": decision,
        "about": what.about,
        "subject": what.sha256,
        "name": what.name,
        "page": vote.page,
        "opened_at": opened,
        "person": who.name,
        "role": who.role,
        "entry": None,
    }
    earlier = None if expires else votes.same_vote(now, what, vote, who)
    if earlier is not None:
        found["entry"] = earlier
        line = f"{who.name} already {DONE[decision]} {what.name} (entry {earlier})"
        session.show(found, [line], how.as_json)
        return
    if how.dry_run:
        line = f"{who.name} would {decision} {what.name} as {who.role}; nothing was written"
        session.show(found, [line], how.as_json)
        return
    question = f"\n{who.name} {decision}s {what.about} {what.name} as {who.role}. Reason: {reason}"
    typed = what.name if what.about == "packet" else what.sha256[: subjects.SHORTEST]
    session.confirm(question, typed, how.yes)
    now = session.current(log)  # somebody may have opened an incident meanwhile
    who, approval = votes.check(now, what, vote, signer, how.role, at)
    kept.keep(machine, content)
    found["entry"] = votes.cast(log, what, who, approval).index
    found["missing"] = _missing(session.current(log), what, alias, at)
    lines = [f"{who.name} {DONE[decision]} {what.name} as {who.role} (entry {found['entry']})"]
    if decision == "reject":
        lines.append(f"It blocks promotion until {who.name} approves.")
    else:
        lines += found["missing"]
    session.show(found, lines, how.as_json)


def _shown(
    machine: Machine, now: LogState, what: Subject, decision: Decision, person: str, at: datetime
) -> tuple[bytes, str | None, list[str]]:
    """The page, when this person opened it, and the lines for the terminal. A rejection shows the
    page here.
    """
    if what.packet is None:
        return what.text, None, list(what.shown)
    made = review.review(now, what.packet, at)
    html = page.html(made)
    opened = kept.opened_at(machine, person, review.digest_of(html))
    if decision == "reject":
        return html, opened or exact_instant(at), page.text(made)
    return html, opened, _summary(made, review.digest_of(html))


def _not_opened(packet: Evidence, person: str) -> RefusedError:
    name = f"{packet.predicate.model}/{packet.predicate.version}"
    return RefusedError(
        f"{person} has not opened this review page, or the page changed since",
        where=f"packet {packet.subjects[0].sha256[:12]}",
        fix=f"countersign review {name}",
    )


def _summary(made: Review, digest: str) -> list[str]:
    codes = ", ".join(dict.fromkeys(one.code for one in made.findings)) or "none"
    return [
        f"{made.model}/{made.version}  {page.TITLES[made.verdict][0]}",
        f"packet {made.packet}",
        f"page   {digest}",
        f"open findings: {codes}; waived findings: {len(made.waived)}",
    ]


def _missing(now: LogState, what: Subject, alias: str | None, at: datetime) -> list[str]:
    """The signatures that the promotion still lacks."""
    if what.packet is None:
        return []
    frozen = what.packet.predicate
    to = alias or now.authority.policies.main_alias
    found = moves.plan(now, Move("promote", frozen.model, frozen.version, to, ""), at)
    lines = []
    for one in found.missing:
        who = f" by {', '.join(one.who)}" if one.who else ""
        lines.append(f"missing: {signed_thing(one)}{who}; {one.next}")
    return lines or [f"next: countersign promote {what.name} --to {to}"]
