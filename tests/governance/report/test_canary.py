"""The canary in the report: not run, failed, or passed with its figures and entries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.report.build import build
from governance.report.model.report import Report
from tests.governance.governed import Governed
from tests.governance.rollout.rolling import Recorded, desk, recorded
from tests.governance.story import MODEL

GOOD, BAD, OLD = (0.02, 1000), (0.3, 1000), (0.02, 9000)


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    return desk(tmp_path_factory.mktemp("rolling"))


def _told(tale: Recorded, arm: tuple[float, int]) -> None:
    tale.started(weights=[1_000]).observes(OLD, arm)
    tale.reacts()


ROWS: dict[str, tuple[Callable[[Recorded], object], str | None, str, str]] = {
    # what was told; the result among the gaps and why; how the evidence is linked
    "nothing": (lambda it: None, "not run", "no canary rollout is recorded", "missing"),
    "aborted": (lambda it: _told(it, BAD), "fail", "aborted (live, up to 10 %", "partial"),
    "passed": (lambda it: _told(it, GOOD), None, "passed (live, up to 10 %", "present"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_report_says_how_the_canary_ended(name: str, rolling: Governed, tmp_path: Path) -> None:
    tell, result, why, state = ROWS[name]
    scene = rolling.copy(tmp_path)
    tell(recorded(scene))
    made: Report = build(scene.story.sources, MODEL, "2")
    gaps = [(gap.result, gap.why) for gap in made.gaps if gap.code == "CANARY"]
    assert [found for found, _ in gaps] == ([result] if result else [])
    assert all(said.startswith(why) for _, said in gaps)
    linked = {row.kinds["canary_result"] for row in made.controls if "canary_result" in row.kinds}
    assert linked == {state}
