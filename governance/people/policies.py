"""What policy owners sign: changed policies, revocations of keys, and the next key that signs
checkpoints. `governance.policy.authority` decides when a signature counts.

A checkpoint key changes in three steps. A new key is made beside the old one, and its public half
is recorded. The owners approve it. The machine that keeps the log then signs with it. Until the
last step the old key signs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from governance.attest.digests import sha256_bytes
from governance.attest.keys import PublicKey, Signer, earlier_key, public_key
from governance.attest.predicates import Approval, Artifact, CheckpointKey, PolicyChange, Revocation
from governance.base.errors import ConfigError, CountersignError, RefusedError
from governance.base.model import Model
from governance.history.state import LogState
from governance.log import evidence
from governance.log.port import Entry, Log
from governance.machine.machine import Machine, policy_subject
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.people.enrolment import FILE
from governance.people.speaking import (
    Signing,
    Speaker,
    digest_beginning,
    last_vote,
    person_of,
    run_by,
    votes_on,
)
from governance.policy.authority import MAX_POLICIES, Authority, Proposal, size_of
from governance.policy.policies import Policies, policies_of
from governance.policy.rules import Principal, Quorum, Rules
from governance.report.frameworks import catalogue_of

NEXT = f"{CHECKPOINT}-next"


class Signatures(Model):
    """The signatures under policies with one digest."""

    digest: str
    entry: int
    """The entry that recorded the policies, or from which they are in force."""
    signed_by: list[str]
    wants: str
    """The required signatures, in words."""
    waits_for: list[str]
    """Owners who have not signed. Empty once enough have signed."""
    changed: list[str] = []
    """Files that differ from the policies in force."""


class Status(Model):
    """The policies in force for governed aliases, and what waits for signatures."""

    in_force: Signatures
    signed: bool
    """Whether a quorum of their owners signed those in force."""
    proposals: list[Signatures]
    at_hand: str
    """How the folder policies/ differs from the log, in words."""
    keys: dict[str, list[str]]
    """Principal to the fingerprints of their keys, with revocations."""


def status(now: LogState, at_hand: Policies | CountersignError | None) -> Status:
    """The signatures of the policies in force and of each proposal."""
    authority = now.authority
    return Status(
        in_force=first_signatures(now),
        signed=authority.in_force.signed_at is not None,
        proposals=[_signatures(authority, proposal) for proposal in authority.proposals],
        at_hand=_at_hand(authority, at_hand),
        keys=_keys(authority),
    )


def first_signatures(now: LogState) -> Signatures:
    """The signatures of the policies in force. Nobody is missing where enough have signed."""
    current = _current(now.authority)
    signers = tuple(sorted(signed_by(now, current.digest, "policy")))
    signatures = _signatures(now.authority, replace(current, signers=signers))
    if now.authority.in_force.signed_at is None:
        return signatures
    return signatures.model_copy(update={"waits_for": []})


def _signatures(authority: Authority, proposal: Proposal) -> Signatures:
    rules, files = authority.policies.rules, authority.policies.files
    return Signatures(
        digest=proposal.digest,
        entry=proposal.index,
        signed_by=list(proposal.signers),
        wants=wanted(rules),
        waits_for=sorted({person.name for person in owners(rules)} - set(proposal.signers)),
        changed=changed(files, proposal.files),
    )


def _current(authority: Authority) -> Proposal:
    """The policies in force, in the form of a proposal."""
    period, files = authority.in_force, authority.policies.files
    return Proposal(period.start, period.digest, files, period.signers)


def unified(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The difference of the YAML files in unified format."""
    parts: list[str] = []
    for path in changed(before, after):
        old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
        parts += difflib.unified_diff(
            old, new, f"a/policies/{path}", f"b/policies/{path}", lineterm=""
        )
    return "\n".join(parts)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The files that differ."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )


def propose(
    log: Log, authority: Authority, policies: Policies, signer: Signer, name: str, at: datetime
) -> None:
    """Records the local policies, so that their owners can sign them. Raises `RefusedError` if they
    are already in force.
    """
    if policies.digest == authority.in_force.digest:
        found = f"the policies at hand are those in force ({policies.digest[:12]})"
        raise RefusedError(found, fix="change policies/ first")
    if size_of(policies.files) > MAX_POLICIES:
        found = f"the policies have {size_of(policies.files)} bytes of text"
        raise ConfigError(found, where="policies/", expected=f"at most {MAX_POLICIES}")
    catalogue_of(policies)  # raises for mistakes; nothing else reads the catalogue
    change = PolicyChange(
        previous=evidence.policy_in_force(log), run=run_by(name, at), files=dict(policies.files)
    )
    evidence.record(log, signer, "policy", [policy_subject(policies.digest)], change)


