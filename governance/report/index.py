"""All models and versions of a log on one page: what is live, since when, who approved, what ends
soon, what waits.

Read from the log after it was verified. Versions that are live, withdrawn or waiting for approval,
and the newest of each model, are decided again. For the others read their reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import Literal

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Finding, Promotion, Registration
from governance.base.errors import CountersignError
from governance.base.model import Model
from governance.base.time import instant, instant_of
from governance.history.reviews import Review
from governance.history.state import LogState
from governance.history.verify import LogReport
from governance.history.votes import Vote, distinct
from governance.log.evidence import Evidence
from governance.policy.policies import Policies
from governance.report.front import SOON, hold, waiting
from governance.report.html import environment, generator, json_twin, style
from governance.report.model.front import Hold, Item, VerdictWord
from governance.report.standing import Standing
from governance.report.status import VersionState, version_state
from governance.report.verdict import banner, word_of

FORMAT = "https://countersign.dev/index/v2"
NOT_SET = "not set"
State = Literal[
    "live", "superseded", "rolled back", "retired", "refused", "waits for approval", "registered"
]


class IndexException(Model):
    """What a reader must know of a version before its good news."""

    kind: Literal["incident", "waiver", "approval"]
    ended: bool
    """Whether the waiver or the approval holds no longer."""
    about: str
    """The finding of a waiver, or the approver."""
    at: str | None
    """When the incident opened, or the waiver ends."""

    @property
    def is_fault(self) -> bool:
        """Whether a version that serves users should not serve as it is."""
        return self.kind == "incident" or self.ended


class Row(VersionState):
    """One version."""

    verdict: VerdictWord | None
    """The verdict of its report; None where the index does not decide it again."""
    tier: str
    state: State
    to: str | None
    """The version that followed, or the alias that was refused."""
    holds: list[Hold]
    """The governed aliases that it holds."""
    approved_by: list[str]
    exceptions: list[IndexException]
    lacks: int
    """Approvals that the latest packet of a version lacks that was never released."""
    purpose: str
    """What policy says the model is for; `not set` where it says nothing."""
    owner: str
    """Who answers for the model, as policy says; `not set` where it names nobody."""
    next_review: str
    """The day by which people review it again; `not set` where policy sets none, `after approval`
    while nobody has approved it, `not in use` where it holds no governed alias any more.
    """
    evidence: list[int]
    page: str | None
    """File name of its report, where that is beside the index."""

    @property
    def faults(self) -> int:
        """How many exceptions are faults."""
        return sum(exception.is_fault for exception in self.exceptions)

    @property
    def verdict_text(self) -> str:
        """The verdict as the report's banner has it: a fault changes it."""
        return banner(self.verdict, self.faults).text if self.verdict else "see its report"


class Index(Model):
    """The whole log at a glance. Where the log does not verify, nothing of it is used."""

    format: str = FORMAT
    generator: str
    project: str
    as_of: str | None = None
    log_range: str
    root: str | None = None
    first_broken: str | None = None
    """The first item that does not verify."""
    origin: str = "not established"
    registry: list[Finding] | None = None
    """Where the registry differs from the log; None where they were not compared."""
    ending: list[Item] = []
    waiting: list[Item] = []
    versions: list[Row] = []
    """By model, newest first."""

    @property
    def live(self) -> list[Row]:
        """The versions that hold a governed alias."""
        return [row for row in self.versions if row.holds]


def index(
    now: LogState,
    verified: LogReport,
    time: datetime,
    registry: Sequence[Finding] | None = None,
    pages: Iterable[str] = (),
) -> Index:
    """The index of a log that verified. `pages`: names of the reports that stand beside it."""
    log = _Log(now, time, frozenset(pages))
    waits = [*waiting(now, time), *log.approvals_missing()]
    origin = f"established by {verified.origin}" if verified.origin else "not established"
    return Index(
        generator=generator(),
        project=verified.project,
        as_of=instant(time),
        log_range=f"0..{verified.entries - 1}",
        root=verified.root,
        origin=f"{verified.first}, {origin}",
        registry=None if registry is None else list(registry),
        ending=sorted(log.ending(), key=_due),
        waiting=sorted(waits, key=lambda item: (not item.overdue, _due(item))),
        versions=[row for row, _ in log.rows],
    )


