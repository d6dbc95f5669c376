"""A report's sections as text for a terminal, each one or two of a reviewer's questions; `--json`
is the report's own.

Drawn from the report alone, so that a section says what the page says. What could repaint a
terminal is made visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.base.text import moment, one_line, plain, renewed, share, short, signed, words
from governance.report.gates import is_safety
from governance.report.html import json_twin
from governance.report.model import DataStep, Decision, Gate, Metric, Report

Lines = Iterator[str]
WIDTH = 15
"""Of the names on the left."""


@dataclass(frozen=True)
class Section:
    """One section: what it answers, which fields of the report it is, and how it is told."""

    question: str
    fields: tuple[str, ...]
    told: Callable[[Report], Lines]


def text(report: Report, name: str) -> list[str]:
    """A section for people: the verdict, then what it says. Of a log that does not verify nothing
    else is told.
    """
    head = f"{report.model}/{report.version}: {report.verdict.word}"
    if not report.integrity.verified:
        return [
            one_line(one) for one in (head, _pair("first broken", report.integrity.first_broken))
        ]
    return [
        one_line(one)
        for one in (f"{head} as of {moment(report.as_of)}", *SECTIONS[name].told(report))
    ]


def document(report: Report, name: str) -> dict[str, Any]:
    """A section as JSON: the report's own fields, and the digest of the whole."""
    found = report.model_dump()
    kept = ("format", "model", "version", "digest", "as_of", "log_range", "verdict", "integrity")
    head = {field: found[field] for field in kept}
    mine = {field: found[field] for field in SECTIONS[name].fields}
    return {**head, "report_sha256": sha256_bytes(json_twin(report)), "section": name, **mine}


def _pair(name: str, value: object, refs: Sequence[int] = ()) -> str:
    return f"  {name:<{WIDTH}} {value}{_refs(refs)}"


def _refs(refs: Sequence[int]) -> str:
    return f"  [{' '.join(f'E{index}' for index in refs[:6])}]" if refs else ""


def _none(what: str) -> str:
    return f"  {what}"


def _summary(report: Report) -> Lines:
    """Page one."""
    yield _pair("sha256", report.digest)
    yield _pair("verdict", report.verdict.reason, report.verdict.evidence)
    yield from (_pair("condition", one) for one in report.verdict.conditions)
    yield _pair("last decision", report.verdict.decided)
    yield from _use(report)
    yield from _exceptions(report)
    for gate in report.gates:
        wanted = f"; threshold: {gate.threshold}" if gate.threshold != "none set" else ""
        yield _pair(gate.result.upper(), f"{gate.name}: {gate.value}{wanted}", gate.evidence)
    yield from _people(report)
    yield from _integrity(report)
    yield _pair("changed since", report.change_since)
    yield _pair(
        "way back",
        f"{report.way_back.target}; drill {report.way_back.drill}",
        report.way_back.evidence,
    )
    yield from _open(report)
    yield from (_pair("not covered", line) for line in report.not_covered)


def _exceptions(report: Report, *, waivers: bool = True) -> Lines:
    for item in report.exceptions:
        if item.kind == "waiver" and not waivers:
            continue
        until = (
            f" Accepted by {item.accepted_by} until {moment(item.expires)}."
            if item.kind == "waiver"
            else ""
        )
        word = {"fault": "FAULT", "waiver": "waiver", "note": "to know"}[item.kind]
        yield _pair(word, f"{item.title}: {item.detail.rstrip('.')}.{until}", item.evidence)
    if not report.exceptions:
        yield _none("exceptions: none")


def _decisions(report: Report) -> Lines:
    yield _pair("verdict", report.verdict.reason, report.verdict.evidence)
    for item in report.decisions:
        yield from _decision(item)
    if not report.decisions:
        yield _none("not recorded: the log has no decision about it")


