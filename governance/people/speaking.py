"""A person at this machine: who they are, in which role they sign, and the statements that they add
to the log.

1. The key and the policies in force decide who a person is. Nobody types a name.
2. A person with several possible roles must name one.
3. Every refusal of the log is checked here first, before a passphrase is asked for a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from governance.attest.digests import SHORTEST
from governance.attest.keys import PublicKey, Signer, public_key
from governance.attest.predicates import Approval, Artifact, Requester, Run
from governance.base.errors import ConfigError, InputError, RefusedError
from governance.base.model import Model
from governance.base.time import exact_instant
from governance.history.state import LogState
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Entry, Log
from governance.machine.signers import Ask, person_signer
from governance.policy.authority import Authority
from governance.policy.policies import Policies
from governance.policy.rules import Principal
from governance.policy.speakers import LISTS, LONGEST_TEXT, length_of

NOT_YET = "DIGEST"
"""Stands for the digest of a statement that nobody has signed."""
SHOWN = 5
"""Digests that an error names."""
KEY = "COUNTERSIGN_KEY"
PredicateT = TypeVar("PredicateT", bound=Model)


@dataclass(frozen=True)
class Speaker:
    """A person, in one role, with their key, at a time."""

    name: str
    role: str
    signer: Signer
    log: str
    """The log that they sign for: the hash of its entry 0."""
    at: datetime

    def signed(self, reason: str) -> dict[str, Any]:
        """The fields of `governance.attest.predicates.Signed`. Raises `ConfigError`."""
        check_text(reason, "--reason")
        try:
            reason.encode()
        except UnicodeEncodeError:  # bytes of another encoding, as Python has them
            raise ConfigError(
                "the reason is not UTF-8", where="--reason", fix="export LC_ALL=C.UTF-8"
            ) from None
        at = exact_instant(self.at)
        return {
            "principal": self.name,
            "role": self.role,
            "reason": reason,
            "at": at,
            "log": self.log,
        }

    def unsigned(
        self, now: LogState, kind: str, subject: Artifact, predicate: PredicateT
    ) -> Evidence[PredicateT]:
        """The statement as the next entry of the log. It shows what a signature would change."""
        keyid = self.signer.keyid
        return Evidence(now.size, kind, (subject,), predicate, keyid, False, NOT_YET)

    def record(self, log: Log, kind: str, subject: Artifact, predicate: Model) -> Entry:
        """Signs a statement and appends it. The same statement is recorded only once. Raises
        `ConfigError` for a text that is too long to count.
        """
        for name, value in predicate:
            if name not in LISTS:
                check_text(value, f"--{name}")
        return evidence.record(log, self.signer, kind, [subject], predicate)


def check_text(text: object, where: str) -> None:
    """Raises `ConfigError` for a text, or texts in a list, so long that their statement would not
    count.
    """
    if (length := length_of(text)) > LONGEST_TEXT:
        found = f"a text of {length} characters"
        expected = f"at most {LONGEST_TEXT}"
        raise ConfigError(found, where=where, expected=expected, fix="say it shorter")


def own_signer(key: str | None, environ: Mapping[str, str], ask: Ask | None) -> Signer:
    """The person's key: `--key`, else COUNTERSIGN_KEY. Raises `ConfigError`."""
    address = key or environ.get(KEY, "")
    if not address:
        fix = "give --key, or export COUNTERSIGN_KEY=ssh-agent:SHA256:... (ssh-add -l)"
        raise ConfigError("nobody signs: no key is given", where=KEY, fix=fix)
    return person_signer(address, environ, ask)


