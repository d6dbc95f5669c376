"""The windows of a rollout, in the database of the proxy's other windows (`windows`).

1. A window lies within one share of one rollout. It closes when the share changes or ends, when its
   time is over, when the rollout's time is over, and when the proxy stops. What closes is stored in
   the same transaction in which the next one opens.
2. After a kill or a pause, the window ends where it was last stored. The time until the next one is
   a gap, which the recorded window states (`recording`).
3. A request that began under another share than the present one is not counted.
4. A closed window waits until the log has it, or refuses it for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from governance.attest.predicates import Arms
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.proxy.arms import ArmTally, unmeasured
from governance.proxy.permission import Canary, Held
from governance.proxy.tally import Observed
from governance.proxy.windows import PAUSE, Windows
from governance.rollout.split import Side

_TABLES = (
    "CREATE TABLE IF NOT EXISTS rollout_open (window TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS rollout_closed (window TEXT NOT NULL, recorded INTEGER)",
)


class RolloutSums(Model):
    """One window, as it is stored."""

    rollout: str
    """The statement of the request."""
    weight: int
    started: str
    finished: str
    """Of an open one: until when it was stored."""
    metrics: dict[str, Arms]


@dataclass
class _Open:
    canary: Canary
    begins: datetime
    tally: ArmTally

    def until(self, at: datetime) -> RolloutSums:
        """It is never longer than the rollout."""
        at = min(at, self.canary.expires) if self.canary.expires else at
        return RolloutSums(
            rollout=self.canary.rollout,
            weight=self.canary.weight,
            started=exact_instant(self.begins),
            finished=exact_instant(max(at, self.begins)),
            metrics=self.tally.frozen(),
        )


class RolloutWindows:
    """The windows of the rollouts of one proxy."""

    def __init__(self, windows: Windows) -> None:
        """After an earlier process, too (2). Raises `StorageError`."""
        self._windows = windows
        self._open: _Open | None = None
        self._seen: datetime | None = None
        with self._writing():
            for statement in _TABLES:
                windows.data.execute(statement)
            for (text,) in windows.data.execute("SELECT window FROM rollout_open").fetchall():
                self._close(RolloutSums.model_validate_json(text))
            windows.data.execute("DELETE FROM rollout_open")

    def add(self, canary: Canary, held: Held, caller: str, seen: Observed) -> None:
        """(3) Counts a request. `canary`: as it was when the request began."""
        if self._open is not None and _same(self._open.canary, canary):
            side: Side = "new" if held.digest == canary.held.digest else "old"
            self._open.tally.add(side, caller, seen)

    def follow(self, canary: Canary | None, at: datetime) -> None:
        """(1), (2) Closes what is over, opens what has a share, and stores everything. Raises
        `StorageError`.
        """
        with self._writing():
            if self._open is not None and self._seen is not None and at - self._seen > PAUSE:
                self._end(self._seen)
            if self._open is not None and self._is_over(self._open, canary, at):
                self._end(at)
            if self._open is None and canary is not None and observed(canary):
                self._open = _Open(canary, at, ArmTally(canary.guardrails))
            self._save(at)

    def fits(self, canary: Canary | None) -> bool:
        """Whether the open window is that of this rollout and share, or none is to be open."""
        wanted = canary if canary is not None and observed(canary) else None
        if self._open is None or wanted is None:
            return self._open is None and wanted is None
        return _same(self._open.canary, wanted)

    def stop(self, at: datetime) -> None:
        """Closes everything at the end of the process."""
        self.follow(None, at)

    def unsent(self) -> list[RolloutSums]:
        """(4) Closed windows that are not in the log yet, oldest first."""
        query = "SELECT window FROM rollout_closed WHERE recorded IS NULL ORDER BY rowid"
        return [
            RolloutSums.model_validate_json(text) for (text,) in self._windows.data.execute(query)
        ]

    def settled(self, window: RolloutSums, *, recorded: bool) -> None:
        """(4) The log has a closed window, or refuses it for good."""
        with self._writing():
            self._windows.data.execute(
                "UPDATE rollout_closed SET recorded = ? WHERE window = ?",
                (recorded, window.model_dump_json()),
            )

    def _is_over(self, window: _Open, canary: Canary | None, at: datetime) -> bool:
        changed = canary is None or not _same(window.canary, canary)
        return changed or at - window.begins >= self._windows.length

    def _end(self, at: datetime) -> None:
        if self._open is not None:
            self._close(self._open.until(at))
        self._open = None

    def _close(self, window: RolloutSums) -> None:
        if instant_of(window.started) < instant_of(window.finished):
            self._windows.data.execute(
                "INSERT INTO rollout_closed VALUES (?, NULL)", (window.model_dump_json(),)
            )

    def _save(self, at: datetime) -> None:
        self._seen = at
        self._windows.data.execute("DELETE FROM rollout_open")
        if self._open is not None:
            self._windows.data.execute(
                "INSERT INTO rollout_open VALUES (?)", (self._open.until(at).model_dump_json(),)
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, in the database and in memory or not at all."""
        before = self._open, self._seen
        try:
            with self._windows.writing():
                yield
        except BaseException:
            self._open, self._seen = before
            raise


def observed(canary: Canary) -> bool:
    """Whether a proxy can measure every guardrail of a rollout."""
    return bool(canary.guardrails) and not unmeasured(canary.guardrails)


def _same(one: Canary, other: Canary) -> bool:
    return (one.rollout, one.weight) == (other.rollout, other.weight)
