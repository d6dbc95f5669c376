"""Evidence: signed statements about digests, written to the log and read back verified.

Writing: `record` builds an in-toto Statement v1, signs it and appends it. The same statement again
(same stage, inputs, outputs, parameters, policy, code, environment and signer) is the same entry.
Reading: `open_entry` verifies one entry; `governance.log.views` shows many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Generic

from pydantic import ValidationError
from typing_extensions import TypeVar

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.envelope import (
    Verified,
    payload_of,
    sign_payload,
    unverified,
    verify_envelope,
)
from governance.attest.keys import Signer, earlier_key
from governance.attest.predicates import (
    CANDIDATE,
    KINDS,
    PREDICATES,
    TYPE_PREFIX,
    Artifact,
    Logged,
    Origin,
    Read,
)
from governance.base.errors import VerificationError
from governance.base.model import Json, Model
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, signed_in_turn
from governance.log.port import CHANGED, Also, Entry, Filing, Log
from governance.log.rules import is_here, names_its_log, rule_versions

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_VARYING = ("run", "at", "log")
_VARYING_OF_PEOPLE = ("run",)
"""Predicate fields in which two equal statements may differ: when and how a stage ran, and the log,
which older statements do not name. So a second run with the same result is not recorded.

In a person's statement `at` counts: an approval, a rejection and a second approval are three
statements.
"""


PredicateT = TypeVar("PredicateT", bound=Model)
PredicateT_co = TypeVar("PredicateT_co", bound=Model, covariant=True, default=Any)


@dataclass(frozen=True)
class Evidence(Generic[PredicateT_co]):
    """One verified statement: `Evidence[Promotion]` where its kind is known."""

    index: int
    kind: str
    subjects: tuple[Artifact, ...]
    predicate: PredicateT_co
    """The typed model of `governance.attest.predicates`."""
    keyid: str
    development: bool
    """Signed by a key made without ceremony: good for `candidate` only."""
    digest: str
    """sha256 of the statement's bytes."""

    @property
    def right(self) -> str:
        """What policy must let a key sign, so that its statement counts: the kind, or `candidate`
        for a move of this alias (`governance.policy.policies.Policies.may_sign`).
        """
        alias = getattr(self.predicate, "alias", None)
        return CANDIDATE if (self.kind, alias) == ("promotion", CANDIDATE) else self.kind


@dataclass(frozen=True)
class KeyRing:
    """The keys whose signatures are verified. Policies say what each may sign
    (`Policies.may_sign`).
    """

    development: frozenset[str] = frozenset()
    """Public keys (PEM) made on the log's own machine, as its origin names them."""
    service: Mapping[str, str] = field(default_factory=dict)
    """Key id to public key (PEM) of the principals that policies name."""

    @cached_property
    def known(self) -> Mapping[str, str]:
        """Key id to PEM."""
        return {**{earlier_key(pem).keyid: pem for pem in self.development}, **self.service}

    def is_development(self, keyid: str) -> bool:
        """Whether the origin alone names this key. A key that policies name is no development
        key.
        """
        return keyid not in self.service


def open_entry(entry: Entry, ring: KeyRing, *, strict: bool = True) -> tuple[Evidence, Verified]:
    """The evidence of one entry, with its envelope's content. Raises `UnknownKeyError` where no
    known key signed. `strict`: `governance.log.rules.RuleVersions.strict_at` of this entry.
    """
    where = f"entry {entry.index}"
    if merkle.leaf_hash(entry.envelope) != entry.leaf_hash:
        raise VerificationError(CHANGED, where=where)
    verified = verify_envelope(entry.envelope, ring.known, where=where, strict=strict)
    kind, subjects, predicate = parse_statement(verified.statement, where)
    keyid = verified.keyid
    digest = sha256_bytes(verified.payload)
    evidence = Evidence(
        entry.index, kind, subjects, predicate, keyid, ring.is_development(keyid), digest
    )
    return evidence, verified


