"""What contradicts a good verdict, and what people accepted for a while: told on page one before
anything else.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import Waiver
from governance.base.text import moment, renewed, timed
from governance.log.evidence import Evidence
from governance.report.facts import Facts, promoted
from governance.report.model import Notice, WaiverRow
from governance.report.people import separation, uncounted
from governance.report.standing import Standing

UNREPRODUCED = "A decision does not come out as logged"
MOVED = "Alias moved without a decision"
OTHERWISE = "The registry is not what the log says"
UNVERIFIED = frozenset([UNREPRODUCED, MOVED, OTHERWISE])
"""Titles of faults that contradict the log itself."""


def faults(facts: Facts) -> list[Notice]:
    """Faults first, then waivers."""
    standing = facts.standing
    found = list(_registry(facts))
    if standing is None:
        return found
    found += [
        *_decisions(standing),
        *_separation(facts),
        *_lapsed(standing),
        *_incidents(standing),
        *_alone(standing),
    ]
    found += list(_rules(standing))
    return [*found, *(_waiver(standing, row) for row in waivers(facts) if row.state == "in force")]


def waivers(facts: Facts) -> list[WaiverRow]:
    """Every waiver of the version or of what it was made from, those that ended and do not count
    too.
    """
    standing = facts.standing
    if standing is None:
        return []
    rows: list[WaiverRow] = []
    for item, why in standing.waivers:
        said: Waiver = item.predicate
        about = (said.finding, said.about)
        waived = [
            one
            for move in standing.decisions
            if promoted(move).allowed
            for one in promoted(move).waived
        ]
        rows.append(
            WaiverRow(
                finding=said.finding,
                about=said.about,
                owner=said.owner,
                accepted_by=said.principal,
                role=said.role,
                control=said.control,
                reason=said.reason,
                at=said.at,
                expires=said.expires,
                state=why.text if why else "in force",
                renewals=sum((row.finding, row.about) == about for row in rows),
                used=about in {(one.code, one.subject) for one in waived},
                evidence=[item.index],
            )
        )
    return rows


def _fault(
    title: str, detail: str, refs: list[int], by: str = "nobody", kind: str = "fault"
) -> Notice:
    return Notice.model_validate(
        {
            "kind": kind,
            "title": title,
            "detail": timed(detail),
            "accepted_by": by,
            "control": "none",
            "expires": "no expiry",
            "evidence": refs,
        }
    )


def _waiver(standing: Standing, row: WaiverRow) -> Notice:
    mine = [
        one for one in standing.today.waived if (one.code, one.subject) == (row.finding, row.about)
    ]
    what = "; ".join(dict.fromkeys(one.message for one in mine)) or "no finding needs it now"
    return Notice(
        kind="waiver",
        title=f"Waived {row.finding} {row.about}",
        detail=(
            f"{what}. Instead: {row.control}; {row.owner} answers for it; {renewed(row.renewals)}"
        ),
        accepted_by=f"{row.accepted_by} as {row.role}",
        control=row.control,
        expires=row.expires,
        evidence=row.evidence,
    )


def _registry(facts: Facts) -> Iterator[Notice]:
    """The registry at hand is not where the log's last decisions put it."""
    for one in facts.registry:
        title = MOVED if one.code == "REGISTRY_ALIAS_MOVED" else OTHERWISE
        detail = (
            f"{one.subject}: the log says {one.expected}, the registry says {one.found}"
            f" ({one.code})"
        )
        yield _fault(title, detail, [])


def _decisions(standing: Standing) -> Iterator[Notice]:
    for item, why in standing.unreproduced:
        yield _fault(
            UNREPRODUCED,
            f"E{item.index}, made again from what stood before it: {why}",
            [item.index],
        )


def _separation(facts: Facts) -> Iterator[Notice]:
    said = separation(facts)
    if "broken" in said:
        own = said.partition("(")[2].removesuffix(")")
        items = list(_own(facts))
        yield _fault("Self-approval", own, [item.index for item in items][:3])
    standing = facts.standing
    for item, why in uncounted(standing) if standing else ():
        name = item.predicate.principal
        if name not in said:
            yield _fault(
                "An approval does not count", f"{name}'s of E{item.index}: {why}", [item.index]
            )


def _own(facts: Facts) -> Iterator[Evidence]:
    standing = facts.standing
    names = {one.person for one in standing.votes[1]} if standing else set()
    for item in (
        standing.now.evidence.by_subject(standing.asked.packet or "", "approval")
        if standing
        else ()
    ):
        if item.predicate.principal in names:
            yield item


def _lapsed(standing: Standing) -> Iterator[Notice]:
    """A waiver that carried the release has ended, or never counted."""
    if standing.released is None:
        return
    for one in promoted(standing.released).waived:
        why = standing.lapsed(one)
        if why:
            mine = [
                item
                for item, _ in standing.waivers
                if (item.predicate.finding, item.predicate.about) == (one.code, one.subject)
            ]
            by = (
                f"{mine[-1].predicate.principal} as {mine[-1].predicate.role}" if mine else "nobody"
            )
            stands = any(
                (found.code, found.subject) == (one.code, one.subject)
                for found in standing.today.findings
            )
            rest = (
                "nothing took its place" if stands else "decided again, nothing needs it any more"
            )
            yield _fault(
                "Expired waiver" if "expired" in why else "A waiver does not count",
                f"{one.code} {one.subject} was accepted for a while, and {why}; {rest}",
                [item.index for item in mine][-1:],
                by,
                "fault" if stands else "note",
            )


def _incidents(standing: Standing) -> Iterator[Notice]:
    for item in standing.open_incidents:
        said = item.predicate
        yield _fault(
            "Incident open",
            f"since {moment(said.at)}, by {said.principal}: {said.reason}",
            [item.index],
        )


def _alone(standing: Standing) -> Iterator[Notice]:
    """Break-glass: one person alone moved an alias."""
    late = {item.index for item in standing.overdue}
    for item in standing.decisions:
        due = promoted(item).second_signature_by
        if due is None or not promoted(item).allowed:
            continue
        given = "was given" if standing.seconded(item) else "is due"
        state = "is overdue" if item.index in late else given
        detail = (
            f"one person alone gave it {promoted(item).alias} back; the second signature, by"
            f" {moment(due)}, {state}"
        )
        yield _fault(
            "Break-glass", detail, [item.index], kind="fault" if item.index in late else "note"
        )


def _rules(standing: Standing) -> Iterator[Notice]:
    """Policies that nobody signed, or that changed since the release."""
    period = standing.now.authority.in_force
    if period.signed_at is None:
        yield _fault(
            "Policies not signed",
            "their owners never signed the policies in force",
            [max(period.start, 0)],
        )
    changed = standing.moved_on
    if changed is not None:
        yield _fault(
            "Changed since it was approved",
            changed.found.removeprefix("changed: "),
            [],
            kind="note",
        )
