"""A release that rests on a passed canary, in the bundle that goes to an auditor: both verifiers
repeat it, each without the other's code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.governance.bundles import both_accept
from tests.governance.forged import forge
from tests.governance.governed import Governed
from tests.governance.rollout.rolling import Recorded, recorded
from tests.governance.story import MODEL

GOOD, OLD = (0.02, 1000), (0.02, 9000)


def passed(tale: Recorded, **terms: object) -> None:
    tale.started(weights=[1_000], **terms).observes(OLD, GOOD)
    assert tale.reacts() == "pass"


def _aborted(tale: Recorded) -> None:
    passed(tale)
    tale.steps("abort")


def _never_passed(tale: Recorded) -> None:
    tale.started(weights=[1_000]).observes(OLD, GOOD)


def _passed_too_early(tale: Recorded) -> None:
    """The service says so at the first of two shares."""
    tale.started().observes(OLD, GOOD).tell(tale.reaction("pass"))


def _by_another_service(tale: Recorded) -> None:
    tale.started(weights=[1_000]).observes(OLD, GOOD).tell(tale.reaction("pass", who="ci"))


def _started_alone(tale: Recorded) -> None:
    """By a role that the request does not name."""
    tale.asks(weights=[1_000])
    tale.tell(tale.step("start", who="ada", role="ml-lead"))


def _forbidden_terms(tale: Recorded) -> None:
    passed_with = {"minimum_sample": 1}
    tale.asks(weights=[1_000], **passed_with)


def test_a_release_after_a_passed_canary(canaries: Governed, tmp_path: Path) -> None:
    scene = canaries.copy(tmp_path)
    passed(recorded(scene))
    scene.table.held[MODEL, "champion"] = "1"
    moved = scene.released("2")
    assert moved.allowed and not moved.waived
    assert both_accept(scene, "2")
    asked = moved.packet or ""
    assert scene.packet(asked).canary == recorded(scene).rollout.steps[-1].digest


REFUSED: dict[str, Callable[[Recorded], None]] = {
    "aborted after it passed": _aborted,
    "never passed": _never_passed,
    "passed at the first of two shares": _passed_too_early,
    "passed by a service without the right": _by_another_service,
    "started by a role that the request does not name": _started_alone,
    "with a smaller sample than policy permits": _forbidden_terms,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.slow
def test_a_move_past_the_server_without_a_passed_canary(
    name: str, canaries: Governed, tmp_path: Path
) -> None:
    scene = canaries.copy(tmp_path)
    REFUSED[name](recorded(scene))
    scene.asked_for("2")
    forge(scene, "2")
    assert not both_accept(scene, "2")


def test_a_packet_changes_where_the_canary_is_aborted(canaries: Governed, tmp_path: Path) -> None:
    scene = canaries.copy(tmp_path)
    tale = recorded(scene)
    passed(tale)
    scene.table.held[MODEL, "champion"] = "1"
    scene.asked_for("2")
    tale.before = recorded(scene).before
    tale.steps("abort")
    from governance.base.errors import RefusedError

    with pytest.raises(RefusedError, match="CANARY_MISSING") as refused:
        scene.consume("2")
    assert "PACKET_OUT_OF_DATE" in str(refused.value)
