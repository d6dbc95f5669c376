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
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from governance.attest.predicates import Incident, Registration
from governance.history.persons import others
from governance.log.rules import TABLE

if TYPE_CHECKING:
    from governance.attest.predicates import Packet
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

INCIDENT = "INCIDENT_OPEN"
"""The finding of an open incident. Several incidents give several findings with one subject."""


def counted(
    rights: Authority, statements: Iterable[Evidence[Incident]]
) -> list[Evidence[Incident]]:
    """(1) The statements that count, in log order."""
    return [
        statement
        for statement in statements
        if rights.speaker(statement) is not None and _may(rights, statement)
    ]


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
    evidence: EvidenceView, rights: Authority, statement: Evidence[Incident]
) -> bool:
    """(5) Whether model, version and digest of an incident are those of an earlier registration. A
    further digest would be blocked with it, and the command that closes the incident names one.
    """
    incident = statement.predicate
    digests = {subject.sha256 for subject in statement.subjects}
    view = evidence.signed_under(rights)
    return len(digests) == 1 and any(
        registration.index < statement.index
        and (registration.predicate.model, registration.predicate.version)
        == (incident.model, incident.version)
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
