"""Croissant 1.1 with RAI 1.0 for each dataset version behind the model.

Records are not described (`recordSet`): the evidence has their kind and counts, not their columns.
Fields that the format requires and no record gives (who made the data, where to get it) say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from governance.attest.predicates import Artifact, Ingest, Quality, Scan
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records, entries
from governance.exports.text import file_name, json_bytes, stated
from governance.gates import recall
from governance.history.lineage import DataChain
from governance.log.evidence import Evidence
from governance.policy.policies import Datacard
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


def datasets(records: Records) -> Iterator[tuple[str, bytes]]:
    """Each dataset's name and its document."""
    for chain, uses in records.facts.datasets:
        yield chain.dataset, json_bytes(_document(records, chain, uses))


def _document(records: Records, chain: DataChain, uses: list[str]) -> dict[str, Any]:
    card = records.cards.get(chain.dataset)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "@id": f"urn:countersign:dataset:{chain.sha256}",
        "conformsTo": [CROISSANT, RAI],
        "name": stated(card.title if card else None, chain.dataset),
        "description": _description(records, chain, uses),
        "license": stated(card.licence if card else None),
        "url": f"urn:countersign:dataset:{chain.sha256}",
        "creator": {"@type": "Organization", "name": _creator(card)},
        "datePublished": _published(records, chain),
        "version": f"sha256-{chain.sha256}",
        "keywords": sorted(
            {f"purpose {purpose}" for purpose in (card.purposes if card else [])} | set(uses)
        ),
        "distribution": list(_files(chain)),
        **_responsible(records, chain, card),
        **(
            {"prov:wasDerivedFrom": {"@id": f"urn:countersign:source:{chain.source}"}}
            if chain.source
            else {}
        ),
    }


def _description(records: Records, chain: DataChain, uses: list[str]) -> str:
    ingest = (
        chain.ingest.predicate
        if chain.ingest and isinstance(chain.ingest.predicate, Ingest)
        else None
    )
    kind = f"Records of kind {ingest.kind}" if ingest else "Records of a kind that is not recorded"
    gap = (
        f" The log has no evidence of {chain.broken_at} at this digest." if chain.broken_at else ""
    )
    stands = entries([chain.ingest, chain.scan, chain.quality])
    return (
        f"{kind}, dataset {chain.dataset} as used by {', '.join(uses)} for {records.name}."
        f" Evidence: {stands} of {records.log_id}. Where to get it is not recorded; its digest"
        f" identifies it.{gap}"
    )


def _creator(card: Datacard | None) -> str:
    steward = stated(card.steward if card else None)
    return f"see rai:dataCollection; steward: {steward}"


def _published(records: Records, chain: DataChain) -> str:
    """The day on which this dataset version was logged: the only date on record."""
    return at(chain.quality or chain.scan or chain.ingest or records.facts.registration_statement)[
        :10
    ]


def _files(chain: DataChain) -> Iterator[dict[str, Any]]:
    """The ready file, and the source it was made from, by digest."""
    made = _artifact(chain.quality, "records")
    yield _file(
        "ready records",
        made.name if made else "not recorded",
        chain.sha256,
        "application/vnd.apache.parquet",
    )
    if chain.source is not None:
        yield _file(
            "source",
            f"urn:countersign:source:{chain.source}",
            chain.source,
            "application/octet-stream",
        )


def _file(name: str, url: str, sha256: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": f"{name.replace(' ', '-')}-{sha256[:12]}",
        "name": name,
        "contentUrl": url,
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _artifact(statement: Evidence | None, role: str) -> Artifact | None:
    return (
        next((subject for subject in statement.subjects if subject.role == role), None)
        if statement
        else None
    )


def _responsible(records: Records, chain: DataChain, card: Datacard | None) -> dict[str, Any]:
    """The RAI terms."""
    missing = records.facts.policies_note or "not stated: there is no datacard"
    return {
        "rai:dataCollection": stated(card.origin, "not stated") if card else missing,
        "rai:dataCollectionRawData": f"source of sha256 {chain.source or 'not recorded'}",
        "rai:dataPreprocessingProtocol": _steps(chain),
        "rai:dataManipulationProtocol": _treatment(chain),
        "rai:dataAnnotationProtocol": stated(card.labelling, "not stated") if card else missing,
        "rai:dataBiases": "not recorded: coverage by the groups that matter is not profiled",
        "rai:dataLimitations": _limitations(chain),
        "rai:dataUseCases": _uses(card) if card else missing,
        "rai:personalSensitiveInformation": _personal(chain),
        "rai:dataReleaseMaintenancePlan": _retention(card) if card else missing,
        "rai:dataSocialImpact": "not recorded",
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
        why = (
            ", ".join(f"{reason} {number}" for reason, number in sorted(counts.excluded.items()))
            or "none"
        )
        steps.append(
            f"{name}: {counts.records_in} records in, {counts.records_out} out; left out: {why}"
            f" (E{statement.index})"
        )
    return steps


def _treatment(chain: DataChain) -> list[str]:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return ["no search for personal data is recorded at this digest"]
    return [f"{name}: {scan.actions[name]}" for name in sorted(scan.actions)] or [
        "nothing was changed"
    ]


def _limitations(chain: DataChain) -> list[str]:
    scan = chain.scan.predicate if chain.scan else None
    quality = chain.quality.predicate if chain.quality else None
    limitations = []
    if isinstance(scan, Scan):
        limitations += [f"the search cannot find {kind}" for kind in scan.cannot_find]
    if isinstance(quality, Quality):
        for check in quality.expectations:
            if not check.success:
                text = f"{check.name}: {check.expected} on {check.column}"
                limitations.append(f"expectation not met: {text}")
    if isinstance(scan, Scan):
        limitations.append(f"personal data: {recall.summary({chain.dataset: scan.recall})}")
    return limitations


def _uses(card: Datacard) -> list[str]:
    where = ", ".join(card.regions) or "not stated"
    return [
        *(f"permitted purpose: {purpose}" for purpose in card.purposes),
        f"permitted regions: {where}",
        "no other use",
    ]


def _personal(chain: DataChain) -> list[str]:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return ["not searched for at this digest"]
    searched = (
        f"searched for: {', '.join(sorted(scan.entities_searched)) or 'nothing'} in"
        f" {', '.join(scan.languages)}"
    )
    names = sorted({*scan.found, *scan.remaining})
    return [
        searched,
        *(
            f"{name}: {scan.found.get(name, 0)} found, {scan.remaining.get(name, 0)} remaining"
            for name in names
        ),
    ]


def _retention(card: Datacard) -> str:
    kept = f"kept until {stated(card.retention.until)}, then {stated(card.retention.then)}"
    return f"{kept}; classification {stated(card.classification)}"


def _export(records: Records) -> Made:
    made = [Document(f"croissant/{file_name(name)}.json", data) for name, data in datasets(records)]
    return Made(made, () if made else ("datasets: the log has no request of a gate",))


FORMAT = Format("croissant", "Croissant 1.1 with RAI 1.0, one per dataset version", _export)
