"""A review as one self-contained page and as text for a terminal.

The sentences are here and in `review.html.j2`; `governance.people.review` has codes and fields. The
page has no script, no assets, and no time but the log's.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Finding
from governance.base.text import moment, one_line, share, short, signed
from governance.people.review import Demands, EarlierDecision, Review, Runner, Verdict, twin
from governance.report.html import environment, style

TITLES: dict[Verdict, tuple[str, str]] = {
    "incident_open": (
        "OPEN INCIDENT",
        "Nobody can approve this version while the incident is open.",
    ),
    "outdated": (
        "OUT OF DATE",
        "The log changed since the evidence was frozen. Freeze this version again.",
    ),
    "open_findings": (
        "OPEN FINDINGS",
        "The version cannot be promoted until each finding is fixed or waived.",
    ),
    "rejected": ("REJECTED", "Somebody rejected this packet. Read the reason first."),
    "exceptions": (
        "WAIVED FINDINGS ONLY",
        "The automatic checks object to nothing but the waived findings. Read those first.",
    ),
    "no_objection": ("NO AUTOMATIC OBJECTION", "The decision is yours."),
}
"""Verdict to its title and sentence."""
TONES: dict[Verdict, tuple[str, str]] = {
    "incident_open": ("bad", "✗"),
    "outdated": ("bad", "✗"),
    "open_findings": ("bad", "✗"),
    "rejected": ("bad", "✗"),
    "exceptions": ("wait", "◐"),
    "no_objection": ("wait", "○"),
}
"""Verdict to its colour and sign. No verdict is green before people have approved."""
CHANGES, METRICS = 12, 6
"""The most lines in the terminal. The page shows all."""


def html(review: Review) -> bytes:
    """The page. Its sha256 is what an approval names."""
    pages = environment()
    title, sentence = TITLES[review.verdict]
    tone, sign = TONES[review.verdict]
    rendered = pages.get_template("review.html.j2").render(
        review=review,
        twin=sha256_bytes(twin(review)),
        style=style(pages),
        title=title,
        sentence=sentence,
        tone=tone,
        sign=sign,
        demands=demands(review.demands),
        signed_by=signed_by(review),
        runners=[(runner, signer_of(runner), asker_of(runner)) for runner in review.runners],
        earlier=[(decision, earlier(decision)) for decision in review.earlier],
    )
    return rendered.encode("utf-8")


def text(review: Review) -> list[str]:
    """The page for a terminal. Objections come first."""
    return [one_line(line) for line in _lines(review)]


def demands(required: Demands | None) -> list[str]:
    """The demands of policy, one sentence each."""
    if required is None:
        return ["Policy does not name this model, so nothing can be promoted."]
    roles = ", ".join(required.approvers) or "no role"
    sentences = [f"{required.approvals} approvals by different people in different roles ({roles})"]
    sentences += [
        f"{alias}: requested by {' or '.join(roles)}"
        for alias, roles in required.requesters.items()
    ]
    if not required.promotable:
        sentences.append("this tier cannot be promoted")
    if required.separate_evaluator:
        sentences.append("evaluation signed by another key than the training")
    if required.approved_before_training:
        sentences.append(
            f"approved before training: {', '.join(required.approved_before_training)}"
        )
    return sentences


def signed_by(review: Review) -> str:
    """Who signed the policies."""
    names = ", ".join(review.policy_signed_by)
    return f"signed by {names}" if names else "NOT SIGNED by their owners"


def signer_of(runner: Runner) -> str:
    """Whose key signed."""
    name = runner.signed_by or ("development key" if runner.development else "unknown key")
    return f"{name} ({runner.key})"


def asker_of(runner: Runner) -> str:
    """Who asked for the run."""
    return runner.asked_by if runner.authenticated else f"{runner.asked_by} (not proven)"


def earlier(decision: EarlierDecision) -> str:
    """A decision on these bytes before this packet."""
    if decision.did == "refused":
        return f"promotion to {decision.alias} refused: {', '.join(decision.codes)}"
    counted = "" if decision.counted else " (did not count)"
    word = decision.did.upper() if decision.did == "rejected" else decision.did
    return (
        f"{decision.person} as {decision.role} {word} an earlier packet: {decision.reason}{counted}"
    )


def finding(problem: Finding) -> Iterator[str]:
    """A finding in two lines."""
    yield f"  {problem.code} {problem.subject}: {problem.message}"
    expected, actual, step = (
        problem.expected or "n/a",
        problem.found or "nothing",
        problem.next or "none",
    )
    yield f"      expected {expected}; found {actual}; next: {step}"


def _lines(review: Review) -> Iterator[str]:
    title, sentence = TITLES[review.verdict]
    yield f"{review.model}/{review.version}  {title}"
    yield f"  {sentence}"
    yield from _against(review)
    yield f"model     {review.model_digest}"
    yield f"packet    {review.packet} (entry {review.entry}, {moment(review.as_of)})"
    yield f"policies  {short(review.policy)}, {signed_by(review)}"
    yield f"use       {_use(review)}"
    yield f"not for   {'; '.join(review.limits) or 'NOT SET: policy has no limits for this model'}"
    for line in demands(review.demands):
        yield f"wants     {line}"
    yield ""
    yield from _exceptions(review)
    yield f"OPEN FINDINGS ({len(review.findings) or 'none'})"
    for problem in review.findings:
        yield from finding(problem)
    yield "GATES"
    for gate in review.sections.gates:
        yield f"  {gate.result:<8} {gate.name}: {gate.value}"
    yield from _changes(review)
    yield from _evaluation(review)
    yield "WHO MADE IT"
    signers = sorted({signer_of(runner) for runner in review.runners})
    askers = sorted({asker_of(runner) for runner in review.runners})
    yield f"  signed by {', '.join(signers) or 'nobody'}"
    yield f"  started by {', '.join(askers) or 'nobody'}; they cannot approve it"
    yield f"EARLIER DECISIONS ({len(review.earlier) or 'none'})"
    yield from (f"  E{decision.entry} {earlier(decision)}" for decision in review.earlier)


def _use(review: Review) -> str:
    purpose = f"{review.purpose}, in {review.region}" if review.purpose else "not set"
    months = (
        f"review every {review.review_every} months" if review.review_every else "no review date"
    )
    return f"{purpose}; tier {review.tier}; {months}"


def _against(review: Review) -> Iterator[str]:
    against = review.against
    for incident in against.incidents:
        accepted = " (waived)" if incident.waived else ""
        yield (
            f"  INCIDENT{accepted} on {incident.version}, opened by {incident.opened_by} as"
            f" {incident.role}, {moment(incident.at)} (entry {incident.entry}): {incident.reason}"
        )
    if against.changed:
        yield f"  CHANGED since the evidence was frozen: {', '.join(against.changed)}"
    for rejection in against.rejections:
        yield (
            f"  REJECTED by {rejection.person} as {rejection.role} (entry {rejection.entry}):"
            f" {rejection.reason}"
        )
    if against.findings:
        yield f"  NEW FINDINGS since the evidence was frozen ({len(against.findings)})"
    for problem in against.findings:
        yield from finding(problem)


def _exceptions(review: Review) -> Iterator[str]:
    yield f"EXCEPTIONS ({len(review.waived)} waived findings, {len(review.notices)} notes)"
    for waiver in review.waived:
        until = moment(waiver.expires)
        yield f"  {waiver.finding.code} {waiver.finding.subject}: {waiver.finding.message}"
        yield f"      waived by {waiver.accepted_by} as {waiver.role} until {until}"
        yield f"      compensating control: {waiver.control} (owner: {waiver.owner})"
        yield f"      reason: {waiver.reason}"
    for notice in review.notices:
        yield f"  {notice.title}: {notice.detail}"


def _changes(review: Review) -> Iterator[str]:
    changes = review.sections.changes
    yield f"CHANGES since {review.sections.change_since}"
    for change in changes[:CHANGES]:
        yield f"  {change.what}: {change.before} -> {change.now}"
    if len(changes) > CHANGES:
        yield f"  {len(changes) - CHANGES} more on the page"


def _evaluation(review: Review) -> Iterator[str]:
    yield f"EVALUATION (thresholds fixed: {review.sections.thresholds_fixed})"
    for metric in review.sections.metrics[:METRICS]:
        own = next((score for score in metric.scores if score.digest == review.model_digest), None)
        figure = "not run"
        if own is not None:
            figure = f"{share(own.mean)} [{share(own.low)}, {share(own.high)}], n {own.n}"
        yield f"  {metric.name} on {metric.suite}: {figure}"
        for difference in metric.differences:
            if difference.n:
                yield f"      compared with {difference.against}: {signed(difference.mean)}"
    if not review.sections.metrics:
        yield "  not run"
