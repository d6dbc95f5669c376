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

from governance.exports.catalog import Document, Format, Made
from governance.exports.formats.model_card import items, metadata
from governance.exports.records import Records, personal_data, recall_summary
from governance.exports.text import json_bytes, outside_path, stated
from governance.history.lineage import DataChain, ModelNode
from governance.policy.rules import Datacard
from governance.report import scores
from governance.report.compute import in_all_energy
from governance.report.facts import Facts
from governance.report.leaks import leakage
from governance.report.model.scores import Metric, Score, Slice
from governance.report.reasons import text_of

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
    "ppo": "reinforcement-learning",
}
"""Method to the nearest of the format's five words. The properties name the method itself."""
_SPACE = uuid.UUID("5f0c6e2e-9c1b-5d2a-8d55-6a1f7b0c4d11")
"""Namespace of serial numbers: the same records give the same number."""


def bom(records: Records) -> bytes:
    """The document."""
    facts, verified = records.facts, records.verified
    before = [_model(records, node) for node in facts.chain if node.sha256 != facts.digest]
    data = [_dataset(records, chain, uses) for chain, uses in facts.datasets]
    serial = uuid.uuid5(_SPACE, f"{records.log_id}/{records.name}/{facts.as_of}")
    policies = facts.policies.digest if facts.policies else facts.policies_note
    log = {"log": records.log_id, "root": verified.root, "entries": verified.entries}
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
                "properties": _properties(**log, policies=policies),
            },
            "components": [*before, *data, *_rewards(facts), *_libraries(facts)],
            "dependencies": list(_dependencies(facts)),
        }
    )


def _component(
    kind: str,
    ref: str,
    name: str,
    sha256: str | None,
    licence: str | None,
    notes: dict[str, Any],
    **fields: Any,
) -> Component:
    """A component with hash, licence and properties. SPDX expressions are written as such."""
    component = _named(kind, ref, name, sha256, **fields)
    if licence is None or not licence.strip():
        notes = {"licence": "not recorded", **notes}
    else:
        entry: dict[str, Any]
        try:
            spdx = canonicalize_license_expression(licence)
            entry = {"expression": spdx} if " " in spdx else {"license": {"id": spdx}}
        except InvalidLicenseExpression:
            entry = {"license": {"name": licence}}
        component["licenses"] = [entry]
    return {**component, "properties": _properties(**notes)}


def _named(kind: str, ref: str, name: str, sha256: str | None, **fields: Any) -> Component:
    component = {"type": kind, "bom-ref": ref, "name": name, **fields}
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {**component, "hashes": hashes} if sha256 else component


def _properties(**values: Any) -> list[dict[str, str]]:
    """Properties under our own prefix, each a text."""
    return [
        {
            "name": f"countersign:{name.replace('_', '-')}",
            "value": str(value).lower() if isinstance(value, bool) else stated(value),
        }
        for name, value in sorted(values.items())
    ]


def _ref(kind: str, digest: str, name: str = "") -> str:
    return f"{kind}:{name}:{digest}" if name else f"{kind}:{digest}"


def _released(records: Records) -> Component:
    facts = records.facts
    files = facts.registration.files
    return {
        **_model(records, facts.released),
        "name": facts.registration.model,
        "version": facts.registration.version,
        "modelCard": _card(records),
        "components": [
            _named("file", _ref("file", file.sha256, file.path), file.path, file.sha256)
            for file in files
        ],
    }


def _model(records: Records, node: ModelNode) -> Component:
    """A model of the chain: trained here, from outside, or without evidence."""
    policies = records.facts.policies
    allowed = policies.bases.get(node.name) if policies and node.train is None else None
    digest_of = "the folder's manifest: RFC 8785 list of path, size, sha256"
    notes: dict[str, Any] = {"digest_of": digest_of}
    if node.train is not None:
        train = node.train.predicate
        notes |= {"method": train.method, "entry": node.train.index, "objective": train.objective}
    elif node.base is not None:
        base, entry = node.base.predicate, node.base.index
        notes |= {"source": outside_path(base.source), "weights": base.weights, "entry": entry}
        notes |= _declared(records) if node.imported else {}
    else:
        notes["source"] = "not recorded: no evidence of where this model comes from"
    licence = allowed.licence if allowed else None
    ref = _ref("model", node.sha256)
    return _component("machine-learning-model", ref, node.name, node.sha256, licence, notes)


def _declared(records: Records) -> dict[str, Any]:
    """What is declared of a model that was trained elsewhere."""
    declared = records.facts.declaration
    if declared is None:
        return {"assurance": "trained elsewhere, not declared"}
    by = declared.trained_by
    return {
        "assurance": "trained elsewhere; declared, self-attested",
        "trained_by": f"{by.organisation}, with {by.tool} {by.tool_version}",
        "declared_methods": declared.method_names,
        "declared_parent": f"{declared.parent.model}, licence {declared.parent.licence}",
        "declared_datasets": ", ".join(data.name for data in declared.declared_datasets)
        or "unknown",
    }


