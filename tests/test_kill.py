"""kill -9 at many moments, then `countersign repro` again: it finishes, and nothing is lost or
doubled.

Compared with a run that nobody disturbed: the log says the same in the same order, and the registry
has the same versions. Whatever was killed, the other processes of the run end by themselves.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROFILE, rows
from tests.project import PROJECT, STAGES, Project, fresh, there, wait_for

pytestmark = pytest.mark.slow

KILLS = 12
"""At random moments of one project."""

MODES = ("run", "dvc", "stage", "all")
"""What is killed: `countersign repro`, the DVC below it, the stage below that, or all of them at
once.
"""


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A run with everything below it, from the top."""
    try:
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def words(process: psutil.Process) -> list[str]:
    """A process's name and the words of its command; of a fork of `tests.warm`, its name says which
    command it is.
    """
    try:
        return [process.name(), *(Path(part).name for part in process.cmdline())]
    except psutil.Error:
        return []


def kill(process: subprocess.Popen[bytes], mode: str, processes: list[psutil.Process]) -> None:
    """kill -9 of one part of a run, or of all of it; returns when `countersign repro` has ended."""
    wanted = {
        "run": processes[:1],
        "dvc": [one for one in processes if any("dvc_process" in word for word in words(one))],
        "stage": [one for one in processes if "stage" in words(one)],
        "all": processes,
    }[mode]
    for one in wanted:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    if not wanted:  # there is no such process at this moment
        process.kill()
    process.wait(300)


def ends(project: Project) -> None:
    """Nothing of a killed run goes on: begun before that, the next one would find its stage running
    already.
    """
    wait_for(
        lambda: not project.processes(),
        300,
        f"the processes of a killed run end: {project.processes()}",
    )


def same(project: Project, undisturbed: Project, *commands: str, last: str = "") -> None:
    """Run again, it says and holds what the undisturbed project does; with `last`, as far as that
    stage.
    """
    for command in commands:
        done = project.countersign(*command.split())
        assert done.code == 0, done.out
    said, expected = project.said(), undisturbed.said()
    if last:
        assert said == expected[: len(said)]
        assert said[-1][1] == last
        assert project.versions() == []
    else:
        assert said == expected
        assert project.versions() == undisturbed.versions()
    assert {status for _, status in project.runs()} <= {"FINISHED", "KILLED", "FAILED"}
    verified = project.countersign("verify")
    assert verified.code == 0, verified.out
    scratch = project.home / PROJECT / "scratch"
    assert [path.name for path in scratch.glob("*") if any(path.rglob("*"))] == []


def started(
    project: Project, command: str = "repro", *, warm: bool
) -> tuple[subprocess.Popen[bytes], Callable[[str], bool]]:
    """A run in the background, and whether it has said something."""
    output = project.root.parent / "background.log"
    output.unlink(missing_ok=True)
    process = project.start("countersign", *command.split(), warm=warm)
    return process, lambda text: text in output.read_text(encoding="utf-8", errors="replace")


def test_killed_as_a_stage_begins(small: Project, before_training: Project, tmp_path: Path) -> None:
    """Whatever part of a run is killed, the others end by themselves. At night at every stage."""
    at_night = PROFILE == "nightly"
    project = fresh(tmp_path / "killed") if at_night else before_training.copy(tmp_path / "killed")
    stages = STAGES if at_night else ["import_base@tiny", "gate@base", "gate@sft", "train@sft"]
    command = "repro" if at_night else "repro train@sft"
    for number, stage in enumerate(stages):
        process, has_said = started(project, command, warm=False)
        # running it, or behind it: a busy machine may have been slow to kill the one before
        at_it = f"tage '{stage}'"
        wait_for(lambda: has_said(at_it) or process.poll() is not None, 600, stage)  # noqa: B023
        if process.poll() is None:
            time.sleep(0.4 * (number % 4))
            kill(process, MODES[number % len(MODES)], family(process))
        else:  # what was killed in the run before had ended by itself, so that run went on
            assert process.returncode == 0, (tmp_path / "killed/background.log").read_text()
        ends(project)
    same(project, small, command, last="" if at_night else "train@sft")


