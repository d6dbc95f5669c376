"""Promotion, rollback and retirement: a decision on exactly the log as it stands, and the move that
it allows.

1. What is asked is put together from the log alone: the version's registration, who holds the
   alias, the latest packet, the open request that fits. The registry's tables, tags and names are
   never believed.
2. The decision is made on the log at size N and committed on size N: if anybody said something
   meanwhile, it is decided again. Entry and alias commit in one transaction, or neither.
3. A refusal is an entry too, once for the same reasons.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, Protocol

from pydantic import ValidationError

from governance.attest.digests import manifest_digest
from governance.attest.keys import Signer
from governance.attest.predicates import (
    CANDIDATE,
    Artifact,
    Packet,
    Promotion,
    PromotionRequest,
    Registration,
    Requester,
    Run,
)
from governance.attest.requests import (
    GateRequest,
    ModelRef,
    ReleaseDecision,
    ReleaseRequest,
    explain,
)
from governance.base.errors import (
    ConfigError,
    ConflictError,
    InputError,
    RefusedError,
    did_you_mean,
)
from governance.base.time import exact_instant, instant_of
from governance.gates.checks.persons import one_each
from governance.gates.checks.votes import behind, by_another
from governance.gates.decisions import decide_automatic, decide_release
from governance.history import packet
from governance.history.lineage import Admissible, decided, model_node, subject
from governance.log import evidence
from governance.log.evidence import Evidence, LogEvidence
from governance.log.port import Entry, Execute, Log
from governance.policy.authority import Authority, authority_of, giving_rights, ring_of

ATTEMPTS = 8
"""How often a decision is made again because the log grew meanwhile."""
SHOWN = 10
"""Versions that an error names."""

CLOCK_LEEWAY = timedelta(minutes=1)
"""How far behind the log's last decision a clock may be: machines differ a little."""

Action = Literal["promote", "rollback", "retire"]


class Aliases(Protocol):
    """The registry's rows; `governance.registry.aliases` in the database of MLflow."""

    def move(
        self,
        execute: Execute,
        model: str,
        alias: str,
        from_version: str | None,
        to_version: str | None,
    ) -> None: ...


@dataclass(frozen=True)
class State:
    """The log at one size: everything a decision may look at."""

    log: Log
    size: int
    authority: Authority
    evidence: Bounded
    past: Past = field(repr=False)

    @property
    def view(self) -> Admissible:
        """The evidence whose signers might sign it, by the authority at each position."""
        return Admissible(self.evidence, self.authority)

    def before(self, index: int) -> State:
        """The log as it stood before an entry."""
        return self.past.state(index)

    def cut(self, size: int) -> State:
        """The first `size` entries, as this state's own reader shows them."""
        return replace(
            self,
            size=size,
            authority=self.past.authority(size),
            evidence=Bounded(self.evidence, size),
        )

    def registration(self, model: str, version: str) -> Evidence:
        """The version's last registration. Raises `InputError`."""
        found = [one for one in self.view.all("registration") if _is(one.predicate, model, version)]
        if not found:
            raise no_version(self, model, version)
        return found[-1]

    def must_know(self, model: str) -> None:
        """Raises `InputError` for a model of which the log has no version."""
        if not any(item.predicate.model == model for item in self.view.all("registration")):
            raise no_version(self, model)

    def holder(self, model: str, alias: str) -> Promotion | None:
        """Who holds an alias, as the log says: the last move allowed; None where nobody does."""
        held: Promotion | None = None
        for item in self.moves(model):
            move: Promotion = item.predicate
            if (
                move.action == "retire"
            ):  # `candidate` serves nobody, and stays where the pipeline put it
                gone = held is not None and held.version == move.version and alias != CANDIDATE
                held = None if gone else held
            elif move.alias == alias:
                held = move
        return held

    def decisions(self) -> Iterator[Evidence]:
        """What was decided about governed aliases. Of `candidate` a pipeline's machine speaks, by
        its own clock.
        """
        for item in self.view.all("promotion"):
            if item.predicate.alias != CANDIDATE and not item.development:
                yield item

    @property
    def spent(self) -> frozenset[str]:
        """The requests that a move has consumed."""
        return frozenset(
            item.predicate.request or "" for item in self.decisions() if item.predicate.allowed
        )

    def moves(self, model: str) -> Iterator[Evidence]:
        """Every move of an alias of the model that was allowed, in order. A retirement takes all
        governed ones.
        """
        for item in self.view.all("promotion"):
            said: Promotion = item.predicate
            fit = said.alias == CANDIDATE or not item.development
            if said.model == model and said.allowed and fit:
                yield item


