"""A Hugging Face model card: metadata with `model-index`, and a page drawn by
`templates/model_card.md.j2`.

Three fields of the metadata are left out. No record gives the model a `license`. `datasets` holds
names on the Hub, which ours are not. `verified` is a claim that only the Hub can make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from governance.attest.codes import CODES
from governance.attest.predicates import BaseImport, Scan
from governance.base.text import moment, short
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records
from governance.exports.text import markdown, outside_path, stated, yaml_text
from governance.gates import recall
from governance.history.lineage import DataChain, ModelNode, evaluated, trained
from governance.policy.policies import ModelPolicy
from governance.report import scores
from governance.report.facts import Facts
from governance.report.model import Difference, Score
from governance.report.verdict import verdict

_HUB = re.compile(r"^([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}|[\w.-]+)$")
"""A model on the Hub at a revision, as an import records it."""
_CLASSIFIERS = {"reward"}
"""Methods whose models give a score, not text."""
Row = dict[str, Any]


def card(records: Records) -> Made:
    """README.md of the version."""
    return Made([Document("README.md", model_card(records).encode())])


def model_card(records: Records) -> str:
    """The text of the card."""
    facts = records.facts
    template = environment().get_template("model_card.md.j2")
    page = template.render(
        records=records,
        facts=facts,
        verdict=verdict(facts).word,
        policy=_model_policy(facts),
        made_from=_made_from(facts),
        origins=_origins(records),
        bases=[_base(records, node) for node in facts.chain if node.train is None],
        stages=[_stage(records, node) for node in facts.trained],
        datasets=[_dataset(records, chain, uses) for chain, uses in facts.datasets],
        limits=list(_limits(records)),
        not_for=list(_not_for(records)),
        waivers=_waivers(facts),
        figures=list(_figures(facts)),
        differences=list(_differences(facts)),
        confidence=f"{scores.confidence(facts):.0%}".replace("%", " percent"),
        thresholds_fixed=scores.thresholds_fixed(facts),
        sliced=any(metric.slices for metric in scores.metrics(facts)),
        moment=moment,
    )
    page = re.sub(r"\n{3,}", "\n\n", page).strip()
    return f"---\n{yaml_text(metadata(records))}---\n\n{page}\n"


def environment() -> Environment:
    """Every value that a template prints is escaped for Markdown."""
    return Environment(
        loader=PackageLoader("governance.exports", "templates"),
        undefined=StrictUndefined,
        finalize=markdown,
        autoescape=False,  # noqa: S701 - Markdown, not HTML; `finalize` escapes
        trim_blocks=True,
        lstrip_blocks=True,
    )


def metadata(records: Records) -> dict[str, Any]:
    """The front matter. `model-index` holds the means of the version's own evaluations."""
    facts = records.facts
    method = facts.released.method
    adapter = any(file.path == "adapter_config.json" for file in facts.registration.files)
    task = "text-classification" if method in _CLASSIFIERS else "text-generation"
    fields: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": task,
        "tags": ["countersign", method],
    }
    bases = _hub_bases(facts)
    if bases:
        relation = "adapter" if adapter else "finetune"
        fields |= {"base_model": bases, "base_model_relation": relation}
    results = list(_results(facts, task))
    if results:
        fields["model-index"] = [{"name": records.name, "results": results}]
    return fields


def _results(facts: Facts, task: str) -> Iterator[dict[str, Any]]:
    """One result per suite, with every metric that has a mean."""
    for suite in facts.suites:
        figures = [
            {
                "type": figure["metric"],
                "name": f"{figure['metric']}, mean of {items(figure['score'])}",
                "value": figure["score"].mean,
                "args": {
                    "confidence": scores.confidence(facts),
                    "low": figure["score"].low,
                    "high": figure["score"].high,
                    "n": figure["score"].n,
                },
            }
            for figure in _figures(facts)
            if figure["suite"] == suite.name and figure["score"].mean is not None
        ]
        if figures:
            dataset = {"name": suite.name, "type": suite.name, "revision": suite.digest}
            yield {"task": {"type": task}, "dataset": dataset, "metrics": figures}


def items(score: Score) -> str:
    """How many items a mean is of."""
    return f"{score.n} items" + (f"; {score.missing} more have no score" if score.missing else "")


def _hub_bases(facts: Facts) -> list[str]:
    """Every base with weights that came from the Hub."""
    names = []
    for node in facts.chain:
        base = node.base.predicate if node.base else None
        if isinstance(base, BaseImport) and base.weights and (hub := _HUB.match(base.source)):
            names.append(hub[1])
    return names


# --- what the template shows ----------------------------------------------------------------------


def _model_policy(facts: Facts) -> ModelPolicy | None:
    return facts.policies.rules.models.get(facts.registration.model) if facts.policies else None


def _made_from(facts: Facts) -> str:
    """Its base and its training stages, in order."""
    bases = [node.name for node in facts.chain if node.train is None]
    steps = []
    for node in facts.trained:
        request = facts.requests.get(node.name)
        dataset = request.data.dataset if request else "data that is not recorded"
        steps.append(f"{node.method} on {dataset}")
    return f"{', '.join(bases) or 'a base that is not recorded'} by {', then '.join(steps)}"


def _origins(records: Records) -> dict[str, list[str]]:
    """Each origin that a steward declares, and its datasets."""
    origins: dict[str, list[str]] = {}
    for chain, _ in records.facts.datasets:
        datacard = records.cards.get(chain.dataset)
        origins.setdefault(stated(datacard.origin if datacard else None), []).append(chain.dataset)
    return origins


