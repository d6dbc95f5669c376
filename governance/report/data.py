"""The report's datasets: stages, excluded records, personal data and quality."""

from __future__ import annotations

from governance.attest.codes import CODES
from governance.attest.predicates import Scan
from governance.base.text import plain, words
from governance.gates import recall
from governance.history.lineage import DataChain, data_chain, subject
from governance.log.evidence import Evidence
from governance.report.facts import PREFIX, Facts
from governance.report.model import (
    Beside,
    Dataset,
    DataStep,
    Entity,
    Excluded,
    Privacy,
    Recalled,
)

IDS_SHOWN = 20
"""Record ids named per reason."""
LOW_ASSURANCE = "name-list"


def datasets(facts: Facts) -> list[Dataset]:
    """Every dataset the version rests on."""
    return [_dataset(facts, chain, uses) for chain, uses in facts.datasets]


def beside(facts: Facts) -> list[Beside]:
    """Every dataset of the log that the version does not use."""
    used = {chain.dataset for chain in facts.chains}
    by_dataset: dict[str, list[Evidence]] = {}
    for statement in facts.of("ingest", "scan", "quality"):
        if statement.predicate.dataset not in used:
            by_dataset.setdefault(statement.predicate.dataset, []).append(statement)
    return [_beside(facts, name, statements) for name, statements in sorted(by_dataset.items())]


def _beside(facts: Facts, name: str, statements: list[Evidence]) -> Beside:
    """The latest way to ready records, then the last refusal after it."""
    steps: list[Evidence] = []
    refused = [entry for entry in statements if not subject(entry, "records")]
    ready = [entry for entry in statements if entry.kind == "quality" and entry not in refused]
    if ready:
        chain = data_chain(facts.view, name, subject(ready[-1], "records") or "")
        steps = _statements(chain)
    steps += [entry for entry in refused[-1:] if not steps or entry.index > steps[-1].index]
    kinds = [entry.predicate.kind for entry in statements if entry.kind != "scan"]
    scans = [entry.predicate for entry in steps if entry.kind == "scan"]
    return Beside(
        name=name,
        kind=kinds[-1] if kinds else "not recorded",
        steps=[_step(facts, statement) for statement in steps or statements[-1:]],
        entities=_entities(scans[0]) if scans else [],
    )


def _statements(chain: DataChain) -> list[Evidence]:
    return [statement for statement in (chain.ingest, chain.scan, chain.quality) if statement]


def _dataset(facts: Facts, chain: DataChain, uses: list[str]) -> Dataset:
    card, note = _card(facts, chain.dataset)
    quality = chain.quality.predicate if chain.quality else None
    checks = quality.expectations if quality else []
    return Dataset(
        name=chain.dataset,
        kind=chain.ingest.predicate.kind if chain.ingest else "not recorded",
        used_by=uses,
        digest=chain.sha256,
        source=chain.source or "not recorded",
        card=card,
        card_note=note,
        splits=quality.counts.splits if quality else {},
        steps=[_step(facts, statement) for statement in _statements(chain)],
        privacy=_privacy(facts, chain.scan) if chain.scan else None,
        quality=sorted(checks, key=lambda check: (check.success, not check.unexpected)),
        quality_evidence=[chain.quality.index] if chain.quality else [],
        gap=f"no evidence of {chain.broken_at} at this digest" if chain.broken_at else None,
    )


def _card(facts: Facts, dataset: str) -> tuple[dict[str, str], str]:
    """The datacard's fields in their own order, and a note where it is missing."""
    card = facts.cards.get(dataset)
    if card is None:
        missing = "none: policies/datacards/ has no card of this name"
        return {}, facts.policies_note or missing
    shown: dict[str, str] = {}
    for name, value in card.model_dump(mode="json").items():
        if isinstance(value, dict):
            shown |= {f"{name} {key}": _declared(field) for key, field in value.items()}
        else:
            shown[name.replace("_", " ")] = _declared(value)
    return shown, ""


def _declared(value: object) -> str:
    """A datacard's field as valid Unicode text. A YAML escape may have made it invalid."""
    return plain(value).encode("utf-8", "backslashreplace").decode() if value else "not stated"


