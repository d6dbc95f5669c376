"""Which dataset or model a digest is the content of, as far as the log says.

1. What ingest, scan and quality made of a dataset is that dataset: records, left-out records,
   reports. So is the source that ingest read.
2. What a training made is the model that is released from its stage; several models where several
   are; the stage's own name where none is.
3. A registered model is that model, whichever stage made it.
4. A base is its own name, also where it is released as it is. An evaluation's results are the
   model that was evaluated; answers that it stored are the suite's dataset, too.
5. A digest that no such statement names is nobody's: the caller decides (`UNKNOWN`).

Only statements that count are read. Bytes of several names have all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import (
    BaseImport,
    Evaluate,
    Ingest,
    LeakProbe,
    Predicate,
    Quality,
    Registration,
    Reproduction,
    Scan,
    SeedRun,
    Train,
)
from governance.history.lineage import inputs, subject
from governance.log.evidence import Evidence
from governance.log.views import EvidenceView
from governance.policy.readers import Content

NOTHING = sha256_bytes(b"")
"""An empty file holds no content, though many files are equal to it."""


@dataclass(frozen=True)
class Contents:
    """The datasets and models of a log."""

    view: EvidenceView
    """The statements that count."""

    def of_digest(self, sha256: str) -> frozenset[Content]:
        """What these bytes are the content of; empty where the log does not say it."""
        if sha256 == NOTHING:
            return frozenset()
        about = self.view.by_subject(sha256)
        contents = (content for each in about for content in self._of_subject(each, sha256))
        return self._sources.get(sha256, frozenset()).union(contents)

    def _of_subject(self, statement: Evidence, sha256: str) -> frozenset[Content]:
        """(4) What one subject of a statement is the content of."""
        contents = self.of_statement(statement)
        if subject(statement, "answers") != sha256:
            return contents
        records = self.view.by_subject(inputs(statement).get("records", NOTHING))
        return contents.union(*map(self.of_statement, records))

    def of_statement(self, statement: Evidence) -> frozenset[Content]:
        """What the subjects of a statement are the content of; empty for other kinds."""
        match statement.predicate:
            case Ingest() | Scan() | Quality():
                return frozenset({Content("dataset", statement.predicate.dataset)})
            case Registration():
                return frozenset({Content("model", statement.predicate.model)})
            case Evaluate() | LeakProbe():
                return self.of_model(statement.predicate.model)
            case Train() | Reproduction() | SeedRun() | BaseImport():
                return self._made(statement)
        return frozenset()

    def of_model(self, sha256: str) -> frozenset[Content]:
        """(2) to (4) The names of a model by its digest."""
        made = (*self.view.by_subject(sha256, Train), *self.view.by_subject(sha256, BaseImport))
        registered = self._registered_as.get(sha256, frozenset())
        return registered.union(*(self._made(statement) for statement in made))

    def of_stage(self, stage: str) -> frozenset[Content]:
        """(2) The models that are released from a stage; else the stage itself."""
        return self._released_from.get(stage) or frozenset({Content("model", stage)})

    def _made(self, statement: Evidence[Predicate]) -> frozenset[Content]:
        """The names of what a stage made: by its bytes where they are registered, and its stage."""
        stage = statement.predicate.stage.partition("@")[2]
        by_stage = self.of_stage(stage)
        if isinstance(statement.predicate, BaseImport):
            by_stage |= {Content("model", stage)}
        registered = (self._registered_as.get(one.sha256) for one in statement.subjects)
        return by_stage.union(*(names for names in registered if names))

    @cached_property
    def _sources(self) -> Mapping[str, frozenset[Content]]:
        """(1) Digest of a source to the datasets that were made of it."""
        sources: dict[str, set[Content]] = defaultdict(set)
        for made in self.view.all(Ingest):
            content = Content("dataset", made.predicate.dataset)
            for read in made.predicate.inputs:
                sources[read.sha256].add(content)
        return {sha256: frozenset(contents) for sha256, contents in sources.items()}

    @cached_property
    def _registrations(self) -> list[Evidence[Registration]]:
        return self.view.all(Registration)

    @cached_property
    def _released_from(self) -> Mapping[str, frozenset[Content]]:
        """Stage to the models that were ever registered from it."""
        return _grouped((one.predicate.stage, one.predicate.model) for one in self._registrations)

    @cached_property
    def _registered_as(self) -> Mapping[str, frozenset[Content]]:
        """Digest to the models that it is registered as."""
        rows = ((one.predicate.model_digest, one.predicate.model) for one in self._registrations)
        return _grouped(rows)


def _grouped(rows: Iterable[tuple[str, str]]) -> Mapping[str, frozenset[Content]]:
    groups: dict[str, set[Content]] = defaultdict(set)
    for key, model in rows:
        groups[key].add(Content("model", model))
    return {key: frozenset(contents) for key, contents in groups.items()}
