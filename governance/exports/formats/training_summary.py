"""The public summary of training content, in the order of the European Commission's template for
Art. 53(1)(d) of the AI Act: C(2025) 8311 of 5 December 2025.

It is filled from what the log and the datacards record. What they do not record is left open, by
name, for a person. The headings of sections 2 and 3 were written from secondary sources: compare
them with the template before publishing. A provider who modifies a model covers the data of the
modification only, and refers to the base model's own summary.
"""

from __future__ import annotations

import re
from typing import Any

from governance.attest.predicates import BaseImport, Ingest, Scan
from governance.base.text import moment
from governance.exports.catalog import Document, Format, Made
from governance.exports.formats.model_card import environment
from governance.exports.records import Records
from governance.exports.text import outside_path, stated
from governance.history.lineage import DataChain
from governance.report.facts import at

OPEN = "OPEN: a person must fill this in"


def training_summary(records: Records) -> str:
    """The summary as Markdown."""
    facts = records.facts
    trained_on = [
        _dataset(records, chain)
        for chain, uses in facts.datasets
        if any(use.startswith("train@") for use in uses)
    ]
    page = (
        environment()
        .get_template("training_summary.md.j2")
        .render(
            records=records,
            bases=[
                outside_path(node.base.predicate.source)
                for node in facts.chain
                if node.base is not None
                and isinstance(node.base.predicate, BaseImport)
                and node.base.predicate.weights
            ],
            datasets=trained_on,
            total=sum(dataset["records"] or 0 for dataset in trained_on),
            latest=max((dataset["logged"] for dataset in trained_on), default="not recorded"),
            as_of=moment(facts.as_of),
            open=OPEN,
        )
    )
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def _dataset(records: Records, chain: DataChain) -> dict[str, Any]:
    card = records.cards.get(chain.dataset)
    ingest = chain.ingest.predicate if chain.ingest else None
    scan = chain.scan.predicate if chain.scan else None
    quality = chain.quality.predicate if chain.quality else None
    excluded: dict[str, int] = {}
    for stage in (ingest, scan, quality):
        for reason, count in (stage.counts.excluded if stage else {}).items():
            excluded[reason] = excluded.get(reason, 0) + count
    return {
        "name": stated(card.title if card else None, chain.dataset),
        "digest": chain.sha256,
        "kind": ingest.kind if isinstance(ingest, Ingest) else "not recorded",
        "records": quality.counts.records_out if quality else None,
        "origin": stated(card.origin if card else None, OPEN),
        "licence": stated(card.licence if card else None, OPEN),
        "labelling": stated(card.labelling if card else None, OPEN),
        "basis": stated(card.lawful_basis if card else None, OPEN),
        "languages": ", ".join(scan.languages) if isinstance(scan, Scan) else "not recorded",
        "personal": sorted(scan.actions.items()) if isinstance(scan, Scan) else None,
        "found": sum(scan.found.values()) if isinstance(scan, Scan) else 0,
        "left": sum(scan.remaining.values()) if isinstance(scan, Scan) else 0,
        "excluded": sorted(excluded.items()),
        "logged": at(chain.ingest)[:10] if chain.ingest else "not recorded",
    }


def _export(records: Records) -> Made:
    return Made([Document("training-summary.md", training_summary(records).encode())])


FORMAT = Format(
    "training-summary", "AI Act Art. 53(1)(d) training content summary, from records", _export
)