def _decision(item: Decision) -> Lines:
    yield _pair(
        moment(item.at),
        f"{item.answer.upper()}  {item.about}: {item.what} by {item.by}",
        item.evidence,
    )
    if item.words != "none":
        yield f'      "{item.words}"'
    if item.shown != "none":
        yield f"      was shown page {short(item.shown)}"
    yield from (f"      {line}" for line in item.findings)


def _signed(report: Report) -> Lines:
    for one in report.signed_reports:
        who = one.by if one.role == "none" else f"{one.by} as {one.role}"
        yield _pair(
            moment(one.at),
            f"{one.verdict} as of {moment(one.as_of)}; signed by {who}",
            one.evidence,
        )
        yield f'      "{one.words}"'
        yield f"      page {one.page}"
        yield f"      twin {one.twin}"
        yield f"      of entries 0..{one.entries - 1}, by {one.generator}"
    if not report.signed_reports:
        yield _none("none: no report of this version was signed before")


def _people(report: Report) -> Lines:
    for one in report.people:
        did, _, more = one.did.partition(", ")
        who = f"{more}: {one.who}" if more else one.who
        if one.key == "none":
            yield _pair(did, who)
        else:
            yield _pair(
                did, f"{who} ({one.role}), {one.at}, key {one.key}: {one.assurance}", one.evidence
            )
    yield f"  {report.separation}"


def _keys(report: Report) -> Lines:
    yield from _people(report)
    for key in report.keys:
        yield _pair(
            "key", f"{key.keyid[:12]} {key.owner}: {key.signed} statements ({words(key.kinds)})"
        )


def _policy(report: Report) -> Lines:
    yield _pair("judged by", report.policy.which, report.policy.evidence)
    yield _pair("digest", report.policy.digest)
    yield _pair("in the log", report.policy.since)
    yield _pair("signed by", words(report.policy.signed_by, "nobody"))
    yield _pair("proposed", words(report.policy.proposals))
    yield _pair("fixed before", report.policy.thresholds_fixed)
    yield from (_pair("demanded", line) for line in report.policy.demands)


def _waivers(report: Report) -> Lines:
    for one in report.waivers:
        yield _pair("waiver", f"{one.finding} {one.about}: {one.state}", one.evidence)
        yield (
            f"      accepted by {one.accepted_by} as {one.role} {moment(one.at)}, until"
            f" {moment(one.expires)}"
        )
        yield f"      instead: {one.control}; {one.owner} answers for it; {renewed(one.renewals)}"
        yield f'      "{one.reason}"'
    if not report.waivers:
        yield _none("waivers: none recorded")
    yield from _exceptions(report, waivers=False)


def _integrity(report: Report) -> Lines:
    proof = report.integrity
    yield _pair("log", f"{report.log_range} verified, root {proof.root}")
    yield _pair("origin", proof.origin)
    yield _pair("anchor", proof.anchor)
    yield _pair("signatures", proof.signatures)
    yield _pair("evidence", proof.evidence_present)
    yield _pair("registry", proof.registry)


def _evidence(report: Report) -> Lines:
    yield from _integrity(report)
    yield from (_pair("not shown", line) for line in report.integrity.does_not_show)
    for one in report.evidence:
        told = f"{one.about}, sha256 {short(one.digest)}, {one.signer}, {moment(one.at)}"
        yield _pair(f"E{one.index} {one.kind}", told)


def _data(report: Report) -> Lines:
    for one in report.datasets:
        yield _pair(one.name, f"{one.kind}, sha256 {one.digest}, used by {words(one.used_by)}")
        yield f"      source    sha256 {one.source}"
        for name in (
            "origin",
            "licence",
            "lawful basis",
            "purposes",
            "regions",
            "classification",
            "retention until",
        ):
            yield f"      {name:<16} {one.card.get(name, one.card_note or 'not stated')} (declared)"
        yield from (line for step in one.steps for line in _step(step))
        if one.gap != "none":
            yield f"      GAP: {one.gap}"
    if not report.datasets:
        yield _none("not recorded: no gate of this version's chain holds the request it decided on")