def _step(facts: Facts, statement: Evidence) -> DataStep:
    predicate = statement.predicate
    passed = getattr(predicate, "passed", True) and subject(statement, "records")
    return DataStep(
        stage=predicate.stage,
        result="passed" if passed else "refused",
        records_in=predicate.counts.records_in,
        records_out=predicate.counts.records_out,
        excluded=_excluded(facts, statement),
        evidence=[statement.index],
    )


def _excluded(facts: Facts, statement: Evidence) -> list[Excluded]:
    """The records left out, most frequent reason first, with the beginnings of their ids."""
    counted: dict[str, int] = statement.predicate.counts.excluded
    rows, missing = facts.rows(statement, "excluded") if counted else ([], "")
    groups = []
    for reason, records in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])):
        ids = {_id(row) for row in rows if row.get("reason") == reason}
        more = f"and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
        groups.append(
            Excluded(
                reason=reason,
                title=CODES[reason].title if reason in CODES else "",
                records=records,
                ids=sorted(ids, key=lambda text: (text.partition(":")[0], len(text), text))[
                    :IDS_SHOWN
                ],
                ids_note=missing or more,
            )
        )
    return groups


def _id(row: dict[str, object]) -> str:
    """The start of a record's id, enough to find it in excluded.jsonl; else its file and row."""
    identity = row.get("id")
    return str(identity)[:PREFIX] if identity else f"{row.get('file')}:{row.get('row')}"


def _privacy(facts: Facts, statement: Evidence[Scan]) -> Privacy:
    scan = statement.predicate
    ner = scan.engine.get("ner", "not recorded")
    low = ner == LOW_ASSURANCE
    model = f"names are found by the model {ner}"
    return Privacy(
        engine=_engine(scan.engine),
        assurance="low: names are found by a list, not by a model" if low else model,
        languages=list(scan.languages),
        searched=sorted(scan.entities_searched),
        cannot_find=list(scan.cannot_find),
        entities=_entities(scan),
        recall=_recall(facts, scan),
        recall_note=_recall_note(scan),
        evidence=[statement.index],
    )


def _engine(engine: dict[str, str]) -> str:
    """Name and version, then every other figure of the engine."""
    name = f"{engine.get('name', 'not recorded')} {engine.get('version', '')}".strip()
    others = [key for key, value in sorted(engine.items()) if value]
    figures = [f"{key} {engine[key][:PREFIX]}" for key in others if key not in ("name", "version")]
    return ", ".join([name, *figures])


def _entities(scan: Scan) -> list[Entity]:
    """Each type that was found or is left, the most frequent first."""
    rows = [
        Entity(
            name=name,
            found=scan.found.get(name, 0),
            action=scan.actions.get(name, "not recorded"),
            remaining=scan.remaining.get(name, 0),
        )
        for name in scan.found.keys() | scan.remaining.keys()
    ]
    return sorted(rows, key=lambda row: (-row.found, row.name))


def _recall(facts: Facts, scan: Scan) -> list[Recalled]:
    demanded = facts.policies.pii.minimum_recall if facts.policies else {}
    rows = [
        Recalled(
            name=name,
            planted=measured.planted,
            found=measured.found,
            low=recall.interval(measured).low,
            high=recall.interval(measured).high,
            demanded=demanded.get(name),
        )
        for name, measured in (scan.recall.entities if scan.recall else {}).items()
    ]
    return sorted(rows, key=lambda row: (row.low, row.name))


def _recall_note(scan: Scan) -> str:
    if scan.recall is None:
        return recall.NOT_RECORDED
    texts = "shipped sentences: it has no text"
    if scan.recall.texts:
        texts = f"{scan.recall.texts:,} texts of the dataset"
    without = [name for name in scan.entities_searched if name not in scan.recall.entities]
    return (
        f"made-up values planted in {texts}, searched for by the same engine (seed set"
        f" {scan.recall.seeds[:PREFIX]}); what people write otherwise is not shown; not measured:"
        f" {words(without)}"
    )
