"""Verification of a log on several cores."""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from governance.history.verify import Run, Seen
from governance.log.port import Log
from governance.log.sql import SqlLog

if TYPE_CHECKING:  # imported where a log is verified in several processes
    from concurrent.futures import Future, ProcessPoolExecutor

CYCLES = 50_000
"""New objects until the garbage collector of a verifying process runs: some ten megabytes."""
AHEAD = 4
"""Parts that are queued for each process."""
FEW = 2
"""Up to so many parts, no processes are started."""


def in_processes(workers: int | None = None) -> Run:
    """Verifies the parts in so many processes, by default one for each core; in this one where
    there are few. Processes are spawned, not forked, because a server has threads.
    """
    count = workers or len(os.sched_getaffinity(0))

    def run(log: Log, part: Callable[[int], Seen], starts: range) -> Generator[Seen, None, None]:
        done = 0
        if count > 1 and len(starts) > FEW and isinstance(log, SqlLog):
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            from concurrent.futures.process import BrokenProcessPool

            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(count, spawn, _relax_collector) as pool:
                try:
                    for verified in _ahead(pool, part, starts, AHEAD * count):
                        done += 1
                        yield verified
                except BrokenProcessPool:
                    pass  # the system killed a worker, perhaps for memory; go on alone
                finally:
                    pool.shutdown(cancel_futures=True)
        yield from map(part, starts[done:])

    return run


def _ahead(
    pool: ProcessPoolExecutor, part: Callable[[int], Seen], starts: range, most: int
) -> Generator[Seen, None, None]:
    """The parts in order, at most `most` of them submitted ahead. The executor's own `map` submits
    all at once: a row that somebody numbered 2**62 would exhaust the memory.
    """
    waiting: deque[Future[Seen]] = deque()
    for start in starts:
        waiting.append(pool.submit(part, start))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _relax_collector() -> None:
    """Makes the garbage collector of a worker run rarely. It took a fifth of the time and there are
    few cycles.
    """
    gc.freeze()
    gc.set_threshold(CYCLES)
