"""Which versions may be served now: a pure function of what the log said, policy and time.

1. A version is served while the log, as last read, says that it holds the alias, and nothing is
   against it.
2. A log that does not verify stops serving at once. It starts again when the log verifies.
3. A log that cannot be read changes nothing for `stale_hours` of policy. Then `when_stale` decides.
   The time counts from the last reading that was complete (`Knowledge.confirmed`).
4. After a promotion, the version before it may answer until the new one is ready, for at most
   `handover_minutes`. After any other move, what held the alias before ends at once.
5. The new version of a rollout may answer its share of the callers, while the holder may answer,
   the rollout is open, its share is above 0, and nothing is against that version. It needs a log
   that was read completely in the last `CANARY_SECONDS`: who cannot hear an abort does not go on.
   In every other case the holder answers all callers. In a shadow rollout it does, too; the new
   version gets copies under the same conditions.

Times are seconds of a steady clock, which nobody can turn back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Guardrail
from governance.base.text import duration
from governance.policy.serving import ServingRules

LogStatus = Literal["current", "unreached", "stale", "broken"]
HOUR, MINUTE = 3600.0, 60.0
CANARY_SECONDS = 2 * MINUTE
"""How old the last complete reading of the log may be while a rollout has a share (5)."""


@dataclass(frozen=True)
class Held:
    """A version that the log gives the alias."""

    model: str
    version: str
    digest: str
    entry: int
    """Of the move that gave it the alias."""
    against: tuple[Finding, ...] = ()
    """Why it may not be served all the same."""

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.model}/{self.version}"


@dataclass(frozen=True)
class Canary:
    """The new version of a rollout that has a share of the callers."""

    held: Held
    """`entry` is that of the step that gave the share."""
    rollout: str
    """The statement of its request."""
    weight: int
    """Its share, in hundredths of a percent."""
    ends: float
    """When the time of the rollout is over."""
    guardrails: tuple[Guardrail, ...] = ()
    """What is to be observed."""
    expires: datetime | None = None
    """`ends` by the wall clock, for what is recorded."""
    shadow: bool = False
    """Whether the new version gets copies of the requests of its share, and answers nobody."""


@dataclass(frozen=True)
class Said:
    """What the log says of an alias, at one size."""

    size: int
    versions: tuple[Held, ...]
    """The version that holds the alias."""
    former: Held | None
    """The version before, where a promotion took the alias from it."""
    findings: tuple[Finding, ...]
    """Why nothing may be served under this alias."""
    rules: ServingRules
    canary: Canary | None = None
    """What a rollout adds, also where something is against it."""


@dataclass(frozen=True)
class Knowledge:
    """What this process knows: what the log said, when, and what happened since."""

    said: Said
    confirmed: float
    """When the log was last read completely, its witnesses included."""
    moved: float
    """When the holder was first seen."""
    unreached: str = ""
    """Why the last attempt did not read the log; empty where it did."""
    fault: Finding | None = None
    """Why the log does not verify."""


@dataclass(frozen=True)
class Verdict:
    """What may be served at one moment."""

    allowed: tuple[Held, ...]
    """The holder first, then the new version of a live rollout."""
    meanwhile: Held | None
    """May answer until an allowed version is ready (4)."""
    findings: tuple[Finding, ...]
    """Why nothing is allowed; empty where something is."""
    log: LogStatus
    age: float
    """Seconds since the log was last read completely."""
    canary: Canary | None = None
    """The rollout that has a share now (5)."""

    def permits(self, digest: str) -> bool:
        """Whether these bytes may answer."""
        may = (*self.allowed, *((self.meanwhile,) if self.meanwhile else ()))
        return any(held.digest == digest for held in may)


# -- What happens ----------------------------------------------------------------------------------
def begin(said: Said, at: float) -> Knowledge:
    """The log was read for the first time. Nothing is running, so nothing is handed over."""
    return Knowledge(replace(said, former=None), at, at)


def read(known: Knowledge, said: Said, at: float, *, complete: bool = True) -> Knowledge:
    """The log was read again. `complete`: enough witnesses have cosigned it of late. Without them,
    what it says counts, but it may be old: the reading does not renew the time (3).
    """
    moved = known.moved if _digests(said) == _digests(known.said) else at
    confirmed = max(at, known.confirmed) if complete else known.confirmed
    lacking = "" if complete else "too few witnesses have cosigned it of late"
    return Knowledge(said, confirmed, moved, lacking)


def missed(known: Knowledge, reason: str) -> Knowledge:
    """The log could not be read."""
    return replace(known, unreached=reason)


def broken(known: Knowledge, fault: Finding) -> Knowledge:
    """(2) The log does not verify."""
    return replace(known, fault=fault)


# -- What follows ----------------------------------------------------------------------------------
def verdict(known: Knowledge, at: float) -> Verdict:
    """What may be served at a time."""
    rules, age = known.said.rules, max(0.0, at - known.confirmed)
    if known.fault is not None:
        return Verdict((), None, (known.fault,), "broken", age)
    is_stale = age > rules.stale_hours * HOUR
    status: LogStatus = "stale" if is_stale else "unreached" if known.unreached else "current"
    if known.said.findings:
        return Verdict((), None, known.said.findings, status, age)
    if is_stale and rules.when_stale == "stop":
        return Verdict((), None, (_too_old(known, age),), status, age)
    holders = tuple(held for held in known.said.versions if not held.against)
    findings = tuple(each for held in known.said.versions for each in held.against)
    canary = _canary(known, at, age, status) if holders else None
    return Verdict(
        (*holders, *((canary.held,) if canary and not canary.shadow else ())),
        _meanwhile(known, at) if holders else None,
        () if holders else findings or (_nothing_held(),),
        status,
        age,
        canary,
    )


def _canary(known: Knowledge, at: float, age: float, status: LogStatus) -> Canary | None:
    """(5)"""
    canary = known.said.canary
    if canary is None or canary.held.against or canary.weight <= 0 or at >= canary.ends:
        return None
    return None if status == "stale" or age > CANARY_SECONDS else canary


def _meanwhile(known: Knowledge, at: float) -> Held | None:
    """(4)"""
    former, limit = known.said.former, known.said.rules.handover_minutes * MINUTE
    is_in_time = at - known.moved < limit
    return former if former is not None and not former.against and is_in_time else None


def _digests(said: Said) -> list[str]:
    return [held.digest for held in said.versions]


def _too_old(known: Knowledge, age: float) -> Finding:
    found = f"last read {duration(age)} ago; {known.unreached or 'no attempt since'}"
    expected = f"at most {known.said.rules.stale_hours} h ago"
    return finding("LOG_NOT_REACHED", "log", expected=expected, found=found)


def _nothing_held() -> Finding:
    return finding("ALIAS_NOT_HELD", "alias")
