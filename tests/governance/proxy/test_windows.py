"""Windows over restarts, kills and odd clocks: nothing that was closed is lost or doubled, and what
is missing is stated.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import BusyError, StorageError
from governance.base.time import instant_of
from governance.policy.monitoring import MonitoringRules, Price
from governance.proxy import windows as module
from governance.proxy.permission import Held
from governance.proxy.tally import Counts, End, Observed, Said, Tally, cost, usage
from governance.proxy.windows import Terms, Window, Windows
from tests.conftest import KILL_STEP
from tests.governance.killed import in_child

ONE, TWO = (Held("support-desk", version, version * 64, 7) for version in "12")
T0 = datetime(2027, 1, 1, tzinfo=UTC)
LENGTH = timedelta(minutes=10)
ANSWER = Observed("answered", 90, Said(characters=30, input=5, output=7))


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def opened(path: Path, minutes: float = 0, source: str = "5" * 32) -> Windows:
    terms = Terms("c" * 64, MonitoringRules(window_minutes=10))
    return Windows(path / "windows.db", source, terms, at(minutes))


def run(path: Path, script: list[tuple[Any, ...]]) -> list[Window]:
    """What is closed at the end of a script of steps, each with its minute."""
    found = opened(path)
    found.resume([ONE], at(0))
    for step, minute, *rest in script:
        match step:
            case "ask":
                found.add(rest[0] if rest else ONE, ANSWER, at(minute))
            case "tick":
                found.tick(rest[0] if rest else [ONE], at(minute))
            case "stop":
                found.stop(at(minute))
            case "start":
                found.close()
                found = opened(path, minute)
                found.resume([ONE], at(minute))
    closed = found.unsent()
    found.close()
    return closed


def ticks(first: int, last: int) -> list[tuple[Any, ...]]:
    return [("tick", minute) for minute in range(first, last + 1)]


SCENARIOS: dict[str, tuple[list[tuple[Any, ...]], list[tuple[str, int, float, float, float, int]]]]
SCENARIOS = {
    # version, number, begins, ends, gap in minutes, requests
    "two windows": (
        [("ask", 0.5), *ticks(1, 10), ("ask", 10.5), *ticks(11, 20)],
        [("1", 1, 0, 10, 0, 1), ("1", 2, 10, 20, 0, 1)],
    ),
    "nothing was asked": (ticks(1, 10), [("1", 1, 0, 10, 0, 0)]),
    "killed, and started again": (
        [("ask", 0.5), *ticks(1, 3), ("ask", 3.5), ("start", 8), ("ask", 8.5), *ticks(9, 18)],
        [("1", 1, 0, 3, 0, 1), ("1", 2, 8, 18, 5, 1)],
    ),
    "stopped, and started again": (
        [("ask", 0.5), *ticks(1, 3), ("stop", 4), ("start", 60), *ticks(61, 70)],
        [("1", 1, 0, 4, 0, 1), ("1", 2, 60, 70, 56, 0)],
    ),
    "started three times before anything was stored": (
        [("tick", 1), ("stop", 2), ("start", 5), ("start", 9), *ticks(10, 19)],
        [("1", 1, 0, 2, 0, 0), ("1", 2, 9, 19, 7, 0)],
    ),
    "suspended": (
        [("ask", 0.5), *ticks(1, 2), ("tick", 30), *ticks(31, 40)],
        [("1", 1, 0, 2, 0, 1), ("1", 2, 30, 40, 28, 0)],
    ),
    "the clock is set back": (
        [*ticks(1, 5), ("ask", 5), ("tick", -30), ("tick", -29)],
        [],
    ),
    "another version takes over": (
        [
            *ticks(1, 5),
            *(("tick", minute, [TWO]) for minute in range(6, 9)),
            ("ask", 8.5, ONE),
            *(("tick", minute, [TWO]) for minute in range(9, 17)),
        ],
        [("1", 1, 0, 10, 0, 1), ("2", 1, 6, 16, 0, 0)],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_closed(name: str, tmp_path: Path) -> None:
    script, expected = SCENARIOS[name]
    found = [
        (
            each.version,
            each.number,
            (instant_of(each.begins) - T0) / timedelta(minutes=1),
            (instant_of(each.ends) - T0) / timedelta(minutes=1),
            each.gap_ms / 60_000,
            each.counts.requests,
        )
        for each in run(tmp_path, script)
    ]
    assert found == expected


def test_a_sent_window_is_not_sent_again(tmp_path: Path) -> None:
    script = [("ask", 1), *ticks(1, 20)]
    first, second = run(tmp_path, script)
    found = opened(tmp_path, 20, source="6" * 32)
    found.sent(first, 41)
    assert found.unsent() == [second]
    assert found.source == "5" * 32, "the source is that of the database"
    with pytest.raises(BusyError):
        opened(tmp_path, 20)
    found.close()


def test_a_database_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "windows.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError):
        opened(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        opened(tmp_path / "file")


# -- Kills -----------------------------------------------------------------------------------------
MINUTES = 13


def _work(path: Path, sent: Path, until: int = MINUTES) -> None:
    """A request each minute. What is closed is sent to a file; sent twice, it is there twice.
    Starts where the earlier process was killed.
    """
    done = len((path / "asked").read_bytes()) if (path / "asked").exists() else 0
    found = opened(path, done)
    found.resume([ONE], at(done))
    for minute in range(done + 1, until + 1):
        with (path / "asked").open("ab") as file:
            file.write(b".")
        found.add(ONE, ANSWER, at(minute - 0.5))
        found.tick([ONE], at(minute))
        for window in found.unsent():
            with sent.open("a") as file:
                file.write(window.model_dump_json() + "\n")
            found.sent(window, 1)
    found.stop(at(until))
    for window in found.unsent():
        with sent.open("a") as file:
            file.write(window.model_dump_json() + "\n")
        found.sent(window, 1)
    found.close()


class _Dying:
    """A connection in a process that is killed before statement number `moment`."""

    def __init__(self, connection: sqlite3.Connection, moment: int) -> None:
        self._connection, self._left = connection, moment

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return self._counting(found) if name.startswith("execute") else found

    def _counting(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*arguments)

        return counted


def _killed_at(moment: int, path: Path, sent: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    genuine = module._opened
    with monkeypatch.context() as patched:
        patched.setattr(module, "_opened", lambda file: _Dying(genuine(file), moment))
        return in_child(lambda: _work(path, sent))


def test_a_kill_before_any_write_loses_and_doubles_no_closed_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that reached the log have consecutive numbers and no second content. Every minute is
    in a window or in a stated gap.
    """
    moment, kills = 0, 0
    while True:
        path = tmp_path / str(moment)
        path.mkdir()
        ended = _killed_at(moment, path, path / "sent", monkeypatch)
        _work(path, path / "sent")
        texts = (path / "sent").read_text().splitlines()
        found = [Window.model_validate_json(text) for text in dict.fromkeys(texts)]
        assert [each.number for each in found] == list(range(1, len(found) + 1))
        covered = sum((instant_of(each.ends) - instant_of(each.begins) for each in found), T0 - T0)
        gaps = timedelta(milliseconds=sum(each.gap_ms for each in found))
        first = instant_of(found[0].begins) - T0 - timedelta(milliseconds=found[0].gap_ms)
        assert first <= timedelta(minutes=1) and covered + gaps + first == LENGTH * (MINUTES / 10)
        lost = MINUTES - sum(each.counts.requests for each in found)
        assert lost == (1 if gaps or first else 0) or (lost, gaps) == (0, timedelta(0))
        if ended == 0:
            break
        kills, moment = kills + 1, moment + KILL_STEP
    assert kills * KILL_STEP > 50


