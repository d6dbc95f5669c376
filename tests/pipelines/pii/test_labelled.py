"""Numbers that institutions issue, birth dates and addresses: found by their labels, in linear
time, and not in ordinary text.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.pii import labelled
from pipelines.pii.filter import TELLS_APART

RULES = labelled.rules(["en", "de", "es", "fr", "it"])


def found(text: str) -> set[tuple[str, str]]:
    return {(rule.entity, text[start:end]) for start, end, rule in labelled.find(text, RULES, 5)}


FINDS = [
    ("seen today, MRN 482-17-34.", ("MEDICAL_RECORD_NUMBER", "482-17-34")),
    ('{"employee_id": "E48213"}', ("EMPLOYEE_NUMBER", "E48213")),
    ("Case No. 2:19-cv-01234-JPO was closed", ("CASE_NUMBER", "2:19-cv-01234-JPO")),
    ("the application (no. 36244/06)", ("CASE_NUMBER", "36244/06")),
    ("Az. VI ZR 123/19", ("CASE_NUMBER", "VI ZR 123/19")),
    ("Kennzeichen B-MK 1234 war", ("LICENSE_PLATE", "B-MK 1234")),
    ("born in Ankara on 3 May 1970 and", ("DATE_OF_BIRTH", "3 May 1970")),
    ("who was born in 1970 and lives", ("DATE_OF_BIRTH", "1970")),
    ("wurde am 3. März 1958 in Köln geboren", ("DATE_OF_BIRTH", "3. März 1958")),
    ("at 12 Oak Street, Apt 4, Dayton, OH 45402.", None),
    ("Bergstraße 12, 50667 Köln", ("STREET_ADDRESS", "Bergstraße 12, 50667 Köln")),
    ("au 12 bis, rue de la Paix, 75002 Paris", None),
    ("vivo in via Roma 7", ("STREET_ADDRESS", "via Roma 7")),
    ("La targa della mia auto è AB 123 CD.", ("LICENSE_PLATE", "AB 123 CD")),
    ("P.IVA IT12345670017", ("TAX_NUMBER", "IT12345670017")),
    ("vive en Calle Mayor 12, 28013 Madrid", ("STREET_ADDRESS", "Calle Mayor 12, 28013 Madrid")),
]


@pytest.mark.parametrize(("text", "expected"), FINDS)
def test_what_is_found(text: str, expected: tuple[str, str] | None) -> None:
    if expected is None:
        assert {entity for entity, _ in found(text)} == {"STREET_ADDRESS"}
    else:
        assert expected in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "A case of 12 bottles costs 36 dollars; the policy of 2019 ended after 14 claims.",
        "Each student gets 25 points. Account for 15%; the account has 1200 followers.",
        "License: MIT 2.0; patient 4 of 12; chart 3 shows 45%. Account #250.00 was billed.",
        "In 1970 he was born again. During 30 days Adam ran. Spring 2019 was wet.",
        "9 Supreme Court justices; 42 U.S.C. § 1983; 12 District Court judges",
        "Drive to work:100(.60)=60\nDon't Drive to work:100-60=40",
        "candidate(4) == 1800; 2000 = <<2000*8=16000>>16000",
    ],
)
def test_what_is_not_found(text: str) -> None:
    assert found(text) == set()


def test_every_example_is_found() -> None:
    for entity, by_language in labelled.examples().items():
        for sentence in (one for several in by_language.values() for one in several):
            text = sentence.replace("#", "4")
            value = text[text.index("{") + 1 : text.index("}")]
            assert (entity, value) in found(text.replace("{", "").replace("}", "")), sentence


def test_no_test_of_a_rule_would_make_the_filter_run_it_always() -> None:
    assert [rule.entity for rule in RULES if TELLS_APART.search(rule.test)] == []


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(
        ["born ", "1 ", "12 Oak ", "case no. ", "A-", "MRN(", "a ", "Am ", "1.2.", "calle de "]
    )
)
def test_ten_times_the_text_takes_about_ten_times_as_long(piece: str) -> None:
    def seconds(times: int) -> float:
        text, began = "9" + piece * times, time.process_time()
        list(labelled.find(text, RULES, 30))
        return time.process_time() - began

    least = min(seconds(400) for _ in range(2))
    assert seconds(4000) < 40 * least + 0.05


def test_what_redaction_writes_is_no_label() -> None:
    rules = labelled.rules(["en"])
    text = "He was born in 1976, and <DATE_OF_BIRTH_abcdefghij> - 1932 = 44."
    assert [text[start:end] for start, end, _ in labelled.find(text, rules, 5.0)] == ["1976"]


def test_a_result_after_a_heading_has_no_label() -> None:
    rules = labelled.rules(["en"])
    assert not list(labelled.find("45 * 3 = 135 plates\n#### 135", rules, 5.0))
    assert list(labelled.find("license plate: 7ABC135", rules, 5.0))
