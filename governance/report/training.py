"""The report's training stages and base models."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from governance.attest.predicates import Train
from governance.base.text import moment
from governance.history.lineage import ModelNode
from governance.log.evidence import Evidence
from governance.report import assurance, compute
from governance.report.facts import PREFIX, Facts
from governance.report.model.training import Along, Base, Curve, Training

POINTS = 120
"""The most points of a drawn curve. They are spaced evenly and include the first and the last."""
ROWS = 16
"""The most rows of a table of reward against divergence, where nothing was scored beside it."""


def trainings(facts: Facts) -> list[Training]:
    """Every training stage of the version, in the order of the chain."""
    return [_training(facts, node, node.train) for node in facts.chain if node.train]


def bases(facts: Facts) -> list[Base]:
    """Every base model of the version, also those without evidence."""
    allowed = facts.policies.bases if facts.policies else {}
    unnamed = facts.policies_note or "not stated: policies/bases.yaml does not name it"
    return [
        Base(
            name=node.name,
            digest=node.sha256,
            imported=node.base.predicate if node.base else None,
            licence=allowed[node.name].licence if node.name in allowed else unnamed,
            evidence=[node.base.index] if node.base else [],
            declared=facts.declaration if node.imported else None,
        )
        for node in facts.chain
        if node.train is None
    ]


def _training(facts: Facts, node: ModelNode, statement: Evidence[Train]) -> Training:
    request, gate = facts.requests.get(node.sha256), "no earlier decision in the log allowed it"
    if node.gate is not None:
        decision = node.gate.predicate
        gate = f"allowed by E{node.gate.index} (tier {decision.tier}), {moment(decision.at)}"
    stage = statement.predicate.stage
    others = [run.index for run in facts.of("train") if run.predicate.stage == stage]
    path = facts.file(statement, "curves")
    entries = [entry.index for entry in (statement, node.gate) if entry]
    along = along_training(statement.predicate)
    return Training(
        stage=node.name,
        model_digest=node.sha256,
        train=statement.predicate,
        parent=_name_of(facts, node.parent),
        scorer=_name_of(facts, node.scorer),
        data=request.data.dataset if request else "not recorded",
        other_trainings=[index for index in others if index != statement.index],
        assurance=assurance.words(facts, node),
        compute=compute.of_training(statement.predicate),
        curves=read_curves(path) if isinstance(path, Path) else [],
        curves_note="" if isinstance(path, Path) else path,
        along=shown_along(along),
        against_kl=against_kl(along),
        gate=gate,
        evidence=[*entries, *assurance.entries(facts, node)],
    )


def along_training(train: Train) -> list[Along]:
    """The points of the curve, each with the last look up to it."""
    looks = list(train.looks.points) if train.looks else []
    rows, after = [], 0
    for point in train.curve:
        seen = [look for look in looks if after < look.step <= point.step]
        scores = {name: score.mean for name, score in seen[-1].scores.items()} if seen else {}
        rows.append(Along(step=point.step, kl=point.kl, reward=point.reward, scores=scores))
        after = point.step
    return rows


def against_kl(rows: list[Along]) -> list[Curve]:
    """Reward and each metric against divergence, where there are two points or more."""
    known = [(row.kl, {"reward": row.reward, **row.scores}) for row in rows if row.kl is not None]
    names = dict.fromkeys(name for _, values in known for name in values)
    curves = [
        Curve(name=name, points=[(kl, values[name]) for kl, values in known if name in values])
        for name in names
    ]
    return [curve for curve in curves if len(curve.points) > 1]


def shown_along(rows: list[Along]) -> list[Along]:
    """The rows of a table: those with looks; where there are none, some."""
    if looked := [row for row in rows if row.scores]:
        return looked
    apart = -(-len(rows) // ROWS) or 1
    return rows[::-1][::apart][::-1]


def _name_of(facts: Facts, digest: str | None) -> str:
    """The name of a model of the chain, by its digest."""
    names = {node.sha256: node.name for node in facts.chain}
    return names.get(digest, digest[:PREFIX]) if digest else "none"


def read_curves(path: Path) -> list[Curve]:
    """The signals of a CSV file whose first column is `step`. Empty cells and non-numbers are
    skipped.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    curves = []
    for name in rows[0] if rows else ():
        points = [_point(row.get("step"), row.get(name)) for row in rows]
        finite = [point for point in points if point is not None]
        if name and name != "step" and len(finite) > 1:
            curves.append(Curve(name=name, points=_thinned(finite)))
    return curves


def _point(step: str | None, value: str | None) -> tuple[float, float] | None:
    try:
        point = float(step or ""), float(value or "")
    except ValueError:
        return None
    return point if all(math.isfinite(part) for part in point) else None


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= POINTS:
        return points
    chosen = sorted({round(i * (len(points) - 1) / (POINTS - 1)) for i in range(POINTS)})
    return [points[i] for i in chosen]
