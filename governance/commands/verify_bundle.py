"""`countersign verify FILE`: a bundle, on any machine: no log, no server, no project folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.base.text import visible
from governance.bundle.check import verify_bundle
from governance.bundle.form import content
from governance.bundle.result import BundledFile, BundleReport
from governance.history.verify import TrustAnchors
from governance.release.retrospect import SAME

ORIGIN = "COUNTERSIGN_ORIGIN"
SHOWN = 20
"""Entries printed of a kind; --json has all."""


def verified(path: Path, pins: TrustAnchors) -> BundleReport:
    """What verification of a file finds. Raises `InputError` where it cannot be read."""
    return verify_bundle(content(path), pins, where=path.name)


def document(report: BundleReport) -> dict[str, Any]:
    """The result as JSON."""
    found = dataclasses.asdict(report)
    return {
        "verified": report.ok,
        "verdict": verdict(report),
        "complete": report.complete,
        "bundle": found,
    }


def verdict(report: BundleReport) -> str:
    """One line."""
    if report.broken is not None:
        return f"EVIDENCE DOES NOT VERIFY: {report.broken}"
    if report.origin is None:
        return (
            "INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED: nothing here shows that this is the"
            f" log you mean; give --origin (or {ORIGIN}), or --checkpoint with one kept elsewhere"
        )
    return "EVIDENCE VERIFIES"


def lines(report: BundleReport) -> list[str]:
    """For people: verdict first, then what it rests on, then what it does not show."""
    if report.broken is not None:
        return [_shown(verdict(report))]
    shown = [_shown(line) for line in _lines(report)]
    return [
        verdict(report),
        "",
        *shown,
        "",
        "What this does not show:",
        *(f"- {limit}" for limit in report.limits),
    ]


def _lines(report: BundleReport) -> Iterator[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    yield f"version    {report.model}/{report.version}, sha256 {report.model_digest}"
    yield (
        f"log        {report.project}: {report.entries} of {report.size} entries, each proven"
        f" ({kinds})"
    )
    yield f"root       {report.root}, signed by key {report.checkpoint_key[:16]}"
    yield f"origin     {report.first}, " + (
        f"established by {report.origin}" if report.origin else "not established"
    )
    if report.grown_from is not None:
        yield f"growth     holds the {report.grown_from} entries of the older checkpoint, unchanged"
    yield f"signers    {', '.join(f'{name} {count}' for name, count in report.signers.items())}"
    signers = ", ".join(report.policy_signed_by) or "nobody: they permit no governed alias"
    yield f"policies   {report.policy}, signed by {signers}"
    yield f"rests on   {report.statements} statements, all here"
    yield from _people(report)
    for move in report.moves[-SHOWN:]:
        word = "allowed" if move.allowed else "refused"
        about = f"{move.action} {report.model}/{move.version} as {move.alias}"
        again = "made again, it comes out the same" if move.again == SAME else move.again
        yield f"decision   entry {move.entry}: {about}: {word}; {again}"
    for one in report.aside[:SHOWN]:
        yield f"set aside  entry {one.entry}, {one.kind}: {one.reason}"
    for file in report.files:
        yield f"file       {file.name}, sha256 {file.sha256}: {_named(file)}"
    for page in report.pages_missing:
        yield f"file       the review page {page} that was approved is not here"


def _named(file: BundledFile) -> str:
    """By which statements."""
    told = [f"shown to {', '.join(file.shown_to)}"] if file.shown_to else []
    told += [f"a report that {', '.join(file.signed_by)} signed"] if file.signed_by else []
    return "; ".join(told) or "attached; no statement here names it"


def _people(report: BundleReport) -> Iterator[str]:
    if report.packet is None:
        yield "packet     none: nobody was asked to approve it"
        return
    state = (
        f"OUT OF DATE: changed: {', '.join(report.packet_changed)}"
        if report.packet_changed
        else "stands"
    )
    yield f"packet     {report.packet} (entry {report.packet_entry}): {state}"
    people = ", ".join(f"{name} as {role}" for name, role in report.counted) or "none"
    enough = "" if len(report.counted) >= report.approvals_wanted else ": TOO FEW"
    yield (
        f"approvals  {len(report.counted)} of {report.approvals_wanted} count, as of"
        f" {report.as_of}{enough}: {people}"
    )
    for vote in report.votes:
        if vote.decision == "reject":
            yield f"REJECTED   entry {vote.entry}: by {vote.name} as {vote.role}"
    for reason in report.not_counted:
        yield f"           {reason}"


def _shown(line: str) -> str:
    """One line, whatever a statement says."""
    return visible(" ".join(line.splitlines()))
