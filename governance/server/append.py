"""Which statements the server's log accepts over HTTP.

1. A known key signed it: the key of a principal in force, not revoked, or a development key of the
   origin.
2. A service or a development key signs the kinds that policy lets it sign. A person signs in their
   own name and role.
3. Nobody sends a statement that the server alone makes: the origin, refused and accepted calls, and
   moves of governed aliases.
4. A packet must be the one that this log gives now. Another packet, or an old one, would replace
   the packet that people approved.
5. A person's statement must be dated now. An earlier date could pretend that its author still had
   the right; a later date would make it last longer than policy permits. A statement that may be
   carried here from another log may be older.
6. An approval of a packet is refused while an incident on the same bytes is open and the packet has
   no waiver of it.

Every decision judges each accepted statement again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from governance.attest.envelope import verify_envelope
from governance.attest.keys import public_key
from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Artifact,
    Authorization,
    CheckpointKey,
    Incident,
    Packet,
    Promotion,
    Signed,
)
from governance.base.errors import ConfigError, RefusedError
from governance.base.time import instant, instant_of
from governance.gates.checks.votes import incidents_against
from governance.history.incidents import counted
from governance.log import evidence
from governance.log.api import Verifier
from governance.log.evidence import Evidence
from governance.log.port import Filing, Log
from governance.people.subjects import BEFORE_TRAINING
from governance.policy.authority import Authority, read_authority, ring_of
from governance.registry.governed.limit import Limit
from governance.release import promotion

WHERE = "the envelope"
SERVER_ONLY = frozenset({"origin", "refusal", "call"})
OPEN_TO_KNOWN_KEYS = frozenset({"policy", "packet", "report"})
"""Kinds that every known key may sign. They give no right by themselves."""


CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the date of a packet or of a person's statement may be from this machine's clock."""


def verifier(log: Log, now: Callable[[], datetime], limit: Limit | None = None) -> Verifier:
    """The verifier of a server's log. It raises `VerificationError` for a statement that does not
    verify, and `RefusedError` for one that is not accepted.

    `limit`: how many statements one key may send in an hour; a service's evidence does not count.
    """

    def verify(envelope: bytes) -> Filing:
        authority = read_authority(log)
        ring = ring_of(authority, evidence.origin(log).development_keys)
        verified = verify_envelope(envelope, ring.known, where=WHERE)  # (1)
        kind, subjects, predicate = evidence.parse_statement(verified.statement, WHERE)
        keyid = verified.keyid
        statement = Evidence(
            log.size(), kind, subjects, predicate, keyid, ring.is_development(keyid), ""
        )
        where = f"{kind} by key {keyid[:16]}"
        reason = refusal(statement, authority)
        if reason is not None:
            raise RefusedError(reason, where=where, fix="ask a policy owner; policy show")
        is_limited = kind in OPEN_TO_KNOWN_KEYS or isinstance(predicate, Signed)
        if limit is not None and is_limited and limit.count((keyid,)):
            many = f"this key has signed {limit.per_hour} statements within the hour"
            raise RefusedError(many, where=where, fix="wait")
        if kind == "packet" and not _is_verbatim(log, statement, now()):  # (4)
            other = "the packet is not the one that this log gives"
            raise RefusedError(other, where=where, fix="countersign freeze")
        filing = evidence.filed_under(envelope, WHERE)
        latest = log.latest(filing.scope)
        if latest is not None and latest.identity == filing.identity:
            return replace(filing, again=evidence.gains_authorization(latest, predicate))
        if isinstance(predicate, Signed):
            _check_dated(predicate, now())  # (5)
        if isinstance(predicate, Approval):
            _check_no_incident(log, predicate, subjects)  # (6)
        return replace(filing, again=False)

    return verify


def _is_verbatim(log: Log, statement: Evidence, at: datetime) -> bool:
    """Whether a packet is the one that this log gives, and dated now. Its findings depend on its
    date, and its sender writes that date.
    """
    dated = instant_of(statement.predicate.run.finished)
    return abs(dated - at) <= CLOCK_TOLERANCE and promotion.is_verbatim(
        promotion.state(log), statement
    )


def _check_dated(signed: Signed, at: datetime) -> None:
    """Raises `RefusedError` (5)."""
    late = at - instant_of(signed.at)
    may_be_older = isinstance(signed, Authorization) or (
        isinstance(signed, Approval) and signed.about in BEFORE_TRAINING
    )
    if late < -CLOCK_TOLERANCE or (late > CLOCK_TOLERANCE and not may_be_older):
        found = f"it is dated {signed.at}, but the server's clock says {instant(at)}"
        raise RefusedError(found, where=WHERE, fix="set the clock right, and sign again")


def _check_no_incident(log: Log, approval: Approval, subjects: Sequence[Artifact]) -> None:
    """Raises `RefusedError` (6)."""
    if approval.about != "packet" or approval.decision == "reject":
        return
    state = promotion.state(log)
    for subject in subjects:
        for packet in state.evidence.by_subject(subject.sha256, Packet):
            incidents = incidents_against(state.authority, state.evidence, packet, state.size)
            if incidents:
                found = f"an incident is open (entry {incidents[0].index}), which blocks approval"
                fix = "close the incident, or waive it and freeze the version again"
                raise RefusedError(found, where=WHERE, fix=fix)


def refusal(statement: Evidence, authority: Authority) -> str | None:
    """Why this statement is refused; None where it is accepted."""
    if statement.kind in SERVER_ONLY:
        return f"only the server makes a statement of kind {statement.kind}"
    if isinstance(statement.predicate, Promotion) and statement.predicate.alias != CANDIDATE:
        return "a governed alias moves only when it is set in the registry"
    keyid, index = statement.keyid, statement.index
    if authority.revoked.get(keyid, index) < index:
        return "this key was revoked"
    if isinstance(statement.predicate, Signed):
        return _refusal_of_person(statement, statement.predicate, authority)
    is_known = statement.development or authority.principal(keyid, index) is not None
    if statement.kind in OPEN_TO_KNOWN_KEYS and is_known:
        return None
    may = authority.may_sign(statement.kind, keyid, statement.development, index)
    return None if may else f"policy in force does not let this key sign {statement.kind}"


def _refusal_of_person(statement: Evidence, signed: Signed, authority: Authority) -> str | None:
    """Why a person's statement is refused; None where it is accepted."""
    if isinstance(signed, CheckpointKey):
        try:
            public_key(signed.pem)
        except ConfigError:
            return "it does not contain a public key"
    if not authority.is_here(signed):
        return f"it counts only in another log, which begins with {str(signed.log)[:12]}"
    if not authority.speaker(statement):
        return "its signer is no person in force with this name and role"
    if isinstance(signed, Incident) and not counted(authority, [statement]):
        return f"policy in force permits no {signed.role} to make an incident {signed.state}"
    return None
