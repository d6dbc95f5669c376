"""Decides on promotion, rollback and retirement, and moves the alias if the decision allows it.

1. A decision on the log at size N commits only at size N. If the log grew meanwhile, it is decided
   again. The entry and the alias commit in one transaction.
2. A refusal is an entry, too. The same refusal is recorded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Promotion, Requester, Run
from governance.attest.requests import Action, ReleaseDecision, ReleaseRequest, explain
from governance.base.errors import ConfigError, ConflictError, RefusedError
from governance.base.time import exact_instant, instant_of
from governance.history.persons import one_each
from governance.history.state import LogState, state
from governance.history.votes import signers_of_request
from governance.log import evidence
from governance.log.port import Execute, Log
from governance.release.promotion import ask, check_right, decide, preferred

ATTEMPTS = 8
"""How often a request is decided before giving up, if the log grows meanwhile."""
CLOCK_LEEWAY = timedelta(minutes=1)
"""How far this machine's clock may be behind the log's last decision. Clocks differ a little."""


MoveAlias = Callable[[Execute, str, str, str | None, str | None], None]
"""Moves an alias of a model from one version to another; `governance.registry.rows.move_alias`."""


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
            chosen = action or _asked_for(now, model, version, alias)
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
            raise ConfigError(
                f"this machine's clock ({exact_instant(at)}) is behind the log's last decision",
                expected=f"{last} or later",
                fix="set the clock right; requests, approvals and waivers expire by it",
            )
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


def _asked_for(now: LogState, model: str, version: str, alias: str) -> Action:
    """The action of the latest open request for this version and alias."""
    requests = [
        request
        for request in now.timeline.open_requests(model)
        if (request.predicate.version, request.predicate.alias) == (version, alias)
    ]
    request = preferred(now, requests)
    return request.predicate.action if request else "promote"


def _touched(now: LogState, promotion: Promotion) -> list[str]:
    """The aliases that a move changes: its own; for a retirement, every governed alias that the
    version holds.
    """
    if promotion.action != "retire":
        return [promotion.alias]
    governed = now.authority.policies.rules.aliases
    tenures = now.timeline.held_by(promotion.model, promotion.version)
    return [tenure.alias for tenure in tenures if tenure.alias in governed]


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
