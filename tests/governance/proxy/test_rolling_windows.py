"""Windows of a rollout: what a proxy counts of both versions, over restarts and kills, and what is
recorded in the log and decided.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.predicates import Guardrail
from governance.base.errors import RefusedError
from governance.base.time import exact_instant, instant_of
from governance.history.rollouts import Rollout
from governance.history.state import state
from governance.machine.machine import signer
from governance.policy.monitoring import MonitoringRules
from governance.proxy import windows as module
from governance.proxy.arms import MEASURED, ArmTally, unmeasured
from governance.proxy.permission import Canary, Held
from governance.proxy.recording import Recorder
from governance.proxy.rolling import RolloutSums, RolloutWindows, observed
from governance.proxy.tally import Observed, Said
from governance.proxy.windows import Terms, Windows
from tests.governance.forged import second
from tests.governance.governed import KINDS, RULES, Governed, begun, principals
from tests.governance.rollout.rolling import ERRORS, ROLLOUTS, Recorded, recorded
from tests.governance.story import MODEL

T0 = datetime(2027, 1, 1, tzinfo=UTC)
OLD, NEW = Held(MODEL, "1", "a", 1), Held(MODEL, "2", "b", 2)
GUARDRAILS = (
    Guardrail.model_validate(ERRORS),
    Guardrail(metric="latency", worse="higher", low=0, high=30, margin=1),
)
ANSWER, FAILED = Observed("answered", 500, Said(characters=3)), Observed("failed", 9)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def canary(weight: int = 1_000, rollout: str = "x", ends: float = 600) -> Canary:
    return Canary(NEW, rollout, weight, ends * 60, GUARDRAILS, at(ends))


def opened(path: Path) -> Windows:
    terms = Terms("c" * 64, MonitoringRules(window_minutes=10))
    return Windows(path / "windows.db", "5" * 32, terms, at(0))


# -- What is counted -------------------------------------------------------------------------------
def test_a_caller_counts_once_by_the_mean_of_its_values() -> None:
    tally = ArmTally(GUARDRAILS)
    for caller, seen in (("a", FAILED), ("a", ANSWER), ("b", ANSWER), ("b", Observed("left", 7))):
        tally.add("new", caller, seen)
    tally.add("old", "c", Observed("answered", 99_000))
    errors, latency = tally.frozen()["errors"], tally.frozen()["latency"]
    assert (errors.new.count, errors.new.total, errors.new.squares) == (2, 0.5, 0.25)
    assert (latency.new.count, latency.new.total) == (2, 1.0)
    assert (latency.old.count, latency.old.total) == (1, 30.0), "no value is out of its range"


def test_a_guardrail_that_a_proxy_cannot_measure_is_named() -> None:
    solved = Guardrail(metric="solved", worse="lower", low=0, high=1, margin=0.1)
    assert unmeasured([*GUARDRAILS, solved]) == ["solved"]
    assert observed(canary()) and not observed(Canary(NEW, "x", 1, 1.0, (*GUARDRAILS, solved)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.builds(
                Observed,
                st.sampled_from(["answered", "rejected", "failed", "left"]),
                st.integers(0, 10**6),
                st.none() | st.builds(Said, st.integers(0, 10**6), st.booleans()),
            ),
        )
    )
)
def test_sums_are_those_that_values_within_the_range_can_have(
    asked: list[tuple[str, Observed]],
) -> None:
    rows = [Guardrail(metric=name, worse="higher", low=0, high=10, margin=1) for name in MEASURED]
    tally = ArmTally(rows)
    for caller, seen in asked:
        tally.add("new", caller, seen)
    for arms in tally.frozen().values():
        of = arms.new
        assert 0 <= of.total <= 10 * of.count and of.count <= len({who for who, _ in asked})
        assert of.total**2 <= of.count * of.squares + 1e-6 <= 10 * of.count * of.total + 2e-6


# -- Windows ---------------------------------------------------------------------------------------
Step = tuple[Any, ...]


def run(path: Path, script: list[Step]) -> list[RolloutSums]:
    """What is closed at the end of a script. `kill`: the process ends, and another one starts."""
    windows = opened(path)
    found = RolloutWindows(windows)
    for step, minute, *rest in script:
        match step:
            case "ask":
                found.add(rest[0], rest[1] if len(rest) > 1 else NEW, "a", ANSWER)
            case "follow":
                found.follow(rest[0] if rest else canary(), at(minute))
            case "stop":
                found.stop(at(minute))
            case "kill":
                windows.close()
                windows = opened(path)
                found = RolloutWindows(windows)
    closed = found.unsent()
    windows.close()
    return closed


def follows(first: int, last: int) -> list[Step]:
    return [("follow", minute) for minute in range(first, last + 1)]


SCENARIOS: dict[str, tuple[list[Step], list[tuple[int, float, float, int]]]] = {
    # share, begins, ends, callers of the new version
    "two windows": (
        [*follows(0, 5), ("ask", 5, canary()), *follows(6, 20)],
        [(1_000, 0, 10, 1), (1_000, 10, 20, 0)],
    ),
    "a share changes": (
        [*follows(0, 3), ("follow", 4, canary(5_000)), ("stop", 5)],
        [(1_000, 0, 4, 0), (5_000, 4, 5, 0)],
    ),
    "a request under another share": (
        [("follow", 0), ("ask", 1, canary(5_000)), ("ask", 1, canary(rollout="y")), ("stop", 1)],
        [(1_000, 0, 1, 0)],
    ),
    "aborted": ([*follows(0, 3), ("follow", 4, None), ("follow", 5, None)], [(1_000, 0, 4, 0)]),
    "its time is over": (
        [("follow", 0, canary(ends=0.5)), ("follow", 1, None)],
        [(1_000, 0, 0.5, 0)],
    ),
    "killed": (
        [*follows(0, 1), ("ask", 1, canary()), *follows(2, 3), ("ask", 3.5, canary()),
         ("kill", 8), *follows(8, 18)],
        [(1_000, 0, 3, 1), (1_000, 8, 18, 0)],
    ),
    "killed before anything was observed": ([("follow", 0), ("kill", 1), ("stop", 2)], []),
    "suspended": ([*follows(0, 2), *follows(30, 31), ("stop", 31)], [(1_000, 0, 2, 0), (1_000, 30, 31, 0)]),
    "not measured": ([("follow", 0, Canary(NEW, "x", 1, 9.0)), ("stop", 1)], []),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_closed(name: str, tmp_path: Path) -> None:
    script, expected = SCENARIOS[name]
    minute = timedelta(minutes=1)
    found = [
        (
            each.weight,
            (instant_of(each.started) - T0) / minute,
            (instant_of(each.finished) - T0) / minute,
            each.metrics["errors"].new.count,
        )
        for each in run(tmp_path, script)
    ]
    assert found == expected


def test_whether_the_open_window_is_that_of_the_share(tmp_path: Path) -> None:
    windows = opened(tmp_path)
    found, other = RolloutWindows(windows), Canary(NEW, "x", 1, 9.0)
    assert found.fits(None) and found.fits(other) and not found.fits(canary())
    found.follow(canary(), at(0))
    assert found.fits(canary()) and not found.fits(canary(5_000)) and not found.fits(None)
    windows.close()


class KilledError(BaseException):
    """The process is gone."""


class _Dying:
    """A connection that no statement after number `moment` reaches."""

    def __init__(self, connection: Any, moment: int) -> None:
        self._connection, self._left = connection, moment

    def __getattr__(self, name: str) -> Any:
        if name == "in_transaction" and self._left < 0:
            return False
        found = getattr(self._connection, name)
        return self._counting(found) if name.startswith("execute") else found

    def _counting(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                self._connection.close()  # what is not committed is gone, as after a kill
                raise KilledError
            return execute(*arguments)

        return counted


def _work(path: Path, sent: list[str]) -> None:
    """A call each minute; what is closed is sent. Sent twice, it is there twice."""
    windows = opened(path)
    try:
        found = RolloutWindows(windows)
        for minute in range(14):
            found.follow(canary(), at(minute))
            for window in found.unsent():
                sent.append(window.model_dump_json())
                found.settled(window, recorded=True)
    finally:
        windows.data.close()


def test_a_kill_before_any_write_loses_no_closed_window_and_changes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent again after a kill is the same, so that the log knows it."""
    moment, genuine = 0, module._opened
    while True:
        path, sent = tmp_path / str(moment), list[str]()
        path.mkdir()
        is_dead = False
        with monkeypatch.context() as patched:
            patched.setattr(module, "_opened", lambda file, n=moment: _Dying(genuine(file), n))
            try:
                _work(path, sent)
            except KilledError:
                is_dead = True
        if not is_dead:
            break
        windows = opened(path)
        waiting = [each.model_dump_json() for each in RolloutWindows(windows).unsent()]
        windows.close()
        ends = [RolloutSums.model_validate_json(text) for text in dict.fromkeys([*sent, *waiting])]
        assert len({each.started for each in ends}) == len(ends), "a window has two contents"
        spans = [(instant_of(each.started), instant_of(each.finished)) for each in ends]
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
        moment += 1
    assert moment > 50 and len(sent) == 1


