"""The rules with their surroundings: which names are governed now, who promotes, what is recorded.

1. Every judged call reads the names from the log. If they cannot be read, the call is refused.
2. A refusal is recorded, with caller and reason, and raised. It is raised also if it cannot be
   recorded. After many equal ones within an hour, further ones are only counted (`limit`).
3. Only `Surroundings.promote` sets, moves and takes away a governed alias. It decides, records the
   decision either way, and commits alias and entry in one transaction. A row that differs from the
   log needs no decision to become what the log says (`Surroundings.corrected`): it may be from
   before the model was governed.
4. A new version and a move of `candidate` are recorded with their row in one transaction. After
   many such calls within an hour, further ones are refused, because each is an entry that every
   reader of the log reads.
5. Artifacts are given to whom policy permits to read them, and the read is recorded before. What
   cannot be recorded is not given.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from governance.attest.predicates import CANDIDATE, REFUSED_READ
from governance.base.errors import CountersignError, InputError, RefusedError, StorageError
from governance.registry.governed.limit import Limit, is_told
from governance.registry.governed.names import LONGEST, TRIAL_MODEL, Names
from governance.registry.governed.rules import Call, Judgement, judge
from governance.registry.rows import NewVersion

UNKNOWN = "unknown"
log = logging.getLogger("countersign.registry")

_permitted: ContextVar[frozenset[str]] = ContextVar("countersign_permitted", default=frozenset())
"""What this thread may write past the guard: set by `permitting` only."""
_own_tags: ContextVar[bool] = ContextVar("countersign_own_tags", default=False)
"""Whether tags of the server's own may be written: set by `writing_own_tags` only."""


class Surroundings(Protocol):
    """What the governor asks, and where it records; `governance.server.context` has it.

    Every method raises `CountersignError` where it cannot answer.
    """

    def snapshot(self) -> Snapshot:
        """What the log says now."""

    def shown(self, model: str) -> Mapping[str, Shown]:
        """Version to what the registry's pages show of it."""

    def digest_of(self, folder: str) -> str | None:
        """sha256 of the manifest of a folder below the artifact root; None where it is not there.
        Raises `InputError` where it cannot be a model's.
        """

    def caller(self) -> str:
        """The account behind the present call."""

    def knows(self, model: str, version: str) -> bool:
        """Whether the log has this version: registered, or made by a call that was let through. One
        that is not in the registry yet counts as known, because it may be made at this moment.
        """

    def corrected(self, call: Call, caller: str) -> bool:
        """Moves an alias to where the log has it, where the registry differs and the call asks for
        that; records it. Whether it did.
        """

    def promote(self, call: Call, caller: str, keep: bool) -> None:
        """Gives the alias to the version, or takes it away, by an open signed request that the
        decision allows.

        Raises `RefusedError` with the findings, which are recorded if `keep`, `InputError` where
        there is nothing to decide on, or `ConflictError` where another call was first.
        """

    def unreadable(self, path: str, caller: str) -> tuple[str, str]:
        """The model that the caller may not read below this path, as far as it has a name, and why;
        both empty where they may.
        """

    def reads(self, path: str, caller: str) -> None:
        """Records that a caller is given artifacts below this path."""

    def refused(self, operation: str, model: str, caller: str, reason: str) -> None:
        """Records a refusal. Equal refusals are one entry."""

    def made(self, call: Call, new: NewVersion, caller: str) -> str:
        """Makes a version and records that, in one transaction. Returns its number."""

    def moved(self, call: Call, caller: str) -> None:
        """Gives an alias, moves it or takes it away, and records that, in one transaction."""


