"""All models and versions of a log on one page: what is live, since when, who approved, what ends
soon, what waits.

Read from the log in one pass, after it was verified. Versions that are live, withdrawn or waiting
for approval, and the newest of each model, are decided again. For the others read their reports.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Finding,
    Packet,
    Promotion,
    Registration,
)
from governance.base.errors import CountersignError
from governance.base.model import Model
from governance.base.text import moment
from governance.base.time import instant, instant_of
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.history.state import LogState
from governance.history.timeline import Timeline
from governance.history.verify import LogReport
from governance.history.votes import Vote, distinct, in_force
from governance.log.evidence import Evidence
from governance.release.promotion import ask
from governance.report.facts import at
from governance.report.html import environment, style
from governance.report.model import VerdictWord
from governance.report.standing import Standing
from governance.report.verdict import banner, word_of

FORMAT = "https://countersign.dev/index/v2"
SOON = timedelta(days=30)


class IndexException(Model):
    """What a reader must know of a version before its good news."""

    kind: Literal["incident", "waiver", "approval"]
    ended: bool
    """Whether the waiver or the approval holds no longer."""
    text: str

    @property
    def is_fault(self) -> bool:
        """Whether a version that serves users should not serve as it is."""
        return self.kind == "incident" or self.ended


class Row(Model):
    """One version."""

    model: str
    version: str
    sha256: str
    verdict: VerdictWord | None
    """The verdict of its report; None where the index does not decide it again."""
    tier: str
    registered: str
    state: str
    """Its last state in words: live, superseded, rolled back, retired, refused, waiting, candidate.
    """
    since: str
    approved_by: list[str]
    exceptions: list[IndexException]
    waits: list[str]
    purpose: str
    """What policy says the model is for; `not set` where it says nothing."""
    owner: str
    """Who answers for the model, as policy says; `not set` where it names nobody."""
    next_review: str
    """The day that policy sets; `not set`, or `after approval` while nobody has approved it."""
    evidence: list[int]
    page: str
    """File name of its report beside the index; `none` where it is not there."""

    @property
    def verdict_text(self) -> str:
        """The verdict as the report's banner has it: a fault changes it."""
        if self.verdict is None:
            return "see its report"
        faults = [exception for exception in self.exceptions if exception.is_fault]
        return banner(self.verdict, len(faults)).text


class Live(Model):
    """A version that serves users."""

    model: str
    alias: str
    version: str
    sha256: str
    since: str
    asked_by: str
    approved_by: list[str]
    exceptions: list[IndexException]
    evidence: list[int]

    @property
    def has_fault(self) -> bool:
        """Whether something is wrong with what serves users."""
        return any(exception.is_fault for exception in self.exceptions)


class Due(Model):
    """Something that ends, is overdue, or waits for somebody."""

    what: str
    about: str
    who: str
    due: str
    overdue: bool
    evidence: list[int]


class Index(Model):
    """The whole log at a glance."""

    format: str
    generator: str
    project: str
    as_of: str
    log_range: str
    root: str
    verified: bool
    first_broken: str
    origin: str
    registry: str
    """Where the registry says otherwise than the log."""
    registry_state: Literal["agrees", "differs", "not compared"]
    live: list[Live]
    ending: list[Due]
    waiting: list[Due]
    versions: list[Row]
    """Newest first within a model."""


def index(
    now: LogState,
    verified: LogReport,
    time: datetime,
    registry: Sequence[Finding] | None = None,
    pages: Iterable[str] = (),
) -> Index:
    """The index of a log that verified. `pages`: names of the reports that stand beside it."""
    read = _Read(now, time, frozenset(pages))
    differences = "not compared: no registry at hand"
    registry_state: Literal["agrees", "differs", "not compared"] = "not compared"
    if registry is not None:
        registry_state = "differs" if registry else "agrees"
        differences = "; ".join(
            f"{finding.code} {finding.subject}: {finding.expected} expected, {finding.found} found"
            for finding in registry
        )
        differences = differences or "agrees with the log"
    return Index(
        format=FORMAT,
        generator=f"countersign {importlib.metadata.version('countersign')}",
        project=verified.project,
        as_of=instant(time),
        log_range=f"0..{verified.entries - 1}",
        root=verified.root,
        verified=True,
        first_broken="none",
        origin=f"{verified.first}, "
        + (f"established by {verified.origin}" if verified.origin else "not established"),
        registry=differences,
        registry_state=registry_state,
        live=[read.live(model, alias, item) for (model, alias), item in sorted(read.held.items())],
        ending=sorted(read.ending(), key=lambda one: one.due),
        waiting=sorted(read.waiting(), key=lambda one: (not one.overdue, one.due)),
        versions=[read.row(item) for item in read.ordered],
    )