def _step(step: DataStep) -> Lines:
    left = ", ".join(f"{one.records:,} {one.reason}" for one in step.excluded) or "none"
    told = f"{step.result}, {step.records_in:,} in, {step.records_out:,} out, left out: {left}"
    yield f"      {step.stage}: {told}{_refs(step.evidence)}"


def _pii(report: Report) -> Lines:
    for one in report.datasets:
        scan = one.privacy
        if scan is None:
            yield _pair(one.name, "not run: no scan of it is in the log")
            continue
        yield _pair(one.name, f"{scan.engine}; {scan.assurance}", scan.evidence)
        yield f"      languages     {words(scan.languages)}"
        yield f"      searched for  {words(scan.searched)}"
        yield f"      cannot find   {words(scan.cannot_find, 'not recorded')}"
        for entity in scan.entities:
            yield (
                f"      {entity.name:<24} {entity.found:>8,} found, {entity.action},"
                f" {entity.remaining:,} remain"
            )
        if not scan.entities:
            yield "      none found, which does not show that there is none"
        yield f"      recall        {scan.recall_note}"
        for row in scan.recall:
            bounds = (
                f"{share(row.found / row.planted)} [{share(row.low)}, {share(row.high)}],"
                f" n={row.planted}"
            )
            wanted = f", demanded {row.demanded:g}" if row.demanded is not None else ""
            yield f"      {row.name:<24} {bounds}{wanted}"


def _labels(report: Report) -> Lines:
    yield from (
        _pair("agreement", f"{gate.result}: {gate.value}", gate.evidence)
        for gate in _gates(report, "Labelling")
    )
    for one in report.datasets:
        yield _pair(
            one.name, f"{one.card.get('labelling', one.card_note or 'not stated')} (declared)"
        )
    yield _none(
        "guidelines by digest, pool and training of labellers: not recorded: no statement of that"
        " kind exists"
    )


def _training(report: Report) -> Lines:
    for base in report.bases:
        yield _pair(
            base.name, f"{base.source}; {base.weights}; licence {base.licence}", base.evidence
        )
    for one in report.trainings:
        yield _pair(
            one.stage,
            f"{one.method} on {one.data} from {one.parent}, {one.records:,} records",
            one.evidence,
        )
        yield f"      {one.steps:,} steps in {one.seconds:.0f} s on {one.device}; code {one.code}"
        yield f"      asked for by {one.requested_by}; {one.gate}"
        yield f"      {plain(one.parameters)}"
        yield f"      python {one.python}, {plain(one.versions)}"
        yield f"      assurance: {one.assurance}"
        yield f"      {one.attempts}"


def _evaluation(report: Report) -> Lines:
    yield from _metrics(report, report.metrics)
    yield _pair("fixed before", report.thresholds_fixed)


def _safety(report: Report) -> Lines:
    """Before and after tuning: the version against its base and parent on what is about safety."""
    about = [metric for metric in report.metrics if is_safety(metric.name)]
    yield from _metrics(report, about)
    if not about:
        yield _none("not recorded: no suite scores anything about safety")
    yield from (
        _pair("gate", f"{gate.result}: {gate.value}", gate.evidence)
        for gate in _gates(report, "Safety")
    )


def _gates(report: Report, name: str) -> list[Gate]:
    return [gate for gate in report.gates if gate.name == name]


