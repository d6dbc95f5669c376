"""Which entries of a log concern a model. The rule depends on the envelopes alone.

1. Every entry that is neither about a digest nor about another model: origin, policies,
   revocations, checkpoint keys, and each kind that a later version adds. Not an authorization
   about the key that signed it: any enrolled person can sign many.
2. Every entry that names the model: registrations, packets, requests, promotions, waivers,
   incidents, calls, drills, reports, approvals. Not a refused call or a read: any account can cause
   many, and no decision reads them.
3. The chain of digests: from the bytes of every version, and of every champion that one was
   compared with, every statement about a digest that a stage made, read or decided on; every
   evaluation of such a model; every decision of the gates on the way, refusals included.
4. The authorizations that any of these name as the one of their run.
5. Approvals of any of these, and of policies and checkpoint keys.
Nothing is trusted here: a statement's content only decides whether it is included.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.envelope import Envelope, unverified
from governance.attest.keys import Signer
from governance.attest.predicates import KINDS, TYPE_PREFIX, Predicate
from governance.base.errors import BusyError, ConflictError, InputError, VerificationError
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, signed_in_turn
from governance.log.model_index import WHERE, ModelIndex, sign_index, verified_index
from governance.log.port import Entry, Log
from governance.policy.authority import RIGHTS_BY_APPROVAL, read_authority

STAGES = frozenset(name for name, kind in KINDS.items() if issubclass(kind.model, Predicate))
"""Evidence of stages: it is about digests and names no model."""
UNDECIDING = frozenset({"refusal", "read"})
"""Kinds that concern no model here: any account can cause many, and no decision reads them."""
WAIT = 0.5
"""Seconds that a request waits for another one to read the log."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What decides whether an entry concerns a model."""

    index: int
    kind: str
    leaf: bytes
    about: tuple[str, ...]
    """The digests of its subjects. For an evaluation, and of the model; for a request, a
    registration and an authorization, and its own, by which others name it.
    """
    model: str
    """The name of the model; empty where it names none."""
    is_common: bool
    """Whether it concerns every model."""
    named: tuple[str, ...] = ()
    """For a stage: the digests that it made, read or decided on."""
    start: str = ""
    """Where a chain begins. For a registration: the model's bytes; for a packet or promotion: the
    champion's.
    """
    stage: str = ""
    """For a gate: its stage."""
    authorization: str = ""
    """The statement by which a person permitted its run."""