class Bounded:
    """An `EvidenceView` of the entries before one: what could be known at that point. Each question
    is read once.
    """

    def __init__(self, view: evidence.EvidenceView, until: int) -> None:
        self.view, self._until = view, until
        self._about: dict[str, list[Evidence]] = {}
        self._of: dict[str, list[Evidence]] = {}

    def by_subject(self, sha256: str, kind: str | None = None) -> list[Evidence]:
        """As the view's, of entries before the bound."""
        if sha256 not in self._about:
            self._about[sha256] = [
                item for item in self.view.by_subject(sha256) if item.index < self._until
            ]
        return [item for item in self._about[sha256] if kind in (None, item.kind)]

    def all(self, kind: str | None = None) -> Iterator[Evidence]:
        """As the view's, of entries before the bound."""
        if kind is None:
            return self._before(kind)
        if kind not in self._of:
            self._of[kind] = list(self._before(kind))
        return iter(self._of[kind])

    def _before(self, kind: str | None) -> Iterator[Evidence]:
        for item in self.view.all(kind):
            if item.index >= self._until:
                return
            yield item


class Past:
    """The states of a log up to one of its entries: what they share is read and verified once."""

    def __init__(self, log: Log, size: int) -> None:
        self._log, self._size = log, size
        self._authorities: dict[int, Authority] = {}
        self._views: dict[frozenset[str], Bounded] = {}

    def state(self, size: int) -> State:
        """The log as it stood at a size that is not beyond this past's own."""
        authority = self.authority(size)
        return State(self._log, size, authority, Bounded(self._view(authority), size), self)

    def authority(self, size: int) -> Authority:
        """Who might say what at that size: another one only where an entry gave or took a right."""
        count = bisect_left(self._rights, size, key=lambda entry: entry.index)
        if count not in self._authorities:
            self._authorities[count] = authority_of(self._rights[:count])
        return self._authorities[count]

    @cached_property
    def _rights(self) -> list[Entry]:
        return list(giving_rights(self._log, self._size))

    def _view(self, authority: Authority) -> Bounded:
        """The log as the keys named until then show it."""
        keys = frozenset(authority.keys)
        if keys not in self._views:
            ring = ring_of(authority, evidence.origin(self._log).development_keys)
            self._views[keys] = Bounded(self._all.under(ring), self._size)
        return self._views[keys]

    @cached_property
    def _all(self) -> LogEvidence:
        return LogEvidence(self._log, evidence.KeyRing())


def state(log: Log, until: int | None = None) -> State:
    """The log as it stands, or stood before entry `until`."""
    size = log.size() if until is None else until
    return Past(log, size).state(size)


def ask(now: State, action: Action, model: str, version: str, alias: str) -> ReleaseRequest:
    """What the decision is asked, from the log alone. Raises `InputError` for a version that is not
    registered.
    """
    registered: Registration = now.registration(model, version).predicate
    held = now.holder(model, alias)
    known = packet.latest(now.evidence, model, version, registered.model_digest)
    frozen = subject(known, "packet") if known else None
    asked = ReleaseRequest(
        model=model,
        released=_reference(now, registered),
        champion=held.model_digest if held else None,
        alias=alias,
        action=action,
        version=version,
        from_version=held.version if held else None,
        packet=frozen,
    )
    request = _open_request(now, asked)
    return asked.model_copy(update={"request": request.digest if request else None})


def decide(now: State, asked: ReleaseRequest, at: datetime) -> ReleaseDecision:
    """The decision, on the log as it stands."""
    if now.authority.in_force.policies is None:
        now.authority.policies  # noqa: B018 - raises, with the next step
    return decide_release(asked, now.authority.policies, now.evidence, at, now.authority)


