"""A review as one self-contained page and as text for a terminal: no script, no assets, no time but
the log's.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.digests import sha256_bytes
from governance.base.text import moment, one_line, share, short, signed
from governance.people.review import Review, Verdict, twin
from governance.report.html import environment, style

TONES: dict[Verdict, tuple[str, str]] = {
    "NOTHING STANDS AGAINST IT": ("wait", "○"),
    "EXCEPTIONS STAND": ("wait", "◐"),
    "FINDINGS STAND AGAINST IT": ("bad", "✗"),
}
"""Verdict to its colour and its sign; nothing is good before people said so."""
CHANGES, METRICS = 12, 6
"""Lines in the terminal; the page has all."""


def html(made: Review) -> bytes:
    """The page. Its sha256 is what an approval names."""
    tone, sign = TONES[made.verdict]
    pages = environment()
    template = pages.get_template("review.html.j2")
    rendered = template.render(
        review=made, twin=sha256_bytes(twin(made)), style=style(pages), tone=tone, sign=sign
    )
    return rendered.encode("utf-8")


def text(made: Review) -> list[str]:
    """The page in a terminal: verdict, exceptions, what stands against it, gates, changes,
    evaluation.
    """
    return [one_line(line) for line in _lines(made)]


def _lines(made: Review) -> Iterator[str]:
    yield f"{made.model}/{made.version}  {made.verdict}"
    yield f"  {made.reason}"
    yield f"model     {made.model_digest}"
    yield f"packet    {made.packet} (entry {made.entry}, {moment(made.as_of)})"
    yield f"policies  {short(made.policy)}, {made.policy_signed}"
    yield f"tier      {made.tier}; for {made.purpose}"
    for demand in made.demands:
        yield f"wants     {demand}"
    yield ""
    yield from _exceptions(made)
    yield f"STANDING AGAINST IT ({len(made.findings) or 'nothing'})"
    for one in made.findings:
        yield f"  {one.code} {one.subject}: {one.message}"
        yield (
            f"      expected {one.expected or 'n/a'}; found {one.found or 'nothing'}; next:"
            f" {one.next or 'none'}"
        )
    yield "GATES"
    for gate in made.gates:
        yield f"  {gate.result:<8} {gate.name}: {gate.value}"
    yield from _changes(made)
    yield from _evaluation(made)
    yield "WHO MADE IT"
    asked = sorted({hand.asked for hand in made.hands})
    keys = sorted({hand.key for hand in made.hands})
    yield f"  signed by {', '.join(keys) or 'nobody'}; asked for by {', '.join(asked) or 'nobody'}"
    yield f"SAID BEFORE ({len(made.earlier) or 'nothing'})"
    yield from (f"  {line}" for line in made.earlier)


def _exceptions(made: Review) -> Iterator[str]:
    yield f"EXCEPTIONS ({len(made.accepted)} accepted, {len(made.notices)} to know)"
    for one in made.accepted:
        yield f"  {one.finding.code} {one.finding.subject}: {one.finding.message}"
        yield (
            f"      accepted by {one.accepted_by} until {moment(one.expires)}; meanwhile"
            f" {one.control}"
        )
        yield f"      because {one.reason}; {one.owner} answers for it"
    for notice in made.notices:
        yield f"  {notice.title}: {notice.detail}"


def _changes(made: Review) -> Iterator[str]:
    yield f"CHANGED since {made.since}"
    for change in made.changes[:CHANGES]:
        yield f"  {change.what}: {change.before} -> {change.now}"
    if len(made.changes) > CHANGES:
        yield f"  and {len(made.changes) - CHANGES} more, on the page"


def _evaluation(made: Review) -> Iterator[str]:
    yield f"EVALUATION (thresholds fixed: {made.thresholds})"
    for metric in made.metrics[:METRICS]:
        own = next((one for one in metric.scores if one.relation.startswith("this version")), None)
        figure = (
            f"{share(own.mean)} [{share(own.low)}, {share(own.high)}], n {own.n}"
            if own
            else "not run"
        )
        against = "; ".join(
            f"less {one.against} {signed(one.mean)}" for one in metric.differences if one.n
        )
        yield f"  {metric.name} on {metric.suite}: {figure}" + (f"; {against}" if against else "")
    if not made.metrics:
        yield "  not run"
