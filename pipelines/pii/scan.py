"""Searches every text of a dataset for personal data and treats it as `policies/pii.yaml` says.

1. A finding inside a longer one with at least its score is part of it, unless policy allows the
   longer one to stay.
2. `drop` excludes the record, `redact` replaces the finding, `block` refuses the dataset, `allow`
   keeps it.
3. Redaction is repeated until nothing changes, at most `ROUNDS` times. Then the written records are
   read back and searched again. Anything left that policy does not allow refuses the dataset.
4. A record that could not be searched completely is excluded.
5. Made-up values are planted in copies of the dataset's own texts and searched with the same
   engine. This measures recall; policy may demand a minimum.
6. A value on the allow-list stays (`pipelines.pii.allowances`); evidence counts it by entry.
7. Reports name entities, fields, counts and record ids, never text.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from governance.attest.findings import finding
from governance.attest.predicates import DataCounts, Finding, Recall
from governance.base.errors import ConfigError
from governance.gates import recall as judged
from governance.policy.data import NO_MODEL, PiiPolicy
from pipelines import pages
from pipelines.job import Job, Outcome
from pipelines.kinds import KINDS
from pipelines.pii import allowances, recall
from pipelines.pii.engine import PlainEngine, Span, cannot_find
from pipelines.pii.search import Search
from pipelines.record_ids import canonical, identifying, load_key
from pipelines.records import (
    Excluded,
    counts_of,
    exclusions,
    write_excluded,
)
from pipelines.shards import ROW_GROUP, RecordWriter, StoredRecords, open_records
from pipelines.texts import replace_texts, texts

PAGE = "scan_pii.md.jinja"

Advance = Callable[[int], object]
"""Called with the number of records of each batch that is done."""

ROUNDS = 3
"""Redaction changes the text around other findings, so a text is treated again, at most this
often.
"""

NER_ENTITIES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "NRP", "DATE_TIME"})
"""Entities that only a NER model finds. Policy may set their action before there is a model."""


def run(job: Job) -> Outcome:
    """Scans, treats, writes, scans again and reports."""
    policy, kind = job.policies.pii, job.params.datasets[job.key].kind
    engine = PlainEngine(policy, job.root)
    check_names(policy, engine)
    records = open_records(job.input("records"), kind)
    secret = load_key(job.root, job.params.records).secret
    with Search(engine, job.machine.state / "cache" / "pii.sqlite", secret) as search:
        writer, treated = _write_treated(job, records, search, secret)
        remaining = _search_again(job, search)
        searched = search.searched
        measured = recall.measure(records.tables(), len(records), kind, policy, search)
    found, excluded = treated.found, treated.excluded
    counts = counts_of(len(records), writer, excluded)
    refused = (
        *findings(job.key, policy, found, remaining),
        *judged.findings(job.key, measured, policy),
    )
    predicate = {
        "dataset": job.key,
        "passed": not refused,
        "engine": engine.describe,
        "config": job.policies.pii_digest,
        "languages": policy.languages,
        "entities_searched": engine.entities,
        "cannot_find": cannot_find(policy),
        "found": dict(sorted(found.entities.items())),
        "remaining": dict(sorted(remaining.entities.items())),
        "actions": {name: policy.entity(name).action for name in engine.entities},
        "counts": counts,
        "recall": measured,
        "allowances": _allowances(policy, remaining),
        "merged": treated.merged,
    }
    write_excluded(job.output("excluded"), excluded)
    write_report(job, predicate, counts, found, refused)
    return Outcome(
        predicate=predicate,
        parameters={"kind": kind},
        detail={"texts_searched": searched},
        refused=refused,
        summary=_summary(job.name, counts, found),
    )


def _write_treated(
    job: Job, records: StoredRecords, search: Search, key: bytes
) -> tuple[RecordWriter, Treated]:
    """Treats shard by shard. Returns what was done, without the records."""
    whole = Treated()
    with (
        job.progress.bar(len(records), f"{job.name}: searching") as bar,
        RecordWriter(job.output("records"), records.kind, labelled=records.labelled) as writer,
    ):
        for table in records.tables():
            table = treat(table, records.kind, job.policies.pii, search, key, whole, bar.advance)
            writer.add_shard(table)
    return writer, whole


def _search_again(job: Job, search: Search) -> Tally:
    """What is found in the records that were written."""
    written, remaining = open_records(job.output("records")), Tally()
    with job.progress.bar(len(written), f"{job.name}: searching what was written") as bar:
        for table in written.tables():
            remaining.add(examine(table, written.kind, job.policies.pii, search, bar.advance))
    return remaining


# --- what is found --------------------------------------------------------------------------------


@dataclass
class Tally:
    """The findings in a table."""

    entities: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Entity to field (without list positions) to occurrences."""
    records: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Entity to record ids."""
    languages: Counter[str] = field(default_factory=Counter)
    """Language to the number of texts in it."""
    allowed: Counter[int] = field(default_factory=Counter)
    """Entry of the allow-list to the findings that it allows."""
    not_searched: int = 0
    """Number of records that could not be searched completely."""
    unscanned: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Row to the field that could not be searched completely, and the reason."""
    places: dict[tuple[int, str], tuple[str, list[Span]]] = field(default_factory=dict)
    """(row, field) to its text and findings, if it has any."""

    def add(self, other: Tally) -> None:
        """Adds the figures of `other`, not its rows and places."""
        self.entities += other.entities
        self.languages += other.languages
        self.allowed += other.allowed
        self.not_searched += other.not_searched
        for entity, fields in other.fields.items():
            self.fields[entity] += fields
        for entity, ids in other.records.items():
            self.records[entity] |= ids

    def rows(self, policy: PiiPolicy, action: str) -> dict[int, set[str]]:
        """Row to its entities with this action."""
        found: dict[int, set[str]] = defaultdict(set)
        for (row, _), (_, spans) in self.places.items():
            names = {span.entity for span in spans if policy.entity(span.entity).action == action}
            if names:
                found[row] |= names
        return found


