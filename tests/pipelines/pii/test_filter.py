"""The fast way finds exactly what plain Presidio finds: on composed, fuzzed and real text."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scanning import stock_phone_matcher
from pipelines.pii import disguise
from pipelines.pii import filter as pii_filter
from pipelines.pii import presidio as pii_presidio
from pipelines.pii.engine import PlainEngine, Span, _without_repeats
from pipelines.pii.filter import FilteredEngine, fastest
from pipelines.pii.kept import KeptFile
from pipelines.pii.phones import Phones
from pipelines.pii.presidio import phone_matcher, phone_test
from tests.conftest import ROOT
from tests.pipelines.pii.pieces import FUZZED, PIECES
from tests.pipelines.pii.public import sample
from tests.pipelines.policies import pii, shipped_pii

pytest.importorskip("hyperscan")


@cache
def plain() -> PlainEngine:
    """Presidio, as it is shipped."""
    return PlainEngine(shipped_pii(), ROOT)


@cache
def fast() -> FilteredEngine:
    """The same behind the filter. To compile its patterns takes a CPU-second: not on import."""
    return FilteredEngine(plain())


@pytest.mark.slow
@settings(deadline=None)
@given(FUZZED)
def test_composed_and_fuzzed_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert fast().find(text) == plain().find(text)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5),
    st.sampled_from(["", " ", ", ", "’", "é", "\u00a0", "_"]),
)
def test_joined_pieces(pieces: list[str], glue: str) -> None:
    text = glue.join(pieces)
    assert fast().find(text) == plain().find(text)


# --- Presidio's own recognizers -------------------------------------------------------------------


@cache
def stock() -> Any:
    """Presidio with its own recognizers alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pii_presidio, "_own_recognizers", lambda policy: iter(()))
        return pii_presidio.analyzer(shipped_pii())


def found_by_stock(text: str) -> list[Span]:
    with stock_phone_matcher():
        results = [
            result
            for language in plain()._languages_of(text)
            for result in stock().analyze(text, language=language)
        ]
    return _without_repeats(
        {Span(one.start, one.end, one.entity_type, round(one.score, 4)) for one in results}
    )


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(PIECES), st.text(max_size=5), st.sampled_from(" .,:-\n@0123456789")
        ),
        max_size=10,
    ),
    st.sampled_from(["", " ", ", "]),
)
def test_what_presidio_finds_by_itself_is_found_span_for_span(pieces: list[str], glue: str) -> None:
    text = SUM_SIGNS.sub("", glue.join(pieces))
    entities = {name for one in stock().registry.recognizers for name in one.supported_entities}
    expected = found_by_stock(text)
    assert [one for one in fast().find(text) if one.entity in entities] == expected
    assert set(expected) <= set(disguise.find(fast(), text))


SUM_SIGNS = re.compile("[=*×÷]")
"""Numbers beside them are a documented exclusion."""


def test_the_filter_spares_clean_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(*_: object, **__: object) -> None:
        raise AssertionError("a recognizer ran")

    monkeypatch.setattr(plain(), "_analyze", searched)
    assert (
        fast().find(
            "Hello. My router drops off the network every hour — what can I do? It’s 3 years old."
        )
        == []
    )
    with pytest.raises(AssertionError):
        fast().find("anna@example.com")
    assert [one.entity for one in fast().find("Ask Anna Weber.")] == ["PERSON"]


def test_patterns_that_tell_characters_apart_always_run() -> None:
    own = {"name": "own", "entity": "OWN", "patterns": [{"name": "own", "regex": "id:[^_ -]+"}]}
    engine = PlainEngine(pii(recognizers=[own]), ROOT)
    filtered = FilteredEngine(engine)
    for text in ("id:é", "id:—", "id:_", "id:a"):
        assert filtered.find(text) == engine.find(text)
    assert {one.entity for one in filtered.find("id:é")} == {"OWN"}


def test_without_hyperscan_everything_goes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert fastest(plain()) is plain()


def test_what_hyperscan_does_not_take_goes_the_plain_way() -> None:
    own = {"name": "own", "entity": "OWN", "patterns": [{"name": "own", "regex": "(?=x)"}]}
    engine = PlainEngine(pii(recognizers=[own]), ROOT)
    assert fastest(engine) is engine


