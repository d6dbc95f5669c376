"""Cleans single texts that are no records, as `policies/pii.yaml` says.

What policy redacts is replaced, what it allows stays. A text with something that policy drops or
blocks, that could not be searched completely, or in which something remains, is withheld.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from governance.base.errors import CountersignError
from governance.policy.data import PiiPolicy
from pipelines.params import Params
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.scan import ROUNDS, redact, significant
from pipelines.pii.search import Search
from pipelines.record_ids import load_key


@dataclass
class Cleaned:
    """A text after cleaning."""

    text: str | None
    """None where it is withheld."""
    withheld: str = ""
    """Why it is."""
    replaced: Counter[str] = field(default_factory=Counter)
    """Type of finding to how often it was replaced."""


def clean(texts: Iterable[str], policy: PiiPolicy, search: Search, key: bytes) -> list[Cleaned]:
    """Each text cleaned, in their order. `key` makes the tokens, where policy replaces by them."""
    done = [Cleaned(text) for text in texts]
    for _ in range(ROUNDS):
        found = _found(done, policy, search)
        for one, text, spans in found:
            _treat(one, text, spans, policy, key)
        if not found:
            return done
    for one, _, _ in _found(done, policy, search):
        one.text, one.withheld = None, "PII_REMAINING"
    return done


def clean_here(
    texts: Iterable[str], policy: PiiPolicy, params: Params, root: Path, state: Path
) -> list[Cleaned]:
    """The same with the record key and the cache of this machine. Raises `CountersignError` where
    policy replaces by tokens and the record key is not here.
    """
    secret = _secret(root, params, needed=policy.replacement == "token")
    cache = state / "cache" / "pii.sqlite" if secret else None
    with Search(PlainEngine(policy, root), cache, secret or b"none") as search:
        return clean(texts, policy, search, secret or b"")


def _secret(root: Path, params: Params, *, needed: bool) -> bytes | None:
    """The record key; None where it is not here, as on the machine of an evaluator."""
    try:
        return load_key(root, params.records).secret
    except CountersignError:
        if needed:
            raise
        return None


def _found(
    done: list[Cleaned], policy: PiiPolicy, search: Search
) -> list[tuple[Cleaned, str, list[Span]]]:
    """The texts with findings that may not stay. Withholds what could not be searched."""
    texts = [(one, one.text) for one in done if one.text is not None]
    found = []
    for (one, text), result in zip(texts, search.find([text for _, text in texts]), strict=True):
        spans = _to_treat(result.spans, policy)
        if result.problem:
            one.text, one.withheld = None, "PII_UNSCANNED"
        elif spans:
            found.append((one, text, spans))
    return found


def _to_treat(spans: tuple[Span, ...], policy: PiiPolicy) -> list[Span]:
    """The findings that may not stay."""
    found = significant(spans, policy)
    return [span for span in found if policy.entity(span.entity).action != "allow"]


def _treat(one: Cleaned, text: str, spans: list[Span], policy: PiiPolicy, key: bytes) -> None:
    actions = {policy.entity(span.entity).action for span in spans}
    if "block" in actions:
        one.text, one.withheld = None, "PII_BLOCKED"
    elif "drop" in actions:
        one.text, one.withheld = None, "PII_DROPPED"
    else:
        one.replaced.update(span.entity for span in spans)
        one.text = redact(text, spans, policy, key)
