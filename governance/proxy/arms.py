"""What is observed of both versions of a rollout, for each of its guardrails. Pure.

1. `MEASURED` says which guardrails a proxy can measure. A value outside a guardrail's range counts
   as the nearest end of the range.
2. Each caller counts once in a window, by the mean of its values: otherwise a few callers with many
   requests decide. Callers are hashes, in memory only; sums are what leaves.
3. A caller who left in the middle of an answer says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from governance.attest.predicates import Arms, Figures, Guardrail
from governance.proxy.tally import Observed
from governance.rollout.split import Side


def _errors(seen: Observed) -> float | None:
    return None if seen.end == "left" else float(seen.end == "failed")


def _latency(seen: Observed) -> float | None:
    return seen.milliseconds / 1000 if seen.end == "answered" else None


def _refusals(seen: Observed) -> float | None:
    return float(seen.said.refused) if seen.said is not None else None


def _characters(seen: Observed) -> float | None:
    return float(seen.said.characters) if seen.said is not None else None


def _output_tokens(seen: Observed) -> float | None:
    has_tokens = seen.said is not None and seen.said.output is not None
    return float(seen.said.output or 0) if seen.said is not None and has_tokens else None


MEASURED: Mapping[str, Callable[[Observed], float | None]] = {
    "errors": _errors,
    "latency": _latency,
    "refusals": _refusals,
    "characters": _characters,
    "output_tokens": _output_tokens,
}
"""(1) Guardrails by name: failed requests, seconds to the last byte, marked refusals, length of an
answer, its tokens. None: the request says nothing of it.
"""


def unmeasured(guardrails: Sequence[Guardrail]) -> list[str]:
    """The guardrails that a proxy cannot measure."""
    return [each.metric for each in guardrails if each.metric not in MEASURED]


@dataclass
class ArmTally:
    """Both versions during one window."""

    guardrails: Sequence[Guardrail]
    _seen: dict[tuple[str, Side], dict[str, tuple[float, int]]] = field(default_factory=dict)
    """Metric and side to each caller's sum and count."""

    def add(self, side: Side, caller: str, seen: Observed) -> None:
        """Counts a request."""
        for guardrail in self.guardrails:
            value = MEASURED[guardrail.metric](seen)
            if value is None:
                continue
            value = min(max(value, guardrail.low), guardrail.high)
            callers = self._seen.setdefault((guardrail.metric, side), {})
            total, count = callers.get(caller, (0.0, 0))
            callers[caller] = total + value, count + 1

    def frozen(self) -> dict[str, Arms]:
        """The sums of this moment."""
        return {
            each.metric: Arms(
                old=self._figures(each.metric, "old"), new=self._figures(each.metric, "new")
            )
            for each in self.guardrails
        }

    def _figures(self, metric: str, side: Side) -> Figures:
        """(2)"""
        callers = self._seen.get((metric, side), {}).values()
        means = [total / count for total, count in callers]
        return Figures(
            count=len(means), total=sum(means), squares=sum(mean * mean for mean in means)
        )
