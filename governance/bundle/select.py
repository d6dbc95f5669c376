"""Which entries go into a bundle. The rule depends on the log alone: two people get the same bytes.

1. Every statement that gives or takes rights: origin, policies, revocations, checkpoint keys,
   authorizations, and approvals of policies and checkpoint keys.
2. Every statement about the model by name: registrations, requests, promotions, waivers, incidents,
   refusals, accepted calls and drills; packets and signed reports of this version.
3. The chain of digests: from the version's bytes, every statement about a digest that a stage made,
   read or decided on, and every evaluation of such a model; evaluations of the champions that it
   was compared with; every decision of the gates on the way, refusals included.
4. Approvals of any of these.
5. Nothing else, unless the whole log is requested: only that shows that nothing is missing.
Nothing is trusted here: a statement's content only decides whether it is included.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.envelope import Envelope, unverified
from governance.attest.predicates import (
    Approval,
    Artifact,
    Evaluate,
    GateDecision,
    Packet,
    Predicate,
    Promotion,
    Registration,
    SignedReport,
)
from governance.base.errors import InputError, StorageError
from governance.bundle.form import FORMAT, MAX_ENTRIES, Attached, Bundle, Growth, Item
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import parse_statement
from governance.log.port import Entry, Log

RIGHTS = ("origin", "policy", "revocation", "checkpoint_key", "authorization")
NAMED = (
    *("registration", "request", "promotion", "waiver", "incident"),
    *("refusal", "call", "packet", "drill", "report"),
)


def bundle_of(
    log: Log,
    model: str,
    version: str,
    *,
    files: Sequence[Attached] = (),
    since: str | None = None,
    whole: bool = False,
) -> Bundle:
    """The bundle of MODEL/VERSION as the log stands. `since`: an older checkpoint, to prove growth
    from.

    Raises `InputError` where the log has no such version.
    """
    size, note = log.head()
    entries = _Selection(log, size, model, version).entries()
    if whole:
        entries = [entry for entry in log.entries() if entry.index < size]
    if len(entries) > MAX_ENTRIES:
        raise StorageError(
            f"{len(entries)} entries are too many for one file",
            expected=f"at most {MAX_ENTRIES}",
            where=log.where,
        )
    return Bundle(
        format=FORMAT,
        model=model,
        version=version,
        checkpoint=note,
        entries=[_item(log, entry, size) for entry in entries],
        files=sorted(files, key=lambda file: file.sha256),
        growth=_growth(log, since, size) if since is not None else None,
    )


def _item(log: Log, entry: Entry, size: int) -> Item:
    proof = [step.hex() for step in log.inclusion_proof(entry.index, size)]
    return Item(
        envelope=Envelope.model_validate_json(entry.envelope), index=entry.index, proof=proof
    )


def _growth(log: Log, since: str, size: int) -> Growth:
    old, _ = parse_checkpoint(since, where="the older checkpoint")
    if old.size > size:
        raise InputError(
            f"the older checkpoint counts {old.size} entries",
            expected=f"at most the {size} of this log",
        )
    return Growth(
        proof=[step.hex() for step in log.consistency_proof(old.size, size)], size=old.size
    )


@dataclass(frozen=True)
class _Claim:
    """An entry and its statement, not verified."""

    entry: Entry
    subjects: tuple[Artifact, ...]
    predicate: Any


class _Selection:
    """Picks the entries of a bundle by the rules of this module."""

    def __init__(self, log: Log, size: int, model: str, version: str) -> None:
        self._log, self._size, self._model, self._version = log, size, model, version
        self._read: dict[int, _Claim] = {}
        self._picked: dict[int, Entry] = {}
        self._followed: set[str] = set()

    def entries(self) -> list[Entry]:
        """In order. Raises `InputError` where the version is not registered."""
        self._pick(self._of(RIGHTS))
        named = [claim for claim in self._of(NAMED) if claim.predicate.model == self._model]
        of_version = (Packet, SignedReport)
        self._pick(
            claim
            for claim in named
            if not isinstance(claim.predicate, of_version) or self._is(claim.predicate)
        )
        starts = {claim.predicate.model_digest for claim in self._registrations(named)}
        self._follow(starts)
        self._evaluations(self._followed | self._champions(named))
        self._gates()
        self._approvals()
        return [entry for _, entry in sorted(self._picked.items())]

    def _registrations(self, named: Iterable[_Claim]) -> list[_Claim]:
        of_model = [claim for claim in named if isinstance(claim.predicate, Registration)]
        registrations = [claim for claim in of_model if claim.predicate.version == self._version]
        if not registrations:
            names = ", ".join(f"{self._model}/{claim.predicate.version}" for claim in of_model)
            raise InputError(
                f"the log has no version {self._version} of {self._model}",
                expected=f"one of: {names[:300]}" if names else "a registered version",
                fix="countersign status lists the versions",
            )
        return registrations

    def _champions(self, named: Iterable[_Claim]) -> set[str]:
        """Digests of the champions that this version was compared with."""
        digests: set[str | None] = set()
        for claim in named:
            if isinstance(claim.predicate, Packet) and self._is(claim.predicate):
                digests.add(claim.predicate.champion)
            elif isinstance(claim.predicate, Promotion) and self._is(claim.predicate):
                digests.add((claim.predicate.asked or {}).get("champion"))
        return {sha256 for sha256 in digests if sha256 is not None}

    def _follow(self, digests: Iterable[str]) -> None:
        """(3) Picks every entry about these digests, and about what their stages read, made and
        decided on.
        """
        ahead = list(digests)
        while ahead:
            sha256 = ahead.pop()
            if sha256 in self._followed:
                continue
            self._followed.add(sha256)
            about = [
                self._claim(entry)
                for entry in self._log.by_subject(sha256)
                if entry.index < self._size
            ]
            self._pick(about)
            for claim in about:
                ahead += _names(claim)

    def _evaluations(self, models: set[str]) -> None:
        for claim in self._of(("evaluate",)):
            if isinstance(claim.predicate, Evaluate) and claim.predicate.model in models:
                self._pick([claim])
                self._follow(_names(claim) if claim.predicate.model in self._followed else ())

    def _gates(self) -> None:
        stages = {
            claim.predicate.stage
            for claim in self._chosen()
            if isinstance(claim.predicate, GateDecision)
        }
        self._pick(claim for claim in self._of(("gate",)) if claim.predicate.stage in stages)

    def _approvals(self) -> None:
        """(4) Picks each approval of a picked statement, of something a picked statement is about,
        and each approval that gives rights.
        """
        about = {
            subject.sha256 for claim in self._chosen() for subject in claim.subjects
        } | self._followed
        requests = {
            _digest(claim.entry) for claim in self._chosen() if claim.entry.kind == "request"
        }
        for claim in self._of(("approval",)):
            rights = isinstance(claim.predicate, Approval) and claim.predicate.about in (
                "policy",
                "checkpoint_key",
            )
            if rights or any(subject.sha256 in about | requests for subject in claim.subjects):
                self._pick([claim])

    def _chosen(self) -> list[_Claim]:
        return [self._read[index] for index in self._picked]

    def _pick(self, claims: Iterable[_Claim]) -> None:
        self._picked.update({claim.entry.index: claim.entry for claim in claims})

    def _of(self, kinds: Sequence[str]) -> Iterator[_Claim]:
        return (
            self._claim(entry) for entry in self._log.by_kind(kinds) if entry.index < self._size
        )

    def _claim(self, entry: Entry) -> _Claim:
        if entry.index not in self._read:
            statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
            _, subjects, predicate = parse_statement(statement, f"entry {entry.index}")
            self._read[entry.index] = _Claim(entry, subjects, predicate)
        return self._read[entry.index]

    def _is(self, predicate: Packet | Promotion | SignedReport) -> bool:
        return (predicate.model, predicate.version) == (self._model, self._version)


def _names(claim: _Claim) -> list[str]:
    """The digests that a stage made, read or decided on; empty for other statements."""
    predicate = claim.predicate
    if not isinstance(predicate, Predicate):
        return []
    digests = [artifact.sha256 for artifact in (*claim.subjects, *predicate.inputs)]
    return digests + (_decided(predicate) if isinstance(predicate, GateDecision) else [])


def _decided(gate: GateDecision) -> list[str]:
    """What a gate decided on, and the records of the suite that its request names."""
    suite = gate.parameters.get("suite")
    records = suite.get("records") if isinstance(suite, dict) else None
    return [*gate.decided_on.values(), *([records] if isinstance(records, str) else [])]


def _digest(entry: Entry) -> str:
    """The statement's digest: of its bytes as they were signed."""
    return sha256_bytes(base64.b64decode(Envelope.model_validate_json(entry.envelope).payload))
