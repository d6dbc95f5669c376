"""Text that is safe to show, and figures as people read them: each row at a boundary."""

from __future__ import annotations

import pytest

from governance.base import text

VISIBLE = {
    "plain": "plain",
    "two\nlines": "two\nlines",
    "Zürich, 東京, Ω": "Zürich, 東京, Ω",
    "a\tb": "a⟨U+0009⟩b",
    "bell\x07": "bell⟨U+0007⟩",
    "zero\u200bwidth": "zero⟨U+200B⟩width",
    "right\u202eto left": "right⟨U+202E⟩to left",
    "é\x1b[2J": "é⟨U+001B⟩[2J",
    "line\u2028separator": "line⟨U+2028⟩separator",
    "e\u0301": "e\u0301",
    "e\u0301\u0302\u0303": "e\u0301\u0302\u0303",
    "e\u0301\u0302\u0303\u0304": "e\u0301\u0302\u0303⟨U+0304⟩",
    "\u05d0\u0301\u0302\u0303\u0304\u05d0\u0301": "\u05d0\u0301\u0302\u0303⟨U+0304⟩\u05d0\u0301",
}
"""Text to what is shown of it."""


@pytest.mark.parametrize("given", VISIBLE)
def test_what_hides_is_shown_as_its_code_point_and_the_rest_stays(given: str) -> None:
    assert text.visible(given) == VISIBLE[given]


def test_a_quoted_text_cannot_begin_a_line_of_its_own() -> None:
    assert text.one_line("ada\nAPPROVED") == "ada⟨U+000A⟩APPROVED"


@pytest.mark.parametrize(
    ("room", "shown"), [(6, "sample"), (5, "sampl… (1 more)"), (0, "… (6 more)")]
)
def test_a_cut_text_says_how_much_is_missing(room: int, shown: str) -> None:
    assert text.brief("sample", room) == shown


NUMBERS = [
    (None, "none"),
    (True, "yes"),
    (False, "no"),
    (0, "0"),
    (1234567, "1,234,567"),
    (0.0, "0"),
    (0.001, "0.001"),
    (0.0009999, "0.001"),
    (0.00012345, "0.000123"),
    (12.3456, "12.35"),
    (999.9, "999.9"),
    (1000.4, "1,000"),
    (9_999_999.0, "9,999,999"),
    (1e7, "1e+07"),
    (-1e7, "-1e+07"),
    ("text", "text"),
]


@pytest.mark.parametrize(("value", "shown"), NUMBERS)
def test_a_figure_has_four_digits_at_most(value: object, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (99.9, "99.9 s"), (100, "1.7 min"), (5999, "100.0 min"), (6000, "1.7 h")],
)
def test_a_duration_has_the_unit_that_reads_best(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (1_000_000_000, "1.0 GB"),
        (10**12, "1.0 TB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_a_size_has_the_unit_that_reads_best(count: int, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-11-20T09:24:00Z", "2026-11-20 09:24:00 UTC"),
        ("2026-11-20T09:24:00.123456Z", "2026-11-20 09:24:00 UTC"),
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20T09:24:00+01:00", "2026-11-20T09:24:00+01:00"),
    ],
)
def test_a_moment_is_in_utc_to_the_second(given: str, shown: str) -> None:
    assert text.moment(given) == shown
    assert text.timed(f"since {given}, twice: {given}") == f"since {shown}, twice: {shown}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({}, "none"),
        ([], "none"),
        ("", "empty"),
        ("x", "x"),
        ({"b": 1, "a": [0.5, None]}, "a 0.5, none, b 1"),
    ],
)
def test_a_parameter_is_one_line(value: object, shown: str) -> None:
    assert text.plain(value) == shown


def test_scores_differences_lists_and_renewals() -> None:
    assert (text.share(None), text.share(0.12345)) == ("none", "0.123")
    assert (text.signed(None), text.signed(0.5), text.signed(-0.5)) == ("none", "+0.500", "−0.500")
    assert (text.words([]), text.words([], "nobody"), text.words(["a", "b"])) == (
        "none",
        "nobody",
        "a, b",
    )
    assert [text.renewed(times) for times in range(3)] == [
        "never renewed",
        "renewed once",
        "renewed 2 times",
    ]
    assert text.short("0123456789abcdef") == "0123456789ab"
