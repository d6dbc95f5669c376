"""A log at one size: everything that a decision may read.

`LogHistory` gives the states of one log at its earlier sizes. It reads and verifies their shared
entries once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from governance.attest.predicates import Promotion, Registration
from governance.base.errors import InputError, did_you_mean
from governance.base.time import instant_of
from governance.history.timeline import Timeline
from governance.log.evidence import Evidence, KeyRing, origin
from governance.log.port import Entry, Log
from governance.log.views import EvidenceView, LogSource
from governance.policy.authority import Authority, authority_entries, authority_of, ring_of

SHOWN = 10
"""Versions that an error names."""


@dataclass(frozen=True)
class LogState:
    """The first `size` entries of a log."""

    log: Log
    size: int
    authority: Authority
    evidence: EvidenceView
    earlier: LogHistory = field(repr=False)

    @cached_property
    def timeline(self) -> Timeline:
        """The history that these entries give."""
        return Timeline(self.evidence, self.authority)

    @property
    def view(self) -> EvidenceView:
        """The statements whose signers had the right to sign them at their position."""
        return self.timeline.view

    def before(self, index: int) -> LogState:
        """The log as it stood before an entry."""
        return self.earlier.state(index)

    def cut(self, size: int) -> LogState:
        """The first `size` entries, as this state's own reader shows them."""
        return replace(
            self,
            size=size,
            authority=self.earlier.authority(size),
            evidence=self.evidence.before(size),
        )

    def as_of(self, at: datetime) -> LogState:
        """What was known at a time.

        It ends before the first decision that is later. Of the entries before that, it has the
        statements whose own date is not later. Anybody enrolled may write a statement dated in the
        future; it hides no other.
        """
        later = (
            decision for decision in self.decisions() if instant_of(decision.predicate.at) > at
        )
        end = next((decision.index for decision in later), self.size)
        cut = self.cut(end)
        return replace(cut, evidence=cut.evidence.made_until(at))

    def registration(self, model: str, version: str) -> Evidence[Registration]:
        """The last registration of a version. Raises `InputError` where there is none."""
        registration = self.timeline.registrations.get((model, version))
        if registration is None:
            raise no_version(self, model, version)
        return registration

    def must_know(self, model: str) -> None:
        """Raises `InputError` if the log has no version of the model."""
        if model not in self.timeline.models:
            raise no_version(self, model)

    def holder(self, model: str, alias: str) -> Promotion | None:
        """The move that gave an alias to its holder; None where no version holds it."""
        held = self.timeline.holders.get((model, alias))
        return held.given.predicate if held else None

    def decisions(self) -> list[Evidence[Promotion]]:
        """The decisions on governed aliases, refusals included."""
        return self.timeline.decisions

    def moves(self, model: str) -> Iterator[Evidence[Promotion]]:
        """Every allowed move of an alias of the model, in log order."""
        return (move for move in self.timeline.moves if move.predicate.model == model)


class LogHistory:
    """The states of a log at every size up to one."""

    def __init__(self, log: Log, size: int, verified: dict[int, Evidence] | None = None) -> None:
        """`verified`: the statements of entries that were verified already."""
        self._log, self._size, self._verified = log, size, verified
        self._authorities: dict[int, Authority] = {}
        self._views: dict[frozenset[str], EvidenceView] = {}

    def state(self, size: int) -> LogState:
        """The log at a size up to this history's own."""
        authority = self.authority(size)
        return LogState(self._log, size, authority, self._view(authority).before(size), self)

    def authority(self, size: int) -> Authority:
        """The rights at that size. They are read again only after an entry that changes rights."""
        count = bisect_left(self._authority_entries, size, key=lambda entry: entry.index)
        if count not in self._authorities:
            self._authorities[count] = authority_of(self._authority_entries[:count])
        return self._authorities[count]

    @cached_property
    def _authority_entries(self) -> list[Entry]:
        return list(authority_entries(self._log, self._size))

    def _view(self, authority: Authority) -> EvidenceView:
        """The evidence of the log that the keys of this authority verify."""
        keys = frozenset(authority.keys)
        if keys not in self._views:
            ring = ring_of(authority, origin(self._log).development_keys)
            self._views[keys] = EvidenceView(self._source.under(ring), size=self._size)
        return self._views[keys]

    @cached_property
    def _source(self) -> LogSource:
        return LogSource(self._log, KeyRing(), self._verified)


def state(log: Log, until: int | None = None) -> LogState:
    """The log at its present size, or as it was before entry `until`."""
    size = log.size() if until is None else until
    return LogHistory(log, size).state(size)


def no_version(now: LogState, model: str, version: str = "") -> InputError:
    """The error for a version or model that the log does not have. It names the versions it has."""
    registrations = now.timeline.registrations
    names = [f"{name}/{number}" for name, number in registrations]
    what = f"the log has no version {version} of {model}"
    return InputError(
        what if version else f"the log has no version of {model}",
        expected=(
            f"one of: {', '.join(names[-SHOWN:])}"
            if names
            else "a registered version; there is none yet"
        ),
        fix=did_you_mean(model, {name for name, _ in registrations} - {model})
        or "countersign repro registers one",
    )
