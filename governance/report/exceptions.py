"""Page one's notes: what contradicts nothing, was accepted by nobody, and a reader must know."""

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
    """What a reader must know before any good news."""
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


def _first(items: Iterable[Evidence]) -> list[int]:
    """The first entries, as references."""
    return sorted({item.index for item in items})[:SHOWN]


def _keys(facts: Facts) -> Iterator[Notice]:
    items = list({item.index: item for item in of_chain(facts)}.values())
    test_keys = [item for item in items if item.development]
    if test_keys:
        counts = {"count": len(test_keys), "of": len(items)}
        yield notice(About.DEVELOPMENT_KEYS, _first(test_keys), **counts)
    ingested = [chain.ingest for chain, _ in facts.datasets if chain.ingest]
    keyed = [item for item in ingested if item.predicate.record_key == "development"]
    if keyed:
        yield notice(About.DEVELOPMENT_RECORD_KEY, _first(keyed))


def _keys_ended(facts: Facts) -> Iterator[Notice]:
    """Approvals that count, by keys that were revoked since."""
    for name, role, item in facts.standing.approvers if facts.standing else ():
        ended = facts.now.authority.revoked.get(item.keyid) if facts.now else None
        if ended is not None:
            fields = {"name": name, "role": role, "entry": item.index, "revoked": ended}
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
    items = {
        item.index: item
        for item in of_chain(facts)
        if isinstance(item.predicate, Predicate) and item.predicate.code.dirty
    }
    if items:
        outside = sum(item.predicate.code.commit is None for item in items.values())
        counts = {"count": len(items), "outside": outside}
        yield notice(About.UNCOMMITTED_CODE, _first(items.values()), **counts)


def _name_lists(facts: Facts) -> Iterator[Notice]:
    scans = [
        chain.scan
        for chain, _ in facts.datasets
        if chain.scan and isinstance(chain.scan.predicate, Scan)
    ]
    low = [item for item in scans if item.predicate.engine.get("ner") == LOW_ASSURANCE]
    if not low:
        return
    names = [recall["PERSON"] for recall in map(_recall, low) if "PERSON" in recall]
    least = min(names, key=lambda one: one.found / one.planted, default=None)
    if least is None:
        yield notice(About.NAMES_BY_LIST, _first(low))
        return
    counts = {"found": least.found, "planted": least.planted}
    yield notice(About.NAMES_BY_LIST_MEASURED, _first(low), **counts)


def _recall(scan: Evidence) -> dict[str, Planted]:
    return scan.predicate.recall.entities if scan.predicate.recall else {}


def _left_out_records(facts: Facts) -> Iterator[Notice]:
    items = [
        item
        for chain, _ in facts.datasets
        for item in (chain.ingest, chain.scan, chain.quality)
        if item and item.predicate.counts.excluded
    ]
    total = sum(sum(item.predicate.counts.excluded.values()) for item in items)
    ingested = [chain.ingest.predicate for chain, _ in facts.datasets if chain.ingest]
    if total:
        counts = {"count": total, "of": sum(one.counts.records_in for one in ingested)}
        yield notice(About.RECORDS_LEFT_OUT, _first(items), **counts)


def _not_run(facts: Facts) -> Iterator[Notice]:
    pairs = [(node, suite) for node in facts.chain for suite in facts.suites]
    found = [(node, suite, facts.evaluation(node, suite)) for node, suite in pairs]
    skipped = [
        (item, f"{node.name} on {suite.name}: {evaluated(item).not_run}")
        for node, suite, item in found
        if item and evaluated(item).not_run is not None
    ]
    tests = "; ".join(["privacy leakage", *(text for _, text in skipped)])
    yield notice(About.NOT_RUN, _first(item for item, _ in skipped), tests=tests)


def _requesters(facts: Facts) -> Iterator[Notice]:
    """Runs only: a move of a governed alias is asked for by signature, whoever's account carries
    it out.
    """
    runs = (
        run_of(item)
        for item in of_chain(facts)
        if getattr(item.predicate, "alias", CANDIDATE) == CANDIDATE
    )
    asked = [run.requested_by for run in runs if run]
    claimed = sorted({who.name for who in asked if not who.authenticated})
    if claimed:
        yield notice(About.REQUESTER_NOT_AUTHENTICATED, [], names=claimed)
