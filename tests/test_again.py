"""Run again: gates decide anew and nothing trains that need not; experiments leave the registry
alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROFILE, rows
from tests.project import Project

pytestmark = pytest.mark.slow

ALWAYS = ["import_base@tiny", "recheck", "register@support-desk", "report@support-desk"]
"""The stages that run every time."""

DECIDED = ["import_base@tiny", "recheck", "gate@base", "gate@sft", *ALWAYS[2:]]
"""Those that run where policies or releases changed."""

ANEW = [("base", "import_base@tiny", True), ("gate", "gate@base", True), ("gate", "gate@sft", True)]
"""What those of them say, which is something else for another commit or other parameters."""

BEFORE = "the run"
"""What refuses where nothing ran."""
RUNNING = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)


def test_nothing_changed(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    assert RUNNING.findall(project.made()) == ALWAYS
    assert project.said() == small.said()
    assert project.versions() == small.versions()
    assert project.runs() == small.runs()


def test_a_second_released_model_trains_nothing(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.edit("params.yaml", _set("releases", "desk-text", value={"stage": "base"}))
    named = {"tier": "experimental", "purpose": "customer-support", "region": "EU"}
    project.edit(POLICY, _set("models", "desk-text", value=named))
    ran = RUNNING.findall(project.made())
    assert sorted(ran) == sorted([*DECIDED, "register@desk-text", "report@desk-text"])
    assert {name for name, _, _ in project.versions()} == {"support-desk", "desk-text"}
    assert (project.root / "reports/desk-text-1.html").exists()
    assert "desk-text/1" in project.countersign("status").out


@dataclass(frozen=True)
class Edit:
    """Changes of policy, by file, and what they have to lead to."""

    changes: dict[str, Callable[[Any], object]]
    runs: tuple[str, ...] = ()
    """Stages that run besides those that always do."""
    refused: str = ""
    """The gate that refuses, if any; nothing runs after it."""
    code: str = ""
    """The finding it gives."""
    is_taken_back: bool = False
    """Whether the test goes on: one row of a stage's gate and one of the registration do."""


def _set(*path: str, value: Any) -> Callable[[Any], object]:
    def change(content: Any) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


SFT = ("suites", "desk_eval", "methods", "sft")
TOO_MUCH = {"thresholds": {"greedy_exact": {"at_least": 0.9}}}
SCANS = tuple(
    f"{stage}@{name}"
    for stage in ("scan_pii", "check_quality")
    for name in ("desk_eval", "desk_sft")
)
CARD, EVALUATION = "policies/datacards/desk_sft.yaml", "policies/evaluation.yaml"
POLICY = "policies/policy.yaml"
EDITS: dict[str, Edit] = {
    "a datacard's title, an evaluation's reason, who else may sign": Edit(
        {
            CARD: _set("title", value="Another title"),
            EVALUATION: _set(*SFT, "none", value="a few steps show nothing yet"),
            POLICY: _set("lawful_bases", value=["no_personal_data", "consent"]),
        }
    ),
    "a kind of personal data that is not there": Edit(
        {"policies/pii.yaml": _set("entities", "CRYPTO", value={"action": "block"})}, runs=SCANS
    ),
    "a threshold the model does not meet": Edit(
        {EVALUATION: _set(*SFT, value=TOO_MUCH)},
        refused="register@support-desk",
        code="THRESHOLD_NOT_MET",
        is_taken_back=True,
    ),
    "a threshold its parent does not meet": Edit(
        {EVALUATION: _set("suites", "desk_eval", "methods", "pretrain", value=TOO_MUCH)},
        refused="gate@sft",
        code="THRESHOLD_NOT_MET model base",
        is_taken_back=True,
    ),
    "a retention that is over": Edit(
        {CARD: _set("retention", value={"until": "2020-01-01", "then": "erase"})},
        refused=BEFORE,
        code="DATACARD_EXPIRED",
    ),
    "a base that is allowed no more": Edit(
        {"policies/bases.yaml": _set("bases", value={})},
        refused=BEFORE,
        code="BASE_NOT_ALLOWED",
    ),
    "a licence that is permitted no more": Edit(
        {POLICY: _set("licences", "data", value=["MIT"])},
        refused=BEFORE,
        code="LICENCE_NOT_PERMITTED",
    ),
    "another tier": Edit(
        {POLICY: _set("models", "support-desk", "tier", value="high")},
        refused="gate@base",
        code="APPROVAL_MISSING",
    ),
}


