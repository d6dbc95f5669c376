"""A sample of the answers is searched by a process of its own: for personal data, with the engine
and the policy of the pipeline, and for its language.

1. No answer waits for it. An answer of the sample that finds the queue full is not searched, and is
   counted as such (`left`).
2. Text is held in memory until its search ends. Only counts come back (`tally.Finds`).
3. The process gets no key of the proxy, and what it prints goes nowhere, because it could quote a
   text. It ends when its input ends: with the proxy.
4. It reads one JSON document a line: pii.yaml, then a text each. It answers each with a line: that
   it is ready, or what it found, `null` where it could not search the whole text.
5. A process that fails is started again after `AGAIN_SECONDS`.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from governance.attest.predicates.monitoring import Entity, Language
from governance.base.errors import CountersignError
from governance.base.model import Model
from governance.policy.data import PiiPolicy
from governance.proxy.permission import Held
from governance.proxy.tally import Finds

QUEUE = 256
"""Answers that wait for their search, at most."""
MOST_CHARACTERS = 20_000
"""Of an answer that is searched."""
AGAIN_SECONDS = 60.0
END_SECONDS = 5.0
T = TypeVar("T", bound=Model)
Done = Callable[[Held, Finds | None], None]


class Reply(Model):
    """What the process says of one text (4)."""

    entities: dict[Entity, int]
    """Findings by type."""
    holds: bool
    """Whether one of them may not stay."""
    language: Language


class Ready(Model):
    """The first line of the process: empty, or why it cannot search."""

    problem: str = ""


class SearchError(CountersignError):
    """The process does not search."""


@dataclass
class Searching:
    """The sample and its search. `run` searches until it is cancelled."""

    command: Sequence[str]
    """Starts the process."""
    environ: Mapping[str, str] = field(repr=False)
    policy: PiiPolicy
    share: float
    """Of the answers, in the sample."""
    draw: Callable[[], float]
    """A random number from 0 to 1."""
    say: Callable[[str], object]
    most: int = MOST_CHARACTERS
    again_seconds: float = AGAIN_SECONDS
    _waiting: deque[tuple[Held, str]] = field(default_factory=deque, repr=False)
    _offered: asyncio.Event = field(default_factory=asyncio.Event)
    _told: str = ""

    def takes(self) -> bool:
        """Whether the answer that begins is in the sample."""
        return self.draw() < self.share

    def offer(self, held: Held, text: str) -> bool:
        """(1) An answer of the sample; whether it will be searched."""
        if len(self._waiting) >= QUEUE:
            return False
        self._waiting.append((held, text))
        self._offered.set()
        return True

    async def run(self, done: Done) -> None:
        """Searches until it is cancelled. `done` is called with what each search found."""
        try:
            while True:
                try:
                    await self._with_process(done)
                except (SearchError, OSError) as error:
                    self._tell(str(error))
                await asyncio.sleep(self.again_seconds)
        finally:
            for held, _ in self._waiting:
                done(held, None)
            self._waiting.clear()

    async def _with_process(self, done: Done) -> None:
        """(3) Raises `SearchError` and `OSError` where the process cannot search any more."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            env=dict(self.environ),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            start_new_session=True,
        )
        try:
            ready = _read(Ready, await _ask(process, self.policy.model_dump(mode="json")))
            if ready is None or ready.problem:
                raise SearchError(ready.problem if ready else "the search did not begin")
            self._tell("")
            while True:
                await self._next(process, done)
        finally:
            await _end(process)

    async def _next(self, process: Process, done: Done) -> None:
        """Waits for an answer, and searches it."""
        await self._offered.wait()
        held, text = self._waiting.popleft()
        if not self._waiting:
            self._offered.clear()
        found = None
        try:
            reply = _read(Reply, await _ask(process, text))
            if reply is not None:
                found = Finds(reply.entities, reply.holds, reply.language)
        finally:
            done(held, found)

    def _tell(self, problem: str) -> None:
        if problem and problem != self._told:
            self.say(f"monitoring answers are not searched: {problem}")
        self._told = problem


async def _ask(process: Process, question: object) -> bytes:
    """(4) The next line of the process. Raises `SearchError` where it has ended."""
    if process.stdin is None or process.stdout is None:
        raise SearchError("the process has no pipes")
    process.stdin.write(json.dumps(question).encode() + b"\n")
    await process.stdin.drain()
    try:
        line = await process.stdout.readline()
    except ValueError:  # longer than the limit of the reader
        line = b""
    if not line:
        raise SearchError("the process ended")
    return line


def _read(kind: type[T], line: bytes) -> T | None:
    """A line of the process; None for `null`. Raises `SearchError` for anything else."""
    if line.strip() == b"null":
        return None
    try:
        return kind.model_validate_json(line)
    except ValidationError:
        raise SearchError("the process answered something else") from None


async def _end(process: Process) -> None:
    """(3)"""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