def freeze(now: State, model: str, version: str, at: datetime, run: Run) -> Packet:
    """The packet of a version as the log has it now, with what stands against it before anybody
    says a word.
    """
    registered: Registration = now.registration(model, version).predicate
    alias = now.authority.policies.main_alias
    asked = ask(now, "promote", model, version, alias)
    decision = decide_automatic(asked, now.evidence, at, now.authority)
    return packet.build(
        registered,
        now.view,
        now.authority,
        evidence=now.evidence,
        findings=decision.findings,
        waived=decision.waived,
        champion=asked.champion,
        at=at,
        run=run,
    )


def changed(now: State, item: Evidence, at: datetime) -> list[str]:
    """Why a packet is not to be approved: what of it is no longer so, or never was; empty where it
    stands.
    """
    found = packet.differing(item, now.view, now.authority, evidence=now.evidence, at=at)
    return found or (
        []
        if is_true(now, item)
        else ["what it says stood against the release, which the log does not"]
    )


def is_true(now: State, item: Evidence) -> bool:
    """Whether a packet, which anybody enrolled may record, is the one that the log gave when it was
    put together.
    """
    return packet.same_content(_made_again(now, item), item.predicate)


def is_verbatim(now: State, item: Evidence) -> bool:
    """As `is_true`, down to the words of each finding: what this version may write to the log."""
    return packet.digest_of(_made_again(now, item)) == packet.digest_of(item.predicate)


def in_our_words(now: State, item: Evidence) -> Packet:
    """A packet whose findings read as this version words them. People read these and not what
    stands in the packet: whoever recorded it chose those words.
    """
    said: Packet = item.predicate
    made = _made_again(now, item)
    if not packet.same_content(made, said):
        return said
    return said.model_copy(update={"findings": made.findings, "waived": made.waived})


def _made_again(now: State, item: Evidence) -> Packet:
    """The packet that the log gave just before this one was recorded, at its time."""
    said: Packet = item.predicate
    before, then = now.before(item.index), instant_of(said.run.finished)
    return freeze(before, said.model, said.version, then, said.run)


@dataclass(frozen=True)
class Promoter:
    """Carries out moves of governed aliases: the only door."""

    log: Log
    signer: Signer
    """A service that policy lets sign `promotion`."""
    aliases: Aliases
    requester: Requester
    now: Callable[[], datetime]

    def consume(
        self,
        model: str,
        version: str,
        alias: str,
        caller: str,
        action: Action | None = None,
        *,
        keep: bool = True,
    ) -> Promotion:
        """Decides and, allowed, moves. Raises `RefusedError` with every finding; both are in the
        log.

        The action is the open request's, where none is given: to set an alias is to consume a
        promotion or a rollback. `keep`: whether a refusal is recorded; somebody who is refused all
        the time does not fill the log.
        """
        for _ in range(ATTEMPTS):
            now = state(self.log)
            self._check_signer(now)
            chosen = action or _asked_for(now, model, version, alias)
            asked = ask(now, chosen, model, version, alias)
            at = self._time(now)
            decision = decide(now, asked, at)
            promotion = self._promotion(now, asked, decision, caller)
            try:
                if decision.allowed or keep:
                    self._record(now, promotion)
            except ConflictError:
                if state(self.log).size == now.size:
                    raise  # not the log: the registry's row is not what the log says
                continue
            if not decision.allowed:
                raise RefusedError(explain(decision, f"{model}/{version} as {alias}"))
            return promotion
        raise ConflictError(
            "others kept writing to the log while this was decided", fix="try again"
        )

    def _check_signer(self, now: State) -> None:
        """An entry by a key that may not sign it would not count: the alias would have moved
        without a word.
        """
        known = self.signer.keyid in now.authority.keys
        if not known or not now.authority.may_sign("promotion", self.signer.keyid, False, now.size):
            raise ConfigError(
                f"policies in force do not let this key sign promotions ({self.signer.keyid[:16]})",
                where="COUNTERSIGN_SIGNER",
                fix=(
                    "policies/policy.yaml: a service principal with this key that signs `promotion`"
                ),
            )

    def _time(self, now: State) -> datetime:
        """This machine's time, unless an earlier decision of ours was later: what expired must not
        open again.
        """
        at = self.now()
        last = max((item.predicate.at for item in now.decisions()), default=None, key=instant_of)
        if last is not None and at < instant_of(last) - CLOCK_LEEWAY:
            raise ConfigError(
                f"this machine's clock says {exact_instant(at)}, earlier than the last decision in"
                " the log",
                expected=f"{last} or later",
                fix="set the clock right; requests, approvals and waivers expire by it",
            )
        return at

    def _record(self, now: State, promotion: Promotion) -> None:
        what = [Artifact(role="model", name=promotion.model, sha256=promotion.model_digest)]
        if promotion.request and promotion.allowed:
            what.append(Artifact(role="request", name=promotion.action, sha256=promotion.request))
        if not promotion.allowed:
            evidence.record(self.log, self.signer, "promotion", what, promotion)
            return

        def also(execute: Execute) -> None:
            for alias in _touched(now, promotion):
                to = None if promotion.action == "retire" else promotion.version
                self.aliases.move(
                    execute, promotion.model, alias, _held(now, promotion.model, alias), to
                )

        evidence.record(
            self.log, self.signer, "promotion", what, promotion, expected_size=now.size, also=also
        )

    def _promotion(
        self, now: State, asked: ReleaseRequest, decision: ReleaseDecision, caller: str
    ) -> Promotion:
        moment = exact_instant(decision.at)
        run = Run(started=moment, finished=moment, seconds=0.0, requested_by=self.requester)
        return Promotion(
            model=asked.model,
            version=asked.version,
            alias=asked.alias,
            model_digest=asked.released.sha256,
            allowed=decision.allowed,
            findings=list(decision.findings),
            policy=now.authority.in_force.digest,
            at=moment,
            run=run,
            action=asked.action,
            request=asked.request,
            packet=asked.packet,
            from_version=asked.from_version,
            caller=caller,
            asked=asked.model_dump(mode="json"),
            waived=list(decision.waived),
            second_signature_by=(
                _second_signature(now, asked, decision.at) if decision.allowed else None
            ),
        )


