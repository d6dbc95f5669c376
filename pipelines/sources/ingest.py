"""Converts a source of any known shape to records of one kind in `data/ingested/NAME`.

1. A row that cannot become a record is named by file, row and field. It is left out, or the source
   is refused, as `policies/policy.yaml: ingest` says. Nothing is repaired.
2. A record's id is an HMAC of its content alone, and its split follows from the id. Order, file
   name and other records do not matter. Equal records have equal ids; the quality gate drops
   duplicates.
3. A record that was erased on request is left out, with its id and the reason (`ERASED`). So is
   each record with a text or value of such a request (`pipelines.exclusions`).
4. Slices are stored beside the records, so that naming slices changes no record's bytes.
5. Reports name fields, types, counts and the slice labels of params.yaml, never text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from governance.attest.codes import CODES
from governance.attest.findings import finding
from governance.attest.predicates import DataCounts, Finding, Labels
from governance.base.errors import InputError
from governance.base.progress import Bar
from governance.policy.data import IngestPolicy
from pipelines import pages
from pipelines.agreement.votes import Votes
from pipelines.exclusions import NOTHING, REASON, Excluding, excluding
from pipelines.job import Job, Outcome
from pipelines.kinds import KINDS
from pipelines.params import Dataset
from pipelines.record_ids import Key, identity, load_key, split_of
from pipelines.records import Excluded, counts_of, write_excluded
from pipelines.shards import RecordWriter
from pipelines.slices import DISAGREEMENT, labels_of, write_slices
from pipelines.sources import preferences
from pipelines.sources.binding import PROBE, Binding, bind
from pipelines.sources.lineage import LINEAGE, Lineage, lineage_of, write_lineage
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import MAX_ROW, Row, RowProblem, read_rows, source_files
from pipelines.sources.shapes import BATCH

PAGE = "ingest.md.jinja"

Slices = Mapping[str, Mapping[str, str]]
"""Record id to its label by slicing field."""

NOT_MALFORMED = frozenset({"NO_COMPARISON", "PROMPT_MISMATCH", "RATER_EXCLUDED", REASON})
"""Codes of well-formed rows with nothing to learn from, or that were erased. They are always left
out and do not count as malformed.
"""

MAX_FIELDS = 1000
"""Number of unused fields that are named; all others are counted together."""

STATED = {"kind", "source", "fields", "splits", "encoding", "slices", "extra"}
"""What the statement has of the dataset's row in params.yaml."""

MAX_NAMED = 20
"""Number of lost fields that a finding names."""

HALF = "text with half of a UTF-16 pair"
PLACES = 3
"""Number of places that a finding names."""


@dataclass
class Tally:
    """Counts and lists while a source is read."""

    rows: int = 0
    excluded: list[Excluded] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    votes: Votes = field(default_factory=Votes)
    """Every rating of the source, those of excluded raters included."""
    excluded_raters: frozenset[str] = frozenset()
    labelled: bool = False
    """Whether the pairs say who preferred what."""
    judges: Counter[preferences.Judge] = field(default_factory=Counter)
    """The pairs that each model judged."""
    disagreement: dict[str, str] = field(default_factory=dict)
    """Record id to its slice by what raters said."""
    slices: dict[str, dict[str, str]] = field(default_factory=dict)
    """Record id to its label by slicing field; empty where the dataset has none."""
    lineage: dict[str, Lineage] | None = None
    """Record id to what it was made from; None where the source was not generated here."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File to its shape, used fields and number of rows."""


class ErasedRow(RowProblem):
    """(3) The row is a record that was erased."""

    def __init__(self, identity: str) -> None:
        super().__init__(REASON, "", "")
        self.identity = identity


def run(job: Job) -> Outcome:
    """Reads the source, writes records and reports, and judges the malformed rows by policy."""
    dataset, policy = job.params.datasets[job.key], job.policies.rules.ingest
    key = load_key(job.root, job.params.records)
    generated = job.params.generated(job.key) is not None
    erased = excluding(job.root, key)
    with job.progress.bar(0, "rows") as bar:
        tally, counts = ingest(
            job.input("source"),
            dataset,
            key,
            job.output("records"),
            bar,
            generated=generated,
            erased=erased,
            excluded_raters=frozenset(row.rater for row in policy.excluded(job.key)),
        )
    unused = _unused(tally)
    findings = (*judge(job.key, tally, policy), *lost_fields(job.key, unused, policy))
    slices = _slices(tally)
    write_slices(job.output("slices"), slices)
    if tally.lineage is not None:
        write_lineage(job.output(LINEAGE), tally.lineage)
    write_excluded(job.output("excluded"), tally.excluded)
    stated = _stated(job.key, policy)
    of_raters = _of_raters(job, tally)
    judges = preferences.stated(tally.judges, str(job.input("source")))
    report = _report(job.key, dataset, key, tally, counts, stated, slices)
    if judges:
        report["judges"] = [judge.model_dump(mode="json") for judge in judges]
    if of_raters is not None:
        report["labels"] = of_raters.model_dump(mode="json")
    pages.write_reports(job, PAGE, findings, report)
    return Outcome(
        predicate={
            "dataset": job.key,
            "kind": dataset.kind,
            "record_key": key.key_id,
            "fields_unused": unused,
            "counts": counts,
            "exclusions": erased.stated,
            "labels": of_raters,
            "judges": judges,
        },
        parameters={
            **dataset.model_dump(mode="json", include=STATED),
            **stated,
        },
        refused=findings,
        summary=f"{job.name}: {counts.records_out} of {counts.records_in} rows are records",
    )


