"""A training that is killed and run again gives the bytes of one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from governance.attest import digests
from pipelines.training.callbacks import SEAL, last_checkpoint, seal
from pipelines.training.fit import fit
from pipelines.training.methods import METHODS
from tests.conftest import ROOT
from tests.pipelines import tiny

pytestmark = pytest.mark.filterwarnings("ignore")

CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # method, arguments, killed after step, resumes from step
    ("sft", {"max_steps": 12, "num_train_epochs": 2}, 7, 6),
    ("dpo", {"max_steps": 8}, 5, 4),
    ("grpo", {"max_steps": 10, "gradient_accumulation_steps": 2, "num_iterations": 2}, 7, 4),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that every case trains on."""
    folder = tmp_path_factory.mktemp("base")
    text = tiny.records(folder / "text", "conversation")
    architecture = tiny.architecture(folder / "bare")
    made, _ = tiny.train(folder / "base", tiny.objective("pretrain"), architecture, text)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "killed", "resumed"),
    [
        pytest.param(*case, id=case[0], marks=() if case[0] == "grpo" else pytest.mark.nightly)
        for case in CASES
    ],
)
def test_killed_and_run_again_gives_the_same_bytes(
    name: str, arguments: dict[str, Any], killed: int, resumed: int, base: Path, tmp_path: Path
) -> None:
    method = METHODS[name]
    data = tiny.records(tmp_path / "data", method.kind)
    wanted = tiny.objective(
        name, lora=True, rewards=("route_fields",) if method.rewards else (), **arguments
    )
    whole, untouched = tiny.train(tmp_path / "whole", wanted, base / "model", data)

    plan = tiny.plan(tmp_path / "cut", wanted, base / "model", data).model_copy(
        update={"checkpoint_seconds": 0.0}
    )
    (plan.work / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "tests.pipelines.killed",
        str(plan.work / "plan.json"),
        str(killed),
    ]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "123"}
    assert subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode == -signal.SIGKILL
    assert not (plan.work / "trained").exists()
    left = last_checkpoint(plan.work / "checkpoints")
    assert left is not None and left.name == f"checkpoint-{resumed}"

    seen: list[int] = []
    again = fit(plan, lambda step, steps, signals: None if signals else seen.append(step))
    assert min(seen) == resumed + 1
    assert again == untouched
    for file in ("adapter_model.safetensors", "tokenizer.json"):
        assert digests.sha256_file(whole / "trained" / file) == digests.sha256_file(
            plan.work / "trained" / file
        )


def checkpoint(folder: Path, step: int) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "optimizer.pt").write_bytes(bytes([step]))
    seal(made)
    return made


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    assert last_checkpoint(tmp_path) == newest


SPOILED = {
    "no seal": lambda folder: (folder / SEAL).unlink(),
    "torn seal": lambda folder: (folder / SEAL).write_text("{"),
    "empty seal": lambda folder: (folder / SEAL).write_text("{}"),
    "missing file": lambda folder: (folder / "optimizer.pt").unlink(),
    "torn file": lambda folder: (folder / "optimizer.pt").write_bytes(b""),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_torn_checkpoint_is_passed_over_and_removed(how: str, tmp_path: Path) -> None:
    older, torn = checkpoint(tmp_path, 5), checkpoint(tmp_path, 10)
    SPOILED[how](torn)
    assert last_checkpoint(tmp_path) == older
    assert not torn.exists()


def test_no_checkpoint_is_no_resume(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    assert json.loads((checkpoint(tmp_path, 1) / SEAL).read_text()).keys() == {"optimizer.pt"}
