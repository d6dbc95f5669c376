"""A governor for one database: its log, the policies in force there, and this server's keys.

The log is in the registry's own database, so that an alias and its entry commit together. The first
entry names the project. Keys and state are this machine's (`governance.machine.machine`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from governance.attest.digests import sha256_bytes, tree_digest
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Artifact, Refusal, Run
from governance.attest.predicates import Call as LoggedCall
from governance.attest.requests import Action
from governance.base.errors import (
    ConfigError,
    ConflictError,
    InputError,
    StorageError,
    UnsignedError,
)
from governance.base.time import instant
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import (
    ELSEWHERE,
    Machine,
    check_head,
    checkpoint_keys,
    checkpoint_signer,
    database_log,
    follow_current_rules,
    heads,
    machine,
    signer,
)
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.models.files import refuse_configs
from governance.people.policies import NEXT, use_successor
from governance.policy.authority import KINDS, read_authority
from governance.registry.governed.governor import UNKNOWN, Governor, Shown, Snapshot
from governance.registry.governed.limit import ACCEPTED_PER_HOUR, SAID_PER_HOUR, Limit
from governance.registry.governed.rules import Call
from governance.registry.mlmodel import differences, sealed_folder
from governance.registry.rows import (
    NewVersion,
    alias_holder,
    make_version,
    move_alias,
    newest_version,
)
from governance.release.artifacts import registry_run
from governance.release.promotion import Promoter, check_right, to_retire
from governance.release.reconcile import governed_names, known_versions
from governance.release.shown import shown
from governance.server.artifacts import ArtifactReads, ArtifactRights

if TYPE_CHECKING:
    from governance.log.port import Also, Execute, Log
    from governance.log.sql import SqlLog

Method = TypeVar("Method", bound=Callable[..., Any])
MAX_REASON = 2000
ATTEMPTS = 8
"""How often a call is tried, if other calls change the registry at the same time."""
SNAPSHOT_KINDS = {*KINDS, "registration", "train", "evaluate", "promotion"}
"""Kinds of evidence that a `Snapshot` is made of."""


def database_of(store_uri: str) -> str:
    """The database behind a governed address: `governed+sqlite:////x.db` is `sqlite:////x.db`.
    Raises `ConfigError`.
    """
    if not store_uri.startswith(("governed+sqlite:////", "governed+postgresql://")):
        raise ConfigError(
            f"not a governed registry: {store_uri.partition(':')[0]!r} and more",
            expected="governed+sqlite:/// and an absolute path, or governed+postgresql://",
        )
    return store_uri.removeprefix("governed+")


def _retried(method: Method) -> Method:
    """Calls the method again where another call changed the registry at the same time."""

    @wraps(method)
    def call(*args: Any) -> Any:
        for _ in range(ATTEMPTS - 1):
            with suppress(ConflictError):
                return method(*args)
        return method(*args)

    return call  # type: ignore[return-value]


@dataclass
class GovernedLog:
    """`governance.registry.governed.governor.Surroundings`, with the log of one database."""

    log: SqlLog
    signer: Signer
    machine: Machine
    now: Callable[[], datetime]
    reading: ArtifactReads = field(init=False)
    _lock: Lock = field(default_factory=Lock)
    _snapshot: Snapshot | None = None
    _readers: ArtifactRights | None = None
    """Who may read which artifacts, as of the snapshot."""
    _size: int = 0
    """The size of the log that the snapshot is of."""

    def __post_init__(self) -> None:
        limit = Limit(self.now, SAID_PER_HOUR)
        asked = self.machine.requester
        self.reading = ArtifactReads(self.log, self.signer, asked, self.now, limit)

    def snapshot(self) -> Snapshot:
        """What the log says now: read again only after an entry that can change it."""
        size = self.log.size()
        with self._lock:
            snapshot = self._snapshot
            is_older = self._size > size or self.log.has_kind(SNAPSHOT_KINDS, self._size)
            if snapshot is None or is_older:
                snapshot = self._snapshot = self._read(size)
            self._size = size
            return snapshot

    def _read(self, size: int) -> Snapshot:
        if size == 0:
            raise _not_begun(self.log)
        state_now = state(self.log, size)
        runs = {
            registry_run(statement.predicate.run)
            for kind in ("registration", "train", "evaluate")
            for statement in state_now.evidence.all(kind)
        }
        registered = frozenset(state_now.timeline.registrations)
        holders = {key: held.version for key, held in state_now.timeline.holders.items()}
        names = governed_names(state_now)
        self._readers = ArtifactRights.of(state_now)
        return Snapshot(names, registered, frozenset(runs - {""}), holders)

    def shown(self, model: str) -> Mapping[str, Shown]:
        """What the pages show of a model's versions."""
        return shown(state(self.log), model, self.now())

    def digest_of(self, folder: str) -> str | None:
        """sha256 of a version's files, as this server has them. Raises `InputError` for files that
        no model may have.
        """
        path = self.machine.artifact_root / folder
        model = sealed_folder(path)
        if not model.is_dir():
            return None
        refuse_configs(model, folder)
        digest = tree_digest(model)
        if around := differences(path, digest):
            raise InputError(
                f"what stands around the model does not follow from it: {'; '.join(around[:5])}",
                where=folder,
                fix="register it by `countersign repro`",
            )
        return digest

    def caller(self) -> str:
        """The account behind the present call: as the server authenticated it, else the client's
        address.
        """
        from flask import g, has_request_context, request

        if not has_request_context():
            return account.get() or UNKNOWN
        return str(getattr(g, "mlflow_authenticated_user", None) or request.remote_addr or UNKNOWN)

    def unreadable(self, path: str, caller: str) -> tuple[str, str]:
        """The model that the caller may not read below this path, and why; empty where they may."""
        return self.reading.refusal(self._artifact_rights(), path, caller, purpose.get())

    def reads(self, path: str, caller: str) -> None:
        """Records that a caller is given artifacts below this path."""
        self.reading.record(self._artifact_rights(), path, caller, purpose.get())

    def _artifact_rights(self) -> ArtifactRights:
        self.snapshot()
        if self._readers is None:
            raise _not_begun(self.log)
        return self._readers

    def promote(self, call: Call, caller: str, keep: bool) -> None:
        """Taking an alias away retires the version that the open request names; without a request,
        the version that holds the alias.
        """
        promoter = Promoter(self.log, self.signer, move_alias, self.machine.requester, self.now)
        alias, version = call.alias or "", call.version
        action: Action | None = None
        if version is None:
            now = state(self.log)
            tenure = now.holder(call.model, alias)
            version = to_retire(now, call.model, alias) or (tenure.version if tenure else None)
            action = "retire"
        if version is None:
            raise InputError(f"by the log, no version of {call.model} holds {alias}")
        promoter.consume(call.model, version, alias, caller, action, keep=keep)

    def knows(self, model: str, version: str) -> bool:
        """The rows are read first: a row that is there has its entry already."""
        with self.log.reading() as execute:
            newest = newest_version(execute, model) if execute else 0
        is_made = version in map(str, range(1, newest + 1))
        return not is_made or (model, version) in known_versions(state(self.log))

    @_retried
    def corrected(self, call: Call, caller: str) -> bool:
        """Moves an alias to where the log has it, where the call asks for that and the registry
        differs.
        """
        now, model, alias = state(self.log), call.model, call.alias or ""
        holder = now.timeline.holders.get((model, alias))
        held_by = holder.version if holder else None
        with self.log.reading() as execute:
            held = alias_holder(execute, model, alias) if execute else None
        if held == held_by or call.version != held_by:
            return False

        def also(execute: Execute) -> None:
            move_alias(execute, model, alias, held, held_by)

        self._record(call, caller, held, also, now.size)
        return True

    def refused(self, operation: str, model: str, caller: str, reason: str) -> None:
        """Records a refused call."""
        reason, run = reason[:MAX_REASON], self.run()
        refusal = Refusal(operation=operation, model=model, caller=caller, reason=reason, run=run)
        evidence.record(self.log, self.signer, "refusal", [_about(operation, model)], refusal)

    @_retried
    def made(self, call: Call, new: NewVersion, caller: str) -> str:
        """Makes and records a version."""
        with self.log.reading() as execute:
            number = newest_version(execute, new.model) + 1 if execute else 1
        at = self.now()
        made = replace(call, version=str(number))
        self._record(made, caller, None, lambda execute: make_version(execute, new, number, at))
        return str(number)

    @_retried
    def moved(self, call: Call, caller: str) -> None:
        """Moves and records an alias. Where the version has the alias already, nothing is changed
        or recorded.
        """
        model, alias, version = call.model, call.alias or "", call.version
        with self.log.reading() as execute:
            held = alias_holder(execute, model, alias) if execute else None
        if held != version:

            def also(execute: Execute) -> None:
                move_alias(execute, model, alias, held, version)

            self._record(call, caller, held, also)

    def _record(
        self, call: Call, caller: str, held: str | None, also: Also, size: int | None = None
    ) -> None:
        """An accepted call, in one transaction with its rows. `held`: the version that held the
        alias before. `size`: of the log on which it was accepted; by default, any.
        """
        logged = LoggedCall(
            operation=call.operation,
            model=call.model,
            version=call.version,
            alias=call.alias,
            caller=caller,
            from_version=held,
            run=self.run(),
        )
        subjects = [_about(call.operation, call.model)]
        evidence.record(
            self.log, self.signer, "call", subjects, logged, expected_size=size, also=also
        )

    def run(self) -> Run:
        """A run of this server, which takes no time."""
        moment = instant(self.now())
        return Run(
            started=moment, finished=moment, seconds=0.0, requested_by=self.machine.requester
        )