def examine(
    table: pa.Table,
    kind: str,
    policy: PiiPolicy,
    search: Search,
    advance: Advance = lambda records: None,
) -> Tally:
    """The figures of the findings in a table."""
    whole = Tally()
    for batch in batches(table, advance):
        whole.add(_examine(batch, kind, policy, search))
    return whole


def batches(table: pa.Table, advance: Advance) -> Iterator[pa.Table]:
    """A table in batches of bounded size."""
    for start in range(0, table.num_rows, ROW_GROUP):
        batch = table.slice(start, ROW_GROUP)
        yield batch
        advance(batch.num_rows)


def _examine(batch: pa.Table, kind: str, policy: PiiPolicy, search: Search) -> Tally:
    tally = Tally()
    ids = batch.column("id").to_pylist()
    places, listed = list(texts(batch, kind)), allowances.entries(policy)
    for place, found in zip(places, search.find([place.text for place in places]), strict=True):
        if found.problem:
            tally.unscanned[place.row] = (place.field, found.problem)
        tally.languages[found.language] += 1
        not_allowed, used = allowances.split(place.text, found.spans, listed)
        tally.allowed.update(used)
        spans = significant(not_allowed, policy)
        if spans:
            tally.places[place.row, place.field] = (place.text, spans)
        for span in spans:
            tally.entities[span.entity] += 1
            tally.fields[span.entity][re.sub(r"\[\d+\]", "[]", place.field)] += 1
            tally.records[span.entity].add(ids[place.row])
    tally.not_searched = len(tally.unscanned)
    return tally


def significant(spans: tuple[Span, ...], policy: PiiPolicy) -> list[Span]:
    """The findings without those that are part of a longer one (rule 1)."""

    def is_part(span: Span, other: Span) -> bool:
        within = other.start <= span.start and span.end <= other.end
        longer = other.end - other.start > span.end - span.start
        stays = policy.entity(other.entity).action == "allow"
        return within and longer and other.score >= span.score and not stays

    kept, around = [], list[Span]()
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        around = [other for other in around if other.end > span.start]
        if not any(is_part(span, other) for other in around):
            kept.append(span)
        around.append(span)
    return kept


# --- what is done about it ------------------------------------------------------------------------


@dataclass
class Treated:
    """What was done."""

    excluded: list[Excluded] = field(default_factory=list)
    found: Tally = field(default_factory=Tally)
    """Before treatment."""
    ids: bytearray = field(default_factory=bytearray)
    """The ids of the redacted records: before, records with one id were equal."""
    contents: bytearray = field(default_factory=bytearray)
    """The digests of what they hold now."""

    @property
    def merged(self) -> int:
        """By how many the number of different records fell."""
        return _different(self.ids) - _different(self.contents)