def ingest(
    source: Path,
    dataset: Dataset,
    key: Key,
    target: Path,
    bar: Bar | None = None,
    *,
    generated: bool = False,
    erased: Excluding | None = None,
    excluded_raters: frozenset[str] = frozenset(),
) -> tuple[Tally, DataCounts]:
    """Writes every row of `source` that can become a record. Raises `InputError` if none can."""
    tally = Tally(lineage={} if generated else None, excluded_raters=excluded_raters)
    erased = erased or Excluding(key, NOTHING)
    files = source_files(source)
    tally.labelled = dataset.kind == "preference" and _is_labelled(files[0][1], dataset)
    with RecordWriter(target, dataset.kind, labelled=tally.labelled) as writer:
        for name, path in files:
            for record, size in _records(name, path, dataset, erased, tally):
                writer.add(record, size)
                if bar:
                    bar.advance()
            writer.end_file()
    if not writer.shards:
        raise _nothing(source, tally)
    return tally, counts_of(tally.rows, writer, tally.excluded)


def _records(
    name: str, path: Path, dataset: Dataset, erased: Excluding, tally: Tally
) -> Iterator[tuple[dict[str, Any], int]]:
    """The records of one file, each with the size of its content in bytes. Other rows go to the
    tally.
    """
    rows = read_rows(path, dataset.encoding)
    first = list(islice(rows, PROBE))
    if not first:
        raise InputError("the file holds no rows", where=str(path), expected="one at least")
    found = _binding(first, path, dataset)
    read: Iterator[Row] = chain(first, rows)
    binding = found
    if found is not None and dataset.kind == "preference":
        _require_alike(found, path, tally)
        if found.shape.scored:
            read, binding = preferences.pairs(read, found, str(path)), preferences.of_pairs(found)
    before = tally.rows
    for row in read:
        tally.rows += 1
        try:
            yield _record(row, name, binding, dataset, erased, tally)
        except RowProblem as problem:
            excluded = (problem.field, problem.reason, problem.detail)
            identity = problem.identity if isinstance(problem, ErasedRow) else None
            tally.excluded.append(Excluded(identity, name, row.row, *excluded))
    shape, fields, raters = "none", {}, 0
    if found is not None:
        shape, raters = found.shape.name, len(found.raters)
        fields = {slot: plain_name(field) for slot, field in sorted(found.names.items())}
    rows_read = tally.rows - before
    tally.files[name] = {"rows": rows_read, "shape": shape, "fields": fields, "raters": raters}


def _binding(first: Sequence[Row], path: Path, dataset: Dataset) -> Binding | None:
    """The shape of a file by its first rows; None where none of them can be read."""
    readable = [row.value for row in first if row.problem is None]
    if not readable:
        return None
    return bind(dataset.kind, readable, dataset.fields, str(path), dataset.extra)


def _is_labelled(path: Path, dataset: Dataset) -> bool:
    """Whether the pairs of a file say who preferred what."""
    found = _binding(list(islice(read_rows(path, dataset.encoding), PROBE)), path, dataset)
    return found is not None and found.shape.labelled


def _require_alike(binding: Binding, path: Path, tally: Tally) -> None:
    """Raises `InputError` where one file of a source says who labelled and another one does not."""
    if binding.shape.labelled != tally.labelled:
        says = "says" if binding.shape.labelled else "does not say"
        found = f"this file {says} who preferred what, unlike the first file of the source"
        fix = "make two datasets of them (params.yaml: datasets)"
        raise InputError(found, where=str(path), fix=fix)