def again(before: State, item: Evidence) -> ReleaseDecision | None:
    """A logged decision on a governed alias made again, from what stood before it. None where it
    was none of these.
    """
    said: Promotion = item.predicate
    if said.asked is None:
        return None
    return decide(before, ReleaseRequest.model_validate(said.asked), instant_of(said.at))


def open_requests(now: State, model: str | None = None) -> list[Evidence]:
    """Requests that no move has consumed, in order; whether they are still in time the decision
    says.
    """
    spent = now.spent
    found = (item for item in now.evidence.all("request") if item.digest not in spent)
    return [item for item in found if model in (None, item.predicate.model)]


def no_version(now: State, model: str, version: str = "") -> InputError:
    """That the log has no such version, or no version of the model: with those it has, and what was
    meant.
    """
    had = [item.predicate for item in now.view.all("registration")]
    known = list(dict.fromkeys(f"{one.model}/{one.version}" for one in had))
    return InputError(
        (
            f"the log has no version {version} of {model}"
            if version
            else f"the log has no version of {model}"
        ),
        expected=(
            f"one of: {', '.join(known[-SHOWN:])}"
            if known
            else "a registered version; there is none yet"
        ),
        fix=did_you_mean(model, {one.model for one in had} - {model})
        or "countersign repro registers one",
    )


def overtaken(now: State, said: PromotionRequest) -> bool:
    """Whether the alias has moved since it was asked for, so that nothing can carry the request
    out.
    """
    held = now.holder(said.model, said.alias)
    return said.action != "retire" and said.from_version != (held.version if held else None)


def below(now: State, model: str, alias: str, but: str | None) -> list[Evidence]:
    """The moves that gave the alias to other versions than `but`, nearest first: what a rollback
    goes back through.
    """
    stack: list[Evidence] = []
    for item in now.moves(model):
        move: Promotion = item.predicate
        if move.action == "retire":
            stack = [one for one in stack if one.predicate.version != move.version]
        elif move.alias == alias and move.action == "promote":
            stack.append(item)
        elif move.alias == alias:
            while stack and stack[-1].predicate.version != move.version:
                stack.pop()
    found: dict[str, Evidence] = {}
    for item in reversed(stack):
        if item.predicate.version != but:
            found.setdefault(item.predicate.version, item)
    return list(found.values())


def overdue(now: State, at: datetime) -> list[Evidence]:
    """Moves made by one person alone whose second signature is due and not there."""
    return [
        item
        for item in now.view.all("promotion")
        if item.predicate.second_signature_by is not None
        and instant_of(item.predicate.second_signature_by) <= at
        and not _seconded(now, item.predicate)
    ]


