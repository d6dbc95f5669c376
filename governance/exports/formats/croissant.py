"""Croissant 1.1 with RAI 1.0 for each dataset version behind the model.

Records are not described (`recordSet`): the evidence has their kind and counts, not their columns.
Fields that the format requires and no record gives (who made the data, where to get it) say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from governance.attest.predicates import Scan
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records, recall_summary
from governance.exports.text import file_name, json_bytes, stated
from governance.history.lineage import DataChain
from governance.policy.rules import Datacard
from governance.report.facts import at

CROISSANT = "http://mlcommons.org/croissant/1.1"
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
DECLARED = (
    "rai:dataCollection",
    "rai:dataAnnotationProtocol",
    "rai:dataUseCases",
    "rai:dataReleaseMaintenancePlan",
)
"""The RAI terms that a datacard gives."""


def datasets(records: Records) -> Iterator[tuple[str, bytes]]:
    """Each dataset's name and its document."""
    for chain, uses in records.facts.datasets:
        yield chain.dataset, json_bytes(_document(records, chain, uses))


def _document(records: Records, chain: DataChain, uses: list[str]) -> dict[str, Any]:
    card = records.cards.get(chain.dataset)
    logged = chain.quality or chain.scan or chain.ingest or records.facts.registration_statement
    steward = stated(card.steward if card else None)
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": f"urn:countersign:dataset:{chain.sha256}",
        "conformsTo": [CROISSANT, RAI],
        "name": stated(card.title if card else None, chain.dataset),
        "description": _description(records, chain, uses),
        "license": stated(card.licence if card else None),
        "url": f"urn:countersign:dataset:{chain.sha256}",
        "creator": {
            "@type": "Organization",
            "name": f"see rai:dataCollection; steward: {steward}",
        },
        "datePublished": at(logged)[:10],  # the day it was logged: the only date on record
        "version": f"sha256-{chain.sha256}",
        "keywords": sorted(
            {f"purpose {purpose}" for purpose in (card.purposes if card else [])} | set(uses)
        ),
        "distribution": list(_files(chain)),
        "rai:dataCollectionRawData": f"source of sha256 {chain.source or 'not recorded'}",
        "rai:dataBiases": "not recorded: coverage by the groups that matter is not profiled",
        "rai:dataSocialImpact": "not recorded",
        "rai:dataPreprocessingProtocol": _steps(chain),
        **_declared(card, records.facts.policies_note or "not stated: there is no datacard"),
        **_scanned(chain),
    }
    if chain.source:
        document["prov:wasDerivedFrom"] = {"@id": f"urn:countersign:source:{chain.source}"}
    return document


def _description(records: Records, chain: DataChain, uses: list[str]) -> str:
    kind = f"Records of kind {chain.ingest.predicate.kind}" if chain.ingest else ""
    entries = sorted(
        statement.index for statement in (chain.ingest, chain.scan, chain.quality) if statement
    )
    evidence = ", ".join(f"E{entry}" for entry in entries) or "no entry"
    gap = f" The log has no evidence of {chain.broken_at} at this digest."
    return (
        f"{kind or 'Records of a kind that is not recorded'}, dataset {chain.dataset} as used by"
        f" {', '.join(uses)} for {records.name}. Evidence: {evidence} of {records.log_id}. Where"
        f" to get it is not recorded; its digest identifies it.{gap if chain.broken_at else ''}"
    )


def _files(chain: DataChain) -> Iterator[dict[str, Any]]:
    """The ready file, and the source it was made from, by digest."""
    subjects = chain.quality.subjects if chain.quality else ()
    ready = [subject.name for subject in subjects if subject.role == "records"]
    parquet = "application/vnd.apache.parquet"
    files = [("ready records", [*ready, "not recorded"][0], chain.sha256, parquet)]
    if chain.source is not None:
        source = f"urn:countersign:source:{chain.source}"
        files.append(("source", source, chain.source, "application/octet-stream"))
    for name, url, sha256, encoding in files:
        yield {
            "@type": "cr:FileObject",
            "@id": f"{name.replace(' ', '-')}-{sha256[:12]}",
            "name": name,
            "contentUrl": url,
            "encodingFormat": encoding,
            "sha256": sha256,
        }


def _declared(card: Datacard | None, missing: str) -> dict[str, Any]:
    """The RAI terms that the steward's datacard gives."""
    if card is None:
        return dict.fromkeys(DECLARED, missing)
    until, then = stated(card.retention.until), stated(card.retention.then)
    values = (
        stated(card.origin),
        stated(card.labelling),
        [
            *(f"permitted purpose: {purpose}" for purpose in card.purposes),
            f"permitted regions: {', '.join(card.regions) or 'not stated'}",
            "no other use",
        ],
        f"kept until {until}, then {then}; classification {stated(card.classification)}",
    )
    return dict(zip(DECLARED, values, strict=True))


def _scanned(chain: DataChain) -> dict[str, list[str]]:
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
        scan: Scan = chain.scan.predicate
        limitations = [f"the search cannot find {kind}" for kind in scan.cannot_find] + limitations
        limitations.append(f"personal data: {recall_summary({chain.dataset: scan.recall})}")
        treatment = [f"{name}: {action}" for name, action in sorted(scan.actions.items())]
        searched = ", ".join(sorted(scan.entities_searched)) or "nothing"
        personal = [f"searched for: {searched} in {', '.join(scan.languages)}"]
        for name in sorted({*scan.found, *scan.remaining}):
            found, remaining = scan.found.get(name, 0), scan.remaining.get(name, 0)
            personal.append(f"{name}: {found} found, {remaining} remaining")
    return {
        "rai:dataManipulationProtocol": treatment or ["nothing was changed"],
        "rai:dataLimitations": limitations,
        "rai:personalSensitiveInformation": personal,
    }


def _steps(chain: DataChain) -> list[str]:
    steps = []
    for name, statement in (
        ("ingest", chain.ingest),
        ("scan", chain.scan),
        ("quality", chain.quality),
    ):
        if statement is None:
            steps.append(f"{name}: no evidence at this digest")
            continue
        counts = statement.predicate.counts
        reasons = [f"{reason} {number}" for reason, number in sorted(counts.excluded.items())]
        steps.append(
            f"{name}: {counts.records_in} records in, {counts.records_out} out; left out:"
            f" {', '.join(reasons) or 'none'} (E{statement.index})"
        )
    return steps


def _export(records: Records) -> Made:
    made = [Document(f"croissant/{file_name(name)}.json", data) for name, data in datasets(records)]
    return Made(made, () if made else ("datasets: the log has no request of a gate",))


FORMAT = Format("croissant", "Croissant 1.1 with RAI 1.0, one per dataset version", _export)
