"""Periodic reviews: by when people look again at a version that is in use, and what follows where
nobody has.

1. A version is in use while it holds a governed alias.
2. It was reviewed when a promotion gave it a governed alias, since people had approved its packet.
   It is reviewed again by each `PeriodicReview` about its bytes that counts: by a person in a role
   that approves packets of the model (`governance.policy.speakers`). A rollback reviews nothing.
3. The next review is due on the day that is so many months after the last one (UTC) as policy says
   (`review_every`), or on an earlier day that the last reviewer named. A limit of monitoring that
   the version has not kept since a moment after the last review makes it due on the day of that
   moment (`monitoring.breaches`).
4. After that day the review is overdue. Policy can give days of grace; after these it has lapsed,
   and policy says what follows (`overdue_review`). A tier without this rule has overdue reviews
   only.
5. A statement that is dated after the moment in question says nothing yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import CANDIDATE, PeriodicReview, Promotion
from governance.base.time import instant_of
from governance.history import monitoring

if TYPE_CHECKING:
    from governance.history.monitoring import Breach
    from governance.history.timeline import Key, Timeline
    from governance.log.evidence import Evidence
    from governance.policy.policies import Policies
    from governance.policy.rules import OverdueReview

State = Literal["in time", "overdue", "lapsed"]


@dataclass(frozen=True)
class Review:
    """The next review of one version that is in use."""

    model: str
    version: str
    digest: str
    aliases: tuple[str, ...]
    """The governed aliases that it holds."""
    last: Evidence[Promotion] | Evidence[PeriodicReview]
    """(2) The statement that counts as the last review."""
    due: date
    """The last day on which the next one is in time."""
    breach: Breach | None
    """The limit of monitoring that makes it due; None where none does."""
    rule: OverdueReview | None
    """(4) What policy says of overdue reviews."""
    state: State

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.model}/{self.version}"

    @property
    def late(self) -> datetime:
        """The first instant at which it is overdue."""
        return _after(self.due)

    @property
    def lapses(self) -> datetime | None:
        """The first instant after the days of grace; None where policy has no rule."""
        return lapse(self.due, self.rule)

    @property
    def blocks_moves(self) -> bool:
        """Whether no promotion of the model is allowed, with a waiver or without."""
        return self.state == "lapsed" and self._then in ("block_moves", "stop_serving")

    @property
    def stops_serving(self) -> bool:
        """Whether the version is not served any more."""
        return self.state == "lapsed" and self._then == "stop_serving"

    @property
    def lateness(self) -> str:
        """For people: what follows, where it is late; empty where it is not."""
        if self.state == "in time":
            return ""
        if self.stops_serving:
            return "; LAPSED: it is not served any more"
        if self.blocks_moves:
            return "; LAPSED: no promotion of the model is allowed"
        return "; OVERDUE"

    @property
    def because(self) -> str:
        """For people: the limit of monitoring that makes it due; empty where none does."""
        return f"the limit {self.breach.finding.measure} is not kept" if self.breach else ""

    @property
    def _then(self) -> str:
        return self.rule.then if self.rule else "warn"


def next_reviews(timeline: Timeline, policies: Policies, at: datetime) -> list[Review]:
    """The next review of each version in use that has one, the earliest first."""
    found = list(_reviews(timeline, policies, at))
    return sorted(found, key=lambda review: (review.due, review.model, review.version))


def _reviews(timeline: Timeline, policies: Policies, at: datetime) -> Iterator[Review]:
    for version, aliases in _in_use(timeline).items():
        last = _last(timeline, version, at)
        if last is None:
            continue
        model, number = version
        digest = timeline.registrations[version].predicate.model_digest
        breach = _breach(timeline, policies, version, digest, last, at)
        due = _due(policies, model, last, breach)
        if due is None:
            continue
        tier = policies.tier_of(model)
        rule = tier.overdue_review if tier else None
        state = _state(due, rule, at)
        yield Review(model, number, digest, tuple(aliases), last, due, breach, rule, state)


def _in_use(timeline: Timeline) -> dict[Key, list[str]]:
    """(1) The versions in use, each with its governed aliases."""
    found: dict[Key, list[str]] = {}
    for (model, alias), tenure in sorted(timeline.holders.items()):
        version = (model, tenure.version)
        if alias != CANDIDATE and version in timeline.registrations:
            found.setdefault(version, []).append(alias)
    return found


def _last(
    timeline: Timeline, version: Key, at: datetime
) -> Evidence[Promotion] | Evidence[PeriodicReview] | None:
    """(2), (5) The last statement by which it was reviewed."""
    digest = timeline.registrations[version].predicate.model_digest
    reviewed: list[Evidence[Promotion] | Evidence[PeriodicReview]] = [
        move for move in timeline.governed_moves_of(digest) if move.predicate.action == "promote"
    ]
    reviewed += counted(timeline, digest)
    before = [
        statement
        for statement in reviewed
        if (statement.predicate.model, statement.predicate.version) == version
        and instant_of(statement.predicate.at) <= at
    ]
    return max(before, key=_when, default=None)


def _when(statement: Evidence[Promotion] | Evidence[PeriodicReview]) -> tuple[datetime, int]:
    return instant_of(statement.predicate.at), statement.index


def counted(timeline: Timeline, digest: str) -> list[Evidence[PeriodicReview]]:
    """(2) The periodic reviews of these bytes that count, in log order."""
    return [
        statement
        for statement in timeline.evidence.by_subject(digest, PeriodicReview)
        if timeline.authority.speaker(statement) is not None
    ]


def _breach(
    timeline: Timeline,
    policies: Policies,
    version: Key,
    digest: str,
    last: Evidence[Promotion] | Evidence[PeriodicReview],
    at: datetime,
) -> Breach | None:
    """(3) The breach that began first since the last review."""
    found = monitoring.windows(timeline.view, digest)
    breaches = monitoring.breaches(found, policies.rules.monitoring, *version)
    reviewed = instant_of(last.predicate.at)
    since = [breach for breach in breaches if reviewed < breach.since <= at]
    return min(since, key=lambda breach: breach.since, default=None)


def _due(
    policies: Policies,
    model: str,
    last: Evidence[Promotion] | Evidence[PeriodicReview],
    breach: Breach | None,
) -> date | None:
    """(3) The last day on which the next review is in time; None where nothing sets one."""
    said = last.predicate
    by_policy = policies.next_review(model, instant_of(said.at).astimezone(UTC))
    named = said.next_by if isinstance(said, PeriodicReview) else None
    breached = breach.since.astimezone(UTC).date() if breach else None
    days = [by_policy, named, breached]
    return min((day for day in days if day is not None), default=None)


def lapse(due: date, rule: OverdueReview | None) -> datetime | None:
    """(4) The first instant after the days of grace."""
    return None if rule is None else _after(due + timedelta(days=rule.grace_days))


def _state(due: date, rule: OverdueReview | None, at: datetime) -> State:
    """(4)"""
    if at < _after(due):
        return "in time"
    lapses = lapse(due, rule)
    return "lapsed" if lapses is not None and at >= lapses else "overdue"


def _after(day: date) -> datetime:
    """The first instant after a day (UTC)."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)
