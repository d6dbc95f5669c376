"""The report's training stages and base models."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from governance.attest.predicates import BaseImport
from governance.base.text import moment
from governance.history.lineage import ModelNode, decided, trained
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import PREFIX, Facts
from governance.report.model import Base, Curve, Training

POINTS = 120
"""The most points of a drawn curve. They are spaced evenly and include the first and the last."""


def trainings(facts: Facts) -> list[Training]:
    """Every training stage of the version, in the order of the chain."""
    return [_training(facts, node, node.train) for node in facts.chain if node.train]


def bases(facts: Facts) -> list[Base]:
    """Every base model of the version, also those without evidence."""
    return [_base(facts, node) for node in facts.chain if node.train is None]


def name_of(facts: Facts, digest: str | None) -> str:
    """The name of a model of the chain, by its digest."""
    return next(
        (node.name for node in facts.chain if node.sha256 == digest),
        digest[:PREFIX] if digest else "none",
    )


def _training(facts: Facts, node: ModelNode, statement: Evidence) -> Training:
    train = trained(statement)
    request = facts.requests.get(node.name)
    curves, note = _curves(facts, statement)
    return Training(
        stage=node.name,
        method=train.method,
        model_digest=node.sha256,
        adapter=train.adapter or "none: all weights were trained",
        parent=name_of(facts, node.parent),
        scorer=name_of(facts, node.scorer) if node.scorer else "none",
        data=request.data.dataset if request else "not recorded",
        records=train.records,
        steps=train.steps,
        parameters=dict(sorted(_flat(train.parameters))),
        final=dict(sorted(train.final.items())),
        seconds=train.run.seconds,
        detail=dict(sorted(train.run.detail.items())),
        device=train.device,
        threads=train.threads,
        code=_code(train.code.commit, train.code.dirty),
        python=train.environment.python,
        platform=train.environment.platform,
        versions=dict(sorted(train.environment.versions.items())),
        distributions=train.environment.distributions,
        requested_by=_requester(train.run.requested_by.name, train.run.requested_by.authenticated),
        other_trainings=_other_trainings(facts, statement),
        assurance=assurance.words(facts, node),
        curves=curves,
        curves_note=note,
        gate=_gate(node),
        evidence=[
            statement.index,
            *([node.gate.index] if node.gate else []),
            *assurance.entries(facts, node),
        ],
    )


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values, flattened to dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _code(commit: str | None, dirty: bool) -> str:
    if commit is None:
        return "no commit: outside a git work tree"
    return f"{commit[:PREFIX]}{', with changes that are not committed' if dirty else ''}"


def _requester(name: str, authenticated: bool) -> str:
    how = "authenticated" if authenticated else "as the operating system says; not authenticated"
    return f"{name} ({how})"


def _other_trainings(facts: Facts, statement: Evidence) -> list[int]:
    """Other trainings of the same stage. The report does not hide them."""
    stage = trained(statement).stage
    return [
        other.index
        for other in facts.of("train")
        if trained(other).stage == stage and other.index != statement.index
    ]


def _gate(node: ModelNode) -> str:
    if node.gate is None:
        return "no decision that allowed it stands before it in the log"
    gate = decided(node.gate)
    return f"allowed by E{node.gate.index} (tier {gate.tier}), {moment(gate.at)}"


def _curves(facts: Facts, statement: Evidence) -> tuple[list[Curve], str]:
    path = facts.file(statement, "curves")
    if isinstance(path, str):
        return [], path
    return read_curves(path), ""


def read_curves(path: Path) -> list[Curve]:
    """The signals of a CSV file whose first column is `step`. Empty cells and non-numbers are
    skipped.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name and name != "step"]
    curves = []
    for name in names:
        points = [
            point for row in rows if (point := _point(row.get("step"), row.get(name))) is not None
        ]
        if len(points) > 1:
            curves.append(Curve(name=name, points=_thinned(points)))
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


def _base(facts: Facts, node: ModelNode) -> Base:
    base = (
        node.base.predicate if node.base and isinstance(node.base.predicate, BaseImport) else None
    )
    allowed = facts.policies.bases.get(node.name) if facts.policies else None
    if base is None:
        weights = "not recorded"
    else:
        weights = (
            "pre-trained weights from outside"
            if base.weights
            else "none: an architecture, trained from scratch here"
        )
    return Base(
        name=node.name,
        digest=node.sha256,
        source=base.source if base else "not recorded: no evidence of where this model comes from",
        weights=weights,
        licence=(
            allowed.licence
            if allowed
            else facts.policies_note or "not stated: policies/bases.yaml does not name it"
        ),
        evidence=[node.base.index] if node.base else [],
    )
