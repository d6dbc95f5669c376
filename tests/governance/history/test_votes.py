"""How many people approve, each in a role of their own."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.predicates import Approval
from governance.base.time import instant_of
from governance.history.votes import Vote, distinct, in_force, seconded_by_another

ROWS: list[tuple[str, list[tuple[str, str]]]] = [
    # votes: person and role; who counts in which role
    ("", []),
    ("ada:risk", [("ada", "risk")]),
    ("ada:risk ada:legal", [("ada", "legal")]),
    ("ada:risk ben:risk", [("ada", "risk")]),
    ("ada:risk ben:legal", [("ada", "risk"), ("ben", "legal")]),
    ("ada:risk ada:legal ben:risk", [("ada", "legal"), ("ben", "risk")]),
    ("ada:risk ben:risk cleo:risk", [("ada", "risk")]),
    (
        "ada:risk ada:legal ben:risk ben:product cleo:risk",
        [("ada", "legal"), ("ben", "product"), ("cleo", "risk")],
    ),
    ("ada:risk ben:legal cleo:risk cleo:legal", [("ada", "risk"), ("ben", "legal")]),
]


def votes(pairs: list[tuple[str, str]]) -> list[Vote]:
    return [(name, role, cast(Any, SimpleNamespace())) for name, role in pairs]


@pytest.mark.parametrize(("text", "counted"), ROWS)
def test_people_count_once_each_in_a_role_of_their_own(
    text: str, counted: list[tuple[str, str]]
) -> None:
    pairs = [tuple(pair.split(":")) for pair in text.split()]
    result = distinct(votes(cast(Any, pairs)))
    assert len(result) == len(counted)
    assert [name for name, _ in result] == [name for name, _ in counted] or len(counted) == 1
    assert {role for _, role in result} == {role for _, role in counted} or len(counted) == 1
    assert set(result) <= {cast(Any, pair) for pair in pairs}


def _most(pairs: set[tuple[str, str]]) -> int:
    """By trying every order of the people over every order of the roles."""
    people, roles = sorted({name for name, _ in pairs}), sorted({role for _, role in pairs})
    size = max(len(people), len(roles))
    people += [""] * (size - len(people))
    return max(
        (
            sum(pair in pairs for pair in zip(people, order, strict=True))
            for order in permutations([*roles, *[""] * (size - len(roles))])
        ),
        default=0,
    )


@given(st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"))))
def test_as_many_people_count_as_possible(pairs: set[tuple[str, str]]) -> None:
    counted = distinct(votes(sorted(pairs)))
    assert len(counted) == _most(pairs)
    assert len({name for name, _ in counted}) == len({role for _, role in counted}) == len(counted)
    assert set(counted) <= pairs


def test_the_first_by_name_keeps_a_role_that_two_want() -> None:
    assert distinct(votes([("ben", "risk"), ("ada", "risk")])) == [("ada", "risk")]


def approval(decision: str, at: str, expires: str | None = None) -> Approval:
    return Approval.model_validate(
        {
            "principal": "ada",
            "role": "risk",
            "reason": "because",
            "at": at,
            "decision": decision,
            "about": "packet",
            "page": None,
            "expires": expires,
        }
    )


NOON, LATER = "2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000001Z"


@pytest.mark.parametrize(
    ("vote", "holds"),
    [
        (approval("approve", NOON), True),
        (approval("approve", LATER), False),
        (approval("reject", LATER), True),
        (approval("approve", NOON, LATER), True),
        (approval("approve", NOON, NOON), False),
        (approval("reject", LATER, NOON), False),
    ],
)
def test_a_vote_is_in_force_from_its_date_until_its_expiry(vote: Approval, holds: bool) -> None:
    assert in_force(vote, instant_of(NOON)) is holds


def test_a_move_without_a_request_has_no_second_signature() -> None:
    nothing = cast(Any, SimpleNamespace())
    assert seconded_by_another(nothing, nothing, None) is False
