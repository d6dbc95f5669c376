"""Which statements the server's log accepts over HTTP.

1. A known key signed it: the key of a principal in force, not revoked, or a development key of the
   origin.
2. It counts (`Authority.problem`): readers judge it by the same code.
3. Nobody sends a statement that the server alone makes: the origin, refused and accepted calls,
   cosigned checkpoints, reads of an account, and moves of governed aliases.
4. A service sends its registrations, gates and moves of `candidate` itself: the account is named
   like the service. Another account could replay them. A development key has no name; what it signs
   counts in its own log only and for no governed alias, so any account may send it.
5. A packet must be the one that this log gives now. Another packet, or an old one, would replace
   the packet that people approved.
6. A person's statement must be dated now. An earlier date could pretend that its author still had
   the right; a later date would make it last longer than policy permits.
7. A statement about a canary rollout must count: the decision on it has no finding.
8. An approval of a packet is refused while an incident on the same bytes is open and the packet has
   no waiver of it.
9. An account adds so many statements in an hour. A statement that the log has already is none more.
   Revocations, incidents and what stops a rollout are never limited; (2) bounds who makes them.
10. An incident is closed only with a check that the actions were effective.

Every decision judges each accepted statement again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from governance.attest.envelope import verify_envelope
from governance.attest.keys import public_key
from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Artifact,
    CheckpointKey,
    Incident,
    Intervention,
    Packet,
    PeriodicReview,
    PolicyChange,
    Promotion,
    Read,
    Registration,
    Revocation,
    RolloutStep,
    Signed,
)
from governance.base.errors import (
    ConfigError,
    CountersignError,
    RefusedError,
    VerificationError,
)
from governance.base.time import instant, instant_of
from governance.gates.checks.votes import incidents_against
from governance.history.incidents import CHECK, is_of_registered, lacks
from governance.log import evidence
from governance.log.api import Verifier
from governance.log.evidence import Evidence
from governance.log.port import Filing, Log, same_statement
from governance.policy.authority import MAX_POLICIES, Authority, Problem, read_authority, ring_of
from governance.policy.policies import policies_of
from governance.policy.speakers import OWN_ACCOUNT
from governance.registry.governed.governor import Governor
from governance.registry.governed.limit import Limit
from governance.release import promotion
from governance.rollout import deciding

WHERE = "the envelope"
APPEND = "append"
"""The operation of a refused statement, in the entry that records it."""
SERVER_ONLY = frozenset({"origin", "rules", "refusal", "call", "cosigned"})
CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the date of a packet or of a person's statement may be from this machine's clock."""

Reason = (
    Problem
    | Literal[
        "server_only",
        "governed_alias",
        "account",
        "no_key",
        "revoked_before",
        "not_registered",
        "registered",
        "unreadable",
        "limit",
        "packet",
        "date",
        "incident_open",
        "not_checked",
        "incomplete",
        "rollout",
    ]
)
"""Why a statement is refused."""
_TEXTS: dict[Reason, str] = {
    "server_only": "only the server makes a statement of kind {kind}",
    "governed_alias": "a governed alias moves only when it is set in the registry",
    "other_log": "it does not count in this log: it names {log}",
    "key_revoked": "this key was revoked",
    "no_right": "policy in force does not let this key sign {right}",
    "not_theirs": "its signer is no person in force with this name and role",
    "time_ended": "policy ended the time of {principal}",
    "long_text": "one of its texts is too long",
    "role": "policy in force permits no {role} to sign this {kind}",
    "not_their_key": "only its owner or a policy owner revokes a key that policies name",
    "other_key": "an authorization is about the key that signed it, and about nothing else",
    "too_large": f"the policies are too large: more than {MAX_POLICIES >> 10} kB",
    "no_key": "it does not contain an Ed25519 public key",
    "account": "only the account of the service that signed it sends it: {service}, not {account}",
    "revoked_before": "this key was revoked before",
    "not_registered": "no registration in the log is of this model, version and digest",
    "registered": "version {version} is registered with other bytes",
    "unreadable": "these policies could never be in force: {problem}",
    "limit": "this account has added {most} statements within the hour",
    "packet": "the packet is not the one that this log gives",
    "date": "it is dated {dated}, but the server's clock says {clock}",
    "incident_open": "an incident is open (entry {entry}), which blocks approval",
    "not_checked": "nobody who may has checked since the last action that it was effective",
    "incomplete": "nobody stated of the incident what policy demands: {parts}",
    "rollout": "the rules of rollouts refuse it: {codes}",
}
_NEXT: dict[Reason, str] = {
    "other_log": "sign it for this log, with this version of Countersign",
    "other_key": "sign it with this version of Countersign: countersign authorize",
    "limit": "wait",
    "registered": "register it as a new version",
    "unreadable": "countersign policy propose, from a folder that can be read",
    "packet": "countersign freeze",
    "date": "set the clock right, and sign again",
    "incident_open": "close the incident, or waive it and freeze the version again",
    "not_checked": "countersign incident close, with --effective",
    "incomplete": "countersign incident close, with --severity, --cause or --action",
    "account": "set COUNTERSIGN_USER and COUNTERSIGN_PASSWORD to that account (docs/registry.md)",
    "long_text": "sign a shorter text",
    "rollout": "countersign rollout status",
}


