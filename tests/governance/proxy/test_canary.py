"""What the log says of the new version of a rollout: its share, and what is against serving it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.findings import finding
from governance.base.time import instant_of
from governance.history.state import state
from governance.proxy.canary import Moment
from governance.proxy.facts import said_of
from governance.proxy.permission import Said
from governance.rollout import deciding
from tests.governance.governed import Governed
from tests.governance.rollout.conftest import rolling as rolling  # the fixture
from tests.governance.rollout.rolling import Recorded, recorded
from tests.governance.story import MODEL


@pytest.fixture
def tale(rolling: Governed, tmp_path: Path) -> Recorded:
    """Nothing has been asked for yet; what is told is recorded."""
    return recorded(rolling.copy(tmp_path))


def scene_of(tale: Recorded) -> Governed:
    assert tale.scene is not None
    return tale.scene


def said(tale: Recorded, later: timedelta = timedelta(0), *differences: str) -> Said:
    at = Moment(tale.at + later, 1000.0)
    found = [finding("REGISTRY_ALIAS_MOVED", name) for name in differences]
    return said_of(state(scene_of(tale).story.log), MODEL, "champion", at, found)


def told(found: Said) -> tuple[int, list[str]]:
    """The share in the log, and what is against it."""
    if found.canary is None:
        return 0, []
    return found.canary.weight, sorted({each.code for each in found.canary.held.against})


def harmful(tale: Recorded) -> None:
    tale.started().observes((0.0, 900), (0.9, 400))


CASES: dict[str, tuple[Callable[[Recorded], object], tuple[int, list[str]]]] = {
    "nothing was asked for": (lambda tale: None, (0, [])),
    "asked for": (lambda tale: tale.asks(), (0, [])),
    "started": (lambda tale: tale.started(), (1_000, [])),
    "widened": (lambda tale: tale.started().observes().steps("widen"), (5_000, [])),
    "narrowed": (
        lambda tale: tale.started().observes().steps("widen").steps("narrow"),
        (1_000, []),
    ),
    "aborted": (lambda tale: tale.started().steps("abort"), (0, [])),
    "a shadow": (lambda tale: tale.started(mode="shadow"), (1_000, [])),
    "an incident": (
        lambda tale: tale.started().tell(tale.incident()),
        (1_000, ["ROLLOUT_INCIDENT"]),
    ),
    "harmful, and nobody aborted it": (harmful, (1_000, ["ROLLOUT_HARMFUL"])),
    "a step by somebody who may not": (lambda tale: tale.asks().steps("start", who="eve"), (0, [])),
    "the alias moved": (lambda tale: tale.started().tell(tale.move("2")), (0, [])),
}


@pytest.mark.parametrize("row", CASES)
def test_the_share_and_what_is_against_it(row: str, tale: Recorded) -> None:
    happen, expected = CASES[row]
    happen(tale)
    found = said(tale)
    assert told(found) == expected
    if expected[0]:
        assert found.canary is not None
        held, (holder,) = found.canary.held, found.versions
        assert (held.name, held.digest) == (f"{MODEL}/2", tale.digest_of("2"))
        assert tale.before.log.entry(held.entry).kind == "rollout_step"
        assert not holder.against and holder.version == "1"
        assert found.canary.shadow is (row == "a shadow")
        left = timedelta(hours=72) - (tale.at - instant_of(tale.rollout.asked.at))
        assert found.canary.ends == 1000.0 + left / timedelta(seconds=1)


def test_a_rollout_whose_time_is_over_has_no_share(tale: Recorded) -> None:
    tale.started()
    assert told(said(tale, timedelta(hours=71))) == (1_000, [])
    assert told(said(tale, timedelta(hours=72))) == (0, [])


def test_what_the_registry_says_of_the_new_version_concerns_only_that(tale: Recorded) -> None:
    tale.started()
    found = said(tale, timedelta(0), f"{MODEL}/2")
    assert told(found) == (1_000, ["REGISTRY_ALIAS_MOVED"]) and not found.findings
    assert told(said(tale, timedelta(0), f"{MODEL}/9")) == (1_000, [])


def test_a_start_that_the_checks_of_a_release_refuse_serves_nobody(tale: Recorded) -> None:
    """Somebody with the database records it past the server, which makes these checks."""
    scene = scene_of(tale)
    scene.story.evaluate("sft", 0.1)  # version 2 would not be released
    tale.before = state(scene.story.log)
    tale.started()
    assert told(said(tale)) == (1_000, ["ROLLOUT_NOT_DECIDED"])


def test_whatever_goes_wrong_is_against_the_new_version_only(
    tale: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    tale.started()
    monkeypatch.setattr(deciding, "decide", lambda *_: 1 // 0)
    found = said(tale)
    assert told(found) == (1_000, ["ROLLOUT_VERSION"])
    assert not found.findings and not found.versions[0].against