def _metrics(report: Report, metrics: Sequence[Metric]) -> Lines:
    for metric in metrics:
        suite = f"{metric.suite} (suite {short(metric.suite_digest)})"
        yield f"  {metric.name} on {suite}, {report.confidence:.0%} intervals"
        for score in metric.scores:
            bounds = f" [{share(score.low)}, {share(score.high)}]" if score.low is not None else ""
            figure = (
                f"{share(score.mean)}{bounds}, n={score.n}"
                if score.mean is not None
                else "no scores"
            )
            yield f"      {score.model:<20} {score.relation:<24} {figure}{_refs(score.evidence)}"
        for one in metric.differences:
            bounds = f" [{signed(one.low)}, {signed(one.high)}]" if one.low is not None else ""
            figure = f"{signed(one.mean)}{bounds}: " if one.mean is not None else ""
            yield f"      less {one.against:<15} {figure}{one.words}"
        yield f"      slices: {metric.slices_note}"
        for row in metric.slices:
            name = f"{row.by}={row.label}"
            yield (
                f"      {name:<45} {share(row.mean)} [{share(row.low)}, {share(row.high)}],"
                f" n={row.n}"
            )
        yield from (f"      demanded: {line}" for line in metric.thresholds)
    if not any("champion" in score.relation for metric in metrics for score in metric.scores):
        yield _none("champion: none to compare with")


def _gaps(report: Report) -> Lines:
    for one in report.gaps:
        yield _pair(one.result, f"{one.what}: {one.why}", one.evidence)


def _controls(report: Report) -> Lines:
    for one in report.controls:
        yield _pair(one.result, f"{one.framework} {one.id} {one.title}: {one.why}", one.evidence)
        yield f"      gap: {one.gap}; {one.in_force}"
    yield from (_pair("warning", line) for line in report.control_warnings)


def _use(report: Report) -> Lines:
    yield _pair("for", "; ".join(report.use.approved_for))
    yield _pair("not for", "; ".join(report.use.not_approved_for))
    yield _pair("risk tier", f"{report.use.tier}: {words(report.use.tier_demands)}")
    yield _pair("review by", report.use.review_by)


def _used(report: Report) -> Lines:
    yield from _use(report)
    yield _pair(
        "actual use", "not recorded: requests are logged where the model is served, not here"
    )


def _back(report: Report) -> Lines:
    back = report.way_back
    yield _pair("go back to", back.target, back.evidence)
    yield _pair("by", back.steps)
    yield _pair("takes", back.people)
    yield _pair("last tried", back.drill)
    for one in report.holds:
        until = "now" if one.until == "now" else f"{moment(one.until)}; {one.ended}"
        yield _pair(one.alias, f"{moment(one.since)} to {until}; asked for by {one.asked_by}")
    if not report.holds:
        yield _none("not deployed: it never held a governed alias")


def _incidents(report: Report) -> Lines:
    for one in report.incidents:
        yield _pair(
            "opened" if one.state == "open" else one.state,
            f"{moment(one.at)} by {one.by} as {one.role}: {one.words}",
            one.evidence,
        )
    if not report.incidents:
        yield _none("none recorded")
    yield _none("clocks of the law: not recorded: no statement says when an authority was told")


def _open(report: Report) -> Lines:
    for one in report.open:
        late = "OVERDUE" if one.overdue else "open"
        due = f", due {moment(one.due)}" if one.due != "none" else ""
        yield _pair(late, f"{one.what} ({one.owner}{due}); next: {one.next}", one.evidence)
    if not report.open:
        yield _none("open: none")


def _opened(report: Report) -> Lines:
    yield from _open(report)
    yield _pair("next review", report.use.review_by)


def _changes(report: Report) -> Lines:
    yield _pair("compared with", report.change_since)
    for one in report.changes:
        yield _pair(one.group, f"{one.what}: {one.before} -> {one.now}")
    for group in report.compared:
        told = f"{group.same} same, {group.changed} changed, {group.new} new, {group.gone} gone"
        yield _pair(group.group, told)


def _lineage(report: Report) -> Lines:
    names = {node.id: f"{node.kind} {node.label}" for node in report.nodes}
    for node in report.nodes:
        before = [
            f"{names[edge.start]} ({edge.role})" for edge in report.edges if edge.end == node.id
        ]
        yield _pair(node.kind, f"{node.label} sha256 {node.digest}, {node.note}", node.evidence)
        yield from (f"      from {one}" for one in before)