# -- The log ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 is champion; the key of the machine may record what it observes. Read only."""
    people = principals(services={"ci": [*KINDS, "rollout_window", "rollout_reaction"]})
    scene = begun(tmp_path_factory.mktemp("once"), RULES + ROLLOUTS, people)
    scene.released()
    second(scene)
    return scene


@pytest.fixture
def tale(once: Governed, tmp_path: Path) -> Recorded:
    """A rollout that has started."""
    found = recorded(once.copy(tmp_path))
    found.started()
    return found


def recorder(tale: Recorded) -> Recorder:
    assert tale.scene is not None
    story = tale.scene.story
    key, who = signer(story.machine), story.machine.requester
    return Recorder(key, who, "champion", "5" * 32, lambda: story.log, lambda: tale.at)


def window(tale: Recorded, bad: int = 2, minutes: float = 0) -> RolloutSums:
    """A window that ends now, in which so many of 100 callers of the new version got an error."""
    start = tale.at + timedelta(minutes=minutes)
    figures = [
        {"count": 900, "total": 18, "squares": 18},
        {"count": 100, "total": bad, "squares": bad},
    ]
    return RolloutSums.model_validate({
        "rollout": tale.rollout.request.digest, "weight": 1_000,
        "started": exact_instant(start), "finished": exact_instant(start + timedelta(minutes=4)),
        "metrics": {"errors": dict(zip(("old", "new"), figures, strict=True))},
    })  # fmt: skip


