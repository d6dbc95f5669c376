"""A drill: all steps of a rollback except the move. Each step is timed, and the result goes into
the log.

1. The target is found in the same way as by `countersign rollback`. Without a target the drill is
   refused.
2. The steps run in order. The first failed step ends the drill.
3. A service that policy permits to sign `drill` records the result, passed or failed. The drill
   does not change which version a rollback chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Drill, DrillStep, Run
from governance.base.errors import CountersignError, VerificationError
from governance.base.time import exact_instant
from governance.history.chain import Chain
from governance.history.state import LogState
from governance.log import evidence
from governance.log.port import Entry, Log
from governance.machine.machine import Machine
from governance.people import moves
from governance.release.retrospect import Repeat, made_again
from governance.release.serving import Served, resolve

T = TypeVar("T")


class Failed(Exception):
    """A step failed. The rehearsal has recorded why."""


@dataclass
class Rehearsal:
    """The steps done so far, each timed."""

    clock: Callable[[], float]
    """Seconds, for differences only."""
    began: datetime
    steps: list[DrillStep] = field(default_factory=list)
    items: int = 0
    """How many items the loaded model answered."""

    @property
    def passed(self) -> bool:
        """Whether every step so far passed."""
        return all(step.passed for step in self.steps)

    def step(self, name: str, do: Callable[[], tuple[T, str]], *, must: bool = False) -> T:
        """Runs a step that returns its result and a sentence for the log. Raises `Failed` if it
        raises anything; with `must`, its own error.
        """
        began = self.clock()
        try:
            result, outcome = do()
        except Exception as error:  # whatever it is, a way back that ends in it is none
            self._done(name, False, began, reason(error))
            if must:
                raise
            raise Failed(name) from error
        self._done(name, True, began, outcome)
        return result

    def _done(self, name: str, passed: bool, began: float, outcome: str) -> None:
        seconds = round(max(0.0, self.clock() - began), 6)
        self.steps.append(DrillStep(name=name, passed=passed, seconds=seconds, found=outcome))


def reason(error: Exception) -> str:
    """Why a step failed, for the log. It contains no path of this machine. Of an error of a library
    it contains only the type.
    """
    if isinstance(error, CountersignError):
        return " ".join(error.found.split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}"


def target(now: LogState, model: str, alias: str, at: datetime) -> tuple[moves.Plan, str]:
    """(1) The version that a rollback would choose. Raises `RefusedError` if there is none."""
    plan = moves.plan(now, moves.Move("rollback", model, "", alias, "a drill"), at)
    over = "".join(
        f"; passed over version {version}: {finding.code}" for version, finding in plan.skipped
    )
    return plan, f"version {plan.move.version}, sha256 {plan.release.released.sha256[:12]}{over}"


def evidence_of(now: LogState, plan: moves.Plan) -> tuple[Served, str]:
    """The registered target. Its statements are verified, and the decision that gave it the alias
    is repeated. Raises `VerificationError`.
    """
    move = plan.move
    served = resolve(now, f"{move.model}/{move.version}")
    registration = served.registration
    if registration.model_digest != plan.release.released.sha256:
        found = f"{served.name} is registered with other bytes than were decided on"
        raise VerificationError(found)
    releases = now.timeline.released_before(move.model, move.alias, None)
    promotion = next(given for given in releases if given.predicate.version == move.version)
    if made_again(now, promotion) is not Repeat.SAME:
        found = f"the decision of entry {promotion.index} comes out otherwise"
        raise VerificationError(found, fix=f"countersign explain {promotion.index}")
    chain = Chain.registered(now.view, registration)
    statements = {statement.index for statement in chain.statements()}
    again = f"the decision of entry {promotion.index} comes out again"
    return served, f"{len(statements)} statements, each signature valid; {again}"


def record(
    log: Log, now: LogState, signer: Signer, machine: Machine, plan: moves.Plan, done: Rehearsal,
    ended: datetime,
) -> tuple[Drill, Entry]:  # fmt: skip
    """(3) Records the result of the drill in the log."""
    move, finished = plan.move, exact_instant(ended)
    drill = Drill(
        model=move.model,
        alias=move.alias,
        version=move.version,
        from_version=plan.release.from_version,
        model_digest=plan.release.released.sha256,
        passed=done.passed,
        steps=done.steps,
        items=done.items,
        policy=now.authority.in_force.digest,
        at=finished,
        run=Run(
            started=exact_instant(done.began),
            finished=finished,
            seconds=round(sum(step.seconds for step in done.steps), 6),
            requested_by=machine.requester,
        ),
    )
    subject = Artifact(role="model", name=move.model, sha256=drill.model_digest)
    return drill, evidence.record(log, signer, "drill", [subject], drill)
