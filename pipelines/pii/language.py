"""Tells the language of a text with py3langid (BSD, Naive Bayes on byte n-grams).

1. A text with few letters counts as the default language: a name or a number has none. The sample
   of a long text is its beginning.
2. Many texts are read together: one step of py3langid's automaton for all of them at a time. Where
   two languages are nearly equal, py3langid itself decides, so that the answers are the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from copy import copy
from functools import cache, cached_property
from typing import Any

LEAST = 25
"""Letters and spaces below which a text has the default language."""

SAMPLE = 200
"""Characters that are read."""

NEAR = 0.1
"""Scores that differ by less may come from rounding."""


class _Letters(dict[int, int]):
    """A table for `str.translate`: a space for every character that is no letter."""

    def __missing__(self, code: int) -> int:
        self[code] = code if chr(code).isalpha() else ord(" ")
        return self[code]


_LETTERS = _Letters()
_ASCII_LETTERS = bytes(code if chr(code).isalpha() else ord(" ") for code in range(128)).ljust(256)


def _words(text: str) -> str:
    """The letters of the sample, with one space between words."""
    sample = text[:SAMPLE]
    if sample.isascii():
        return b" ".join(sample.encode().translate(_ASCII_LETTERS).split()).decode()
    return " ".join(sample.translate(_LETTERS).split())


class Language:
    """Tells which of some languages a text is in. The first one is the default."""

    def __init__(self, languages: Sequence[str]) -> None:
        self.languages = tuple(languages)
        self._last = ("", self.languages[0])
        self._read: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The language of `text`. The last answer, and those of `read`, are remembered."""
        if len(self.languages) == 1:
            return self.languages[0]
        if text in self._read:
            return self._read[text]
        if text != self._last[0]:
            words = _words(text)
            known = self.languages[0] if len(words) < LEAST else self._of_words(words)
            self._last = (text, known)
        return self._last[1]

    def read(self, texts: Sequence[str]) -> None:
        """Prepares the answers for these texts together, which is much faster; forgets others."""
        if len(self.languages) == 1:
            return
        samples = {text: _words(text) for text in texts}
        self._read = dict.fromkeys(texts, self.languages[0])
        enough = {text: words for text, words in samples.items() if len(words) >= LEAST}
        if enough:
            found = self._automaton.languages_of(list(enough.values()))
            for (text, words), language in zip(enough.items(), found, strict=True):
                self._read[text] = language or self._of_words(words)

    def _of_words(self, words: str) -> str:
        language: str = self._identifier.classify(words)[0]
        return language

    @cached_property
    def _identifier(self) -> Any:
        identifier = copy(load_identifier())
        identifier.set_languages(list(self.languages))
        return identifier

    @cached_property
    def _automaton(self) -> _Automaton:
        return _Automaton(self._identifier)


@cache
def load_identifier() -> Any:
    """py3langid's identifier of all its languages. To unpack its model takes half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


class _Automaton:
    """py3langid's model in numpy, for many texts at once."""

    def __init__(self, identifier: Any) -> None:
        import numpy as np

        self._np = np
        self._next = np.asarray(identifier.tk_nextmove)
        self._row = np.asarray(identifier.tk_row, np.int64) << 8
        self._output = np.asarray(identifier.tk_output, np.int32)
        self._weights = np.asarray(identifier.nb_ptc)
        self._prior = np.asarray(identifier.nb_pc, np.float64)
        self._classes = list(identifier.nb_classes)

    def languages_of(self, samples: Sequence[str]) -> list[str | None]:
        """The language of each sample; None where py3langid itself must decide."""
        np = self._np
        scores = self._scores([_encoded(sample) for sample in samples])
        best = scores.argmax(1)
        leads = np.partition(scores, -2, axis=1)
        unsure = ~(leads[:, -1] - leads[:, -2] >= NEAR)
        return [
            None if doubt else self._classes[index]
            for index, doubt in zip(best.tolist(), unsure.tolist(), strict=True)
        ]

    def _scores(self, samples: list[bytes]) -> Any:
        """Score by sample and language: log(1 + count) of each feature times its weights."""
        np, width = self._np, len(self._output)
        rows, features = self._features(samples)
        places, counts = np.unique(rows * width + features, return_counts=True)
        row, feature = places // width, places % width
        parts = np.log1p(counts)[:, None] * self._weights[feature].astype(np.float64)
        scores = np.zeros((len(samples), len(self._classes)))
        for column in range(scores.shape[1]):
            scores[:, column] = np.bincount(row, parts[:, column], len(samples))
        return np.where(np.bincount(row, minlength=len(samples))[:, None], scores + self._prior, 0)

    def _features(self, samples: list[bytes]) -> tuple[Any, Any]:
        """Sample and feature of every byte at which py3langid's automaton reports one."""
        np = self._np
        order = sorted(range(len(samples)), key=lambda index: -len(samples[index]))
        sizes = [len(samples[index]) for index in order]
        width = sizes[0]
        table = np.frombuffer(
            b"".join(samples[index].ljust(width, b"\0") for index in order), np.uint8
        ).reshape(len(order), width)
        letters = np.ascontiguousarray(table.T)
        lengths, state = np.array(sizes), np.zeros(len(order), np.int64)
        reported = np.full((width, len(order)), -1, np.int32)
        for at in range(width):
            going = int(np.searchsorted(-lengths, -at))  # those with more than `at` bytes
            state = self._next[self._row[state[:going]] + letters[at, :going]].astype(np.int64)
            reported[at, :going] = self._output[state]
        _, columns = found = np.nonzero(reported >= 0)
        return np.array(order)[columns], reported[found].astype(np.int64)


def _encoded(sample: str) -> bytes:
    """As py3langid reads a text."""
    text = sample.lower() if sample.isupper() else sample
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
