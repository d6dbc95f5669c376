"""Which dataset or model the files of this server are the content of, and who may read them.

1. A file in the folder of a run is of the models that evidence names with this run: registered
   from it, trained or evaluated in it. Any other file may be of anything: every row must
   permit it.
2. The read of a run's files by an account is recorded once a day, before the first file is sent.
   Its digest is the model's. To list names needs the same right, and is not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from governance.attest.digests import sha256_bytes
from governance.attest.keys import Signer
from governance.attest.predicates import Evaluate, Registration, Requester
from governance.base.errors import ConfigError, RefusedError
from governance.history.contents import Contents
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.log.http_client import PURPOSE_HEADER
from governance.log.port import Log
from governance.policy.readers import OTHERS, UNKNOWN, Content
from governance.registry.governed.limit import Limit
from governance.release.artifacts import registry_run
from governance.release.reading import (
    CODE,
    AccountReading,
    Rights,
    Wanted,
    checked_purpose,
    record_account,
    refused_account,
)

RUN = re.compile(r"(?:\d+/)?(?P<run>[0-9a-f]{32})(?:/|$)")
"""A path below the artifact root that begins with the folder of a run."""
OF_RUNS = ("registration", "train", "evaluate")
"""Kinds of evidence that name a run of the registry."""


@dataclass(frozen=True)
class ArtifactRights:
    """What the log says of files and readers, at one size."""

    rights: Rights
    runs: Mapping[str, frozenset[Wanted]]
    """Run to what its files are."""

    @classmethod
    def of(cls, now: LogState) -> ArtifactRights:
        """The rights at this state."""
        rights = Rights(now.authority, None)
        return cls(rights, _runs(now) if rights.restricted else {})

    def wanted(self, path: str) -> list[Wanted]:
        """(1) What a file or folder below the artifact root is."""
        found = RUN.match(path)
        known = self.runs.get(found["run"]) if found else None
        place = found[0] if found else "other"
        other = Wanted(sha256_bytes(f"files below {place}".encode()), UNKNOWN)
        return sorted(known, key=lambda each: each.sha256) if known else [other]


def _runs(now: LogState) -> dict[str, frozenset[Wanted]]:
    known = Contents(now.view)
    runs: dict[str, frozenset[Wanted]] = {}
    for statement in (each for kind in OF_RUNS for each in now.view.all(kind)):
        run, digest = registry_run(statement.predicate.run), _model(statement)
        if run and digest:
            wanted = Wanted.of(digest, known.of_model(digest), known.of_statement(statement))
            runs[run] = runs.get(run, frozenset()) | {wanted}
    return runs


def _model(statement: Evidence) -> str | None:
    """The digest of the model that a statement is about."""
    match statement.predicate:
        case Registration():
            return statement.predicate.model_digest
        case Evaluate():
            return statement.predicate.model
    return subject(statement, "model")


def _named(contents: Iterable[Content]) -> str:
    """The first model that has a name; empty where none has."""
    named = (each.name for each in contents if each.kind == "model" and each.name != OTHERS)
    return next(named, "")


@dataclass
class ArtifactReads:
    """Decides on reads by accounts and records them. One per process."""

    log: Log
    signer: Signer
    requester: Requester
    now: Callable[[], datetime]
    limit: Limit
    """Of new entries by one account."""
    _today: set[tuple[str, ...]] = field(default_factory=set)
    """Day, account, purpose and digests of reads that are in the log."""
    _lock: Lock = field(default_factory=Lock)

    def refusal(
        self, here: ArtifactRights, path: str, account: str, purpose: str
    ) -> tuple[str, str]:
        """The model that this account may not read below this path, as far as it has a name, and
        why; both empty where it may.
        """
        if not here.rights.restricted:
            return "", ""
        wanted = here.wanted(path)
        closed = refused_account(here.rights, account, wanted, self.now())
        if closed:
            return _named(closed), f"{CODE} {', '.join(map(str, closed))}"
        try:
            checked_purpose(here.rights, purpose)
        except ConfigError as error:
            contents = sorted(content for each in wanted for content in each.contents)
            return _named(contents), f"{error.found}: send the header {PURPOSE_HEADER}"
        return "", ""

    def record(self, here: ArtifactRights, path: str, account: str, purpose: str) -> None:
        """(2) Raises what the log raises: then nothing is sent."""
        if not here.rights.restricted:
            return
        at, wanted = self.now(), here.wanted(path)
        purpose = checked_purpose(here.rights, purpose)
        day = at.date().isoformat()
        key = (day, account, purpose, *(each.sha256 for each in wanted))
        if key in self._today:
            return
        if self.limit.count((account,)):
            raise RefusedError(f"{account} read for too many purposes within the hour", fix="wait")
        reading = AccountReading(self.signer, account, purpose, self.requester, at)
        record_account(here.rights, reading, wanted, self.log)
        with self._lock:
            self._today = {each for each in self._today if each[0] == day} | {key}