@pytest.mark.slow
def test_kept_patterns_are_not_compiled_again_and_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptFile(tmp_path / "patterns", b"key")
    FilteredEngine(plain(), kept)
    monkeypatch.setattr(pii_filter, "_compiled", None)
    again = FilteredEngine(plain(), kept)
    text = " ".join(PIECES)
    for part in (*PIECES, text):
        assert again.find(part) == fast().find(part)
    assert again.find(text)


@pytest.mark.parametrize("content", [b"", b"no database"])
def test_kept_patterns_that_cannot_be_used_are_compiled_again(
    content: bytes, tmp_path: Path
) -> None:
    kept = KeptFile(tmp_path / "patterns", b"key")
    kept.write(content)
    engine = FilteredEngine(plain(), kept)
    assert engine.find("anna@example.com") == fast().find("anna@example.com")
    assert len(kept.read()) > 1000


@pytest.mark.parametrize(
    "place", ["presidio_research/generated_small.json", "pii_anon", "hh_rlhf", "oasst_zh", "gsm8k"]
)
def test_real_text(public_data: Path, place: str) -> None:
    for text in sample(public_data / place):
        assert fast().find(text) == plain().find(text)


# --- telephone numbers ----------------------------------------------------------------------------

REGIONS = ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR", "JP", "RU", "AU", "SH", "AR", "IT")


def numbers(matcher: type, text: str, region: str) -> list[tuple[int, int]]:
    return [(match.start, match.end) for match in matcher(text, region, leniency=1)]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text("0123456789", min_size=1, max_size=11),
            st.sampled_from(
                [
                    "+",
                    "00",
                    "011 ",
                    "49 ",
                    " 44 ",
                    "(",
                    ")",
                    "-",
                    ".",
                    " ",
                    "/",
                    " ext. ",
                    "; ",
                    "＋",
                    "290",
                ]
            ),
        ),
        max_size=9,
    ),
    st.sampled_from(REGIONS),
)
def test_the_quick_matcher_finds_the_same_numbers(pieces: list[str], region: str) -> None:
    from phonenumbers.phonenumbermatcher import PhoneNumberMatcher

    text = "".join(pieces)
    found = numbers(phone_matcher(), text, region)
    assert found == numbers(PhoneNumberMatcher, text, region)
    assert not found or phone_test([region, "US"]).search(text)
    everywhere = {
        place for one in (region, "US", "BR") for place in numbers(phone_matcher(), text, one)
    }
    assert Phones((region, "US", "BR"), leniency=1).find(text) == everywhere


SUMS = [
    # text, country of whose format it is, what is found, and what the library finds
    ("She has 90000-36000 = 54000 left", "IN", 0, 1),
    ("= $<<60000-10800=49200>>", "IN", 0, 1),
    ("4000/2000 = <<2000", "BR", 0, 1),
    ("3000-1200=1800", "BR", 0, 1),
    ("12*30=<<360000", "DE", 0, 1),
    ("from 90000-36000", "IN", 1, 1),
    ("030-1234567 = head office", "DE", 1, 1),
    ("tel=030-1234567", "DE", 1, 1),
    ("+49 30 1234567 = 5", "US", 1, 1),
]


@pytest.mark.parametrize(("text", "region", "ours", "stock"), SUMS)
def test_figures_in_a_sum_are_no_numbers(text: str, region: str, ours: int, stock: int) -> None:
    from phonenumbers.phonenumbermatcher import PhoneNumberMatcher

    assert len(numbers(phone_matcher(), text, region)) == ours
    assert len(numbers(PhoneNumberMatcher, text, region)) == stock


@pytest.mark.parametrize("region", ["DE", "IL"])
def test_no_number_has_fewer_than_four_digits(region: str) -> None:
    from phonenumbers.phonenumbermatcher import PhoneNumberMatcher

    short = [
        f"{plus}{number:0{digits}}"
        for plus in ("", "+")
        for digits in (1, 2, 3)
        for number in range(10**digits)
    ]
    assert [text for text in short if numbers(PhoneNumberMatcher, text, region)] == []
