"""Views of a log: the one way to read typed evidence, of a log or of part of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal, Protocol, overload

from governance.attest.envelope import UnknownKeyError
from governance.attest.predicates import KINDS, Logged
from governance.base.model import Model
from governance.base.time import instant_of
from governance.log.evidence import Evidence, KeyRing, PredicateT, open_entry
from governance.log.port import Entry, Log
from governance.log.rules import (
    COUNTS_ONCE,
    CURRENT,
    EVENTS,
    RuleVersions,
    is_here,
    rule_versions,
)

NEXT = sys.maxsize
"""In place of the index of an entry: that of the next one."""
_NAMES: dict[type[Model], str] = {kind.model: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class LeftOut:
    """An entry that does not count, and why."""

    index: int
    reason: str


class Rights(Protocol):
    """Who may sign which evidence: `Policies` as they are at hand, or an `Authority` by position in
    the log.
    """

    def may_sign(self, right: str, keyid: str, development: bool, index: int) -> bool:
        """Whether evidence that needs this right (`Evidence.right`) counts at entry `index`, signed
        by this key.
        """


class Source(Protocol):
    """Where a view gets evidence from, in the order of the log."""

    def about(self, sha256: str) -> Iterable[Evidence]:
        """The statements with this digest among their subjects."""

    def of_kind(self, kind: str | None) -> Iterable[Evidence]:
        """The statements of a kind; all of them for None."""

    def rules_at(self, index: int) -> int:
        """The version of the rules that judges entry `index`, or the `NEXT` one."""


class Nothing:
    """The source of a log without entries."""

    def about(self, sha256: str) -> Iterable[Evidence]:
        """As `Source`."""
        return ()

    def of_kind(self, kind: str | None) -> Iterable[Evidence]:
        """As `Source`."""
        return ()

    def rules_at(self, index: int) -> int:
        """As `Source`: the newest."""
        return CURRENT


class LogSource:
    """The entries of a log as one key ring shows them, each verified before it is handed out."""

    def __init__(
        self, log: Log, ring: KeyRing, verified: dict[int, Evidence] | None = None
    ) -> None:
        """`verified`: the statements of entries whose signatures were verified already."""
        self._log = log
        self.ring = ring
        self._read: dict[int, Evidence | LeftOut] = {}
        self._verified: dict[int, Evidence] = {} if verified is None else verified
        self._versions: tuple[int, RuleVersions] = (0, RuleVersions())
        """The rule versions of the log, as of this size."""

    def under(self, ring: KeyRing) -> LogSource:
        """The same log as other keys show it; no signature is verified twice."""
        return LogSource(self._log, ring, self._verified)

    def about(self, sha256: str) -> Iterator[Evidence]:
        """As `Source`."""
        for statement in self._evidence(self._log.by_subject(sha256), None):
            if _is_about(statement, sha256):
                yield statement

    def of_kind(self, kind: str | None) -> Iterator[Evidence]:
        """As `Source`. An entry filed under another kind than its own is missed here, and found by
        `governance.history.verify`.
        """
        entries = self._log.entries() if kind is None else self._log.by_kind([kind])
        return self._evidence(entries, kind)

    def rules_at(self, index: int) -> int:
        """As `Source`."""
        index = self._log.size() if index == NEXT else index
        return self._rules(index).at(index)

    def entry(self, index: int) -> Evidence | None:
        """The statement of one entry; None where it does not count."""
        statement = self._opened(self._log.entry(index))
        return statement if isinstance(statement, Evidence) else None

    def left_out(self) -> list[LeftOut]:
        """Entries read so far that do not count."""
        return [
            statement
            for _, statement in sorted(self._read.items())
            if isinstance(statement, LeftOut)
        ]

    def _evidence(self, entries: Iterable[Entry], kind: str | None) -> Iterator[Evidence]:
        seen: set[tuple[str, str]] = set()
        for entry in entries:
            if kind is not None and entry.kind != kind:
                continue
            statement = self._opened(entry)
            if not isinstance(statement, Evidence) or kind not in (None, statement.kind):
                continue
            if (statement.digest, statement.keyid) not in seen or self._counts_again(statement):
                yield statement
            seen.add((statement.digest, statement.keyid))

    def _opened(self, entry: Entry) -> Evidence | LeftOut:
        if entry.index not in self._read:
            self._read[entry.index] = self._open(entry)
        return self._read[entry.index]

    def _open(self, entry: Entry) -> Evidence | LeftOut:
        statement = self._verify(entry)
        if isinstance(statement, Evidence):
            if not self._is_here(statement):
                return LeftOut(entry.index, "it does not name this log")
            self._verified[entry.index] = statement
        return statement

    def _verify(self, entry: Entry) -> Evidence | LeftOut:
        verified = self._verified.get(entry.index)
        if verified is not None and verified.keyid in self.ring.known:
            return replace(verified, development=self.ring.is_development(verified.keyid))
        return read_entry(entry, self.ring, self._rules(entry.index).strict_at(entry.index))

    def _is_here(self, statement: Evidence) -> bool:
        """Whether a statement names this log, or no log while the rules permitted that."""
        if not isinstance(statement.predicate, Logged):
            return True  # the origin
        index = statement.index
        return is_here(statement.predicate.log, self._origin, self.rules_at(index))

    @cached_property
    def _origin(self) -> str:
        """Which log it is. Read once, however many statements name it."""
        return self._log.entry(0).leaf_hash.hex()

    def _counts_again(self, statement: Evidence) -> bool:
        """Whether a statement counts although an earlier entry has it. Whoever can write the
        database could log an old approval again, after its author took it back.
        """
        index = statement.index
        return statement.kind in EVENTS or self.rules_at(index) < COUNTS_ONCE

    def _rules(self, index: int) -> RuleVersions:
        """The rule versions, as far as they judge entry `index`."""
        if index >= self._versions[0]:
            size = max(index + 1, self._log.size())
            self._versions = (size, rule_versions(self._log))
        return self._versions[1]


_Question = tuple[Literal["about", "kind"], str | None]


class EvidenceView:
    """Evidence, as far as one reader may look at it.

    `size`: only the entries before it; then the source is asked once for each question, by all
    views that come from this one. `rights`: only statements whose signer may sign that kind of
    evidence. `until`: only statements made until then, by their own clocks. `assumed`: statements
    that nobody has made yet, after all others.

    A kind is named by its predicate's class, which types the answer, or by its short name.
    """

    def __init__(
        self,
        source: Source,
        *,
        size: int | None = None,
        rights: Rights | None = None,
        until: datetime | None = None,
        assumed: Sequence[Evidence] = (),
    ) -> None:
        self.source = source
        self.size = size
        self._rights = rights
        self._until = until
        self._assumed = tuple(assumed)
        self._source_answers: dict[_Question, list[Evidence]] = {}
        self._counted_answers: dict[_Question, list[Evidence]] = {}

    @overload
    def by_subject(self, sha256: str, kind: type[PredicateT]) -> list[Evidence[PredicateT]]: ...
    @overload
    def by_subject(self, sha256: str, kind: str | None = None) -> list[Evidence]: ...
    def by_subject(self, sha256: str, kind: type[Model] | str | None = None) -> list[Evidence]:
        """What is known about a digest, in the order of the log."""
        name = _short_name(kind)
        return [
            statement
            for statement in self._answer(("about", sha256))
            if name in (None, statement.kind)
        ]

    @overload
    def all(self, kind: type[PredicateT]) -> list[Evidence[PredicateT]]: ...
    @overload
    def all(self, kind: str | None = None) -> list[Evidence]: ...
    def all(self, kind: type[Model] | str | None = None) -> list[Evidence]:
        """Everything of a kind, in the order of the log."""
        return list(self._answer(("kind", _short_name(kind))))

    def all_before(self, end: int | None, kind: type[PredicateT]) -> list[Evidence[PredicateT]]:
        """Everything of a kind before entry `end`; no statement after it is verified. None: all."""
        if end is None:
            return self.all(kind)
        if end <= 1:  # entry 0 is the origin
            return []
        statements = self.source.of_kind(_short_name(kind))
        earlier = takewhile(lambda statement: statement.index < end, statements)
        size = end if self.size is None else self.size
        return [
            statement for statement in earlier if statement.index < size and self._counts(statement)
        ]

    def rules_at(self, index: int) -> int:
        """The version of the rules that judges entry `index`."""
        return self.source.rules_at(index)

    @property
    def rules(self) -> int:
        """The version of the rules that judges what is decided on this evidence."""
        return self.rules_at(NEXT if self.size is None else self.size)

    def before(self, size: int) -> EvidenceView:
        """The entries before `size` alone: what could be known at that point."""
        return self._with(size=size)

    def signed_under(self, rights: Rights) -> EvidenceView:
        """The statements whose signer may sign them."""
        return self._with(rights=rights)

    def made_until(self, at: datetime) -> EvidenceView:
        """The statements made until a time, by their own clocks."""
        return self._with(until=at)

    def assuming(self, statements: Sequence[Evidence]) -> EvidenceView:
        """With statements that nobody has made yet, to see what a signature would change."""
        return self._with(assumed=statements)

    def set_aside(self, sha256: str, kind: str) -> list[str]:
        """The key ids of statements about this digest that do not count, sorted."""
        statements = [
            statement for statement in self._read(("about", sha256)) if statement.kind == kind
        ]
        return sorted({statement.keyid for statement in statements if not self._counts(statement)})

    def _with(self, **changes: Any) -> EvidenceView:
        """Another view of the same source; it keeps what the source has answered."""
        settings = {
            "size": self.size,
            "rights": self._rights,
            "until": self._until,
            "assumed": self._assumed,
        }
        view = EvidenceView(self.source, **{**settings, **changes})
        if self.size is not None:
            view._source_answers = self._source_answers
        return view

    def _answer(self, question: _Question) -> list[Evidence]:
        if question in self._counted_answers:
            return self._counted_answers[question]
        statements = [statement for statement in self._read(question) if self._counts(statement)]
        if self.size is not None:
            self._counted_answers[question] = statements
        return statements

    def _read(self, question: _Question) -> list[Evidence]:
        """Of the entries before `size`, and of what is assumed."""
        statements = self._source_answers.get(question)
        if statements is None:
            statements = list(self._ask(question))
            if self.size is not None:
                self._source_answers[question] = statements
        within = [
            statement
            for statement in statements
            if self.size is None or statement.index < self.size
        ]
        return within + [statement for statement in self._assumed if _matches(statement, question)]

    def _ask(self, question: _Question) -> Iterable[Evidence]:
        field, value = question
        return self.source.of_kind(value) if field == "kind" else self.source.about(str(value))

    def _counts(self, statement: Evidence) -> bool:
        if self._until is not None and instant_of(made_at(statement)) > self._until:
            return False
        return self._rights is None or self._rights.may_sign(
            statement.right, statement.keyid, statement.development, statement.index
        )


def made_at(statement: Evidence) -> str:
    """When a statement was made, by the clock of who made it."""
    at: str | None = getattr(statement.predicate, "at", None)
    return at or str(statement.predicate.run.finished)


def log_evidence(log: Log, ring: KeyRing) -> EvidenceView:
    """All evidence of a log, read anew at each question.

    An entry by an unknown key is left out, so that it counts as missing; an entry that was altered
    raises `VerificationError`. `EvidenceView.signed_under` leaves out what a known key may not
    sign.
    """
    return EvidenceView(LogSource(log, ring))


def _short_name(kind: type[Model] | str | None) -> str | None:
    return _NAMES[kind] if isinstance(kind, type) else kind


def _matches(statement: Evidence, question: _Question) -> bool:
    field, value = question
    if field == "kind":
        return value in (None, statement.kind)
    return _is_about(statement, str(value))


def _is_about(statement: Evidence, sha256: str) -> bool:
    """Whether a statement has this subject, or is the authorization with this digest
    (`governance.log.evidence.found_by`).
    """
    is_named = statement.kind == "authorization" and statement.digest == sha256
    return is_named or any(subject.sha256 == sha256 for subject in statement.subjects)


def read_entry(entry: Entry, ring: KeyRing, strict: bool = True) -> Evidence | LeftOut:
    """The evidence of one entry. Raises `VerificationError` where it was altered. `strict`: see
    `open_entry`.
    """
    try:
        return open_entry(entry, ring, strict=strict)[0]
    except UnknownKeyError as error:
        return LeftOut(entry.index, error.found)
