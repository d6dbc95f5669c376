"""Who may read what now, and the statement about each read. Every command and the server ask here.

1. The policies in force in the log decide, and those of the project's folder where they are at
   hand: both must permit it. An edited folder opens nothing.
2. The reader is the principal of a key that was not revoked, until their last day; on a server, the
   principal who is named like the account. Anybody else is nobody by name: `everybody` only.
3. Bytes of several datasets or models need the right for each. Bytes that no evidence names need
   every row of both tables, which must have a row `*`.
4. A read is recorded before content is given out. If that fails, nothing is given out.
5. A stage that is refused or recorded anyway, and every other caller that states what it read in
   evidence of its own, checks the right with `require`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from governance.attest.findings import finding
from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Finding, Read, Requester, Run
from governance.attest.predicates.access import LONGEST_PURPOSE
from governance.attest.requests import refusal
from governance.base.errors import ConfigError, RefusedError
from governance.base.text import one_line
from governance.base.time import instant
from governance.log import evidence
from governance.log.port import Entry, Log
from governance.policy.authority import Authority
from governance.policy.policies import Policies
from governance.policy.readers import OTHERS, UNKNOWN, Content, may_read
from governance.policy.rules import Principal

CODE = "READ_NOT_ALLOWED"


@dataclass(frozen=True)
class Wanted:
    """Bytes that somebody wants to read."""

    sha256: str
    contents: frozenset[Content]
    """What they are the content of."""

    @classmethod
    def of(cls, sha256: str, *contents: frozenset[Content]) -> Wanted:
        """Bytes of all these contents; of unknown ones where there is none."""
        return cls(sha256, frozenset().union(*contents) or UNKNOWN)


@dataclass(frozen=True)
class Rights:
    """What decides on reads, at one size of a log."""

    authority: Authority | None
    """None before a log has begun."""
    own: Policies | None
    """The policies of the project's folder, where they are at hand."""

    @property
    def policies(self) -> list[Policies]:
        """(1) Those that must permit a read and have the table."""
        both = (self.in_force, self.own)
        return [each for each in both if each is not None and each.rules.readers is not None]

    @property
    def in_force(self) -> Policies | None:
        """The policies in force; None where the log, an old one, does not carry them."""
        return self.authority.in_force.policies if self.authority else None

    @property
    def restricted(self) -> bool:
        """Whether any policy says who may read."""
        return bool(self.policies)

    def purpose_missing(self, purpose: str) -> bool:
        """Whether policy asks what for, and nobody said it."""
        tables = (policies.rules.readers for policies in self.policies)
        return not purpose and any(table and table.purpose == "required" for table in tables)

    def of_key(self, policies: Policies, keyid: str, at: datetime) -> Principal | None:
        """(2) Whose key it is."""
        principal = policies.principals.get(keyid)
        is_revoked = self.authority is not None and keyid in self.authority.revoked
        return None if is_revoked or principal is None or _left(principal, at) else principal

    def of_account(self, policies: Policies, account: str, at: datetime) -> Principal | None:
        """(2) Whose account it is. One whose every key was revoked is nobody."""
        found = next((each for each in policies.rules.principals if each.name == account), None)
        if found is None or _left(found, at):
            return None
        keys = {keyid for keyid, owner in policies.principals.items() if owner.name == account}
        revoked = self.authority.revoked if self.authority else {}
        return None if keys <= set(revoked) else found


def _left(principal: Principal, at: datetime) -> bool:
    return principal.until is not None and at.date() > principal.until


def refused(
    rights: Rights, who: Callable[[Policies], Principal | None], wanted: Iterable[Wanted]
) -> list[Content]:
    """What of it the reader may not read, sorted. `who`: the reader under some policies."""
    contents = {content for each in wanted for content in each.contents}
    closed = {
        content
        for policies in rights.policies
        for content in contents
        if not may_read(policies.rules.readers, who(policies), content)
    }
    return sorted(closed)


def findings(rights: Rights, reader: str, closed: Iterable[Content]) -> list[Finding]:
    """A finding for each content that the reader may not read."""
    return [
        finding(CODE, str(content), expected=_expected(rights, content), found=reader)
        for content in closed
    ]


def _expected(rights: Rights, content: Content) -> str:
    """Whom the policies permit, for people."""
    tables = [policies.rules.readers for policies in rights.policies]
    rows = [table.rows(content.kind, content.name) for table in tables if table]
    return "; and ".join(dict.fromkeys(text for each in rows for text in _rows(each)))


