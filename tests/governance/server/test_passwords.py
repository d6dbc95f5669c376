"""Checks of passwords: what strangers can make them cost, and that nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from governance.server.passwords import (
    CHECKS,
    KNOWN,
    MOST_KEPT,
    MOST_WAITING,
    WINDOW,
    WRONG_FOR_ACCOUNT,
    WRONG_FROM_ADDRESS,
    Answer,
    PasswordChecks,
    place_of,
)

RIGHT = {"ada": "right", "ben": "his"}
HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """A time that a test sets."""

    at = 1000.0

    def __call__(self) -> float:
        return self.at


class Accounts:
    """Accounts whose checks are counted, and can be held."""

    def __init__(self) -> None:
        self.computed: list[tuple[str, str]] = []
        self.running, self.most = 0, 0
        self.free = threading.Event()
        self.free.set()
        self._lock = threading.Lock()

    def is_right(self, name: str, password: str) -> bool:
        with self._lock:
            self.computed.append((name, password))
            self.running += 1
            self.most = max(self.most, self.running)
        self.free.wait(30)
        with self._lock:
            self.running -= 1
        return RIGHT.get(name) == password


def made(clock: Callable[[], float] | None = None) -> tuple[PasswordChecks, Accounts]:
    accounts = Accounts()
    return PasswordChecks(accounts.is_right, lambda *_: False, clock or Clock()), accounts


def ask(checks: PasswordChecks, *claims: tuple[str, str, str]) -> list[Answer]:
    """One after the other."""

    async def all_() -> list[Answer]:
        return [await checks.answer(*claim) for claim in claims]

    return asyncio.run(all_())


def at_once(
    checks: PasswordChecks, accounts: Accounts, claims: Iterable[tuple[str, str, str]]
) -> list[Answer]:
    """All at the same time: no check ends before every one was asked for."""

    async def all_() -> list[Answer]:
        accounts.free.clear()
        asked = [asyncio.ensure_future(checks.answer(*claim)) for claim in claims]
        await asyncio.sleep(0.05)
        accounts.free.set()
        return await asyncio.gather(*asked)

    return asyncio.run(all_())


def test_wrong_passwords_for_a_name_are_not_computed_for_ever() -> None:
    clock = Clock()
    checks, accounts = made(clock)
    answers = ask(checks, *[("ada", f"guess {i}", HERE) for i in range(50)])
    assert Counter(answers) == {
        Answer.WRONG: WRONG_FOR_ACCOUNT,
        Answer.LATER: 50 - WRONG_FOR_ACCOUNT,
    }
    assert len(accounts.computed) == WRONG_FOR_ACCOUNT
    clock.at += WINDOW
    assert ask(checks, ("ada", "right", HERE)) == [Answer.RIGHT]


def test_the_owner_is_not_locked_out() -> None:
    """From another address at once; from the same one where the password was right lately."""
    checks, _ = made()
    assert ask(checks, ("ben", "his", HERE)) == [Answer.RIGHT]
    guesses = [(name, f"guess {i}", HERE) for i in range(30) for name in ("ada", "ben")]
    assert ask(checks, *guesses)[-1] is Answer.LATER
    assert ask(checks, ("ada", "right", HERE)) == [Answer.LATER], "she has never been here"
    assert ask(checks, ("ada", "right", THERE)) == [Answer.RIGHT]
    assert ask(checks, ("ben", "his", HERE), ("ada", "right", HERE)) == [Answer.RIGHT] * 2


def test_many_names_from_one_address_are_one_guesser() -> None:
    checks, accounts = made()
    ask(checks, *[(f"user{i}", "guess", HERE) for i in range(200)])
    assert len(accounts.computed) == WRONG_FROM_ADDRESS
    ask(checks, *[("ada", "guess", f"2001:db8::{i:x}") for i in range(200)])
    assert len(accounts.computed) == WRONG_FROM_ADDRESS + WRONG_FOR_ACCOUNT


@pytest.mark.parametrize("name", ["ada", "nobody", "", "a" * 5000, "\udcff"])
def test_a_name_that_exists_is_limited_like_one_that_does_not(name: str) -> None:
    checks, accounts = made()
    answers = ask(checks, *[(name, f"guess {i}", HERE) for i in range(8)])
    assert answers == [Answer.WRONG] * WRONG_FOR_ACCOUNT + [Answer.LATER] * (8 - WRONG_FOR_ACCOUNT)
    assert len(accounts.computed) == WRONG_FOR_ACCOUNT


def test_few_checks_run_at_once_and_few_wait() -> None:
    checks, accounts = made()
    strangers = [("ada", f"guess {i}", f"198.51.100.{i}") for i in range(200)]
    answers = at_once(checks, accounts, strangers)
    assert accounts.most <= CHECKS
    assert Counter(answers) == {Answer.WRONG: MOST_WAITING, Answer.LATER: 200 - MOST_WAITING}


def test_one_address_leaves_room_for_others() -> None:
    checks, accounts = made()
    flood = [(f"user{i}", "guess", HERE) for i in range(200)]
    answers = at_once(checks, accounts, [*flood, ("ada", "right", THERE)])
    assert answers[-1] is Answer.RIGHT
    assert Counter(answers)[Answer.LATER] == 200 - WRONG_FROM_ADDRESS


def test_equal_requests_share_a_check() -> None:
    checks, accounts = made()
    answers = at_once(checks, accounts, [("ada", "right", HERE)] * 40)
    assert answers == [Answer.RIGHT] * 40 and len(accounts.computed) == 1


def test_whoever_was_right_lately_passes_the_queue_of_strangers() -> None:
    checks, accounts = made()
    ask(checks, ("ada", "right", HERE))

    async def meanwhile() -> Answer:
        accounts.free.clear()
        flood = [
            asyncio.ensure_future(checks.answer("x", "guess", f"198.51.100.{i}"))
            for i in range(MOST_WAITING + 5)
        ]
        await asyncio.sleep(0.05)
        again = asyncio.ensure_future(checks.answer("ada", "right", HERE))
        await asyncio.sleep(0.05)
        assert accounts.computed[-1] == ("ada", "right"), "it runs beside the strangers' checks"
        accounts.free.set()
        await asyncio.gather(*flood)
        return await again

    assert asyncio.run(meanwhile()) is Answer.RIGHT


def test_a_password_that_was_right_is_checked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    checks, accounts = made(clock)
    ask(checks, ("ada", "right", HERE))
    monkeypatch.setitem(RIGHT, "ada", "changed")
    answers = ask(checks, *[("ada", "right", HERE)] * (WRONG_FOR_ACCOUNT + 1))
    assert answers == [Answer.WRONG] * WRONG_FOR_ACCOUNT + [Answer.LATER]
    clock.at += KNOWN
    assert ask(checks, ("ada", "changed", HERE)) == [Answer.RIGHT]
    assert len(accounts.computed) == WRONG_FOR_ACCOUNT + 2


def test_what_is_remembered_is_not_computed() -> None:
    checks = PasswordChecks(lambda *_: pytest.fail("computed"), lambda *_: True)
    assert ask(checks, ("ada", "right", HERE)) == [Answer.RIGHT]


def test_a_check_that_fails_is_an_error_for_all_who_wait_and_stays_no_check() -> None:
    def broken(name: str, password: str) -> bool:
        raise OSError("the accounts cannot be read")

    checks = PasswordChecks(broken, lambda *_: False)
    with pytest.raises(OSError, match="cannot be read"):
        ask(checks, ("ada", "right", HERE))
    assert not checks._running


def test_accounts_that_cannot_be_read_lock_nobody_out() -> None:
    fails = True

    def read(name: str, password: str) -> bool:
        if fails:
            raise OSError("the accounts cannot be read")
        return RIGHT.get(name) == password

    checks = PasswordChecks(read, lambda *_: False, Clock())
    for i in range(2 * WRONG_FROM_ADDRESS):
        with pytest.raises(OSError, match="cannot be read"):
            ask(checks, (f"user{i}", "x", HERE))
    fails = False
    assert ask(checks, ("ada", "right", HERE)) == [Answer.RIGHT]
    fails = True
    with pytest.raises(OSError, match="cannot be read"):
        ask(checks, ("ada", "right", HERE))
    fails = False
    guesses = [(f"user{i}", "guess", HERE) for i in range(WRONG_FROM_ADDRESS)]
    assert ask(checks, *guesses, ("ada", "right", HERE))[-1] is Answer.RIGHT, "still known"


def test_known_accounts_behind_one_proxy_keep_no_new_one_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks, accounts = made()
    known = [(f"known{i}", "theirs", HERE) for i in range(MOST_WAITING + 5)]
    for name, password, _ in known:
        monkeypatch.setitem(RIGHT, name, password)
    assert set(ask(checks, *known)) == {Answer.RIGHT}
    assert set(at_once(checks, accounts, [*known, ("ada", "right", HERE)])) == {Answer.RIGHT}


def test_long_names_are_not_kept() -> None:
    checks, _ = made()
    ask(checks, ("n" * 60_000, "guess", HERE))
    assert len(repr(vars(checks))) < 5_000


def test_nothing_grows_and_no_password_is_kept() -> None:
    clock = Clock()
    checks, _ = made(clock)
    ask(checks, *[("ada", "secret-guess", f"10.{i >> 8}.{i & 255}.1") for i in range(3000)])
    clock.at += 1
    ask(checks, *[("ben", "his", f"11.{i >> 8}.{i & 255}.1") for i in range(50)])
    assert len(checks._failures._times) <= MOST_KEPT and len(checks._known) == 1
    assert b"secret-guess" not in repr(vars(checks)).encode()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, place: str) -> None:
    assert place_of(address) == place


def test_a_request_that_is_given_up_stops_no_check() -> None:
    checks, accounts = made()

    async def given_up() -> Answer:
        accounts.free.clear()
        first = asyncio.ensure_future(checks.answer("ada", "right", HERE))
        await asyncio.sleep(0.05)
        first.cancel()
        second = asyncio.ensure_future(checks.answer("ada", "right", HERE))
        await asyncio.sleep(0.05)
        accounts.free.set()
        return await second

    began = time.monotonic()
    assert asyncio.run(given_up()) is Answer.RIGHT and time.monotonic() - began < 25
    assert len(accounts.computed) == 1
