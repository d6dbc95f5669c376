"""How much a score varies between training seeds: the same training with other seeds, as the log
has it.

1. Runs count that repeat this model's own training: same inputs, another seed, scored on the same
   suite. Of several runs of one seed, the last counts.
2. The model's own seed is not among them: it may have been chosen for its score.
3. The standard deviation is that of the runs' means (n - 1). It says nothing of the variance over
   items, and an interval over items says nothing of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from governance.attest.predicates import SeedRun
from governance.history.lineage import ModelNode, repeats
from governance.log.evidence import Evidence
from governance.log.views import EvidenceView


@dataclass(frozen=True)
class Spread:
    """One metric over training seeds."""

    seeds: tuple[int, ...]
    """Of the runs that have a score."""
    stopped: tuple[int, ...]
    """Of the runs whose training stopped."""
    mean: float | None
    """Of the runs' means; None where no run has a score."""
    deviation: float | None
    """Their standard deviation; None where fewer than two runs have a score."""
    lowest: float | None
    highest: float | None
    separate: int
    """Runs under another key than that of the training."""
    entries: tuple[int, ...]
    """Where the log has the runs."""


def seed_runs(view: EvidenceView, node: ModelNode, suite: str) -> list[Evidence[SeedRun]]:
    """(1) The runs on the suite of this digest, one for each seed, in their order."""
    own = node.train.predicate.parameters.get("seed") if node.train else None
    found = {
        run.predicate.seed: run
        for run in repeats(view, node, SeedRun)
        if run.predicate.suite == suite and run.predicate.seed != own
    }
    return [found[seed] for seed in sorted(found)]


def spread(runs: Sequence[Evidence[SeedRun]], node: ModelNode, metric: str) -> Spread | None:
    """One metric over these runs of a model's training; None where there are none."""
    if not runs or node.train is None:
        return None
    found = {run.predicate.seed: run.predicate.means.get(metric) for run in runs}
    means = {seed: mean for seed, mean in found.items() if mean is not None}
    values = [*means.values()]
    return Spread(
        seeds=tuple(means),
        stopped=tuple(run.predicate.seed for run in runs if run.predicate.model is None),
        mean=statistics.fmean(values) if values else None,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        lowest=min(values, default=None),
        highest=max(values, default=None),
        separate=sum(run.keyid != node.train.keyid for run in runs),
        entries=tuple(run.index for run in runs),
    )
