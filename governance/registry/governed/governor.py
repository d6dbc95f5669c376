"""The rules with their surroundings: which names are governed now, who promotes, what is recorded.

1. Names are read from the log at every call that could matter; what cannot be read refuses
   everything.
2. A refusal is recorded, with caller and reason, and raised. That it cannot be recorded makes it no
   less a refusal. Of many like it within an hour, the later ones are counted (`limit`).
3. A governed alias is set, moved and taken away by `Surroundings.promote` alone: it decides,
   records the decision either way, and commits alias and entry in one transaction.
4. What rules let through is recorded too, `candidate` and a new version with their entry in one
   transaction; of many such calls within an hour, the later ones are refused: each is an entry, and
   everybody reads them all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from governance.base.errors import CountersignError, InputError, RefusedError, StorageError
from governance.registry.governed.limit import Limit, is_told
from governance.registry.governed.names import LONGEST, TRIAL_MODEL, Names
from governance.registry.governed.rules import Call, Judgement, judge
from governance.registry.rows import NewVersion

UNKNOWN = "unknown"
log = logging.getLogger("countersign.registry")

_permitted: ContextVar[frozenset[str]] = ContextVar("countersign_permitted", default=frozenset())
"""What this thread may write past the guard: set by `permitting` only."""


class Surroundings(Protocol):
    """What the governor asks, and where it records; `governance.server.context` has it.

    Every method raises `CountersignError` where it cannot answer.
    """

    def names(self) -> Names:
        """The governed names now."""

    def is_registered(self, model: str, version: str) -> bool:
        """Whether the log has the registration of a model's version."""

    def protected_runs(self) -> frozenset[str]:
        """The runs that evidence of governed versions names."""

    def shown(self, model: str) -> Mapping[str, Shown]:
        """Version to what the registry's pages show of it."""

    def caller(self) -> str:
        """The account behind the present call."""

    def promote(self, model: str, version: str | None, alias: str, caller: str, keep: bool) -> None:
        """Gives the alias to the version (None: to nobody), by an open signed request that the
        decision allows.

        Raises `RefusedError` with the findings, which are recorded if they are to be kept,
        `InputError` where there is nothing to decide on, or `ConflictError` where somebody else was
        first.
        """

    def refused(self, operation: str, model: str, caller: str, reason: str) -> None:
        """Records a refusal; the same said again is one entry."""

    def made(self, operation: str, new: NewVersion, caller: str) -> str:
        """Makes a version, and records that, in one transaction; its number."""

    def moved(
        self, operation: str, model: str, version: str | None, alias: str, caller: str
    ) -> None:
        """Gives an alias, moves it or takes it away (None), and records that, in one
        transaction.
        """


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
        names = self.names()
        registered = (
            call.version is not None
            and call.alias is not None
            and names.is_governed(call.model)
            and self.surroundings.is_registered(call.model, call.version)
        )
        judgement = judge(call, names, registered=registered)
        if judgement.verdict == "refused":
            raise self.refuse(call.operation, call.model, judgement.reason, judgement.next)
        return judgement

    def promote(self, call: Call) -> None:
        """Leaves a governed alias to promotion. What it raises was recorded there, or is recorded
        here.
        """
        operation, model = call.operation, call.model
        if model == TRIAL_MODEL:
            raise self.refuse(operation, model, "this model is the server's trial of itself", "")
        caller = self.surroundings.caller()
        keep = self.limit.has_room((caller, operation, model))
        try:
            self.surroundings.promote(model, call.version, call.alias or "", caller, keep)
        except InputError as error:
            raise self.refuse(operation, model, error.found, error.fix) from error
        except RefusedError as error:
            if not self._is_beyond(operation, model, caller):
                log.warning("refused: %s by %s: %s", _move(call), caller, _line(error.found))
            raise
        log.info("accepted: %s by %s", _move(call), caller)

    def move(self, call: Call) -> None:
        """(4) An alias that no decision is wanted for, of a governed model."""
        caller, alias = self._admitted(call), call.alias or ""
        self.surroundings.moved(call.operation, call.model, call.version, alias, caller)
        log.info("accepted: %s by %s", _move(call), caller)

    def make(self, call: Call, new: NewVersion) -> str:
        """(4) A version of a governed model; its number."""
        caller = self._admitted(call)
        version = self.surroundings.made(call.operation, new, caller)
        log.info("accepted: version %s of %s by %s", version, call.model, caller)
        return version

    def _admitted(self, call: Call) -> str:
        """Counts a call that is let through, and says whose it is. Raises `RefusedError` beyond the
        limit.
        """
        caller = self.surroundings.caller()
        if self.accepted.count((caller, call.operation, call.model)):
            reason = (
                f"{caller} made {self.accepted.per_hour} such calls within the hour, and each is an"
                " entry of the log"
            )
            fix = "wait, or register what is meant to be released only"
            raise self.refuse(call.operation, call.model, reason, fix)
        return caller

    def refuse(self, operation: str, model: str, reason: str, next: str) -> RefusedError:
        """Records a refusal; the error to raise."""
        caller = self.surroundings.caller()
        model = model[:LONGEST].replace("\0", "\ufffd")  # no database keeps a NUL in text
        if not self._is_beyond(operation, model, caller):
            self._record(operation, model, caller, reason)
        return RefusedError(reason, where=f"{operation} {model!r}", fix=next)

    def is_governed(self, model: str) -> bool:
        """Whether the rules hold for this model. Raises `StorageError` where that cannot be
        known.
        """
        return self.names().is_governed(model)

    def names(self) -> Names:
        """The governed names now. Raises `StorageError` where they cannot be known: then every call
        is refused.
        """
        try:
            return self.surroundings.names()
        except CountersignError as error:
            raise StorageError(
                f"the governed registry is not available: {error.found}",
                where=error.where,
                fix=error.fix or "ask who runs the server",
            ) from error

    def _is_beyond(self, operation: str, model: str, caller: str) -> bool:
        """Counts a refusal: whether it is one of those that are told together, which is done
        here.
        """
        # other names are as many as a client likes
        governed = model if self.is_governed(model) else ""
        beyond = self.limit.count((caller, operation, governed))
        if is_told(beyond):
            reason = (
                f"{beyond} more within the hour, beyond the {self.limit.per_hour} that are recorded"
                " one by one"
            )
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
    """Writes of these models' aliases, versions and tags pass the guard meanwhile: the rules have
    been asked.
    """
    token = _permitted.set(_permitted.get() | set(models))
    try:
        yield
    finally:
        _permitted.reset(token)


def is_permitted(model: str) -> bool:
    """Whether a write of this model's rows was judged before."""
    return model in _permitted.get()


def _move(call: Call) -> str:
    return f"{call.alias} of {call.model} to {call.version or 'nobody'}"


def _line(text: str) -> str:
    """A text in one line, for the server's output: nobody writes a line of it by what they are
    refused for.
    """
    return " | ".join(part.strip() for part in text.splitlines() if part.strip())[:1000]
