"""What stands beside a model's files in the registry, so that a person may read there what the log
says.

A convenience: counts, digests, scores and decisions, never data. Whatever is decided on stands in
the log.
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
        "chain.json": [_statement(item) for item in statements(chain)],
        "datasets.json": [
            _step(item) for item in statements(chain) if item.kind in ("ingest", "scan", "quality")
        ],
        "evaluations.json": [
            _evaluation(item) for item in statements(chain) if item.kind == "evaluate"
        ],
        "gates.json": [_gate(item) for item in statements(chain) if item.kind == "gate"],
    }


def statements(chain: Chain) -> list[Evidence]:
    """Every statement the model rests on, each once, in the order of the log."""
    return [item for _, item in sorted({item.index: item for item in chain.statements()}.items())]


def links(chain: Chain) -> list[Artifact]:
    """The same as digests, for the registration's own statement."""
    return [
        Artifact(role=item.kind, name=about(item), sha256=item.digest) for item in statements(chain)
    ]


def parameters(chain: Chain) -> dict[str, Any]:
    """Hyperparameters of the training that made the model."""
    return dict(trained(chain.released.train).parameters) if chain.released.train else {}


def means(chain: Chain) -> dict[str, float]:
    """Metric to mean, on the model's own suite."""
    item = chain.evaluation(chain.released, chain.suites[0]) if chain.suites else None
    scores = evaluated(item).scores if item else {}
    known = {
        name: [value for value in values if value is not None] for name, values in scores.items()
    }
    return {name: mean_interval(values, 0.95).mean for name, values in known.items() if values}


def _statement(item: Evidence) -> dict[str, Any]:
    return {
        "entry": item.index,
        "kind": item.kind,
        "about": about(item),
        "statement_sha256": item.digest,
        "subjects": [subject.model_dump() for subject in item.subjects],
        "key": item.keyid,
        "development_key": item.development,
    }


def _step(item: Evidence) -> dict[str, Any]:
    counts: DataCounts = item.predicate.counts
    records = {subject.role: subject.sha256 for subject in item.subjects}
    return {
        "entry": item.index,
        "stage": item.predicate.stage,
        "sha256": records,
        "counts": counts.model_dump(),
    }


def _evaluation(item: Evidence) -> dict[str, Any]:
    said = evaluated(item)
    return {
        "entry": item.index,
        "stage": said.stage,
        "model": said.model,
        "suite": said.suite,
        "suite_name": said.suite_name,
        "not_run": said.not_run,
        "scores": said.scores,
    }


def _gate(item: Evidence) -> dict[str, Any]:
    said = decided(item)
    return {
        "entry": item.index,
        "stage": said.stage,
        "allowed": said.allowed,
        "tier": said.tier,
        "at": said.at,
        "decided_on": said.decided_on,
        "findings": [finding.model_dump() for finding in said.findings],
    }