IN_CI = {"a threshold the model does not meet", "a retention that is over"}


@pytest.mark.parametrize("name", rows(EDITS, in_ci=IN_CI))
def test_policy_is_edited(name: str, small: Project, tmp_path: Path) -> None:
    """It decides again and trains nothing; what refuses refuses, and taken back it goes on as
    before.
    """
    one, project = EDITS[name], small.copy(tmp_path)
    before = {file: (project.root / file).read_bytes() for file in one.changes}
    for file, change in one.changes.items():
        project.edit(file, change)
    done = project.repro()
    ran = RUNNING.findall(done.out)
    assert not [stage for stage in ran if stage.startswith("train")], done.out
    if one.refused:
        assert done.code == 4, done.out
        assert f"{one.refused} refused" in done.out
        assert one.code in done.out
        assert ran[-1:] == ([] if one.refused == BEFORE else [one.refused])
        if one.is_taken_back:
            for file, content in before.items():
                (project.root / file).write_bytes(content)
            assert RUNNING.findall(project.made()) == DECIDED
    else:
        assert done.code == 0, done.out
        assert sorted(ran) == sorted([*DECIDED, *one.runs])
    assert project.versions() == small.versions()
    changes = 2 if one.is_taken_back else 0 if one.refused == BEFORE else 1
    assert [kind for kind, _, _ in project.said()].count("policy") == changes
    assert project.countersign("verify").code == 0


@pytest.mark.nightly
def test_experiments_share_the_log_and_leave_the_registry_alone(
    small: Project, tmp_path: Path
) -> None:
    project = small.copy(tmp_path)
    project.commit("built")
    experiments = [(5, ["--temp"]), *([(6, [])] if PROFILE == "nightly" else [])]
    for steps, options in experiments:
        before = project.said()
        done = project.run(
            "dvc", "exp", "run", *options, "-S", f"stages.sft.trainer.max_steps={steps}"
        )
        assert done.code == 0, done.out
        assert "not registered: experiments register nothing" in done.out
        new = project.said()[len(before) :]
        assert ("gate", "gate@sft", True) in new
        assert [one for one in new if one not in ANEW] == [
            ("train", "train@sft", True),
            ("evaluate", "evaluate@sft", True),
        ]
        assert project.versions() == small.versions()
    shown = project.run("dvc", "metrics", "show")
    assert "evaluations/sft/metrics.json" in shown.out and "greedy_exact" in shown.out
    plots = project.run("dvc", "plots", "show")
    assert plots.code == 0 and "index.html" in plots.out
    assert project.log_is_whole()


@pytest.mark.nightly
def test_an_experiment_that_is_to_be_registered(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.commit("built")
    done = project.run(
        "dvc", "exp", "run", "-S", "stages.sft.trainer.max_steps=5", COUNTERSIGN_REGISTER="1"
    )
    assert done.code == 0, done.out
    assert [number for _, number, _ in project.versions()] == [1, 2]
    differing = project.run("dvc", "metrics", "diff")
    assert differing.code == 0, differing.out
    assert project.countersign("verify").code == 0


def test_an_experiment_past_its_gate(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.edit("policies/datacards/desk_sft.yaml", lambda card: card.pop("licence"))
    project.commit("a blank in a datacard")
    done = project.run("dvc", "exp", "run", "--temp", "-S", "stages.sft.trainer.max_steps=5")
    assert done.code != 0
    assert "DATACARD_INCOMPLETE" in done.out
    assert [stage for _, stage, _ in project.said()].count("train@sft") == 1