def _record(
    row: Row,
    file: str,
    binding: Binding | None,
    dataset: Dataset,
    erased: Excluding,
    tally: Tally,
) -> tuple[dict[str, Any], int]:
    """A row as a record, and the size of its content in bytes. Raises `RowProblem`."""
    if row.problem or binding is None:
        detail = "none of the first rows of this file can be read"
        raise row.problem or RowProblem("ROW_UNREADABLE", "", detail)
    content = binding.record(row.value)
    batch = content.pop(BATCH, "")
    if "ratings" in content and dataset.kind == "preference":
        content = _preferred(content, batch, erased, tally)
    elif "ratings" in content:
        given = _named(content, erased.key)
        content["ratings"] = [{name: each[name] for name in ("rater", "value")} for each in given]
    disagree = content.pop(DISAGREEMENT, preferences.ONE_RATER)
    identity, size = _identity(content, dataset.kind, erased.key)
    if erased.has(identity, content, dataset.kind):
        raise ErasedRow(identity)
    if "ratings" in content:
        tally.votes.add(given, batch, compared=len(content["completions"]) > 1)
        content["ratings"] = _counted(content, tally)
        identity, size = _identity(content, dataset.kind, erased.key)
        if erased.has(identity, content, dataset.kind):  # erased when other ratings counted
            raise ErasedRow(identity)
        disagree = preferences.disagreement(content["ratings"])
    if content.get("judge"):
        tally.judges[content["judge"], content["rubric"]] += 1
    split = split_of(identity, dataset.splits)
    unused = binding.lost(row.value) - dataset.slices.keys()
    if tally.lineage is not None:
        tally.lineage.setdefault(identity, lineage_of(row.value))
        unused.discard(LINEAGE)
    tally.unused.update(unused)
    tally.disagreement.setdefault(identity, disagree)
    if dataset.slices:
        tally.slices.setdefault(identity, labels_of(row.value, dataset.slices))
    return {"id": identity, "split": split, "file": file, "row": row.row, **content}, size


def _preferred(
    content: dict[str, Any], batch: str, erased: Excluding, tally: Tally
) -> dict[str, Any]:
    """The pair that the votes which count make. Raises `RowProblem` where they make none, and where
    either pair of the two answers was erased: other votes may have counted then.
    """
    given = _named(content, erased.key)
    for made in preferences.both(content):
        identity, _ = _identity(made, "preference", erased.key)
        if erased.has(identity, made, "preference"):
            raise ErasedRow(identity)
    tally.votes.add(given, batch, compared=True)
    counted = _counted({"ratings": given}, tally)
    return {
        **preferences.of_most(content, counted),
        DISAGREEMENT: preferences.disagreement(counted),
    }


def _named(content: dict[str, Any], key: Key) -> list[dict[str, Any]]:
    """The ratings by the raters' names in records. Raises `RowProblem`."""
    try:
        return [{**each, "rater": key.rater_name(each["rater"])} for each in content["ratings"]]
    except UnicodeEncodeError:
        raise RowProblem("ROW_ENCODING", "", HALF) from None


def _counted(content: dict[str, Any], tally: Tally) -> list[dict[str, Any]]:
    """The ratings that count. Raises `RowProblem` if none do."""
    counted = [each for each in content["ratings"] if each["rater"] not in tally.excluded_raters]
    if not counted:
        raise RowProblem("RATER_EXCLUDED", "", "no rating that counts")
    return counted


def _of_raters(job: Job, tally: Tally) -> Labels | None:
    """What is stated of the raters; None where there are fewer than two."""
    if not tally.votes.values:
        return None
    from pipelines.agreement.labels import labels
    from pipelines.agreement.majority import read_groups

    groups = read_groups(job.input("raters"), tally.votes.raters) if "raters" in job.inputs else {}
    return labels(tally.votes, tuple(sorted(tally.excluded_raters)), groups)


def _identity(content: dict[str, Any], kind: str, key: Key) -> tuple[str, int]:
    """The record's id, and the size of its content in bytes. Raises `RowProblem`
    if its text has no UTF-8 form or is too long.
    """
    try:
        columns = KINDS[kind].content_columns
        text = identity(kind, {name: content.get(name) for name in columns})
        if len(text) > MAX_ROW:
            raise RowProblem("ROW_TOO_LONG", "", f"{len(text)} characters, at most {MAX_ROW}")
        size = len(text) if text.isascii() else len(text.encode())
        return key.record_id(kind, text), size
    except UnicodeEncodeError:
        raise RowProblem("ROW_ENCODING", "", HALF) from None


