"""The new version of a rollout, as the log says: its share, and what is against serving it.

1. A rollout counts while `governance.history.rollouts` gives it a share. In a shadow rollout that
   is the share of the callers whose requests are copied.
2. The holder must be the version from which the rollout goes. The new version must be registered
   with the bytes that the signed request names, by no development key, and registered once.
3. The same things are against it as against a holder. Beyond that, every open incident is, whatever
   its severity, and a guardrail that is harmful although nobody recorded the abort yet.
4. The decision of each start and widening is made again from the entries before it. So a step that
   was recorded past the server serves nobody.
5. Whatever goes wrong here is against the new version. It never concerns the holder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from governance.base.errors import CountersignError
from governance.base.time import instant_of
from governance.history.rollouts import Rollout
from governance.history.state import LogState
from governance.proxy import against
from governance.proxy.permission import Canary, Held
from governance.release.serving import resolve
from governance.rollout import deciding


@dataclass(frozen=True)
class Moment:
    """One moment on two clocks."""

    wall: datetime
    steady: float
    """Seconds of a clock that nobody can turn back."""


def canary_of(
    now: LogState, holder: Held, alias: str, at: Moment, differences: Iterable[Finding] = ()
) -> Canary | None:
    """The rollout that has a share of the callers of an alias; None where there is none, or more
    than one. `differences`: between log and registry.
    """
    with_share = [
        rollout
        for rollout in now.timeline.rollouts.values()
        if (rollout.asked.model, rollout.asked.alias) == (holder.model, alias)
        and rollout.weight(at.wall) > 0
    ]
    if len(with_share) != 1:
        return None
    (rollout,) = with_share
    expires = instant_of(rollout.asked.expires)
    left = (expires - at.wall) / timedelta(seconds=1)
    found = (*_against(now, rollout, holder, at.wall), *_differing(rollout, differences))
    asked = rollout.asked
    held = Held(asked.model, asked.to_version, asked.to_digest, rollout.steps[-1].index, found)
    return Canary(
        held,
        rollout.request.digest,
        rollout.recorded_weight,
        at.steady + left,
        tuple(asked.guardrails),
        expires,
        asked.mode == "shadow",
    )


def _against(now: LogState, rollout: Rollout, holder: Held, at: datetime) -> tuple[Finding, ...]:
    """(5)"""
    try:
        return tuple(_findings(now, rollout, holder, at))
    except CountersignError as error:
        found = f"{error.found} {error.where}".strip()
        return (_finding(rollout, "ROLLOUT_VERSION", error.expected, found),)
    except Exception as error:  # noqa: BLE001 - whatever it is, the new version is not served
        found = f"internal error: {type(error).__name__}"
        return (_finding(rollout, "ROLLOUT_VERSION", "", found),)


def _findings(now: LogState, rollout: Rollout, holder: Held, at: datetime) -> Iterator[Finding]:
    asked, name = rollout.asked, _name(rollout)
    served = resolve(now, name)
    if holder.digest != asked.from_digest:
        yield _finding(rollout, "ROLLOUT_VERSION", asked.from_digest, holder.digest)
    if served.registration.model_digest != asked.to_digest:
        found = served.registration.model_digest
        yield _finding(rollout, "ROLLOUT_VERSION", asked.to_digest, found)
    if served.development:
        found = "a development key registered it"
        yield _finding(rollout, "ROLLOUT_VERSION", "registered by a service", found)
    if served.incident is not None:
        yield _finding(rollout, "ROLLOUT_INCIDENT", "none", served.incident)
    yield from against.retired(now, asked.to_digest, name)
    yield from against.unreviewed(now, served, at)
    if rollout.harmful:
        yield _finding(rollout, "ROLLOUT_HARMFUL", "", ", ".join(rollout.harmful))
    for step in rollout.steps:
        if step.predicate.action in ("start", "widen"):
            stated = instant_of(step.predicate.at)
            yield from deciding.decide(now.before(step.index), step, stated)


def _differing(rollout: Rollout, differences: Iterable[Finding]) -> Iterator[Finding]:
    """What the registry says otherwise of the new version."""
    return (each for each in differences if each.subject == _name(rollout))


def _finding(rollout: Rollout, code: str, expected: str, found: str) -> Finding:
    asked, name = rollout.asked, _name(rollout)
    fields = {"model": asked.model, "version": asked.to_version}
    return finding(code, name, expected=expected, found=found, **fields)


def _name(rollout: Rollout) -> str:
    return f"{rollout.asked.model}/{rollout.asked.to_version}"
