"""Languages told of many texts together are those that py3langid tells of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pii.language import LEAST, Language, _words
from tests.pipelines.pii.public import sample

LANGUAGES = ("en", "de", "es", "fr")
MANY = Language(LANGUAGES)
ONE = Language(LANGUAGES)
PARTS = [
    *(
        "the parcel came late and",
        "ich möchte gern wissen",
        "¿dónde está mi paquete",
        "où est-il, né",
    ),
    *("MY ACCOUNT IS CLOSED AND", "12345", "中文字", "e\u0301te\u0301", "½²", "\ud800", "\n"),
]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=30)), max_size=6)))
def test_many_together_are_told_as_each_alone(pieces: list[list[str]]) -> None:
    texts = [" ".join(parts) for parts in pieces]
    MANY.read(texts)
    for text in texts:
        words = _words(text)
        expected = ONE._of_words(words) if len(words) >= LEAST else "en"
        assert MANY.of(text) == expected == ONE.of(text)


@pytest.mark.parametrize("place", ["gsm8k", "hh_rlhf", "oasst_zh", "pii_anon"])
def test_real_text(public_data: Path, place: str) -> None:
    texts = sample(public_data / place, 150)
    MANY.read(texts)
    assert [MANY.of(text) for text in texts] == [ONE.of(text) for text in texts]


def test_a_text_is_told_apart_by_its_words() -> None:
    texts = ["Wo bleibt mein Paket, das ich bestellt habe?", "Where is the parcel that I ordered?"]
    MANY.read(texts)
    assert [MANY.of(text) for text in texts] == ["de", "en"]
    assert [Language(("en",)).of(text) for text in texts] == ["en", "en"]
