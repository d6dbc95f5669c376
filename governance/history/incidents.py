"""Incidents: what was said to be wrong with a model's bytes, and whose word opens and closes.

1. A person speaks, in a role that the policies before that entry let open, or close, one
   (`policy.IncidentRules`).
2. Whoever asks for a move closes nothing that anybody else has opened since it was last closed.
3. Each version's incident is its own, by model and number; while one is open, no alias is given to
   these bytes.
4. While one is open, nobody approves a packet of these bytes, unless the packet was put together
   after it and carries its waiver: then the approvers see what was accepted, and by whom.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from governance.history.persons import others
from governance.policy.policies import IncidentRules

if TYPE_CHECKING:
    from governance.attest.predicates import Incident, Packet
    from governance.log.evidence import Evidence
    from governance.policy.authority import Authority

INCIDENT = "INCIDENT_OPEN"
"""The finding of an open incident; each incident is another one, though the subject is the same."""


def counted(rights: Authority, items: Iterable[Evidence[Incident]]) -> list[Evidence[Incident]]:
    """(1) Those that count, in order."""
    return [item for item in items if rights.speaker(item) is not None and _may(rights, item)]


def still_open(
    rights: Authority, items: Iterable[Evidence[Incident]], asks: str = ""
) -> list[Evidence[Incident]]:
    """(2), (3) The word that opened each incident that is open, to a move that `asks` wants, if
    anybody does.
    """
    opened: dict[tuple[str, str], dict[str, Evidence[Incident]]] = {}
    for item in counted(rights, items):
        said = item.predicate
        mine = opened.setdefault((said.model, said.version), {})
        if said.state == "open":
            mine.pop(said.principal, None)  # the latest word is the last
            mine[said.principal] = item
        elif others(rights, {said.principal}, asks) or not others(rights, mine, asks):
            mine.clear()
    return [list(mine.values())[-1] for mine in opened.values() if mine]


def unaccepted(
    rights: Authority, items: Iterable[Evidence[Incident]], packet: Evidence[Packet]
) -> list[Evidence[Incident]]:
    """(4) The open incidents that a packet does not carry a waiver of."""
    said = packet.predicate
    codes = {one.code for one in said.waived} - {one.code for one in said.findings}
    found = still_open(rights, items)
    return [item for item in found if INCIDENT not in codes or item.index > packet.index]


def not_closed(rights: Authority, items: Iterable[Evidence[Incident]]) -> list[Evidence[Incident]]:
    """What somebody said to close one, and may not."""
    return [
        item
        for item in items
        if item.predicate.state == "closed"
        and rights.speaker(item) is not None
        and not _may(rights, item)
    ]


def roles(rules: IncidentRules, state: str, everybody: list[str]) -> list[str]:
    """The roles in which a person may say this."""
    named = rules.opened_by if state == "open" else rules.closed_by
    return everybody if named is None else named


def _may(rights: Authority, item: Evidence[Incident]) -> bool:
    policies, said = rights.at(item.index).policies, item.predicate
    return policies is not None and said.role in roles(
        policies.rules.incidents, said.state, [said.role]
    )
