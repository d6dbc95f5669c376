"""The certificate of an erasure: the signed statement `erased`, as the log has it, and its reading.

Whoever has the log can check the file: it is an entry of the log, signed by somebody who may say
this, about an erasure that counts. The file names no person, value or record.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.envelope import unverified
from governance.attest.predicates import Erased, Erasure
from governance.base.errors import VerificationError
from governance.base.text import moment
from governance.history import erasures
from governance.history.state import LogState
from governance.log.evidence import Evidence

PLACES = {
    "data/ingested": "records as ingested",
    "data/scanned": "records as scanned",
    "data/ready": "records ready for training",
    "evaluations": "stored answers and scores",
    "reports": "reports",
    "exports": "exports",
    "generated": "generated data",
    "cache": "the cache of DVC",
    "remote": "remotes of DVC",
    "temporary": "unfinished work and temporary files",
    "index": "the index of records",
    "replies": "replies of endpoints",
    "source": "sources",
    "source_rows": "rows of sources",
    "artifacts": "files of the model registry",
    "state": "other files of this machine",
    "project": "other files of the project",
}
NOT_REMOVED = {
    "model_weights": "models that have seen the records, until they are retrained or retired",
    "source_rows": "rows of sources, which belong to their owner",
    "git_history": "sources that a git history may keep",
    "remote_unreachable": "remotes of DVC that did not answer",
    "remote_not_read": "objects of remotes that were not read",
    "backups": "backups that were named and cannot be reached from here",
    "not_looked_up": "steps of datasets whose files are not here, or that were not to be read",
}
"""What stays, by its code."""


def check(now: LogState, data: bytes) -> tuple[Evidence[Erasure], Evidence[Erased]]:
    """The erasure and the statement of a certificate. Raises `VerificationError`."""
    where = "certificate"
    statement, _ = unverified(data, where=where)
    subjects = statement.get("subject")
    first = subjects[0] if isinstance(subjects, list) and subjects else {}
    digest = first.get("digest", {}).get("sha256", "") if isinstance(first, dict) else ""
    entries = [entry for entry in now.log.by_subject(digest) if entry.envelope == data]
    if not entries:
        raise VerificationError("the log has no entry with these bytes", where=where)
    for erasure in erasures.counted(now.evidence, now.authority):
        for done in erasures.done(now.timeline, erasure):
            if done.index == entries[0].index:
                return erasure, done
    found = f"entry {entries[0].index} does not count as the end of an erasure"
    raise VerificationError(found, where=where)


def reading(erasure: Evidence[Erasure], done: Evidence[Erased]) -> Iterator[str]:
    """The certificate for people."""
    asked, said = erasure.predicate, done.predicate
    yield f"CERTIFICATE OF ERASURE, case {said.reference}"
    yield f"Signed by {said.principal} as {said.role} on {moment(said.at)}, entry {done.index}."
    yield f"The erasure was signed by {asked.principal} as {asked.role}, entry {erasure.index}."
    yield f"Records: {asked.counts.get('records', 0)}. Data that is read again leaves them out."
    yield "Deleted (files, objects of a cache or remote, rows):"
    yield from _counted(said.removed, PLACES)
    files, values = said.searched.get("files", 0), said.searched.get("values", 0)
    yield f"Checked: {files} files were searched for {values} ids, texts and values afterwards."
    yield "Still found in (files):"
    yield from _counted(said.found, PLACES)
    yield "Not removed:"
    yield from _counted(said.not_removed, NOT_REMOVED)
    yield f"Models that have seen the records are retrained or retired by {moment(asked.deadline)}."
    yield "Nothing proves that a model has forgotten a record."


def _counted(counts: dict[str, int], names: dict[str, str]) -> Iterator[str]:
    left = {name: count for name, count in counts.items() if count}
    for name, count in left.items():
        yield f"  {names.get(name, name)}: {count}"
    if not left:
        yield "  nothing"