DIGEST = 16
"""Bytes of an id, and of a digest of content."""


def _different(digests: bytearray) -> int:
    count, buffers = len(digests) // DIGEST, [None, pa.py_buffer(bytes(digests))]
    array = pa.FixedSizeBinaryArray.from_buffers(pa.binary(DIGEST), count, buffers)
    return int(pc.count_distinct(array).as_py())


def treat(
    table: pa.Table,
    kind: str,
    policy: PiiPolicy,
    search: Search,
    key: bytes,
    whole: Treated,
    advance: Advance = lambda records: None,
) -> pa.Table:
    """Searches and treats a table batch by batch. Returns it, and adds to `whole` what was done."""
    parts = [_treat(batch, kind, policy, search, key, whole) for batch in batches(table, advance)]
    return pa.concat_tables([table.schema.empty_table(), *parts])


def _treat(
    batch: pa.Table, kind: str, policy: PiiPolicy, search: Search, key: bytes, whole: Treated
) -> pa.Table:
    redacted: set[str] = set()
    for attempt in range(ROUNDS):
        tally = _examine(batch, kind, policy, search)
        if attempt == 0:
            whole.found.add(tally)
        out = _exclusions(tally, policy)
        to_redact = tally.rows(policy, "redact").keys() - out.keys()
        replaced = {
            place: redact(text, spans, policy, key)
            for place, (text, spans) in tally.places.items()
            if place[0] in to_redact
        }
        if not out and not replaced:
            break
        if replaced:
            ids = batch.column("id")
            redacted.update(ids[row].as_py() for row in {row for row, _ in replaced})
            batch = replace_texts(batch, kind, replaced)
        whole.excluded += exclusions(batch, out)
        keep = [row not in out for row in range(batch.num_rows)]
        batch = batch.filter(pa.array(keep, pa.bool_()))
    if redacted:
        _add_contents(batch, kind, redacted, whole)
    return batch


def _add_contents(batch: pa.Table, kind: str, redacted: set[str], whole: Treated) -> None:
    rows = batch.filter(pc.is_in(batch.column("id"), pa.array(sorted(redacted), pa.string())))
    for row in rows.select(["id", *KINDS[kind].content_columns]).to_pylist():
        whole.ids += bytes.fromhex(row.pop("id"))
        content = canonical(identifying(row)).encode("utf-8", "surrogatepass")
        whole.contents += hashlib.sha256(content).digest()[:DIGEST]


def _exclusions(tally: Tally, policy: PiiPolicy) -> dict[int, tuple[str, str, str]]:
    """Row to (field, reason, detail) of the records to exclude."""
    out = {
        row: ("", "PII_DROPPED", ", ".join(sorted(names)))
        for row, names in tally.rows(policy, "drop").items()
    }
    out |= {row: (where, "PII_UNSCANNED", why) for row, (where, why) in tally.unscanned.items()}
    return out


