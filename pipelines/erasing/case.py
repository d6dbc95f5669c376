"""One erasure, from what was asked to its certificate.

1. First everything is looked up and nothing is changed: `planned`.
2. Then the plan is kept as a journal, for this account only. It holds what is looked for, until the
   erasure has ended.
3. Then, in this order: the exclusion list, the signed entry, remotes, sources, files, caches, the
   search for what is left, the signed end, the certificate. Each step can be repeated and changes
   nothing where it was done. So a run after a kill goes on with the journal and ends the same.
"""

from __future__ import annotations

import hmac
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.attest.digests import digest_of, sha256_bytes
from governance.attest.predicates import Artifact, Erased, Erasure
from governance.base.model import Model
from governance.base.storage import write_atomic, write_state
from governance.history import erasures
from governance.history.lineage import inputs, subject
from governance.history.state import LogState
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.people.speaking import Speaker
from governance.release import erasure_certificate, promotion
from governance.report import erasure as erasure_page
from pipelines import exclusions
from pipelines.erasing import places, remotes, removal
from pipelines.erasing.places import Held, Places, Read
from pipelines.erasing.sought import Sought, Values, own_texts
from pipelines.exclusions import By, Excluding, Listed
from pipelines.pii.engine import PlainEngine
from pipelines.pii.search import Search
from pipelines.plain_text import plain_subject, plain_text
from pipelines.project import Project
from pipelines.record_ids import Key
from pipelines.trace.answer import holders
from pipelines.trace.files import contents_of
from pipelines.trace.looked_up import LookedUp
from pipelines.trace.question import Asked
from pipelines.trace.reading import tables

JOURNAL = "erasing"
"""Folder below the project's state."""
CERTIFICATES = Path("exports") / "erasures"
TRAINING = "train@"


class Source(Model):
    """A source with rows that are records to be erased."""

    path: str
    sha256: str
    """Before rows are taken out."""
    rows: list[int]


class Plan(Model):
    """(2) All that an erasure needs once it has begun."""

    reference: str
    question: str
    """HMAC of what was asked."""
    deadline: str
    listed: Listed
    values: Values
    subjects: list[Artifact]
    counts: dict[str, int]
    files: dict[str, int]
    """Place to files that hold what is sought."""
    remote: list[remotes.Object]
    not_removed: dict[str, int]
    sources: list[Source]
    rewrite: bool


@dataclass(frozen=True)
class Terms:
    """What the person says beside the question."""

    reference: str
    deadline: str
    rewrite: bool
    backups: Sequence[str]


def planned(
    project: Project, key: Key, asked: Asked, found: LookedUp, terms: Terms
) -> tuple[Plan, list[Held]]:
    """(1) The plan, and the files that hold what is sought."""
    values = _values(found, asked)
    listed, _ = exclusions.listed(
        project.root, key, terms.reference, _by(asked), _entries(key, asked, values)
    )
    sought = Sought(values, Excluding(key, exclusions.NOTHING, [listed]))
    here = Places.of(project.root, project.params, project.machine)
    held = here.holding(sought, Read())
    ids = removal.object_ids(held, here)
    far = remotes.planned(project.root, sought, ids)
    sources = _sources(project, found, rewrite=terms.rewrite)
    subjects = _subjects(found, listed.root, terms.reference)
    models = {each.sha256 for each in subjects if each.role == erasures.MODEL}
    plan = Plan(
        reference=terms.reference,
        question=question(key, asked),
        deadline=terms.deadline,
        listed=listed,
        values=values,
        subjects=subjects,
        counts=_counts(found, subjects),
        files=places.by_place(held),
        remote=far.objects,
        not_removed={
            "model_weights": len(models),
            "source_rows": sum(
                len(each.rows) for each in sources if not _goes(each, terms.rewrite)
            ),
            "git_history": sum(_in_git(project.root, each.path) for each in sources),
            "remote_unreachable": len(far.unreachable),
            "remote_not_read": far.not_read,
            "backups": len(terms.backups),
            "not_looked_up": len(found.missing),
        },
        sources=sources,
        rewrite=terms.rewrite,
    )
    return plan, held


def question(key: Key, asked: Asked) -> str:
    """An HMAC of what was asked, to know it again."""
    plain = plain_text(asked.value) if asked.by == "text" else plain_subject(asked.value)
    text = "\n".join([_by(asked), plain, *sorted(asked.beginnings)])
    return hmac.digest(key.secret, f"erasure\n{text}".encode(), "sha256").hex()


def _by(asked: Asked) -> By:
    return "record" if asked.by == "file" else asked.by


