"""A sample of the answers is searched by another process: nothing waits for it, and only counts come
back.
"""

from __future__ import annotations

import asyncio

import pytest

from governance.proxy.observing import Observer
from governance.proxy.permission import Held
from governance.proxy.searching import QUEUE
from governance.proxy.tally import Finds
from tests.governance.proxy.scripted_search import PLANTED, searching
from tests.governance.proxy.world import until

HELD = Held("support-desk", "1", "1" * 64, 7)
FOUND = Finds({"EMAIL_ADDRESS": 1}, holds=True, language="en")
NOTHING = Finds({}, holds=False, language="en")


def searched(texts: list[str], said: list[str], ready: str = "{}") -> list[Finds | None]:
    """What comes back of these texts, offered together."""
    found: list[Finds | None] = []

    async def run() -> None:
        search = searching(said, ready=ready)
        task = asyncio.ensure_future(search.run(lambda _, each: found.append(each)))
        assert all(search.offer(HELD, text) for text in texts)
        await until(lambda: len(found) == len(texts) or (bool(said) and ready != "{}"))
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    return found


ROWS: dict[str, tuple[list[str], list[Finds | None], list[str]]] = {
    "each answer is searched": ([f"write to {PLANTED}", "hello"], [FOUND, NOTHING], []),
    "what could not be searched to its end is not clean": (["hard", "a"], [None, NOTHING], []),
    "a process that ended is started again": (
        ["end", PLANTED], [None, FOUND], ["answers are not searched: the process ended"],
    ),
    "a process that says something else, too": (
        ["odd", "a"], [None, NOTHING], ["answers are not searched: the process answered something else"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_comes_back(row: str) -> None:
    texts, expected, told = ROWS[row]
    said: list[str] = []
    assert searched(texts, said) == expected
    assert said == [f"monitoring {text}" for text in told]


def test_where_the_search_does_not_begin_answers_are_left_and_it_is_said_once() -> None:
    said: list[str] = []
    assert searched(["a", "b"], said, ready='{"problem": "no model"}') == [None, None]
    assert said == ["monitoring answers are not searched: no model"]


def test_a_full_queue_leaves_answers_and_does_not_wait() -> None:
    search = searching([])
    assert [search.offer(HELD, "a") for _ in range(QUEUE + 1)] == [True] * QUEUE + [False]


def test_the_share_decides_and_what_is_not_searched_is_counted() -> None:
    observer = Observer(lambda: pytest.fail("no window is open"), search=searching([]))
    assert observer.held_text() == 30
    assert Observer(observer.clock, search=searching([], share=0.25)).held_text() == 0
    observer.offer(HELD, None)
    observer.searched(HELD, FOUND)
    counts = observer.sums[HELD.digest][1].frozen().searched
    assert (counts.answers, counts.left, counts.holding) == (1, 1, 1)
    assert (counts.entities, counts.languages) == ({"EMAIL_ADDRESS": 1}, {"en": 1})
