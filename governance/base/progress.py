"""Progress for people: drawn on a terminal, silent when the output is not one."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

MIN_INTERVAL = 0.1
PATIENCE = 2.0
"""Seconds without output before a message explains the wait."""


class Bar:
    """Counts towards a total; redraws its line at most ten times a second."""

    def __init__(self, stream: TextIO | None, total: int, text: str, after: float = 0) -> None:
        import time

        self._stream, self._total, self._text = stream, total, text
        self._begin = time.monotonic() + after
        self._done, self._drawn = 0, -MIN_INTERVAL

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` is shown beside them."""
        self._done += count
        if self._stream is None:
            return
        import time

        now = time.monotonic()
        if now < self._begin:
            return
        if now - self._drawn >= MIN_INTERVAL or self._done >= self._total > 0:
            self._drawn = now
            share = f"{self._done:,}/{self._total:,}" if self._total else f"{self._done:,}"
            self._stream.write(f"\r\x1b[2K  {self._text} {share} {note}"[:110])
            self._stream.flush()


class Progress:
    """Reports progress on standard error where that is a terminal; warnings in any case."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._chosen = sys.stderr if stream is None else stream
        self._stream = self._chosen if self._chosen.isatty() else None

    def warn(self, text: str) -> None:
        """Prints a warning, at a terminal or not."""
        self._chosen.write(f"warning: {text}\n")
        self._chosen.flush()

    @contextmanager
    def waiting(self, text: str, after: float = PATIENCE) -> Iterator[None]:
        """Names what the program waits for, once that takes long."""
        timer = threading.Timer(after, self.step, (text,))
        timer.daemon = True
        if self._stream:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def step(self, text: str) -> None:
        """A new thing begins."""
        if self._stream:
            self._stream.write(f"\r\x1b[2K  {text}\n")
            self._stream.flush()

    @contextmanager
    def bar(self, total: int, text: str, after: float = 0) -> Iterator[Bar]:
        """A bar for `total` items; 0 where the total is not known. It appears after so many
        seconds.
        """
        bar = Bar(self._stream, total, text, after)
        try:
            yield bar
        finally:
            if self._stream:
                self._stream.write("\r\x1b[2K")
                self._stream.flush()


SILENT = Progress(io.StringIO())
"""Says nothing."""
