"""Presidio's analysis of a text with less work around its recognizers; the same findings.

1. A recognizer runs as Presidio runs it. Telephone numbers are found by `pipelines.pii.phones`.
2. Context words raise scores. A text is split into tokens for that only if one of these words is
   in it.
3. What Presidio does after that (thresholds, duplicates) is done by its own functions, on the same
   objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pipelines.pii.phones import Phones

SIGMA = ("σ", "ς")
"""Python lower-cases a capital sigma by what stands around it."""


class QuickAnalyzer:
    """Stands for Presidio's `AnalyzerEngine`."""

    def __init__(self, analyzer: Any) -> None:
        self._analyzer = analyzer
        self._by_language: dict[str, list[Any]] = {}
        self._phones: dict[str, Phones] = {}
        for recognizer in analyzer.registry.recognizers:
            self._by_language.setdefault(recognizer.supported_language, []).append(recognizer)
            if recognizer.name == "PhoneRecognizer":
                regions, leniency = recognizer.supported_regions, recognizer.leniency
                self._phones[recognizer.id] = Phones(regions, leniency)
        self._words = {
            recognizer.id: tuple(word.lower() for word in recognizer.context or ())
            for recognizer in analyzer.registry.recognizers
        }

    def analyze(self, text: str, language: str, entities: Sequence[str]) -> list[Any]:
        """The results of the recognizers of these entities. Raises what they raise."""
        from presidio_analyzer import EntityRecognizer

        wanted, nlp = set(entities), self._analyzer.nlp_engine.process_text(text, language)
        results, lower = [], text.lower()
        for recognizer in self._by_language.get(language, ()):
            if wanted.isdisjoint(recognizer.supported_entities):
                continue
            found = self._run(recognizer, text, list(entities), nlp)
            if found and self._has_context(recognizer, lower):
                self._enhance(text, found, self._words[recognizer.id], nlp)
            limits = recognizer.score_thresholds
            results += [result for result in found if result.score >= limits[result.entity_type]]
        return list(EntityRecognizer.remove_duplicates(results))

    def _run(self, recognizer: Any, text: str, entities: list[str], nlp: Any) -> list[Any]:
        phones = self._phones.get(recognizer.id)
        if phones is not None:
            found = [_result(recognizer, *place) for place in sorted(phones.find(text))]
            return list(recognizer.remove_duplicates(found))
        if not recognizer.is_loaded:
            recognizer.load()
            recognizer.is_loaded = True
        return recognizer.analyze(text=text, entities=entities, nlp_artifacts=nlp) or []

    def _enhance(self, text: str, found: list[Any], context: tuple[str, ...], nlp: Any) -> None:
        """Raises the scores of results beside a context word, as Presidio's enhancer does: by a
        constant, and to a minimum.
        """
        enhancer = self._analyzer.context_aware_enhancer
        vars(nlp)["keywords"] = frozenset(nlp.keywords)  # many are looked up
        for result in found:
            words = enhancer._extract_surrounding_words(
                nlp_artifacts=nlp, word=text[result.start : result.end], start=result.start
            )
            if any(word.lower().startswith(context) for word in words):
                score = result.score + enhancer.context_similarity_factor
                least = enhancer.min_score_with_context_similarity
                result.score = min(max(score, least), enhancer.MAX_SCORE)

    def _has_context(self, recognizer: Any, lower: str) -> bool:
        """Whether one of the recognizer's context words may be in the text."""
        words = self._words[recognizer.id]
        return any(word in lower or any(sign in word for sign in SIGMA) for word in words)


@cache
def _kinds() -> tuple[Any, Any]:
    from presidio_analyzer import AnalysisExplanation, RecognizerResult

    return RecognizerResult, AnalysisExplanation


def _result(recognizer: Any, start: int, end: int) -> Any:
    result, explanation = _kinds()
    source = {
        result.RECOGNIZER_NAME_KEY: recognizer.name,
        result.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
    }
    entity, score = recognizer.supported_entities[0], recognizer.SCORE
    return result(entity, start, end, score, explanation(recognizer.name, score), source)
