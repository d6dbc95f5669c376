"""Searches the files of a task for personal data.

1. Every data file of the task is searched, whichever split it is, and the task's own file.
2. Nothing is treated: a benchmark with other items is another benchmark, and lm-evaluation-harness
   reads the files as they are. So what is found remains, and the statement says so.
3. A finding with the action `block`, and a text that cannot be searched completely, refuse the
   task. What policy redacts or leaves out of training data is counted: no model learns from a
   task, and stored answers are treated on their own.
4. A value of the allow-list counts as in datasets (`pipelines.pii.allowances`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.attest.findings import finding
from governance.attest.predicates import DataCounts, Finding
from governance.base.errors import InputError
from governance.log import merkle
from governance.policy.data import NO_MODEL, PiiPolicy
from pipelines import paths
from pipelines.job import Job, Outcome
from pipelines.pii import allowances
from pipelines.pii.documents import SUFFIXES, Record, Source, document
from pipelines.pii.engine import PlainEngine, cannot_find
from pipelines.pii.scan import check_names, significant
from pipelines.pii.search import Search
from pipelines.record_ids import load_key
from pipelines.tasks.definition import read
from pipelines.training.modelfolder import write_json

BATCH = 20_000
"""Texts that are searched at once."""


@dataclass
class Tally:
    """What was found in a task."""

    records: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """Entity to findings that no entry of the allow-list names."""
    allowed: Counter[int] = field(default_factory=Counter)
    """Entry of the allow-list to findings."""
    problems: int = 0
    """Texts and records that could not be read or searched completely."""


def run(job: Job) -> Outcome:
    """Searches the task of row `job.key`."""
    name, policy = job.params.tasks[job.key].task, job.policies.pii
    engine = PlainEngine(policy, job.root)
    check_names(policy, engine)
    secret = load_key(job.root, job.params.records).secret
    with Search(engine, job.machine.state / "cache" / "pii.sqlite", secret) as search:
        tally = examine(job.root, name, policy, search)
    refused = findings(name, policy, tally)
    folder = job.inputs["task"]
    write_json(job.output("held_out"), {"folder": folder.sha256})
    remaining = dict(sorted(tally.found.items()))
    return Outcome(
        predicate={
            "dataset": name,
            "passed": not refused,
            "engine": engine.describe,
            "config": job.policies.pii_digest,
            "languages": policy.languages,
            "entities_searched": engine.entities,
            "cannot_find": cannot_find(policy),
            "found": remaining,
            "remaining": remaining,
            "actions": {entity: policy.entity(entity).action for entity in engine.entities},
            "counts": _counts(tally.records),
            "allowances": _allowances(policy, tally),
        },
        parameters={"task": name},
        refused=refused,
        subjects=(folder.model_copy(update={"role": "task"}),),
        summary=f"{job.name}: {tally.records} items and texts, {sum(tally.found.values())} findings"
        " remain",
    )


def examine(root: Path, name: str, policy: PiiPolicy, search: Search) -> Tally:
    """(1) What is found in the files of the task `name` of the project at `root`. Raises
    `InputError` for a file that cannot be read to its end.
    """
    tally, listed = Tally(), allowances.entries(policy)
    for texts in _batches(_records(root, name), tally):
        for text, found in zip(texts, search.find(texts), strict=True):
            tally.problems += bool(found.problem)
            not_allowed, used = allowances.split(text, found.spans, listed)
            tally.allowed.update(used)
            tally.found.update(span.entity for span in significant(not_allowed, policy))
    return tally


def _records(root: Path, name: str) -> Iterator[Record]:
    task = read(root, name)
    files = {root / file for file in task.dataset_kwargs.files.values()}
    for path in [*sorted((root / paths.task(name)).glob("*.yaml")), *sorted(files)]:
        known = "text" if path.suffix == ".yaml" else SUFFIXES.get(path.suffix.lower())
        where = path.relative_to(root).as_posix()
        if known is None:
            expected, fix = ", ".join(SUFFIXES), "give the file the suffix of its format"
            raise InputError("no reader for this suffix", where=where, expected=expected, fix=fix)
        yield from document(Source(where, known, path=path)).records()


def _batches(records: Iterator[Record], tally: Tally) -> Iterator[list[str]]:
    texts: list[str] = []
    for record in records:
        tally.records += record.row > 0
        tally.problems += bool(record.problem)
        texts += [text for _, text in record.texts]
        if len(texts) >= BATCH:
            yield texts
            texts = []
    yield texts


def findings(task: str, policy: PiiPolicy, tally: Tally) -> tuple[Finding, ...]:
    """(3) Why the task is refused, if it is."""
    subject, reasons = f"task {task}", []
    step = f"countersign scan tasks/{task} --findings FILE names the places; take the values out"
    if policy.require_ner and policy.ner in NO_MODEL:
        message = f"names were searched by: {policy.level}"
        reasons.append(finding("NER_REQUIRED", subject, message, found=policy.ner))
    for entity, count in sorted(tally.found.items()):
        if policy.entity(entity).action == "block":
            message = f"{entity} in the task's files"
            reasons.append(
                finding("PII_BLOCKED", subject, message, expected="none", found=str(count),
                        entity=entity, next=step)
            )  # fmt: skip
    if tally.problems:
        message = f"{tally.problems} text(s) could not be read or searched completely"
        reasons.append(finding("PII_UNSCANNED", subject, message, next=step))
    return tuple(reasons)


def _counts(records: int) -> DataCounts:
    """Items have no ids, so the roots are those of no records."""
    none = merkle.root_of([]).hex()
    return DataCounts(
        records_in=records, records_out=records, excluded={}, splits={},
        records_root=none, excluded_root=none,
    )  # fmt: skip


def _allowances(policy: PiiPolicy, tally: Tally) -> list[dict[str, Any]]:
    return [
        {"entry": number, "entity": entry.entity, "until": str(entry.until), "findings": count}
        for number, entry in enumerate(policy.allowances, 1)
        if (count := tally.allowed[number])
    ]
