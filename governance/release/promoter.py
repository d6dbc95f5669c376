"""Promotion, rollback and retirement: a decision on exactly the log as it stands, and the move that
it allows.

1. The decision is made on the log at size N and committed on size N: if anybody wrote something
   meanwhile, it is decided again. Entry and alias commit in one transaction, or neither.
2. A refusal is an entry too, once for the same reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Promotion, PromotionRequest, Requester, Run
from governance.attest.requests import Action, ReleaseDecision, ReleaseRequest, explain
from governance.base.errors import ConfigError, ConflictError, RefusedError
from governance.base.time import exact_instant, instant_of
from governance.history.persons import one_each
from governance.history.state import LogState, state
from governance.history.votes import signers_of_request
from governance.log import evidence
from governance.log.port import Execute, Log
from governance.release.promotion import ask, decide, may_ask

ATTEMPTS = 8
"""How often a decision is made again because the log grew meanwhile."""
CLOCK_LEEWAY = timedelta(minutes=1)
"""How far behind the log's last decision a clock may be: machines differ a little."""


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

    def _check_signer(self, now: LogState) -> None:
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

    def _time(self, now: LogState) -> datetime:
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

    def _record(self, now: LogState, promotion: Promotion) -> None:
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
        self, now: LogState, asked: ReleaseRequest, decision: ReleaseDecision, caller: str
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


def _asked_for(now: LogState, model: str, version: str, alias: str) -> Action:
    """The action of the latest open request for this version and alias."""
    found = now.timeline.open_requests(model)
    mine = [
        item for item in found if (item.predicate.version, item.predicate.alias) == (version, alias)
    ]
    theirs = [item for item in mine if may_ask(now, item)]
    action: Action = (theirs or mine)[-1].predicate.action if mine else "promote"
    return action


def _touched(now: LogState, promotion: Promotion) -> list[str]:
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


def _held(now: LogState, model: str, alias: str) -> str | None:
    held = now.holder(model, alias)
    return held.version if held else None


def _second_signature(now: LogState, asked: ReleaseRequest, at: datetime) -> str | None:
    """By when somebody else signs what one person did alone."""
    rule = now.authority.policies.rules.aliases.get(asked.alias)
    found = [
        one
        for one in now.evidence.by_subject(asked.released.sha256, PromotionRequest)
        if one.digest == asked.request
    ]
    if asked.action != "rollback" or rule is None or not found:
        return None
    signed: PromotionRequest = found[0].predicate
    people = signers_of_request(now.authority, now.evidence, found[0], at)
    alone = signed.break_glass and len(one_each(now.authority, people)) < max(
        2, rule.rollback_people
    )
    return exact_instant(at + timedelta(hours=rule.second_signature_hours)) if alone else None
