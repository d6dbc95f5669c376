"""Erasures: which count, what they demand of data, and which versions have seen what was erased.

1. An erasure counts if a person signed it in a role that approves data, from version 3 of the rules
   on.
2. Data may be used if its ingest applied the exclusion list of each erasure that the log had
   before; of several with one reference, that of the last. A training is judged by the erasures
   before it: a later one concerns its model by (3).
3. A version has seen the records if an erasure names a model of its chain, or a dataset that such a
   model was trained on.
4. While such a version holds a governed alias, a decision is open: retrain or retire. Retiring the
   version closes it, and so does giving the alias to a version that has not seen the records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from governance.attest.predicates import CANDIDATE, Erased, Erasure, Ingest
from governance.base.time import instant_of
from governance.history.chain import Chain
from governance.history.lineage import subject
from governance.log.rules import ERASES

if TYPE_CHECKING:
    from governance.history.timeline import Tenure, Timeline
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

LIST, DATASET, MODEL = "exclusions", "dataset", "model"
"""Roles of the subjects of an erasure."""
TRAINING = "train@"
"""Begins the use of a dataset that a model was trained on."""


@dataclass(frozen=True)
class OpenDecision:
    """(4) A live version that has seen erased records."""

    erasure: Evidence[Erasure]
    tenure: Tenure

    def is_overdue(self, at: datetime) -> bool:
        """Whether the deadline is over."""
        return is_over(self.erasure, at)


def is_over(erasure: Evidence[Erasure], at: datetime) -> bool:
    """Whether the deadline of an erasure is over."""
    return at > instant_of(erasure.predicate.deadline)


def counted(evidence: EvidenceView, rights: Authority | None) -> list[Evidence[Erasure]]:
    """(1) The erasures that count, in log order."""
    return [
        statement
        for statement in evidence.all(Erasure)
        if rights is not None
        and rights.rules_at(statement.index) >= ERASES
        and rights.speaker(statement) is not None
    ]


def unapplied(
    erasures: Sequence[Evidence[Erasure]], ingest: Ingest, before: int = sys.maxsize
) -> list[Evidence[Erasure]]:
    """(2) The erasures before an entry whose exclusions an ingest did not apply."""
    applied = ingest.exclusions.roots if ingest.exclusions else []
    earlier = (statement for statement in erasures if statement.index < before)
    last = {statement.predicate.reference: statement for statement in earlier}
    return [each for each in last.values() if subject(each, LIST) not in applied]


def has_seen(chain: Chain, erasure: Evidence[Erasure]) -> bool:
    """(3)"""
    models = {each.sha256 for each in erasure.subjects if each.role == MODEL}
    datasets = {each.sha256 for each in erasure.subjects if each.role == DATASET}
    trained_on = {
        sha256
        for data, uses in chain.datasets
        if any(use.startswith(TRAINING) for use in uses)
        for sha256 in data.digests
    }
    in_chain = {node.sha256 for node in chain.chain}
    return not (models.isdisjoint(in_chain) and datasets.isdisjoint(trained_on))


def open_decisions(timeline: Timeline) -> list[OpenDecision]:
    """(4) In log order of the erasures."""
    return list(_open(timeline))


def _open(timeline: Timeline) -> Iterator[OpenDecision]:
    erasures = counted(timeline.evidence, timeline.authority)
    if not erasures:
        return
    live = [each for each in timeline.holders.values() if each.alias != CANDIDATE]
    chains = [
        (tenure, Chain.registered(timeline.view, registration.predicate))
        for tenure in live
        if (registration := timeline.registrations.get((tenure.model, tenure.version)))
    ]
    for erasure in erasures:
        for tenure, chain in chains:
            if has_seen(chain, erasure):
                yield OpenDecision(erasure, tenure)


def done(timeline: Timeline, erasure: Evidence[Erasure]) -> list[Evidence[Erased]]:
    """What people signed of the bytes that an erasure removed, in log order."""
    return [
        statement
        for statement in timeline.evidence.by_subject(erasure.digest, Erased)
        if timeline.authority.speaker(statement) is not None
    ]
