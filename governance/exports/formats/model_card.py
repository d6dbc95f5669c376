"""A Hugging Face model card: metadata with `model-index`, and a page drawn by
`templates/model_card.md.j2`.

Three fields of the metadata are left out. No record gives the model a `license`. `datasets` holds
names on the Hub, which ours are not. `verified` is a claim that only the Hub can make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from governance.attest.codes import CODES
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records, recall_summary
from governance.exports.text import drawn, stated, yaml_text
from governance.gates.behaviour import SCORERS
from governance.report import behaviour, compute, outside, scores
from governance.report.facts import Facts
from governance.report.model.scores import Score
from governance.report.verdict import verdict

_HUB = re.compile(r"^([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}|[\w.-]+)$")
"""A model on the Hub at a revision, as an import records it."""

_ARGUMENTS = {"low", "high", "n"}
"""Of a score, beside its mean."""


def model_card(records: Records) -> str:
    """The text of the card."""
    return f"---\n{yaml_text(metadata(records))}---\n\n{page_of(records)}"


def page_of(records: Records) -> str:
    """The card without metadata, for pages that do not read them."""
    facts = records.facts
    scans = {chain.dataset: chain.scan.predicate for chain, _ in facts.datasets if chain.scan}
    rules = facts.policies.rules if facts.policies else None
    return drawn(
        "model_card.md.j2",
        records=records,
        facts=facts,
        verdict=verdict(facts).word,
        policy=rules.models.get(facts.registration.model) if rules else None,
        origins=_origins(records),
        metrics=scores.metrics(facts),
        outside=outside.outside(facts),
        judged=scores.judged(facts),
        confidence=f"{scores.confidence(facts):.0%}".replace("%", " percent"),
        behaviour=behaviour.of_version(facts),
        reward_models=behaviour.reward_models(facts),
        thresholds_fixed=scores.thresholds_fixed(facts).text,
        compute=compute.in_all(one.predicate for one in facts.trainings),
        cannot_find=sorted({kind for scan in scans.values() for kind in scan.cannot_find}),
        recall=recall_summary({name: scan.recall for name, scan in scans.items()}),
        titles={code: entry.title for code, entry in CODES.items()},
    )


def metadata(records: Records) -> dict[str, Any]:
    """The front matter. `model-index` holds the means of the version's own evaluations."""
    facts = records.facts
    method = facts.released.method
    adapter = any(file.path == "adapter_config.json" for file in facts.registration.files)
    task = "text-classification" if method in SCORERS else "text-generation"
    fields: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": task,
        "tags": ["countersign", method],
    }
    sources = [node.base.predicate for node in facts.chain if node.base]
    hub = [_HUB.match(base.source) for base in sources if base.weights]
    bases = [match[1] for match in hub if match]
    if bases:
        relation = "adapter" if adapter else "finetune"
        fields |= {"base_model": bases, "base_model_relation": relation}
    results = list(_results(facts, task))
    if results:
        fields["model-index"] = [{"name": records.name, "results": results}]
    return fields


def _results(facts: Facts, task: str) -> Iterator[dict[str, Any]]:
    """One result per suite, with every metric that has a mean."""
    confidence, metrics = scores.confidence(facts), scores.metrics(facts)
    for suite in facts.suites:
        figures = [
            {
                "type": metric.name,
                "name": f"{metric.name}, mean of {items(score)}",
                "value": score.mean,
                "args": {"confidence": confidence, **score.model_dump(include=_ARGUMENTS)},
            }
            for metric in metrics
            for score in metric.scores
            if (metric.suite, score.digest) == (suite.name, facts.digest) and score.mean is not None
        ]
        if figures:
            dataset = {"name": suite.name, "type": suite.name, "revision": suite.digest}
            yield {"task": {"type": task}, "dataset": dataset, "metrics": figures}


def items(score: Score) -> str:
    """How many items a mean is of."""
    return f"{score.n} items" + (f"; {score.missing} more have no score" if score.missing else "")


def _origins(records: Records) -> dict[str, list[str]]:
    """Each origin that a steward declares, and its datasets."""
    origins: dict[str, list[str]] = {}
    for chain, _ in records.facts.datasets:
        datacard = records.cards.get(chain.dataset)
        origins.setdefault(stated(datacard.origin if datacard else None), []).append(chain.dataset)
    return origins


def _export(records: Records) -> Made:
    return Made([Document("README.md", model_card(records).encode())])


FORMAT = Format("model-card", "Hugging Face model card with model-index: README.md", _export)
