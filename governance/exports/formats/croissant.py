"""Croissant 1.1 with RAI 1.0 for each dataset version behind the model.

Records are not described (`recordSet`): the evidence has their kind and counts, not their columns.
Fields that the format requires and no record gives (who made the data, where to get it) say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records, personal_data, recall_summary
from governance.exports.text import file_name, json_bytes, stated
from governance.history.lineage import DataChain
from governance.log.evidence import Evidence
from governance.policy.rules import Datacard
from governance.report.facts import at

CROISSANT = "http://mlcommons.org/croissant/1.1"
PARQUET = "vnd.apache.parquet"
RAI = "http://mlcommons.org/croissant/RAI/1.0"
_SAME = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty"
    " fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet"
    " references regex repeated replace samplingRate separator source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{name: f"cr:{name}" for name in _SAME.split()},
}
"""The context that Croissant 1.1 recommends, and PROV's prefix."""


def datasets(records: Records) -> Iterator[tuple[str, bytes]]:
    """Each dataset's name and its document."""
    for chain, uses in records.facts.datasets:
        yield chain.dataset, json_bytes(_document(records, chain, uses))


def _document(records: Records, chain: DataChain, uses: list[str]) -> dict[str, Any]:
    card = records.cards.get(chain.dataset, Datacard())
    no_card = "not stated: there is no datacard"
    blank = (
        "not stated" if chain.dataset in records.cards else records.facts.policies_note or no_card
    )
    steps = {"ingest": chain.ingest, "scan": chain.scan, "quality": chain.quality}
    found = [statement for statement in steps.values() if statement]
    entries = ", ".join(f"E{entry}" for entry in sorted(statement.index for statement in found))
    kind = f"kind {chain.ingest.predicate.kind}" if chain.ingest else "a kind that is not recorded"
    gap = f" The log has no evidence of {chain.broken_at} at this digest."
    source = f"urn:countersign:source:{chain.source}"
    files = [
        *_ready(chain),
        *([_file("source", source, chain.source, "octet-stream")] if chain.source else []),
    ]
    until, then = stated(card.retention.until), stated(card.retention.then)
    permitted = [
        *(f"permitted purpose: {purpose}" for purpose in card.purposes),
        f"permitted regions: {', '.join(card.regions) or 'not stated'}",
        "no other use",
    ]
    keeping = f"kept until {until}, then {then}; classification {stated(card.classification)}"
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": f"urn:countersign:dataset:{chain.sha256}",
        "conformsTo": [CROISSANT, RAI],
        "name": stated(card.title, chain.dataset),
        "description": (
            f"Records of {kind}, dataset {chain.dataset} as used by {', '.join(uses)} for"
            f" {records.name}. Evidence: {entries or 'no entry'} of {records.log_id}. Where to get"
            f" it is not recorded; its digest identifies it.{gap if chain.broken_at else ''}"
        ),
        "license": stated(card.licence),
        "url": f"urn:countersign:dataset:{chain.sha256}",
        "creator": {
            "@type": "Organization",
            "name": f"see rai:dataCollection; steward: {stated(card.steward)}",
        },
        # the day on which it was logged: the only date on record
        "datePublished": at([records.facts.registration_statement, *found][-1])[:10],
        "version": f"sha256-{chain.sha256}",
        "keywords": sorted({f"purpose {purpose}" for purpose in card.purposes} | set(uses)),
        "distribution": files,
        "rai:dataCollectionRawData": f"source of sha256 {chain.source or 'not recorded'}",
        "rai:dataBiases": "not recorded: coverage by the groups that matter is not profiled",
        "rai:dataSocialImpact": "not recorded",
        "rai:dataPreprocessingProtocol": [_step(name, step) for name, step in steps.items()],
        "rai:dataCollection": stated(card.origin, blank),
        "rai:dataAnnotationProtocol": stated(card.labelled_by, blank),
        "rai:dataUseCases": permitted if chain.dataset in records.cards else blank,
        "rai:dataReleaseMaintenancePlan": keeping if chain.dataset in records.cards else blank,
        **_searched(chain),
    }
    return {**document, "prov:wasDerivedFrom": {"@id": source}} if chain.source else document


def _ready(chain: DataChain) -> list[dict[str, str]]:
    """The dataset's shards; of an older version, its one file."""
    subjects = chain.quality.subjects if chain.quality else ()
    places = [subject.name for subject in subjects if subject.role == "records"]
    place = [*places, "not recorded"][0]
    shards = chain.quality.predicate.counts.shards if chain.quality else []
    if not shards:
        return [_file("ready records", place, chain.sha256, PARQUET)]
    return [
        _file(f"ready records {shard.file}", f"{place}/{shard.file}", shard.sha256, PARQUET)
        for shard in shards
    ]


def _file(name: str, url: str, sha256: str, encoding: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{name.replace(' ', '-')}-{sha256[:12]}",
        "name": name,
        "contentUrl": url,
        "encodingFormat": f"application/{encoding}",
        "sha256": sha256,
    }


def _searched(chain: DataChain) -> dict[str, list[str]]:
    """The RAI terms that the search for personal data and the quality checks give."""
    checks = chain.quality.predicate.expectations if chain.quality else []
    limitations = [
        f"expectation not met: {check.name}: {check.expected} on {check.column}"
        for check in checks
        if not check.success
    ]
    treatment = ["no search for personal data is recorded at this digest"]
    personal = ["not searched for at this digest"]
    if chain.scan is not None:
        scan = chain.scan.predicate
        limitations = [f"the search cannot find {kind}" for kind in scan.cannot_find] + limitations
        limitations.append(f"personal data: {recall_summary({chain.dataset: scan.recall})}")
        treatment = [f"{name}: {action}" for name, action in sorted(scan.actions.items())]
        searched = ", ".join(sorted(scan.entities_searched)) or "nothing"
        personal = [f"searched for: {searched} in {', '.join(scan.languages)}"]
        personal += [text for text, _, _ in personal_data(scan)]
    return {
        "rai:dataManipulationProtocol": treatment or ["nothing was changed"],
        "rai:dataLimitations": limitations,
        "rai:personalSensitiveInformation": personal,
    }


def _step(name: str, statement: Evidence | None) -> str:
    if statement is None:
        return f"{name}: no evidence at this digest"
    counts = statement.predicate.counts
    reasons = [f"{reason} {number}" for reason, number in sorted(counts.excluded.items())]
    records = f"{counts.records_in} records in, {counts.records_out} out"
    return f"{name}: {records}; left out: {', '.join(reasons) or 'none'} (E{statement.index})"


def _export(records: Records) -> Made:
    made = [Document(f"croissant/{file_name(name)}.json", data) for name, data in datasets(records)]
    return Made(made, () if made else ("datasets: the log has no request of a gate",))


FORMAT = Format("croissant", "Croissant 1.1 with RAI 1.0, one per dataset version", _export)