def redact(text: str, spans: list[Span], policy: PiiPolicy, key: bytes) -> str:
    """`text` with the findings replaced that policy redacts; overlapping ones become one."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if policy.entity(span.entity).action == "redact"):
        if merged and span.start < merged[-1].end:
            last = merged.pop()
            entity = max(last, span, key=lambda span: (span.score, span.end - span.start)).entity
            span = Span(last.start, max(last.end, span.end), entity, max(last.score, span.score))
        merged.append(span)
    pieces, at = [], 0
    for span in merged:
        name = span.entity
        if policy.replacement != "entity":
            name = _token(span.entity, text[span.start : span.end], key)
        pieces += [text[at : span.start], f"<{name}>"]
        at = span.end
    return "".join([*pieces, text[at:]])


def _token(entity: str, value: str, key: bytes) -> str:
    """Ten letters (47 bits) of an HMAC: the same value gives the same token. Letters, because
    digits could be found again.
    """
    number = int.from_bytes(hmac.digest(key, f"{entity}\0{value}".encode(), "sha256"), "big")
    letters = ""
    for _ in range(10):
        number, rest = divmod(number, 26)
        letters += chr(ord("a") + rest)
    return f"{entity}_{letters}"


# --- findings and reports -------------------------------------------------------------------------


def findings(
    dataset: str, policy: PiiPolicy, found: Tally, remaining: Tally
) -> tuple[Finding, ...]:
    """Why the dataset is refused, if it is. `found` is from before treatment."""
    subject, report = f"dataset {dataset}", f"reports/scan_pii/{dataset}/report.json"
    reasons = []
    if policy.require_ner and policy.ner in NO_MODEL:
        message = f"names were searched by: {policy.level}"
        reasons.append(finding("NER_REQUIRED", subject, message, found=policy.ner))
    for entity in sorted({*found.entities, *remaining.entities}):
        action = policy.entity(entity).action
        before, after = found.entities[entity], remaining.entities[entity]
        if action == "block":
            records = len(found.records[entity] | remaining.records[entity])
            code, message, count = "PII_BLOCKED", f"{entity} in {records} record(s)", before
        elif action != "allow" and after:
            code, message, count = "PII_REMAINING", f"{entity} remains after cleaning", after
        else:
            continue
        count = max(count, after)
        reasons.append(
            finding(code, subject, message, expected="none", found=str(count), entity=entity)
        )
    if unscanned := remaining.not_searched:
        message = f"{unscanned} record(s) could not be searched completely after cleaning"
        step = f"look at the records in {report}"
        reasons.append(finding("PII_UNSCANNED", subject, message, next=step))
    return tuple(reasons)


def write_report(
    job: Job,
    predicate: dict[str, Any],
    counts: DataCounts,
    found: Tally,
    refused: tuple[Finding, ...],
) -> None:
    """report.json and report.md."""
    reasons = {name: job.policies.pii.entity(name).reason for name in sorted(found.entities)}
    report = {
        **predicate,
        "counts": counts.model_dump(mode="json"),
        "recall": _recall(predicate["recall"]),
        "texts_by_language": {name: found.languages[name] for name in sorted(found.languages)},
        "reasons": {name: reason for name, reason in reasons.items() if reason},
        "fields": {name: dict(sorted(found.fields[name].items())) for name in sorted(found.fields)},
        "records": {name: sorted(found.records[name]) for name in sorted(found.records)},
    }
    pages.write_reports(job, PAGE, refused, report)


def _allowances(policy: PiiPolicy, remaining: Tally) -> list[dict[str, Any]]:
    """What the allow-list let stay in the result, by entry."""
    return [
        {"entry": number, "entity": entry.entity, "until": str(entry.until), "findings": count}
        for number, entry in enumerate(policy.allowances, 1)
        if (count := remaining.allowed[number])
    ]


def _recall(measured: Recall) -> dict[str, Any]:
    report = measured.model_dump(mode="json")
    for name, planted in measured.entities.items():
        interval = judged.interval(planted)
        report["entities"][name] |= {"low": round(interval.low, 4), "high": round(interval.high, 4)}
    return report


def _summary(name: str, counts: DataCounts, found: Tally) -> str:
    out = sum(counts.excluded.values())
    return (
        f"{name}: {counts.records_out} records kept, {out} left out,"
        f" {found.entities.total()} findings"
    )


def check_names(policy: PiiPolicy, engine: PlainEngine) -> None:
    """Raises `ConfigError` for names in the policy that nothing searches for, probably typing
    errors.
    """
    entities = {*engine.entities, *NER_ENTITIES}
    sources = [*engine.recognizers, *engine.names]
    recognizers = {known.name for known in sources} | set(policy.disabled_recognizers)
    named: list[tuple[str, Iterable[str], set[str]]] = [
        ("entities", policy.entities, entities),
        ("allowances", [entry.entity for entry in policy.allowances], entities),
        ("minimum_recall", policy.minimum_recall, set(engine.entities)),
        ("recognizer_thresholds", policy.recognizer_thresholds, recognizers),
    ]
    wrong = [f"{key}.{name}" for key, names, known in named for name in names if name not in known]
    if wrong:
        names = (", ".join(sorted(entities)), ", ".join(sorted(recognizers)))
        raise ConfigError(
            f"no recognizer finds {', '.join(sorted(wrong))}",
            where="policies/pii.yaml",
            expected="entities: {}; recognizers: {}".format(*names),
            fix="correct the name, or enable the recognizer that finds it",
        )
