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

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from governance.attest.envelope import UnknownKeyError, unverified, verify_envelope
from governance.attest.keys import public_key
from governance.attest.predicates import (
    Approval,
    CheckpointKey,
    Origin,
    PolicyChange,
    Revocation,
    Signed,
)
from governance.base.errors import ConfigError, CountersignError, VerificationError
from governance.log import merkle
from governance.log.evidence import Evidence, KeyRing, parse_statement
from governance.policy.policies import Policies, files_digest, policies_of
from governance.policy.rules import Principal, Quorum

if TYPE_CHECKING:
    from governance.log.port import Entry, Log

KINDS = ("origin", "policy", "approval", "revocation", "checkpoint_key")
"""The kinds of statement that give rights or take them away."""


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

    def may_sign(self, kind: str, keyid: str, development: bool, index: int) -> bool:
        """Whether evidence of a stage counts at entry `index`. For people's statements see
        `speaker`.
        """
        policies = self.at(index).policies
        if policies is None or self.revoked.get(keyid, index) < index:
            return False
        return policies.may_sign(kind, keyid, development, index)

    def speaker(self, statement: Evidence) -> Principal | None:
        """The person who made a statement. None unless their own key signed it, under their own
        name, in a role they had, and not after their last day.
        """
        predicate, person = statement.predicate, self.principal(statement.keyid, statement.index)
        if person is None or person.kind != "person":
            return None
        if not isinstance(predicate, Signed) or not self.is_here(predicate):
            return None
        if predicate.principal != person.name or predicate.role not in person.roles:
            return None
        if person.until is not None and predicate.at[:10] > person.until.isoformat():
            return None
        return person

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

    def is_here(self, signed: Signed) -> bool:
        """Whether a person's statement counts in this log: its author named this log, or none."""
        return signed.log in (None, self.origin)

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Key id to PEM of everybody whom policies ever named, to verify signatures."""
        keys: dict[str, str] = {}
        for period in self.periods:
            keys.update(period.policies.keys if period.policies else {})
        return keys

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
            (sha256, files)
            for position, sha256, files in self.recorded
            if position < index and files
        ]
        if not candidates:
            raise ConfigError(
                "the log carries no policies before this entry", where=f"entry {index}"
            )
        _, files = (
            [candidate for candidate in candidates if candidate[0] == digest] or candidates
        )[-1]
        return _policies(tuple(sorted(files.items())))


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
        Proposal(index, digest, files, tuple(sorted(reader.signed.get(digest, {}))))
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
    )


class _AuthorityReader:
    """Builds the authority entry by entry."""

    def __init__(self) -> None:
        self.periods: list[Period] = []
        self.recorded: list[tuple[int, str, Mapping[str, str]]] = []
        self.proposed: dict[str, tuple[int, Mapping[str, str]]] = {}
        self.signed: dict[str, dict[str, set[str]]] = {}
        """Digest to person to the roles in which they signed, since the last change took effect."""
        self.revoked: dict[str, int] = {}
        self.checkpoint_keys: list[tuple[int, str]] = []
        self.last_day: dict[str, date | None] = {}
        """Who signed policies or keys: their last day."""
        self.last_signed: dict[str, str] = {}
        """Digest to the latest date among its signatures."""
        self.successors: dict[str, str] = {}
        self.origin = ""

    def take(self, entry: Entry) -> None:
        if entry.kind in ("origin", "policy"):
            self._recorded(entry)
            return
        statement = self._read(entry)
        if statement is None:
            return
        predicate = statement.predicate
        authority = Authority(tuple(self.periods), (), (), self.revoked, origin=self.origin)
        if not isinstance(predicate, Signed) or not authority.is_here(predicate):
            return
        if isinstance(predicate, Revocation):
            self._revoke(statement, authority)
        elif isinstance(predicate, CheckpointKey):
            self._note_successor(predicate)
        elif isinstance(predicate, Approval) and predicate.about in ("policy", "checkpoint_key"):
            self._approve(statement, predicate, authority)

    def _recorded(self, entry: Entry) -> None:
        """Notes recorded policies. Of their text only the digest is checked here."""
        statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
        _, subjects, predicate = parse_statement(statement, f"entry {entry.index}")
        if not isinstance(predicate, Origin | PolicyChange):
            raise VerificationError(
                "it is filed under another kind than its own", where=f"entry {entry.index}"
            )
        digest, files = subjects[0].sha256, predicate.files or {}
        if files and files_digest(files) != digest:
            files = {}
        self.recorded.append((entry.index, digest, files))
        if isinstance(predicate, Origin):
            self.origin = merkle.leaf_hash(entry.envelope).hex()
            policies = _readable(files)
            self.periods.append(Period(entry.index, policies, digest, None))
            self.checkpoint_keys.append((entry.index, predicate.checkpoint_key))
        elif files:
            self.proposed[digest] = (entry.index, files)

    def _read(self, entry: Entry) -> Evidence | None:
        """The statement, if a principal of the policies in force signed it; otherwise None."""
        policies = self.periods[-1].policies if self.periods else None
        if policies is None:
            return None
        where = f"entry {entry.index}"
        if merkle.leaf_hash(entry.envelope) != entry.leaf_hash:
            raise VerificationError("the entry's bytes are not those that were logged", where=where)
        try:
            verified = verify_envelope(entry.envelope, policies.keys, where=where)
        except UnknownKeyError:
            return None
        kind, subjects, predicate = parse_statement(verified.statement, where)
        return Evidence(entry.index, kind, subjects, predicate, verified.keyid, False, "")

    def _revoke(self, statement: Evidence, authority: Authority) -> None:
        """Revokes a key, if its owner or one policy owner asks. This needs no quorum."""
        policies = self.periods[-1].policies
        author = authority.principal(statement.keyid, statement.index)
        keyid = statement.subjects[0].sha256
        if policies is None or author is None:
            return
        owners = set(policies.rules.owners.roles if policies.rules.owners else ())
        owner = policies.principals.get(keyid)
        if (owner is not None and owner.name == author.name) or owners & set(author.roles):
            self.revoked.setdefault(keyid, statement.index)

    def _note_successor(self, offer: CheckpointKey) -> None:
        """Notes an offered checkpoint key in its one normal form. Ignores a text that is no Ed25519
        key, so that a bad offer cannot block the log.
        """
        with suppress(ConfigError):
            key = public_key(offer.pem)
            _ = key.raw  # raises for other kinds of key
            self.successors[key.keyid] = key.pem

    def _approve(self, statement: Evidence, approval: Approval, authority: Authority) -> None:
        person = authority.speaker(statement)
        if person is None:
            return
        digest = statement.subjects[0].sha256
        # A rejection takes an approval back. An approval that expires does not count:
        # policies do not expire.
        if approval.decision != "approve" or approval.expires is not None:
            self.signed.get(digest, {}).pop(person.name, None)
            return
        if not any(approval.role in quorum.roles for quorum in self._quorums()):
            return  # nor may their date count as the time of the last signature
        self.signed.setdefault(digest, {}).setdefault(person.name, set()).add(approval.role)
        self.last_day[person.name] = person.until
        self.last_signed[digest] = max(approval.at, self.last_signed.get(digest, ""))
        names = self._quorum(digest, authority)
        if names is None:
            return
        if approval.about == "checkpoint_key":
            if digest in self.successors:
                self.checkpoint_keys.append((statement.index, self.successors[digest]))
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
        policies = _readable(self.proposed[digest][1])
        if policies is None:
            return  # signed by a quorum and yet unreadable here: what is in force stays in force
        self.periods.append(Period(index, policies, digest, index, names))
        self.signed.clear()

    def _quorum(self, digest: str, authority: Authority) -> tuple[str, ...] | None:
        """The people who signed, if they are a quorum of owners or of the recovery roles. Each
        person counts once.
        """
        for quorum in self._quorums():
            names = tuple(
                name
                for name in _people(quorum, self.signed.get(digest, {}))
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
        return until is None or self.last_signed[digest][:10] <= until.isoformat()


def _gives_rights(entry: Entry) -> bool:
    """Whether an approval claims to be of policies or of a checkpoint key. Nothing is verified
    here.
    """
    statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
    predicate = statement.get("predicate")
    return not isinstance(predicate, dict) or predicate.get("about") in (
        "policy",
        "checkpoint_key",
        None,
    )


def _people(quorum: Quorum, signed: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Names of the people who signed in a role of the quorum, sorted."""
    quorum_roles = set(quorum.roles)
    return tuple(sorted(name for name, roles in signed.items() if roles & quorum_roles))


def _readable(files: Mapping[str, str]) -> Policies | None:
    try:
        return _policies(tuple(sorted(files.items()))) if files else None
    except CountersignError:
        return None


@lru_cache(maxsize=16)
def _policies(files: tuple[tuple[str, str], ...]) -> Policies:
    return policies_of(dict(files))


def ring_of(authority: Authority, development: Any) -> KeyRing:
    """The keys to verify signatures with: of everybody whom policies ever named, and the origin's
    development keys.
    """
    return KeyRing(frozenset(development), authority.keys)