def _nothing(source: Path, tally: Tally) -> InputError:
    """The error if no row became a record, with the most frequent reason."""
    if not tally.excluded:
        return InputError("the source holds no rows", where=str(source))
    reason, count = Counter(record.reason for record in tally.excluded).most_common(1)[0]
    first = next(record for record in tally.excluded if record.reason == reason)
    file = source if source.is_file() else source / first.file
    return InputError(
        f"none of {tally.rows} rows can be a record; most frequent reason, {count} rows: {reason}"
        f" ({first.detail})",
        where=f"{file}:{first.row}{f': {first.field}' if first.field else ''}",
        fix=CODES[reason].next,
    )


# --- what policy demands --------------------------------------------------------------------------


def judge(dataset: str, tally: Tally, policy: IngestPolicy) -> tuple[Finding, ...]:
    """One finding per reason if there are more malformed rows than policy permits."""
    malformed = [record for record in tally.excluded if record.reason not in NOT_MALFORMED]
    share = len(malformed) / tally.rows
    drops = policy.malformed == "drop"
    if not malformed or (drops and share <= policy.max_share):
        return ()
    permitted = f"at most {policy.max_share:.1%} of the rows" if drops else "none"
    findings = []
    for reason, count in sorted(Counter(record.reason for record in malformed).items()):
        places = [_place(record) for record in malformed if record.reason == reason]
        listed = ", ".join(places[:PLACES]) + (" ..." if count > PLACES else "")
        findings.append(
            finding(
                reason,
                dataset,
                f"{CODES[reason].title}: {listed}",
                expected=f"{permitted} (policies/policy.yaml: ingest)",
                found=f"{count} of {tally.rows} rows; {share:.1%} malformed in total",
            )
        )
    return tuple(findings)


def lost_fields(name: str, unused: Mapping[str, int], policy: IngestPolicy) -> tuple[Finding, ...]:
    """A finding if rows have fields that no record keeps and that policy does not permit to leave
    out.
    """
    lost = policy.not_permitted(name, unused)
    if not lost:
        return ()
    listed = [f"{field} ({count} rows)" for field, count in lost.items()]
    found = ", ".join(listed[:MAX_NAMED]) + (" ..." if len(listed) > MAX_NAMED else "")
    expected = (
        f"each in `fields` or `slices` (params.yaml: datasets.{name}), or permitted"
        f" (policies/policy.yaml: ingest.ignored_fields.{name})"
    )
    return (finding("FIELDS_LOST", name, expected=expected, found=found),)


def _place(record: Excluded) -> str:
    place = f"{record.file}:{record.row}"
    return f"{place}:{record.field}" if record.field else place


# --- reports --------------------------------------------------------------------------------------


def _unused(tally: Tally) -> dict[str, int]:
    """Unused fields by name. Unsafe names and those beyond `MAX_FIELDS` are counted together."""
    named: Counter[str] = Counter()
    by_count = sorted(tally.unused.items(), key=lambda field: (-field[1], str(field[0])))
    for name, count in by_count:
        plain = plain_name(name)
        named[plain if plain in named or len(named) < MAX_FIELDS else "(others)"] += count
    return dict(sorted(named.items()))


def _slices(tally: Tally) -> Slices:
    """The slices of params.yaml, and one by what raters said where several rated an item."""
    if not set(tally.disagreement.values()) - {preferences.ONE_RATER}:
        return tally.slices
    return {
        record: {DISAGREEMENT: said, **tally.slices.get(record, {})}
        for record, said in tally.disagreement.items()
    }


def _records_in(slices: Slices) -> dict[str, dict[str, int]]:
    """Slicing field to the records of each label."""
    names = sorted({name for labels in slices.values() for name in labels})
    counts = {name: Counter(labels[name] for labels in slices.values()) for name in names}
    return {name: dict(sorted(each.items())) for name, each in counts.items()}


def _report(
    name: str,
    dataset: Dataset,
    key: Key,
    tally: Tally,
    counts: DataCounts,
    stated: dict[str, Any],
    slices: Slices,
) -> dict[str, Any]:
    return {
        "stage": f"ingest@{name}",
        "dataset": name,
        "kind": dataset.kind,
        "record_key": key.key_id,
        "counts": counts.model_dump(mode="json"),
        "fields_unused": _unused(tally),
        "slices": _records_in(slices),
        "files": dict(sorted(tally.files.items())),
        "policy": stated,
    }


def _stated(name: str, policy: IngestPolicy) -> dict[str, Any]:
    """What policy says of this dataset. A line about another one changes no output."""
    malformed = policy.model_dump(mode="json", exclude={"ignored_fields", "excluded_raters"})
    stated = {"malformed": malformed, "ignored_fields": policy.ignored(name)}
    excluded = [row.model_dump(mode="json") for row in policy.excluded(name)]
    return {**stated, "excluded_raters": excluded} if excluded else stated
