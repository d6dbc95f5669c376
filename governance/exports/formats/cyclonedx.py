"""A CycloneDX 1.6 ML-BOM: the model, the models and datasets it was made from, reward functions,
libraries, and their dependencies. A hash or licence that is not recorded is a property that says
so.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from governance.attest.predicates import Scan
from governance.exports.catalog import Document, Format, Made
from governance.exports.formats.model_card import items, metadata
from governance.exports.records import Records, recall_summary
from governance.exports.text import json_bytes, outside_path, stated
from governance.history.lineage import DataChain, ModelNode
from governance.report import scores
from governance.report.facts import Facts
from governance.report.model import Metric, Score, Slice

Component = dict[str, Any]

APPROACH = {
    "pretrain": "self-supervised",
    "sft": "supervised",
    "reward": "supervised",
    "dpo": "supervised",
    "orpo": "supervised",
    "kto": "supervised",
    "grpo": "reinforcement-learning",
    "rloo": "reinforcement-learning",
}
"""Method to the nearest of the format's five words. The properties name the method itself."""
_SPACE = uuid.UUID("5f0c6e2e-9c1b-5d2a-8d55-6a1f7b0c4d11")
"""Namespace of serial numbers: the same records give the same number."""


def bom(records: Records) -> bytes:
    """The document."""
    facts = records.facts
    before = [_model(records, node) for node in facts.chain if node.sha256 != facts.digest]
    data = [_dataset(records, chain, uses) for chain, uses in facts.datasets]
    serial = uuid.uuid5(_SPACE, f"{records.log_id}/{records.name}/{facts.as_of}")
    return json_bytes(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{serial}",
            "version": 1,
            "metadata": {
                "timestamp": facts.as_of,
                "tools": {"components": [{"type": "application", "name": "countersign"}]},
                "component": _released(records),
                "properties": _properties(
                    log=records.log_id,
                    root=records.verified.root,
                    entries=records.verified.entries,
                    policies=facts.policies.digest if facts.policies else facts.policies_note,
                ),
            },
            "components": [*before, *data, *_rewards(facts), *_libraries(facts)],
            "dependencies": list(_dependencies(facts)),
        }
    )


def _component(kind: str, ref: str, name: str, sha256: str | None, **fields: Any) -> Component:
    hashes = [{"alg": "SHA-256", "content": sha256}] if sha256 else []
    component = {"type": kind, "bom-ref": ref, "name": name, **fields}
    return {**component, "hashes": hashes} if hashes else component


def _released(records: Records) -> Component:
    facts = records.facts
    component = _model(records, facts.released)
    component |= {"name": facts.registration.model, "version": facts.registration.version}
    component["modelCard"] = _card(records)
    component["components"] = [
        _component("file", f"file:{file.path}:{file.sha256}", file.path, file.sha256)
        for file in facts.registration.files
    ]
    return component


def _model(records: Records, node: ModelNode) -> Component:
    """A model of the chain: trained here, from outside, or without evidence."""
    policies = records.facts.policies
    allowed = policies.bases.get(node.name) if policies and node.train is None else None
    notes: dict[str, Any] = {
        "digest-of": "the folder's manifest: RFC 8785 list of path, size, sha256"
    }
    if node.train is not None:
        train = node.train.predicate
        notes |= {
            "method": train.method,
            "entry": node.train.index,
            "objective": train.objective,
            "code": train.code.commit or "no commit",
            "uncommitted": train.code.dirty,
            "distributions": train.environment.distributions,
        }
    elif node.base is not None:
        base = node.base.predicate
        notes |= {"source": outside_path(base.source), "weights": base.weights}
        notes["entry"] = node.base.index
    else:
        notes["source"] = "not recorded: no evidence of where this model comes from"
    ref = _ref("model", node.sha256)
    component = _component("machine-learning-model", ref, node.name, node.sha256)
    return component | _licensed(allowed.licence if allowed else None, **notes)


def _card(records: Records) -> dict[str, Any]:
    facts = records.facts
    metrics = scores.metrics(facts)
    sliced = any(metric.slices for metric in metrics)
    parameters = {
        "task": metadata(records)["pipeline_tag"],
        "datasets": [
            {"ref": _ref("data", chain.sha256, chain.dataset)} for chain, _ in facts.datasets
        ],
    }
    if approach := APPROACH.get(facts.released.method):
        parameters["approach"] = {"type": approach}
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    unknown = facts.policies_note or "policies name no such model"
    unmet = [
        f"{result.metric} {result.demand}: NOT met"
        for result in scores.judged(facts)
        if not result.passed
    ]
    unmeasured = "memorisation of training data and energy: not measured"
    fairness = "results by group: not recorded"
    if sliced:
        fairness = (
            "results by slice: among the metrics; by groups of people: as far as a slice is one"
        )
    return {
        "bom-ref": _ref("card", facts.digest),
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(facts, metrics))},
        "considerations": {
            "useCases": [model.purpose if model else unknown],
            "technicalLimitations": [
                *unmet,
                unmeasured if sliced else f"results by slice, {unmeasured}",
            ],
        },
        "properties": _properties(
            method=facts.released.method,
            tier=facts.registration.tier,
            energy="not measured",
            fairness=fairness,
        ),
    }


