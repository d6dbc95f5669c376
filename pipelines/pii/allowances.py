"""Findings that the allow-list of `policies/pii.yaml` lets stay: public helplines and the like.

1. A finding is allowed if an entry has its entity and its whole value. Writing does not matter:
   case, white space, full-width characters; of a telephone number only digits and the plus count.
2. An entry counts here whatever its end date is, so that a scan depends on no clock. The gate
   refuses a scan that used an entry which has ended (`ALLOWANCE_ENDED`).
"""

from __future__ import annotations

import re
import unicodedata

from governance.policy.data import PiiPolicy
from pipelines.pii.engine import Span

Entries = dict[tuple[str, str], int]
"""(entity, value) to the number of the entry, from 1 on."""


def entries(policy: PiiPolicy) -> Entries:
    """The entries of a policy. Of two with the same value, the one that ends first counts."""
    numbered = sorted(enumerate(policy.allowances, 1), key=lambda pair: pair[1].until)
    known: Entries = {}
    for number, entry in numbered:
        known.setdefault((entry.entity, _value(entry.entity, entry.value)), number)
    return known


def split(text: str, spans: tuple[Span, ...], known: Entries) -> tuple[tuple[Span, ...], list[int]]:
    """The findings that no entry allows, and the entries of the others."""
    if not known:
        return spans, []
    rest, used = [], []
    for span in spans:
        entry = known.get((span.entity, _value(span.entity, text[span.start : span.end])))
        if entry is None:
            rest.append(span)
        else:
            used.append(entry)
    return tuple(rest), used


def _value(entity: str, text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    if entity == "PHONE_NUMBER":
        return re.sub(r"[^\d+]", "", plain)
    return " ".join(plain.split())