def _entries(key: Key, asked: Asked, values: Values) -> set[str]:
    entries = exclusions.of_records(key, values.ids)
    if asked.by == "text":
        entries.add(exclusions.of_text(key, asked.value))
    if asked.by == "subject":
        entries.add(exclusions.of_subject(key, asked.value))
    return entries


def _values(found: LookedUp, asked: Asked) -> Values:
    ids = sorted(one.id for one in found.records)
    having = holders(found.records)
    wanted = {
        content: names
        for content, names in contents_of(found.steps).items()
        if content.sha256 in having and content.role == "records"
    }
    parts = {part.sha256: part for _, here in found.files.found(wanted, {}) for part in here}
    readable = [part for part in parts.values() if any(True for _ in tables(part))]
    value = [asked.value.strip()] if asked.value else []
    return Values(ids=ids, texts=own_texts(readable, set(ids)), values=value)


def _subjects(found: LookedUp, root: str, reference: str) -> list[Artifact]:
    having = holders(found.records)
    datasets = {
        step.digest: step.dataset
        for step in found.steps
        if step.role == "records" and step.digest in having
    }
    trained = {one.digest for one in found.touched if one.what.startswith(TRAINING)}
    models = {one.what: one.digest for one in found.touched if one.digest in trained}
    return [
        Artifact(role=erasures.LIST, name=reference, sha256=root),
        *(
            Artifact(role=erasures.DATASET, name=name, sha256=sha256)
            for sha256, name in sorted(datasets.items())
        ),
        *(
            Artifact(role=erasures.MODEL, name=name, sha256=sha256)
            for name, sha256 in sorted(models.items())
        ),
    ]


def _counts(found: LookedUp, subjects: Sequence[Artifact]) -> dict[str, int]:
    steps = {place.step for one in found.records for place in one.places if not place.reason}
    names = [each.name for each in subjects if each.role == erasures.MODEL]
    return {
        "records": len(found.records),
        "derived": sum(bool(one.parents) for one in found.records),
        "datasets": len({each.name for each in subjects if each.role == erasures.DATASET}),
        "contents": sum(each.role == erasures.DATASET for each in subjects),
        "answers": sum(step.endswith(", answers") for step in steps),
        "models": sum(name.startswith(TRAINING) for name in names),
        "versions": sum("/" in name for name in names),
    }


# --- sources --------------------------------------------------------------------------------------


def _sources(project: Project, found: LookedUp, *, rewrite: bool) -> list[Source]:
    """The sources of the latest ingests, where they are as they were read, with the rows of the
    records.
    """
    rows: dict[Path, set[int]] = {}
    statements = {step.statement.index: step.statement for step in found.steps}
    for place in (place for one in found.records for place in one.places if place.latest):
        dataset = project.params.datasets.get(place.dataset)
        statement = statements.get(place.entry)
        if dataset is None or statement is None or statement.kind != "ingest" or not place.row:
            continue
        top = project.root / dataset.source
        if top.exists() and digest_of(top) == inputs(statement).get("source"):
            file = top / place.file if top.is_dir() else top
            rows.setdefault(file, set()).add(place.row)
    return [
        Source(
            path=path.relative_to(project.root).as_posix(),
            sha256=digest_of(path),
            rows=sorted(numbers),
        )
        for path, numbers in sorted(rows.items())
    ]


def _goes(source: Source, rewrite: bool) -> bool:
    return rewrite and removal.rewritable(Path(source.path))


def _in_git(root: Path, path: str) -> bool:
    """Whether a commit has a file of this name."""
    command = ["git", "log", "--all", "--format=%h", "-n", "1", "--", path]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


# --- the journal ----------------------------------------------------------------------------------


def journal(project: Project, reference: str) -> Path:
    """Where the journal of a case is."""
    return project.machine.state / JOURNAL / f"{sha256_bytes(reference.encode())[:16]}.json"


def begun(project: Project, reference: str) -> Plan | None:
    """The plan of a case that has begun and has not ended."""
    try:
        return Plan.model_validate_json(journal(project, reference).read_bytes())
    except FileNotFoundError:
        return None


# --- the erasure ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Performed:
    """What was done."""

    erasure: Evidence[Erasure]
    done: Evidence[Erased]
    left: list[Held]
    """Files that still hold what was sought."""
    certificate: Path