def _rows(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return [f"a row of its own, or a row {OTHERS!r}: there is neither"]
    return [f"one of: {', '.join(row)}" if row else "nobody" for row in rows]


# -- With a key ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """Somebody who wants to read at this machine, with their key."""

    signer: Signer
    development: bool
    """Whether it is a key that was made without ceremony."""
    command: str
    purpose: str
    requester: Requester
    at: datetime


def require(rights: Rights, keyid: str, wanted: Sequence[Wanted], what: str, at: datetime) -> None:
    """Raises `RefusedError` unless the owner of the key may read everything. `what` is refused."""
    closed = refused(rights, lambda policies: rights.of_key(policies, keyid, at), wanted)
    if closed:
        raise RefusedError(refusal(what, findings(rights, named(rights, keyid), closed)))


def named(rights: Rights, keyid: str) -> str:
    """The owner of a key, for people."""
    known = [each for each in (rights.in_force, rights.own) if each is not None]
    owner = next((each.principals[keyid] for each in known if keyid in each.principals), None)
    is_revoked = rights.authority is not None and keyid in rights.authority.revoked
    who = owner.name if owner else f"key {keyid[:12]}, which policy does not name"
    return f"{who} (revoked)" if is_revoked else who


def admit(
    rights: Rights, reading: Reading, wanted: Sequence[Wanted], log: Callable[[], Log]
) -> Entry | None:
    """Records that these bytes are read; the entry. None where no policy says who may read.

    Raises `RefusedError` where policy does not permit it, `ConfigError` for a purpose that is
    missing or too long, and what the log raises (4). `log` opens it for appending.
    """
    if not rights.restricted:
        return None
    purpose = checked_purpose(rights, reading.purpose)
    keyid = reading.signer.keyid
    require(rights, keyid, wanted, reading.command, reading.at)
    authority = rights.authority
    if authority is None:
        found = "there is no log in which the read could be recorded"
        raise ConfigError(found, fix="begin one: countersign repro, or countersign init")
    in_force = rights.in_force
    owner = rights.of_key(in_force, keyid, reading.at) if in_force else None
    if owner is None and not reading.development:
        found = f"the policies in force do not name this key ({keyid[:12]})"
        raise RefusedError(found, fix="read with the key of a principal; countersign enrol")
    return _record(
        log(), reading.signer, wanted,
        Read(
            reader=owner.name if owner else None,
            command=reading.command,
            purpose=purpose,
            policy=authority.in_force.digest,
            run=_run(reading.requester, reading.at),
        ),
    )  # fmt: skip


def checked_purpose(rights: Rights, purpose: str) -> str:
    """The purpose in one line. Raises `ConfigError` where it is missing or too long."""
    text = one_line(purpose).strip()
    if rights.purpose_missing(text):
        found = "policy asks what the content is read for"
        raise ConfigError(found, where="--purpose", fix="say it: --purpose 'look at false alarms'")
    if len(text) > LONGEST_PURPOSE:
        found, expected = f"a text of {len(text)} characters", f"at most {LONGEST_PURPOSE}"
        raise ConfigError(found, where="--purpose", expected=expected, fix="say it shorter")
    return text


# -- With an account -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AccountReading:
    """An account of the server that wants to read. The server's own key signs."""

    signer: Signer
    account: str
    purpose: str
    requester: Requester
    at: datetime


COMMAND = "artifact"
"""What gives out files of a server."""


def refused_account(
    rights: Rights, account: str, wanted: Sequence[Wanted], at: datetime
) -> list[Content]:
    """What of it the account may not read."""
    return refused(rights, lambda policies: rights.of_account(policies, account, at), wanted)


def record_account(
    rights: Rights, reading: AccountReading, wanted: Sequence[Wanted], log: Log
) -> Entry:
    """Records a read that `refused_account` let pass; its entry. Raises what the log raises."""
    policies = rights.authority.policies if rights.authority else None
    if policies is None:
        raise RefusedError("there is no log in which the read could be recorded")
    owner = rights.of_account(policies, reading.account, reading.at)
    read = Read(
        reader=owner.name if owner else None,
        account=reading.account,
        command=COMMAND,
        purpose=reading.purpose,
        policy=policies.digest,
        run=_run(reading.requester, reading.at),
    )
    return _record(log, reading.signer, wanted, read)


# -- The statement ---------------------------------------------------------------------------------


def _record(log: Log, signer: Signer, wanted: Sequence[Wanted], read: Read) -> Entry:
    """(4) The same read is recorded once a day."""
    subjects = {
        (content.kind, content.name, each.sha256) for each in wanted for content in each.contents
    }
    artifacts = [Artifact(role=kind, name=name, sha256=sha) for kind, name, sha in sorted(subjects)]
    return evidence.record(log, signer, "read", artifacts, read)


def _run(requester: Requester, at: datetime) -> Run:
    moment = instant(at)
    return Run(started=moment, finished=moment, seconds=0.0, requested_by=requester)
