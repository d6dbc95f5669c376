"""A log at one size: everything a decision may look at.

`LogHistory` has the states of one log up to one of its entries, and reads and verifies what they
share once.
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
from governance.log.evidence import Evidence, EvidenceView, KeyRing, LogSource, origin
from governance.log.port import Entry, Log
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
        """What these entries add up to."""
        return Timeline(self.evidence, self.authority)

    @property
    def view(self) -> EvidenceView:
        """The evidence whose signers might sign it, by the authority at each position."""
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
        """What was known at a time: the entries before the first decision later than that, and of
        these the statements made until then by their own clocks.

        A statement dated in the future, which anybody enrolled may write, hides no other.
        """
        later = (item for item in self.decisions() if instant_of(item.predicate.at) > at)
        end = next((item.index for item in later), self.size)
        known = self.cut(end)
        return replace(known, evidence=known.evidence.made_until(at))

    def registration(self, model: str, version: str) -> Evidence[Registration]:
        """The version's last registration. Raises `InputError`."""
        found = self.timeline.registrations.get((model, version))
        if found is None:
            raise no_version(self, model, version)
        return found

    def must_know(self, model: str) -> None:
        """Raises `InputError` for a model of which the log has no version."""
        if model not in self.timeline.models:
            raise no_version(self, model)

    def holder(self, model: str, alias: str) -> Promotion | None:
        """The move by which a version holds an alias; None where nobody does."""
        held = self.timeline.holders.get((model, alias))
        return held.given.predicate if held else None

    def decisions(self) -> list[Evidence[Promotion]]:
        """What was decided about governed aliases."""
        return self.timeline.decisions

    def moves(self, model: str) -> Iterator[Evidence[Promotion]]:
        """Every move of an alias of the model that was allowed, in order."""
        return (item for item in self.timeline.moves if item.predicate.model == model)


class LogHistory:
    """The states of a log up to one of its entries."""

    def __init__(self, log: Log, size: int) -> None:
        self._log, self._size = log, size
        self._authorities: dict[int, Authority] = {}
        self._views: dict[frozenset[str], EvidenceView] = {}

    def state(self, size: int) -> LogState:
        """The log as it stood at a size that is not beyond this history's own."""
        authority = self.authority(size)
        return LogState(self._log, size, authority, self._view(authority).before(size), self)

    def authority(self, size: int) -> Authority:
        """Who might say what at that size: another one only where an entry gave or took a right."""
        count = bisect_left(self._authority_entries, size, key=lambda entry: entry.index)
        if count not in self._authorities:
            self._authorities[count] = authority_of(self._authority_entries[:count])
        return self._authorities[count]

    @cached_property
    def _authority_entries(self) -> list[Entry]:
        return list(authority_entries(self._log, self._size))

    def _view(self, authority: Authority) -> EvidenceView:
        """The log as the keys named until then show it."""
        keys = frozenset(authority.keys)
        if keys not in self._views:
            ring = ring_of(authority, origin(self._log).development_keys)
            self._views[keys] = EvidenceView(self._source.under(ring), size=self._size)
        return self._views[keys]

    @cached_property
    def _source(self) -> LogSource:
        return LogSource(self._log, KeyRing())


def state(log: Log, until: int | None = None) -> LogState:
    """The log as it stands, or stood before entry `until`."""
    size = log.size() if until is None else until
    return LogHistory(log, size).state(size)


def no_version(now: LogState, model: str, version: str = "") -> InputError:
    """That the log has no such version, or no version of the model, with those that it has."""
    known = now.timeline.registrations
    names = [f"{name}/{number}" for name, number in known]
    what = f"the log has no version {version} of {model}"
    return InputError(
        what if version else f"the log has no version of {model}",
        expected=(
            f"one of: {', '.join(names[-SHOWN:])}"
            if names
            else "a registered version; there is none yet"
        ),
        fix=did_you_mean(model, {name for name, _ in known} - {model})
        or "countersign repro registers one",
    )
