"""Incidents: who reported a problem with a model's bytes, and which incidents are open.

1. A person opens or closes an incident in a role that the policies before that entry permit
   (`policy.IncidentRules`).
2. The requester of a move cannot close an incident that somebody else opened since the last close.
3. Each version (model and number) has its own incident. While one is open, these bytes get no
   alias.
4. While one is open, nobody can approve a packet of these bytes. Exception: a packet made after it
   that carries its waiver. Its approvers see what was accepted and by whom.
5. From version 2 of the rules on, an incident is about a registered version: model, version and
   its only digest are those of one registration before it.
6. From version 3 of the rules on, a closing counts only with a check that the actions were
   effective: what was measured, when, and who signed this. The check is in the closing itself or in
   an earlier statement about the incident; an action that is recorded later needs another check.
   Policy can demand that another person checks than those who recorded the actions
   (`checked_by_another`), and that severity, root cause or actions are stated by then
   (`closing_needs`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governance.attest.predicates import Incident, Registration
from governance.base.time import instant_of
from governance.history.persons import others
from governance.log.rules import CHECKS_CLOSINGS, TABLE

if TYPE_CHECKING:
    from governance.attest.predicates import Intervention, Packet, PeriodicReview
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

CHECK = "check"
"""What a closing lacks where nobody checked that the actions were effective."""
INCIDENT = "INCIDENT_OPEN"
"""The finding of an open incident. Several incidents give several findings with one subject."""


def counted(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[Evidence[Incident]]:
    """(1), (6) The statements that count, in log order."""
    permitted = _permitted(rights, statements)
    without = {statement.index for statement, _ in _not_closing(rights, permitted)}
    return [statement for statement in permitted if statement.index not in without]


def unchecked(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[Evidence[Incident]]:
    """(6) The closings that do not count, since nobody checked that the actions were effective."""
    found = _not_closing(rights, _permitted(rights, statements))
    return [closing for closing, lacks in found if CHECK in lacks]


def incomplete(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[tuple[Evidence[Incident], list[str]]]:
    """(6) The closings that do not count, since nobody stated what policy demands, and what."""
    found = _not_closing(rights, _permitted(rights, statements))
    rest = [(closing, [each for each in lacks if each != CHECK]) for closing, lacks in found]
    return [(closing, lacks) for closing, lacks in rest if lacks]


def lacks(
    evidence: EvidenceView, rights: Authority, digest: str, closing: Evidence[Incident]
) -> list[str]:
    """(6) For want of what a closing, as the next entry of the log, would not count: `CHECK`, or
    parts that policy names; empty where it counts.
    """
    found = _not_closing(rights, _permitted(rights, [*about(evidence, rights, digest), closing]))
    return next((lacking for each, lacking in found if each is closing), [])


def _permitted(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[Evidence[Incident]]:
    """(1)"""
    return [
        statement
        for statement in statements
        if rights.speaker(statement) is not None and _may(rights, statement)
    ]


@dataclass
class _Course:
    """(6) What was done about an incident, and who checked it since the last action. It lasts until
    the incident is opened again: another person may close it once more.
    """

    acted: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    stated: set[str] = field(default_factory=set)
    """Those of severity, cause and actions that were stated."""
    closed: bool = False

    def add(self, said: Incident) -> None:
        """Adds what a statement says. A statement with an action and a check says the action
        first.
        """
        if self.closed and said.state == "open":
            self.acted, self.checked, self.stated, self.closed = [], [], set(), False
        parts = {"severity": said.severity, "cause": said.cause.strip(), "actions": said.actions}
        self.stated |= {name for name, value in parts.items() if value}
        if said.actions:
            self.acted.append(said.principal)
            self.checked.clear()
        if is_check(said):
            self.checked.append(said.principal)


def is_check(said: Incident) -> bool:
    """(6) Whether a statement says what was measured, and when: not later than it was signed."""
    measured = said.effective_at
    return bool(said.effective.strip()) and (
        measured is not None and instant_of(measured) <= instant_of(said.at)
    )


def _not_closing(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[tuple[Evidence[Incident], list[str]]]:
    """(6) The closings that do not count, and what they lack."""
    courses: dict[tuple[str, str], _Course] = defaultdict(_Course)
    without: list[tuple[Evidence[Incident], list[str]]] = []
    for statement in statements:
        said = statement.predicate
        version = (said.model, said.version)
        courses[version].add(said)
        if said.state != "closed":
            continue
        if lacking := _lacking(rights, statement, courses[version]):
            without.append((statement, lacking))
        else:
            courses[version].closed = True
    return without


def _lacking(rights: Authority, closing: Evidence[Incident], course: _Course) -> list[str]:
    policies = rights.at(closing.index).policies
    needed = policies.rules.incidents.closing_needs if policies is not None else []
    without = [] if _is_checked(rights, closing, course) else [CHECK]
    return without + [part for part in needed if part not in course.stated]


def _is_checked(rights: Authority, closing: Evidence[Incident], course: _Course) -> bool:
    if rights.rules_at(closing.index) < CHECKS_CLOSINGS:
        return True
    policies = rights.at(closing.index).policies
    if policies is None or not policies.rules.incidents.checked_by_another:
        return bool(course.checked)
    acted = course.acted or [closing.predicate.principal]
    return bool(others(rights, course.checked, *acted))


def still_open(
    rights: Authority, statements: Iterable[Evidence[Incident]], requester: str = ""
) -> list[Evidence[Incident]]:
    """(2), (3) The latest opening statement of each open incident, as it counts against a move that
    `requester` asks for; empty: without a move.
    """
    opened: dict[tuple[str, str], dict[str, Evidence[Incident]]] = {}
    for statement in counted(rights, statements):
        incident = statement.predicate
        opened_by = opened.setdefault((incident.model, incident.version), {})
        if incident.state == "open":
            opened_by.pop(incident.principal, None)  # the latest statement stands last
            opened_by[incident.principal] = statement
        else:
            by_another = others(rights, {incident.principal}, requester)
            opened_by_another = others(rights, opened_by, requester)
            if by_another or not opened_by_another:
                opened_by.clear()
    return [list(opened_by.values())[-1] for opened_by in opened.values() if opened_by]


def unaccepted(
    rights: Authority, statements: Iterable[Evidence[Incident]], packet: Evidence[Packet]
) -> list[Evidence[Incident]]:
    """(4) The open incidents for which a packet carries no waiver."""
    terms = packet.predicate
    codes = {finding.code for finding in terms.waived} - {
        finding.code for finding in terms.findings
    }
    open_incidents = still_open(rights, statements)
    return [
        statement
        for statement in open_incidents
        if INCIDENT not in codes or statement.index > packet.index
    ]


def is_of_registered(
    evidence: EvidenceView,
    rights: Authority,
    statement: Evidence[Incident] | Evidence[Intervention] | Evidence[PeriodicReview],
) -> bool:
    """(5) Whether model, version and digest of an incident are those of an earlier registration. A
    further digest would be blocked with it, and the command that closes the incident names one.
    """
    said = statement.predicate
    digests = {subject.sha256 for subject in statement.subjects}
    view = evidence.signed_under(rights)
    return len(digests) == 1 and any(
        registration.index < statement.index
        and (registration.predicate.model, registration.predicate.version)
        == (said.model, said.version)
        and registration.predicate.model_digest in digests
        for registration in view.by_subject(min(digests), Registration)
    )


def about(evidence: EvidenceView, rights: Authority, digest: str) -> list[Evidence[Incident]]:
    """The incident statements about these bytes, in log order; (5) holds for them."""
    return [
        statement
        for statement in evidence.by_subject(digest, Incident)
        if rights.rules_at(statement.index) < TABLE or is_of_registered(evidence, rights, statement)
    ]


def not_closed(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[Evidence[Incident]]:
    """The closing statements of people without the right to close an incident."""
    return [
        statement
        for statement in statements
        if statement.predicate.state == "closed"
        and rights.problem(statement) in (None, "role")
        and not _may(rights, statement)
    ]


def _may(rights: Authority, statement: Evidence[Incident]) -> bool:
    """Whether policy permits the role. Under version 1 of the rules, any role may say what policy
    leaves open.
    """
    policies, incident = rights.at(statement.index).policies, statement.predicate
    if policies is None:
        return False
    rules = policies.rules.incidents
    named = rules.opened_by if incident.state == "open" else rules.closed_by
    if rights.rules_at(statement.index) >= TABLE:
        named = policies.rules.incident_roles(incident.state)
    return named is None or incident.role in named
