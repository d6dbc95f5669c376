"""JSON documents beside a model's files in the registry, for people who browse there.

They are a convenience: counts, digests, scores and decisions, but no data. Decisions read the log.
"""

from __future__ import annotations

from typing import Any

from governance.attest.predicates import Artifact, Evaluate, ModelFile
from governance.base.statistics import mean_interval
from governance.gates.judging import as_shown
from governance.history.chain import Chain
from governance.log.evidence import Evidence
from governance.policy.policies import Policies
from governance.report.facts import about

SHOWN = {
    "ingest": ("datasets.json", {"stage", "counts"}),
    "scan": ("datasets.json", {"stage", "counts"}),
    "quality": ("datasets.json", {"stage", "counts"}),
    "evaluate": (
        "evaluations.json",
        {"stage", "model", "suite", "suite_name", "not_run", "scores"},
    ),
    "gate": ("gates.json", {"stage", "allowed", "tier", "at", "decided_on", "findings"}),
}
"""Kind of evidence to the file that has it, and the fields that it shows."""


def documents(chain: Chain, files: list[ModelFile], policies: Policies) -> dict[str, Any]:
    """File name to its JSON: the manifest, the chain of evidence, datasets, evaluations, gate
    decisions. Scores that do not count are left out.
    """
    manifest = {"digest": chain.digest, "files": [file.model_dump() for file in files]}
    rows: dict[str, list[Any]] = {"chain.json": [], **{name: [] for name, _ in SHOWN.values()}}
    for statement in statements(chain):
        row = _statement(statement)
        rows["chain.json"].append(row)
        if statement.kind in SHOWN:
            name, fields = SHOWN[statement.kind]
            rows[name].append(row | _fields(chain, statement, policies, fields))
    return {"manifest.json": manifest, **rows}


def _fields(
    chain: Chain, statement: Evidence, policies: Policies, shown: set[str]
) -> dict[str, Any]:
    if isinstance(statement.predicate, Evaluate):
        evaluation = as_shown(chain.view, statement, policies).predicate
        withheld = {"not_shown": evaluation.not_shown} if evaluation.not_shown else {}
        return {name: getattr(evaluation, name) for name in sorted(shown)} | withheld
    fields: dict[str, Any] = statement.predicate.model_dump(include=shown)
    return fields


def statements(chain: Chain) -> list[Evidence]:
    """Every statement that the model rests on, each once, in the order of the log."""
    by_entry = {statement.index: statement for statement in chain.statements()}
    return [statement for _, statement in sorted(by_entry.items())]


def links(chain: Chain) -> list[Artifact]:
    """The statements as digests, for the registration's own statement."""
    return [
        Artifact(role=statement.kind, name=about(statement), sha256=statement.digest)
        for statement in statements(chain)
    ]


def parameters(chain: Chain) -> dict[str, Any]:
    """Hyperparameters of the training that made the model."""
    return dict(chain.released.train.predicate.parameters) if chain.released.train else {}


def means(chain: Chain, policies: Policies) -> dict[str, float]:
    """Metric to mean on the model's own suite, and `SUITE/METRIC` to mean on those beside it. None
    where a judge gave the scores that does not count.
    """
    found: dict[str, float] = {}
    for at, suite in enumerate(chain.own_suites):
        found_there = chain.evaluation(chain.released, suite)
        evaluation = as_shown(chain.view, found_there, policies) if found_there else None
        for name, values in evaluation.predicate.scores.items() if evaluation else ():
            present = [value for value in values if value is not None]
            if present:
                mean = mean_interval(present, 0.95).mean
                found[f"{suite.name}/{name}" if at else name] = mean
    return found


def _statement(statement: Evidence) -> dict[str, Any]:
    return {
        "entry": statement.index,
        "kind": statement.kind,
        "about": about(statement),
        "statement_sha256": statement.digest,
        "subjects": [subject.model_dump() for subject in statement.subjects],
        "key": statement.keyid,
        "development_key": statement.development,
    }
