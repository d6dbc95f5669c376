"""A CycloneDX 1.6 ML-BOM: the model, the models and datasets it was made from, reward functions,
libraries, and their dependencies. A hash or licence that is not recorded is a property that says
so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from governance.attest.predicates import BaseImport, Ingest, Scan
from governance.exports.catalog import Document, Format, Made
from governance.exports.formats.model_card import items, metadata
from governance.exports.records import Records
from governance.exports.text import json_bytes, outside_path, stated
from governance.gates import recall
from governance.history.lineage import DataChain, ModelNode, trained
from governance.report import scores
from governance.report.facts import Facts

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


def _released(records: Records) -> dict[str, Any]:
    facts = records.facts
    component = _model(records, facts.released)
    component |= {"name": facts.registration.model, "version": facts.registration.version}
    component["modelCard"] = _card(records)
    component["components"] = [
        {
            "type": "file",
            "bom-ref": f"file:{file.path}:{file.sha256}",
            "name": file.path,
            "hashes": _hashes(file.sha256),
        }
        for file in facts.registration.files
    ]
    return component


def _model(records: Records, node: ModelNode) -> dict[str, Any]:
    """A model of the chain: trained here, from outside, or without evidence."""
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _ref("model", node.sha256),
        "name": node.name,
    }
    notes: dict[str, Any] = {
        "digest-of": "the folder's manifest: RFC 8785 list of path, size, sha256"
    }
    base = node.base.predicate if node.base else None
    if node.train is not None:
        train = trained(node.train)
        notes |= {
            "method": train.method,
            "entry": node.train.index,
            "objective": train.objective,
            "code": train.code.commit or "no commit",
            "uncommitted": train.code.dirty,
            "distributions": train.environment.distributions,
        }
    elif node.base is not None and isinstance(base, BaseImport):
        source = outside_path(base.source)
        notes |= {"source": source, "weights": base.weights, "entry": node.base.index}
    else:
        notes["source"] = "not recorded: no evidence of where this model comes from"
    policies = records.facts.policies
    allowed = policies.bases.get(node.name) if policies and node.train is None else None
    licence = allowed.licence if allowed else None
    return {**component, "hashes": _hashes(node.sha256), **_licensed(licence, **notes)}


def _card(records: Records) -> dict[str, Any]:
    facts = records.facts
    approach = APPROACH.get(facts.released.method)
    parameters: dict[str, Any] = {"approach": {"type": approach}} if approach else {}
    parameters["task"] = metadata(records)["pipeline_tag"]
    parameters["datasets"] = [
        {"ref": _ref("data", chain.sha256, chain.dataset)} for chain, _ in facts.datasets
    ]
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    return {
        "bom-ref": _ref("card", facts.digest),
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(records))},
        "considerations": {
            "useCases": (
                [model.purpose] if model else [facts.policies_note or "policies name no such model"]
            ),
            "technicalLimitations": _limitations(records),
        },
        "properties": _properties(
            method=facts.released.method,
            tier=facts.registration.tier,
            energy="not measured",
            fairness=(
                "results by slice: among the metrics; by groups of people: as far as a slice is one"
                if _sliced(records)
                else "results by group: not recorded"
            ),
        ),
    }


def _metrics(records: Records) -> Iterator[dict[str, Any]]:
    for metric in scores.metrics(records.facts):
        for score in metric.scores:
            if score.digest != records.facts.digest or score.mean is None:
                continue
            figure: dict[str, Any] = {"type": metric.name, "value": repr(score.mean)}
            figure["slice"] = f"{metric.suite}, {'all ' if not score.missing else ''}{items(score)}"
            yield figure | _interval(score.low, score.high)
        for row in metric.slices:
            named = f"{metric.suite}, {row.by}={row.label}, {row.n} items"
            yield {"type": metric.name, "value": repr(row.mean), "slice": named} | _interval(
                row.low, row.high
            )


def _interval(low: float | None, high: float | None) -> dict[str, Any]:
    if low is None or high is None:
        return {}
    return {"confidenceInterval": {"lowerBound": repr(low), "upperBound": repr(high)}}


def _limitations(records: Records) -> list[str]:
    unmet = [
        f"{result.metric} {result.demand}: NOT met"
        for result in scores.judged(records.facts)
        if not result.passed
    ]
    sliced = "" if _sliced(records) else "results by slice, "
    return [*unmet, f"{sliced}memorisation of training data and energy: not measured"]


def _sliced(records: Records) -> bool:
    return any(metric.slices for metric in scores.metrics(records.facts))


# --- data, rewards, libraries ---------------------------------------------------------------------


def _dataset(records: Records, chain: DataChain, uses: list[str]) -> dict[str, Any]:
    card = records.cards.get(chain.dataset)
    ingest = (
        chain.ingest.predicate
        if chain.ingest and isinstance(chain.ingest.predicate, Ingest)
        else None
    )
    data: dict[str, Any] = {
        "type": "dataset",
        "name": chain.dataset,
        "description": stated(card.origin if card else None),
    }
    data["sensitiveData"] = _sensitive(chain)
    data |= {"classification": card.classification} if card and card.classification else {}
    if card and card.steward.strip():
        data["governance"] = {"custodians": [{"organization": {"name": card.steward}}]}
    notes = {
        "kind": ingest.kind if ingest else "not recorded",
        "used-by": ", ".join(uses),
        "source-sha256": chain.source or "not recorded",
        "lawful-basis": stated(card.lawful_basis if card else None),
        "gap": f"no evidence of {chain.broken_at}" if chain.broken_at else "none",
    }
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": _ref("data", chain.sha256, chain.dataset),
        "name": chain.dataset,
        "version": chain.sha256,
        "hashes": _hashes(chain.sha256),
        "data": [data],
    }
    return {**component, **_licensed(card.licence if card else None, **notes)}


def _sensitive(chain: DataChain) -> list[str]:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return ["personal data: not searched for at this digest"]
    return [
        f"{name}: {scan.found.get(name, 0)} found, {scan.actions.get(name, 'no action')}, "
        f"{scan.remaining.get(name, 0)} remaining"
        for name in sorted({*scan.found, *scan.remaining})
    ] or [f"personal data: none found; {recall.summary({chain.dataset: scan.recall})}"]


def _rewards(facts: Facts) -> list[Component]:
    """Every reward function of the chain. A scorer is a model, and listed as one."""
    components = {}
    for stage, request in facts.requests.items():
        for name, digest in sorted(request.rewards.items()):
            if digest is not None:
                notes = {"role": "reward function", "digest-of": "its source"}
                components[_ref("reward", digest, name)] = {
                    "type": "file",
                    "bom-ref": _ref("reward", digest, name),
                    "name": name,
                    "hashes": _hashes(digest),
                    **_licensed(None, **notes, **{"used-by": f"train@{stage}"}),
                }
    return list(components.values())


def _libraries(facts: Facts) -> list[Component]:
    """Every engine that a training depended on, with what its metadata said at the time."""
    components = {}
    for node in facts.trained:
        environment = trained(node.train).environment if node.train else None
        for name, version in sorted(environment.versions.items()) if environment else ():
            library = environment.libraries.get(name) if environment else None
            component: Component = {
                "type": "library",
                "bom-ref": _ref("library", version, name),
                "name": name,
                "version": version,
            }
            if _plain_name(name) and _plain_name(version):
                plain = name.lower().replace("_", "-")
                component["purl"] = f"pkg:pypi/{plain}@{version.replace('+', '%2B')}"
            if library is None:
                component |= _licensed(None, hash="not recorded")
            else:
                component["hashes"] = _hashes(library.record)
                component |= _licensed(library.licence, **{"digest-of": "its RECORD"})
            components[component["bom-ref"]] = component
    return list(components.values())


def _plain_name(text: str) -> bool:
    return bool(text) and text.isascii() and all(char.isalnum() or char in "._+-" for char in text)


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
            versions = trained(node.train).environment.versions
            refs |= {_ref("library", version, name) for name, version in versions.items()}
        yield {"ref": _ref("model", node.sha256), "dependsOn": sorted(refs)}


# --- parts ----------------------------------------------------------------------------------------


def _ref(kind: str, digest: str, name: str = "") -> str:
    return f"{kind}:{name}:{digest}" if name else f"{kind}:{digest}"


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _licensed(licence: str | None, **notes: Any) -> Component:
    """A component's licence and properties. SPDX expressions are written as such."""
    if licence is None or not licence.strip():
        return {"properties": _properties(licence="not recorded", **notes)}
    try:
        expression = canonicalize_license_expression(licence)
    except InvalidLicenseExpression:
        return {"licenses": [{"license": {"name": licence}}], "properties": _properties(**notes)}
    if " " in expression:
        return {"licenses": [{"expression": expression}], "properties": _properties(**notes)}
    return {"licenses": [{"license": {"id": expression}}], "properties": _properties(**notes)}


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
