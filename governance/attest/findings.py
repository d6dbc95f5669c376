"""Findings: how they are made, and when two of them have the same reason. The codes stand in
`governance.attest.codes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from governance.attest.codes import CODES
from governance.attest.predicates import Finding


def finding(
    code: str,
    subject: str,
    message: str,
    *,
    expected: str = "",
    found: str = "",
    next: str = "",
    figures: Iterable[str] = (),
) -> Finding:
    """A finding of a code that is in the table; its general next step where none is given.

    The sentences may be reworded at any time: nothing compares them. What a waiver of this finding
    accepts must stand in `figures`.
    """
    return Finding(
        code=code,
        subject=subject,
        message=message,
        expected=expected,
        found=found,
        next=next or CODES[code].next,
        figures=list(figures),
    )


_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-])")


def figures_of(one: Finding) -> list[str]:
    """What a finding measured. Findings logged before `figures` existed have it in `found` only."""
    return one.figures or _NUMBER.findall(one.found)


def same_reason(one: Finding, other: Finding) -> bool:
    """Whether two findings give the same reason, whatever their words; figures count where both
    have them.
    """
    figures_agree = not (one.figures and other.figures) or one.figures == other.figures
    return (one.code, one.subject) == (other.code, other.subject) and figures_agree


def same_exception(one: Finding, other: Finding) -> bool:
    """Whether somebody who accepted the one has accepted the other: the same reason, and it goes
    as far.
    """
    return same_reason(one, other) and figures_of(one) == figures_of(other)


def not_among(these: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    """The findings for which `others` has none of the same reason."""
    return [one for one in these if not any(same_reason(one, other) for other in others)]


def same_reasons(these: Sequence[Finding], others: Sequence[Finding]) -> bool:
    """Whether both give the same reasons, whatever their words and order."""
    return not not_among(these, others) and not not_among(others, these)
