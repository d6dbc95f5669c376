"""The rules with their surroundings: which names are governed now, who promotes, what is recorded.

1. Names are read from the log at every call that could matter; what cannot be read refuses
   everything.
2. A refusal is recorded, with caller and reason, and raised. That it cannot be recorded makes it no
   less a refusal. Of many like it within an hour, the later ones are counted (`limit`).
3. A governed alias is set, moved and taken away by `Promoter.consume` alone: it decides, records
   the decision either way, and commits alias and entry in one transaction.
4. What rules let through is recorded too, `candidate` and a new version with their entry in one
   transaction; of many such calls within an hour, the later ones are refused: each is an entry, and
   everybody reads them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from governance.base.errors import CountersignError, InputError, RefusedError, StorageError
from governance.registry.governed.limit import Limit, is_told
from governance.registry.governed.names import LONGEST, TRIAL_MODEL, Names
from governance.registry.governed.rules import Call, Judgement, judge
from governance.registry.versions import NewVersion

UNKNOWN = "unknown"
log = logging.getLogger("countersign.registry")

_permitted: ContextVar[frozenset[str]] = ContextVar("countersign_permitted", default=frozenset())
"""What this thread may write past the guard: set by `permitting` only."""


class Promoter(Protocol):
    """Who decides about governed aliases; `governance.release.promoter` is one."""

    def consume(self, model: str, version: str | None, alias: str, caller: str, keep: bool) -> None:
        """Gives the alias to the version (None: to nobody), by an open signed request that the
        decision allows.

        Raises `RefusedError` with the findings, which are recorded if they are to be kept,
        `InputError` where there is nothing to decide on, or `ConflictError` where somebody else was
        first.
        """


class Recorder(Protocol):
    """Where calls are recorded."""

    def refused(self, operation: str, model: str, caller: str, reason: str) -> None:
        """Records one; the same said again is one entry."""

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

    names: Callable[[], Names]
    """The governed names now. Raises `CountersignError` where they cannot be known."""
    is_registered: Callable[[str, str], bool]
    """Whether the log has the registration of a model's version."""
    promoter: Promoter
    recorder: Recorder
    caller: Callable[[], str]
    """The account behind the present call."""
    limit: Limit
    """Of refusals that are recorded one by one."""
    accepted: Limit
    """Of calls that are let through and recorded."""
    protected_runs: Callable[[], frozenset[str]] = frozenset
    """The runs that evidence of governed versions names."""
    shown: Callable[[str], Mapping[str, Shown]] = lambda model: {}
    """Version to what the registry's pages show of it."""

    def enforce(self, call: Call) -> Judgement:
        """Raises `RefusedError` where the call is refused; "allowed" or "promotion" otherwise."""
        names = self._names()
        names_a_version = (
            call.version is not None and call.alias is not None and names.is_governed(call.model)
        )
        registered = names_a_version and self.is_registered(call.model, str(call.version))
        judgement = judge(call, names, registered=registered)
        if judgement.verdict == "refused":
            raise self.refuse(call.operation, call.model, judgement.reason, judgement.next)
        return judgement

    def promote(self, call: Call) -> None:
        """Leaves a governed alias to promotion. What it raises was recorded there, or is recorded
        here.
        """
        if call.model == TRIAL_MODEL:
            raise self.refuse(
                call.operation, call.model, "this model is the server's trial of itself", ""
            )
        caller, to = self.caller(), call.version or "nobody"
        keep = self.limit.has_room((caller, call.operation, call.model))
        try:
            self.promoter.consume(call.model, call.version, call.alias or "", caller, keep)
        except InputError as error:
            raise self.refuse(call.operation, call.model, error.found, error.fix) from error
        except RefusedError as error:
            if not self._is_beyond(call.operation, call.model, caller):
                log.warning(
                    "refused: %s of %s to %s by %s: %s",
                    call.alias,
                    call.model,
                    to,
                    caller,
                    _line(error.found),
                )
            raise
        log.info("accepted: %s of %s to %s by %s", call.alias, call.model, to, caller)

    def move(self, call: Call) -> None:
        """(4) An alias that no decision is wanted for, of a governed model."""
        caller, to = self._admitted(call), call.version or "nobody"
        self.recorder.moved(call.operation, call.model, call.version, call.alias or "", caller)
        log.info("accepted: %s of %s to %s by %s", call.alias, call.model, to, caller)

    def make(self, call: Call, new: NewVersion) -> str:
        """(4) A version of a governed model; its number."""
        caller = self._admitted(call)
        version = self.recorder.made(call.operation, new, caller)
        log.info("accepted: version %s of %s by %s", version, call.model, caller)
        return version

    def _admitted(self, call: Call) -> str:
        """Counts a call that is let through, and says whose it is. Raises `RefusedError` beyond the
        limit.
        """
        caller = self.caller()
        if self.accepted.count((caller, call.operation, call.model)):
            many = (
                f"{caller} made {self.accepted.per_hour} such calls within the hour, and each is an"
                " entry of the log"
            )
            raise self.refuse(
                call.operation,
                call.model,
                many,
                "wait, or register what is meant to be released only",
            )
        return caller

    def refuse(self, operation: str, model: str, reason: str, next: str) -> RefusedError:
        """Records a refusal; the error to raise."""
        caller, model = (
            self.caller(),
            model[:LONGEST].replace("\0", "\ufffd"),
        )  # no database keeps a NUL in text
        if not self._is_beyond(operation, model, caller):
            self._record(operation, model, caller, reason)
        return RefusedError(reason, where=f"{operation} {model!r}", fix=next)

    def is_governed(self, model: str) -> bool:
        """Whether the rules hold for this model. Raises `StorageError` where that cannot be
        known.
        """
        return self._names().is_governed(model)

    def _names(self) -> Names:
        try:
            return self.names()
        except CountersignError as error:
            raise unavailable(error) from error

    def _is_beyond(self, operation: str, model: str, caller: str) -> bool:
        """Counts a refusal: whether it is one of those that are told together, which is done
        here.
        """
        governed = (
            model if self._names().is_governed(model) else ""
        )  # other names are as many as a client likes
        beyond = self.limit.count((caller, operation, governed))
        if is_told(beyond):
            many = (
                f"{beyond} more within the hour, beyond the {self.limit.per_hour} that are recorded"
                " one by one"
            )
            self._record(operation, governed, caller, many)
        return beyond > 0

    def _record(self, operation: str, model: str, caller: str, reason: str) -> None:
        log.warning("refused: %s %r by %s: %s", operation, model, caller, _line(reason))
        try:
            self.recorder.refused(operation, model, caller, reason)
        except CountersignError as error:
            log.error("the refusal could not be recorded: %s", error.found)


def unavailable(error: BaseException) -> StorageError:
    """The error of a registry whose policy or log cannot be read: every call is refused."""
    reason = error.found if isinstance(error, CountersignError) else type(error).__name__
    return StorageError(
        f"the governed registry is not available: {reason}",
        where=getattr(error, "where", ""),
        fix=getattr(error, "fix", "") or "ask who runs the server",
    )


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


def _line(text: str) -> str:
    """A text in one line, for the server's output: nobody writes a line of it by what they are
    refused for.
    """
    return " | ".join(part.strip() for part in text.splitlines() if part.strip())[:1000]