@dataclass(frozen=True)
class Snapshot:
    """What the log says at one moment."""

    names: Names
    registered: frozenset[tuple[str, str]]
    """Model and version of each registration."""
    runs: frozenset[str]
    """The registry's runs that evidence names."""
    holders: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Model and governed alias to the version that holds it."""

    def governs(self, model: str, alias: str) -> bool:
        """Whether only the log says which version has this alias."""
        return self.names.is_governed(model) and alias != CANDIDATE


@dataclass(frozen=True)
class Shown:
    """What the registry's pages show of a version: for people, never read back."""

    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Governor:
    """Asked before every call that could change what serves users."""

    surroundings: Surroundings
    limit: Limit
    """Of refusals that are recorded one by one."""
    accepted: Limit
    """Of calls that are let through and recorded."""

    def enforce(self, call: Call) -> Judgement:
        """Raises `RefusedError` where the call is refused; "allowed" or "promotion" otherwise."""
        snapshot = self.snapshot()
        registered = (call.model, call.version) in snapshot.registered
        deletes = call.operation == "delete_model_version" and call.version is not None
        known = not deletes or self.surroundings.knows(call.model, call.version or "")
        judgement = judge(call, snapshot.names, registered=registered, known=known)
        if judgement.verdict == "refused":
            raise self.refuse(call.operation, call.model, judgement.reason, judgement.next)
        return judgement

    def promote(self, call: Call) -> None:
        """(3) Records what promotion refuses without recording it."""
        operation, model = call.operation, call.model
        if model == TRIAL_MODEL:
            raise self.refuse(operation, model, "the server tests itself with this model", "")
        caller = self.surroundings.caller()
        if self.surroundings.corrected(call, caller):
            log.info("corrected: %s by %s", _move(call), caller)
            return
        keep = self.limit.has_room((caller, operation, model))
        try:
            self.surroundings.promote(call, caller, keep)
        except InputError as error:
            raise self.refuse(operation, model, error.found, error.fix) from error
        except RefusedError as error:
            if not self._is_beyond(operation, model, caller):
                log.warning("refused: %s by %s: %s", _move(call), caller, _line(error.found))
            raise
        log.info("accepted: %s by %s", _move(call), caller)

    def move(self, call: Call) -> None:
        """(4) An alias of a governed model that needs no decision."""
        caller = self._admitted(call)
        self.surroundings.moved(call, caller)
        log.info("accepted: %s by %s", _move(call), caller)

    def make(self, call: Call, new: NewVersion) -> str:
        """(4) A version of a governed model; its number."""
        caller = self._admitted(call)
        version = self.surroundings.made(call, new, caller)
        log.info("accepted: version %s of %s by %s", version, call.model, caller)
        return version

    def read(self, path: str, *, lists: bool = False) -> None:
        """(5) Artifacts below this path. `lists`: names only are given. Raises `RefusedError`, or
        what the log raises.
        """
        caller = self.surroundings.caller()
        model, reason = self.surroundings.unreadable(path, caller)
        if reason:
            raise self.refuse(REFUSED_READ, model, reason, "policies/policy.yaml: readers")
        if not lists:
            self.surroundings.reads(path, caller)

    def _admitted(self, call: Call) -> str:
        """Counts a call that is let through. Returns its caller. Raises `RefusedError` beyond the
        limit.
        """
        caller = self.surroundings.caller()
        if self.accepted.count((caller, call.operation, call.model)):
            reason = f"{caller} made {self.accepted.per_hour} such calls within the hour"
            fix = "wait, or register only what may be released: each call is an entry of the log"
            raise self.refuse(call.operation, call.model, reason, fix)
        return caller

    def refuse(self, operation: str, model: str, reason: str, next: str) -> RefusedError:
        """Records a refusal. Returns the error to raise."""
        caller = self.surroundings.caller()
        model = model[:LONGEST].replace("\0", "\ufffd")  # no database keeps a NUL in text
        if not self._is_beyond(operation, model, caller):
            self._record(operation, model, caller, reason)
        return RefusedError(reason, where=f"{operation} {model!r}", fix=next)

    def is_governed(self, model: str) -> bool:
        """Whether the rules hold for this model. Raises `StorageError` where that cannot be
        known.
        """
        return self.snapshot().names.is_governed(model)

    def snapshot(self) -> Snapshot:
        """(1) Raises `StorageError` where the log cannot be read."""
        try:
            return self.surroundings.snapshot()
        except CountersignError as error:
            found = f"the governed registry is not available: {error.found}"
            fix = error.fix or "ask who runs the server"
            raise StorageError(found, where=error.where, fix=fix) from error

    def _is_beyond(self, operation: str, model: str, caller: str) -> bool:
        """Counts a refusal. Whether it is beyond those that are recorded one by one; their number
        is recorded here.
        """
        # a client may use any number of names that are not governed
        governed = model if self.is_governed(model) else ""
        beyond = self.limit.count((caller, operation, governed))
        if is_told(beyond):
            reason = f"{beyond} more within the hour, after {self.limit.per_hour} recorded ones"
            self._record(operation, governed, caller, reason)
        return beyond > 0

    def _record(self, operation: str, model: str, caller: str, reason: str) -> None:
        log.warning("refused: %s %r by %s: %s", operation, model, caller, _line(reason))
        try:
            self.surroundings.refused(operation, model, caller, reason)
        except CountersignError as error:
            log.error("the refusal could not be recorded: %s", error.found)


@contextmanager
def permitting(*models: str) -> Iterator[None]:
    """The guard lets writes of these models pass meanwhile: the rules have judged them."""
    token = _permitted.set(_permitted.get() | set(models))
    try:
        yield
    finally:
        _permitted.reset(token)


@contextmanager
def writing_own_tags() -> Iterator[None]:
    """The guard lets tags with the server's own prefixes pass meanwhile."""
    token = _own_tags.set(True)
    try:
        yield
    finally:
        _own_tags.reset(token)


def writes_own_tags() -> bool:
    """Whether the server itself writes now."""
    return _own_tags.get()


def is_permitted(model: str) -> bool:
    """Whether a write of this model's rows was judged before."""
    return model in _permitted.get()


def _move(call: Call) -> str:
    return f"{call.alias} of {call.model} to {call.version or 'no version'}"


def _line(text: str) -> str:
    """A text in one line, for the server's output: a caller cannot write a line of their own."""
    return " | ".join(part.strip() for part in text.splitlines() if part.strip())[:1000]
