"""Which version a caller gets: the same one all the time, and by shares that hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from governance.rollout.split import Split, arm_of, split_of
from tests.governance.rollout.rolling import Told

WEIGHTS = st.integers(0, 10_000)
CALLERS = st.text(max_size=40)
KEYS = st.binary(min_size=16, max_size=64)
DIGESTS = st.sampled_from(["a" * 64, "b" * 64, "0" * 64])


@given(CALLERS, DIGESTS, KEYS, st.lists(WEIGHTS, min_size=2, max_size=6))
def test_widening_moves_callers_one_way_only(
    caller: str, rollout: str, key: bytes, weights: list[int]
) -> None:
    """Once on the new side, a caller stays there as long as the share does not fall."""
    sides = [arm_of(caller, Split(rollout, weight, False, key)) for weight in sorted(weights)]
    assert sides == sorted(sides, key=("old", "new").index)


@given(CALLERS, DIGESTS, KEYS, WEIGHTS)
def test_a_caller_stays_on_one_side(caller: str, rollout: str, key: bytes, weight: int) -> None:
    split = Split(rollout, weight, False, key)
    assert arm_of(caller, split) == arm_of(caller, replace(split))


@given(CALLERS, DIGESTS, KEYS)
def test_nobody_has_the_new_version_at_0_and_everybody_at_100_percent(
    caller: str, rollout: str, key: bytes
) -> None:
    assert arm_of(caller, Split(rollout, 0, False, key)) == "old"
    assert arm_of(caller, Split(rollout, 10_000, False, key)) == "new"


def _new(split: Split, callers: int = 20_000) -> set[int]:
    return {number for number in range(callers) if arm_of(f"caller {number}", split) == "new"}


def test_the_shares_hold() -> None:
    for weight in (1, 100, 2_500, 5_000, 9_900):
        share = len(_new(Split("a" * 64, weight, False, b"k" * 32))) / 20_000
        assert abs(share - weight / 10_000) < 0.01


def test_another_rollout_or_key_has_other_callers() -> None:
    """Nobody is in the first share of every rollout, and nobody without the key can choose."""
    first = _new(Split("a" * 64, 2_000, False, b"k" * 32))
    for other in (
        Split("b" * 64, 2_000, False, b"k" * 32),
        Split("a" * 64, 2_000, False, b"l" * 32),
    ):
        assert abs(len(first & _new(other)) / len(first) - 0.2) < 0.03


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(Split("a" * 64, 1, False, b"secret"))


def test_a_split_follows_the_log(tale: Told) -> None:
    tale.asks()
    key = b"k" * 32
    assert split_of(tale.rollout, key, tale.at).weight == 0
    tale.steps("start")
    split = split_of(tale.rollout, key, tale.at)
    assert (split.weight, split.shadow, split.rollout) == (
        1_000,
        False,
        tale.rollout.request.digest,
    )
    assert split_of(tale.rollout, key, tale.at + timedelta(hours=72)).weight == 0
    tale.steps("abort")
    assert split_of(tale.rollout, key, tale.at).weight == 0


def test_a_shadow_shows_nobody_the_new_version(tale: Told) -> None:
    tale.started(mode="shadow")
    assert split_of(tale.rollout, b"k" * 32, tale.at).shadow
