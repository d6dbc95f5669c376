"""A CycloneDX 1.6 ML-BOM: the model, the models and datasets before it, reward functions, engines,
and how they hang together.

Two things are not recorded, and are said as properties: licences of libraries, and a hash for each
of them (one digest covers everything installed).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from governance.attest.predicates import BaseImport, Ingest, Scan
from governance.exports.card import items, metadata
from governance.exports.records import Records
from governance.exports.text import json_bytes, outside_path, said
from governance.gates import recall
from governance.history.lineage import DataChain, ModelNode, trained
from governance.report import scores

SPDX = frozenset(
    [
        "0BSD",
        "AFL-3.0",
        "AGPL-3.0-only",
        "AGPL-3.0-or-later",
        "Apache-2.0",
        "Artistic-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-ND-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "CDLA-Sharing-1.0",
        "EUPL-1.2",
        "GPL-2.0-only",
        "GPL-3.0-only",
        "GPL-3.0-or-later",
        "ISC",
        "LGPL-2.1-only",
        "LGPL-3.0-only",
        "MIT",
        "MPL-2.0",
        "ODC-By-1.0",
        "ODbL-1.0",
        "PDDL-1.0",
        "Unlicense",
    ]
)
"""Identifiers that are written as such; any other licence is written by its name."""
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
"""Method to the nearest of the format's five words; the method itself stands among the properties.
"""
_SPACE = uuid.UUID("5f0c6e2e-9c1b-5d2a-8d55-6a1f7b0c4d11")
"""Of serial numbers, so that the same records have the same."""


def bom(records: Records) -> bytes:
    """The document."""
    facts = records.facts
    libraries = _libraries(records)
    components = [
        *(_model(records, node) for node in facts.chain if node.sha256 != facts.digest),
        *(_dataset(records, chain, uses) for chain, uses in facts.datasets),
        *_rewards(records).values(),
        *libraries.values(),
    ]
    return json_bytes(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": (
                f"urn:uuid:{uuid.uuid5(_SPACE, f'{records.log_id}/{records.name}/{facts.as_of}')}"
            ),
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
                    licences_of_libraries="not recorded",
                    hashes_of_libraries=(
                        "one sha256 over everything installed, per stage: countersign:distributions"
                    ),
                ),
            },
            "components": components,
            "dependencies": list(_dependencies(records)),
        }
    )


def _released(records: Records) -> dict[str, Any]:
    facts = records.facts
    found = _model(records, facts.released)
    found |= {"name": facts.registration.model, "version": facts.registration.version}
    found["modelCard"] = _card(records)
    found["components"] = [
        {
            "type": "file",
            "bom-ref": f"file:{file.path}:{file.sha256}",
            "name": file.path,
            "hashes": _hashes(file.sha256),
        }
        for file in facts.registration.files
    ]
    return found


def _model(records: Records, node: ModelNode) -> dict[str, Any]:
    """A model of the chain: trained here, from outside, or without evidence."""
    found: dict[str, Any] = {
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
        notes |= {"method": train.method, "entry": node.train.index, "objective": train.objective}
        notes |= {"code": train.code.commit or "no commit", "uncommitted": train.code.dirty}
        notes |= {"distributions": train.environment.distributions}
    elif isinstance(base, BaseImport):
        notes |= {
            "source": outside_path(base.source),
            "weights": base.weights,
            "entry": node.base.index if node.base else 0,
        }
    else:
        notes["source"] = "not recorded: no evidence of where this model comes from"
    allowed = (
        records.facts.policies.bases.get(node.name)
        if records.facts.policies and node.train is None
        else None
    )
    licence = _licence(allowed.licence) if allowed else None
    notes |= {} if licence else {"licence": "not recorded"}
    found |= {"licenses": licence} if licence else {}
    return {**found, "hashes": _hashes(node.sha256), "properties": _properties(**notes)}


def _card(records: Records) -> dict[str, Any]:
    facts = records.facts
    approach = APPROACH.get(facts.released.method)
    parameters: dict[str, Any] = {"approach": {"type": approach}} if approach else {}
    parameters["task"] = metadata(records)["pipeline_tag"]
    parameters["datasets"] = [
        {"ref": _ref("data", chain.sha256, chain.dataset)} for chain, _ in facts.datasets
    ]
    known = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    return {
        "bom-ref": _ref("card", facts.digest),
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(records))},
        "considerations": {
            "useCases": (
                [known.purpose] if known else [facts.policies_note or "policies name no such model"]
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
            found: dict[str, Any] = {"type": metric.name, "value": repr(score.mean)}
            found["slice"] = f"{metric.suite}, {'all ' if not score.missing else ''}{items(score)}"
            yield found | _interval(score.low, score.high)
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
        f"{one.metric} {one.demand}: NOT met"
        for one in scores.judged(records.facts)
        if not one.passed
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
        "description": said(card.origin if card else None),
    }
    data["sensitiveData"] = _sensitive(chain)
    data |= {"classification": card.classification} if card and card.classification else {}
    if card and card.steward.strip():
        data["governance"] = {"custodians": [{"organization": {"name": card.steward}}]}
    notes = {
        "kind": ingest.kind if ingest else "not recorded",
        "used-by": ", ".join(uses),
        "source-sha256": chain.source or "not recorded",
        "lawful-basis": said(card.lawful_basis if card else None),
        "gap": f"no evidence of {chain.broken_at}" if chain.broken_at else "none",
    }
    found: dict[str, Any] = {
        "type": "data",
        "bom-ref": _ref("data", chain.sha256, chain.dataset),
        "name": chain.dataset,
        "version": chain.sha256,
        "hashes": _hashes(chain.sha256),
        "data": [data],
    }
    licence = _licence(card.licence) if card else None
    notes |= {} if licence else {"licence": "not stated"}
    return {
        **found,
        **({"licenses": licence} if licence else {}),
        "properties": _properties(**notes),
    }


def _sensitive(chain: DataChain) -> list[str]:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return ["personal data: not searched for at this digest"]
    return [
        f"{name}: {scan.found.get(name, 0)} found, {scan.actions.get(name, 'no action')}, "
        f"{scan.remaining.get(name, 0)} remaining"
        for name in sorted({*scan.found, *scan.remaining})
    ] or [f"personal data: none found; {recall.told({chain.dataset: scan.recall})}"]


def _rewards(records: Records) -> dict[str, dict[str, Any]]:
    """Reference to component, of every reward function of the chain that has a digest."""
    found = {}
    for stage, request in records.facts.requests.items():
        for name, digest in sorted(request.rewards.items()):
            if digest is None:
                continue  # the scorer, which is a model of the chain
            ref = _ref("reward", digest, name)
            notes = _properties(
                role="reward function", digest_of="its source", used_by=f"train@{stage}"
            )
            found[ref] = {
                "type": "file",
                "bom-ref": ref,
                "name": name,
                "hashes": _hashes(digest),
                "properties": notes,
            }
    return found


def _libraries(records: Records) -> dict[str, dict[str, Any]]:
    """Reference to component, of every engine version that a training depended on."""
    found = {}
    for node in records.facts.trained:
        for name, version in (
            sorted(trained(node.train).environment.versions.items()) if node.train else ()
        ):
            ref = _ref("library", version, name)
            found[ref] = {"type": "library", "bom-ref": ref, "name": name, "version": version}
            if _plain_name(name) and _plain_name(version):
                found[ref]["purl"] = (
                    f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
                )
    return found


def _plain_name(text: str) -> bool:
    return bool(text) and text.isascii() and all(char.isalnum() or char in "._+-" for char in text)


def _dependencies(records: Records) -> Iterator[dict[str, Any]]:
    """What each model was made from."""
    facts = records.facts
    for node in facts.chain:
        on = [_ref("model", digest) for digest in (node.parent, node.scorer) if digest]
        request = facts.requests.get(node.name)
        if request is not None:
            on.append(_ref("data", request.data.sha256, request.data.dataset))
            on.append(_ref("data", request.suite.records, request.suite.name))
            on += [
                _ref("reward", digest, name)
                for name, digest in sorted(request.rewards.items())
                if digest
            ]
        if node.train is not None:
            on += [
                _ref("library", version, name)
                for name, version in trained(node.train).environment.versions.items()
            ]
        yield {"ref": _ref("model", node.sha256), "dependsOn": sorted(dict.fromkeys(on))}


# --- parts ----------------------------------------------------------------------------------------


def _ref(kind: str, digest: str, name: str = "") -> str:
    return f"{kind}:{name}:{digest}" if name else f"{kind}:{digest}"


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _licence(text: str) -> list[dict[str, Any]] | None:
    if not text.strip():
        return None
    return [{"license": {"id": text} if text in SPDX else {"name": text}}]


def _properties(**values: Any) -> list[dict[str, str]]:
    """Properties under our own prefix, each a text."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    texts = {
        name: str(value).lower() if isinstance(value, bool) else said(value)
        for name, value in named.items()
    }
    return [
        {"name": f"countersign:{name}", "value": value} for name, value in sorted(texts.items())
    ]
