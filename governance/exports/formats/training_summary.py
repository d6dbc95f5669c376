"""The public summary of training content, in the order of the European Commission's template for
Art. 53(1)(d) of the AI Act: C(2025) 8311 of 5 December 2025.

It is filled from what the log and the datacards record. What they do not record is left open, by
name, for a person. The headings of sections 2 and 3 were written from secondary sources: compare
them with the template before publishing. A provider who modifies a model covers the data of the
modification only, and refers to the base model's own summary.
"""

from __future__ import annotations

from collections import Counter

from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records
from governance.exports.text import drawn
from governance.history.lineage import DataChain
from governance.report.facts import at

OPEN = "OPEN: a person must fill this in"


def training_summary(records: Records) -> str:
    """The summary as Markdown."""
    chains = [
        chain
        for chain, uses in records.facts.datasets
        if any(use.startswith("train@") for use in uses)
    ]
    ingested = [at(chain.ingest)[:10] for chain in chains if chain.ingest]
    return drawn(
        "training_summary.md.j2",
        records=records,
        bases=[node.base.predicate for node in records.facts.chain if node.base],
        datasets=[(chain, records.cards.get(chain.dataset), _excluded(chain)) for chain in chains],
        total=sum(chain.quality.predicate.counts.records_out for chain in chains if chain.quality),
        latest=max(ingested, default="not recorded"),
        open=OPEN,
    )


def _excluded(chain: DataChain) -> list[tuple[str, int]]:
    """Reason to number of records that a data stage excluded."""
    excluded: Counter[str] = Counter()
    for statement in (chain.ingest, chain.scan, chain.quality):
        excluded.update(statement.predicate.counts.excluded if statement else {})
    return sorted(excluded.items())


def _export(records: Records) -> Made:
    return Made([Document("training-summary.md", training_summary(records).encode())])


FORMAT = Format(
    "training-summary", "AI Act Art. 53(1)(d) training content summary, from records", _export
)
