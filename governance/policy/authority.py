"""Who may sign which statement at each position of a log: the policies in force for governed
aliases, and the owner of each key.

1. The first policies are those of entry 0. A pinned origin establishes them. They give rights from
   the start, and permit a governed alias once their own owners have signed them.
2. Changed policies count from the entry that completes a quorum of policy owners, or of the
   recovery quorum, under the policies in force. Signatures from before the last change do not
   count.
3. A statement is judged by the policies in force before its entry, whatever date it has. A key that
   was revoked at entry N signs nothing after N. Its earlier statements stand.
4. People are counted, not keys.

The policies on disk decide gates and `candidate` (`governance.policy.policies`). The authority of
the log decides governed aliases.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from governance.attest.digests import sha256_bytes
from governance.attest.envelope import UnknownKeyError, unverified, verify_envelope
from governance.attest.keys import earlier_key, public_key
from governance.attest.predicates import KINDS as EVIDENCE_KINDS
from governance.attest.predicates import (
    Approval,
    Artifact,
    Authorization,
    CheckpointKey,
    Logged,
    Origin,
    PolicyChange,
    Read,
    Revocation,
    Signed,
)
from governance.base.errors import ConfigError, CountersignError, VerificationError
from governance.base.time import instant_of
from governance.log import merkle
from governance.log.checkpoint import origin_of
from governance.log.evidence import Evidence, KeyRing, parse_statement
from governance.log.rules import COUNTS_ONCE, TABLE, RuleVersions, is_here, versions_of
from governance.log.rules import KINDS as VERSION_KINDS
from governance.policy.policies import Policies, files_digest, policies_of
from governance.policy.rules import Principal, Quorum, Rules
from governance.policy.speakers import long_text, may_make, may_revoke, may_state_read, roles_for

if TYPE_CHECKING:
    from governance.log.port import Entry, Log

KINDS = ("origin", "policy", "approval", "revocation", "checkpoint_key", "rules")
"""The kinds of statement that give rights, take them away, or set the version of the rules."""
RIGHTS_BY_APPROVAL = ("policy", "checkpoint_key", None)
"""What an approval that gives rights says that it is about; None where it does not say."""
Problem = Literal[
    "other_log",
    "key_revoked",
    "no_right",
    "not_theirs",
    "time_ended",
    "long_text",
    "role",
    "not_their_key",
    "other_key",
    "too_large",
]
"""Why a statement does not count."""
MAX_POLICIES = 256 << 10
"""Bytes of the texts of proposed policies: more than twice those that this project has."""
KEPT_STATEMENTS = 256
"""Statements about rights that a process keeps parsed: more proposals than a log has."""
_GRANTED = frozenset(kind.name for kind in EVIDENCE_KINDS.values() if kind.granted)


@dataclass(frozen=True)
class Period:
    """Policies, and from which entry on they are in force."""

    start: int
    """They judge the entries after this one."""
    policies: Policies | None
    """None where the log carries no text of them that can be read."""
    digest: str
    signed_at: int | None
    """The entry that completed the quorum of their own owners; None where they were never signed.
    """
    signers: tuple[str, ...] = ()
    """Names of the people who signed."""


@dataclass(frozen=True)
class Proposal:
    """Policies that were recorded and are not in force."""

    index: int
    digest: str
    files: Mapping[str, str]
    signers: tuple[str, ...]
    """People who signed them since the last change, and whose signature counts."""


@dataclass(frozen=True)
class Authority:
    """What `read_authority` found. Answers by position; nothing here reads the log again."""

    periods: tuple[Period, ...]
    recorded: tuple[tuple[int, str, Mapping[str, str]], ...]
    """Entry, digest and files of all policies that the log carries, in order: what `candidate` was
    decided under.
    """
    proposals: tuple[Proposal, ...]
    revoked: Mapping[str, int] = field(default_factory=dict)
    """Key id to the entry from which on it says nothing."""
    checkpoint_keys: tuple[tuple[int, str], ...] = ()
    """From which entry on which public key (PEM) signs checkpoints; the first is the origin's."""
    origin: str = ""
    """Hash of entry 0: which log this is."""
    rule_versions: RuleVersions = field(default_factory=RuleVersions)
    log_name: str = ""
    """How the log's checkpoints name it (`governance.log.checkpoint.origin_of`)."""
    offered_keys: tuple[tuple[int, str], ...] = ()
    """Entry and public key (PEM) of each checkpoint key that was offered, in force or not."""

    def rules_at(self, index: int) -> int:
        """The version of the rules that judges entry `index` (`governance.log.rules`)."""
        return self.rule_versions.at(index)

    @property
    def rules(self) -> int:
        """The version of the rules that judges the next entry."""
        return self.rule_versions.at(sys.maxsize)

    @property
    def in_force(self) -> Period:
        """The last period."""
        return self.periods[-1]

    @property
    def policies(self) -> Policies:
        """The policies in force. Raises `VerificationError` where the log does not carry them."""
        if self.in_force.policies is None:
            raise VerificationError(
                f"the log does not carry the policies in force ({self.in_force.digest[:12]})",
                where=f"entry {self.in_force.start}",
                fix="begin a log with policies that people sign: countersign init",
            )
        return self.in_force.policies

    def at(self, index: int) -> Period:
        """The period that judges entry `index`."""
        return next(
            (period for period in reversed(self.periods) if period.start < index), self.periods[0]
        )

    def principal(self, keyid: str, index: int) -> Principal | None:
        """The owner of a key at entry `index`; None where nobody owned it, or it was revoked."""
        policies = self.at(index).policies
        if policies is None or self.revoked.get(keyid, index) < index:
            return None
        return policies.principals.get(keyid)

    def signer(self, statement: Evidence) -> str:
        """Who signed a statement: the owner of the key at that entry, else the key. Names within a
        statement are claims of this signer.
        """
        owner = self.principal(statement.keyid, statement.index)
        if owner is not None:
            return owner.name
        kind = "development key" if statement.development else "key"
        return f"{kind} {statement.keyid[:12]}"

    def may_sign(self, right: str, keyid: str, development: bool, index: int) -> bool:
        """Whether evidence of a stage counts at entry `index`; `right` is `Evidence.right`. For
        people's statements see `speaker`.
        """
        policies = self.at(index).policies
        if policies is None or self.revoked.get(keyid, index) < index:
            return False
        return policies.may_sign(right, keyid, development, index)

    def counts(self, statement: Evidence) -> bool:
        """Whether a statement counts at its entry. A server accepts no other."""
        return self.problem(statement) is None

    def problem(self, statement: Evidence) -> Problem | None:
        """Why a statement does not count at its entry; None where it counts."""
        if not self.is_here(statement):
            return "other_log"
        if self.revoked.get(statement.keyid, statement.index) < statement.index:
            return "key_revoked"
        if isinstance(statement.predicate, Signed):
            return self._problem_of_person(statement, statement.predicate)
        if not self._may_make(statement):
            return "no_right"
        is_large = self.rules_at(statement.index) >= TABLE and _is_large(statement.predicate)
        return "too_large" if is_large else None

    def admits(self, statement: Evidence) -> bool:
        """Whether a statement counts, for kinds whose signers version 1 of the rules does not
        judge.
        """
        return self.rules_at(statement.index) < TABLE or self.counts(statement)

    def _may_make(self, statement: Evidence) -> bool:
        """Whether the signer may make a statement that names no person."""
        if statement.kind in _GRANTED:
            return self.may_sign(
                statement.right, statement.keyid, statement.development, statement.index
            )
        maker, policies = self.principal(statement.keyid, statement.index), self._rules(statement)
        if isinstance(statement.predicate, Read):
            return may_state_read(statement.predicate, maker, statement.development)
        if self.rules_at(statement.index) < TABLE:
            return statement.development or maker is not None
        if statement.development:
            return statement.kind != "policy"
        return bool(policies and maker and may_make(policies, statement.kind, maker))

    def _problem_of_person(self, statement: Evidence, signed: Signed) -> Problem | None:
        person = self.principal(statement.keyid, statement.index)
        if person is None or (person.kind, person.name) != ("person", signed.principal):
            return "not_theirs"
        if signed.role not in person.roles:
            return "not_theirs"
        if person.until is not None and instant_of(signed.at).date() > person.until:
            return "time_ended"
        if self.rules_at(statement.index) < TABLE:
            return None
        return self._problem_by_table(statement, signed, person)

    def _problem_by_table(
        self, statement: Evidence, signed: Signed, person: Principal
    ) -> Problem | None:
        if long_text(signed) is not None:
            return "long_text"
        if isinstance(signed, Revocation):
            return None if self._may_revoke(statement, person) else "not_their_key"
        if isinstance(signed, Authorization) and _digests(statement) != {statement.keyid}:
            return "other_key"  # it is found by this subject
        rules = self._rules(statement)
        roles = roles_for(rules, signed) if rules else ()
        return None if roles is None or signed.role in roles else "role"

    def _may_revoke(self, statement: Evidence, author: Principal) -> bool:
        policies, keyid = self.at(statement.index).policies, statement.subjects[0].sha256
        if policies is None or keyid not in self.keys:
            return False
        return may_revoke(policies.rules, author, policies.principals.get(keyid))

    def _rules(self, statement: Evidence) -> Rules | None:
        policies = self.at(statement.index).policies
        return policies.rules if policies else None

    def speaker(self, statement: Evidence) -> Principal | None:
        """The person who made a statement. None unless it counts: their own key signed it, under
        their own name, in a role that they had and that may say this, and not after their last day.
        """
        if not isinstance(statement.predicate, Signed) or not self.counts(statement):
            return None
        return self.principal(statement.keyid, statement.index)

    def may_still_act(self, statement: Evidence, at: datetime) -> bool:
        """Whether the author's last day is not before `at`. The statement's own date does not
        count: an author could write a false one after their last day.
        """
        author, policies = self.principal(statement.keyid, statement.index), self.in_force.policies
        person = author
        if policies is not None:
            for principal in policies.rules.principals:
                if author is not None and principal.name == author.name:
                    person = principal  # they have another key since
                    break
            person = policies.principals.get(statement.keyid) or person
        return person is None or person.until is None or at.date() <= person.until

    def is_here(self, statement: Evidence) -> bool:
        """Whether a statement counts in this log (`governance.log.rules.is_here`)."""
        return is_here(statement.predicate.log, self.origin, self.rules_at(statement.index))

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Key id to PEM of everybody whom policies ever named, to verify signatures."""
        keys: dict[str, str] = {}
        for period in self.periods:
            keys.update(period.policies.keys if period.policies else {})
        return keys

    def keyids_of(self, name: str) -> set[str]:
        """The ids of all keys that a principal of this name ever had."""
        return {
            keyid
            for period in self.periods
            for keyid, owner in (period.policies.principals if period.policies else {}).items()
            if owner.name == name
        }

    @cached_property
    def also_called(self) -> Mapping[str, frozenset[str]]:
        """Name to all names of the same person: names that policies gave to one key at any time.
        A person with a new name is still one person.
        """
        names: dict[str, set[str]] = {}
        for period in self.periods:
            for keyid, principal in period.policies.principals.items() if period.policies else ():
                names.setdefault(keyid, set()).add(principal.name)
        groups: list[set[str]] = []
        for group in names.values():
            overlapping = [other for other in groups if other & group]
            groups = [*(other for other in groups if not other & group), group.union(*overlapping)]
        return {name: frozenset(group) for group in groups for name in group}

    def recorded_at(self, index: int, digest: str = "") -> Policies:
        """The policies under which a gate was decided: the last recorded before entry `index`, if
        possible with this digest. Raises `ConfigError` where there are none.
        """
        candidates = [
            (sha256, position, files)
            for position, sha256, files in self.recorded
            if position < index and files
        ]
        if not candidates:
            raise ConfigError(
                "the log carries no policies before this entry", where=f"entry {index}"
            )
        _, position, files = (
            [candidate for candidate in candidates if candidate[0] == digest] or candidates
        )[-1]
        return _policies(tuple(sorted(files.items())), self.rule_versions.strict_at(position))


def read_authority(log: Log, until: int | None = None) -> Authority:
    """The authority that the log gives, up to but without entry `until`. Raises
    `VerificationError`.
    """
    return authority_of(authority_entries(log, until))


def authority_entries(log: Log, until: int | None = None) -> Iterator[Entry]:
    """The entries that give rights or take them away, in order. Approvals of packets do neither."""
    for entry in log.by_kind(KINDS):
        if until is not None and entry.index >= until:
            return
        if entry.kind != "approval" or _gives_rights(entry):
            yield entry


def authority_of(entries: Iterable[Entry]) -> Authority:
    """The authority that these entries of `authority_entries` give. Raises `VerificationError`."""
    reader = _AuthorityReader()
    for entry in entries:
        reader.take(entry)
    if not reader.periods:
        raise VerificationError("the log does not begin with an origin", where="entry 0")
    proposals = [
        Proposal(index, digest, files, reader.signers_of_policies(digest))
        for digest, (index, files) in reader.proposed.items()
        if digest != reader.periods[-1].digest
    ]
    return Authority(
        tuple(reader.periods),
        tuple(reader.recorded),
        tuple(proposals),
        dict(reader.revoked),
        tuple(reader.checkpoint_keys),
        reader.origin,
        reader.rule_versions,
        reader.log_name,
        tuple(reader.successors.values()),
    )


class _AuthorityReader:
    """Builds the authority entry by entry."""

    def __init__(self) -> None:
        self.periods: list[Period] = []
        self.recorded: list[tuple[int, str, Mapping[str, str]]] = []
        self.proposed: dict[str, tuple[int, Mapping[str, str]]] = {}
        self.signed: dict[str, dict[str, set[tuple[str, str]]]] = {}
        """Digest to person to the roles in which they signed, and what it was about, since the last
        change took effect.
        """
        self.revoked: dict[str, int] = {}
        self.checkpoint_keys: list[tuple[int, str]] = []
        self.last_day: dict[str, date | None] = {}
        """Who signed policies or keys: their last day."""
        self.last_signed: dict[str, date] = {}
        """Digest to the latest day among its signatures."""
        self.successors: dict[str, tuple[int, str]] = {}
        """Key id to the entry that offered the key first, and its PEM."""
        self.origin = self.log_name = ""
        self.development: Mapping[str, str] = {}
        """Key id to PEM of the origin's development keys."""
        self.rule_versions = RuleVersions()
        self.seen: set[tuple[str, str]] = set()
        """Digest and signer of the statements before."""

    def take(self, entry: Entry) -> None:
        if entry.kind in VERSION_KINDS:
            changes = self.rule_versions.changes + versions_of([entry]).changes
            self.rule_versions = RuleVersions(changes)
        if entry.kind in ("origin", "policy"):
            self._recorded(entry)
            return
        statement = self._read(entry)
        if statement is None:
            return
        predicate = statement.predicate
        if not isinstance(predicate, Signed) or not self._is_here(predicate, entry.index):
            return
        authority = self._authority()
        if isinstance(predicate, Revocation):
            self._revoke(statement, authority)
        elif isinstance(predicate, CheckpointKey) and authority.admits(statement):
            self._note_successor(predicate, entry.index)
        elif isinstance(predicate, Approval) and predicate.about in ("policy", "checkpoint_key"):
            self._approve(statement, predicate, authority)

    def _recorded(self, entry: Entry) -> None:
        """Notes recorded policies. Of their text only the digest is checked here, and parsed only
        what is in force.
        """
        digest, predicate, files = _policies_in(entry.envelope, f"entry {entry.index}")
        if isinstance(predicate, Origin):
            self.recorded.append((entry.index, digest, files))
            leaf = merkle.leaf_hash(entry.envelope)
            self.origin, self.log_name = leaf.hex(), origin_of(predicate.project, leaf)
            self.development = {earlier_key(pem).keyid: pem for pem in predicate.development_keys}
            policies = _readable(files, self.rule_versions.strict_at(entry.index))
            self.periods.append(Period(entry.index, policies, digest, None))
            self.checkpoint_keys.append((entry.index, predicate.checkpoint_key))
            return
        if not self._is_here(predicate, entry.index):
            return
        if self.rule_versions.at(entry.index) < TABLE:
            is_record = is_proposal = True
        else:
            statement = self._read(entry)
            is_record = statement is not None
            is_proposal = statement is not None and self._authority().counts(statement)
        if is_record:
            self.recorded.append((entry.index, digest, files))
        if files and is_proposal:
            self.proposed[digest] = (entry.index, files)

    def _authority(self) -> Authority:
        """What judges the next entry."""
        return Authority(
            tuple(self.periods), (), (), self.revoked, (), self.origin, self.rule_versions
        )

    def _is_here(self, predicate: Logged, index: int) -> bool:
        return is_here(predicate.log, self.origin, self.rule_versions.at(index))

    def _read(self, entry: Entry) -> Evidence | None:
        """The statement, if a principal of the policies in force or a development key signed it;
        otherwise None.
        """
        policies = self.periods[-1].policies if self.periods else None
        if policies is None:
            return None
        keys, where = {**self.development, **policies.keys}, f"entry {entry.index}"
        if merkle.leaf_hash(entry.envelope) != entry.leaf_hash:
            raise VerificationError("the entry's bytes are not those that were logged", where=where)
        strict = self.rule_versions.strict_at(entry.index)
        said = _statement_in(entry.envelope, tuple(sorted(keys.items())), strict, where)
        if said is None:
            return None
        payload, keyid, kind, subjects, predicate = said
        if (payload, keyid) in self.seen and self.rule_versions.at(entry.index) >= COUNTS_ONCE:
            return None
        self.seen.add((payload, keyid))
        is_development = keyid not in policies.keys
        return Evidence(entry.index, kind, subjects, predicate, keyid, is_development, "")

    def _revoke(self, statement: Evidence, authority: Authority) -> None:
        """Revokes a key, if its owner or one policy owner asks. This needs no quorum."""
        policies = self.periods[-1].policies
        author = authority.principal(statement.keyid, statement.index)
        keyid = statement.subjects[0].sha256
        if policies is None or author is None or not authority.admits(statement):
            return
        if may_revoke(policies.rules, author, policies.principals.get(keyid)):
            self.revoked.setdefault(keyid, statement.index)

    def _note_successor(self, offer: CheckpointKey, index: int) -> None:
        """Notes an offered checkpoint key in its one normal form. Ignores a text that is no Ed25519
        key, so that a bad offer cannot block the log.
        """
        with suppress(ConfigError):
            strict = self.rule_versions.strict_at(index)
            key = public_key(offer.pem) if strict else earlier_key(offer.pem)
            _ = key.raw  # raises for other kinds of key
            self.successors.setdefault(key.keyid, (index, key.pem))

    def _approve(self, statement: Evidence, approval: Approval, authority: Authority) -> None:
        person = authority.speaker(statement)
        if person is None:
            return
        digest = statement.subjects[0].sha256
        # A rejection takes an approval back. An approval that expires does not count:
        # policies do not expire.
        if approval.decision != "approve" or approval.expires is not None:
            self._take_back(digest, person.name, approval.about, statement.index)
            return
        if not any(approval.role in quorum.roles for quorum in self._quorums()):
            return  # nor may their date count as the time of the last signature
        signature = (approval.about, approval.role)
        self.signed.setdefault(digest, {}).setdefault(person.name, set()).add(signature)
        self.last_day[person.name] = person.until
        day = instant_of(approval.at).date()
        self.last_signed[digest] = max(day, self.last_signed.get(digest, day))
        names = self._quorum(digest, approval.about, authority)
        if names is None:
            return
        if approval.about == "checkpoint_key":
            if digest in self.successors:
                self.checkpoint_keys.append((statement.index, self.successors[digest][1]))
                self.signed.pop(digest)
            return
        current = self.periods[-1]
        if digest == current.digest:
            if current.signed_at is None:
                self.periods[-1] = Period(
                    current.start, current.policies, digest, statement.index, names
                )
        elif digest in self.proposed:
            self._enact(digest, statement.index, names)

    def _enact(self, digest: str, index: int, names: tuple[str, ...]) -> None:
        policies = _readable(self.proposed[digest][1], self.rule_versions.strict_at(index))
        if policies is None:
            return  # signed by a quorum and yet unreadable here: what is in force stays in force
        self.periods.append(Period(index, policies, digest, index, names))
        self.signed.clear()

    def signers_of_policies(self, digest: str) -> tuple[str, ...]:
        """Names of the people who signed proposed policies, sorted."""
        return tuple(sorted(self._roles(digest, "policy")))

    def _roles(self, digest: str, about: str) -> dict[str, set[str]]:
        """Person to the roles in which they signed this. An approval of a checkpoint key is none of
        policies; under version 1 of the rules nothing compared what it was about.
        """
        is_compared = self.rule_versions.at(sys.maxsize) >= TABLE
        roles = {
            name: {role for named, role in signed if named == about or not is_compared}
            for name, signed in self.signed.get(digest, {}).items()
        }
        return {name: own for name, own in roles.items() if own}

    def _take_back(self, digest: str, name: str, about: str, index: int) -> None:
        """A person's signature no longer counts."""
        signed = self.signed.get(digest, {})
        is_compared = self.rule_versions.at(index) >= TABLE
        signed[name] = {one for one in signed.get(name, ()) if is_compared and one[0] != about}

    def _quorum(self, digest: str, about: str, authority: Authority) -> tuple[str, ...] | None:
        """The people who signed, if they are a quorum of owners or of the recovery roles. Each
        person counts once.
        """
        for quorum in self._quorums():
            names = tuple(
                name
                for name in _people(quorum, self._roles(digest, about))
                if self._acted_until_last_signature(name, digest)
            )
            people = {authority.also_called[name] for name in names}
            if len(people) >= quorum.people:
                return names
        return None

    def _quorums(self) -> list[Quorum]:
        """Owners and recovery of the policies in force, as far as these have them."""
        policies = self.periods[-1].policies
        if policies is None:
            return []
        quorums = (policies.rules.owners, policies.rules.recovery)
        return [quorum for quorum in quorums if quorum is not None]

    def _acted_until_last_signature(self, name: str, digest: str) -> bool:
        """Whether a person's last day is not before the date of the last signature."""
        until = self.last_day.get(name)
        return until is None or self.last_signed[digest] <= until


