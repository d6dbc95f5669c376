"""The fast search finds what Presidio finds that we have no part in, span for span: its own
registry of recognizers, its own table of regions, its own context search and phonenumbers' own
matcher.

Two differences are documented (`pipelines.pii.presidio`), and texts where they count are left out: a
context word counts only where a word begins with it, and a number in a calculation is no telephone
number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings

from benchmarks.scanning import stock_phone_matcher
from governance.policy.data import PiiPolicy
from pipelines.pii.engine import Engine, PlainEngine
from pipelines.pii.filter import FilteredEngine
from tests.conftest import ROOT, rows
from tests.pipelines.pii.pieces import FUZZED
from tests.pipelines.pii.public import sample

pytest.importorskip("hyperscan")
LEAST = 0.35
OURS = {"NameListRecognizer", "LabelledRecognizer"}
"""Recognizers that Presidio lacks."""
CALCULATION = re.compile("[=*×÷]")
Finding = tuple[int, int, str, float]


@cache
def ours(which: str) -> Engine:
    """The search behind the filter, or the plain one, to which `test_filter` holds the filter. Its
    policy adds nothing to Presidio's recognizers.
    """
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    content = {
        "languages": ["en"],
        "ner": "name-list",
        "threshold": LEAST,
        "default": {"action": "redact"},
        "phone_regions": PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS,
    }
    plain = PlainEngine(PiiPolicy.model_validate(content), ROOT)
    return plain if which == "plain" else FilteredEngine(plain)


@cache
def stock() -> Any:
    """Presidio, and a tokenizer for want of a model. Lemmas are the words in lower case."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.language import Language
    from spacy.tokens import Doc

    @Language.component("lower_case")
    def lower_case(doc: Doc) -> Doc:
        for token in doc:
            token.lemma_ = token.lower_
        return doc

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        def load(self) -> None:
            self.nlp = {"en": spacy.blank("en")}
            self.nlp["en"].add_pipe("lower_case")

    nlp = Blank()
    nlp.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=nlp,
        supported_languages=["en"],
        default_score_threshold=LEAST,
    )


@contextmanager
def stock_context(differs: list[str]) -> Iterator[None]:
    """Notes each context word that Presidio counts and no word begins with."""
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer as Enhancer

    theirs = Enhancer._find_supportive_word_in_context

    def noted(words: list[str], context: list[str], *mode: Any, **more: Any) -> str:
        found: str = theirs(words, context, *mode, **more)
        begun = [each for each in context if any(w.lower().startswith(each.lower()) for w in words)]
        if bool(found) != bool(begun):
            differs.append(found)
        return found

    Enhancer._find_supportive_word_in_context = staticmethod(noted)
    try:
        yield
    finally:
        Enhancer._find_supportive_word_in_context = staticmethod(theirs)


def compared(which: str, text: str) -> tuple[set[Finding], set[Finding]] | None:
    """What we find, and what Presidio finds; None where a documented difference counts."""
    differs: list[str] = []
    if CALCULATION.search(text):
        return None
    with stock_phone_matcher(), stock_context(differs):
        results = stock().analyze(text, language="en")
    if differs:
        return None
    theirs = {(one.start, one.end, one.entity_type, round(one.score, 4)) for one in results}
    mine = {
        (one.start, one.end, one.entity, one.score)
        for one in ours(which).find(text)
        if one.recognizer not in OURS
    }
    return mine, theirs


@pytest.mark.parametrize("which", rows(["plain", "fast"], in_ci={"plain"}))
@settings(deadline=None)
@given(FUZZED)
def test_composed_and_fuzzed_text(which: str, pieces: list[str]) -> None:
    found = compared(which, "".join(pieces))
    assume(found is not None)
    assert found is not None and found[0] == found[1]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["hh_rlhf", "pii_anon"])
def test_real_text(name: str, public_data: Path) -> None:
    found = [compared("fast", text) for text in sample(public_data / name, 300)]
    alike = [each for each in found if each is not None]
    assert len(alike) > 30 and any(theirs for _, theirs in alike)
    assert [each for each in alike if each[0] != each[1]] == []
