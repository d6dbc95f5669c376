"""All models and versions of a log on one page: what is live, since when, who approved, what ends
soon, what waits.

Read from the log in one pass, after it was verified; nothing is decided again here. The report of a
version does that, and the page says so.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import CANDIDATE, Finding, Promotion, Registration
from governance.base.errors import CountersignError
from governance.base.model import Model
from governance.base.text import moment
from governance.base.time import instant, instant_of
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.incidents import still_open
from governance.gates.checks.votes import Vote, by_another, distinct, in_force, packet_votes
from governance.history.verify import LogReport
from governance.log.evidence import Evidence
from governance.release.promotion import State, ask, overtaken
from governance.report.facts import at
from governance.report.html import environment, style

FORMAT = "https://countersign.dev/index/v1"
SOON = timedelta(days=30)


class Row(Model):
    """One version."""

    model: str
    version: str
    sha256: str
    tier: str
    registered: str
    state: str
    """Its last state in words: live, superseded, rolled back, retired, refused, waiting, candidate.
    """
    since: str
    approved_by: list[str]
    exceptions: list[str]
    waits: list[str]
    evidence: list[int]
    page: str
    """File name of its report beside the index; `none` where it is not there."""


class Live(Model):
    """A version that serves users."""

    model: str
    alias: str
    version: str
    sha256: str
    since: str
    asked_by: str
    approved_by: list[str]
    exceptions: list[str]
    evidence: list[int]


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
    live: list[Live]
    ending: list[Due]
    waiting: list[Due]
    versions: list[Row]
    """Newest first within a model."""


def index(
    now: State,
    verified: LogReport,
    time: datetime,
    registry: Sequence[Finding] | None = None,
    pages: Iterable[str] = (),
) -> Index:
    """The index of a log that verified. `pages`: names of the reports that stand beside it."""
    read = _Read(now, time, frozenset(pages))
    differences = "not compared: no registry at hand"
    if registry is not None:
        told = "; ".join(
            f"{one.code} {one.subject}: {one.expected} expected, {one.found} found"
            for one in registry
        )
        differences = told or "says what the log says"
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

    now: State
    time: datetime
    pages: frozenset[str]
    _kinds: dict[str, list[Evidence]] = field(default_factory=dict)
    _counted: dict[Key, list[Vote]] = field(default_factory=dict)

    def items(self, kind: str) -> list[Evidence]:
        """Every statement of a kind that counts, in order."""
        if kind not in self._kinds:
            services = kind in ("registration", "promotion")
            self._kinds[kind] = list((self.now.view if services else self.now.evidence).all(kind))
        return self._kinds[kind]

    @cached_property
    def registrations(self) -> dict[Key, Evidence]:
        """The last registration of each version."""
        return {_key(item): item for item in self.items("registration")}

    @property
    def ordered(self) -> list[Evidence]:
        """By model, newest first."""
        return sorted(
            self.registrations.values(), key=lambda one: (one.predicate.model, -one.index)
        )

    @cached_property
    def moves(self) -> dict[Key, list[Evidence]]:
        """Version to the decisions on governed aliases about it."""
        found: dict[Key, list[Evidence]] = defaultdict(list)
        for item in self.items("promotion"):
            if item.predicate.alias != CANDIDATE:
                found[_key(item)].append(item)
        return found

    @cached_property
    def ended(self) -> dict[Key, tuple[str, str]]:
        """Version to how the last alias that it held was taken away, in words, and when."""
        return self._walk[1]

    @cached_property
    def held(self) -> dict[Key, Evidence]:
        """Model and governed alias to the move by which it is held."""
        return self._walk[0]

    @cached_property
    def _walk(self) -> tuple[dict[Key, Evidence], dict[Key, tuple[str, str]]]:
        held: dict[Key, Evidence] = {}
        ended: dict[Key, tuple[str, str]] = {}
        for item in self.items("promotion"):
            move: Promotion = item.predicate
            if not move.allowed or move.alias == CANDIDATE:
                continue
            if move.action == "retire":
                held = {name: one for name, one in held.items() if _key(one) != _key(item)}
                ended[_key(item)] = "retired", move.at
                continue
            before = held.get((move.model, move.alias))
            if before is not None and _key(before) != _key(item):
                how = "rolled back to" if move.action == "rollback" else "superseded by"
                ended[_key(before)] = f"{how} version {move.version}", move.at
            held[move.model, move.alias] = item
        return held, ended

    @cached_property
    def requests(self) -> dict[str, Evidence]:
        """Digest to request."""
        return {item.digest: item for item in self.items("request")}

    @cached_property
    def approvals(self) -> dict[str, list[Evidence]]:
        """Packet or request digest to what was said of it."""
        found: dict[str, list[Evidence]] = defaultdict(list)
        for item in self.items("approval"):
            found[item.subjects[0].sha256].append(item)
        return found

    @cached_property
    def packets(self) -> dict[Key, str]:
        """Version to the digest of its latest packet."""
        return {_key(item): item.subjects[0].sha256 for item in self.items("packet")}

    @cached_property
    def incidents(self) -> dict[str, Evidence]:
        """Digest of a model to the open incident on it."""
        about: dict[str, list[Evidence]] = {}
        for item in self.items("incident"):
            about.setdefault(item.subjects[0].sha256, []).append(item)
        found = {digest: still_open(self.now.authority, items) for digest, items in about.items()}
        return {digest: items[-1] for digest, items in found.items() if items}

    @cached_property
    def waivers(self) -> dict[tuple[str, str, str], Evidence]:
        """Model, finding and subject to the waiver of it that ends last."""
        found: dict[tuple[str, str, str], Evidence] = {}
        for item in self.items("waiver"):
            if self.now.authority.speaker(item) is not None:
                about = (item.predicate.model, item.predicate.finding, item.predicate.about)
                if about not in found or found[about].predicate.expires <= item.predicate.expires:
                    found[about] = item
        return found

    def row(self, item: Evidence) -> Row:
        """One version."""
        said: Registration = item.predicate
        key = _key(item)
        state, since = self._state(item)
        name = f"{said.model}-{said.version}.html"
        released = [one for one in self.moves.get(key, []) if one.predicate.allowed]
        return Row(
            model=said.model,
            version=said.version,
            sha256=said.model_digest,
            tier=said.tier,
            registered=at(item),
            state=state,
            since=since,
            approved_by=self._approvers(key, released),
            waits=list(self._waits(key)),
            exceptions=list(self._exceptions(said.model_digest, released)),
            evidence=[*(one.index for one in released[-1:]), item.index],
            page=name if name in self.pages else "none",
        )

    def live(self, model: str, alias: str, item: Evidence) -> Live:
        """What serves users."""
        move: Promotion = item.predicate
        asked = self.requests.get(move.request or "")
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
        for (model, code, about), waiver in self.waivers.items():
            ends = waiver.predicate.expires
            left = instant_of(ends) - self.time
            move = used.get((model, code, about))
            if timedelta(0) < left <= SOON or (left <= timedelta(0) and move is not None):
                name = f"{model}/{move.predicate.version}" if move else model
                what, owner = f"waiver of {code} {about}", waiver.predicate.owner
                yield _due(what, name, owner, ends, waiver, left <= timedelta(0))

    def waiting(self) -> Iterator[Due]:
        """Requests that nobody carried out, rollbacks that lack a signature, packets that lack
        approvals.
        """
        spent = {
            item.predicate.request for item in self.items("promotion") if item.predicate.allowed
        }
        for digest, item in self.requests.items():
            said: Any = item.predicate
            open_ = (
                digest not in spent
                and instant_of(said.expires) > self.time
                and not overtaken(self.now, said)
            )
            if open_ and self.now.authority.speaker(item) is not None:
                what = f"{said.principal} asks to {said.action} it as {said.alias}"
                yield _due(
                    what,
                    f"{said.model}/{said.version}",
                    "whoever carries it out",
                    said.expires,
                    item,
                )
        for item in self.items("promotion"):
            due = item.predicate.second_signature_by
            asked = self.requests.get(item.predicate.request or "")
            if (
                due
                and item.predicate.allowed
                and not by_another(self.now.authority, self.now.evidence, asked)
            ):
                late = instant_of(due) <= self.time
                name = f"{item.predicate.model}/{item.predicate.version}"
                yield _due(
                    "a second signature on a rollback by one person",
                    name,
                    self._seconds(),
                    due,
                    item,
                    late,
                )
        for key in self.packets:
            for what in self._waits(key):
                who = ", ".join(self._roles(key[0])) or "nobody: policy names no role"
                yield _due(what, "/".join(key), who, "none", None)

    def _seconds(self) -> str:
        policies = self.now.authority.in_force.policies
        named = policies.rules.seconded_by if policies else None
        return "anybody else" if named is None else f"somebody else, as {' or '.join(named)}"

    def _state(self, item: Evidence) -> tuple[str, str]:
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

    def _approvers(self, key: Key, released: Sequence[Evidence]) -> list[str]:
        """People whose word on the packet counts; whether it sufficed, the decision says."""
        given = [one.predicate for one in released if one.predicate.packet]
        if not given:
            votes = [(name, role, item.predicate.decision) for name, role, item in self._votes(key)]
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

    def _counts(self, item: Evidence, at: str) -> bool:
        """Whether a word on a packet that was moved at that time could count then."""
        policies = self.now.authority.at(item.index).policies
        tier = policies.tier_of(item.predicate.model) if policies else None
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

    def _exceptions(self, digest: str, released: Sequence[Evidence]) -> Iterator[str]:
        opened = self.incidents.get(digest)
        if opened is not None:
            yield f"incident open since {moment(opened.predicate.at)}"
        for one in released[-1].predicate.waived if released else ():
            waiver = self.waivers.get((released[-1].predicate.model, one.code, one.subject))
            ends = waiver.predicate.expires if waiver else ""
            over = not ends or instant_of(ends) <= self.time
            yield (
                f"{one.code} {one.subject}: waiver {'ENDED' if over else 'until'}"
                f" {moment(ends) or 'unknown'}"
            )
        given = [one.predicate for one in released if one.predicate.packet]
        for one in given[-1:]:
            stands = self._said(one.packet, instant(self.time))
            for name, role in sorted(self._said(one.packet, one.at).keys() - stands.keys()):
                yield f"approval by {name} ({role}) ENDED"

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


def _key(item: Evidence) -> Key:
    return item.predicate.model, item.predicate.version
