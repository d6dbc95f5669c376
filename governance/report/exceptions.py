"""Page one's notes: facts that contradict nothing and that a reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from governance.attest.predicates import CANDIDATE, Planted, Predicate, Scan
from governance.history.lineage import evaluated
from governance.log.evidence import Evidence
from governance.report.data import LOW_ASSURANCE
from governance.report.facts import Facts, of_chain, run_of
from governance.report.model import Notice
from governance.report.reasons import About, notice

SHOWN = 3
"""Entries named in one notice."""


def exceptions(facts: Facts, left_out: list[str], origin: str | None) -> list[Notice]:
    """Faults, waivers and notes that a reader must know first."""
    return [
        *_keys(facts),
        *_unestablished(facts, left_out, origin),
        *_code(facts),
        *_name_lists(facts),
        *_left_out_records(facts),
        *_not_run(facts),
        *_requesters(facts),
        *_keys_ended(facts),
    ]


def _first(statements: Iterable[Evidence]) -> list[int]:
    """The first entries of these statements."""
    return sorted({statement.index for statement in statements})[:SHOWN]


def _keys(facts: Facts) -> Iterator[Notice]:
    statements = list({statement.index: statement for statement in of_chain(facts)}.values())
    test_keys = [statement for statement in statements if statement.development]
    if test_keys:
        counts = {"count": len(test_keys), "of": len(statements)}
        yield notice(About.DEVELOPMENT_KEYS, _first(test_keys), **counts)
    ingested = [chain.ingest for chain, _ in facts.datasets if chain.ingest]
    keyed = [statement for statement in ingested if statement.predicate.record_key == "development"]
    if keyed:
        yield notice(About.DEVELOPMENT_RECORD_KEY, _first(keyed))


def _keys_ended(facts: Facts) -> Iterator[Notice]:
    """Approvals that count although their key was revoked later."""
    for name, role, vote in facts.standing.approvers if facts.standing else ():
        ended = facts.now.authority.revoked.get(vote.keyid) if facts.now else None
        if ended is not None:
            fields = {"name": name, "role": role, "entry": vote.index, "revoked": ended}
            yield notice(About.KEY_REVOKED_LATER, [ended], **fields)


def _unestablished(facts: Facts, left_out: list[str], origin: str | None) -> Iterator[Notice]:
    if origin is None:
        yield notice(About.ORIGIN_NOT_ESTABLISHED, [0])
    if left_out:
        entries = "; ".join(left_out[:SHOWN])
        yield notice(About.ENTRIES_LEFT_OUT, [], count=len(left_out), entries=entries)
    if facts.policies is None:
        yield notice(About.POLICIES_NOT_AVAILABLE, [], why=facts.policies_note)


def _code(facts: Facts) -> Iterator[Notice]:
    by_index = {
        statement.index: statement
        for statement in of_chain(facts)
        if isinstance(statement.predicate, Predicate) and statement.predicate.code.dirty
    }
    if by_index:
        outside = sum(statement.predicate.code.commit is None for statement in by_index.values())
        counts = {"count": len(by_index), "outside": outside}
        yield notice(About.UNCOMMITTED_CODE, _first(by_index.values()), **counts)


def _name_lists(facts: Facts) -> Iterator[Notice]:
    scans = [
        chain.scan
        for chain, _ in facts.datasets
        if chain.scan and isinstance(chain.scan.predicate, Scan)
    ]
    low = [scan for scan in scans if scan.predicate.engine.get("ner") == LOW_ASSURANCE]
    if not low:
        return
    names = [recall["PERSON"] for recall in map(_recall, low) if "PERSON" in recall]
    least = min(names, key=lambda figures: figures.found / figures.planted, default=None)
    if least is None:
        yield notice(About.NAMES_BY_LIST, _first(low))
        return
    counts = {"found": least.found, "planted": least.planted}
    yield notice(About.NAMES_BY_LIST_MEASURED, _first(low), **counts)


def _recall(scan: Evidence) -> dict[str, Planted]:
    return scan.predicate.recall.entities if scan.predicate.recall else {}


def _left_out_records(facts: Facts) -> Iterator[Notice]:
    steps = [
        step
        for chain, _ in facts.datasets
        for step in (chain.ingest, chain.scan, chain.quality)
        if step and step.predicate.counts.excluded
    ]
    total = sum(sum(step.predicate.counts.excluded.values()) for step in steps)
    ingested = [chain.ingest.predicate for chain, _ in facts.datasets if chain.ingest]
    if total:
        counts = {"count": total, "of": sum(ingest.counts.records_in for ingest in ingested)}
        yield notice(About.RECORDS_LEFT_OUT, _first(steps), **counts)


def _not_run(facts: Facts) -> Iterator[Notice]:
    pairs = [(node, suite) for node in facts.chain for suite in facts.suites]
    evaluations = [(node, suite, facts.evaluation(node, suite)) for node, suite in pairs]
    skipped = [
        (evaluation, f"{node.name} on {suite.name}: {evaluated(evaluation).not_run}")
        for node, suite, evaluation in evaluations
        if evaluation and evaluated(evaluation).not_run is not None
    ]
    tests = "; ".join(["privacy leakage", *(text for _, text in skipped)])
    yield notice(About.NOT_RUN, _first(evaluation for evaluation, _ in skipped), tests=tests)


def _requesters(facts: Facts) -> Iterator[Notice]:
    """Requesters of runs who were not authenticated. Governed moves have signed requests
    instead.
    """
    runs = (
        run_of(statement)
        for statement in of_chain(facts)
        if getattr(statement.predicate, "alias", CANDIDATE) == CANDIDATE
    )
    requesters = [run.requested_by for run in runs if run]
    claimed = sorted({requester.name for requester in requesters if not requester.authenticated})
    if claimed:
        yield notice(About.REQUESTER_NOT_AUTHENTICATED, [], names=claimed)
