"""Which version answers a caller during a rollout, and who the caller is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.predicates.rollouts import WHOLE
from governance.base.errors import ConfigError
from governance.policy.serving import ServingRules
from governance.proxy import permission
from governance.proxy.choice import Caller, chosen, is_copied
from governance.proxy.permission import Canary, Held, Said, Verdict
from governance.proxy.split_key import FILE, kept

OLD, NEW = Held("m", "1", "a", 1), Held("m", "2", "b", 2)
KEY = b"k" * 32


def verdict(weight: int, *, shadow: bool = False) -> Verdict:
    canary = Canary(NEW, "x", weight, ends=10.0, shadow=shadow)
    said = Said(3, (OLD,), None, (), ServingRules(), canary)
    return permission.verdict(permission.begin(said, 0.0), 1.0)


def asks(user: object = None, key: str = "", address: str = "10.0.0.1") -> Caller:
    body = {"model": "m"} if user is None else {"model": "m", "user": user}
    headers = {"authorization": key} if key else {}
    return Caller(headers, json.dumps(body).encode(), address)


def test_the_finest_of_what_a_request_says_is_the_caller() -> None:
    assert asks("ann", "Bearer 1", "a").name == asks("ann", "Bearer 2", "b").name
    assert asks(None, "Bearer 1", "a").name == asks(None, "Bearer 1", "b").name
    assert asks(None, "", "a").name == asks(7, "", "a").name == asks("", "", "a").name
    names = {asks("x", "", "x").name, asks(None, "x", "x").name, asks(None, "", "x").name}
    assert len(names) == 3, "a text means something else as user, key and address"
    assert "ann" not in repr(asks("ann", "Bearer 1")) + asks("ann").name


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 99_999, b"7", b"\xff", b'{"user": ["x"]}'])
def test_a_body_that_is_odd_names_nobody(body: bytes) -> None:
    assert Caller({}, body, "a").name == Caller({}, b"{}", "a").name


@given(st.text(min_size=1), st.integers(1, WHOLE), st.integers(1, WHOLE))
def test_a_wider_share_moves_callers_to_the_new_version_only(
    user: str, one: int, other: int
) -> None:
    narrow, wide = sorted((one, other))
    if chosen(verdict(narrow), asks(user), KEY) == NEW:
        assert chosen(verdict(wide), asks(user), KEY) == NEW
    assert chosen(verdict(WHOLE), asks(user), KEY) == NEW
    assert chosen(replace(verdict(one), canary=None), asks(user), KEY) == OLD


@given(st.text(min_size=1), st.integers(1, WHOLE))
def test_a_shadow_answers_nobody_and_copies_those_whom_it_would_answer(
    user: str, weight: int
) -> None:
    live, shadow = verdict(weight), verdict(weight, shadow=True)
    assert shadow.allowed == (OLD,) and chosen(shadow, asks(user), KEY) == OLD
    assert live.canary is not None and not is_copied(live.canary, asks(user), KEY)
    assert shadow.canary is not None
    assert is_copied(shadow.canary, asks(user), KEY) is (chosen(live, asks(user), KEY) == NEW)


def test_shares_are_those_of_the_callers() -> None:
    callers = [asks(f"user {number}") for number in range(4_000)]
    new = sum(chosen(verdict(2_500), caller, KEY) == NEW for caller in callers)
    assert abs(new / len(callers) - 0.25) < 0.03


def test_the_secret_outlives_the_process_and_is_nobody_elses(tmp_path: Path) -> None:
    made = kept(tmp_path / "state")
    assert kept(tmp_path / "state") == made != kept(tmp_path / "other")
    path = tmp_path / "state" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(ConfigError):
        kept(tmp_path / "state")
    (tmp_path / "file").touch()
    assert len(kept(tmp_path / "file")) == 32, "an account that may not write has one, too"
