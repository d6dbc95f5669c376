"""Puts a report together: verify first, then every section from what verified.

Where the log does not verify, nothing of it is used: the report is its verdict and the first broken item.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from governance.errors import CountersignError, InputError, StorageError
from governance.evidence import Evidence, LogEvidence, key_ring
from governance.log.port import Log
from governance.machine import Machine, log_of, own_checkpoint_key
from governance.policy import Policies
from governance.report import data, exceptions, front, gates, history, lines, scores, training
from governance.report.facts import PREFIX, Facts, about, at, gather, of_chain, registered
from governance.report.model import FORMAT, Integrity, Key, Report, Statement, Use, Verdict
from governance.report.text import short, size
from governance.verify import LIMITS, Pins, verify_log
from governance.verify import Report as Verified

ANCHOR = "none: no checkpoint outside this machine is recorded"
NOT_USED = "not established: the log does not verify"


@dataclass(frozen=True)
class Sources:
    """What a report is made from."""

    root: Path
    """The project's folder: files and policies at hand."""
    project: str
    log: Log
    policies: Policies | CountersignError
    """Those at hand, or why they cannot be read."""
    checkpoint_key: str | None
    """The key (PEM) by which this machine knows the log; None where it does not."""


def open_sources(root: Path, machine: Machine, policies: Policies | CountersignError) -> Sources:
    """The sources on this machine. Raises `StorageError` where there is no log. Whether it verifies, `build` says."""
    log = log_of(machine)
    if log.size() == 0:
        raise StorageError(
            "there is no log yet, so there is nothing to report",
            where=log.where,
            fix="run `make repro`, or set COUNTERSIGN_HOME or COUNTERSIGN_LOG to where the log is",
        )
    return Sources(root, machine.project, log, policies, own_checkpoint_key(machine))


def build(sources: Sources, model: str, version: str) -> Report:
    """The report of MODEL/VERSION. Raises `InputError` where a log that verifies has no such version."""
    service: Mapping[str, str] = {} if isinstance(sources.policies, CountersignError) else sources.policies.keys
    verified = verify_log(sources.log, sources.project, service, Pins(checkpoint_key=sources.checkpoint_key))
    if verified.broken is not None:
        return _broken(sources, model, version, verified)
    view = LogEvidence(sources.log, key_ring(sources.log, service))
    facts = gather(view, sources.project, sources.root, sources.policies, model, version)
    left_out = [f"E{item.index}: {item.reason}" for item in view.left_out()]
    return _complete(_report(facts, verified, left_out), facts)


def latest(sources: Sources) -> tuple[str, str]:
    """Model and version that were registered last. Raises `InputError` where nothing was."""
    service: Mapping[str, str] = {} if isinstance(sources.policies, CountersignError) else sources.policies.keys
    view = LogEvidence(sources.log, key_ring(sources.log, service))
    found = [registered(item) for item in view.all("registration")]
    if not found:
        raise InputError("nothing is registered yet", fix="`make repro` registers the stage that params.yaml releases")
    return found[-1].model, found[-1].version


def _report(facts: Facts, verified: Verified, left_out: list[str]) -> Report:
    since, changed = history.changes(facts)
    nodes, edges = lines.lineage(facts)
    return Report(
        format=FORMAT,
        generator=_generator(),
        project=facts.project,
        model=facts.registration.model,
        version=facts.registration.version,
        digest=facts.digest,
        as_of=facts.as_of,
        log_range=f"0..{verified.entries - 1}",
        verdict=front.verdict(facts),
        use=front.use(facts),
        exceptions=exceptions.exceptions(facts, left_out, verified.origin),
        gates=gates.gates(facts),
        people=front.people(facts),
        separation=front.separation(facts),
        integrity=_integrity(facts, verified),
        change_since=since,
        changes=changed,
        way_back=front.way_back(facts),
        open=front.open_items(facts),
        not_covered=list(front.NOT_COVERED),
        records=history.records(facts),
        decisions=history.decisions(facts),
        datasets=data.datasets(facts),
        beside=data.beside(facts),
        bases=training.bases(facts),
        trainings=training.trainings(facts),
        confidence=scores.confidence(facts),
        thresholds_fixed=scores.thresholds_fixed(facts),
        metrics=scores.metrics(facts),
        nodes=nodes,
        edges=edges,
        files=[f"{file.path} ({size(file.size)}, sha256 {short(file.sha256)})" for file in facts.registration.files],
        keys=[],
        evidence=[],
    )


