"""Page one's exceptions: faults, which contradict a good verdict, then waivers."""

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
    notices = list(_registry(facts))
    standing = facts.standing
    if standing is not None:
        notices += _decisions(standing)
        notices += _votes(facts, standing)
        notices += _ended_waivers(standing)
        notices += _incidents(standing)
        notices += _alone(standing)
        notices += _rules(standing)
        notices += _changed(facts, standing)
        notices += [_waiver(standing, row) for row in waivers(facts) if row.in_force]
    return notices


def waivers(facts: Facts) -> list[WaiverRow]:
    """Every waiver of a finding on the version or its chain, also those that do not count."""
    standing = facts.standing
    if standing is None:
        return []
    allowed = [promoted(move) for move in standing.decisions if promoted(move).allowed]
    used = {_finding(finding) for move in allowed for finding in move.waived}
    rows: list[WaiverRow] = []
    for statement, problem in standing.waivers:
        waiver: Waiver = statement.predicate
        renewals = sum((row.finding, row.about) == _about(statement) for row in rows)
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
                used=_about(statement) in used,
                evidence=[statement.index],
            )
        )
    return rows


def _about(statement: Evidence) -> tuple[str, str]:
    waiver: Waiver = statement.predicate
    return waiver.finding, waiver.about


def _finding(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.subject


def _waiver(standing: Standing, row: WaiverRow) -> Notice:
    waived = [
        finding
        for finding in standing.today.waived
        if _finding(finding) == (row.finding, row.about)
    ]
    why = (
        "; ".join(dict.fromkeys(finding.message for finding in waived)) or "no finding needs it now"
    )
    row_notice = notice(
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
    return row_notice.model_copy(
        update={"accepted_by": by, "control": row.control, "expires": row.expires}
    )


def _registry(facts: Facts) -> Iterator[Notice]:
    """Where the registry's aliases differ from the log's last decisions."""
    for finding in facts.registry:
        moved = finding.code == "REGISTRY_ALIAS_MOVED"
        yield notice(
            About.ALIAS_MOVED if moved else About.REGISTRY_DIFFERS,
            [],
            subject=finding.subject,
            expected=finding.expected,
            found=finding.found,
            finding=finding.code,
        )


def _decisions(standing: Standing) -> Iterator[Notice]:
    for decision, why in standing.unreproduced:
        yield notice(About.DECISION_NOT_REPRODUCED, [decision.index], entry=decision.index, why=why)


def _votes(facts: Facts, standing: Standing) -> Iterator[Notice]:
    duties, aside = separation(facts), not_counted(standing)
    if duties.state == "broken":
        acts = duties.reasons[0].fields["acts"]
        entries = [vote.statement.index for vote, _ in aside if vote.person in duties.own]
        yield notice(About.SELF_APPROVAL, entries[:3], acts=acts)
    for vote, why in aside:
        if vote.person not in duties.own:
            entry = vote.statement.index
            yield notice(
                About.APPROVAL_NOT_COUNTED, [entry], name=vote.person, entry=entry, why=why
            )


def _ended_waivers(standing: Standing) -> Iterator[Notice]:
    """Waivers that the release needed and that are not in force today."""
    if standing.released is None:
        return
    needed = {_finding(finding) for finding in standing.today.findings}
    for finding in promoted(standing.released).waived:
        why = standing.lapsed(finding)
        if not why:
            continue
        waivers_of_it = [
            waiver for waiver, _ in standing.waivers if _about(waiver) == _finding(finding)
        ][-1:]
        expired = [
            waiver
            for waiver in waivers_of_it
            if instant_of(waiver.predicate.expires) <= standing.at
        ]
        code = About.WAIVER_EXPIRED if expired else About.WAIVER_NOT_COUNTED
        yield notice(
            code if _finding(finding) in needed else About.WAIVER_NOT_NEEDED,
            [waiver.index for waiver in waivers_of_it],
            finding=finding.code,
            subject=finding.subject,
            why=why,
        )


def _incidents(standing: Standing) -> Iterator[Notice]:
    for statement in standing.open_incidents:
        incident = statement.predicate
        yield notice(
            About.INCIDENT_OPEN,
            [statement.index],
            at=moment(incident.at),
            name=incident.principal,
            reason=incident.reason,
        )


def _alone(standing: Standing) -> Iterator[Notice]:
    """Emergency rollbacks: one person alone moved an alias."""
    late = {decision.index for decision in standing.overdue}
    for decision in standing.decisions:
        move = promoted(decision)
        if move.second_signature_by is None or not move.allowed:
            continue
        if decision.index in late:
            code = About.SECOND_SIGNATURE_OVERDUE
        elif standing.seconded(decision):
            code = About.SECOND_SIGNATURE_GIVEN
        else:
            code = About.SECOND_SIGNATURE_DUE
        yield notice(code, [decision.index], alias=move.alias, due=moment(move.second_signature_by))


def _rules(standing: Standing) -> Iterator[Notice]:
    period = standing.now.authority.in_force
    if period.signed_at is None:
        yield notice(About.POLICIES_NOT_SIGNED, [max(period.start, 0)])


def _changed(facts: Facts, standing: Standing) -> Iterator[Notice]:
    """Changes since the packet was approved.

    A later run that made the same bytes is no change, because steps are compared by the digests
    they made.
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
    shown = {(*_finding(finding), finding.found) for finding in frozen.waived}
    if any((*_finding(finding), finding.found) not in shown for finding in standing.today.waived):
        changes.append("the waived findings")
    if changes:
        yield notice(About.CHANGED_SINCE_APPROVAL, [standing.packet.index], changes=changes)