@dataclass
class ModelEntries:
    """The entries of one log by the models that they concern. Each entry is read once.

    Reading computes the tree of the log anew. So an entry that is missing, or is not the one that
    was logged, is detected before anything is signed.
    """

    _facts: list[_Facts] = field(default_factory=list)
    _tree: merkle.Range = field(default_factory=merkle.Range)
    _about: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _registered: set[str] = field(default_factory=set)
    """The names of models with a version."""
    _notes: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By model: the last signed index and its size."""
    _lock: Lock = field(default_factory=Lock)

    def signed(self, log: Log, model: str, signer: Signer) -> str:
        """The index of a model at the log's present size, signed. A second request at the same size
        costs no signature. Only one index is made at a time, and nobody waits long for another, so
        that many requests do not occupy a server.

        Raises `InputError` for a model without a version, `VerificationError` where the entries are
        not those of the log's checkpoint, `BusyError`.
        """
        size, note = log.head()
        known = self._notes.get(model)
        if known is not None and known[0] == size:
            return known[1]
        if not self._lock.acquire(timeout=WAIT):
            raise BusyError("the log is being read for another index", fix="try again")
        try:
            size, note = log.head()
            signed = self._sign(log, model, size, note, signer)
            self._notes[model] = size, signed
            return signed
        finally:
            self._lock.release()

    def of(self, log: Log, model: str, size: int) -> list[int]:
        """The indexes of the entries among the first `size` that concern a model, ascending. Raises
        `InputError` for a model without a version.
        """
        self._read(log, size)
        return sorted(self._selected(model))

    def check(self, log: Log, note: str, keys: Sequence[tuple[int, str]]) -> None:
        """Compares a signed index with the log at its size: `note` counts exactly the entries that
        concern its model. Raises `VerificationError`. `keys`: from which entry on which public key
        (PEM) signs.
        """
        index = verified_index(note, keys)
        leaves = [self._facts[at].leaf for at in self.of(log, index.model, index.size)]
        if (index.entries, index.root) != (len(leaves), merkle.root_of(leaves)):
            found = (
                f"it counts {index.entries} entries about {index.model}, and not those of the log"
            )
            raise VerificationError(found, where=WHERE, expected=f"the {len(leaves)} of the log")

    def _sign(self, log: Log, model: str, size: int, note: str, signer: Signer) -> str:
        indexes = self.of(log, model, size)
        keys = read_authority(log, size).checkpoint_keys
        head = signed_in_turn(note, keys, "the log's checkpoint")
        if head != Checkpoint(head.origin, self._tree.size, self._tree.root()):
            found = "the entries are not those of the log's checkpoint: no index is signed"
            raise VerificationError(found, where=log.where)
        root = merkle.root_of(self._facts[index].leaf for index in indexes)
        index = ModelIndex(head.origin, model, size, len(indexes), root)
        signed = sign_index(index, signer)
        verified_index(signed, keys)  # another key may have come into force meanwhile
        return signed

    def _read(self, log: Log, size: int) -> None:
        """Reads the entries up to `size` that were not read before."""
        if len(self._facts) > size:
            found = f"the log has {len(self._facts)} entries by now, or lost some since"
            raise ConflictError(found, expected=str(size), where=log.where, fix="try again")
        if len(self._facts) == size:
            return
        for entry in log.entries(len(self._facts)):
            if entry.index >= size:
                break
            self._add(_facts(entry))
        if len(self._facts) != size:
            raise VerificationError(f"entry {len(self._facts)} is missing", where=log.where)

    def _add(self, facts: _Facts) -> None:
        if facts.index != len(self._facts):
            raise VerificationError("the entry is missing", where=f"entry {len(self._facts)}")
        self._facts.append(facts)
        self._tree.push(self._tree.completing(0, facts.leaf))
        if facts.kind == "registration":
            self._registered.add(facts.model)
        for sha256 in facts.about:
            self._about[sha256].append(facts.index)

    def _selected(self, model: str) -> set[int]:
        if model not in self._registered:
            raise InputError(
                f"the log has no version of {model[:80]}",
                expected="the name of a registered model",
                fix="countersign status lists the versions",
            )
        named = [facts for facts in self._facts if facts.model == model]
        selected = {facts.index for facts in self._facts if facts.is_common}  # (1)
        selected |= {facts.index for facts in named}  # (2)
        reached = self._chain({facts.start for facts in named} - {""})  # (3)
        selected |= {index for sha256 in reached for index in self._about.get(sha256, ())}
        stages = {self._facts[index].stage for index in selected} - {""}
        selected |= {facts.index for facts in self._facts if facts.stage in stages}
        permitting = {self._facts[index].authorization for index in selected} - {""}
        selected |= {  # (4)
            index
            for sha256 in permitting
            for index in self._about.get(sha256, ())
            if self._facts[index].kind == "authorization"
        }
        approved = reached.union(*(self._facts[index].about for index in selected))
        return selected | {  # (5)
            facts.index
            for facts in self._facts
            if facts.kind == "approval" and not approved.isdisjoint(facts.about)
        }

    def _chain(self, digests: Iterable[str]) -> set[str]:
        """(3) These digests, and those that the stages about them made, read and decided on, and so
        on.
        """
        reached: set[str] = set()
        ahead = list(digests)
        while ahead:
            sha256 = ahead.pop()
            if sha256 not in reached:
                reached.add(sha256)
                about = (self._facts[index] for index in self._about.get(sha256, ()))
                ahead += [name for facts in about for name in facts.named]
        return reached


def _facts(entry: Entry) -> _Facts:
    """What an entry's envelope says, not verified. Raises `VerificationError` where it has no
    statement.
    """
    where = f"entry {entry.index}"
    statement, keyid = unverified(entry.envelope, where=where)
    predicate, about = statement.get("predicate"), _digests(statement.get("subject"), "digest")
    if not isinstance(predicate, dict):
        raise VerificationError("a statement without a predicate", where=where)
    uri = str(statement.get("predicateType"))
    kind = uri.removeprefix(TYPE_PREFIX).removesuffix("/v1")
    is_stage = kind in STAGES
    model = _text(predicate, "model")
    if kind == "evaluate":
        about = (*about, model)
    elif kind in ("request", "registration", "authorization"):
        payload = Envelope.model_validate_json(entry.envelope).payload
        about = (*about, sha256_bytes(base64.b64decode(payload)))
    if kind == "read":
        about = ()  # (2): it would be found by the digest that was read
    name = "" if is_stage or kind in UNDECIDING else model  # (2)
    return _Facts(
        index=entry.index,
        kind=kind,
        leaf=merkle.leaf_hash(entry.envelope),
        about=about,
        model=name,
        is_common=_is_common(kind, name, predicate) and not _is_of_key(kind, keyid, about),
        named=_named(predicate, about) if is_stage else (),
        start=_start(kind, predicate),
        stage=_text(predicate, "stage") if kind == "gate" else "",
        authorization=_text(_member(_member(predicate, "run"), "requested_by"), "authorization"),
    )


def _is_common(kind: str, model: str, predicate: dict[str, Any]) -> bool:
    """(1) A kind that this version does not know is common, so that nothing is left out."""
    if kind in STAGES or kind in UNDECIDING:
        return False
    if kind == "approval":
        return predicate.get("about") in RIGHTS_BY_APPROVAL
    return not model


def _is_of_key(kind: str, keyid: str, about: tuple[str, ...]) -> bool:
    """(1) Whether it is an authorization about the key that signed it, as all are from version 2 of
    the rules on. Earlier ones are about the policies, and concern every model as they did.
    """
    return kind == "authorization" and keyid in about


def _named(predicate: dict[str, Any], about: tuple[str, ...]) -> tuple[str, ...]:
    """The digests that a stage made, read or decided on, and the records of the suite that a gate's
    request names.
    """
    decided_on = _member(predicate, "decided_on")
    suite = _member(_member(predicate, "parameters"), "suite")
    read = _digests(predicate.get("inputs"))
    others = [*decided_on.values(), suite.get("records")]
    return (*about, *read, *(sha256 for sha256 in others if isinstance(sha256, str)))


def _start(kind: str, predicate: dict[str, Any]) -> str:
    """Where a chain of digests begins; empty for most entries."""
    if kind == "registration":
        return _text(predicate, "model_digest")
    if kind == "packet":
        return _text(predicate, "champion")
    return _text(_member(predicate, "asked"), "champion") if kind == "promotion" else ""


def _digests(artifacts: Any, member: str = "") -> tuple[str, ...]:
    """The sha256 of each member of a list."""
    rows = artifacts if isinstance(artifacts, list) else []
    holders = [_member(row, member) if member else row for row in rows if isinstance(row, dict)]
    return tuple(_text(holder, "sha256") for holder in holders if _text(holder, "sha256"))


def _member(value: Any, name: str) -> dict[str, Any]:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, dict) else {}


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    return text if isinstance(text, str) else ""
