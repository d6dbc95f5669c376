"""`countersign reproduce`: the same bytes again on this machine, a difference measured, and
everything it refuses.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file, save_file

from governance.attest import digests
from governance.attest.predicates import Artifact
from governance.history.lineage import subject
from governance.log import evidence
from governance.machine.machine import machine, open_log, signer
from governance.policy.policies import load_policies
from pipelines.project import open_project, utc_now
from pipelines.training import objective
from tests.governance.governed import keypair
from tests.project import PROJECT, Project, there, wait_for

pytestmark = pytest.mark.slow

MODEL = "models/sft/model"
LEFT = ".dvc/tmp/countersign/reproduce@sft"


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def reproductions(project: Project) -> int:
    return len(project.evidence("reproduction"))


def test_the_same_bytes_come_out_and_are_recorded_once(project: Project) -> None:
    made, runs = project.outputs(), project.runs()
    done = project.countersign("reproduce", "sft")
    assert done.code == 0 and "the same bytes" in done.out, done.out
    assert "signed by an automatic test key" in done.out
    (item,) = project.evidence("reproduction")
    first = next(one for one in project.evidence("train") if one.predicate.stage == "train@sft")
    said = item.predicate
    assert (said.of, said.model, said.same_bytes) == (first.digest, subject(first, "model"), True)
    assert (said.largest_difference, said.differing, said.final) == (0.0, 0, first.predicate.final)
    assert said.inputs == first.predicate.inputs and said.parameters == first.predicate.parameters
    assert subject(item, "model") == subject(first, "model") and item.development
    again = project.countersign("reproduce", "train@sft", "--json")
    told = json.loads(again.out)
    assert (told["entry"], told["of_entry"], told["development_key"]) == (
        item.index,
        first.index,
        True,
    )
    assert reproductions(project) == 1
    assert (
        project.outputs() == made and project.runs() == runs and not (project.root / LEFT).exists()
    )
    assert project.countersign("verify").code == 0
    shown = project.countersign("show", "support-desk/1", "training")
    assert (
        f"reproduced: same bytes on cpu, entry {item.index} (under the key that trained it"
        in shown.out
    )
    assert "self-attested; never run again" in shown.out  # of the other stage


def record_other_weights(project: Project) -> str:
    """A training in the log that says of the same inputs that other weights came of them; those are
    at hand.
    """
    folder = project.root / MODEL
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] += 0.5
    path.chmod(0o644)
    save_file(tensors, path, metadata={"format": "pt"})
    here, policies = machine(PROJECT, project.env()), load_policies(project.root / "policies")
    first = next(one for one in project.evidence("train") if one.predicate.stage == "train@sft")
    made = digests.tree_digest(folder)
    others = [one for one in first.subjects if one.role != "model"]
    subjects = [Artifact(role="model", name=MODEL, sha256=made), *others]
    evidence.record(
        open_log(here, policies, utc_now), signer(here), "train", subjects, first.predicate
    )
    return made


def test_a_model_that_its_inputs_do_not_give_is_measured(project: Project) -> None:
    made = record_other_weights(project)
    done = project.countersign("reproduce", "sft")
    assert done.code == 0 and "within 0.5: 1 of " in done.out, done.out
    assert "model.safetensors: content changed" in done.out
    (item,) = project.evidence("reproduction")
    assert subject(item, "model") == made and item.predicate.model != made
    assert (item.predicate.same_bytes, item.predicate.differing) == (False, 1)
    assert item.predicate.largest_difference == pytest.approx(0.5, abs=1e-5)


def change(name: str) -> Callable[[Project], object]:
    def apply(project: Project) -> None:
        path = project.root / name
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b" ")

    return apply


def another_objective(project: Project) -> None:
    project.replace("params.yaml", "learning_rate: 0.01", "learning_rate: 0.02")


def without_licences(project: Project) -> None:
    card = project.root / "policies" / "datacards" / "desk_sft.yaml"
    project.edit(
        str(card.relative_to(project.root)), lambda content: content.update(licence="Nobody-1.0")
    )


REFUSED: dict[str, tuple[Callable[[Project], object], int, str]] = {
    "data": (
        change("data/ready/desk_sft/records/00000.parquet"),
        3,
        "the inputs changed since train@sft was recorded: data",
    ),
    "parent": (
        change("models/base/model/config.json"),
        3,
        "the inputs changed since train@sft was recorded: parent",
    ),
    "gate's answer": (
        change("gates/sft.json"),
        3,
        "the inputs changed since train@sft was recorded: gate",
    ),
    "model": (change(f"{MODEL}/config.json"), 3, "no training of train@sft with this model"),
    "no model": (
        lambda project: shutil.rmtree(project.root / MODEL),
        3,
        "there is no model to compare the new one with",
    ),
    "no data": (
        lambda project: shutil.rmtree(project.root / "data/ready/desk_sft/records"),
        3,
        "an input of the stage is missing",
    ),
    "objective": (another_objective, 2, "is not the recorded one"),
    "policy": (without_licences, 4, "LICENCE_NOT_PERMITTED"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_changed_is_refused_with_its_reason(what: str, project: Project) -> None:
    apply, code, reason = REFUSED[what]
    apply(project)
    done = project.countersign("reproduce", "sft")
    assert (done.code, reason in done.out) == (code, True), done.out
    assert reproductions(project) == 0 and not (project.root / LEFT).exists()


def test_a_key_that_may_not_sign_it_is_told_before_anything_runs(project: Project) -> None:
    private, public = keypair("trainer")
    row = {"name": "trainer", "kind": "service", "signs": ["train"], "keys": [public]}
    project.edit("policies/policy.yaml", lambda content: content.update(principals=[row]))
    done = project.countersign(
        "reproduce", "sft", COUNTERSIGN_SIGNER="env:KEY", KEY=private.decode()
    )
    assert done.code == 2 and "may not sign: reproduction" in done.out, done.out


def stopped_while_training(
    project: Project,
) -> tuple[subprocess.Popen[bytes], psutil.Process, int]:
    """A run that trains for as long as nobody lets it go on, its process, and how many were recorded
    before it began.
    """
    scratch = project.root / LEFT / "scratch"
    for _ in range(10):  # one that was over before it was seen is no such run
        before, running = (
            reproductions(project),
            project.start("countersign", "reproduce", "sft", warm=True),
        )
        wait_for(
            lambda at=running: at.poll() is not None or there(scratch, "**/checkpoints"),
            300,
            "it trains",
        )  # type: ignore[misc]
        for process in project.processes():
            if process.pid != running.pid and process.name() == "reproduce":
                process.suspend()
                if running.poll() is None and scratch.is_dir():
                    return running, process, before
                process.resume()
        running.wait(300)
    raise AssertionError("it was always over before it was seen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_two_at_once_are_refused_and_a_kill_leaves_nothing_behind(
    number: signal.Signals, project: Project
) -> None:
    made = project.outputs()
    running, process, before = stopped_while_training(project)
    if number == signal.SIGTERM:
        second = project.countersign("reproduce", "sft")
        assert second.code == 7 and "reproduce@sft is already running" in second.out, second.out
    process.send_signal(number)
    process.resume()
    assert running.wait(300) != 0
    assert reproductions(project) == before and project.outputs() == made
    if number == signal.SIGKILL:  # nobody was left to tidy up; the next run does
        done = project.countersign("reproduce", "sft")
        assert done.code == 0, done.out
    assert not (project.root / LEFT).exists()


def test_what_is_trained_with_is_what_params_say(small: Project) -> None:
    """The objective's digest in the log is the one that is compared."""
    params = open_project(small.root, small.env()).params
    first = next(one for one in small.evidence("train") if one.predicate.stage == "train@sft")
    assert objective.resolve(params, "sft").digest == first.predicate.objective
