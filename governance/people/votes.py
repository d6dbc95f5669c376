"""Approvals and rejections: built, held against the rules that will judge them, and only then
signed.

Nothing is signed that would not count: the statement is judged by `governance.gates.checks.people`
as if it stood in the log already, and the reason it would be set aside is the refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Approval
from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import agreed, packet_votes
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.people.assumed import NOT_YET, Assumed, assumed
from governance.people.authorizing import speaking_for_themselves
from governance.people.speaking import Said, Speaker, say, speaker
from governance.people.subjects import BEFORE_TRAINING, Subject
from governance.policy.policies import Principal
from governance.release import promotion
from governance.release.promotion import State


@dataclass(frozen=True)
class Vote:
    """What somebody says of a subject."""

    decision: Literal["approve", "reject"]
    reason: str
    page: str | None
    alias: str | None = None
    expires: datetime | None = None


def vote(
    log: Log,
    now: State,
    what: Subject,
    how: Vote,
    signer: Signer,
    role: str | None,
    at: datetime,
    *,
    dry_run: bool,
) -> tuple[Said | None, Speaker]:
    """Signs an approval or rejection, if it will count. Raises `RefusedError`."""
    who = _voter(now, what, signer, role, at)
    said = Approval(
        **who.signed(how.reason, at, anywhere=what.about in BEFORE_TRAINING),
        decision=how.decision,
        about=what.about,
        model=what.model,
        alias=how.alias or what.alias,
        page=how.page,
        expires=exact_instant(how.expires) if how.expires else None,
    )
    problem = _problem(now, what, said, who, at)
    if problem:
        fix = (
            f"countersign review {what.name}"
            if what.about == "packet" and _outdated(now, what, at)
            else ""
        )
        raise RefusedError(
            f"this would not count: {problem}", where=f"{what.about} {what.name}", fix=fix
        )
    return None if dry_run else say(log, signer, "approval", [what.artifact], said), who


def _voter(now: State, what: Subject, signer: Signer, role: str | None, at: datetime) -> Speaker:
    """In a role that fits; behind somebody else's request people stand as themselves, whichever of
    them it is.
    """
    if what.about == "promotion":
        return speaking_for_themselves(now, signer, role, at, what.fitting)
    return speaker(now.authority, signer, role, what.fitting, at)


def said_already(now: State, what: Subject, how: Vote, who: Speaker) -> int | None:
    """The entry by which somebody said exactly this last, and it still counts; None where they did
    not.
    """
    mine = [
        item
        for item in now.evidence.by_subject(what.sha256, "approval")
        if (item.predicate.principal, item.predicate.role, item.predicate.about)
        == (who.name, who.role, what.about)
        and now.authority.speaker(item) is not None
    ]
    if not mine:
        return None
    last: Approval = mine[-1].predicate
    same = (last.decision, last.page, last.alias) == (
        how.decision,
        how.page,
        how.alias or what.alias,
    )
    return mine[-1].index if same and last.expires is None else None


def _problem(now: State, what: Subject, said: Approval, who: Speaker, at: datetime) -> str:
    """Why a vote would be set aside; empty where it would count."""
    if what.about == "packet":
        return _packet_problem(now, what, said, who, at)
    if what.about == "promotion":
        request = next(item for item in now.evidence.all("request") if item.digest == what.sha256)
        return "it is your own request" if request.predicate.principal == who.name else ""
    return ""


def _packet_problem(now: State, what: Subject, said: Approval, who: Speaker, at: datetime) -> str:
    if what.packet is None:
        return "there is no packet"
    changed = _outdated(now, what, at) if said.decision == "approve" else []
    if changed:
        return f"what it rests on changed since the packet was put together: {', '.join(changed)}"
    context = context_of(
        now, what, [assumed(now, who.signer, "approval", what.artifact, said)], at, said.alias
    )
    votes, aside = packet_votes(context)
    if any(name == who.name and item.index == now.size for name, _, item in votes):
        return ""
    mine = [one for one in aside if one.person == who.name]
    return mine[-1].why if mine else "nobody may vote on it"


def _outdated(now: State, what: Subject, at: datetime) -> list[str]:
    """What a packet rests on and is no longer so."""
    return promotion.changed(now, what.packet, at) if what.packet else []


def barred(now: State, what: Subject, person: Principal, at: datetime) -> bool:
    """Whether nothing this person could say for the packet would count: it is their own work."""
    key = public_key(person.keys[-1])
    roles = [role for role in person.roles if role in what.fitting]
    said = Approval(
        principal=person.name,
        role=(roles or [""])[0],
        reason="",
        at=exact_instant(at),
        decision="approve",
        about="packet",
        model=what.model,
        page="0" * 64,
    )
    item = Evidence(now.size, "approval", (what.artifact,), said, key.keyid, False, NOT_YET)
    votes, _ = packet_votes(context_of(now, what, [item], at))
    return not any(name == person.name and one.index == now.size for name, _, one in votes)


def approved(now: State, what: Subject, at: datetime) -> bool:
    """Whether it is approved, as the gate will judge it."""
    return agreed(
        now.authority,
        now.evidence.by_subject(what.sha256, "approval"),
        what.about,
        what.fitting,
        at,
    )


def context_of(
    now: State, what: Subject, more: Sequence[Evidence], at: datetime, alias: str | None = None
) -> ReleaseContext:
    """What the decision on a packet's release looks at, with statements that nobody has made
    yet.
    """
    said = what.packet.predicate if what.packet else None
    version = said.version if said else ""
    to = alias or now.authority.policies.main_alias
    asked = promotion.ask(now, "promote", what.model, version, to).model_copy(
        update={"packet": what.sha256}
    )
    return ReleaseContext.of(asked, now.authority, Assumed(now.evidence, more), at)
