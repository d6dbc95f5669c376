"""The authorizations of one person, found by the person's keys; and the one that a run names.

Every enrolled person may authorize runs, as often as they like. A decision reads only the
authorizations that its runs name, so that nobody makes the decisions of others slower.
"""

from __future__ import annotations

from governance.attest.predicates import Authorization
from governance.log.evidence import Evidence
from governance.log.rules import TABLE
from governance.log.views import EvidenceView
from governance.policy.authority import Authority


def of_person(
    evidence: EvidenceView, authority: Authority, name: str
) -> list[Evidence[Authorization]]:
    """The authorizations that count and that a person of this name signed, in the order of the log.

    Under version 1 of the rules they are about the policies, so those entries are read one by one.
    """
    keyids = authority.keyids_of(name)
    statements = [
        authorization
        for keyid in sorted(keyids)
        for authorization in evidence.by_subject(keyid, Authorization)
    ]
    earlier = evidence.all_before(authority.rule_versions.since(TABLE), Authorization)
    statements += [authorization for authorization in earlier if authorization.keyid in keyids]
    by_index = {authorization.index: authorization for authorization in statements}
    return [
        authorization
        for _, authorization in sorted(by_index.items())
        if (person := authority.speaker(authorization)) is not None and person.name == name
    ]


def named(
    evidence: EvidenceView, authority: Authority, digest: str
) -> list[tuple[str, Evidence[Authorization]]]:
    """The authorizations with this digest that count, each with the person who signed it."""
    statements = evidence.by_subject(digest, Authorization)
    earlier = evidence.all_before(authority.rule_versions.since(TABLE), Authorization)
    statements += [authorization for authorization in earlier if authorization.digest == digest]
    return [
        (person.name, authorization)
        for authorization in statements
        if authorization.digest == digest
        and (person := authority.speaker(authorization)) is not None
    ]
