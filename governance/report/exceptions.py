"""Page one's exceptions: faults contradict a good verdict, waivers accept a finding for a while,
and notes are facts that a reader must know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from governance.attest.predicates import CANDIDATE, Finding, Predicate, Promotion, Waiver
from governance.base.text import moment
from governance.gates.checks import behaviour
from governance.history import packet
from governance.log.evidence import Evidence
from governance.report.facts import Facts, run_of
from governance.report.leaks import leakage
from governance.report.model.front import Notice, WaiverRow
from governance.report.people import not_counted, separation
from governance.report.reasons import About, notice
from governance.report.standing import Standing

SHOWN = 3
"""Entries named in one notice."""
NAME_LIST = "name-list"
"""The engine that finds names by a list."""
WAIVER_FIELDS = {"finding", "about", "principal", "role", "expires", "control", "owner"}
"""Fields of a waiver that its notice names."""


def exceptions(facts: Facts, left_out: Sequence[str], origin: str | None) -> list[Notice]:
    """Faults and waivers first, then notes: facts that contradict nothing."""
    return [
        *_faults(facts),
        *_not_judged(facts),
        *_elsewhere(facts),
        *_keys(facts),
        *_unestablished(facts, left_out, origin),
        *_runs(facts),
        *_data(facts),
        *_not_run(facts),
        *_keys_ended(facts),
    ]


def waivers(facts: Facts) -> list[WaiverRow]:
    """Every waiver of a finding on the version or its chain, also those that do not count."""
    standing = facts.standing
    if standing is None:
        return []
    allowed = [move.predicate for move in standing.decisions if move.predicate.allowed]
    used = {_finding(finding) for move in allowed for finding in move.waived}
    rows: list[WaiverRow] = []
    for statement, problem in standing.waivers:
        about = _waived(statement.predicate)
        rows.append(
            WaiverRow(
                waiver=statement.predicate,
                why_ended=problem.text if problem else None,
                renewals=sum(_waived(row.waiver) == about for row in rows),
                used=about in used,
                evidence=[statement.index],
            )
        )
    return rows


def _waived(waiver: Waiver) -> tuple[str, str]:
    return waiver.finding, waiver.about


def _finding(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.subject


# -- Faults and waivers ----------------------------------------------------------------------------
def _faults(facts: Facts) -> Iterator[Notice]:
    for finding in facts.registry or ():
        moved = finding.code == "REGISTRY_ALIAS_MOVED"
        yield notice(
            About.ALIAS_MOVED if moved else About.REGISTRY_DIFFERS,
            subject=finding.subject,
            expected=finding.expected,
            found=finding.found,
            finding=finding.code,
        )
    standing = facts.standing
    if standing is None:
        return
    for decision, why in standing.unreproduced:
        entry = decision.index
        yield notice(About.DECISION_NOT_REPRODUCED, [entry], entry=entry, why=why)
    yield from _votes(facts, standing)
    if standing.released is not None:
        yield from _ended_waivers(standing, standing.released)
    for opening in standing.open_incidents:
        incident = opening.predicate
        fields = {"at": moment(incident.at), "name": incident.principal}
        yield notice(About.INCIDENT_OPEN, [opening.index], **fields, reason=incident.reason)
    yield from _alone(standing)
    period = standing.now.authority.in_force
    if period.signed_at is None:
        yield notice(About.POLICIES_NOT_SIGNED, [max(period.start, 0)])
    yield from _changed(facts, standing)
    yield from (_waiver(standing, row) for row in waivers(facts) if row.why_ended is None)


def _votes(facts: Facts, standing: Standing) -> Iterator[Notice]:
    duties, aside = separation(facts), not_counted(standing)
    if duties.state == "broken":
        entries = [vote.statement.index for vote, _ in aside if vote.person in duties.own]
        yield notice(About.SELF_APPROVAL, entries[:SHOWN], acts=duties.reasons[0].fields["acts"])
    for vote, why in aside:
        if vote.person not in duties.own:
            entry = vote.statement.index
            fields = {"name": vote.person, "why": why}
            yield notice(About.APPROVAL_NOT_COUNTED, [entry], entry=entry, **fields)


def _ended_waivers(standing: Standing, released: Evidence[Promotion]) -> Iterator[Notice]:
    """Waivers that the release needed and that are not in force today."""
    needed = {_finding(finding) for finding in standing.today.findings}
    for finding in released.predicate.waived:
        lapsed = standing.lapsed(finding)
        if lapsed is None:
            continue
        about = _finding(finding)
        given = [
            waiver.index for waiver, _ in standing.waivers if _waived(waiver.predicate) == about
        ]
        code = About.WAIVER_NOT_COUNTED
        if about not in needed:
            code = About.WAIVER_NOT_NEEDED
        elif lapsed.reason == "expired":
            code = About.WAIVER_EXPIRED
        fields = {"reason": lapsed.reason, "detail": lapsed.detail, "why": lapsed.text}
        yield notice(code, given[-1:], finding=finding.code, subject=finding.subject, **fields)


def _alone(standing: Standing) -> Iterator[Notice]:
    """Emergency rollbacks: one person alone moved an alias."""
    timeline = standing.now.timeline
    late = {decision.index for decision in timeline.overdue(standing.at)}
    for decision in standing.decisions:
        move = decision.predicate
        if move.second_signature_by is None or not move.allowed:
            continue
        code = About.SECOND_SIGNATURE_DUE
        if decision.index in late:
            code = About.SECOND_SIGNATURE_OVERDUE
        elif timeline.has_second_signature(move):
            code = About.SECOND_SIGNATURE_GIVEN
        yield notice(code, [decision.index], alias=move.alias, due=moment(move.second_signature_by))


def _changed(facts: Facts, standing: Standing) -> Iterator[Notice]:
    """Changes since the packet was approved.

    A later run that made the same bytes is no change, because steps are compared by the digests
    they made.
    """
    out_of_date = "PACKET_OUT_OF_DATE" in {finding.code for finding in standing.today.findings}
    if standing.released is None or standing.packet is None or not out_of_date:
        return
    frozen, steps = standing.packet.predicate, packet.steps(packet.statements(facts))
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


def _waiver(standing: Standing, row: WaiverRow) -> Notice:
    waiver, about = row.waiver, _waived(row.waiver)
    messages = [each.message for each in standing.today.waived if _finding(each) == about]
    return notice(
        About.WAIVER,
        row.evidence,
        **waiver.model_dump(include=WAIVER_FIELDS),
        why="; ".join(dict.fromkeys(messages)) or "no finding needs it now",
        renewals=row.renewals,
    )


# -- Notes -----------------------------------------------------------------------------------------
def _not_judged(facts: Facts) -> Iterator[Notice]:
    """Models whose behaviour has no judgement, because the finding that it was not measured is
    waived.
    """
    for finding in facts.again.waived if facts.again else ():
        if finding.measure in behaviour.UNMEASURED:
            yield notice(
                About.BEHAVIOUR_NOT_JUDGED,
                subject=finding.subject,
                why=finding.message,
                finding=finding.code,
                lacks=finding.expected,
            )


def _first(statements: Iterable[Evidence]) -> list[int]:
    """The first entries of these statements."""
    return sorted({statement.index for statement in statements})[:SHOWN]


def _keys(facts: Facts) -> Iterator[Notice]:
    statements = facts.rests_on()
    test_keys = [statement for statement in statements if statement.development]
    if test_keys:
        counts = {"count": len(test_keys), "of": len(statements)}
        yield notice(About.DEVELOPMENT_KEYS, _first(test_keys), **counts)
    keyed = [each for each in facts.ingests if each.predicate.record_key == "development"]
    if keyed:
        yield notice(About.DEVELOPMENT_RECORD_KEY, _first(keyed))


def _unestablished(facts: Facts, left_out: Sequence[str], origin: str | None) -> Iterator[Notice]:
    if origin is None:
        yield notice(About.ORIGIN_NOT_ESTABLISHED, [0])
    if left_out:
        entries = "; ".join(left_out[:SHOWN])
        yield notice(About.ENTRIES_LEFT_OUT, count=len(left_out), entries=entries)
    if facts.policies is None:
        yield notice(About.POLICIES_NOT_AVAILABLE, why=facts.policies_note)


def _elsewhere(facts: Facts) -> Iterator[Notice]:
    """That the version was trained elsewhere, by whose word, and what nobody knows."""
    node, declared = facts.released, facts.declaration
    entries = [node.base.index] if node.base else []
    if node.imported and declared is None:
        yield notice(About.TRAINED_ELSEWHERE_UNDECLARED, entries, name=node.name)
    elif declared is not None:
        yield notice(
            About.TRAINED_ELSEWHERE,
            entries,
            name=node.name,
            organisation=declared.trained_by.organisation,
            tool=f"{declared.trained_by.tool} {declared.trained_by.tool_version}",
            person=declared.declared_by,
            on=declared.declared_on.isoformat(),
            unknown=", ".join(declared.unknowns) or "nothing that was asked",
        )


def _runs(facts: Facts) -> Iterator[Notice]:
    """Uncommitted code, and requesters of runs who were not authenticated. Governed moves have
    signed requests instead.
    """
    stages = [entry for entry in facts.rests_on() if isinstance(entry.predicate, Predicate)]
    dirty = [stage for stage in stages if stage.predicate.code.dirty]
    if dirty:
        outside = sum(stage.predicate.code.commit is None for stage in dirty)
        counts = {"count": len(dirty), "outside": outside}
        yield notice(About.UNCOMMITTED_CODE, _first(dirty), **counts)
    moves = [entry for entry in facts.promotions if entry.predicate.alias != CANDIDATE]
    runs = [run_of(entry) for entry in facts.rests_on() if entry not in moves]
    requesters = [run.requested_by for run in runs if run]
    claimed = sorted({requester.name for requester in requesters if not requester.authenticated})
    if claimed:
        yield notice(About.REQUESTER_NOT_AUTHENTICATED, names=claimed)


def _data(facts: Facts) -> Iterator[Notice]:
    """Search by name lists, and records left out."""
    low = [scan for scan in facts.scans if scan.predicate.engine.get("ner") == NAME_LIST]
    if low:
        yield notice(About.NAMES_BY_LIST, _first(low))
    steps: list[Evidence] = [*facts.ingests, *facts.scans, *facts.qualities]
    lossy = [step for step in steps if step.predicate.counts.excluded]
    if lossy:
        total = sum(sum(step.predicate.counts.excluded.values()) for step in lossy)
        read = sum(ingest.predicate.counts.records_in for ingest in facts.ingests)
        yield notice(About.RECORDS_LEFT_OUT, _first(lossy), count=total, of=read)


def _not_run(facts: Facts) -> Iterator[Notice]:
    tests = ["privacy leakage"] if leakage(facts).result == "not run" else []
    entries = []
    for node in facts.chain:
        for suite in facts.suites:
            evaluation = facts.evaluation(node, suite)
            if evaluation and evaluation.predicate.not_run is not None:
                tests.append(f"{node.name} on {suite.name}: {evaluation.predicate.not_run}")
                entries.append(evaluation)
    if tests:
        yield notice(About.NOT_RUN, _first(entries), tests="; ".join(tests))


def _keys_ended(facts: Facts) -> Iterator[Notice]:
    """Approvals that count although their key was revoked later."""
    for name, role, vote in facts.standing.approvers if facts.standing else ():
        ended = facts.now.authority.revoked.get(vote.keyid)
        if ended is not None:
            fields = {"name": name, "role": role}
            entries = {"entry": vote.index, "revoked": ended}
            yield notice(About.KEY_REVOKED_LATER, [ended], **fields, **entries)
