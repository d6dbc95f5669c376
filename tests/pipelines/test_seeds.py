"""`countersign reproduce --seeds`: other seeds are trained, scored and recorded; a kill loses none."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

from governance.history.lineage import subject
from pipelines.commands import seeds
from pipelines.commands.repeating import repeating
from pipelines.failures import StoppedError, not_finite, reward_failed, reward_reached_out
from pipelines.project import open_project
from tests.project import Project, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def kill_after_one_seed(project: Project) -> None:
    """Ends a run of two seeds with SIGKILL once the first one is recorded."""
    running = project.start("countersign", "reproduce", "sft", "--seeds", "2", warm=True)
    wait_for(lambda: bool(project.evidence("seed_run")), 300, "a seed is recorded")
    for process in project.processes():
        if process.pid != running.pid and process.name() == "reproduce":
            process.send_signal(signal.SIGKILL)
    assert running.wait(300) != 0


def test_what_is_no_result_of_a_seed_is_not_recorded_as_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that is mended, or fails by chance, must not stand for the seed for ever."""

    def stopping(error: StoppedError) -> None:
        def trained(*_: object) -> dict[str, Any]:
            raise error

        monkeypatch.setattr(seeds, "_trained", trained)

    monkeypatch.chdir(project.root)
    opened = open_project(project.root, project.env())
    with repeating("sft", opened, seeds.KIND) as repeat:
        for error in (
            reward_failed("mine", "rewards/mine.py", "raised OSError"),
            reward_reached_out("mine", "rewards/mine.py", "network"),
        ):
            stopping(error)
            with pytest.raises(StoppedError):
                seeds.measure(repeat, 1, lambda: None)
        assert not project.evidence("seed_run")
        stopping(not_finite("train@sft", "the loss", "nan", step=3))
        seeds.measure(repeat, 1, lambda: None)
    (recorded,) = project.evidence("seed_run")
    assert [reason.code for reason in recorded.predicate.findings] == ["NON_FINITE"]


def test_other_seeds_are_scored_and_recorded_once(project: Project) -> None:
    made, runs = project.outputs(), project.runs()
    kill_after_one_seed(project)
    assert [one.predicate.seed for one in project.evidence("seed_run")] == [1]
    done = project.countersign("reproduce", "sft", "--seeds", "2", "--json")
    assert done.code == 0, done.out
    told = json.loads(done.out)
    first, second = project.evidence("seed_run")
    assert [one.predicate.seed for one in (first, second)] == [1, 2]
    trained = next(one for one in project.evidence("train") if one.predicate.stage == "train@sft")
    for one in (first, second):
        said = one.predicate
        assert said.of == trained.digest and subject(one, "model") == subject(trained, "model")
        assert said.model not in (None, subject(trained, "model")) and said.items == 60
        assert said.parameters == {**trained.predicate.parameters, "seed": said.seed}
    assert first.predicate.model != second.predicate.model
    means = [one.predicate.means["greedy_exact"] for one in (first, second)]
    found = told["between_seeds"]["greedy_exact"]
    assert found["deviation"] == pytest.approx(statistics.stdev(means))
    assert (found["seeds"], found["separate"]) == ([1, 2], 0)
    again = project.countersign("reproduce", "sft", "--seeds", "2")
    assert again.code == 0 and "seeds 1, 2; self-attested" in again.out, again.out
    assert len(project.evidence("seed_run")) == 2
    assert project.outputs() == made and project.runs() == runs
    shown = project.countersign("show", "support-desk/1", "evaluation")
    assert "seeds 1, 2; self-attested" in shown.out and "not measured" in shown.out, shown.out