def standing(tale: Recorded) -> Rollout:
    assert tale.scene is not None
    return state(tale.scene.story.log).timeline.rollouts[tale.rollout.request.digest]


def test_a_window_is_recorded_once_and_a_gap_is_stated(tale: Recorded) -> None:
    records, first, later = recorder(tale), window(tale), window(tale, minutes=30)
    tale.at += timedelta(hours=1)
    assert records.record_rollout(first) == records.record_rollout(first) == ""
    assert records.record_rollout(later) == records.record_rollout(first) == ""
    found = standing(tale)
    assert [each.predicate.number for each in found.windows] == [1, 2]
    (gap,) = found.gaps
    assert gap[0] == 2 and gap[1] == timedelta(minutes=26) and gap[2]


def test_harm_aborts_and_what_follows_an_abort_is_refused(tale: Recorded) -> None:
    records, first, later = recorder(tale), window(tale, bad=90), window(tale, minutes=4)
    tale.at += timedelta(hours=1)
    assert records.record_rollout(first) == "abort"
    assert records.record_rollout(first) == "", "it is recorded once, whatever is sent again"
    found = standing(tale)
    assert (found.state(tale.at), len(found.windows), len(found.steps)) == ("aborted", 1, 2)
    with pytest.raises(RefusedError):
        records.record_rollout(later)
    assert len(standing(tale).windows) == 1


def test_a_reaction_that_a_kill_prevented_is_made_up_for(
    tale: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, first = recorder(tale), window(tale, bad=90)
    tale.at += timedelta(hours=1)
    with monkeypatch.context() as patched:
        patched.setattr("governance.rollout.automation.react", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            records.record_rollout(first)
    assert standing(tale).state(tale.at) == "open"
    assert records.record_rollout(first) == "abort"
    assert len(standing(tale).windows) == 1
