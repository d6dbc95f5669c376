"""Disguised values: found in a plain copy, removed at their own place, nothing beside them touched."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pii_unseen import DISGUISES
from pipelines.pii import disguise
from pipelines.pii.engine import PlainEngine
from pipelines.pii.scan import redact
from tests.conftest import ROOT
from tests.pipelines.policies import pii

MAIL = "mario.rossi@example.com"
OF_MAIL = sorted(set(DISGUISES) - {"line break", "letters for digits", "Cyrillic letters", "code"})


@cache
def engine() -> PlainEngine:
    return PlainEngine(pii(entities={"URL": {"action": "allow", "reason": "public"}}), ROOT)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(OF_MAIL),
    st.text("abc éß中\n.,!", max_size=12),
    st.text("abc éß中\n.,!", max_size=12),
)
def test_a_disguised_value_goes_and_its_neighbours_stay(name: str, before: str, after: str) -> None:
    hidden = DISGUISES[name](MAIL)
    head, tail = f"{before} , ", f" , {after}"
    text = f"{head}{hidden}{tail}"
    cleaned = redact(text, disguise.find(engine(), text), engine().policy, b"key")
    assert cleaned.startswith(head) and cleaned.endswith(tail)
    between = cleaned[len(head) : len(cleaned) - len(tail)]
    assert "EMAIL_ADDRESS" in between and "rossi" not in between


@pytest.mark.parametrize(
    "text",
    [
        "we met at example.com; it was down &amp; out",
        "one, two, three, four, five, six, seven, eight",
        "stress at some point in life; 100000 - 5038 = 94962; 12-14-15",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "see https://example.com/a%20b?page=2&sort=asc",
    ],
)
def test_clean_text_stays(text: str) -> None:
    assert [one for one in disguise.find(engine(), text) if one.entity != "URL"] == []


@settings(deadline=None)
@given(st.text(max_size=40))
def test_every_character_of_a_copy_comes_from_a_place_of_the_text(text: str) -> None:
    for copy in disguise.copies(text):
        assert len(copy.text) == len(copy.starts) == len(copy.ends)
        assert list(copy.starts) == sorted(copy.starts)
        assert all(0 <= s < e <= len(text) for s, e in zip(copy.starts, copy.ends, strict=True))
