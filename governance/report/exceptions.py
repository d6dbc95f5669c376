"""Page one's exceptions that no person accepted and that contradict nothing, and are still to be
known.
"""

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
        accepted_by="nobody; no waiver of it is recorded",
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
            f"{len(development)} of {len(items)} statements are signed by keys made on a machine"
            " without ceremony: good for candidate only"
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
            "record ids are made with the fixed public key: whoever guesses a record can confirm"
            " that it is in"
        )
        found.append(_notice("Development record key", detail, [item.index for item in keyed][:3]))
    return found


def _keys_ended(facts: Facts) -> Iterator[Notice]:
    """An approval by a key that was revoked since: it counts, and why the key was ended is for the
    reader to ask.
    """
    for name, role, item in facts.standing.approvers if facts.standing else ():
        ended = facts.now.authority.revoked.get(item.keyid) if facts.now else None
        if ended is not None:
            detail = (
                f"the key by which {name} as {role} approved in E{item.index} was revoked later, in"
                f" E{ended}"
            )
            yield _notice(
                "An approver's key was revoked",
                f"{detail}; what it signed before still counts",
                [ended],
            )


def _unestablished(facts: Facts, left_out: list[str], origin: str | None) -> list[Notice]:
    found = []
    if origin is None:
        detail = (
            "the log is consistent in itself; nothing here establishes that it is the log you mean"
        )
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
        f"{len(items)} statements were made with code, parameters or policies that are not"
        " committed" + (f" ({outside} outside any git work tree)" if outside else "")
    )
    return [_notice("Uncommitted code", detail, sorted(items)[:3])]


def _engines(facts: Facts) -> list[Notice]:
    scans = [c.scan for c, _ in facts.datasets if c.scan and isinstance(c.scan.predicate, Scan)]
    low = [item for item in scans if item.predicate.engine.get("ner") == LOW_ASSURANCE]
    if not low:
        return []
    names = [recall["PERSON"] for recall in (_recall(item) for item in low) if "PERSON" in recall]
    least = min(names, key=lambda one: one.found / one.planted, default=None)
    found = f": of {least.planted} made-up names, {least.found} were found" if least else ""
    detail = (
        f"people and places are found by lists and patterns, not by a model{found}; section Data"
        " says more"
    )
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
    detail = (
        f"{total:,} of {read:,} records read were left out, each with its reason (section Data)"
    )
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
    """Whose account the server runs under is no matter: a move of a governed alias is asked for by
    signature.
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
            f"as the operating system says: {', '.join(claimed)}",
            [],
        )
    ]
