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

from collections.abc import Iterable, Iterator, Sequence

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.envelope import Envelope, unverified
from governance.attest.predicates import GateDecision, Predicate
from governance.base.errors import InputError, StorageError
from governance.bundle.form import FORMAT, MAX_ENTRIES, Attached, Bundle, Growth, Item
from governance.log.checkpoint import parse_checkpoint
from governance.log.evidence import Evidence, parse_statement
from governance.log.port import Entry, Log

RIGHTS = ("origin", "policy", "revocation", "checkpoint_key", "authorization")
NAMED = (
    *("registration", "request", "promotion", "waiver", "incident"),
    *("refusal", "call", "packet", "drill", "report"),
)
OF_VERSION = ("packet", "report")
"""Kinds of which a bundle has those of its version only."""


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
        found = f"{len(entries)} entries are too many for one file"
        raise StorageError(found, expected=f"at most {MAX_ENTRIES}", where=log.where)
    return Bundle(
        format=FORMAT,
        model=model,
        version=version,
        checkpoint=note,
        entries=[
            Item(
                envelope=Envelope.model_validate_json(entry.envelope),
                index=entry.index,
                proof=[step.hex() for step in log.inclusion_proof(entry.index, size)],
            )
            for entry in entries
        ],
        files=sorted(files, key=lambda file: file.sha256),
        growth=_growth(log, since, size) if since is not None else None,
    )


def _growth(log: Log, since: str, size: int) -> Growth:
    old, _ = parse_checkpoint(since, where="the older checkpoint")
    if old.size > size:
        found = f"the older checkpoint counts {old.size} entries"
        raise InputError(found, expected=f"at most the {size} of this log")
    proof = [step.hex() for step in log.consistency_proof(old.size, size)]
    return Growth(proof=proof, size=old.size)


class _Selection:
    """Picks the entries of a bundle by the rules of this module. Statements are not verified."""

    def __init__(self, log: Log, size: int, model: str, version: str) -> None:
        self._log, self._size, self._model, self._version = log, size, model, version
        self._read: dict[int, Evidence] = {}
        self._picked: dict[int, Evidence] = {}
        self._followed: set[str] = set()

    def entries(self) -> list[Entry]:
        """In order. Raises `InputError` where the version is not registered."""
        self._pick(self._of(RIGHTS))
        named = [claim for claim in self._of(NAMED) if claim.predicate.model == self._model]
        self._pick(
            claim for claim in named if claim.kind not in OF_VERSION or self._is_version(claim)
        )
        self._follow(self._registered(named))
        self._evaluations(self._followed | self._champions(named))
        stages = {claim.predicate.stage for claim in self._picked.values() if claim.kind == "gate"}
        self._pick(claim for claim in self._of(("gate",)) if claim.predicate.stage in stages)
        self._approvals()
        return [self._log.entry(index) for index in sorted(self._picked)]

    def _registered(self, named: Iterable[Evidence]) -> list[str]:
        """The digests under which the version was registered."""
        of_model = [claim for claim in named if claim.kind == "registration"]
        registered = [claim.predicate.model_digest for claim in of_model if self._is_version(claim)]
        if not registered:
            names = ", ".join(f"{self._model}/{claim.predicate.version}" for claim in of_model)
            raise InputError(
                f"the log has no version {self._version} of {self._model}",
                expected=f"one of: {names[:300]}" if names else "a registered version",
                fix="countersign status lists the versions",
            )
        return registered

    def _champions(self, named: Iterable[Evidence]) -> set[str]:
        """Digests of the champions that this version was compared with."""
        digests: set[str | None] = set()
        for claim in named:
            if claim.kind == "packet" and self._is_version(claim):
                digests.add(claim.predicate.champion)
            elif claim.kind == "promotion" and self._is_version(claim):
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
            about = [self._claim(entry) for entry in self._log.by_subject(sha256)]
            about = [claim for claim in about if claim.index < self._size]
            self._pick(about)
            for claim in about:
                ahead += _names(claim)

    def _evaluations(self, models: set[str]) -> None:
        for claim in self._of(("evaluate",)):
            if claim.predicate.model in models:
                self._pick([claim])
                self._follow(_names(claim) if claim.predicate.model in self._followed else ())

    def _approvals(self) -> None:
        """(4) Picks each approval of a picked statement, of something a picked statement is about,
        and each approval that gives rights.
        """
        picked = self._picked.values()
        approved = {subject.sha256 for claim in picked for subject in claim.subjects}
        approved |= self._followed | {claim.digest for claim in picked if claim.kind == "request"}
        for claim in list(self._of(("approval",))):
            gives_rights = claim.predicate.about in ("policy", "checkpoint_key")
            if gives_rights or any(subject.sha256 in approved for subject in claim.subjects):
                self._pick([claim])

    def _pick(self, claims: Iterable[Evidence]) -> None:
        self._picked.update({claim.index: claim for claim in claims})

    def _of(self, kinds: Sequence[str]) -> Iterator[Evidence]:
        entries = self._log.by_kind(kinds)
        return (self._claim(entry) for entry in entries if entry.index < self._size)

    def _claim(self, entry: Entry) -> Evidence:
        """The statement of an entry, not verified."""
        if entry.index not in self._read:
            statement, keyid = unverified(entry.envelope, where=f"entry {entry.index}")
            kind, subjects, predicate = parse_statement(statement, f"entry {entry.index}")
            digest = sha256_bytes(canonical.dumps(statement))
            self._read[entry.index] = Evidence(
                entry.index, kind, subjects, predicate, keyid, False, digest
            )
        return self._read[entry.index]

    def _is_version(self, claim: Evidence) -> bool:
        named = (claim.predicate.model, claim.predicate.version)
        return named == (self._model, self._version)


def _names(claim: Evidence) -> list[str]:
    """The digests that a stage made, read or decided on, and the records of the suite that a gate's
    request names; empty for other statements.
    """
    predicate = claim.predicate
    if not isinstance(predicate, Predicate):
        return []
    digests = [artifact.sha256 for artifact in (*claim.subjects, *predicate.inputs)]
    if isinstance(predicate, GateDecision):
        digests += predicate.decided_on.values()
        suite = predicate.parameters.get("suite")
        records = suite.get("records") if isinstance(suite, dict) else None
        digests += [records] if isinstance(records, str) else []
    return digests