@pytest.mark.nightly
def test_killed_at_random_moments(small: Project, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown where it fails
    chance = random.Random(seed)
    project = fresh(tmp_path / "killed")
    for _ in range(KILLS):
        process, _ = started(project, warm=False)
        try:
            process.wait(chance.uniform(2, 25))
        except subprocess.TimeoutExpired:
            kill(process, chance.choice(MODES), family(process))
        ends(project)
        if process.returncode == 0:
            break
    same(project, small, "repro")


def logged(kind: str) -> Callable[[Project], bool]:
    """The log has one more entry of this kind than before the stage."""
    before = {"train": 1}
    query = f"SELECT count(*) FROM countersign_entry WHERE kind = '{kind}'"
    return lambda project: project._rows(query)[0][0] > before.get(kind, 0)


def alias_set(project: Project) -> bool:
    return bool(project._rows("SELECT 1 FROM registered_model_aliases"))


TRAINING: dict[str, Callable[[Project], bool]] = {
    "its run is shown": lambda project: ("train@sft", "RUNNING") in project.runs(),
    "trained": lambda project: there(project.home / PROJECT / "scratch", "train@sft-*/*/trained/*"),
    "its run is over": lambda project: ("train@sft", "FINISHED") in project.runs(),
    "published": lambda project: (project.root / "models/sft/model").exists(),
    "logged": logged("train"),
    "known to DVC": lambda project: "train@sft" in (project.root / "dvc.lock").read_text(),
}
"""Moments of `train@sft`, in their order."""

REGISTERING: dict[str, Callable[[Project], bool]] = {
    "its run is shown": lambda project: ("register support-desk", "RUNNING") in project.runs(),
    "the version is there": lambda project: bool(project.versions()),
    "its run is over": lambda project: ("register support-desk", "FINISHED") in project.runs(),
    "registration logged": logged("registration"),
    "promotion logged": logged("promotion"),
    "alias set": alias_set,
    "published": lambda project: (project.root / "reports/register/support-desk.json").exists(),
    "report begun": lambda project: there(project.root / "reports", "support-desk-1*"),
}
"""Moments of `register` and `report`, in their order."""


WITH_DVC = {"published", "known to DVC", "report begun"}
"""Moments at which a whole `repro` is killed, the stage below DVC where it has published. At the
others, the stage runs without DVC.
"""


def mode_at(moment: str) -> str:
    return "stage" if moment == "published" else "all"


@pytest.mark.parametrize("moment", rows(TRAINING, in_ci={"published"}))
def test_killed_while_training(
    moment: str, small: Project, before_training: Project, tmp_path: Path
) -> None:
    command = "repro" if moment in WITH_DVC else "stage train sft"
    project = killed_at(before_training, tmp_path, TRAINING[moment], mode_at(moment), command)
    if moment == "published":
        same(project, small, "repro")
    else:
        same(project, small, command.replace("repro", "repro train@sft"), last="train@sft")


@pytest.mark.parametrize("moment", rows(REGISTERING, in_ci={"report begun"}))
def test_killed_while_registering(
    moment: str, small: Project, before_registering: Project, tmp_path: Path
) -> None:
    commands = (
        ["repro"]
        if moment in WITH_DVC
        else ["stage register support-desk", "stage report support-desk"]
    )
    happened = REGISTERING[moment]
    project = killed_at(before_registering, tmp_path, happened, mode_at(moment), commands[0])
    same(project, small, *commands)


def killed_at(
    before: Project, folder: Path, moment: Callable[[Project], bool], mode: str, command: str
) -> Project:
    """A copy in which a command was killed as soon as the moment had come; begun again where that
    was not seen in time.
    """
    for number in range(10):
        project = before.copy(folder / str(number))
        process, _ = started(project, command, warm=True)
        until = time.monotonic() + 600
        while process.poll() is None and not moment(project):
            assert time.monotonic() < until
            time.sleep(0.005)
        if process.poll() is None:
            kill(process, mode, project.processes())
            ends(project)
            return project
    raise AssertionError("it was always over before the moment was seen")


def test_a_run_of_a_dead_process_is_not_left_running(
    before_training: Project, tmp_path: Path
) -> None:
    training = "stage train sft"
    project = killed_at(before_training, tmp_path, TRAINING["its run is shown"], "all", training)
    assert ("train@sft", "RUNNING") in project.runs()
    assert project.countersign(*training.split()).code == 0
    statuses = sorted(status for name, status in project.runs() if name == "train@sft")
    assert statuses == ["FINISHED", "KILLED"]


def test_a_second_run_waits_for_the_first(before_training: Project, tmp_path: Path) -> None:
    project = before_training.copy(tmp_path)
    first, has_said = started(project, warm=True)
    wait_for(lambda: has_said("Running stage"), 300, "the first run starts")
    second = project.repro("train@sft")
    assert second.code == 0, second.out
    assert "waiting for another run to end" in second.out
    assert "Stage 'train@sft' didn't change" in second.out
    assert first.wait(600) == 0
    assert [stage for _, stage, _ in project.said()].count("train@sft") == 1


def test_a_stage_beside_a_run_is_refused(before_training: Project, tmp_path: Path) -> None:
    project = before_training.copy(tmp_path)
    first = project.start("countersign", "repro", "train@sft", warm=True)
    wait_for(lambda: TRAINING["its run is shown"](project), 300, "the first run trains")
    second = project.countersign("stage", "train", "sft")
    assert second.code in (0, 7), second.out
    assert first.wait(600) == 0
    assert [stage for _, stage, _ in project.said()].count("train@sft") == 1