def broken(project: str, verified: LogReport) -> Index:
    """The index of a log that does not verify: nothing of it is used."""
    nothing = "not established: the log does not verify"
    return Index(
        format=FORMAT,
        generator=f"countersign {importlib.metadata.version('countersign')}",
        project=project,
        as_of="not established",
        log_range=f"0..{max(verified.entries - 1, 0)} before the first broken item",
        root=nothing,
        verified=False,
        first_broken=verified.broken or "unknown",
        origin=nothing,
        registry=nothing,
        registry_state="not compared",
        live=[],
        ending=[],
        waiting=[],
        versions=[],
    )


def json_twin(made: Index) -> bytes:
    """The index as canonical JSON."""
    return canonical.dumps(made.model_dump())


def page(made: Index) -> bytes:
    """The index as one HTML page."""
    env = environment()
    rendered = env.get_template("index.html.j2").render(
        index=made,
        twin=sha256_bytes(json_twin(made)),
        style=style(env),
        models=_by_model(made.versions),
    )
    return rendered.encode("utf-8")


def _by_model(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.model].append(row)
    return dict(found)


Key = tuple[str, str]


@dataclass(frozen=True)
class _Read:
    """The log's people and moves, each kind read once."""

    now: LogState
    time: datetime
    pages: frozenset[str]
    _counted: dict[Key, list[Vote]] = field(default_factory=dict)

    @property
    def history(self) -> Timeline:
        """The log's own history."""
        return self.now.timeline

    @property
    def ordered(self) -> list[Evidence[Registration]]:
        """By model, newest first."""
        found = self.history.registrations.values()
        return sorted(found, key=lambda one: (one.predicate.model, -one.index))

    @cached_property
    def moves(self) -> dict[Key, list[Evidence[Promotion]]]:
        """Version to the decisions on governed aliases about it."""
        found: dict[Key, list[Evidence[Promotion]]] = defaultdict(list)
        for item in self.history.decisions:
            found[_key(item)].append(item)
        return found

    @cached_property
    def held(self) -> dict[Key, Evidence[Promotion]]:
        """Model and governed alias to the move by which it is held."""
        found = self.history.holders.items()
        return {key: one.given for key, one in found if one.alias != CANDIDATE}

    @cached_property
    def ended(self) -> dict[Key, tuple[str, str]]:
        """Version to how the last alias that it held was taken away, in words, and when."""
        found: dict[Key, tuple[str, str]] = {}
        for tenure in self.history.tenures:
            if tenure.ended is None or tenure.alias == CANDIDATE:
                continue
            move = tenure.ended.predicate
            if move.version != tenure.version:
                how = "rolled back to" if tenure.rolled_back else "superseded by"
                found[tenure.model, tenure.version] = f"{how} version {move.version}", move.at
        for key, item in self.history.retirements.items():
            found[key] = "retired", item.predicate.at
        return found

    @cached_property
    def approvals(self) -> dict[str, list[Evidence[Approval]]]:
        """Packet or request digest to what was said of it."""
        found: dict[str, list[Evidence[Approval]]] = defaultdict(list)
        for item in self.now.evidence.all(Approval):
            found[item.subjects[0].sha256].append(item)
        return found

    @cached_property
    def packets(self) -> dict[Key, str]:
        """Version to the digest of its latest packet."""
        return {_key(item): item.subjects[0].sha256 for item in self.now.evidence.all(Packet)}

    def row(self, item: Evidence[Registration]) -> Row:
        """One version."""
        said = item.predicate
        key = _key(item)
        state, since = self._state(item)
        name = f"{said.model}-{said.version}.html"
        released = [one for one in self.moves.get(key, []) if one.predicate.allowed]
        return Row(
            model=said.model,
            version=said.version,
            sha256=said.model_digest,
            verdict=self._verdict(item),
            tier=said.tier,
            registered=at(item),
            state=state,
            since=since,
            approved_by=self._approvers(key, released),
            waits=list(self._waits(key)),
            exceptions=list(self._exceptions(said.model_digest, released)),
            purpose=self._purpose(said.model),
            owner=self._owner(said.model),
            next_review=self._next_review(said.model, released),
            evidence=[*(one.index for one in released[-1:]), item.index],
            page=name if name in self.pages else "none",
        )

    def _verdict(self, item: Evidence[Registration]) -> VerdictWord | None:
        """Decided again for what is live, withdrawn or waiting, and for the newest version."""
        policies = self.now.authority.in_force.policies
        if policies is None or not policies.rules.aliases:
            return None
        standing = Standing(self.now, item.predicate, self.time)
        if not self._is_decided_again(item, standing):
            return None
        try:
            return word_of(standing)
        except CountersignError:  # its records contradict each other: its report says how
            return "NOT APPROVED"

    def _is_decided_again(self, item: Evidence[Registration], standing: Standing) -> bool:
        if standing.held:
            ended = max(standing.held, key=lambda held: held.ended.index if held.ended else 0)
            return bool(standing.live) or standing.retired is not None or ended.rolled_back
        if standing.retired is not None or _key(item) in self.packets:
            return True
        return self._newest[item.predicate.model] == item.index

    @cached_property
    def _newest(self) -> dict[str, int]:
        """Model to the entry that registered its newest version."""
        return {item.predicate.model: item.index for item in reversed(self.ordered)}

    def _purpose(self, model: str) -> str:
        policies = self.now.authority.in_force.policies
        known = policies.rules.models.get(model) if policies else None
        return known.purpose if known else "not set"

    def _owner(self, model: str) -> str:
        policies = self.now.authority.in_force.policies
        return (policies.owner_of(model) if policies else "") or "not set"

    def _next_review(self, model: str, released: Sequence[Evidence[Promotion]]) -> str:
        policies = self.now.authority.in_force.policies
        if policies is None or policies.review_every(model) is None:
            return "not set"
        if not released:
            return "after approval"
        return str(policies.next_review(model, instant_of(released[-1].predicate.at)))

    def live(self, model: str, alias: str, item: Evidence[Promotion]) -> Live:
        """What serves users."""
        move = item.predicate
        asked = self.history.request_of(move)
        moves = [one for one in self.moves.get(_key(item), []) if one.predicate.allowed]
        return Live(
            model=model, alias=alias, version=move.version, sha256=move.model_digest, since=move.at,
            asked_by=asked.predicate.principal if asked else "nobody signed a request",
            approved_by=self._approvers(_key(item), moves),
            exceptions=list(self._exceptions(move.model_digest, moves)), evidence=[item.index],
        )  # fmt: skip

    def ending(self) -> Iterator[Due]:
        """Waivers that end soon, or ended while something live was released with them."""
        used = {
            (move.predicate.model, one.code, one.subject): move
            for move in self.held.values()
            for given in self.moves[_key(move)]
            for one in given.predicate.waived
        }
        for (model, code, about), waivers in self.history.waivers.items():
            waiver = max(waivers, key=lambda one: instant_of(one.predicate.expires))
            ends = waiver.predicate.expires
            left = instant_of(ends) - self.time
            move = used.get((model, code, about))
            if timedelta(0) < left <= SOON or (left <= timedelta(0) and move is not None):
                name = f"{model}/{move.predicate.version}" if move else model
                what, owner = f"waiver of {code} {about}", waiver.predicate.owner
                yield _due(what, name, owner, ends, waiver, left <= timedelta(0))

    def waiting(self) -> Iterator[Due]:
        """Open incidents, requests that nobody carried out, rollbacks that lack a signature,
        packets that lack approvals.
        """
        for opened in self.history.all_open_incidents:
            incident = opened.predicate
            about = f"{incident.model}/{incident.version}"
            yield _due("open incident", about, incident.principal, "none", opened)
        for request in self.history.pending_requests(self.time):
            said = request.predicate
            what, name = (
                f"{said.principal} asks to {said.action} it as {said.alias}",
                f"{said.model}/{said.version}",
            )
            yield _due(what, name, "whoever carries it out", said.expires, request)
        late = {item.index for item in self.history.overdue(self.time)}
        for item in self.history.lacking_second_signature:
            what = "a second signature on a rollback by one person"
            name, due = "/".join(_key(item)), item.predicate.second_signature_by or "none"
            yield _due(what, name, self._seconds(), due, item, item.index in late)
        for key in self.packets:
            for what in self._waits(key):
                who = ", ".join(self._roles(key[0])) or "nobody: policy names no role"
                yield _due(what, "/".join(key), who, "none", None)

    def _seconds(self) -> str:
        policies = self.now.authority.in_force.policies
        named = policies.rules.seconded_by if policies else None
        return "anybody else" if named is None else f"somebody else, as {' or '.join(named)}"

    def _state(self, item: Evidence[Registration]) -> tuple[str, str]:
        key, said = _key(item), item.predicate
        aliases = {
            alias: move
            for (model, alias), move in self.held.items()
            if model == key[0] and _key(move) == key
        }
        if aliases:
            return f"live as {', '.join(sorted(aliases))}", min(
                move.predicate.at for move in aliases.values()
            )
        if key in self.ended:
            return self.ended[key]
        decided = self.moves.get(key, [])
        if decided:
            return f"refused as {decided[-1].predicate.alias}", decided[-1].predicate.at
        return ("waits for approval" if key in self.packets else "registered"), said.run.finished

    def _approvers(self, key: Key, released: Sequence[Evidence[Promotion]]) -> list[str]:
        """People whose word on the packet counts; whether it sufficed, the decision says."""
        given = [one.predicate for one in released if one.predicate.packet]
        if not given:
            votes: list[tuple[str, str, str]] = [
                (name, role, item.predicate.decision) for name, role, item in self._votes(key)
            ]
        else:
            votes = [
                (*who, word) for who, word in self._said(given[-1].packet, given[-1].at).items()
            ]
        return [
            f"{name} ({role}){'' if word == 'approve' else ' REJECTS'}"
            for name, role, word in votes
        ]

    def _said(self, packet: str | None, at: str) -> dict[tuple[str, str], str]:
        """Person and role to their last word on a packet of those that could count at a time."""
        said = (one for one in self.approvals.get(packet or "", []) if self._counts(one, at))
        return {
            (one.predicate.principal, one.predicate.role): one.predicate.decision for one in said
        }

    def _counts(self, item: Evidence[Approval], at: str) -> bool:
        """Whether a word on a packet that was moved at that time could count then."""
        policies = self.now.authority.at(item.index).policies
        tier = policies.tier_of(item.predicate.model or "") if policies else None
        if tier is None or item.predicate.role not in tier.approvers:
            return False
        time = instant_of(at)
        acts = self.now.authority.speaker(item) is not None and self.now.authority.acts(item, time)
        return acts and in_force(item.predicate, time)

    def _votes(self, key: Key) -> list[Vote]:
        """The words that count on the latest packet of a version that no people gave an alias."""
        if key not in self._counted:
            self._counted[key] = self._count(key)
        return self._counted[key]

    def _count(self, key: Key) -> list[Vote]:
        if key not in self.packets or self.now.authority.in_force.policies is None:
            return []
        try:
            asked = ask(self.now, "promote", *key, self.now.authority.policies.main_alias)
        except (
            CountersignError
        ):  # a version whose records contradict each other: its report says how
            return []
        return packet_votes(
            ReleaseContext.of(asked, self.now.authority, self.now.evidence, self.time)
        )[0]

    def _exceptions(
        self, digest: str, released: Sequence[Evidence[Promotion]]
    ) -> Iterator[IndexException]:
        for opened in self.history.open_incidents(digest)[-1:]:
            text = f"incident open since {moment(opened.predicate.at)}"
            yield IndexException(kind="incident", ended=False, text=text)
        for finding in released[-1].predicate.waived if released else ():
            model = released[-1].predicate.model
            ends = self.history.waived_until(model, finding, self.time)
            ended = ends is None or ends <= self.time
            end = moment(instant(ends)) if ends else "unknown"
            text = f"{finding.code} {finding.subject}: waiver {'ENDED' if ended else 'until'} {end}"
            yield IndexException(kind="waiver", ended=ended, text=text)
        given = [one.predicate for one in released if one.predicate.packet]
        for move in given[-1:]:
            stands = self._said(move.packet, instant(self.time))
            for name, role in sorted(self._said(move.packet, move.at).keys() - stands.keys()):
                text = f"approval by {name} ({role}) ENDED"
                yield IndexException(kind="approval", ended=True, text=text)

    def _waits(self, key: Key) -> Iterator[str]:
        """Approvals of the latest packet of a version that was never given an alias and not refused
        for more.
        """
        if key not in self.packets or any(one.predicate.allowed for one in self.moves.get(key, [])):
            return
        policies = self.now.authority.in_force.policies
        tier = policies.tier_of(key[0]) if policies else None
        has = len(
            distinct(vote for vote in self._votes(key) if vote[2].predicate.decision == "approve")
        )
        if tier is not None and has < tier.approvals:
            yield f"{tier.approvals - has} of {tier.approvals} approvals"

    def _roles(self, model: str) -> list[str]:
        policies = self.now.authority.in_force.policies
        tier = policies.tier_of(model) if policies else None
        return list(tier.approvers) if tier else []


def _due(
    what: str, about: str, who: str, due: str, item: Evidence | None, overdue: bool = False
) -> Due:
    refs = [item.index] if item else []
    return Due(what=what, about=about, who=who, due=due, overdue=overdue, evidence=refs)


def _key(item: Evidence[Promotion] | Evidence[Registration] | Evidence[Packet]) -> Key:
    return item.predicate.model, item.predicate.version