def perform(project: Project, key: Key, log: Log, author: Speaker, plan: Plan) -> Performed:
    """(3) Raises `CountersignError`; a further call goes on."""
    root = project.root
    write_state(journal(project, plan.reference), plan.model_dump_json().encode())
    if plan.listed.root not in {each.root for each in exclusions.read(root)}:
        exclusions.append(root, plan.listed)
    erasure = _erasure(log, author, plan)
    sought = Sought(plan.values, Excluding(key, exclusions.NOTHING, [plan.listed]))
    here = Places.of(root, project.params, project.machine)
    remotes.delete(root, plan.remote)
    for source in plan.sources if plan.rewrite else ():
        _rewrite(root, source)
    removal.delete(_but_journal(here.holding(sought, Read()), project), here)
    _forget(project, key, plan.values.texts)
    read = Read()
    left = _but_journal(here.holding(sought, read), project)
    far = remotes.holding(root, sought)
    done = _done(log, author, plan, erasure, _found(left, len(list(far))), read, sought.count)
    certificate = _certificate(root, log, erasure, done)
    journal(project, plan.reference).unlink(missing_ok=True)
    return Performed(erasure, done, left, certificate)


def _but_journal(held: list[Held], project: Project) -> list[Held]:
    """Without the journal itself, which holds what is sought until the end."""
    folder = project.machine.state / JOURNAL
    return [each for each in held if not each.path.is_relative_to(folder)]


def _rewrite(root: Path, source: Source) -> None:
    path = root / source.path
    if removal.rewritable(path) and path.exists() and digest_of(path) == source.sha256:
        removal.rewrite(path, set(source.rows))


def _forget(project: Project, key: Key, texts: Sequence[str]) -> None:
    cache = project.machine.state / "cache" / "pii.sqlite"
    if cache.exists():
        with Search(PlainEngine(project.policies.pii, project.root), cache, key.secret) as search:
            search.forget(texts)


def _erasure(log: Log, author: Speaker, plan: Plan) -> Evidence[Erasure]:
    """The signed entry; the one that is there, if a run before this one got so far."""
    known = list(_signed(promotion.state(log), plan))
    if known:
        return known[-1]
    said = author.signed(f"erasure on request, case {plan.reference}")
    predicate = Erasure(
        **said, reference=plan.reference, deadline=plan.deadline, by=plan.listed.by,
        exclusions=len(plan.listed.entries), counts=plan.counts,
    )  # fmt: skip
    entry = evidence.record(log, author.signer, "erasure", plan.subjects, predicate)
    return next(each for each in _signed(promotion.state(log), plan) if each.index == entry.index)


def _signed(now: LogState, plan: Plan) -> Iterator[Evidence[Erasure]]:
    for each in erasures.counted(now.evidence, now.authority):
        same = (each.predicate.reference, each.predicate.deadline)
        if subject(each, erasures.LIST) == plan.listed.root and same == (
            plan.reference,
            plan.deadline,
        ):
            yield each


def _found(left: Sequence[Held], remote: int) -> dict[str, int]:
    counts = places.by_place(list(left))
    return {**counts, "remote": remote} if remote else counts


def _done(
    log: Log,
    author: Speaker,
    plan: Plan,
    erasure: Evidence[Erasure],
    found: dict[str, int],
    read: Read,
    values: int,
) -> Evidence[Erased]:
    held = {place: count for place, count in plan.files.items() if place in places.DELETED}
    held["remote"] = len(plan.remote)
    removed = {place: count - found.get(place, 0) for place, count in held.items()}
    removed["source_rows"] = sum(
        len(each.rows) for each in plan.sources if _goes(each, plan.rewrite)
    )
    said = author.signed(f"end of the erasure, case {plan.reference}")
    predicate = Erased(
        **said,
        reference=plan.reference,
        removed={place: count for place, count in sorted(removed.items()) if count > 0},
        searched={"bytes": read.bytes, "files": read.files, "values": values},
        found=dict(sorted(found.items())),
        not_removed={name: count for name, count in sorted(plan.not_removed.items()) if count},
    )
    named = Artifact(role="erasure", name=plan.reference, sha256=erasure.digest)
    entry = evidence.record(log, author.signer, "erased", [named], predicate)
    signed = erasures.done(promotion.state(log).timeline, erasure)
    return next(each for each in signed if each.index == entry.index)


def _certificate(root: Path, log: Log, erasure: Evidence[Erasure], done: Evidence[Erased]) -> Path:
    """Writes the certificate and its readings, as text and as a page; the file of the
    certificate.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", done.predicate.reference)
    path = root / CERTIFICATES / f"{name}.dsse.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*erasure_certificate.reading(erasure, done), f"Check: countersign verify {path.name}"]
    envelope = log.entry(done.index).envelope
    write_atomic(path, envelope)
    write_atomic(path.with_name(f"{name}.txt"), ("\n".join(lines) + "\n").encode())
    page = erasure_page.page(erasure, done, envelope, path.name)
    write_atomic(path.with_name(f"{name}.html"), page)
    return path
