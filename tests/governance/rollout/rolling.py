"""A log with a champion and a second version, and rollouts told on top of it: statements as if they
were the next entries, so that each row of a table costs no signature and no file.

cleo asks for a rollout, ben starts and widens it, `proxy` observes and reacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    KINDS,
    Artifact,
    Finding,
    Incident,
    Promotion,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
)
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.history.rollouts import Rollout
from governance.history.state import LogState, state
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.rollout import automation, deciding
from tests.governance.forged import second
from tests.governance.governed import KINDS as CI_SIGNS
from tests.governance.governed import (
    PEOPLE,
    RULES,
    Governed,
    begun,
    person,
    principals,
    with_check,
)
from tests.governance.story import MODEL

ROLLOUTS = """
rollouts:
  requested_by: [release-manager, ml-lead]
  widened_by: [risk, ml-lead]
  max_hours: 96
  minimum_sample: 50
  guardrails:
    errors: {worse: higher, low: 0, high: 1, margin: 0.05}
"""
SERVICES = {"ci": CI_SIGNS, "proxy": ["rollout_window", "rollout_reaction"]}
ERRORS = {
    "metric": "errors",
    "worse": "higher",
    "low": 0,
    "high": 1,
    "margin": 0.05,
    "expected": 0.02,
}
STATES: Mapping[type[Model], str] = {kind.model: name for name, kind in KINDS.items()}


def desk(folder: Path, tier: str = "", rules: str = ROLLOUTS) -> Governed:
    """Version 1 is champion, version 2 is registered."""
    scene = begun(folder, RULES + rules, principals(services=SERVICES), tier)
    if "canary" in tier:
        scene.waive("CANARY_MISSING", f"model {MODEL}")
    scene.released()
    second(scene)
    return scene


@dataclass
class Told:
    """Statements about rollouts that follow the entries of a log."""

    before: LogState
    at: datetime
    assumed: list[Evidence] = field(default_factory=list)

    @property
    def now(self) -> LogState:
        """The log with everything told so far."""
        return replace(
            self.before,
            size=self.before.size + len(self.assumed),
            evidence=self.before.evidence.assuming(self.assumed),
        )

    @property
    def rollout(self) -> Rollout:
        """The last rollout whose request counts."""
        return list(self.now.timeline.rollouts.values())[-1]

    def digest_of(self, version: str) -> str:
        return self.before.registration(MODEL, version).predicate.model_digest

    # -- Statements, not told ----------------------------------------------------------------------
    def statement(self, who: str, predicate: Model, *subjects: str) -> Evidence:
        about = tuple(Artifact(role="model", name=MODEL, sha256=one) for one in subjects)
        kind, index = STATES[type(predicate)], self.before.size + len(self.assumed)
        digest = sha256_bytes(f"{index} {predicate.model_dump_json()}".encode())
        return Evidence(index, kind, about, predicate, person(who).keyid, False, digest)

    def window_subjects(self, version: str) -> tuple[Artifact, ...]:
        """What a statement about another version would be about."""
        return (Artifact(role="model", name=MODEL, sha256=self.digest_of(version)),)

    def signed(self, who: str, role: str, **fields: Any) -> dict[str, Any]:
        return {
            **{"principal": who, "role": role, "reason": "because"},
            **{"log": self.before.authority.origin, "at": exact_instant(self.at)},
            **fields,
        }

    def request(self, who: str = "cleo", role: str = "release-manager", **fields: Any) -> Evidence:
        said = {
            "model": MODEL,
            "alias": "champion",
            "from_version": "1",
            "from_digest": self.digest_of("1"),
            "to_version": "2",
            "to_digest": self.digest_of("2"),
            "mode": "live",
            "weights": [1_000, 5_000],
            "guardrails": [ERRORS],
            "minimum_sample": 50,
            "expires": exact_instant(self.at + timedelta(hours=72)),
            "widened_by": ["risk"],
            "alpha": 0.05,
            **fields,
        }
        asked = RolloutRequest.model_validate(self.signed(who, role, **said))
        return self.statement(who, asked, asked.to_digest)

    def step(
        self,
        action: str,
        weight: int | None = None,
        who: str = "ben",
        role: str = "risk",
        **fields: Any,
    ) -> Evidence:
        usual = {"abort": 0, "narrow": self.rollout.narrower_weight}
        share = usual.get(action, self.rollout.next_weight or 0) if weight is None else weight
        said = {**self._about(), "number": self.rollout.next_number, "action": action, **fields}
        predicate = RolloutStep.model_validate(self.signed(who, role, weight=share, **said))
        return self.statement(who, predicate, self.rollout.asked.to_digest, predicate.rollout)

    def window(
        self,
        old: tuple[float, int] | None = (0.02, 900),
        new: tuple[float, int] = (0.02, 100),
        who: str = "proxy",
        **fields: Any,
    ) -> Evidence:
        """A window in which each arm had this rate of errors among so many requests."""
        asked = self.rollout.asked
        metrics = {one.metric: {"old": _bits(old), "new": _bits(new)} for one in asked.guardrails}
        said = {
            "log": self.before.authority.origin,
            **self._about(),
            "number": self.rollout.next_window,
            "weight": self.rollout.recorded_weight,
            "started": exact_instant(self.at),
            "finished": exact_instant(self.at + timedelta(minutes=5)),
            "metrics": metrics,
            "gap": "the share was changed" if self._is_after_gap() else "",
            "run": self._run(),
            **fields,
        }
        predicate = RolloutWindow.model_validate(said)
        return self.statement(who, predicate, self.rollout.asked.to_digest, predicate.rollout)

    def reaction(self, action: str, who: str = "proxy", **fields: Any) -> Evidence:
        rollout = self.rollout
        weights = {"abort": 0, "narrow": rollout.narrower_weight, "pass": rollout.recorded_weight}
        said = {
            "log": self.before.authority.origin,
            **self._about(),
            "number": rollout.next_number,
            "action": action,
            "weight": weights[action],
            "windows": len(rollout.windows),
            "at": exact_instant(self.at),
            "run": self._run(),
            **fields,
        }
        predicate = RolloutReaction.model_validate(said)
        return self.statement(who, predicate, self.rollout.asked.to_digest, predicate.rollout)

    def incident(self, said: str = "open") -> Evidence:
        fields = self.signed("ben", "risk", model=MODEL, version="2", state=said)
        incident = Incident.model_validate(with_check(fields))
        return self.statement("ben", incident, self.digest_of("2"))

    def move(self, version: str, action: str = "promote", **fields: Any) -> Evidence:
        """A move of `champion`, as the server records it."""
        given = next(iter(self.before.timeline.decisions)).predicate
        changes = {
            "version": version,
            "model_digest": self.digest_of(version),
            "action": action,
            "at": exact_instant(self.at),
            **fields,
        }
        moved: Promotion = given.model_copy(update=changes)
        return self.statement("ci", moved, moved.model_digest)

    # -- Telling -----------------------------------------------------------------------------------
    def tell(self, statement: Evidence) -> Evidence:
        """It is the next entry, whether it counts or not. Five minutes later."""
        self.assumed.append(statement)
        self.at += timedelta(minutes=5)
        return statement

    def asks(self, **fields: Any) -> Told:
        self.tell(self.request(**fields))
        return self

    def steps(self, action: str, **fields: Any) -> Told:
        self.tell(self.step(action, **fields))
        return self

    def observes(self, *arms: Any, **fields: Any) -> Told:
        self.tell(self.window(*arms, **fields))
        return self

    def started(self, **fields: Any) -> Told:
        return self.asks(**fields).steps("start")

    def reacts(self) -> str | None:
        """What automation does now; None where nothing is due."""
        wanted = automation.due(self.rollout, self.at)
        if wanted is None:
            return None
        action, weight, metrics = wanted
        self.tell(self.reaction(action, weight=weight, metrics=metrics))
        return action

    def against(self, statement: Evidence) -> set[str]:
        """The codes against a statement as the next entry, and who may not sign it."""
        problem = self.before.authority.problem(statement)
        return {one.code for one in self.found(statement)} | ({problem} if problem else set())

    def found(self, statement: Evidence) -> list[Finding]:
        return deciding.decide(self.now, statement, self.at + timedelta(minutes=6))

    def standing(self) -> tuple[str, int]:
        return self.rollout.state(self.at), self.rollout.weight(self.at)

    def _is_after_gap(self) -> bool:
        windows = self.rollout.windows
        return bool(windows) and instant_of(windows[-1].predicate.finished) < self.at

    def _about(self) -> dict[str, Any]:
        rollout = self.rollout
        version = rollout.asked.to_version
        return {"rollout": rollout.request.digest, "model": MODEL, "to_version": version}

    def _run(self) -> dict[str, Any]:
        moment = exact_instant(self.at)
        requester = {"name": "dora", "authenticated": True}
        return {"started": moment, "finished": moment, "seconds": 0, "requested_by": requester}


@dataclass
class Recorded(Told):
    """The same, signed and recorded in the log of a scene."""

    scene: Governed | None = None

    def tell(self, statement: Evidence) -> Evidence:
        assert self.scene is not None
        by_key = {person(who).keyid: person(who) for who in (*PEOPLE, "proxy", "ci")}
        log, key = self.scene.story.log, by_key[statement.keyid]
        evidence.record(log, key, statement.kind, statement.subjects, statement.predicate)
        self.scene.story.minutes += 5
        self.before, self.at = state(log), self.scene.now
        return statement


def recorded(scene: Governed) -> Recorded:
    return Recorded(state(scene.story.log), scene.now, scene=scene)


def told(scene: Governed) -> Told:
    return Told(state(scene.story.log), scene.now)


def _bits(arm: tuple[float, int] | None) -> dict[str, Any]:
    rate, count = arm or (0.0, 0)
    ones = round(rate * count)
    return {"count": count, "total": ones, "squares": ones}
