"""`countersign verify FILE`: a bundle, on any machine, without log, server or project."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.base.text import visible
from governance.bundle.check import verify_bundle
from governance.bundle.form import content
from governance.bundle.result import BundleReport
from governance.history.verify import TrustAnchors
from governance.release.retrospect import SAME

ORIGIN = "COUNTERSIGN_ORIGIN"
SHOWN = 20
"""Entries printed of a kind; --json has all."""


def verified(path: Path, anchors: TrustAnchors) -> BundleReport:
    """The result of verifying a file. Raises `InputError` if it cannot be read."""
    return verify_bundle(content(path), anchors, where=path.name)


def document(report: BundleReport) -> dict[str, Any]:
    """The result as JSON."""
    return {
        "verified": report.ok,
        "verdict": headline(report),
        "complete": report.complete,
        "bundle": dataclasses.asdict(report),
    }


def headline(report: BundleReport) -> str:
    """The result in one line."""
    if report.broken is not None:
        return f"EVIDENCE DOES NOT VERIFY: {report.broken}"
    if report.origin is None:
        return (
            "INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED: nothing shows that this is the log you"
            f" mean; give --origin (or {ORIGIN}), or --checkpoint with one kept elsewhere"
        )
    return "EVIDENCE VERIFIES"


def lines(report: BundleReport) -> list[str]:
    """The result for people: verdict first, then what it rests on, then what it does not show."""
    if report.broken is not None:
        return [_one_line(headline(report))]
    rows = [*_log(report), *_people(report), *_moves(report), *_files(report)]
    shown = [_one_line(f"{name:<10} {value}") for name, value in rows]
    limits = [f"- {limit}" for limit in report.limits]
    return [headline(report), "", *shown, "", "What this does not show:", *limits]


Row = tuple[str, str]


def _log(report: BundleReport) -> Iterator[Row]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    established = f"established by {report.origin}" if report.origin else "not established"
    signers = ", ".join(report.policy_signed_by) or "nobody: they permit no governed alias"
    yield "version", f"{report.model}/{report.version}, sha256 {report.model_digest}"
    count = f"{report.entries} of {report.size} entries, all proven"
    yield "log", f"{report.project}: {count} ({kinds})"
    yield "root", f"{report.root}, signed by key {report.checkpoint_key[:16]}"
    yield "origin", f"{report.first}, {established}"
    if report.grown_from is not None:
        yield "growth", f"contains the older checkpoint's {report.grown_from} entries"
    yield "signers", ", ".join(f"{name} {count}" for name, count in report.signers.items())
    yield "policies", f"{report.policy}, signed by {signers}"
    yield "rests on", f"{report.statements} statements, all in the bundle"


def _people(report: BundleReport) -> Iterator[Row]:
    if report.packet is None:
        yield "packet", "none: nobody was asked to approve this version"
        return
    changed = ", ".join(report.packet_changed)
    state = f"OUT OF DATE, changed: {changed}" if changed else "up to date"
    yield "packet", f"{report.packet} (entry {report.packet_entry}): {state}"
    people = ", ".join(f"{name} as {role}" for name, role in report.counted) or "none"
    enough = "" if len(report.counted) >= report.approvals_wanted else ": TOO FEW"
    count = f"{len(report.counted)} of {report.approvals_wanted} count"
    yield "approvals", f"{count}, as of {report.as_of}{enough}: {people}"
    for vote in report.votes:
        if vote.decision == "reject":
            yield "REJECTED", f"entry {vote.entry}: by {vote.name} as {vote.role}"
    for reason in report.not_counted:
        yield "", reason


def _moves(report: BundleReport) -> Iterator[Row]:
    for move in report.moves[-SHOWN:]:
        result = "allowed" if move.allowed else "refused"
        again = "re-run with the same result" if move.again == SAME else move.again
        move_text = f"{move.action} {report.model}/{move.version} as {move.alias}"
        yield "decision", f"entry {move.entry}: {move_text}: {result}; {again}"
    for statement in report.aside[:SHOWN]:
        yield "set aside", f"entry {statement.entry}, {statement.kind}: {statement.reason}"


def _files(report: BundleReport) -> Iterator[Row]:
    for file in report.files:
        uses = [f"shown to {', '.join(file.shown_to)}"] if file.shown_to else []
        uses += [f"a report signed by {', '.join(file.signed_by)}"] if file.signed_by else []
        use = "; ".join(uses) or "attached; no statement names it"
        yield "file", f"{file.name}, sha256 {file.sha256}: {use}"
    for page in report.pages_missing:
        yield "file", f"the approved review page {page} is not in the bundle"


def _one_line(text: str) -> str:
    """One line, whatever a statement contains."""
    return visible(" ".join(text.splitlines()))
