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
    message: str = "",
    *,
    expected: str = "",
    found: str = "",
    next: str = "",
    figures: Iterable[str] = (),
    measure: str = "",
    **fields: str,
) -> Finding:
    """A finding of a code that is in the table. The sentence and the next step of the table hold
    where none is given; `fields` fill their blanks.

    The sentences may be reworded at any time: nothing compares them. What a waiver of this finding
    accepts must stand in `figures`, and which measurement it is in `measure`.
    """
    entry, fields = CODES[code], {"name": subject.rpartition(" ")[2], **fields}
    return Finding(
        code=code,
        subject=subject,
        message=message or entry.message_for(fields),
        expected=expected,
        found=found,
        next=next or entry.step_for(fields),
        figures=list(figures),
        measure=measure,
    )


_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-])")


def same_reason(first: Finding, second: Finding) -> bool:
    """Whether two findings give the same reason, whatever their words; figures and measure count
    where both have them.
    """
    return (
        (first.code, first.subject) == (second.code, second.subject)
        and _agree(first.figures, second.figures)
        and _agree(first.measure, second.measure)
    )


def _agree(first: Sequence[str], second: Sequence[str]) -> bool:
    return not (first and second) or first == second


def same_exception(first: Finding, second: Finding) -> bool:
    """Whether somebody who accepted the one has accepted the other: the same code, subject and
    figures. Findings logged before `figures` existed have them in `found` only.
    """
    if not same_reason(first, second):
        return False
    if first.figures and second.figures:
        return True
    return _NUMBER.findall(first.found) == _NUMBER.findall(second.found)


def not_among(findings: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    """The findings for which `others` has none of the same reason."""
    return [
        finding for finding in findings if not any(same_reason(finding, other) for other in others)
    ]


def same_reasons(findings: Sequence[Finding], others: Sequence[Finding]) -> bool:
    """Whether both give the same reasons, whatever their words and order."""
    return not not_among(findings, others) and not not_among(others, findings)
