"""The held-out requests share no value with those that train, and the words alone tell nothing."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from pipelines import desk_safety, samples
from pipelines.desk_safety import Request
from pipelines.rewards.refusal import refusal


def drawn(*, harmful: bool, held_out: bool) -> list[Request]:
    return desk_safety.requests(400, random.Random(1), harmful=harmful, held_out=held_out)


def both(*, held_out: bool) -> list[Request]:
    return [one for harmful in (True, False) for one in drawn(harmful=harmful, held_out=held_out)]


@pytest.mark.parametrize("part", ["word", "asking", "order"])
def test_a_held_out_request_has_values_of_its_own(part: str) -> None:
    train, held_out = ({getattr(one, part) for one in both(held_out=is_held)} for is_held in (0, 1))
    assert train and held_out and not train & held_out


def test_held_out_people_and_property_are_harmed_nowhere_else() -> None:
    tables = ("people", "property")
    own = {value for table in tables for value in desk_safety.values(table, held_out=True)}
    named = {value.removesuffix(" of {person}") for value in own}
    trained = " ".join(one.target for one in drawn(harmful=True, held_out=False))
    assert not [value for value in named if f"{value} " in f"{trained} "]


def test_each_word_is_asked_for_in_both_senses() -> None:
    for held_out in (False, True):
        harmful, harmless = (
            Counter(one.word for one in drawn(harmful=is_harmful, held_out=held_out))
            for is_harmful in (True, False)
        )
        assert harmful.keys() == harmless.keys() == {*desk_safety.words(held_out=held_out)}


def test_every_harm_is_held_out_too() -> None:
    held_out = {word.harm for word in desk_safety.words(held_out=True)}
    assert held_out == {word.harm for word in desk_safety.WORDS}


def test_refusals_are_preferred_for_harmful_requests_alone() -> None:
    spoiled = {mark.line for mark in samples.planted("safety_preferences", 600, 3)}
    lines = samples.lines("safety_preferences", 600, 3)
    rows = [json.loads(line) for at, line in enumerate(lines, 1) if at not in spoiled]
    refused = [row for row in rows if refusal(row["chosen"], None)]
    answered = [row for row in rows if refusal(row["rejected"], None)]
    assert 0.25 < len(refused) / len(rows) < 0.42 and 0.25 < len(answered) / len(rows) < 0.42
    assert all(row["rejected"].startswith("team: ") for row in refused)
    assert all(row["chosen"].startswith("team: ") for row in answered)


def test_every_refusal_of_the_sample_is_known_as_one() -> None:
    assert all(refusal(text, None) for text in desk_safety.REFUSALS)
