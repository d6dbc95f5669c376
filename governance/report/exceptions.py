"""Notes of page one: what a reader has to know though no rule is broken."""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import CANDIDATE, Planted, Predicate, Scan
from governance.history.lineage import evaluated
from governance.log.evidence import Evidence
from governance.report.data import LOW_ASSURANCE
from governance.report.facts import Facts, of_chain, run_of
from governance.report.model import Notice


def exceptions(facts: Facts, left_out: list[str], origin: str | None) -> list[Notice]:
    """What a reader has to know before any good news."""
    found = [
        *_keys(facts),
        *_unestablished(facts, left_out, origin),
        *_code(facts),
        *_engines(facts),
    ]
    found += [
        *_left_out_records(facts),
        *_not_run(facts),
        *_people_missing(facts),
        *_keys_ended(facts),
    ]
    return found


def _notice(title: str, detail: str, refs: list[int], expires: str = "no expiry") -> Notice:
    return Notice(
        kind="note",
        title=title,
        detail=detail,
        accepted_by="nobody; no waiver is recorded",
        control="none",
        expires=expires,
        evidence=refs,
    )


def _keys(facts: Facts) -> list[Notice]:
    items = list({item.index: item for item in of_chain(facts)}.values())
    development = [item for item in items if item.development]
    found = []
    if development:
        detail = (
            f"{len(development)} of {len(items)} statements carry automatic test keys; enough for"
            " testing only"
        )
        found.append(
            _notice("Development keys", detail, sorted({item.index for item in development})[:3])
        )
    keyed = [
        c.ingest
        for c, _ in facts.datasets
        if c.ingest and c.ingest.predicate.record_key == "development"
    ]
    if keyed:
        detail = (
            "record ids use a public test key: anyone who has a text can test whether it is in the"
            " data"
        )
        found.append(_notice("Development record key", detail, [item.index for item in keyed][:3]))
    return found


def _keys_ended(facts: Facts) -> Iterator[Notice]:
    """An approval by a key that was revoked later. It counts; the reader should ask why the key was
    revoked.
    """
    for name, role, item in facts.standing.approvers if facts.standing else ():
        ended = facts.now.authority.revoked.get(item.keyid) if facts.now else None
        if ended is not None:
            detail = (
                f"{name} approved as {role} in E{item.index} with a key that was revoked in"
                f" E{ended}"
            )
            yield _notice(
                "An approver's key was revoked",
                f"{detail}; its earlier signatures still count",
                [ended],
            )


def _unestablished(facts: Facts, left_out: list[str], origin: str | None) -> list[Notice]:
    found = []
    if origin is None:
        detail = "the log is consistent; give its origin to show that it is the right log"
        found.append(_notice("Origin not established", detail, [0]))
    if left_out:
        detail = f"{len(left_out)} entries do not count: {'; '.join(left_out[:3])}"
        found.append(_notice("Statements left out", detail, []))
    if facts.policies is None:
        found.append(_notice("Policies not at hand", facts.policies_note, []))
    return found


def _code(facts: Facts) -> list[Notice]:
    items = {
        item.index: item
        for item in of_chain(facts)
        if isinstance(item.predicate, Predicate) and item.predicate.code.dirty
    }
    if not items:
        return []
    outside = sum(item.predicate.code.commit is None for item in items.values())
    detail = (
        f"{len(items)} statements come from code, parameters or policies that are not committed"
        + (f" ({outside} from outside any git work tree)" if outside else "")
    )
    return [_notice("Uncommitted code", detail, sorted(items)[:3])]


def _engines(facts: Facts) -> list[Notice]:
    scans = [c.scan for c, _ in facts.datasets if c.scan and isinstance(c.scan.predicate, Scan)]
    low = [item for item in scans if item.predicate.engine.get("ner") == LOW_ASSURANCE]
    if not low:
        return []
    names = [recall["PERSON"] for recall in (_recall(item) for item in low) if "PERSON" in recall]
    least = min(names, key=lambda one: one.found / one.planted, default=None)
    found = f"; {least.found} of {least.planted} planted names found" if least else ""
    detail = f"lists and patterns search for people and places, not a model{found} (section Data)"
    return [
        _notice("Low-assurance search for personal data", detail, [item.index for item in low][:3])
    ]


def _recall(scan: Evidence) -> dict[str, Planted]:
    return scan.predicate.recall.entities if scan.predicate.recall else {}


def _left_out_records(facts: Facts) -> list[Notice]:
    items = [
        item
        for c, _ in facts.datasets
        for item in (c.ingest, c.scan, c.quality)
        if item and item.predicate.counts.excluded
    ]
    total = sum(sum(item.predicate.counts.excluded.values()) for item in items)
    if not total:
        return []
    read = sum(c.ingest.predicate.counts.records_in for c, _ in facts.datasets if c.ingest)
    detail = f"{total:,} of {read:,} records left out, each with its reason (section Data)"
    return [_notice("Records left out", detail, [item.index for item in items][:3])]


def _not_run(facts: Facts) -> list[Notice]:
    skipped = []
    for node in facts.chain:
        for suite in facts.suites:
            item = facts.evaluation(node, suite)
            if item and evaluated(item).not_run is not None:
                skipped.append(
                    (item.index, f"{node.name} on {suite.name}: {evaluated(item).not_run}")
                )
    detail = "privacy leakage" + "".join(f"; {text}" for _, text in skipped)
    return [_notice("Not run", detail, [index for index, _ in skipped][:3])]


def _people_missing(facts: Facts) -> list[Notice]:
    """Runs whose starter is not proven. The server's account does not matter: requests are
    signed by people.
    """
    runs = (
        run_of(item)
        for item in of_chain(facts)
        if getattr(item.predicate, "alias", CANDIDATE) == CANDIDATE
    )
    asked = [run.requested_by for run in runs if run]
    claimed = sorted({who.name for who in asked if not who.authenticated})
    if not claimed:
        return []
    return [
        _notice(
            "Nobody authenticated asked for the runs",
            f"who started the runs is not proven (operating-system account: {', '.join(claimed)})",
            [],
        )
    ]