def _metrics(facts: Facts, metrics: list[Metric]) -> Iterator[dict[str, Any]]:
    for metric in metrics:
        figures: list[tuple[str, Score | Slice]] = []
        for score in metric.scores:
            if score.digest == facts.digest and score.mean is not None:
                figures.append((f"{'all ' if not score.missing else ''}{items(score)}", score))
        figures += [(f"{row.by}={row.label}, {row.n} items", row) for row in metric.slices]
        for name, figure in figures:
            performance: dict[str, Any] = {"type": metric.name, "value": repr(figure.mean)}
            performance["slice"] = f"{metric.suite}, {name}"
            if figure.low is not None:
                bounds = {"lowerBound": repr(figure.low), "upperBound": repr(figure.high)}
                performance["confidenceInterval"] = bounds
            yield performance


# --- data, rewards, libraries ---------------------------------------------------------------------


def _dataset(records: Records, chain: DataChain, uses: list[str]) -> Component:
    card = records.cards.get(chain.dataset)
    data: dict[str, Any] = {
        "type": "dataset",
        "name": chain.dataset,
        "description": stated(card.origin if card else None),
        "sensitiveData": _sensitive(chain),
    }
    if card and card.classification:
        data["classification"] = card.classification
    if card and card.steward.strip():
        data["governance"] = {"custodians": [{"organization": {"name": card.steward}}]}
    notes = {
        "kind": chain.ingest.predicate.kind if chain.ingest else "not recorded",
        "used-by": ", ".join(uses),
        "source-sha256": chain.source or "not recorded",
        "lawful-basis": stated(card.lawful_basis if card else None),
        "gap": f"no evidence of {chain.broken_at}" if chain.broken_at else "none",
    }
    ref = _ref("data", chain.sha256, chain.dataset)
    component = _component(
        "data", ref, chain.dataset, chain.sha256, version=chain.sha256, data=[data]
    )
    return component | _licensed(card.licence if card else None, **notes)


def _sensitive(chain: DataChain) -> list[str]:
    if chain.scan is None:
        return ["personal data: not searched for at this digest"]
    scan: Scan = chain.scan.predicate
    return [
        f"{name}: {scan.found.get(name, 0)} found, {scan.actions.get(name, 'no action')}, "
        f"{scan.remaining.get(name, 0)} remaining"
        for name in sorted({*scan.found, *scan.remaining})
    ] or [f"personal data: none found; {recall_summary({chain.dataset: scan.recall})}"]


def _rewards(facts: Facts) -> list[Component]:
    """Every reward function of the chain. A scorer is a model, and listed as one."""
    components = {}
    for stage, request in facts.requests.items():
        for name, digest in sorted(request.rewards.items()):
            if digest is not None:
                notes = {"role": "reward function", "digest-of": "its source"}
                notes["used-by"] = f"train@{stage}"
                ref = _ref("reward", digest, name)
                component = _component("file", ref, name, digest)
                components[ref] = component | _licensed(None, **notes)
    return list(components.values())


def _libraries(facts: Facts) -> list[Component]:
    """Every engine that a training depended on, with what its metadata said at the time."""
    components = {}
    for node in facts.trained:
        environment = node.train.predicate.environment if node.train else None
        for name, version in sorted(environment.versions.items()) if environment else ():
            library = environment.libraries.get(name) if environment else None
            ref, record = _ref("library", version, name), library.record if library else None
            component = _component("library", ref, name, record, version=version)
            if _plain_name(name) and _plain_name(version):
                plain = name.lower().replace("_", "-")
                component["purl"] = f"pkg:pypi/{plain}@{version.replace('+', '%2B')}"
            if library is None:
                component |= _licensed(None, hash="not recorded")
            else:
                component |= _licensed(library.licence, **{"digest-of": "its RECORD"})
            components[ref] = component
    return list(components.values())


def _plain_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._+-]+", text) is not None


def _dependencies(facts: Facts) -> Iterator[dict[str, Any]]:
    """What each model was made from."""
    for node in facts.chain:
        refs = {_ref("model", digest) for digest in (node.parent, node.scorer) if digest}
        request = facts.requests.get(node.name)
        if request is not None:
            refs.add(_ref("data", request.data.sha256, request.data.dataset))
            refs.add(_ref("data", request.suite.records, request.suite.name))
            for name, digest in request.rewards.items():
                refs |= {_ref("reward", digest, name)} if digest else set()
        if node.train is not None:
            versions = node.train.predicate.environment.versions
            refs |= {_ref("library", version, name) for name, version in versions.items()}
        yield {"ref": _ref("model", node.sha256), "dependsOn": sorted(refs)}


# --- parts ----------------------------------------------------------------------------------------


def _ref(kind: str, digest: str, name: str = "") -> str:
    return f"{kind}:{name}:{digest}" if name else f"{kind}:{digest}"


def _licensed(licence: str | None, **notes: Any) -> Component:
    """A component's licence and properties. SPDX expressions are written as such."""
    if licence is None or not licence.strip():
        return {"properties": _properties(licence="not recorded", **notes)}
    entry: dict[str, Any]
    try:
        expression = canonicalize_license_expression(licence)
        entry = {"expression": expression} if " " in expression else {"license": {"id": expression}}
    except InvalidLicenseExpression:
        entry = {"license": {"name": licence}}
    return {"licenses": [entry], "properties": _properties(**notes)}


def _properties(**values: Any) -> list[dict[str, str]]:
    """Properties under our own prefix, each a text."""
    texts = {
        name: str(value).lower() if isinstance(value, bool) else stated(value)
        for name, value in values.items()
    }
    return [
        {"name": f"countersign:{name}", "value": value} for name, value in sorted(texts.items())
    ]


def _export(records: Records) -> Made:
    return Made([Document("bom.cdx.json", bom(records))])


FORMAT = Format("cyclonedx", "CycloneDX 1.6 ML-BOM: bom.cdx.json", _export)