def offer(authority: Authority, digest: str) -> Proposal:
    """The unsigned policies whose digest begins with `digest`. Raises `InputError`,
    `RefusedError`.
    """
    current = authority.in_force
    every = [*authority.proposals, _current(authority)]
    offers = {proposal.digest: proposal for proposal in every}
    chosen = offers[digest_beginning(digest, offers, "policies")]
    if chosen.digest == current.digest and current.signed_at is not None:
        signers = ", ".join(current.signers)
        raise RefusedError(f"these policies are in force and signed by {signers}")
    return chosen


def shown(authority: Authority, proposed: Proposal) -> str:
    """The text that a person reads before they sign: the difference, or all rules of the first
    policies.
    """
    if proposed.digest == authority.in_force.digest:
        return first_rules(proposed.files)
    return unified(authority.policies.files, proposed.files)


def first_rules(files: Mapping[str, str]) -> str:
    """All rules of the first policies, and the digests of the other files."""
    others = [
        f"{path}  sha256 {sha256_bytes(text.encode())}"
        for path, text in sorted(files.items())
        if path != FILE
    ]
    return "\n".join([files.get(FILE, "").rstrip(), "", "# and the files as they stand:", *others])


def sign(log: Log, authority: Authority, proposed: Proposal, author: Speaker, reason: str) -> Entry:
    """Signs policies as an owner (see `owner`). Raises `RefusedError`."""
    try:
        policies_of(proposed.files)
    except CountersignError as error:
        found = f"these policies cannot be read, so they could never be in force: {error}"
        raise RefusedError(found) from None
    page = sha256_bytes(shown(authority, proposed).encode())
    approval = Approval(**author.signed(reason), decision="approve", about="policy", page=page)
    return author.record(log, "approval", policy_subject(proposed.digest), approval)


def owner(authority: Authority, signing: Signing, *, recovery: bool = True) -> Speaker:
    """The policy owner of this key. With `recovery`, also a person of the recovery quorum. Raises
    `RefusedError`.
    """
    quorums = _quorums(authority.policies.rules)
    if not recovery:
        quorums.pop("recovery", None)
    roles = [role for quorum in quorums.values() for role in quorum.roles]
    return signing.speaker(authority, roles)


def signed_by(now: LogState, digest: str, about: str) -> set[str]:
    """The owners whose last vote on a digest approves it."""
    quorums = _quorums(now.authority.policies.rules).values()
    roles = {role for quorum in quorums for role in quorum.roles}
    approvals = [vote.predicate for vote in votes_on(now, digest, about)]
    last = {vote.principal: vote.decision for vote in approvals if vote.role in roles}
    return {name for name, decision in last.items() if decision == "approve"}


def signed_at(now: LogState, digest: str, author: Speaker) -> int | None:
    """The entry in which this person signed these policies in this role. None if there is none that
    counts.
    """
    vote = last_vote(now, digest, "policy", author)
    return vote.index if vote is not None and vote.predicate.decision == "approve" else None


def owners(rules: Rules) -> list[Principal]:
    """The people who sign changed policies."""
    return rules.in_roles(rules.owners.roles) if rules.owners else []


def wanted(rules: Rules) -> str:
    """The signatures that policies need, in words."""
    words = []
    for name, quorum in _quorums(rules).items():
        people = "person" if quorum.people == 1 else "people"
        words.append(f"{quorum.people} {people} as {', '.join(quorum.roles)} ({name})")
    return " or ".join(words) or "nobody: policy names no owners"


def _quorums(rules: Rules) -> dict[str, Quorum]:
    """Either of these may sign policies."""
    quorums = {"owners": rules.owners, "recovery": rules.recovery}
    return {name: quorum for name, quorum in quorums.items() if quorum is not None}


def _at_hand(authority: Authority, policies: Policies | CountersignError | None) -> str:
    if policies is None:
        return "none here"
    if isinstance(policies, CountersignError):
        return f"cannot be read: {policies.found}"
    if policies.digest == authority.in_force.digest:
        return "those in force"
    if policies.digest in {proposal.digest for proposal in authority.proposals}:
        return f"{policies.digest[:12]}: proposed, not in force"
    return f"{policies.digest[:12]}: neither in force nor proposed (countersign policy propose)"


