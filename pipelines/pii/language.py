"""Tells the language of a text with py3langid (BSD, Naive Bayes on byte n-grams).

A text with few letters counts as the default language: a name or a number has none. The sample of a
long text is its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

LEAST = 25
"""Letters and spaces below which a text has the default language."""

SAMPLE = 200
"""Characters that are read."""


class _Letters(dict[int, int]):
    """A table for `str.translate`: a space for every character that is no letter."""

    def __missing__(self, code: int) -> int:
        self[code] = code if chr(code).isalpha() else ord(" ")
        return self[code]


_LETTERS = _Letters()


class Language:
    """Tells which of some languages a text is in. The first one is the default."""

    def __init__(self, languages: Sequence[str]) -> None:
        self.languages = tuple(languages)
        self._last = ("", self.languages[0])

    def of(self, text: str) -> str:
        """The language of `text`. The last answer is remembered."""
        if len(self.languages) > 1 and text != self._last[0]:
            self._last = (text, self._detected(text[:SAMPLE]))
        return self._last[1]

    def _detected(self, text: str) -> str:
        words = " ".join(text.translate(_LETTERS).split())
        if len(words) < LEAST:
            return self.languages[0]
        language: str = self._identifier.classify(words)[0]
        return language

    @cached_property
    def _identifier(self) -> Any:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        identifier.set_languages(list(self.languages))
        return identifier
