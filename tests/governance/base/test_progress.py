"""What a terminal shows of progress, and that other outputs stay silent."""

from __future__ import annotations

import io
import time

import pytest

from governance.base.progress import Progress

CLEAR = "\r\x1b[2K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def drawn(self) -> list[str]:
        """The lines drawn since the last look."""
        lines = self.getvalue().split(CLEAR)[1:]
        self.seek(0)
        self.truncate()
        return lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds; tests turn it on."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_bar_counts_from_zero_to_its_total(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress(terminal).bar(3, "scanning") as bar:
        bar.advance()
        assert terminal.drawn() == ["  scanning 1/3 "]
        bar.advance(2, "done")
        assert terminal.drawn() == ["  scanning 3/3 done"]
    assert terminal.drawn() == [""]


def test_a_bar_without_a_total_counts_only(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress(terminal).bar(0, "reading") as bar:
        bar.advance(1200)
        assert terminal.drawn() == ["  reading 1,200 "]


def test_a_bar_is_drawn_ten_times_a_second_at_most(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress(terminal).bar(100, "scanning") as bar:
        bar.advance()
        assert len(terminal.drawn()) == 1
        clock[0] += 0.05
        bar.advance()
        assert terminal.drawn() == []
        clock[0] += 0.06
        bar.advance()
        assert terminal.drawn() == ["  scanning 3/100 "]


def test_a_line_has_one_hundred_and_ten_characters_at_most(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress(terminal).bar(1, "x" * 200) as bar:
        bar.advance()
    assert len(terminal.getvalue().removesuffix(CLEAR)) == 110


def test_where_nobody_looks_only_warnings_are_written() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.bar(3, "scanning") as bar, progress.waiting("the server", after=0):
        bar.advance(3)
        progress.step("comparing")
    assert stream.getvalue() == ""
    progress.warn("a short disk")
    assert stream.getvalue() == "warning: a short disk\n"