def _about(operation: str, model: str) -> Artifact:
    return Artifact(
        role="call", name=operation, sha256=sha256_bytes(f"{operation} {model}".encode())
    )


@dataclass(frozen=True)
class CheckpointSigner:
    """Signs the log's checkpoints, with the key that the log names at that moment. See `Signer`.

    1. Owners may approve a successor while the server runs. It signs from the next entry on, if
       this machine has it. If not, nothing is appended, because the old key's checkpoint would not
       verify.
    2. Nothing is appended either where the entries are not those of the last checkpoint: a
       signature would confirm rewritten entries.
    3. It signs within the transaction of an append, so the log does not change meanwhile.
    """

    machine: Machine
    log: Log
    """The log that it signs, for reading."""

    @property
    def keyid(self) -> str:
        """See `Signer`."""
        return self._now().keyid

    @property
    def public_pem(self) -> str:
        """See `Signer`."""
        return self._now().public_pem

    def sign(self, payload: bytes) -> bytes:
        """See `Signer`. Raises `VerificationError` where the log's entries are not those of its
        last checkpoint.
        """
        check_head(self.log, self.machine)
        return self._now().sign(payload)

    def _now(self) -> Signer:
        """Raises `UnsignedError`."""
        since, public_pem = checkpoint_keys(self.log)[-1]
        if self.machine.environ.get(ELSEWHERE):
            signer = checkpoint_signer(self.machine)
            if signer.public_pem == public_pem:
                return signer
        if self._holds(NEXT, public_pem):
            use_successor(self.machine.keys)
        if self._holds(CHECKPOINT, public_pem):
            return stored_signer(self.machine.keys, CHECKPOINT)
        key = public_key(public_pem)
        raise UnsignedError(
            f"checkpoints are signed by key {key.keyid[:12]} since entry {since}, and the server"
            " does not hold it",
            expected=f"{key.fingerprint} as {NEXT}.pem in its folder of keys, or by {ELSEWHERE}",
            fix="nothing was appended; bring the key there, and the server uses it at once",
        )

    def _holds(self, name: str, public_pem: str) -> bool:
        keys = self.machine.keys
        is_there = (keys / f"{name}.pem").exists()
        return is_there and stored_signer(keys, name).public_pem == public_pem


