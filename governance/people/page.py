"""A review as one self-contained page and as text for a terminal.

The sentences are here and in `review.html.j2` of the report; `governance.people.review`
has codes and fields. The page has no script, no assets, and no time but the log's.
"""

from __future__ import annotations

from governance.attest.digests import sha256_bytes
from governance.people.review import Review, Verdict, twin
from governance.report.html import environment, style
from governance.report.terminal import section

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
TONES: dict[Verdict, tuple[str, str]] = {"exceptions": ("wait", "◐"), "no_objection": ("wait", "○")}
"""Verdict to its colour and sign. No verdict is green before people have approved."""


def html(review: Review) -> bytes:
    """The page. Its sha256 is what an approval names."""
    pages = environment()
    title, sentence = TITLES[review.verdict]
    tone, sign = TONES.get(review.verdict, ("bad", "✗"))
    rendered = pages.get_template("review.html.j2").render(
        review=review,
        twin=sha256_bytes(twin(review)),
        style=style(pages),
        title=title,
        sentence=sentence,
        tone=tone,
        sign=sign,
    )
    return rendered.encode("utf-8")


def text(review: Review) -> list[str]:
    """The page for a terminal. Objections come first."""
    return section(html(review).decode(), "review")
