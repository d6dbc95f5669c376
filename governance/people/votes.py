"""Approvals and rejections: built, judged by the rules that count votes, and only then signed.

Nothing is signed that would not count. The statement is judged by `governance.gates.checks.votes`
as if it stood in the log already, and the reason why it would not count is the refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Approval
from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.gates.checks.votes import packet_votes
from governance.history.state import LogState
from governance.history.votes import Reason, SetAside, agreed
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.people.assumed import NOT_YET, assumed
from governance.people.authorizing import speaking_for_themselves
from governance.people.packets import release_context
from governance.people.speaking import Said, Speaker, say, speaker
from governance.people.subjects import BEFORE_TRAINING, Subject
from governance.policy.policies import Principal
from governance.release import promotion

_PROBLEMS: dict[Reason, str] = {
    "not_theirs": "this key was not {person}'s when it signed, or not in this role",
    "time_ended": "policy ended {person}'s time",
    "role": "role {detail} does not approve",
    "other_model": "the approval names another model: {detail}",
    "other_alias": "the approval names another alias: {detail}",
    "before_packet": "the approval is older than the packet",
    "not_in_force": "the approval is not in force now",
    "no_page": "no page was opened",
    "incident_open": "an incident is open (entry {detail})",
    "asked_for_run": "{person} started {detail}, so {person}'s approval cannot count",
    "signed_run": "{person}'s key signed {detail}, so {person}'s approval cannot count",
    "asks_for_move": "{person} requests the promotion, so {person}'s approval cannot count",
}
"""Why an approval would not count, as its author reads it."""


@dataclass(frozen=True)
class Vote:
    """An approval or a rejection, before it is signed."""

    decision: Literal["approve", "reject"]
    reason: str
    page: str | None
    opened_at: str | None = None
    alias: str | None = None
    expires: datetime | None = None


def check(
    now: LogState, what: Subject, how: Vote, signer: Signer, role: str | None, at: datetime
) -> tuple[Speaker, Approval]:
    """Who votes, and the statement that they would sign. Raises `RefusedError` where it would not
    count.
    """
    who = _voter(now, what, signer, role, at)
    approval = Approval(
        **who.signed(how.reason, at, anywhere=what.about in BEFORE_TRAINING),
        decision=how.decision,
        about=what.about,
        model=what.model,
        alias=how.alias or what.alias,
        page=how.page,
        expires=exact_instant(how.expires) if how.expires else None,
        opened_at=how.opened_at,
    )
    if what.packet is not None:
        _check_packet(now, what, what.packet, approval, who, at)
    if what.about == "promotion":
        _check_request(now, what, who)
    return who, approval


def cast(log: Log, what: Subject, who: Speaker, approval: Approval) -> Said:
    """Signs a vote that `check` found to count."""
    return say(log, who.signer, "approval", [what.artifact], approval)


def _voter(now: LogState, what: Subject, signer: Signer, role: str | None, at: datetime) -> Speaker:
    """For another's request any of a person's roles that may second it; else the only role that
    fits.
    """
    if what.about == "promotion":
        return speaking_for_themselves(now, signer, role, at, what.fitting)
    return speaker(now.authority, signer, role, what.fitting, at)


def same_vote(now: LogState, what: Subject, how: Vote, who: Speaker) -> int | None:
    """The entry of this person's last vote, where it says the same and still counts."""
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
    wanted = (how.decision, how.page, how.alias or what.alias)
    same = (last.decision, last.page, last.alias) == wanted
    return mine[-1].index if same and last.expires is None else None


def _check_request(now: LogState, what: Subject, who: Speaker) -> None:
    request = next(item for item in now.evidence.all("request") if item.digest == what.sha256)
    if request.predicate.principal == who.name:
        raise RefusedError(
            f"{who.name} made this request, so somebody else has to sign it",
            where=f"request {what.name}",
        )


def _check_packet(
    now: LogState, what: Subject, packet: Evidence, approval: Approval, who: Speaker, at: datetime
) -> None:
    approves = approval.decision == "approve"
    changed = promotion.changed(now, packet, at) if approves else []
    if changed:
        raise RefusedError(
            f"{what.name} changed since its evidence was frozen: {', '.join(changed)}",
            where=f"packet {what.sha256[:12]}",
            fix=f"countersign freeze {what.name}, then countersign review {what.name}",
        )
    mine = assumed(now, who.signer, "approval", what.artifact, approval)
    votes, aside = packet_votes(release_context(now, packet, at, [mine], approval.alias))
    if not any(item is mine for _, _, item in votes):
        raise _would_not_count(now, what, who, at, [one for one in aside if one.item is mine])


def _would_not_count(
    now: LogState, what: Subject, who: Speaker, at: datetime, aside: list[SetAside]
) -> RefusedError:
    reason = aside[-1].reason if aside else "role"
    problem = _PROBLEMS[reason].format(
        person=who.name, detail=aside[-1].detail if aside else who.role
    )
    if reason == "incident_open":
        fix = f"close the incident, or waive it and then: countersign freeze {what.name}"
    else:
        able = can_vote(now, what, at)
        fix = f"{' or '.join(able) or 'nobody that policy names'} can approve"
    return RefusedError(problem, where=f"{what.about} {what.name}", fix=fix)


def can_vote(now: LogState, what: Subject, at: datetime) -> list[str]:
    """The people whose approval of the packet would count, by role and by what they did before."""
    people = [one for one in now.authority.policies.rules.principals if one.kind == "person"]
    fitting = [one for one in people if set(one.roles) & set(what.fitting)]
    return [one.name for one in fitting if not barred(now, what, one, at)]


def barred(now: LogState, what: Subject, person: Principal, at: datetime) -> bool:
    """Whether no approval of the packet by this person would count: it is their own work."""
    if what.packet is None:
        return False
    role = next((role for role in person.roles if role in what.fitting), "")
    approval = Approval(
        principal=person.name,
        role=role,
        reason="",
        at=exact_instant(at),
        decision="approve",
        about="packet",
        model=what.model,
        page="0" * 64,
    )
    key = public_key(person.keys[-1])
    item = Evidence(now.size, "approval", (what.artifact,), approval, key.keyid, False, NOT_YET)
    votes, _ = packet_votes(release_context(now, what.packet, at, [item]))
    return not any(one is item for _, _, one in votes)


def approved(now: LogState, what: Subject, at: datetime) -> bool:
    """Whether a gate will take it as approved."""
    items = now.evidence.by_subject(what.sha256, "approval")
    return agreed(now.authority, items, what.about, what.fitting, at)
