"""JSON documents beside a model's files in the registry, for people who browse there.

They are a convenience: counts, digests, scores and decisions, but no data. Decisions read the log.
"""

from __future__ import annotations

from typing import Any

from governance.attest.predicates import Artifact, DataCounts, ModelFile
from governance.base.statistics import mean_interval
from governance.history.chain import Chain
from governance.history.lineage import decided, evaluated, trained
from governance.log.evidence import Evidence
from governance.report.facts import about


def documents(chain: Chain, files: list[ModelFile]) -> dict[str, Any]:
    """File name to its JSON: the manifest, the chain of evidence, datasets, evaluations, gate
    decisions.
    """
    return {
        "manifest.json": {"digest": chain.digest, "files": [file.model_dump() for file in files]},
        "chain.json": [_statement(statement) for statement in statements(chain)],
        "datasets.json": [
            _step(statement)
            for statement in statements(chain)
            if statement.kind in ("ingest", "scan", "quality")
        ],
        "evaluations.json": [
            _evaluation(statement)
            for statement in statements(chain)
            if statement.kind == "evaluate"
        ],
        "gates.json": [
            _gate(statement) for statement in statements(chain) if statement.kind == "gate"
        ],
    }


def statements(chain: Chain) -> list[Evidence]:
    """Every statement that the model rests on, each once, in the order of the log."""
    return [
        statement
        for _, statement in sorted(
            {statement.index: statement for statement in chain.statements()}.items()
        )
    ]


def links(chain: Chain) -> list[Artifact]:
    """The statements as digests, for the registration's own statement."""
    return [
        Artifact(role=statement.kind, name=about(statement), sha256=statement.digest)
        for statement in statements(chain)
    ]


def parameters(chain: Chain) -> dict[str, Any]:
    """Hyperparameters of the training that made the model."""
    return dict(trained(chain.released.train).parameters) if chain.released.train else {}


def means(chain: Chain) -> dict[str, float]:
    """Metric to mean, on the model's own suite."""
    evaluation = chain.evaluation(chain.released, chain.suites[0]) if chain.suites else None
    scores = evaluated(evaluation).scores if evaluation else {}
    values_of = {
        name: [value for value in values if value is not None] for name, values in scores.items()
    }
    return {name: mean_interval(values, 0.95).mean for name, values in values_of.items() if values}


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


def _step(statement: Evidence) -> dict[str, Any]:
    counts: DataCounts = statement.predicate.counts
    records = {subject.role: subject.sha256 for subject in statement.subjects}
    return {
        "entry": statement.index,
        "stage": statement.predicate.stage,
        "sha256": records,
        "counts": counts.model_dump(),
    }


def _evaluation(statement: Evidence) -> dict[str, Any]:
    evaluation = evaluated(statement)
    return {
        "entry": statement.index,
        "stage": evaluation.stage,
        "model": evaluation.model,
        "suite": evaluation.suite,
        "suite_name": evaluation.suite_name,
        "not_run": evaluation.not_run,
        "scores": evaluation.scores,
    }


def _gate(statement: Evidence) -> dict[str, Any]:
    decision = decided(statement)
    return {
        "entry": statement.index,
        "stage": decision.stage,
        "allowed": decision.allowed,
        "tier": decision.tier,
        "at": decision.at,
        "decided_on": decision.decided_on,
        "findings": [finding.model_dump() for finding in decision.findings],
    }