def _seconded(now: State, said: Promotion) -> bool:
    asked = next((one for one in now.evidence.all("request") if one.digest == said.request), None)
    return by_another(now.authority, now.evidence, asked)


def _reference(now: State, registered: Registration) -> ModelRef:
    """The released model, its files as registered, and the suite that its gate was decided with."""
    node = model_node(now.view, registered.model_digest, registered.stage)
    asked = _gate_request(node.gate) if node.gate else None
    if manifest_digest(registered.files) != registered.model_digest:
        raise InputError(
            f"the files of {registered.model}/{registered.version} do not add up to its digest"
        )
    return ModelRef(
        name=registered.stage,
        outside=False,
        sha256=registered.model_digest,
        files=sorted(file.path for file in registered.files),
        suite=asked.suite.name if asked else "none",
        suite_digest=asked.suite.digest if asked else "0" * 64,
    )


def _gate_request(gate: Evidence) -> GateRequest:
    try:
        return GateRequest.model_validate(decided(gate).parameters)
    except ValidationError:
        raise InputError("its gate's request cannot be read", where=f"entry {gate.index}") from None


def _open_request(now: State, asked: ReleaseRequest) -> Evidence | None:
    """The latest open request by somebody who may ask; else the latest for this alias, so that the
    decision can say what is wrong: nobody stands in the way of a request by making another that
    they may not make.
    """
    mine = [
        item
        for item in now.evidence.by_subject(asked.released.sha256, "request")
        if (item.predicate.model, item.predicate.alias, item.predicate.action)
        == (asked.model, asked.alias, asked.action)
    ]
    spent = now.spent
    fresh = [item for item in mine if item.digest not in spent]
    theirs = [item for item in fresh if _may_ask(now, item)]
    return next(reversed(theirs or fresh or mine), None)


def to_retire(now: State, model: str, alias: str) -> str | None:
    """The version that the latest open request to retire names, by somebody who may ask; else by
    anybody.
    """
    found = [
        one
        for one in open_requests(now, model)
        if (one.predicate.action, one.predicate.alias) == ("retire", alias)
    ]
    mine = [one for one in found if _may_ask(now, one)] or found
    return mine[-1].predicate.version if mine else None


def _asked_for(now: State, model: str, version: str, alias: str) -> Action:
    """The action of the latest open request for this version and alias."""
    found = open_requests(now, model)
    mine = [
        item for item in found if (item.predicate.version, item.predicate.alias) == (version, alias)
    ]
    theirs = [item for item in mine if _may_ask(now, item)]
    action: Action = (theirs or mine)[-1].predicate.action if mine else "promote"
    return action


def _may_ask(now: State, item: Evidence) -> bool:
    """Whether a request is by a person in a role that may ask for its alias."""
    rule = now.authority.policies.rules.aliases.get(item.predicate.alias)
    return (
        rule is not None
        and item.predicate.role in rule.requesters
        and now.authority.speaker(item) is not None
    )


def _touched(now: State, promotion: Promotion) -> list[str]:
    """The aliases that a move touches: its own, or every governed one that a retired version
    holds.
    """
    if promotion.action != "retire":
        return [promotion.alias]
    rules = now.authority.policies.rules.aliases
    held = {alias: now.holder(promotion.model, alias) for alias in rules}
    return [
        alias for alias, one in held.items() if one is not None and one.version == promotion.version
    ]


def _held(now: State, model: str, alias: str) -> str | None:
    held = now.holder(model, alias)
    return held.version if held else None


def _second_signature(now: State, asked: ReleaseRequest, at: datetime) -> str | None:
    """By when somebody else signs what one person did alone."""
    rule = now.authority.policies.rules.aliases.get(asked.alias)
    found = [
        one
        for one in now.evidence.by_subject(asked.released.sha256, "request")
        if one.digest == asked.request
    ]
    if asked.action != "rollback" or rule is None or not found:
        return None
    signed: PromotionRequest = found[0].predicate
    people = behind(now.authority, now.evidence, found[0], at)
    alone = signed.break_glass and len(one_each(now.authority, people)) < max(
        2, rule.rollback_people
    )
    return exact_instant(at + timedelta(hours=rule.second_signature_hours)) if alone else None


def _is(said: Registration, model: str, version: str) -> bool:
    return (said.model, said.version) == (model, version)
