"""The language of records (py3langid), compared with the suite's and with the dataset's own."""

from __future__ import annotations

import numpy as np

from governance.base.errors import ConfigError
from pipelines.features.leaks import Around
from pipelines.features.turns import MESSAGE, ROLE, Column, Records

SHORT = 20
"""A text of fewer characters is too short to tell its language."""


def language_expected(records: Records, around: Around) -> Column:
    """Whether the text is in the suite's language. A short text counts as such."""
    if around.language is None:
        found, fix = "the suite names no language", "set `language` in the suite"
        raise ConfigError(found, where="policies/quality", fix=fix)
    return np.array([name in ("", around.language) for name in _languages(records)], dtype=bool)


def other_language(records: Records, around: Around) -> Column:
    """Whether the text is in another language than most of the dataset. A short text is not."""
    codes = [int.from_bytes(name.encode("ascii"), "big") for name in _languages(records)]
    return np.array(codes, dtype=float)


def unlike_most(codes: Column, around: Around) -> Column:
    """Whether each code is another than the most frequent one; 0 stands for none."""
    known, counts = np.unique(codes[codes > 0], return_counts=True)
    if not len(known):
        return np.full(len(codes), False)
    found: Column = (codes > 0) & (codes != known[counts.argmax()])
    return found


def _languages(records: Records) -> list[str]:
    """The language of each record, as `language_of` tells it."""
    texts = (
        " ".join(part.split(ROLE)[-1] for part in record.split(MESSAGE)) for record in records.whole
    )
    return [language_of(text) for text in texts]


def language_of(text: str) -> str:
    """By ISO 639-1; "" where the text is short."""
    import py3langid

    return "" if len(text) < SHORT else py3langid.classify(text)[0]
