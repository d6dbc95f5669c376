"""`python -m benchmarks.rollouts`: a thousand simulated canary rollouts of each kind, beside tests
that look once or at every window. Writes benchmarks/rollouts.md. Takes some minutes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import machine
from tests.governance.rollout.simulated import Ended, Plan, constant, many, with_traffic

RESULTS = Path(__file__).parent / "rollouts.md"
COUNT, WINDOWS, ALPHA, MARGIN, REQUESTS = 1_000, 12, 0.05, 0.02, 5_000
PLANS = {
    "equal: 5 % and 5 %": (constant(0.05), constant(0.05)),
    "worse by the margin: 5 % and 7 %": (constant(0.05), constant(0.07)),
    "the same, traffic that swings by 15 points": (
        with_traffic(0.1, 0.15),
        with_traffic(0.12, 0.15),
    ),
    "harmful: 5 % and 9 %": (constant(0.05), constant(0.09)),
    "harmful: 5 % and 20 %": (constant(0.05), constant(0.20)),
}
NORMAL = 1.6449
"""The one-sided quantile for ALPHA."""


@dataclass(frozen=True)
class Single:
    """What tests that are meant for one look find in the same traffic."""

    at_the_end: bool
    """Harmful, with one look after the last window."""
    ever: bool
    """Harmful, with a look after each window."""


def main() -> None:
    """Simulates, and writes the page."""
    rows = list(_rows())
    now = datetime.now(UTC)
    RESULTS.write_text(
        PAGE.format(
            machine=machine(), day=f"{now:%Y-%m-%d}", rows="\n".join(rows), count=f"{COUNT:,}",
            windows=WINDOWS, alpha=ALPHA, margin=f"{MARGIN * 100:g}", head=HEAD, requests=REQUESTS,
        ),
        encoding="utf-8",
    )  # fmt: skip
    print(RESULTS.read_text(encoding="utf-8"))


def _rows() -> Iterator[str]:
    for name, (old, new) in PLANS.items():
        plan = Plan(old, new, MARGIN, ALPHA, windows=WINDOWS, requests=REQUESTS)
        ours = many(plan, COUNT)
        random = np.random.default_rng(2)
        single = [_single(plan, random) for _ in range(COUNT)]
        yield _row(name, plan, ours, single)


def _row(name: str, plan: Plan, ours: list[Ended], single: list[Single]) -> str:
    aborted = [one for one in ours if one.state == "aborted"]
    stopped = (
        statistics.median(one.windows for one in aborted) if len(aborted) > COUNT / 20 else None
    )
    asked = sum(one.exposed for one in ours) / len(ours)
    cells = [
        name,
        _share(len(aborted)),
        _share(sum(one.state == "passed" for one in ours)),
        _share(sum(one.narrowed > 0 for one in ours)),
        f"{stopped:g}" if stopped is not None else "–",
        f"{asked:,.0f}",
        f"{_share(sum(one.at_the_end for one in single))} at window {plan.windows}",
        _share(sum(one.ever for one in single)),
    ]
    return f"| {' | '.join(cells)} |"


def _share(count: int) -> str:
    return f"{100 * count / COUNT:.1f} %"


def _single(plan: Plan, random: Any) -> Single:
    """A z-test of the difference against the margin, on all requests so far."""
    counts, ones = np.zeros(2), np.zeros(2)
    found = []
    for number in range(1, plan.windows + 1):
        step = min((number - 1) // plan.widen_every, len(plan.weights) - 1)
        hard = float(random.random())
        new = int(random.binomial(plan.requests, plan.weights[step] / 10_000))
        sizes = np.array([plan.requests - new, new])
        rates = [plan.old(number, hard), plan.new(number, hard)]
        counts, ones = counts + sizes, ones + random.binomial(sizes, rates)
        old, other = ones / counts
        error = sqrt(old * (1 - old) / counts[0] + other * (1 - other) / counts[1])
        found.append(other - old - plan.margin > NORMAL * error)
    return Single(found[-1], any(found))


PAGE = """# Canary rollouts, simulated

`python -m benchmarks.rollouts`, {day}, {machine}.

{count} rollouts of each kind: {requests:,} requests in a window, {windows} windows, shares 10, 25
and 50 %, somebody widens after every third window where nothing forbids it. One guardrail, a rate
of errors with a margin of {margin} points, alpha {alpha}. They are judged by the code that judges
real rollouts. Beside them, in traffic of the same kind, a z-test against the margin at the same
level: with one look after the last window, and with a look after each window.

{head}
|---|---|---|---|---|---|---|---|
{rows}

A rollout that ends neither way stays open until its time is over, and does not pass.
"""
HEAD = (
    "| Versions | Aborted | Passed | Narrowed | Windows until the abort, median"
    " | Requests to the new version, mean | z-test, one look | z-test, every look |"
)

if __name__ == "__main__":
    main()
