"""The report's datasets: stages, excluded records, personal data and quality."""

from __future__ import annotations

from governance.attest.codes import CODES
from governance.attest.predicates import Generation, Judgement, Scan
from governance.attest.requests import EndpointRef, ModelRef, asked_of_generation
from governance.base.errors import VerificationError
from governance.base.statistics import share_interval
from governance.base.text import plain
from governance.gates import recall
from governance.history.lineage import DataChain, subject
from governance.log.evidence import Evidence
from governance.report import judging
from governance.report.facts import PREFIX, Facts
from governance.report.labelling import labelled
from governance.report.model.data import (
    Dataset,
    DataStep,
    Excluded,
    GeneratedBy,
    JudgedSample,
    Precision,
    Recalled,
)
from governance.report.people import name_of

IDS_SHOWN = 20
"""Record ids named per reason."""


def datasets(facts: Facts) -> list[Dataset]:
    """Every dataset the version rests on."""
    return [_dataset(facts, chain, uses) for chain, uses in facts.datasets]


def _dataset(facts: Facts, chain: DataChain, uses: list[str]) -> Dataset:
    card, note = _card(facts, chain.dataset)
    declared = facts.cards.get(chain.dataset)
    scan = chain.scan.predicate if chain.scan else None
    statements: list[Evidence | None] = [chain.ingest, chain.scan, chain.quality]
    return Dataset(
        name=chain.dataset,
        kind=chain.ingest.predicate.kind if chain.ingest else "not recorded",
        used_by=uses,
        digest=chain.sha256,
        source=chain.source or "not recorded",
        card=card,
        card_note=note,
        steps=[_step(facts, statement) for statement in statements if statement],
        scan=scan,
        recall=recalled(facts, scan) if scan else [],
        judged=judged_samples(facts, chain.scan) if chain.scan else [],
        quality=chain.quality.predicate if chain.quality else None,
        beyond_raters=declared.beyond_raters if declared else "",
        generated=_generated(facts, chain.generation) if chain.generation else None,
        labelled=labelled(facts, chain),
        gap=f"no evidence of {chain.broken_at} at this digest" if chain.broken_at else None,
    )


def _generated(facts: Facts, made: Evidence[Generation]) -> GeneratedBy | None:
    try:
        request = asked_of_generation(made.predicate)
    except VerificationError:
        return None  # the gate's check reports it
    counts = made.predicate.counts
    return GeneratedBy(
        kind=request.kind,
        prompts=request.data.dataset,
        constitution=request.constitution,
        generator=_speaker(request.generator),
        judge=_speaker(request.judge),
        judged=judging.shown(facts, made.predicate, request),
        asked=counts.asked if counts else 0,
        kept=counts.kept if counts else 0,
        dropped=counts.dropped if counts else {},
        evidence=[made.index],
    )


def _speaker(ref: ModelRef | EndpointRef | None) -> str:
    if isinstance(ref, EndpointRef):
        return f"{ref.model} at {ref.url}"
    return f"model {ref.name}, sha256 {ref.sha256[:PREFIX]}" if ref else "not recorded"


def _card(facts: Facts, dataset: str) -> tuple[dict[str, str], str]:
    """The datacard's fields in their own order, and a note where it is missing."""
    card = facts.cards.get(dataset)
    if card is None:
        missing = "none: policies/datacards/ has no card of this name"
        return {}, facts.policies_note or missing
    shown: dict[str, str] = {}
    for name, value in card.model_dump(mode="json").items():
        if name == "labelling":
            shown[name] = _declared(card.labelled_by)
        elif isinstance(value, dict):
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
        ids = list(dict.fromkeys(_id(row) for row in rows if row.get("reason") == reason))
        more = f"and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
        title, ids_note = CODES[reason].title if reason in CODES else "", missing or more
        shown = {"ids": ids[:IDS_SHOWN], "ids_note": ids_note}
        groups.append(Excluded(reason=reason, title=title, records=records, **shown))
    return groups


def _id(row: dict[str, object]) -> str:
    """The start of a record's id, enough to find it in excluded.jsonl; else its file and row."""
    identity = row.get("id")
    return str(identity)[:PREFIX] if identity else f"{row.get('file')}:{row.get('row')}"


def judged_samples(facts: Facts, scan: Evidence[Scan]) -> list[JudgedSample]:
    """What people said of random samples of a scan's findings: of this result under this policy."""
    subjects = {subject.sha256 for subject in scan.subjects}
    statements = {
        statement.index: statement
        for sha256 in sorted(subjects)
        for statement in facts.now.evidence.by_subject(sha256, Judgement)
        if statement.predicate.config == scan.predicate.config
        and facts.now.authority.counts(statement)
    }
    return [_judged(facts, statement) for _, statement in sorted(statements.items())]


def _judged(facts: Facts, statement: Evidence[Judgement]) -> JudgedSample:
    said, rows = statement.predicate, []
    for name, counts in sorted(said.entities.items()):
        judged = counts.correct + counts.false_alarm
        if judged:
            share = share_interval(counts.correct, judged, recall.CONFIDENCE)
            rows.append(
                Precision(
                    name=name, findings=counts.findings, correct=counts.correct, judged=judged,
                    low=share.low, high=share.high,
                )
            )  # fmt: skip
    return JudgedSample(
        by=name_of(facts, statement),
        at=said.run.finished,
        seed=said.seed,
        sample=said.sample,
        findings=said.findings,
        rows=rows,
        evidence=[statement.index],
    )


def recalled(facts: Facts, scan: Scan) -> list[Recalled]:
    """How many planted values of each type a search found, the least first."""
    demanded = facts.policies.pii.minimum_recall if facts.policies else {}
    rows = []
    for name, measured in (scan.recall.entities if scan.recall else {}).items():
        interval, counts = recall.interval(measured), measured.model_dump()
        ends = {"low": interval.low, "high": interval.high}
        rows.append(Recalled(name=name, **counts, **ends, demanded=demanded.get(name)))
    return sorted(rows, key=lambda row: (row.low, row.name))
