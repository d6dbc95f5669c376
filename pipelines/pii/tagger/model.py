"""Finds persons, places and organisations with the shipped weights, in numpy.

1. A word's vector is the sum of the weights of its features. It is computed once per different
   word.
2. Each candidate is judged by itself, from its vector and those of `REACH` words on both sides, by
   one hidden layer. Neighbours of the same kind are one name.
3. Nothing is learned from the texts that are searched, and a text's findings depend on that text
   alone.
"""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from pipelines.pii.tagger.words import KINDS, features, is_candidate, key, words

FILE = Path(__file__).with_name("weights.safetensors")

REACH = 3
"""Words on each side that are seen."""

BLOCK = 12
"""Candidates that are judged together. For more, OpenBLAS starts threads, which cost more than they
save here.
"""

LEAST, LEAST_LOWER = 0.5, 0.8
"""The least probability of a finding; that of a word in lower case."""

PARTICLES = frozenset(
    {"de", "da", "van", "von", "der", "den", "di", "du", "la", "le", "del", "al", "el"}
    | {"bin", "ibn", "dos", "ten", "y"}
)
"""Words in lower case that stand inside a person's name."""

MANY = 100_000
"""Different words from which on the vectors are begun anew."""

Named = tuple[int, int, str, float]
"""Start, end, entity and score."""


class Tagger:
    """The tagger with its weights."""

    name = "Tagger"
    entities: tuple[str, ...] = KINDS[1:]

    def __init__(self, file: Path = FILE) -> None:
        self._file = file
        self._np: Any = None

    def _load(self) -> None:
        """Reads the weights when the first text is searched."""
        import numpy as np
        from safetensors.numpy import load_file

        self._np = np
        weights = load_file(self._file)
        lists = zip(weights["lists.words"].tolist(), weights["lists.bits"].tolist(), strict=True)
        self._known: dict[int, int] = dict(lists)
        self._features = weights["features"].astype(np.float32)
        self._hidden = weights["hidden.weight"].astype(np.float32).T.copy()
        self._hidden_bias = weights["hidden.bias"].astype(np.float32)
        self._output = weights["output.weight"].astype(np.float32).T.copy()
        self._output_bias = weights["output.bias"].astype(np.float32)
        self._beyond = weights["beyond"].astype(np.float32)
        self._around = np.arange(2 * REACH + 1)
        self._forget()

    def find(self, text: str) -> list[Named]:
        """The names in `text`, in order, without overlaps."""
        if self._np is None:
            self._load()
        np, found = self._np, words(text)
        rows = self._rows_of(found)
        candidates = np.flatnonzero(self._candidate[rows])
        if not len(candidates):
            return []
        padded = np.zeros(len(rows) + 2 * REACH, np.int32)  # row 0: beyond the text
        padded[REACH:-REACH] = rows
        seen = padded[candidates[:, None] + self._around]
        blocks = [self._judged(seen[at : at + BLOCK]) for at in range(0, len(seen), BLOCK)]
        scores = np.concatenate(blocks)
        best = scores[:, 1:].argmax(1) + 1
        chance = scores[np.arange(len(best)), best]
        sure = np.flatnonzero(chance >= self._least[rows[candidates]])
        if not len(sure):
            return []
        columns = (candidates[sure], best[sure], chance[sure])
        picked = list(zip(*(column.tolist() for column in columns), strict=True))
        return [name for name in _names(found, picked) if _stands_alone(text, *name[:2])]

    def _judged(self, seen: Any) -> Any:
        """The probability of each kind. `seen`: rows of vectors, one line for each candidate."""
        np = self._np
        hidden = self._vectors[seen].reshape(len(seen), -1) @ self._hidden + self._hidden_bias
        scores = np.maximum(hidden, 0) @ self._output + self._output_bias
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    # --- vectors of words

    def _forget(self) -> None:
        np = self._np
        self._row: dict[str, int] = {}
        self._vectors = np.zeros((1024, len(self._beyond)), np.float32)
        self._vectors[0] = self._beyond
        self._candidate = np.zeros(1024, bool)
        self._least = np.ones(1024, np.float32)

    def _rows_of(self, found: list[str]) -> Any:
        if len(self._row) > MANY:
            self._forget()
        get = self._row.get
        rows = [get(word, 0) for word in found]
        if 0 in rows:
            self._learn({word: None for word, row in zip(found, rows, strict=True) if not row})
            rows = [self._row[word] for word in found]
        return self._np.array(rows, self._np.int32)

    def _learn(self, new: dict[str, None]) -> None:
        """Computes the vectors of words."""
        np, first = self._np, len(self._row) + 1
        self._grow(first + len(new))
        for row, word in enumerate(new, first):
            known = self._known.get(key(word), 0)
            self._row[word] = row
            self._vectors[row] = self._features[features(word, known)].sum(0, dtype=np.float32)
            self._candidate[row] = is_candidate(word, known)
            self._least[row] = LEAST if word != word.lower() else LEAST_LOWER

    def _grow(self, rows: int) -> None:
        np, more = self._np, 2 * rows
        if rows > len(self._vectors):
            self._vectors = np.resize(self._vectors, (more, self._vectors.shape[1]))
            self._candidate = np.resize(self._candidate, more)
            self._least = np.resize(self._least, more)


_INSIDE = re.compile(r"[\w@]")


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a name is more than a letter, and no part of a number, identifier or e-mail
    address.
    """
    if end - start < 2 or _INSIDE.match(text, end):
        return False
    return start == 0 or text[start - 1] == "@" or not _INSIDE.match(text, start - 1)


def _names(found: list[str], picked: list[tuple[int, int, float]]) -> list[Named]:
    """Words that belong together as one name. `picked`: (word, kind, probability)."""
    ends = list(accumulate(map(len, found)))
    names: list[Named] = []
    last, last_kind = -9, 0
    for at, kind, chance in picked:
        start = ends[at] - len(found[at].lstrip())
        if kind == last_kind and _belong(found, last, at, kind):
            begun, _, entity, score = names.pop()
            names.append((begun, ends[at], entity, max(score, round(chance, 2))))
        else:
            names.append((start, ends[at], KINDS[kind], round(chance, 2)))
        last, last_kind = at, kind
    return names


def _belong(found: list[str], last: int, at: int, kind: int) -> bool:
    """Whether the words `last` and `at`, of the same kind, are parts of one name."""
    if "\n" in found[at][:1]:
        return False
    between = [word.strip() for word in found[last + 1 : at]]
    if not between:
        return True
    if between == ["."]:
        return len(found[last].strip()) == 1  # an initial
    if kind == 1:
        return len(between) < 3 and all(word in PARTICLES for word in between)
    return kind == 3 and between in (["of"], ["&"])
