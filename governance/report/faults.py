"""Page one's exceptions: what contradicts a good verdict, then what people accepted for a while."""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import Finding, Waiver
from governance.base.text import moment
from governance.base.time import instant_of
from governance.history import packet
from governance.log.evidence import Evidence
from governance.report.facts import Facts, promoted
from governance.report.model import Notice, WaiverRow
from governance.report.people import not_counted, separation
from governance.report.reasons import About, notice
from governance.report.standing import Standing


def faults(facts: Facts) -> list[Notice]:
    """Faults first, then waivers."""
    found = list(_registry(facts))
    standing = facts.standing
    if standing is not None:
        found += _decisions(standing)
        found += _votes(facts, standing)
        found += _ended_waivers(standing)
        found += _incidents(standing)
        found += _alone(standing)
        found += _rules(standing)
        found += _changed(facts, standing)
        found += [_waiver(standing, row) for row in waivers(facts) if row.in_force]
    return found


def waivers(facts: Facts) -> list[WaiverRow]:
    """Every waiver of the version or of what it was made from, whether it counts or not."""
    standing = facts.standing
    if standing is None:
        return []
    allowed = [promoted(move) for move in standing.decisions if promoted(move).allowed]
    used = {_finding(one) for move in allowed for one in move.waived}
    rows: list[WaiverRow] = []
    for item, problem in standing.waivers:
        waiver: Waiver = item.predicate
        renewals = sum((row.finding, row.about) == _about(item) for row in rows)
        rows.append(
            WaiverRow(
                finding=waiver.finding,
                about=waiver.about,
                owner=waiver.owner,
                accepted_by=waiver.principal,
                role=waiver.role,
                control=waiver.control,
                reason=waiver.reason,
                at=waiver.at,
                expires=waiver.expires,
                in_force=problem is None,
                why=problem.text if problem else None,
                renewals=renewals,
                used=_about(item) in used,
                evidence=[item.index],
            )
        )
    return rows


def _about(item: Evidence) -> tuple[str, str]:
    waiver: Waiver = item.predicate
    return waiver.finding, waiver.about


def _finding(one: Finding) -> tuple[str, str]:
    return one.code, one.subject


def _waiver(standing: Standing, row: WaiverRow) -> Notice:
    mine = [one for one in standing.today.waived if _finding(one) == (row.finding, row.about)]
    why = "; ".join(dict.fromkeys(one.message for one in mine)) or "no finding needs it now"
    made = notice(
        About.WAIVER,
        row.evidence,
        finding=row.finding,
        subject=row.about,
        why=why,
        instead=row.control,
        owner=row.owner,
        renewals=row.renewals,
    )
    by = f"{row.accepted_by} as {row.role}"
    return made.model_copy(
        update={"accepted_by": by, "control": row.control, "expires": row.expires}
    )


def _registry(facts: Facts) -> Iterator[Notice]:
    """The registry does not hold what the log's last decisions gave."""
    for one in facts.registry:
        moved = one.code == "REGISTRY_ALIAS_MOVED"
        yield notice(
            About.ALIAS_MOVED if moved else About.REGISTRY_DIFFERS,
            [],
            subject=one.subject,
            expected=one.expected,
            found=one.found,
            finding=one.code,
        )


def _decisions(standing: Standing) -> Iterator[Notice]:
    for item, why in standing.unreproduced:
        yield notice(About.DECISION_NOT_REPRODUCED, [item.index], entry=item.index, why=why)


def _votes(facts: Facts, standing: Standing) -> Iterator[Notice]:
    duties, aside = separation(facts), not_counted(standing)
    if duties.state == "broken":
        acts = duties.reasons[0].fields["acts"]
        entries = [vote.item.index for vote, _ in aside if vote.person in duties.own]
        yield notice(About.SELF_APPROVAL, entries[:3], acts=acts)
    for vote, why in aside:
        if vote.person not in duties.own:
            entry = vote.item.index
            yield notice(
                About.APPROVAL_NOT_COUNTED, [entry], name=vote.person, entry=entry, why=why
            )


def _ended_waivers(standing: Standing) -> Iterator[Notice]:
    """Waivers that carried the release and are not in force today."""
    if standing.released is None:
        return
    needed = {_finding(one) for one in standing.today.findings}
    for one in promoted(standing.released).waived:
        why = standing.lapsed(one)
        if not why:
            continue
        mine = [item for item, _ in standing.waivers if _about(item) == _finding(one)][-1:]
        expired = [item for item in mine if instant_of(item.predicate.expires) <= standing.at]
        code = About.WAIVER_EXPIRED if expired else About.WAIVER_NOT_COUNTED
        yield notice(
            code if _finding(one) in needed else About.WAIVER_NOT_NEEDED,
            [item.index for item in mine],
            finding=one.code,
            subject=one.subject,
            why=why,
        )


def _incidents(standing: Standing) -> Iterator[Notice]:
    for item in standing.open_incidents:
        incident = item.predicate
        yield notice(
            About.INCIDENT_OPEN,
            [item.index],
            at=moment(incident.at),
            name=incident.principal,
            reason=incident.reason,
        )


def _alone(standing: Standing) -> Iterator[Notice]:
    """Emergency rollbacks: one person alone moved an alias."""
    late = {item.index for item in standing.overdue}
    for item in standing.decisions:
        move = promoted(item)
        if move.second_signature_by is None or not move.allowed:
            continue
        if item.index in late:
            code = About.SECOND_SIGNATURE_OVERDUE
        elif standing.seconded(item):
            code = About.SECOND_SIGNATURE_GIVEN
        else:
            code = About.SECOND_SIGNATURE_DUE
        yield notice(code, [item.index], alias=move.alias, due=moment(move.second_signature_by))


def _rules(standing: Standing) -> Iterator[Notice]:
    period = standing.now.authority.in_force
    if period.signed_at is None:
        yield notice(About.POLICIES_NOT_SIGNED, [max(period.start, 0)])


def _changed(facts: Facts, standing: Standing) -> Iterator[Notice]:
    """What differs from the packet that was approved.

    A later run that made the same bytes again is no change: steps are compared by what they made.
    """
    if standing.moved_on is None or standing.packet is None:
        return
    frozen = standing.packet.predicate
    steps = packet.steps(packet.statements(facts))
    then = {step.name: step.digest for step in frozen.stages}
    now = {step.name: step.digest for step in steps}
    changes = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if facts.policies is not None and facts.policies.digest != frozen.policy:
        changes.append("the policies")
    shown = {(*_finding(one), one.found) for one in frozen.waived}
    if any((*_finding(one), one.found) not in shown for one in standing.today.waived):
        changes.append("the waived findings")
    if changes:
        yield notice(About.CHANGED_SINCE_APPROVAL, [standing.packet.index], changes=changes)