# -- Sums ------------------------------------------------------------------------------------------
@st.composite
def requests(draw: st.DrawFn) -> Observed:
    ends: tuple[End, ...] = get_args(End)
    end = draw(st.sampled_from(ends))
    said = draw(
        st.none()
        | st.builds(
            Said,
            characters=st.integers(0, 10**6),
            refused=st.booleans(),
            input=st.none() | st.integers(0, 10**6),
            output=st.none() | st.integers(0, 10**6),
        )
    )
    return Observed(end, draw(st.integers(0, 10**6)), said)


@given(st.lists(requests()))
def test_sums_keep_the_rules_of_the_statement(seen: list[Observed]) -> None:
    """Stored and read again, too."""
    tally = Tally()
    for each in seen:
        tally.add(each)
    counts = tally.frozen()
    assert Counts.model_validate_json(counts.model_dump_json()) == counts
    assert sum(counts.latency) == counts.requests - counts.errors - counts.left
    assert sum(counts.request_bytes) == sum(counts.latency) - counts.rejected
    assert sum(counts.answer_characters) == counts.read
    assert counts.stated <= counts.read and counts.refusals <= counts.read


def test_a_price_of_a_million_tokens_is_one_of_a_token_in_millionths() -> None:
    tally = Tally()
    tally.add(Observed("answered", 5, Said(input=1000, output=300)))
    tokens = usage(tally.frozen())
    found = cost(tokens, Price(input=0.5, output=1.5), "EUR")
    assert found is not None and found.millionths == 950
    assert cost(tokens, None, "EUR") is None
