"""The report's datasets: stages, excluded records, personal data and quality."""

from __future__ import annotations

from governance.attest.codes import CODES
from governance.attest.predicates import Ingest, Quality, Scan
from governance.base.text import plain, words
from governance.gates import recall
from governance.history.lineage import DataChain, data_chain, subject
from governance.log.evidence import Evidence
from governance.report.facts import PREFIX, Facts
from governance.report.model import (
    Beside,
    Check,
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
    used = {chain.dataset for chain, _ in facts.datasets}
    by_dataset: dict[str, list[Evidence]] = {}
    for statement in facts.of("ingest", "scan", "quality"):
        if statement.predicate.dataset not in used:
            by_dataset.setdefault(statement.predicate.dataset, []).append(statement)
    return [_beside(facts, name, statements) for name, statements in sorted(by_dataset.items())]


def _beside(facts: Facts, name: str, statements: list[Evidence]) -> Beside:
    ready = [
        statement
        for statement in statements
        if statement.kind == "quality" and subject(statement, "records")
    ]
    chain = data_chain(facts.view, name, subject(ready[-1], "records") or "") if ready else None
    steps = (
        [statement for statement in (chain.ingest, chain.scan, chain.quality) if statement]
        if chain
        else []
    )
    steps += [
        statement
        for statement in statements
        if not subject(statement, "records")
        and statement.index > (steps[-1].index if steps else -1)
    ][-1:]
    steps = steps or statements[-1:]
    kinds = [
        statement.predicate.kind
        for statement in statements
        if not isinstance(statement.predicate, Scan)
    ]
    privacy = _privacy(
        facts, next((statement for statement in steps if statement.kind == "scan"), None)
    )
    return Beside(
        name=name,
        kind=kinds[-1] if kinds else "not recorded",
        steps=[_step(facts, statement) for statement in steps],
        entities=privacy.entities if privacy else [],
    )


def _dataset(facts: Facts, chain: DataChain, uses: list[str]) -> Dataset:
    ingest = (
        chain.ingest.predicate
        if chain.ingest and isinstance(chain.ingest.predicate, Ingest)
        else None
    )
    quality = (
        chain.quality.predicate
        if chain.quality and isinstance(chain.quality.predicate, Quality)
        else None
    )
    card, note = _card(facts, chain.dataset)
    return Dataset(
        name=chain.dataset,
        kind=ingest.kind if ingest else "not recorded",
        used_by=uses,
        digest=chain.sha256,
        source=chain.source or "not recorded",
        card=card,
        card_note=note,
        splits=quality.counts.splits if quality else {},
        steps=[
            _step(facts, statement)
            for statement in (chain.ingest, chain.scan, chain.quality)
            if statement
        ],
        privacy=_privacy(facts, chain.scan),
        quality=_checks(quality),
        quality_evidence=[chain.quality.index] if chain.quality else [],
        gap=f"no evidence of {chain.broken_at} at this digest" if chain.broken_at else None,
    )


def _card(facts: Facts, dataset: str) -> tuple[dict[str, str], str]:
    """The datacard's fields in their own order, and a note where it is missing."""
    if facts.policies is None:
        return {}, facts.policies_note
    card = facts.policies.datacards.get(dataset)
    if card is None:
        return {}, "none: policies/datacards/ has no card of this name"
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
    counted: dict[str, int] = statement.predicate.counts.excluded
    if not counted:
        return []
    rows, missing = facts.rows(statement, "excluded")
    groups = []
    for reason, records in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])):
        ids = [_id(row) for row in rows if row.get("reason") == reason]
        ids = sorted(set(ids), key=lambda text: (text.partition(":")[0], len(text), text))
        note = missing or (f"and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else "")
        title = CODES[reason].title if reason in CODES else ""
        groups.append(
            Excluded(
                reason=reason, title=title, records=records, ids=ids[:IDS_SHOWN], ids_note=note
            )
        )
    return groups


def _id(row: dict[str, object]) -> str:
    """The start of a record's id, enough to find it in excluded.jsonl; else its file and row."""
    identity = row.get("id")
    return str(identity)[:PREFIX] if identity else f"{row.get('file')}:{row.get('row')}"


def _privacy(facts: Facts, statement: Evidence | None) -> Privacy | None:
    if statement is None or not isinstance(statement.predicate, Scan):
        return None
    scan = statement.predicate
    names = sorted(
        {*scan.found, *scan.remaining}, key=lambda name: (-scan.found.get(name, 0), name)
    )
    ner = scan.engine.get("ner", "not recorded")
    low = ner == LOW_ASSURANCE
    return Privacy(
        engine=_engine(scan),
        assurance=(
            "low: names are found by a list, not by a model"
            if low
            else f"names are found by the model {ner}"
        ),
        languages=list(scan.languages),
        searched=sorted(scan.entities_searched),
        cannot_find=list(scan.cannot_find),
        entities=[
            Entity(
                name=name,
                found=scan.found.get(name, 0),
                action=scan.actions.get(name, "not recorded"),
                remaining=scan.remaining.get(name, 0),
            )
            for name in names
        ],
        recall=_recall(facts, scan),
        recall_note=_recall_note(scan),
        evidence=[statement.index],
    )


def _recall(facts: Facts, scan: Scan) -> list[Recalled]:
    demanded = facts.policies.pii.minimum_recall if facts.policies else {}
    entities = scan.recall.entities if scan.recall else {}
    rows = [
        Recalled(
            name=name,
            planted=measured.planted,
            found=measured.found,
            low=recall.interval(measured).low,
            high=recall.interval(measured).high,
            demanded=demanded.get(name),
        )
        for name, measured in entities.items()
    ]
    return sorted(rows, key=lambda row: (row.low, row.name))


def _recall_note(scan: Scan) -> str:
    if scan.recall is None:
        return recall.NOT_RECORDED
    texts = (
        f"{scan.recall.texts:,} texts of the dataset"
        if scan.recall.texts
        else "shipped sentences: it has no text"
    )
    without = [name for name in scan.entities_searched if name not in scan.recall.entities]
    return (
        f"made-up values planted in {texts}, searched for by the same engine (seed set"
        f" {scan.recall.seeds[:PREFIX]}); what people write otherwise is not shown; not measured:"
        f" {words(without)}"
    )


def _engine(scan: Scan) -> str:
    named = {"name", "version", "ner", "ner_sha256"}
    engine, digest = scan.engine, scan.engine.get("ner_sha256", "")
    further = [
        f"{name} {value}" for name, value in sorted(engine.items()) if name not in named and value
    ]
    names = (
        "names by"
        f" {engine.get('ner', 'not recorded')}{f' (sha256 {digest[:PREFIX]})' if digest else ''}"
    )
    return ", ".join(
        [
            f"{engine.get('name', 'not recorded')} {engine.get('version', '')}".strip(),
            names,
            *further,
        ]
    )


def _checks(quality: Quality | None) -> list[Check]:
    """Expectations: first those not met, then those that excluded records."""
    if quality is None:
        return []
    checks = [
        Check(
            name=expectation.name,
            column=expectation.column,
            expected=expectation.expected,
            severity=expectation.severity,
            action=expectation.action,
            result="pass" if expectation.success else "fail",
            unexpected=expectation.unexpected,
        )
        for expectation in quality.expectations
    ]
    return sorted(checks, key=lambda check: (check.result != "fail", not check.unexpected))
