"""What the proxy observes ends as signed statements in the log."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from governance.attest.predicates import Monitoring
from governance.base.errors import ConfigError
from governance.history.state import state
from governance.log.evidence import Evidence
from governance.machine.machine import log_to_add_to, signer
from governance.policy.monitoring import MonitoringRules, Price
from governance.proxy import recording
from governance.proxy.observing import Observer, UnknownError
from governance.proxy.permission import Held
from governance.proxy.tally import Observed, Said
from governance.proxy.windows import Terms
from tests.governance.governed import KINDS, RULES, Governed, begun, governed, principals
from tests.governance.proxy.scripted_search import PLANTED, searching
from tests.governance.proxy.world import CHAT, made, proxy, until
from tests.governance.story import MODEL

MONITORING = """
monitoring:
  window_minutes: 10
  currency: EUR
  prices: {support-desk: {input: 0.5, output: 1.5}}
"""
HOLDING = [{"message": {"content": f"write to {PLANTED}"}}]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 300}
ONE, TWO = (Held("support-desk", version, version * 64, 7) for version in "12")


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.at = datetime(2027, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def monitored(folder: Path) -> Governed:
    """A champion behind a proxy whose key may sign what it observes."""
    people = principals(services={"ci": [*KINDS, "monitoring"]})
    scene = begun(folder, RULES + MONITORING, people)
    made(scene, "2")
    scene.released("2")
    return scene


def stated(scene: Governed) -> list[Evidence[Monitoring]]:
    return state(scene.story.log).view.all(Monitoring)


@pytest.mark.slow
def test_requests_and_ratings_are_statements_in_the_log(tmp_path: Path) -> None:
    """Errors, callers who leave, tokens, cost, ratings, a search of the answers; then a second
    process after a gap.
    """
    scene, clock = monitored(tmp_path), Clock()
    said: list[str] = []

    async def first() -> None:
        search = searching(said)
        async with proxy(scene, clock=clock, search=search) as (client, serving):
            more = {"id": "chatcmpl-1", "usage": USAGE, "choices": HOLDING}
            assert (await client.post(CHAT, json={"more": more})).status_code == 200
            assert (await client.post(CHAT, json={"status": 418})).status_code == 418
            assert (await client.post(CHAT, json={"status": 500})).status_code == 500
            assert (await client.post(CHAT, json={"stream": True})).status_code == 200
            await client.get("/v1/models")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.post(CHAT, json={"stream": True, "delay": 9}), 0.5)
            await until(lambda: serving.observer.sums[digest][1].counts.get("left", 0) == 1)
            tally = serving.observer.sums[digest][1]
            await until(lambda: tally.searched.total() >= 2)
            for body, status in RATINGS:
                answer = await client.post("/v1/feedback", json=body)
                assert answer.status_code == status, (body, answer.text)
            page = (await client.get("/metrics")).text
            assert (
                f'requests_total{{model="{MODEL}",version="2",digest="{digest}",end="left"}} 1'
                in page
            )
            assert re.search(r'sample_findings_total\{[^}]*entity="EMAIL_ADDRESS"\} 1\n', page)
            assert re.search(r"_bucket\{[^}]*le=\"\+Inf\"\} 3\n", page)
            clock.at += timedelta(minutes=4)

    async def second() -> None:
        async with proxy(scene, clock=clock) as (client, _):
            await client.post(CHAT, json={})
            clock.at += timedelta(minutes=1)

    digest = scene.story.models["sft"]
    asyncio.run(first())
    clock.at += timedelta(hours=2)
    asyncio.run(second())
    one, two = (each.predicate for each in stated(scene))
    assert stated(scene)[0].subjects[0].sha256 == digest
    assert (one.requests, one.errors, one.rejected, one.left) == (5, 1, 1, 1)
    assert (one.read, one.tokens.answers, one.tokens.input, one.tokens.output) == (2, 1, 1000, 300)
    assert one.cost is not None and one.cost.millionths == 950
    assert one.feedback.model_dump() == {
        "up": 2, "down": 1, "preferred": 0, "not_preferred": 0, "ties": 0,
    }  # fmt: skip
    assert one.searched is not None and one.searched.model_dump() == {
        "answers": 1, "left": 0, "holding": 1, "entities": {"EMAIL_ADDRESS": 1}, "languages": {"en": 1},
    }  # fmt: skip
    assert (sum(one.request_bytes), sum(one.answer_characters)) == (2, 2)
    assert (two.searched, said) == (None, [])
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or PLANTED.encode() not in file.read_bytes(), file
    assert (one.window, one.gap_ms, two.window, two.gap_ms) == (1, 0, 2, 2 * 3600 * 1000)
    assert one.source == two.source
    assert (one.begins, one.ends) == ("2027-01-01T00:00:00.000000Z", "2027-01-01T00:04:00.000000Z")


RATINGS: list[tuple[object, int]] = [
    ({"response": "chatcmpl-1", "rating": "up"}, 200),
    ({"response": "chatcmpl-1", "rating": "up"}, 404),
    ({"version": "2", "rating": "down"}, 200),
    ({"version": f"{MODEL}/2", "rating": "up"}, 200),
    ({"version": "9", "rating": "down"}, 404),
    ({"version": "2", "rating": "bad"}, 400),
    ({"version": "2", "rating": "down", "comment": "text"}, 400),
    ({"version": "2", "response": "x", "rating": "down"}, 400),
    ({"preferred": "2", "over": "2"}, 404),
    ({"preferred": "2"}, 400),
    ({}, 400),
    ([], 400),
]


def test_without_the_right_it_does_not_start(tmp_path: Path) -> None:
    scene = governed(tmp_path, RULES + MONITORING)
    with pytest.raises(ConfigError, match="does not let this machine's key"):
        recording.begin(
            scene.story.machine, state(scene.story.log), (MODEL, "champion"), 0, Clock()
        )


def test_a_window_that_is_sent_twice_is_one_entry(tmp_path: Path) -> None:
    """Also by a later process, at another time, by other prices."""
    scene, clock = governed(tmp_path, RULES + MONITORING), Clock()
    machine, digest = scene.story.machine, scene.story.models["sft"]
    held = Held(MODEL, "1", digest, 7)
    terms = Terms(
        "c" * 64, MonitoringRules(currency="EUR", prices={MODEL: Price(input=1, output=1)})
    )
    windows = recording.opened(tmp_path / "w.db", terms, clock())
    windows.add(held, Observed("answered", 5, Said(input=10, output=10)), clock())
    windows.stop(clock())
    recorder = recording.Recorder(
        signer(machine), machine.requester, "champion", windows.source,
        lambda: log_to_add_to(machine), clock,
    )  # fmt: skip
    first = recorder.record(windows.unsent()[0])
    windows.close()
    clock.at += timedelta(hours=1)
    again = recording.opened(tmp_path / "w.db", Terms("d" * 64, MonitoringRules()), clock())
    (window,) = again.unsent()
    assert recorder.record(window) == first
    again.sent(window, first)
    assert again.unsent() == []
    again.close()


def test_a_comparison_counts_for_both_and_an_answer_is_rated_once() -> None:
    observer = Observer(Clock())
    observer.finished(ONE, Observed("answered", 5), "a")
    observer.finished(TWO, Observed("answered", 5), "b")
    observer.rate(b'{"preferred": "a", "over": "2"}', [])
    observer.rate(b'{"tie": ["b", "1"]}', [])
    for again in (b'{"preferred": "a", "over": "b"}', b'{"response": "2", "rating": "up"}'):
        with pytest.raises(UnknownError):
            observer.rate(again, [ONE, TWO])
    with pytest.raises(ValidationError):
        observer.rate(b"\xff", [])
    ratings = [tally.ratings for _, tally in observer.sums.values()]
    assert ratings == [{"preferred": 1, "ties": 1}, {"not_preferred": 1, "ties": 1}]