class NotAcceptedError(RefusedError):
    """A statement that the server does not accept. Exit code 4."""

    def __init__(self, reason: Reason, statement: Evidence, **details: object) -> None:
        predicate = statement.predicate
        fields = {
            "kind": statement.kind,
            "right": statement.right,
            "log": (getattr(predicate, "log", None) or "no log")[:12],
            "principal": getattr(predicate, "principal", ""),
            "role": getattr(predicate, "role", ""),
            **details,
        }
        super().__init__(
            _TEXTS[reason].format_map(fields),
            where=f"{statement.kind} by key {statement.keyid[:16]}",
            fix=_NEXT.get(reason, "ask a policy owner; policy show"),
        )
        self.reason: Reason = reason
        self.kind = statement.kind


def verifier(log: Log, now: Callable[[], datetime], limit: Limit | None = None) -> Verifier:
    """The verifier of a server's log. It raises `VerificationError` for a statement that does not
    verify, and `NotAcceptedError` for one that is not accepted.

    `limit`: how many new statements one account may send in an hour; a service's evidence does not
    count.
    """

    def verify(envelope: bytes, account: str | None = None) -> Filing:
        authority = read_authority(log)
        ring = ring_of(authority, evidence.origin(log).development_keys)
        verified = verify_envelope(envelope, ring.known, where=WHERE)  # (1)
        kind, subjects, predicate = evidence.parse_statement(verified.statement, WHERE)
        keyid = verified.keyid
        statement = Evidence(
            log.size(), kind, subjects, predicate, keyid, ring.is_development(keyid), ""
        )
        reason = refusal(statement, authority) or _wrong_account(statement, authority, account)
        if reason is not None:
            signer = authority.signer(statement)
            raise NotAcceptedError(reason, statement, account=account, service=signer)
        filing = evidence.filed_under(envelope, WHERE)
        latest = log.latest(filing.scope)
        if latest is not None and latest.identity == filing.identity:
            again = evidence.is_stated_anew(log, latest, predicate)
            filing = replace(filing, again=again)
            if not again:
                return filing
        if same_statement(log, envelope, filing) is not None:
            return filing
        _check_new(log, statement, now())
        is_limited = account is not None and _is_limited(statement)
        if limit is not None and is_limited and limit.count((str(account),)):
            raise NotAcceptedError("limit", statement, most=limit.per_hour)
        return filing

    return verify


def recording(verify: Verifier, governor: Governor) -> Verifier:
    """The same verifier, which records what it refuses: account, kind and reason, like a refused
    call of the registry and within the same limit.
    """

    def checked(envelope: bytes, account: str | None = None) -> Filing:
        try:
            return verify(envelope, account)
        except NotAcceptedError as error:
            governor.refuse(APPEND, "", f"{error.kind}: {error.reason}", error.fix)
            raise
        except VerificationError:
            governor.refuse(APPEND, "", "not_verified", "")
            raise

    return checked


def _is_limited(statement: Evidence) -> bool:
    """(9) Whether a new statement counts against its account's limit."""
    predicate = statement.predicate
    if isinstance(predicate, Revocation | Incident):
        return False
    if isinstance(predicate, RolloutStep) and predicate.action in ("narrow", "abort"):
        return False
    by_people = ("policy", "packet", "report", "judgement", "read")
    return isinstance(predicate, Signed) or statement.kind in by_people


def _wrong_account(
    statement: Evidence, authority: Authority, account: str | None
) -> Literal["account"] | None:
    """(4) Without an account, the statement is not sent over HTTP."""
    if account is None or statement.development or statement.kind not in OWN_ACCOUNT:
        return None
    signer = authority.principal(statement.keyid, statement.index)
    return None if signer is not None and signer.name == account else "account"