def build_statement(kind: str, subjects: Sequence[Artifact], predicate: Model) -> dict[str, Any]:
    """An in-toto Statement v1. A subject's role stands among its annotations."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": subject.name,
                "digest": {"sha256": subject.sha256},
                "annotations": {"role": subject.role},
            }
            for subject in subjects
        ],
        "predicateType": KINDS[kind].uri,
        "predicate": predicate.model_dump(),  # not mode="json", which would turn NaN into null
    }


def parse_statement(statement: dict[str, Any], where: str) -> tuple[str, tuple[Artifact, ...], Any]:
    """Kind, subjects and typed predicate of a statement. Raises `VerificationError`."""
    uri = statement.get("predicateType")
    if statement.get("_type") != STATEMENT_TYPE or set(statement) != {
        "_type",
        "subject",
        "predicateType",
        "predicate",
    }:
        raise VerificationError("not an in-toto Statement v1", where=where)
    if not isinstance(uri, str) or uri not in PREDICATES:
        raise VerificationError(
            f"unknown kind of evidence {str(uri)[:120]!r}",
            where=where,
            fix="use the version of Countersign that wrote it",
        )
    try:
        subjects = tuple(_subject(detail) for detail in statement["subject"])
        predicate = PREDICATES[uri].model_validate(statement["predicate"])
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        fields = (
            {".".join(map(str, detail["loc"])) for detail in error.errors()}
            if isinstance(error, ValidationError)
            else {"subject"}
        )
        raise VerificationError(
            f"does not follow the schema of {uri}: {', '.join(sorted(fields))[:200]}", where=where
        ) from None
    if not subjects:
        raise VerificationError("a statement about nothing", where=where)
    return uri.removeprefix(TYPE_PREFIX).removesuffix("/v1"), subjects, predicate


def record(
    log: Log,
    signer: Signer,
    kind: str,
    subjects: Sequence[Artifact],
    predicate: Model,
    *,
    expected_size: int | None = None,
    also: Also | None = None,
) -> Entry:
    """Builds, signs and appends a statement, which names this log. Where the log has the same
    statement, its entry is returned, unless it is to be stated anew (`is_stated_anew`).

    `expected_size` and `also`: see `governance.log.port.Log.append`.
    """
    if isinstance(predicate, Logged) and predicate.log is None and names_its_log(log):
        predicate = predicate.model_copy(update={"log": log.entry(0).leaf_hash.hex()})
    statement = build_statement(kind, subjects, predicate)
    identity = identity_of(statement, signer.keyid)
    scope = scope_of(kind, predicate, identity)
    again = False
    if also is None and expected_size is None:
        latest = log.latest(scope)
        if latest and latest.identity == identity:
            again = is_stated_anew(log, latest, predicate)
            if not again:
                return latest
    payload = canonical.dumps(statement)
    digests = found_by(kind, subjects, signer.keyid, payload)
    filing = Filing(identity, scope, kind, digests, again)
    envelope = sign_payload(payload, signer)
    return log.append(envelope, filing, expected_size=expected_size, also=also)


def is_stated_anew(log: Log, entry: Entry, predicate: Any) -> bool:
    """Whether a statement becomes an entry although `entry` has the same identity: a person
    authorized its run and nobody that of the entry, it is a read of another day, or the entry does
    not count here. An older program that still runs writes entries that do not name their log.
    """
    if not isinstance(predicate, Logged):
        return False
    where = f"entry {entry.index}"
    statement, _ = unverified(entry.envelope, where=where)
    _, _, logged_predicate = parse_statement(statement, where)
    gains = _authorization(predicate) is not None and _authorization(logged_predicate) is None
    is_later = isinstance(predicate, Read) and predicate.day != logged_predicate.day
    return gains or is_later or not _is_here(log, entry, logged_predicate)


def _is_here(log: Log, entry: Entry, predicate: Logged) -> bool:
    here = log.entry(0).leaf_hash.hex()
    if predicate.log == here:
        return True
    return is_here(predicate.log, here, rule_versions(log).at(entry.index))


def _authorization(predicate: Any) -> str | None:
    run = getattr(predicate, "run", None)
    return run.requested_by.authorization if run is not None else None


def identity_of(
    statement: dict[str, Any], keyid: str, dumps: Callable[[Json], bytes] = canonical.dumps
) -> str:
    """What makes two statements the same entry: the signer, and everything in the statement but
    when and how it ran.
    """
    varying = _VARYING_OF_PEOPLE if "principal" in statement["predicate"] else _VARYING
    predicate = {
        name: value for name, value in statement["predicate"].items() if name not in varying
    }
    return sha256_bytes(dumps([{**statement, "predicate": predicate}, keyid]))


def filed_under(envelope: bytes, where: str = "envelope") -> Filing:
    """The filing of an envelope. The signature is not verified here."""
    statement, keyid = unverified(envelope, where=where)
    kind, subjects, predicate = parse_statement(statement, where)
    identity = identity_of(statement, keyid, canonical.dumps_read)
    scope = scope_of(kind, predicate, identity)
    return Filing(
        identity, scope, kind, found_by(kind, subjects, keyid, payload_of(envelope, where=where))
    )


def found_by(
    kind: str, subjects: Sequence[Artifact], keyid: str, payload: bytes
) -> tuple[str, ...]:
    """The digests that an entry can be found by: its subjects. An authorization about the key that
    signed it is also found by its own digest, which runs name: a decision reads that one among any
    number by the same person.
    """
    digests = tuple(subject.sha256 for subject in subjects)
    names_itself = kind == "authorization" and keyid in digests
    return (*digests, sha256_bytes(payload)) if names_itself else digests


def scope_of(kind: str, predicate: Any, identity: str) -> str:
    """The scope within which an entry can be the latest. Decisions about one thing share a scope,
    because they may change and change back. Other evidence has a scope of its own.
    """
    pattern = KINDS[kind].scope
    return identity if pattern is None else pattern.format(predicate=predicate)


def origin(log: Log) -> Origin:
    """What entry 0 says: which keys to trust in the rest. That it is the right log is for the
    caller to establish, by a pinned origin.
    """
    return origin_in(log.entry(0).envelope)


@lru_cache(maxsize=8)
def origin_in(envelope: bytes) -> Origin:
    """The origin in an envelope. One append asks for it several times. Raises `VerificationError`
    where it has another statement.
    """
    statement, _ = unverified(envelope, where="entry 0")
    kind, _, predicate = parse_statement(statement, "entry 0")
    if kind != "origin" or not isinstance(predicate, Origin):
        raise VerificationError("the log does not begin with an origin", where="entry 0")
    return predicate


def key_ring(log: Log, service: Mapping[str, str]) -> KeyRing:
    """The development keys this log's origin names, and the keys policies name
    (`Policies.keys`).
    """
    return KeyRing(frozenset(origin(log).development_keys), service)


def policy_in_force(log: Log) -> str:
    """Digest of `policies/` as last recorded."""
    entry = log.latest("policy") or log.entry(0)
    statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
    _, subjects, _ = parse_statement(statement, f"entry {entry.index}")
    return subjects[0].sha256


def check_head(
    log: Log, project: str, checkpoint_keys: Sequence[tuple[int, str]] = ()
) -> Checkpoint:
    """The cheap checks on opening a log: it has an origin of this project, and a signed checkpoint
    over exactly its entries.

    `checkpoint_keys`: from which entry on which public key (PEM) signs; the origin's where none is
    given.
    """
    first = origin(log)
    if first.project != project:
        raise VerificationError(
            f"this is the log of project {first.project!r}", expected=repr(project), where="entry 0"
        )
    size, note = log.head()
    checkpoint = signed_in_turn(
        note, checkpoint_keys or [(0, first.checkpoint_key)], "the log's checkpoint"
    )
    if checkpoint.origin != origin_of(project, merkle.leaf_hash(log.entry(0).envelope)):
        raise VerificationError("the checkpoint is of another log", where="the log's checkpoint")
    if checkpoint.size != size:
        raise VerificationError(
            f"the log has {size} entries", expected=f"{checkpoint.size}, as its checkpoint says"
        )
    last = log.entry(size - 1)
    proof = log.inclusion_proof(size - 1, size)
    merkle.verify_inclusion(merkle.leaf_hash(last.envelope), size - 1, size, proof, checkpoint.root)
    return checkpoint


def _subject(descriptor: dict[str, Any]) -> Artifact:
    if set(descriptor) != {"name", "digest", "annotations"} or set(descriptor["digest"]) != {
        "sha256"
    }:
        raise KeyError("subject")
    return Artifact(
        role=descriptor["annotations"]["role"],
        name=descriptor["name"],
        sha256=descriptor["digest"]["sha256"],
    )
