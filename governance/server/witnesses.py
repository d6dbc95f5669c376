"""The server asks its witnesses, in the background: no append waits for one.

1. The witnesses are those of the policies in force, never those of a proposal.
2. A witness is asked after the log has grown, and again before its cosignature is old. Each witness
   has one request at a time, so that a slow one delays no other.
3. After a failure it is asked again, at longer and longer intervals.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from governance.base.errors import CountersignError
from governance.log.sql import SqlLog
from governance.policy.authority import read_authority
from governance.policy.rules import Witness
from governance.witness import client

PAUSE = 1.0
"""Seconds between two looks at the log, and at least between two requests to a witness."""
LONGEST_PAUSE = 300.0
REFRESHES = 6
"""How often an idle log is cosigned within one grace period."""


@dataclass
class _Asked:
    """What is known of one witness."""

    size: int = -1
    """The size that it cosigned last."""
    since: float = 0.0
    """When it was asked last, by the monotonic clock."""
    pause: float = PAUSE
    busy: bool = False
    error: str = ""


@dataclass
class Asking:
    """Asks the witnesses of one log until it is stopped."""

    log: SqlLog
    now: Callable[[], datetime]
    say: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _read: tuple[int, list[Witness], float] = (-1, [], 0.0)

    def start(self) -> None:
        """Starts in the background; it ends with the process."""
        threading.Thread(target=self._run, daemon=True, name="witnesses").start()

    def _run(self) -> None:
        while not self.stopped.wait(PAUSE):
            try:
                self.look()
            except CountersignError as error:  # the database is away for a while
                self.say(f"witnesses  {error.found}")
                self.stopped.wait(PAUSE * 10)

    def look(self) -> None:
        """Asks each witness that has not cosigned the log as it is, or not of late."""
        size = self.log.size()
        if size == 0:
            return
        if self._read[0] != size:
            policies = read_authority(self.log).in_force.policies
            rules = policies.rules if policies else None
            grace = rules.witness_grace_hours * 3600.0 if rules else 0.0
            self._read = (size, list(rules.witnesses) if rules else [], grace)
        _, witnesses, grace = self._read
        for witness in witnesses:
            asked = self._asked.setdefault(str(witness.verifier), _Asked())
            waited = time.monotonic() - asked.since
            is_old = waited > grace / REFRESHES
            if not asked.busy and waited >= asked.pause and (asked.size != size or is_old):
                asked.busy, asked.since = True, time.monotonic()
                threading.Thread(target=self._ask, args=(witness, asked), daemon=True).start()

    def _ask(self, witness: Witness, asked: _Asked) -> None:
        try:
            made = client.request(self.log, witness, self.now)
            asked.size, asked.pause, asked.error = made.size, PAUSE, ""
        except CountersignError as error:
            asked.pause = min(2 * asked.pause, LONGEST_PAUSE)
            if asked.error != error.found:
                self.say(f"witness    {witness.name}: {error}")
            asked.error = error.found
        finally:
            asked.busy = False