def _check_new(log: Log, statement: Evidence, at: datetime) -> None:
    """Raises `NotAcceptedError` for a new statement that does not fit the log or the time."""
    predicate = statement.predicate
    if statement.kind == "packet" and not _is_verbatim(log, statement, at):  # (5)
        raise NotAcceptedError("packet", statement)
    if isinstance(predicate, Signed) and abs(at - instant_of(predicate.at)) > CLOCK_TOLERANCE:
        raise NotAcceptedError("date", statement, dated=predicate.at, clock=instant(at))  # (6)
    if isinstance(predicate, PolicyChange):
        _check_readable(statement, predicate)
    elif isinstance(predicate, Approval):
        _check_no_incident(log, statement, predicate, statement.subjects)  # (8)
    elif statement.kind in deciding.KINDS:
        _check_rollout(log, statement, at)
    else:
        _check_fits(log, statement)


def _check_fits(log: Log, statement: Evidence) -> None:
    """Raises `NotAcceptedError` for a new statement that contradicts the log."""
    predicate = statement.predicate
    if isinstance(predicate, Registration):
        if promotion.state(log).timeline.contradicts(predicate):
            raise NotAcceptedError("registered", statement, version=predicate.version)
    elif isinstance(predicate, Revocation):
        if statement.subjects[0].sha256 in read_authority(log).revoked:
            raise NotAcceptedError("revoked_before", statement)
    elif isinstance(predicate, Incident | Intervention | PeriodicReview):
        now = promotion.state(log)
        if not is_of_registered(now.evidence, now.authority, statement):
            raise NotAcceptedError("not_registered", statement)
        digest = statement.subjects[0].sha256
        is_closing = isinstance(predicate, Incident) and predicate.state == "closed"
        lacking = lacks(now.evidence, now.authority, digest, statement) if is_closing else []
        if CHECK in lacking:  # (10)
            raise NotAcceptedError("not_checked", statement)
        if lacking:
            raise NotAcceptedError("incomplete", statement, parts=", ".join(lacking))


def _check_rollout(log: Log, statement: Evidence, at: datetime) -> None:
    """Raises `NotAcceptedError` (7)."""
    findings = deciding.decide(promotion.state(log), statement, at)
    if findings:
        codes = ", ".join(dict.fromkeys(finding.code for finding in findings))
        raise NotAcceptedError("rollout", statement, codes=codes)


def _check_readable(statement: Evidence, change: PolicyChange) -> None:
    """Raises `NotAcceptedError` for policies that could never be in force."""
    try:
        policies_of(change.files or {})
    except CountersignError as error:
        raise NotAcceptedError("unreadable", statement, problem=error) from None


def _is_verbatim(log: Log, statement: Evidence, at: datetime) -> bool:
    """Whether a packet is the one that this log gives, and dated now. Its findings depend on its
    date, and its sender writes that date.
    """
    dated = instant_of(statement.predicate.run.finished)
    return abs(dated - at) <= CLOCK_TOLERANCE and promotion.is_verbatim(
        promotion.state(log), statement
    )


def _check_no_incident(
    log: Log, statement: Evidence, approval: Approval, subjects: Sequence[Artifact]
) -> None:
    """Raises `NotAcceptedError` (8)."""
    if approval.about != "packet" or approval.decision == "reject":
        return
    state = promotion.state(log)
    for subject in subjects:
        for packet in state.evidence.by_subject(subject.sha256, Packet):
            incidents = incidents_against(state.authority, state.evidence, packet, state.size)
            if incidents:
                raise NotAcceptedError("incident_open", statement, entry=incidents[0].index)


def refusal(statement: Evidence, authority: Authority) -> Reason | None:
    """Why this statement is refused, whoever sends it and whenever; None where it is accepted."""
    predicate = statement.predicate
    if statement.kind in SERVER_ONLY or (isinstance(predicate, Read) and predicate.account):
        return "server_only"
    if isinstance(predicate, Promotion) and predicate.alias != CANDIDATE:
        return "governed_alias"
    problem = authority.problem(statement)
    if problem is None and isinstance(predicate, CheckpointKey):
        try:
            public_key(predicate.pem).raw  # noqa: B018 - raises for other kinds of keys
        except ConfigError:
            return "no_key"
    return problem