def _base(records: Records, node: ModelNode) -> Row:
    base = node.base.predicate if node.base else None
    policies = records.facts.policies
    allowed = policies.bases.get(node.name) if policies else None
    source, untrained = "not recorded", False
    if isinstance(base, BaseImport):
        source, untrained = outside_path(base.source), not base.weights
    return {
        "name": node.name,
        "digest": short(node.sha256),
        "source": source,
        "untrained": untrained,
        "licence": allowed.licence if allowed else "not stated",
    }


def _stage(records: Records, node: ModelNode) -> Row:
    request = records.facts.requests.get(node.name)
    train = trained(node.train) if node.train else None
    return {
        "name": node.name,
        "method": node.method,
        "dataset": request.data.dataset if request else "not recorded",
        "records": train.records if train else "not recorded",
        "steps": train.steps if train else "not recorded",
        "digest": short(node.sha256),
        "entry": f"E{node.train.index}" if node.train else "none",
        "gate": f"E{node.gate.index}" if node.gate else "none",
    }


def _dataset(records: Records, chain: DataChain, uses: list[str]) -> Row:
    datacard = records.cards.get(chain.dataset)
    quality = chain.quality.predicate if chain.quality else None
    return {
        "name": chain.dataset,
        "uses": ", ".join(uses),
        "digest": short(chain.sha256),
        "records": quality.counts.records_out if quality else "not recorded",
        "licence": stated(datacard.licence if datacard else None),
        "basis": stated(datacard.lawful_basis if datacard else None),
        "personal": _personal_data(chain),
    }


def _personal_data(chain: DataChain) -> str:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return "not searched for"
    return f"{sum(scan.found.values())} found, {sum(scan.remaining.values())} left"


def _not_for(records: Records) -> Iterator[str]:
    """Uses that policy, datacards or the verdict exclude."""
    policy = _model_policy(records.facts)
    if policy is None:
        yield "any use"
        return
    word = verdict(records.facts).word
    if not word.startswith("APPROVED"):
        yield f"serving users: the verdict is {word}"
    yield f"any purpose other than {policy.purpose}"
    for chain, _ in records.facts.datasets:
        datacard = records.cards.get(chain.dataset)
        if datacard is None:
            continue
        if policy.purpose not in datacard.purposes:
            permitted = ", ".join(datacard.purposes) or "nothing"
            yield f"{policy.purpose}: dataset {chain.dataset} permits {permitted}"
        if datacard.regions and "anywhere" not in datacard.regions:
            yield f"processing dataset {chain.dataset} outside {', '.join(datacard.regions)}"
    yield "decisions about people without human review"


def _limits(records: Records) -> Iterator[str]:
    """Known limits, the worst first."""
    facts = records.facts
    for result in scores.judged(facts):
        if not result.passed:
            yield f"{result.metric} {result.demand}: not met; the result is {result.found}"
    for suite in facts.suites:
        own = facts.evaluation(facts.released, suite)
        if own is not None and (why := evaluated(own).not_run) is not None:
            yield f"evaluation of {facts.released.name} on {suite.name} was not run: {why}"
    for metric in scores.metrics(facts):
        if metric.slices:
            yield f"{metric.name} on {metric.suite}: {metric.slices_note}"
    yield from _open_findings(facts)
    scans = {chain.dataset: chain.scan.predicate for chain, _ in facts.datasets if chain.scan}
    for chain, _ in facts.datasets:
        if chain.dataset not in scans:
            yield f"dataset {chain.dataset} was not searched for personal data"
    not_found = {name for scan in scans.values() for name in scan.cannot_find}
    if not_found:
        yield f"the search for personal data cannot find: {'; '.join(sorted(not_found))}"
    yield f"personal data: {recall.summary({name: scan.recall for name, scan in scans.items()})}"


def _open_findings(facts: Facts) -> Iterator[str]:
    """What a decision today finds, without the findings about a missing request."""
    if facts.again is None:
        yield f"not re-checked today: {facts.policies_note or 'its gate has no request on record'}"
        return
    for finding in facts.again.findings:
        if not finding.code.startswith("REQUEST_"):
            title = CODES[finding.code].title if finding.code in CODES else finding.message
            yield f"{finding.code}: {finding.subject}: {title}"


def _waivers(facts: Facts) -> list[Row]:
    waivers = facts.standing.waivers if facts.standing else []
    return [
        {
            "finding": evidence.predicate.finding,
            "about": evidence.predicate.about,
            "role": evidence.predicate.role,
            "control": evidence.predicate.control,
            "expires": moment(evidence.predicate.expires),
            "state": why.text if why else "in force",
        }
        for evidence, why in waivers
    ]


def _figures(facts: Facts) -> Iterator[Row]:
    """The version's own scores."""
    own_suite = facts.suites[0].name if facts.suites else ""
    for metric in scores.metrics(facts):
        judged = [
            f"{result.demand}: {'met' if result.passed else 'NOT met'}"
            for result in scores.judged(facts)
            if result.metric == metric.name and metric.suite == own_suite
        ]
        thresholds = "; ".join(judged) or "none in policy"
        for score in metric.scores:
            if score.digest == facts.digest:
                yield {
                    "suite": metric.suite,
                    "metric": metric.name,
                    "score": score,
                    "interval": _interval(score),
                    "thresholds": thresholds,
                }


def _differences(facts: Facts) -> Iterator[Row]:
    """The version compared with other models on the same items."""
    for metric in scores.metrics(facts):
        for difference in metric.differences:
            if difference.mean is not None:
                yield {
                    "metric": metric.name,
                    "difference": difference,
                    "interval": _interval(difference),
                }


def _interval(figure: Score | Difference) -> str:
    return (
        "none"
        if figure.low is None or figure.high is None
        else f"{figure.low:.3f} to {figure.high:.3f}"
    )


FORMAT = Format("model-card", "Hugging Face model card with model-index: README.md", card)
