"""Builds a report: verifies the log first, then makes every section from verified evidence.

1. Where the log does not verify, the report is its verdict and the first broken item.
2. A report as of a past time reads what was known then (`LogState.as_of`): the entries before the
   first later decision, without those that are dated later.
3. A report as of now has the time of the last event: the last entry, or a later deadline that has
   passed. Its bytes stay the same between two events.
4. Signed reports at the end of the log are not read, because signing a report is no event of the
   version. So signing a report does not change its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import reduce
from typing import Any

from pydantic import BaseModel

from governance.attest.codes import CODES
from governance.attest.predicates import Approval, Packet, Registration
from governance.base.errors import InputError
from governance.base.text import moment, short
from governance.base.time import instant, instant_of
from governance.bundle.check import BundleReport, Completeness
from governance.bundle.sources import Sources
from governance.history.state import LogState
from governance.history.verify import LIMITS, LogReport
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, body_of, parse_checkpoint
from governance.log.evidence import Evidence
from governance.log.sqlite import one_reader
from governance.report import (
    alignment,
    behaviour,
    controls,
    data,
    exceptions,
    front,
    gaps,
    gates,
    history,
    incidents,
    lines,
    outside,
    people,
    readers,
    record,
    rewards,
    scores,
    training,
    verdict,
)
from governance.report.facts import Facts, about, at, gather, last_time
from governance.report.frameworks import catalogue_of
from governance.report.html import generator
from governance.report.model.controls import ControlRow
from governance.report.model.front import NO_ANCHOR, Integrity, Verdict, VerdictWord
from governance.report.model.record import Change, Statement
from governance.report.model.report import EvidenceSections, Report

SIGNED = (
    "Each statement is signed by a key the log's origin or the policies name, and has not changed"
    " since."
)
IN_TREE = "Each is in the tree of the signed checkpoint, at its place."


@one_reader()
def build(
    sources: Sources,
    model: str,
    version: str,
    *,
    as_of: datetime | None = None,
    clock: datetime | None = None,
    page_one: bool = False,
) -> Report:
    """The report of MODEL/VERSION at `as_of`, else at the last event before `clock`, else at the
    last entry. With `page_one`, without what page one never draws.

    Raises `InputError` where a log that verifies has no such version.
    """
    verified = sources.verified
    if verified.broken is not None:
        return _broken(sources, model, version, verified)
    complete, (state, source) = sources.shows_all_of(model), sources.read
    now = settled(until(state, as_of) if as_of is not None else state)
    time = as_of or (_last_event(now, model, version, clock) if clock is not None else None)
    facts = gather(now, sources.project, sources.root, sources.policies, model, version, time)
    facts = replace(facts, complete=complete)
    if as_of is None and sources.registry is not None:  # the registry has no past
        # An unknown model or run concerns every model.
        about = (f"{model}/", f"{model}@", "model ", "run ")
        differing = (each for each in sources.registry if each.subject.startswith(about))
        facts = replace(facts, registry=tuple(differing))
    left_out = [
        f"E{entry.index}: {entry.reason}" for entry in source.left_out() if entry.index < now.size
    ]
    verified = _verified_part(verified, now) if sources.bundle is None else verified
    head = _page_one(facts, verified, left_out)
    if page_one:
        # Each part was validated when it was made. The parts below page one need no validator.
        report = Report.model_construct(**_gates_and_changes(facts), **head)
    else:
        report = Report(**dict(evidence_sections(facts)), **head, **_further(facts, verified))
        report = _with_evidence(report, facts, source.entry)
    if as_of is not None:
        part = f"entries 0..{now.size - 1} without those dated later than {moment(instant(as_of))}"
        report = report.model_copy(update={"reads": f"{part}; all of the log was verified"})
    return _with_bundle_limits(report, sources.bundle, complete)


def _verified_part(verified: LogReport, now: LogState) -> LogReport:
    """The verification result for the entries that were read, with a proof that the log grew
    from them.
    """
    leaf, proof = (
        now.log.entry(now.size - 1).leaf_hash,
        now.log.inclusion_proof(now.size - 1, now.size),
    )
    root = reduce(lambda right, left: merkle.node_hash(left, right), proof, leaf)
    growth = now.log.consistency_proof(now.size, verified.entries)
    merkle.verify_consistency(
        now.size, verified.entries, root, bytes.fromhex(verified.root), growth
    )
    head = Checkpoint(parse_checkpoint(verified.checkpoint)[0].origin, now.size, root)
    return replace(verified, entries=now.size, root=root.hex(), checkpoint=body_of(head))


def _with_bundle_limits(report: Report, bundle: BundleReport | None, complete: bool) -> Report:
    """Adds what a bundle shows of its log, and what it cannot show."""
    if bundle is None:
        return report
    log_range, reads = f"0..{bundle.size - 1}", "all of it, from a bundle"
    part = report.readers
    if bundle.completeness is not Completeness.WHOLE:
        part = readers.without_reads(part)
        metrics = [each.model_copy(update={"models_scored": None}) for each in report.metrics]
        report = report.model_copy(update={"metrics": metrics})
        log_range = f"{bundle.entries} of {log_range}"
        reads = f"the {bundle.entries} entries that a bundle carries of {bundle.size}"
        whether = "all that concern the model" if complete else "COMPLETENESS NOT SHOWN"
        reads += f"; {whether}"
    shown = {"shows": [SIGNED, IN_TREE], "does_not_show": list(bundle.limits), "complete": complete}
    integrity = report.integrity.model_copy(update=shown)
    return report.model_copy(
        update={
            "integrity": integrity,
            "log_range": log_range,
            "reads": reads,
            "readers": part,
        }
    )


def until(now: LogState, moment: datetime) -> LogState:
    """(2) The log as of a time. Raises `InputError` where it began later."""
    then = now.as_of(moment)
    known = then.evidence.all()
    if not known:
        raise InputError(
            f"the log begins later than {moment:%Y-%m-%dT%H:%M:%SZ}", where=now.log.where
        )
    return then.cut(known[-1].index + 1)  # what is added later changes no byte


def settled(now: LogState) -> LogState:
    """(4) The log without the signed reports at its end."""
    signed, end = {entry.index for entry in now.log.by_kind(["report"])}, now.size
    while end - 1 in signed:
        end -= 1
    return now.cut(end)


def between(sources: Sources, old: tuple[str, str], new: tuple[str, str]) -> list[Change]:
    """The differences between two versions. Raises `InputError` for an unknown version."""
    now, _ = sources.read
    both = (
        gather(now, sources.project, sources.root, sources.policies, *name) for name in (old, new)
    )
    return history.differences(*map(history.portrait, both))


def latest(sources: Sources) -> tuple[str, str]:
    """The model and version registered last. Raises `InputError` where nothing was registered."""
    registrations = [
        statement.predicate for statement in sources.read[0].evidence.all(Registration)
    ]
    if not registrations:
        raise InputError(
            "nothing is registered yet",
            fix="`make repro` registers the stage that params.yaml releases",
        )
    return registrations[-1].model, registrations[-1].version


def _last_event(now: LogState, model: str, version: str, clock: datetime) -> datetime:
    """(3) The time of the last entry, or of the last deadline since then that has passed."""
    last, registered = last_time(now), now.timeline.registrations.get((model, version))
    if registered is None:
        return last
    deadlines = _deadlines(now, model, registered.predicate.model_digest, clock)
    return max((deadline for deadline in deadlines if last < deadline <= clock), default=last)


def _deadlines(now: LogState, model: str, digest: str, clock: datetime) -> Iterator[datetime]:
    """The deadlines of a version: requests, waivers, approvals, second signatures, keys, data,
    legal clocks and reviews.
    """
    timeline, policies = now.timeline, now.authority.in_force.policies
    packets = [packet.subjects[0].sha256 for packet in now.evidence.by_subject(digest, Packet)]
    approvals = [
        approval for packet in packets for approval in now.evidence.by_subject(packet, Approval)
    ]
    signed: list[Evidence[Any]] = [*timeline.open_requests(model), *approvals]
    for (name, *_), waivers in timeline.waivers.items():
        signed += waivers if name == model else []
    ends = [statement.predicate.expires for statement in signed]
    ends += [move.predicate.second_signature_by for move in timeline.governed_moves_of(digest)]
    yield from (instant_of(end) for end in ends if end)
    for legal in timeline.clocks(clock):
        if legal.model == model and legal.due is not None:
            yield legal.due
    for review in timeline.reviews(clock):
        if review.model == model:
            yield from filter(None, (review.late, review.lapses))
    if policies is None:
        return
    people = (policies.principals.get(approval.keyid) for approval in approvals)
    days = [person.until for person in people if person is not None]
    days += [card.retention.until for card in policies.datacards.values()]
    for last_day in filter(None, days):
        yield datetime.combine(last_day + timedelta(days=1), time(0), UTC)


def _page_one(facts: Facts, verified: LogReport, left_out: list[str]) -> dict[str, Any]:
    """The fields of the report that page one is drawn from, besides those of
    `_gates_and_changes`.
    """
    return {
        "generator": generator(),
        "project": facts.project,
        "model": facts.registration.model,
        "version": facts.registration.version,
        "digest": facts.digest,
        "as_of": facts.as_of,
        "log_range": f"0..{verified.entries - 1}",
        "entries_read": facts.now.size,
        "verdict": verdict.verdict(facts),
        "use": front.use(facts),
        "exceptions": exceptions.exceptions(facts, left_out, verified.origin),
        "people": people.people(facts),
        "separation": people.separation(facts),
        "integrity": _integrity(facts, verified),
        "way_back": front.way_back(facts),
        "holds": front.holds(facts),
        "open": front.open_items(facts),
        "decisions": record.decisions(facts),
        "incidents": incidents.incidents(facts),
    }


def _further(facts: Facts, verified: LogReport) -> dict[str, Any]:
    """The fields of the report that stand below page one, besides those of `evidence_sections`."""
    nodes, edges = lines.lineage(facts)
    mapped, warnings = _controls(facts, verified)
    return {
        "waivers": exceptions.waivers(facts),
        "gaps": gaps.gaps(facts),
        "policy": gaps.policy(facts),
        "controls": mapped,
        "control_warnings": warnings,
        "clocks": incidents.clocks(facts),
        "interventions": incidents.interventions(facts),
        "signed_reports": record.signed_reports(facts),
        "readers": readers.readers(facts),
        "bases": training.bases(facts),
        "trainings": training.trainings(facts),
        "nodes": nodes,
        "edges": edges,
        "files": facts.registration.files,
    }


def evidence_sections(facts: Facts) -> EvidenceSections:
    """Gates, data, scores and changes of a version: the report and the review page show them.

    Findings and waivers come from `facts.again`: a review passes the decision of its packet there.
    """
    return EvidenceSections(
        **_gates_and_changes(facts),
        unchanged=history.unchanged(facts),
        datasets=data.datasets(facts),
        thresholds_fixed=scores.thresholds_fixed(facts).text,
        alignment=alignment.alignment_tax(facts),
        metrics=scores.metrics(facts),
        behaviour=behaviour.of_version(facts),
        stage_gains=behaviour.stage_gains(facts),
        reward_models=behaviour.reward_models(facts),
        rewards=rewards.rewards(facts),
        outside=outside.outside(facts),
    )


def _gates_and_changes(facts: Facts) -> dict[str, Any]:
    """The part of the evidence sections that page one is drawn from."""
    since, changes = history.changes(facts)
    return {
        "confidence": scores.confidence(facts),
        "gates": gates.gates(facts),
        "change_since": since,
        "changes": changes,
    }


def _controls(facts: Facts, verified: LogReport) -> tuple[list[ControlRow], list[str]]:
    """Every control of the policies' catalogue, assessed on this version's records at the
    report's time.
    """
    if facts.policies is None:
        return [], [facts.policies_note]
    catalogue = catalogue_of(facts.policies).find()
    assessed = controls.assess(facts, verified, catalogue, facts.time.date())
    return assessed.controls, assessed.warnings


def _with_evidence(report: Report, facts: Facts, seen: Callable[[int], Evidence | None]) -> Report:
    """Adds every entry that a section refers to, and the keys that signed them."""
    named = set(references(report)) | {statement.index for statement in facts.rests_on()}
    named |= {statement.index for statement in facts.of("origin", "policy")}
    cited = [statement for index in sorted(named) if (statement := seen(index)) is not None]
    changes = {
        "evidence": [_statement(facts, statement) for statement in cited],
        "meanings": _meanings(facts, report),
    }
    return report.model_copy(update=changes)


def _meanings(facts: Facts, report: Report) -> dict[str, str]:
    """Every finding code that the report names, with its meaning."""
    codes = {str(value) for _, value in _leaves(report)}
    codes |= {finding.code for move in facts.promotions for finding in move.predicate.findings}
    if facts.again is not None:
        codes |= {finding.code for finding in (*facts.again.findings, *facts.again.waived)}
    return {code: CODES[code].title for code in sorted(codes & CODES.keys())}


def references(model: BaseModel) -> Iterator[int]:
    """Every entry number in a field of evidence references, anywhere in the report."""
    leaves = _leaves(model)
    return (value for name, value in leaves if name.endswith("evidence") and type(value) is int)


def _leaves(value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value in the report, with the name of its field."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), name)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, field)
    else:
        yield field, value


def _statement(facts: Facts, statement: Evidence) -> Statement:
    return Statement(
        index=statement.index,
        kind=statement.kind,
        about=about(statement),
        digest=statement.digest,
        subjects=[f"{subject.role} {short(subject.sha256)}" for subject in statement.subjects],
        key=statement.keyid,
        signer=people.name_of(facts, statement),
        at=at(statement),
    )


def _integrity(facts: Facts, verified: LogReport) -> Integrity:
    registry = "not compared: no registry at hand, or a past time"
    if facts.registry is not None:
        count = len(facts.registry)
        registry = f"differs from the log in {count} places" if count else "agrees with the log"
    links = [node.known for node in facts.chain] + [
        chain.broken_at is None for chain, _ in facts.datasets
    ]
    return Integrity(
        verified=True,
        entries=verified.entries,
        root=verified.root,
        origin=f"{verified.first}, "
        + (f"established by {verified.origin}" if verified.origin else "not established"),
        tree_head=verified.checkpoint.partition("\n\n")[0].strip(),
        anchor=_anchor(verified),
        signatures=f"{verified.entries} of {verified.entries} valid",
        evidence_present=f"{sum(links)} of {len(links)} models and datasets of the chain",
        registry=registry,
        shows=[
            SIGNED,
            "No entry was taken out, put in between or reordered since the checkpoint was signed.",
        ],
        does_not_show=list(LIMITS),
    )


def _anchor(verified: LogReport) -> str:
    """What witnesses outside the operator have seen of the log."""
    seen = [
        f"{one.witness} cosigned {one.size} entries at {moment(one.at)}"
        for one in verified.witnessed
    ]
    return "; ".join(seen) or NO_ANCHOR


def _broken(sources: Sources, model: str, version: str, verified: LogReport) -> Report:
    """The report of a log that does not verify: the verdict and the first broken item."""
    broken = verified.broken or "the log"
    word: VerdictWord = "EVIDENCE DOES NOT VERIFY"
    return Report(
        generator=generator(),
        project=sources.project,
        model=model,
        version=version,
        as_of="not established",
        log_range=f"0..{max(verified.entries - 1, 0)} verified before the first broken item",
        entries_read=0,
        reads="nothing of it is used",
        verdict=Verdict(word=word, reason=broken, alias=None, decided="nothing is decided on it"),
        integrity=Integrity(
            verified=False,
            first_broken=broken,
            entries=verified.entries,
            shows=["Something in the log was changed, or was added without the log's key."],
            does_not_show=[
                "Who changed it, when, and what else is affected. Compare with a checkpoint or a"
                " copy kept elsewhere."
            ],
        ),
        confidence=scores.CONFIDENCE,
    )
