"""Moves of governed aliases: the request for a decision, the decision from the log alone, and the
move.

1. The request consists of the version's registration, the holder of the alias, the latest packet
   and the open request by a person. The registry's tables, tags and names are never trusted.
2. A decision on the log at size N commits only at size N. If the log grew meanwhile, it is decided
   again. The entry and the alias commit in one transaction.
3. A refusal is an entry, too. The same refusal is recorded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.attest.digests import manifest_digest
from governance.attest.keys import Signer
from governance.attest.predicates import (
    CANDIDATE,
    Artifact,
    GateDecision,
    Packet,
    Promotion,
    PromotionRequest,
    Registration,
    Requester,
    Run,
)
from governance.attest.requests import (
    Action,
    GateRequest,
    ModelRef,
    ReleaseDecision,
    ReleaseRequest,
    SuiteRef,
    asked_of_gate,
    explain,
)
from governance.base.errors import (
    ConfigError,
    ConflictError,
    InputError,
    RefusedError,
    VerificationError,
)
from governance.base.time import exact_instant, instant_of
from governance.gates.decisions import decide_automatic, decide_release
from governance.history import packet
from governance.history.lineage import model_node, subject
from governance.history.persons import one_each
from governance.history.state import LogState
from governance.history.state import state as state
from governance.history.votes import signers_of_request
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Execute, Log
from governance.log.views import EvidenceView
from governance.policy.policies import Policies
from governance.release import cosigned

ATTEMPTS = 8
"""How often a request is decided before giving up, if the log grows meanwhile."""
CLOCK_LEEWAY = timedelta(minutes=1)
"""How far this machine's clock may be behind the log's last decision. Clocks differ a little."""


MoveAlias = Callable[[Execute, str, str, str | None, str | None], None]
"""Moves an alias of a model from one version to another; `governance.registry.rows.move_alias`."""


def ask(now: LogState, action: Action, model: str, version: str, alias: str) -> ReleaseRequest:
    """The request for a decision, from the log alone. Raises `InputError` for a version that is not
    registered.
    """
    registered = now.registration(model, version).predicate
    holder = now.holder(model, alias)
    last_packet = latest_packet(now, model, version)
    packet_digest = subject(last_packet, "packet") if last_packet else None
    request = ReleaseRequest(
        model=model,
        released=_reference(now, registered),
        champion=holder.model_digest if holder else None,
        alias=alias,
        action=action,
        version=version,
        from_version=holder.version if holder else None,
        packet=packet_digest,
    )
    signed_request = _open_request(now, request)
    return request.model_copy(update={"request": signed_request.digest if signed_request else None})


def latest_packet(now: LogState, model: str, version: str) -> Evidence[Packet] | None:
    """The latest packet of a version. Raises `InputError` for a version that is not registered."""
    digest = now.registration(model, version).predicate.model_digest
    return packet.latest(now.evidence, now.authority, model, version, digest)


def decide(
    now: LogState,
    request: ReleaseRequest,
    at: datetime,
    *,
    policies: Policies | None = None,
    evidence: EvidenceView | None = None,
) -> ReleaseDecision:
    """The decision on this state of the log. Whoever decides on a log asks here, so that all give
    the decision the same rights. `policies`: those that decide `candidate`; else those in force.
    `evidence`: that of this state, with statements that nobody has made yet.
    """
    return decide_release(
        request,
        policies or now.authority.policies,
        now.evidence if evidence is None else evidence,
        at,
        authority=now.authority,
    )


def freeze(now: LogState, model: str, version: str, at: datetime, run: Run) -> Packet:
    """The packet of a version from this state of the log, with the findings of the checks that need
    no person.
    """
    registered = now.registration(model, version).predicate
    alias = now.authority.policies.main_alias
    request = ask(now, "promote", model, version, alias)
    decision = decide_automatic(request, now.evidence, at, now.authority)
    return packet.build(
        registered,
        now.view,
        now.authority,
        evidence=now.evidence,
        findings=decision.findings,
        waived=decision.waived,
        champion=request.champion,
        at=at,
        run=run,
    )


def changed(now: LogState, statement: Evidence[Packet], at: datetime) -> list[str]:
    """Why a packet must not be approved: what changed since, or what was never true; empty if it is
    right.
    """
    differences = packet.differing(statement, now.view, now.authority, evidence=now.evidence, at=at)
    if not differences and not is_true(now, statement):
        return [packet.Part.FINDINGS]
    return differences


def is_true(now: LogState, statement: Evidence[Packet]) -> bool:
    """Whether a packet has the content that the log gave at its time. Anybody enrolled may record a
    packet, so it is made again to compare.
    """
    return packet.same_content(_made_again(now, statement), statement.predicate)


def is_verbatim(now: LogState, statement: Evidence[Packet]) -> bool:
    """Whether a packet is exactly what this version of the program makes, findings' texts
    included.
    """
    return packet.digest_of(_made_again(now, statement)) == packet.digest_of(statement.predicate)


def in_our_words(now: LogState, statement: Evidence[Packet]) -> Packet:
    """The packet with its findings in this version's words. People read these: the person who
    recorded the packet could have chosen other words.
    """
    recorded = statement.predicate
    made = _made_again(now, statement)
    if not packet.same_content(made, recorded):
        return recorded
    return recorded.model_copy(update={"findings": made.findings, "waived": made.waived})


def _made_again(now: LogState, statement: Evidence[Packet]) -> Packet:
    """Makes a packet again from the entries before it, at its time."""
    recorded = statement.predicate
    before, at = now.before(statement.index), instant_of(recorded.run.finished)
    return freeze(before, recorded.model, recorded.version, at, recorded.run)


def _reference(now: LogState, registered: Registration) -> ModelRef:
    """The released model. Raises `InputError` where its files do not add up to its digest."""
    node = model_node(now.view, registered.model_digest, registered.stage)
    is_trained = node.train is not None
    suite = _gate_request(node.gate).suite if node.gate else None
    if manifest_digest(registered.files) != registered.model_digest:
        raise InputError(
            f"the files of {registered.model}/{registered.version} do not add up to its digest"
        )
    return model_reference(registered, suite if is_trained else registered.suite)


def model_reference(registered: Registration, suite: SuiteRef | None) -> ModelRef:
    """A registered model for a decision: its files, and the suite that decides on it."""
    return ModelRef(
        name=registered.stage,
        outside=False,
        sha256=registered.model_digest,
        files=sorted(file.path for file in registered.files),
        suite=suite.name if suite else "none",
        suite_digest=suite.digest if suite else "0" * 64,
        further=registered.further,
    )


def _gate_request(gate: Evidence[GateDecision]) -> GateRequest:
    try:
        return asked_of_gate(gate.predicate)
    except VerificationError:
        raise InputError("its gate's request cannot be read", where=f"entry {gate.index}") from None


def _open_request(now: LogState, request: ReleaseRequest) -> Evidence[PromotionRequest] | None:
    """The latest open request for this move by a person who may ask for it.

    Without one, the latest other request, so that the decision can say what is wrong with it. A
    request without the right to ask thus never hides one with it.
    """
    fitting = [
        signed
        for signed in now.evidence.by_subject(request.released.sha256, PromotionRequest)
        if (signed.predicate.model, signed.predicate.alias, signed.predicate.action)
        == (request.model, request.alias, request.action)
    ]
    consumed = now.timeline.consumed_requests
    unconsumed = [signed for signed in fitting if signed.digest not in consumed]
    return preferred(now, unconsumed) or next(reversed(fitting), None)


def preferred(
    now: LogState, requests: Sequence[Evidence[PromotionRequest]]
) -> Evidence[PromotionRequest] | None:
    """The last request by a person who may ask for it; else the last by anybody."""
    permitted = [request for request in requests if may_ask(now, request)]
    return next(reversed(permitted or requests), None)


def to_retire(now: LogState, model: str, alias: str) -> str | None:
    """The version in the preferred open request to retire; None without a request."""
    request = _asked(now, model, lambda asked: (asked.action, asked.alias) == ("retire", alias))
    return request.version if request else None


def _asked(
    now: LogState, model: str, fits: Callable[[PromotionRequest], bool]
) -> PromotionRequest | None:
    """The preferred open request of those that fit."""
    requests = now.timeline.open_requests(model)
    request = preferred(now, [signed for signed in requests if fits(signed.predicate)])
    return request.predicate if request else None


def check_right(now: LogState, signer: Signer, kind: str) -> None:
    """Raises `ConfigError` if policy does not let this key sign evidence of a kind. It would not
    count.
    """
    known = signer.keyid in now.authority.keys
    if not known or not now.authority.may_sign(kind, signer.keyid, False, now.size):
        found = f"policies in force do not let this key sign {kind}s ({signer.keyid[:16]})"
        fix = f"policies/policy.yaml: a service principal with this key that signs `{kind}`"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)


def may_ask(now: LogState, statement: Evidence[PromotionRequest]) -> bool:
    """Whether a person signed the request in a role that may ask for its alias."""
    request = statement.predicate
    rule = now.authority.policies.rules.aliases.get(request.alias)
    permitted = rule is not None and request.role in rule.requesters
    return permitted and now.authority.speaker(statement) is not None


# -- The move --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Promoter:
    """Carries out moves of governed aliases. Nothing else moves them."""

    log: Log
    signer: Signer
    """A service that may sign `promotion` by policy."""
    move_alias: MoveAlias
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
        """Decides on the open request and moves the alias if allowed. Raises `RefusedError` with
        every finding. The decision is logged either way.

        `action`: by default, that of the open request. `keep`: whether a refusal is logged. Without
        it, somebody who is refused again and again does not fill the log.
        """
        for _ in range(ATTEMPTS):
            now = state(self.log)
            check_right(now, self.signer, "promotion")
            asked = _asked(
                now, model, lambda asked: (asked.version, asked.alias) == (version, alias)
            )
            chosen = action or (asked.action if asked else "promote")
            is_asked = chosen == "promote" and asked is not None
            if is_asked and cosigned.record(self.log, now, self.signer, model, self.now):
                now = state(self.log)
            request = ask(now, chosen, model, version, alias)
            at = self._time(now)
            decision = decide(now, request, at)
            promotion = self._promotion(now, request, decision, caller)
            try:
                if decision.allowed or keep:
                    self._record(now, promotion)
            except ConflictError:
                if state(self.log).size == now.size:
                    raise  # the log did not grow: the registry's row differs from the log
                continue
            if not decision.allowed:
                raise RefusedError(explain(decision, f"{model}/{version} as {alias}"))
            return promotion
        raise ConflictError(
            "others kept writing to the log while this was decided", fix="try again"
        )

    def _time(self, now: LogState) -> datetime:
        """This machine's time. Raises `ConfigError` if it is earlier than the last decision in the
        log: with it, expired requests would be in force again.
        """
        at = self.now()
        last = max(
            (decision.predicate.at for decision in now.decisions()), default=None, key=instant_of
        )
        if last is not None and at < instant_of(last) - CLOCK_LEEWAY:
            found = f"this machine's clock ({exact_instant(at)}) is behind the log's last decision"
            fix = "set the clock right; requests, approvals and waivers expire by it"
            raise ConfigError(found, expected=f"{last} or later", fix=fix)
        return at

    def _record(self, now: LogState, promotion: Promotion) -> None:
        subjects = [Artifact(role="model", name=promotion.model, sha256=promotion.model_digest)]
        if promotion.request and promotion.allowed:
            subjects.append(
                Artifact(role="request", name=promotion.action, sha256=promotion.request)
            )

        def also(execute: Execute) -> None:
            to = None if promotion.action == "retire" else promotion.version
            for alias in _touched(now, promotion):
                holder = now.holder(promotion.model, alias)
                held = holder.version if holder else None
                self.move_alias(execute, promotion.model, alias, held, to)

        evidence.record(
            self.log,
            self.signer,
            "promotion",
            subjects,
            promotion,
            expected_size=now.size if promotion.allowed else None,
            also=also if promotion.allowed else None,
        )

    def _promotion(
        self, now: LogState, request: ReleaseRequest, decision: ReleaseDecision, caller: str
    ) -> Promotion:
        moment = exact_instant(decision.at)
        run = Run(started=moment, finished=moment, seconds=0.0, requested_by=self.requester)
        return Promotion(
            model=request.model,
            version=request.version,
            alias=request.alias,
            model_digest=request.released.sha256,
            allowed=decision.allowed,
            findings=list(decision.findings),
            policy=now.authority.in_force.digest,
            at=moment,
            run=run,
            action=request.action,
            request=request.request,
            packet=request.packet,
            from_version=request.from_version,
            caller=caller,
            asked=request.model_dump(mode="json"),
            waived=list(decision.waived),
            second_signature_by=(
                _second_signature(now, request, decision.at) if decision.allowed else None
            ),
        )


def _touched(now: LogState, promotion: Promotion) -> list[str]:
    """The aliases that a move changes: its own; for a retirement, every alias that serves users and
    that the version holds. Policy may have dropped one of them.
    """
    if promotion.action != "retire":
        return [promotion.alias]
    tenures = now.timeline.held_by(promotion.model, promotion.version)
    return [tenure.alias for tenure in tenures if tenure.alias != CANDIDATE]


def _second_signature(now: LogState, request: ReleaseRequest, at: datetime) -> str | None:
    """When the second signature is due on a rollback by one person alone; None if none is
    needed.
    """
    rule = now.authority.policies.rules.aliases.get(request.alias)
    signed = now.timeline.requests.get(request.request or "")
    if request.action != "rollback" or rule is None or signed is None:
        return None
    people = one_each(now.authority, signers_of_request(now.authority, now.evidence, signed, at))
    alone = signed.predicate.break_glass and len(people) < max(2, rule.rollback_people)
    return exact_instant(at + timedelta(hours=rule.second_signature_hours)) if alone else None
