"""Disguised values: found in a plain copy, removed at their own place, nothing beside them touched."""

from __future__ import annotations

import time
from collections.abc import Callable
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


HINTED = [
    "one",
    "two",
    "Three",
    "FOUR",
    "five",
    "un",
    "at",
    "Gmail",
    "dot",
    "@",
    "**",
    "&amp;",
    "%40",
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*HINTED, "12-14-15", "4O7", "ſeven", "(at)", "A" * 16, "a", "b.de"]),
            st.text(max_size=4),
        ),
        max_size=12,
    ),
    st.sampled_from(["", " ", "-", ", ", "\t", "\x1c"]),
)
def test_what_a_text_needs_leaves_out_no_hint(pieces: list[str], glue: str) -> None:
    text = glue.join(pieces)
    hints = [hint for _, hint in disguise._HINTS]
    hints += [disguise._DIGIT_HINT, disguise._RUN_HINT, disguise._SIGN_HINT, disguise._DIGIT_WORDS]
    assert disguise.is_possible(text) == any(hint.search(text) for hint in hints)
    for pattern, may_match in disguise.TESTS.items():
        assert may_match(text) or not pattern.search(text)


# --- time -----------------------------------------------------------------------------------------

HOSTILE = [
    "a",
    "1",
    " ",
    "0O",
    "a.",
    "1-",
    "1 ",
    "at ",
    "one ",
    "un,",
    "a dot ",
    "(at)",
    "&#",
    "%4",
    "[",
    "**a",
    "1.",
    "A+/",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_length_of_a_hostile_text(unit: str) -> None:
    def work(size: int) -> None:
        text = (unit * size)[:size]
        disguise.is_possible(text)
        for pattern, _ in (*disguise.STEPS, (disguise._BASE64, None)):
            for _match in pattern.finditer(text):
                pass

    assert grows(work, 4_000) < 24  # linear: 8; quadratic: 64


def grows(work: Callable[[int], None], size: int) -> float:
    """How many times the CPU time of eight times the size is that of the size; the best of three."""

    def seconds(of: int) -> float:
        began = time.process_time()
        work(of)
        return time.process_time() - began

    small = min(seconds(size) for _ in range(3))
    return min(seconds(8 * size) for _ in range(3)) / max(small, 1e-4)
