"""Revokes keys, and replaces the key that signs checkpoints.

A checkpoint key changes in three steps. A new key is made beside the old one, and its public half
is recorded. The owners approve it. The machine that keeps the log then signs with it. Until the
last step the old key signs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from governance.attest.keys import PublicKey, public_key
from governance.attest.predicates import Approval, Artifact, CheckpointKey, Revocation
from governance.base.errors import ConfigError, RefusedError
from governance.base.model import Model
from governance.history.state import LogState
from governance.log.port import Entry, Log
from governance.machine.machine import Machine
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.people.policies import owner, signed_by
from governance.people.speaking import Signing, Speaker, digest_beginning, person_of
from governance.policy.authority import Authority

NEXT = f"{CHECKPOINT}-next"


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


def revoke(log: Log, key: PublicKey, whose: str, author: Speaker, reason: str) -> Entry:
    """Records that a key counts no more from here on (see `revoker`)."""
    revocation = Revocation(**author.signed(reason), owner=whose)
    subject = Artifact(role="key", name=whose, sha256=key.keyid)
    return author.record(log, "revocation", subject, revocation)


def successors(now: LogState) -> list[Successor]:
    """Every checkpoint key that was proposed, in order."""
    used = {public_key(pem).keyid for _, pem in now.authority.checkpoint_keys}
    return [
        Successor(
            keyid=key.keyid,
            fingerprint=key.fingerprint,
            entry=proposal.index,
            signed_by=sorted(signed_by(now, key.keyid, "checkpoint_key")),
            approved=key.keyid in used,
        )
        for proposal in now.evidence.all(CheckpointKey)
        if (key := public_key(proposal.predicate.pem)).keyid == proposal.subjects[0].sha256
    ]


def propose_successor(log: Log, key: PublicKey, author: Speaker, reason: str) -> Entry:
    """Records the public half of the next checkpoint key, signed by one policy owner."""
    proposal = CheckpointKey(**author.signed(reason), pem=key.pem)
    return author.record(log, "checkpoint_key", _subject(key.keyid), proposal)


def next_key(machine: Machine) -> PublicKey:
    """The next checkpoint key of this machine. It is made if there is none."""
    return public_key(stored_signer(machine.keys, NEXT).public_pem)


def proposed(now: LogState, keyid: str) -> Successor:
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
    return author.record(log, "approval", _subject(keyid), approval)


def approved_successor(machine: Machine, now: LogState) -> PublicKey | None:
    """The approved checkpoint key that this machine does not use yet, or None. Raises `ConfigError`
    if the key here is another one.
    """
    waiting = machine.keys / f"{NEXT}.pem"
    if not waiting.exists():
        return None
    key = next_key(machine)
    if key.pem != now.authority.checkpoint_keys[-1][1]:
        raise ConfigError(
            "the next checkpoint key on this machine is not the one that was approved",
            where=str(waiting),
            fix="approve this one, or bring the approved one here",
        )
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


def _subject(keyid: str) -> Artifact:
    return Artifact(role="checkpoint_key", name="checkpoint key", sha256=keyid)