def _complete(report: Report, facts: Facts) -> Report:
    """With every entry that some section refers to, and the keys that signed them."""
    named = set(_references(report)) | {item.index for item in of_chain(facts)}
    cited = [item for item in facts.everything if item.index in named or item.kind in ("origin", "policy")]
    keys = [_key(keyid, cited) for keyid in dict.fromkeys(item.keyid for item in cited)]
    return report.model_copy(update={"evidence": [_statement(item) for item in cited], "keys": keys})


def _references(value: Any) -> Iterator[int]:
    """Every entry number in a field of evidence references, anywhere in the report."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            field = getattr(value, name)
            if name.endswith("evidence") and all(isinstance(item, int) for item in field):
                yield from field
            else:
                yield from _references(field)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _statement(item: Evidence) -> Statement:
    return Statement(
        index=item.index,
        kind=item.kind,
        about=about(item),
        digest=item.digest,
        subjects=[f"{subject.role} {short(subject.sha256)}" for subject in item.subjects],
        key=item.keyid[:PREFIX],
        signer="development key" if item.development else "named by policies",
        at=at(item),
    )


def _key(keyid: str, cited: list[Evidence]) -> Key:
    signed = [item for item in cited if item.keyid == keyid]
    owner = "nobody named: a development key" if signed[0].development else "a principal that policies name"
    return Key(keyid=keyid, owner=owner, signed=len(signed), kinds=sorted({item.kind for item in signed}))


def _integrity(facts: Facts, verified: Verified) -> Integrity:
    links = [node.known for node in facts.chain] + [chain.broken_at is None for chain, _ in facts.datasets]
    return Integrity(
        verified=True,
        first_broken="none",
        entries=verified.entries,
        root=verified.root,
        origin=f"{verified.first}, " + (f"established by {verified.origin}" if verified.origin else "not established"),
        checkpoint=verified.checkpoint,
        anchor=ANCHOR,
        signatures=f"{verified.entries} of {verified.entries} valid",
        evidence_present=f"{sum(links)} of {len(links)} models and datasets of the chain",
        clock="the machine's own; order is by place in the log, not by clock",
        shows=[
            "Each statement is signed by a key the log's origin or the policies name, and has not changed since.",
            "No entry was taken out, put in between or reordered since the checkpoint was signed.",
        ],
        does_not_show=list(LIMITS),
    )


def _broken(sources: Sources, model: str, version: str, verified: Verified) -> Report:
    """Verdict and first broken item; every other section says that nothing was used."""
    broken = verified.broken or ""
    nothing = "nothing: what does not verify permits nothing"
    return Report(
        format=FORMAT,
        generator=_generator(),
        project=sources.project,
        model=model,
        version=version,
        digest=NOT_USED,
        as_of="not established",
        log_range=f"0..{max(verified.entries - 1, 0)} verified before the first broken item",
        verdict=Verdict(
            word="EVIDENCE DOES NOT VERIFY",
            reason=broken,
            alias="none",
            decided="nothing is decided on it",
            evidence=[],
        ),
        use=Use(
            approved_for=[nothing],
            not_approved_for=["any use"],
            tier=NOT_USED,
            tier_demands=[NOT_USED],
            review_by="now",
        ),
        exceptions=[],
        gates=[],
        people=[],
        separation=NOT_USED,
        integrity=Integrity(
            verified=False,
            first_broken=broken,
            entries=verified.entries,
            root=NOT_USED,
            origin=NOT_USED,
            checkpoint="none",
            anchor=ANCHOR,
            signatures=NOT_USED,
            evidence_present=NOT_USED,
            clock=NOT_USED,
            shows=["Something that was logged is no longer what it was, or was put there without its key."],
            does_not_show=[
                "Who did it, when, and what else is affected: compare with a checkpoint or copy kept elsewhere."
            ],
        ),
        change_since=NOT_USED,
        changes=[],
        way_back=NOT_USED,
        open=[],
        not_covered=list(front.NOT_COVERED),
        records=[],
        decisions=[],
        datasets=[],
        beside=[],
        bases=[],
        trainings=[],
        confidence=scores.CONFIDENCE,
        thresholds_fixed=NOT_USED,
        metrics=[],
        nodes=[],
        edges=[],
        files=[],
        keys=[],
        evidence=[],
    )


def _generator() -> str:
    try:
        return f"countersign {importlib.metadata.version('countersign')}"
    except importlib.metadata.PackageNotFoundError:
        return "countersign, version not recorded"