def person_of(policies: Policies, key: Signer | PublicKey) -> Principal:
    """The person of this key. Raises `RefusedError` for an unknown key or the key of a service."""
    principal = policies.principals.get(key.keyid)
    if principal is not None and principal.kind == "person":
        return principal
    public = key if isinstance(key, PublicKey) else public_key(key.public_pem)
    shown = public.fingerprint
    if principal is not None:
        found = f"this is the key of service {principal.name} ({shown})"
        raise RefusedError(found, fix="sign with a key of your own")
    people = ", ".join(sorted(person.name for person in policies.rules.in_roles(None)))
    fix = "ask a policy owner: countersign enrol" if people else "countersign init names people"
    found = f"the policies in force do not name this key ({shown})"
    raise RefusedError(found, expected=f"a key of {people or 'nobody'}", fix=fix)


@dataclass(frozen=True)
class Signing:
    """A person's key, the role that they named, and the time."""

    signer: Signer
    role: str | None
    at: datetime

    def speaker(
        self, authority: Authority, fitting: Sequence[str] | None, *, first: bool = False
    ) -> Speaker:
        """The person of this key, in the named role or in their only role that is `fitting`; with
        `first` in the first such role. `fitting` is None where any role fits. Raises `ConfigError`,
        `RefusedError`.
        """
        person = person_of(authority.policies, self.signer)
        revoked = authority.revoked.get(self.signer.keyid)
        if revoked is not None:
            found = f"this key of {person.name} was revoked at entry {revoked}"
            raise RefusedError(found, fix="use another key; countersign rotate enrols a new one")
        if person.until is not None and self.at.date() > person.until:
            found = f"{person.name} acts until {person.until}, as policy says"
            raise RefusedError(found, fix="countersign policy status")
        possible = [name for name in person.roles if fitting is None or name in fitting]
        if self.role is None and len(possible) > 1 and not first:
            raise ConfigError(
                f"{person.name} may say this as {' or as '.join(possible)}",
                fix=f"say which: --role {possible[0]}",
            )
        chosen = self.role or next(iter(possible), "")
        if chosen not in possible:
            has = f"{person.name} ({', '.join(person.roles) or 'no role'})"
            others = authority.policies.rules.in_roles(fitting)
            raise RefusedError(
                f"{has} may not say this{f' as {self.role}' if self.role else ''}",
                expected=f"a person as {', '.join(fitting or person.roles) or 'none'}"
                f" ({', '.join(other.name for other in others) or 'nobody has it'})",
            )
        return Speaker(person.name, chosen, self.signer, authority.origin, self.at)


def roles_of(policies: Policies) -> list[str]:
    """All roles that people have. For statements that every enrolled person may sign."""
    return sorted({role for person in policies.rules.in_roles(None) for role in person.roles})


def votes_on(now: LogState, digest: str, about: str) -> list[Evidence[Approval]]:
    """The votes about a digest by people whose signature counts, in log order."""
    return [
        vote
        for vote in now.evidence.by_subject(digest, Approval)
        if vote.predicate.about == about and now.authority.speaker(vote) is not None
    ]


def last_vote(now: LogState, digest: str, about: str, author: Speaker) -> Evidence[Approval] | None:
    """The last vote about a digest by this person in this role."""
    votes = votes_on(now, digest, about)
    last = {(vote.predicate.principal, vote.predicate.role): vote for vote in votes}
    return last.get((author.name, author.role))


def digest_beginning(text: str, digests: Iterable[str], what: str) -> str:
    """The one of these digests that begins with `text`. Raises `InputError`."""
    known = list(digests)
    matching = [digest for digest in known if digest.startswith(text)]
    if len(matching) == 1 and len(text) >= SHORTEST:
        return matching[0]
    shown = " or ".join(known[-SHOWN:]) or "none, as there is none"
    raise InputError(
        f"{text[:80]!r} names no {what}, or several",
        expected=f"{SHORTEST} characters or more, of {shown}",
    )


def run_by(name: str, at: datetime, *, authenticated: bool = True) -> Run:
    """The run of a command that this person gave: it takes no time."""
    moment = exact_instant(at)
    requester = Requester(name=name, authenticated=authenticated)
    return Run(started=moment, finished=moment, seconds=0.0, requested_by=requester)