account: ContextVar[str | None] = ContextVar("countersign_account", default=None)
"""The account of the present request, where no route of Flask's handles it (`app.Door`)."""


purpose: ContextVar[str] = ContextVar("countersign_purpose", default="")
"""What the present request says that it reads for (`http_client.PURPOSE_HEADER`)."""


@cache
def governor_of(store_uri: str) -> Governor:
    """The governor of a governed address, one per process. Raises `CountersignError`, so that no
    registry is opened.
    """
    return make_governor(database_of(store_uri), os.environ, lambda: datetime.now(UTC))


def make_governor(
    database: str, environ: Mapping[str, str], now: Callable[[], datetime]
) -> Governor:
    """A governor over the log in a database. Everything that it needs is tried once. Raises
    `CountersignError`.
    """
    log, machine_here = own_log(database, environ)
    if log.signer is not None:
        log.signer.public_pem  # noqa: B018 - raises where no key of this machine could sign
    check_head(log, machine_here)
    governed_log = GovernedLog(log, _known_signer(log, machine_here), machine_here, now)
    follow_current_rules(log, governed_log.signer, governed_log.run())
    governed_log.snapshot()
    return Governor(governed_log, Limit(now), Limit(now, ACCEPTED_PER_HOUR))


def own_log(database: str, environ: Mapping[str, str]) -> tuple[SqlLog, Machine]:
    """The log in a database, for appending with this server's checkpoint key; and this machine."""
    reader = begun_log(database)
    machine_here = replace(
        machine(reader.project, environ), log_uri=database, registry_uri=database
    )
    checkpoint_signer = CheckpointSigner(machine_here, reader)
    log = database_log(database, reader.project, checkpoint_signer, heads(machine_here))
    return log, machine_here


def begun_log(database: str) -> SqlLog:
    """The log in a database, for reading; its first entry names its project. Raises
    `StorageError`.
    """
    log = database_log(database, "unknown")
    if log.size() == 0:
        raise _not_begun(log)
    log.project = evidence.origin(log).project
    return log


def _not_begun(log: SqlLog) -> StorageError:
    fix = "begin one (`countersign init` or `make repro`), then start the server again"
    return StorageError("there is no log in this database", where=log.where, fix=fix)


def _known_signer(log: Log, place: Machine) -> Signer:
    """This server's signer. Raises `ConfigError` where nothing names its key, or where policy does
    not let it sign moves: what it accepts would count for nobody.
    """
    own_signer = signer(place)
    authority = read_authority(log)
    accepted = {*authority.keys.values(), *evidence.origin(log).development_keys}
    if own_signer.public_pem not in accepted:
        found = f"policy does not name the key of this server ({own_signer.keyid[:16]})"
        fix = "add a service with this key to policies/policy.yaml; it signs `promotion`"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)
    if own_signer.keyid in authority.keys:
        check_right(state(log), own_signer, "promotion")
    return own_signer