def _card(records: Records) -> dict[str, Any]:
    facts = records.facts
    metrics = scores.metrics(facts)
    sliced = any(metric.slices for metric in metrics)
    datasets = [_ref("data", chain.sha256, chain.dataset) for chain, _ in facts.datasets]
    parameters = {
        "task": metadata(records)["pipeline_tag"],
        "datasets": [{"ref": ref} for ref in datasets],
    }
    if approach := APPROACH.get(facts.released.method):
        parameters["approach"] = {"type": approach}
    model = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    unknown = facts.policies_note or "policies name no such model"
    limits = [
        f"{result.name} {result.demand}: NOT met"
        for result in scores.judged(facts)
        if not result.passed
    ]
    limits += [] if sliced else ["results by slice: not measured"]
    limits.append(f"memorisation of training data: {text_of(leakage(facts).reasons)}")
    limits.append(f"energy: {in_all_energy([one.predicate for one in facts.trainings])}")
    return {
        "bom-ref": _ref("card", facts.digest),
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(facts, metrics))},
        "considerations": {
            "useCases": [model.purpose if model else unknown],
            "technicalLimitations": limits,
        },
        "properties": _properties(method=facts.released.method, tier=facts.registration.tier),
    }


def _metrics(facts: Facts, metrics: list[Metric]) -> Iterator[dict[str, Any]]:
    for metric in metrics:
        figures: list[tuple[str, Score | Slice]] = [
            (f"{'all ' if not score.missing else ''}{items(score)}", score)
            for score in metric.scores
            if score.digest == facts.digest and score.mean is not None
        ]
        figures += [(f"{row.by}={row.label}, {row.n} items", row) for row in metric.slices]
        for name, figure in figures:
            performance: dict[str, Any] = {
                "type": metric.name,
                "value": repr(figure.mean),
                "slice": f"{metric.suite}, {name}",
            }
            if figure.low is not None:
                bounds = {"lowerBound": repr(figure.low), "upperBound": repr(figure.high)}
                performance["confidenceInterval"] = bounds
            yield performance


# --- data, rewards, libraries ---------------------------------------------------------------------


def _dataset(records: Records, chain: DataChain, uses: list[str]) -> Component:
    card = records.cards.get(chain.dataset, Datacard())
    sensitive = ["personal data: not searched for at this digest"]
    if chain.scan is not None:
        scan = chain.scan.predicate
        sensitive = [text for text, _, _ in personal_data(scan)]
        sensitive.append(recall_summary({chain.dataset: scan.recall}))
    data: dict[str, Any] = {
        "type": "dataset",
        "name": chain.dataset,
        "description": stated(card.origin),
        "sensitiveData": sensitive,
    }
    if card.classification:
        data["classification"] = card.classification
    if card.steward.strip():
        data["governance"] = {"custodians": [{"organization": {"name": card.steward}}]}
    notes = {
        "kind": chain.ingest.predicate.kind if chain.ingest else "not recorded",
        "used_by": ", ".join(uses),
        "source_sha256": chain.source or "not recorded",
        "lawful_basis": card.lawful_basis,
        "gap": f"no evidence of {chain.broken_at}" if chain.broken_at else "none",
    }
    ref = _ref("data", chain.sha256, chain.dataset)
    about = {"version": chain.sha256, "data": [data]}
    return _component("data", ref, chain.dataset, chain.sha256, card.licence, notes, **about)


def _rewards(facts: Facts) -> list[Component]:
    """Every reward function of the chain. A scorer is a model, and listed as one."""
    components = {}
    for node in facts.chain:
        request = facts.requests.get(node.sha256)
        for name, digest in sorted(request.rewards.items() if request else ()):
            if digest is not None:
                notes = {"role": "reward function", "digest_of": "its source"}
                notes["used_by"] = f"train@{node.name}"
                ref = _ref("reward", digest, name)
                components[ref] = _component("file", ref, name, digest, None, notes)
    return list(components.values())


def _libraries(facts: Facts) -> list[Component]:
    """Every engine that a training depended on, with what its metadata said at the time."""
    components = {}
    environments = [node.train.predicate.environment for node in facts.trained if node.train]
    for environment in environments:
        for name, version in sorted(environment.versions.items()):
            library = environment.libraries.get(name)
            about = {"version": version}
            if all(re.fullmatch(r"[A-Za-z0-9._+-]+", text) for text in (name, version)):
                plain = name.lower().replace("_", "-")
                about["purl"] = f"pkg:pypi/{plain}@{version.replace('+', '%2B')}"
            licence, record = (library.licence, library.record) if library else (None, None)
            notes = {"digest_of": "its RECORD"} if library else {"hash": "not recorded"}
            ref = _ref("library", version, name)
            components[ref] = _component("library", ref, name, record, licence, notes, **about)
    return list(components.values())


def _dependencies(facts: Facts) -> Iterator[dict[str, Any]]:
    """What each model was made from."""
    for node in facts.chain:
        refs = {_ref("model", digest) for digest in (node.parent, node.scorer) if digest}
        request = facts.requests.get(node.sha256)
        if request is not None:
            refs.add(_ref("data", request.data.sha256, request.data.dataset))
            refs.add(_ref("data", request.suite.records, request.suite.name))
            rewards = request.rewards.items()
            refs |= {_ref("reward", digest, name) for name, digest in rewards if digest}
        if node.train is not None:
            versions = node.train.predicate.environment.versions
            refs |= {_ref("library", version, name) for name, version in versions.items()}
        yield {"ref": _ref("model", node.sha256), "dependsOn": sorted(refs)}


def _export(records: Records) -> Made:
    return Made([Document("bom.cdx.json", bom(records))])


FORMAT = Format("cyclonedx", "CycloneDX 1.6 ML-BOM: bom.cdx.json", _export)
