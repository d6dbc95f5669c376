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
"""Verdict to its colour and sign; nothing is green before people have approved."""
CHANGES, METRICS = 12, 6
"""Lines in the terminal; the page has all."""


def html(made: Review) -> bytes:
    """The page. Its sha256 is what an approval names."""
    pages = environment()
    title, sentence = TITLES[made.verdict]
    tone, sign = TONES[made.verdict]
    rendered = pages.get_template("review.html.j2").render(
        review=made,
        twin=sha256_bytes(twin(made)),
        style=style(pages),
        title=title,
        sentence=sentence,
        tone=tone,
        sign=sign,
        demands=demands(made.demands),
        signed_by=signed_by(made),
        runners=[(one, signer_of(one), asker_of(one)) for one in made.runners],
        earlier=[(one, earlier(one)) for one in made.earlier],
    )
    return rendered.encode("utf-8")


def text(made: Review) -> list[str]:
    """The page in a terminal: what speaks against the version first."""
    return [one_line(line) for line in _lines(made)]


def demands(wanted: Demands | None) -> list[str]:
    """What policy wants, one sentence each."""
    if wanted is None:
        return ["Policy does not name this model, so nothing can be promoted."]
    roles = ", ".join(wanted.approvers) or "no role"
    found = [f"{wanted.approvals} approvals by different people in different roles ({roles})"]
    found += [
        f"{alias}: requested by {' or '.join(roles)}" for alias, roles in wanted.requesters.items()
    ]
    if not wanted.promotable:
        found.append("this tier cannot be promoted")
    if wanted.separate_evaluator:
        found.append("evaluation signed by another key than the training")
    if wanted.approved_before_training:
        found.append(f"approved before training: {', '.join(wanted.approved_before_training)}")
    return found


def signed_by(made: Review) -> str:
    """Who signed the policies."""
    names = ", ".join(made.policy_signed_by)
    return f"signed by {names}" if names else "NOT SIGNED by their owners"


def signer_of(one: Runner) -> str:
    """Whose key signed."""
    name = one.signed_by or ("development key" if one.development else "unknown key")
    return f"{name} ({one.key})"


def asker_of(one: Runner) -> str:
    """Who asked for the run."""
    return one.asked_by if one.authenticated else f"{one.asked_by} (not proven)"


def earlier(one: EarlierDecision) -> str:
    """A decision on these bytes before this packet."""
    if one.did == "refused":
        return f"promotion to {one.alias} refused: {', '.join(one.codes)}"
    counted = "" if one.counted else " (did not count)"
    word = one.did.upper() if one.did == "rejected" else one.did
    return f"{one.person} as {one.role} {word} an earlier packet: {one.reason}{counted}"


def finding(one: Finding) -> Iterator[str]:
    """A finding in two lines."""
    yield f"  {one.code} {one.subject}: {one.message}"
    expected, found, step = one.expected or "n/a", one.found or "nothing", one.next or "none"
    yield f"      expected {expected}; found {found}; next: {step}"


def _lines(made: Review) -> Iterator[str]:
    title, sentence = TITLES[made.verdict]
    yield f"{made.model}/{made.version}  {title}"
    yield f"  {sentence}"
    yield from _against(made)
    yield f"model     {made.model_digest}"
    yield f"packet    {made.packet} (entry {made.entry}, {moment(made.as_of)})"
    yield f"policies  {short(made.policy)}, {signed_by(made)}"
    yield f"use       {_use(made)}"
    yield f"not for   {'; '.join(made.limits) or 'NOT SET: policy has no limits for this model'}"
    for line in demands(made.demands):
        yield f"wants     {line}"
    yield ""
    yield from _exceptions(made)
    yield f"OPEN FINDINGS ({len(made.findings) or 'none'})"
    for one in made.findings:
        yield from finding(one)
    yield "GATES"
    for gate in made.sections.gates:
        yield f"  {gate.result:<8} {gate.name}: {gate.value}"
    yield from _changes(made)
    yield from _evaluation(made)
    yield "WHO MADE IT"
    signers = sorted({signer_of(one) for one in made.runners})
    askers = sorted({asker_of(one) for one in made.runners})
    yield f"  signed by {', '.join(signers) or 'nobody'}"
    yield f"  started by {', '.join(askers) or 'nobody'}; they cannot approve it"
    yield f"EARLIER DECISIONS ({len(made.earlier) or 'none'})"
    yield from (f"  E{one.entry} {earlier(one)}" for one in made.earlier)


def _use(made: Review) -> str:
    purpose = f"{made.purpose}, in {made.region}" if made.purpose else "not set"
    months = f"review every {made.review_every} months" if made.review_every else "no review date"
    return f"{purpose}; tier {made.tier}; {months}"


def _against(made: Review) -> Iterator[str]:
    against = made.against
    for incident in against.incidents:
        accepted = " (waived)" if incident.waived else ""
        yield (
            f"  INCIDENT{accepted} on {incident.version}, opened by {incident.opened_by} as"
            f" {incident.role}, {moment(incident.at)} (entry {incident.entry}): {incident.reason}"
        )
    if against.changed:
        yield f"  CHANGED since the evidence was frozen: {', '.join(against.changed)}"
    for one in against.rejections:
        yield f"  REJECTED by {one.person} as {one.role} (entry {one.entry}): {one.reason}"
    if against.findings:
        yield f"  NEW FINDINGS since the evidence was frozen ({len(against.findings)})"
    for one_finding in against.findings:
        yield from finding(one_finding)


def _exceptions(made: Review) -> Iterator[str]:
    yield f"EXCEPTIONS ({len(made.waived)} waived findings, {len(made.notices)} notes)"
    for one in made.waived:
        yield f"  {one.finding.code} {one.finding.subject}: {one.finding.message}"
        yield f"      waived by {one.accepted_by} as {one.role} until {moment(one.expires)}"
        yield f"      compensating control: {one.control} (owner: {one.owner})"
        yield f"      reason: {one.reason}"
    for notice in made.notices:
        yield f"  {notice.title}: {notice.detail}"


def _changes(made: Review) -> Iterator[str]:
    changes = made.sections.changes
    yield f"CHANGES since {made.sections.change_since}"
    for change in changes[:CHANGES]:
        yield f"  {change.what}: {change.before} -> {change.now}"
    if len(changes) > CHANGES:
        yield f"  {len(changes) - CHANGES} more on the page"


def _evaluation(made: Review) -> Iterator[str]:
    yield f"EVALUATION (thresholds fixed: {made.sections.thresholds_fixed})"
    for metric in made.sections.metrics[:METRICS]:
        own = next((one for one in metric.scores if one.digest == made.model_digest), None)
        figure = "not run"
        if own is not None:
            figure = f"{share(own.mean)} [{share(own.low)}, {share(own.high)}], n {own.n}"
        yield f"  {metric.name} on {metric.suite}: {figure}"
        for one in metric.differences:
            if one.n:
                yield f"      compared with {one.against}: {signed(one.mean)}"
    if not made.sections.metrics:
        yield "  not run"