def _keys(authority: Authority) -> dict[str, list[str]]:
    def shown(key: PublicKey) -> str:
        revoked_at = authority.revoked.get(key.keyid)
        note = "" if revoked_at is None else f" (revoked at entry {revoked_at})"
        return f"{key.fingerprint}{note}"

    return {
        principal.name: [shown(earlier_key(text)) for text in principal.keys]
        for principal in authority.policies.rules.principals
    }


# -- Keys ------------------------------------------------------------------------------------------
class Successor(Model):
    """A checkpoint key that waits for its owners' approval, or for this machine to use it."""

    keyid: str
    fingerprint: str
    entry: int
    signed_by: list[str]
    approved: bool


def revoker(authority: Authority, whose: str, signing: Signing) -> Speaker:
    """The person who may revoke a key of `whose`: its owner, or a policy owner. Raises
    `RefusedError`.
    """
    if person_of(authority.policies, signing.signer).name != whose:
        return owner(authority, signing, recovery=False)
    return signing.speaker(authority, None, first=True)


def revoke_key(log: Log, key: PublicKey, whose: str, author: Speaker, reason: str) -> Entry:
    """Records that a key counts no more from here on (see `revoker`)."""
    revocation = Revocation(**author.signed(reason), owner=whose)
    subject = Artifact(role="key", name=whose, sha256=key.keyid)
    return author.record(log, "revocation", subject, revocation)


def successors(now: LogState) -> list[Successor]:
    """Every checkpoint key that was offered and that owners could approve, in order."""
    used = {public_key(pem).keyid for _, pem in now.authority.checkpoint_keys}
    return [
        Successor(
            keyid=key.keyid,
            fingerprint=key.fingerprint,
            entry=entry,
            signed_by=sorted(signed_by(now, key.keyid, "checkpoint_key")),
            approved=key.keyid in used,
        )
        for entry, key in ((entry, earlier_key(pem)) for entry, pem in now.authority.offered_keys)
    ]


def propose_successor(log: Log, key: PublicKey, author: Speaker, reason: str) -> Entry:
    """Records the public half of the next checkpoint key, signed by one policy owner."""
    proposal = CheckpointKey(**author.signed(reason), pem=key.pem)
    return author.record(log, "checkpoint_key", _key_subject(key.keyid), proposal)


def next_key(machine: Machine) -> PublicKey:
    """The next checkpoint key of this machine. It is made if there is none."""
    return public_key(stored_signer(machine.keys, NEXT).public_pem)


def proposed_successor(now: LogState, keyid: str) -> Successor:
    """The proposed checkpoint key whose id begins with `keyid`. Raises `InputError`,
    `RefusedError`.
    """
    proposals = {successor.keyid: successor for successor in successors(now)}
    successor = proposals[digest_beginning(keyid, proposals, "proposed checkpoint key")]
    if successor.approved:
        signers = ", ".join(successor.signed_by)
        raise RefusedError(f"checkpoint key {keyid[:12]} is approved already, by {signers}")
    return successor


def approve_successor(log: Log, keyid: str, author: Speaker, reason: str) -> Entry:
    """Approves a proposed checkpoint key, as one of the owners."""
    approval = Approval(
        **author.signed(reason), decision="approve", about="checkpoint_key", page=None
    )
    return author.record(log, "approval", _key_subject(keyid), approval)


def approved_successor(machine: Machine, now: LogState) -> PublicKey | None:
    """The approved checkpoint key that this machine does not use yet, or None. Raises `ConfigError`
    if the key here is another one.
    """
    waiting = machine.keys / f"{NEXT}.pem"
    if not waiting.exists():
        return None
    key = next_key(machine)
    if key.pem != now.authority.checkpoint_keys[-1][1]:
        found = "the next checkpoint key on this machine is not the one that was approved"
        raise ConfigError(found, where=str(waiting), fix="approve it, or bring the approved one")
    return key


def use_successor(folder: Path) -> Path:
    """Replaces the checkpoint key by the next one. The old key is kept beside it. An interrupted
    call can be repeated.
    """
    waiting, current = folder / f"{NEXT}.pem", folder / f"{CHECKPOINT}.pem"
    old = stored_signer(folder, CHECKPOINT).keyid
    kept = current.with_name(f"{CHECKPOINT}-{old[:16]}.pem")
    with suppress(FileExistsError):
        kept.hardlink_to(current)
    with suppress(FileNotFoundError):  # another process was first
        waiting.replace(current)
    return kept


def _key_subject(keyid: str) -> Artifact:
    return Artifact(role="checkpoint_key", name="checkpoint key", sha256=keyid)
