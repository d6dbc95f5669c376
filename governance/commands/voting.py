"""What `approve` and `reject` share: what is meant, what is shown, the signature, and what is
missing afterwards.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from governance.attest.digests import sha256_bytes
from governance.commands import session
from governance.machine.machine import Machine
from governance.people import kept, page, review, shown, subjects, votes
from governance.people.moves import Move, plan
from governance.people.subjects import Subject
from governance.people.votes import Vote
from governance.release.promotion import State

Options = tuple[str | None, str | None, bool, bool, bool]
"""key, role, yes, dry_run, as_json."""
DONE = {"approve": "approved", "reject": "rejected"}


def cast(
    words: tuple[str, ...],
    decision: Literal["approve", "reject"],
    reason: str,
    alias: str | None,
    days: int | None,
    options: Options,
) -> None:
    """Finds what is meant, shows it, signs it, and says what is missing."""
    key, role, yes, dry_run, as_json = options
    machine = session.here()
    log = session.log_to_add_to(machine, dry_run)
    now, at = session.current(log), session.clock()
    what = subjects.find(now, words)
    content, lines = _page(machine, log, what, decision)
    digest = sha256_bytes(content)
    session.tell(lines, err=as_json)
    expires = at + timedelta(days=days) if days else None
    how = Vote(decision, reason, digest, alias, expires)
    signer = session.signer(key)
    _, who = votes.vote(log, now, what, how, signer, role, at, dry_run=True)
    found: dict[str, Any] = {
        "decision": decision,
        "about": what.about,
        "subject": what.sha256,
        "name": what.name,
        "page": digest,
        "person": who.name,
        "role": who.role,
        "entry": None,
    }
    already = None if expires else votes.said_already(now, what, how, who)
    if already is not None:
        found["entry"] = already
        session.show(found, [f"{who.name} {DONE[decision]} it already, entry {already}"], as_json)
        return
    if dry_run:
        session.show(
            found,
            [f"{who.name} would {decision} {what.name} as {who.role}; nothing was written"],
            as_json,
        )
        return
    question = (
        f"\n{who.name} {decision}s {what.about} {what.name} ({what.sha256[:12]}) as {who.role}."
    )
    session.confirm(
        question, what.name if what.about == "packet" else what.sha256[: subjects.SHORTEST], yes
    )
    kept.keep(machine, content)
    said, _ = votes.vote(log, session.current(log), what, how, signer, role, at, dry_run=False)
    after = session.current(log)
    found |= {"entry": said.index if said else None, "missing": _missing(after, what, alias, at)}
    done = f"{who.name} {DONE[decision]} {what.name} as {who.role} (entry {found['entry']})"
    stands = [f"it stands, and refuses, until {who.name} approves the same"]
    session.show(found, [done, *(stands if decision == "reject" else found["missing"])], as_json)


def _page(
    machine: Machine, log: Any, what: Subject, decision: Literal["approve", "reject"]
) -> tuple[bytes, list[str]]:
    """What is shown, and its lines. An approval holds for the page shown last; a rejection shows it
    here.
    """
    if what.packet is None:
        return what.text, list(what.shown)
    made = review.review(log, what.packet)
    html = page.html(made)
    digest = review.digest_of(html)
    if decision == "reject":
        return html, page.text(made)
    shown.check(machine, what.name, made.packet, digest)
    codes = ", ".join(dict.fromkeys(one.code for one in made.findings)) or "nothing"
    lines = [
        f"{what.name}  {made.verdict}",
        f"packet {made.packet}",
        f"page   {digest}, as you were shown it",
        f"standing against it: {codes}; accepted exceptions: {len(made.accepted)}",
    ]
    return html, lines


def _missing(now: State, what: Subject, alias: str | None, at: Any) -> list[str]:
    """Who is still to sign."""
    if what.packet is None:
        return []
    said = what.packet.predicate
    to = alias or now.authority.policies.main_alias
    found = plan(now, Move("promote", said.model, said.version, to, ""), at)
    return [
        f"still to sign: {one.what}"
        + (f", by {', '.join(one.who)}" if one.who else "")
        + f"; {one.next}"
        for one in found.missing
    ] or [f"next: countersign promote {what.name} --to {to}"]
