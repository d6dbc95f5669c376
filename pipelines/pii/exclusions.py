"""Findings that are no personal data, because they are part of something else: of a decimal number,
a DOI, an ISBN or a sum of four numbers or more (`200 - 40 - 60 - 20 =`). These are the only
findings of Presidio's recognizers that the search leaves out.
"""

from __future__ import annotations

import re

from pipelines.pii.engine import Span

NUMBERS = frozenset(
    {"CREDIT_CARD", "US_SSN", "US_ITIN", "US_BANK_NUMBER", "US_PASSPORT", "US_DRIVER_LICENSE"}
    | {"UK_NHS", "PHONE_NUMBER", "NATIONAL_ID"}
)
"""Entities that consist of digits."""

_PART_OF = re.compile(
    r"\b10\.\d{4,9}/[^\s\"'<>]{1,200}"
    r"|\bISBN(?:-1[03])?:?\s?[\dX][\dX -]{8,16}[\dX]\b"
    r"|(?<![\w.])97[89][- ]\d{1,5}[- ]\d{1,7}[- ]\d{1,7}[- ][\dX]\b"
    r"|(?<![\w.])-?\d{1,2}\.\d{8,}(?![\w.-])"
    r"|\b\d[\d.,]{0,12}(?: \w{1,20})?(?: ?[-+*/×] ?\$?\d[\d.,]{0,12}(?: \w{1,20})?){3,12} ?="
)


def without(text: str, spans: list[Span]) -> list[Span]:
    """The findings that are not part of a decimal number, DOI, ISBN or sum."""
    if not any(span.entity in NUMBERS for span in spans):
        return spans
    parts = [match.span() for match in _PART_OF.finditer(text)]
    return [
        span
        for span in spans
        if span.entity not in NUMBERS
        or not any(start <= span.start and span.end <= end for start, end in parts)
    ]