def _records(report: Report) -> Lines:
    yield from (_pair(one.name, one.value, one.evidence) for one in report.records)


SECTIONS: Mapping[str, Section] = {
    "page": Section(
        "Page one.",
        (
            "verdict",
            "use",
            "exceptions",
            "gates",
            "people",
            "separation",
            "integrity",
            "change_since",
            "changes",
            "way_back",
            "open",
            "not_covered",
        ),
        _summary,
    ),
    "decisions": Section(
        "Was it approved, by whom, in which role; refusals.", ("decisions",), _decisions
    ),
    "people": Section(
        "Did trainer, evaluator and approver differ.", ("people", "separation", "keys"), _keys
    ),
    "policy": Section(
        "Which rules and thresholds, and were they fixed before the run.", ("policy",), _policy
    ),
    "waivers": Section(
        "What exceptions there are, and when they end.", ("waivers", "exceptions"), _waivers
    ),
    "evidence": Section(
        "What it rests on, entry by entry.", ("integrity", "evidence", "keys"), _evidence
    ),
    "data": Section(
        "What data, from which sources, under which licences.", ("datasets", "beside"), _data
    ),
    "pii": Section("Which personal data was searched for and found.", ("datasets",), _pii),
    "labels": Section("Who labelled, and how well they agreed.", ("datasets", "gates"), _labels),
    "training": Section("How it was trained.", ("bases", "trainings"), _training),
    "evaluation": Section(
        "Is it better than champion, parent, base; how sure.",
        (
            "metrics",
            "confidence",
            "thresholds_fixed",
        ),
        _evaluation,
    ),
    "safety": Section("Did tuning weaken safety.", ("metrics", "gates"), _safety),
    "gaps": Section("What failed or was not run.", ("gaps",), _gaps),
    "use": Section("What it must not be used for.", ("use",), _used),
    "back": Section("How to go back, and was that tried.", ("way_back", "holds"), _back),
    "incidents": Section("What went wrong since.", ("incidents",), _incidents),
    "open": Section("What is open, whose, what is overdue.", ("open", "use"), _opened),
    "changes": Section(
        "What changed since the last approved version.",
        (
            "change_since",
            "changes",
            "compared",
        ),
        _changes,
    ),
    "lineage": Section("Where it comes from.", ("nodes", "edges"), _lineage),
    "controls": Section(
        "What outside frameworks ask; `countersign control` has more.",
        (
            "controls",
            "control_warnings",
        ),
        _controls,
    ),
    "reports": Section(
        "Which reports of it were signed before, and by whom.", ("signed_reports",), _signed
    ),
    "records": Section("The records every version must have.", ("records",), _records),
}
"""Name to section, in the order of `--help`."""
ALSO = {
    "approvals": "decisions",
    "approval": "decisions",
    "sod": "people",
    "separation": "people",
    "keys": "people",
    "thresholds": "policy",
    "rules": "policy",
    "policies": "policy",
    "exceptions": "waivers",
    "integrity": "evidence",
    "proof": "evidence",
    "log": "evidence",
    "sources": "data",
    "datasets": "data",
    "licences": "data",
    "privacy": "pii",
    "labelling": "labels",
    "labeling": "labels",
    "train": "training",
    "eval": "evaluation",
    "champion": "evaluation",
    "tests": "gaps",
    "limits": "use",
    "purpose": "use",
    "rollback": "back",
    "drill": "back",
    "incident": "incidents",
    "review": "open",
    "todo": "open",
    "diff": "changes",
    "change": "changes",
    "control": "controls",
    "signed": "reports",
}
"""Other words by which somebody may look for a section."""


def names() -> Iterable[str]:
    """Of all sections."""
    return SECTIONS.keys()