def _due(item: Item) -> datetime:
    """For sorting: what is not due at any time is last."""
    return instant_of(item.due) if item.due else datetime.max.replace(tzinfo=UTC)


def broken(project: str, verified: LogReport) -> Index:
    """The index of a log that does not verify."""
    return Index(
        generator=generator(),
        project=project,
        log_range=f"0..{max(verified.entries - 1, 0)} before the first broken item",
        first_broken=verified.broken or "the log",
    )


def page(made: Index) -> bytes:
    """The index as one HTML page."""
    env = environment()
    rendered = env.get_template("index.html.j2").render(
        index=made,
        twin=sha256_bytes(json_twin(made)),
        style=style(env),
        models=[(name, list(rows)) for name, rows in groupby(made.versions, lambda row: row.model)],
    )
    return rendered.encode("utf-8")


@dataclass(frozen=True)
class _Log:
    """A log at a time, and the rows of its versions."""

    now: LogState
    time: datetime
    pages: frozenset[str] = field(default_factory=frozenset)

    @property
    def policies(self) -> Policies | None:
        """The policies in force for governed aliases, if there are any."""
        return self.now.authority.in_force.policies

    @cached_property
    def rows(self) -> list[tuple[Row, Standing]]:
        """Every version with its row, by model, newest first."""
        registrations = sorted(
            self.now.timeline.registrations.values(),
            key=lambda statement: (statement.predicate.model, -statement.index),
        )
        rows: list[tuple[Row, Standing]] = []
        for statement in registrations:
            standing = Standing(self.now, statement.predicate, self.time)
            newest = not rows or rows[-1][0].model != statement.predicate.model
            rows.append((self._row(statement.index, standing, newest), standing))
        return rows

    def _row(self, entry: int, standing: Standing, newest: bool) -> Row:
        registration, released = standing.registration, standing.released
        page = f"{registration.model}-{registration.version}.html"
        then = standing
        if released is not None:  # who approved is what counted when it was released
            then = Standing(self.now, registration, instant_of(released.predicate.at))
        approvals, rejections = self._votes(then)
        tier = self.policies.tier_of(registration.model) if self.policies else None
        lacks = 0
        if tier and released is None and standing.packets:
            lacks = tier.approvals - len(distinct(approvals))
        state, to, since = self._state(standing)
        fields = version_state(self.now, registration).model_dump() | {"since": since}
        return Row(
            **fields,
            verdict=self._verdict(standing, newest),
            tier=registration.tier,
            state=state,
            to=to,
            holds=[hold(standing, tenure) for tenure in standing.live],
            approved_by=[
                *(f"{name} ({role})" for name, role, _ in approvals),
                *(f"{name} ({role}) REJECTS" for name, role, _ in rejections),
            ],
            exceptions=list(self._exceptions(standing, approvals)),
            lacks=max(0, lacks),
            **self._policy_fields(registration, released),
            evidence=[*([released.index] if released else []), entry],
            page=page if page in self.pages else None,
        )

    def _votes(self, standing: Standing) -> tuple[list[Vote], list[Vote]]:
        """The approvals that count, and the rejections."""
        if self.policies is None:
            return [], []
        try:
            return standing.approvers, standing.rejections
        except CountersignError:  # its records contradict each other: its report says how
            return [], []

    def _verdict(self, standing: Standing, newest: bool) -> VerdictWord | None:
        """Decided again for what is live, withdrawn or waiting, and for the newest version."""
        if self.policies is None or not self.policies.rules.aliases:
            return None
        last = _last_move_away(standing)
        again = last.action == "rollback" if last else bool(standing.packets) or newest
        if not (standing.live or standing.retired is not None or again):
            return None
        try:
            return word_of(standing)
        except CountersignError:
            return "NOT APPROVED"

    def _state(self, standing: Standing) -> tuple[State, str | None, str]:
        """What became of the version last, the other version or alias, and when."""
        if standing.live:
            given = [tenure.given.predicate.at for tenure in standing.live]
            return "live", None, min(given, key=instant_of)
        if standing.retired is not None:
            return "retired", None, standing.retired.predicate.at
        move = _last_move_away(standing)
        if move is not None:
            state: State = "rolled back" if move.action == "rollback" else "superseded"
            return state, move.version, move.at
        if standing.decisions:
            refused = standing.decisions[-1].predicate
            return "refused", refused.alias, refused.at
        waits: State = "waits for approval" if standing.packets else "registered"
        return waits, None, standing.registration.run.finished

    def _exceptions(self, standing: Standing, approvals: list[Vote]) -> Iterator[IndexException]:
        for opened in standing.open_incidents[-1:]:
            yield IndexException(kind="incident", ended=False, about="", at=opened.predicate.at)
        if standing.released is None:
            return
        for finding in standing.released.predicate.waived:
            ends = self.now.timeline.waived_until(standing.registration.model, finding, self.time)
            yield IndexException(
                kind="waiver",
                ended=ends is None or ends <= self.time,
                about=f"{finding.code} {finding.subject}",
                at=instant(ends) if ends else None,
            )
        still = {vote[:2] for vote in self._votes(standing)[0]}
        for name, role, _ in approvals:
            if (name, role) not in still:
                yield IndexException(kind="approval", ended=True, about=f"{name} ({role})", at=None)

    @cached_property
    def _reviews(self) -> dict[tuple[str, str], Review]:
        """Model and version to the next review of each version in use."""
        found = self.now.timeline.reviews(self.time)
        return {(review.model, review.version): review for review in found}

    def _policy_fields(
        self, registration: Registration, released: Evidence[Promotion] | None
    ) -> dict[str, str]:
        """Purpose, owner and next review of a version."""
        model, policies = registration.model, self.policies
        known = policies.rules.models.get(model) if policies else None
        due = self._reviews.get((model, registration.version))
        review = NOT_SET
        if due is not None:
            review = str(due.due)
        elif policies and policies.review_every(model) is not None:
            review = "not in use" if released is not None else "after approval"
        return {
            "purpose": known.purpose if known else NOT_SET,
            "owner": (policies.owner_of(model) if policies else "") or NOT_SET,
            "next_review": review,
        }

    def ending(self) -> Iterator[Item]:
        """Waivers that end soon, or ended while something live was released with them."""
        used = {
            (row.model, finding.code, finding.subject): f"{row.model}/{row.version}"
            for row, standing in self.rows
            for finding in (standing.released.predicate.waived if standing.released else [])
            if row.holds
        }
        for key, waivers in self.now.timeline.waivers.items():
            model, code, subject = key
            waiver = max(waivers, key=lambda waiver: instant_of(waiver.predicate.expires))
            left = instant_of(waiver.predicate.expires) - self.time
            if timedelta(0) < left <= SOON or (left <= timedelta(0) and key in used):
                yield Item(
                    code="WAIVER_ENDS",
                    about=used.get(key, model),
                    what=f"waiver of {code} {subject}",
                    owner=waiver.predicate.owner,
                    due=waiver.predicate.expires,
                    overdue=left <= timedelta(0),
                    evidence=[waiver.index],
                )

    def approvals_missing(self) -> Iterator[Item]:
        """Packets that lack approvals."""
        for row, standing in self.rows:
            tier = self.policies.tier_of(row.model) if self.policies else None
            if tier and row.lacks:
                yield Item(
                    code="APPROVALS",
                    about=f"{row.model}/{row.version}",
                    what=f"{row.lacks} of {tier.approvals} approvals",
                    owner=", ".join(tier.approvers) or "nobody: policy names no role",
                    evidence=[standing.packets[-1].index],
                )


def _last_move_away(standing: Standing) -> Promotion | None:
    """The move by which the version last lost a governed alias."""
    moves = [tenure.ended for tenure in standing.held if tenure.ended]
    return max(moves, key=lambda move: move.index).predicate if moves else None