def _gives_rights(entry: Entry) -> bool:
    """Whether an approval claims to be of policies or of a checkpoint key. Nothing is verified
    here.
    """
    statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
    predicate = statement.get("predicate")
    return not isinstance(predicate, dict) or predicate.get("about") in RIGHTS_BY_APPROVAL


def _people(quorum: Quorum, signed: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Names of the people who signed in a role of the quorum, sorted."""
    quorum_roles = set(quorum.roles)
    return tuple(sorted(name for name, roles in signed.items() if roles & quorum_roles))


def _digests(statement: Evidence) -> set[str]:
    return {subject.sha256 for subject in statement.subjects}


def _is_large(predicate: Logged) -> bool:
    """Whether a proposal has more text than policies may have."""
    return isinstance(predicate, PolicyChange) and size_of(predicate.files or {}) > MAX_POLICIES


def size_of(files: Mapping[str, str]) -> int:
    """Bytes of the texts of policies."""
    return sum(len(path.encode()) + len(text.encode()) for path, text in files.items())


@lru_cache(maxsize=KEPT_STATEMENTS)
def _policies_in(
    envelope: bytes, where: str
) -> tuple[str, Origin | PolicyChange, Mapping[str, str]]:
    """Digest, statement and files of recorded policies. Files that do not have the digest are left
    out. The cache saves every decision from reading all proposals again.
    """
    statement, _ = unverified(envelope, where=where)
    _, subjects, predicate = parse_statement(statement, where)
    if not isinstance(predicate, Origin | PolicyChange):
        raise VerificationError("it is filed under another kind than its own", where=where)
    digest, files = subjects[0].sha256, predicate.files or {}
    return digest, predicate, files if not files or files_digest(files) == digest else {}


@lru_cache(maxsize=KEPT_STATEMENTS)
def _statement_in(
    envelope: bytes, keys: tuple[tuple[str, str], ...], strict: bool, where: str
) -> tuple[str, str, str, tuple[Artifact, ...], Any] | None:
    """Digest of the payload, key id, kind, subjects and predicate of a statement that one of these
    keys signed; None for another signer. The cache saves every decision from verifying all
    proposals again.
    """
    try:
        verified = verify_envelope(envelope, dict(keys), where=where, strict=strict)
    except UnknownKeyError:
        return None
    kind, subjects, predicate = parse_statement(verified.statement, where)
    return sha256_bytes(verified.payload), verified.keyid, kind, subjects, predicate


def _readable(files: Mapping[str, str], strict: bool) -> Policies | None:
    try:
        return _policies(tuple(sorted(files.items())), strict) if files else None
    except CountersignError:
        return None


@lru_cache(maxsize=16)
def _policies(files: tuple[tuple[str, str], ...], strict: bool) -> Policies:
    return policies_of(dict(files), strict=strict)


def ring_of(authority: Authority, development: Any) -> KeyRing:
    """The keys to verify signatures with: of everybody whom policies ever named, and the origin's
    development keys.
    """
    return KeyRing(frozenset(development), authority.keys)
