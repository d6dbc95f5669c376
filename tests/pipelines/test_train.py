"""The training stage: nothing without its gate or from changed bytes, the same bytes again, and a
run that tells.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.attest import digests
from governance.attest.predicates import RecordUse, Train
from governance.attest.predicates.training import Compute
from governance.base.errors import RefusedError, TrainingError, VerificationError
from governance.machine.machine import Machine, machine
from pipelines import paths
from pipelines.failures import StoppedError
from pipelines.job import Job, Outcome
from pipelines.params import Params, load_params
from pipelines.stages import train
from pipelines.training import launch, objective
from pipelines.training.plan import Fitted, Plan
from tests.conftest import ROOT
from tests.governance.registry.told import client
from tests.pipelines import gated, tiny
from tests.pipelines.jobs import job

pytestmark = pytest.mark.filterwarnings("ignore")

SETTLED = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with records, a pre-trained parent and gate answers."""
    root = tmp_path_factory.mktemp("project")
    for name, kind in {
        "desk_text": "conversation",
        "desk_sft": "conversation",
        "desk_prompts": "prompt",
    }.items():
        tiny.records(root / paths.ready(name), kind)
    tiny.architecture(root / paths.model("tiny"))
    bare, text = (
        root / paths.model("tiny") / "model",
        root / paths.ready("desk_text") / "records",
    )
    tiny.train(root / "models" / "base", tiny.objective("pretrain"), bare, text)
    (root / paths.gate("sft")).parent.mkdir()
    for stage in ("base", "sft", "grpo"):
        (root / paths.gate(stage)).write_text(json.dumps({"stage": stage}))
    return root


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """One registry for all of this module's runs."""
    environ = {
        "COUNTERSIGN_HOME": str(tmp_path_factory.mktemp("home")),
        "COUNTERSIGN_REQUESTER": "ada",
    }
    return machine("support-desk", environ)


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A gate that allows, and says so; the process settled as the harness leaves it."""
    asked: list[str] = []
    monkeypatch.setattr(train, "train_only_if_allowed", lambda job: asked.append(job.name))
    for name, value in SETTLED.items():
        monkeypatch.setenv(name, value)
    return asked


def params(**trainer: Any) -> Params:
    raw = load_params(ROOT).model_dump()
    for stage in raw["stages"].values():
        stage["trainer"] = {
            **tiny.ARGUMENTS,
            **(tiny.ONLINE if stage["method"] == "grpo" else {}),
            **trainer,
        }
        stage["lora"] = tiny.LORA if stage["lora"] else None
    raw["stages"]["grpo"] |= {
        "parent": "base",
        "scorer": "base",
        "rewards": [{"name": "route_fields"}],
    }
    return Params.model_validate(raw)


def training(
    stage: str, project: Path, made: Path, here: Machine, given: Params | None = None
) -> Job:
    return job(train, "train", stage, project, made, given or params(), machine=here)


def test_the_statement_names_the_launcher_of_the_machine() -> None:
    """It is a program of the machine's own: nothing here checks what it runs."""
    assert train.launcher({}) == train.launcher({"COUNTERSIGN_LAUNCH": " "}) == {}
    assert train.launcher({"COUNTERSIGN_LAUNCH": "torchrun -x"}) == {"launcher": "torchrun -x"}


def runs(here: Machine) -> dict[str, Any]:
    """MLflow's runs by id."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=here.registry_uri, registry_uri=here.registry_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return {run.info.run_id: run for run in client.search_runs(experiments)}


@contextmanager
def one_more_run_that_failed(here: Machine) -> Iterator[None]:
    """What happens within leaves exactly one run, and that as FAILED."""
    before = set(runs(here))
    yield
    assert [run.info.status for name, run in runs(here).items() if name not in before] == ["FAILED"]


def published(one: Job) -> dict[str, str]:
    return {role: digests.digest_of(path) for role, path in one.output_paths.items()}


@pytest.mark.slow
def test_what_is_left_and_told(
    project: Path, here: Machine, allowed: list[str], tmp_path: Path
) -> None:
    one = training("sft", project, tmp_path, here)
    outcome = train.run(one)

    assert allowed == ["train@sft"]
    assert set(published(one)) == {"model", "adapter", "training", "curves"}
    wanted = objective.resolve(one.params, "sft")
    assert outcome.predicate == {
        "method": "sft",
        "objective": wanted.digest,
        "records": 24,
        "use": {"train": RecordUse(offered=24, used=24, dropped={}, truncated=0, seen=16)},
        "steps": 4,
        "final": outcome.predicate["final"],
        "device": "cpu",
        "threads": 1,
        "adapter": published(one)["adapter"],
        "equal_rewards": None,
    }
    assert set(outcome.predicate) | train_fields() == set(Train.model_fields) - {
        "stopped",
        "selected",
        "curve",
        "looks",
        "tools",
        "canaries",
    }
    assert outcome.predicate["final"]["loss"] > 0
    figures = json.loads(one.output("training").read_text())
    assert figures["inputs"]["data"]["sha256"] == one.inputs["data"].sha256
    assert figures["objective"] == wanted.digest and figures["steps"] == 4
    rows = list(csv.DictReader(one.output("curves").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) == outcome.predicate["final"]["loss"]
    adapter = json.loads((one.output("adapter") / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == f"sha256:{one.inputs['parent'].sha256}"
    assert outcome.detail["peak_rss_bytes"] > 1 << 20
    used = Compute.of(outcome.detail)
    assert used is not None and used.device_hours > 0 and used.devices == 1
    assert (used.energy_joules is None) <= bool(used.energy_not_measured)
    assert_shown(outcome, one, here)


def characters(text: str, answer: str | None) -> float:
    """A reward in which random answers differ."""
    return float(len(text))


@pytest.mark.slow
def test_a_training_that_ends_at_a_limit_says_at_which(
    project: Path,
    here: Machine,
    allowed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny.replace_reward(monkeypatch, "route_fields", characters)  # answers differ in it
    raw = params().model_dump()
    raw["stages"]["grpo"]["stop"] = {"reward_above": -1.0}
    given = Params.model_validate(raw)
    one = training("grpo", project, tmp_path, here, given)
    outcome = train.run(one)
    expected = {"rule": "reward_above", "limit": -1.0, "planned": 4}
    stopped = outcome.predicate["stopped"].model_dump()
    assert stopped.items() >= expected.items() and stopped["found"] > -1.0
    assert outcome.predicate["steps"] == 1
    assert outcome.summary.startswith("1 steps of 4 (reward ")
    assert json.loads(one.output("training").read_text())["stopped"] == stopped
    assert outcome.parameters["stop"] == {"reward_above": -1.0}


def train_fields() -> set[str]:
    """What the harness adds to every predicate."""
    from governance.attest.predicates import Predicate

    return set(Predicate.model_fields)


def assert_shown(outcome: Outcome, one: Job, here: Machine) -> None:
    """The registry's run: finished, with curves, hyperparameters and links by digest."""
    shown = runs(here)[outcome.detail["registry_run"]]
    assert (shown.info.status, outcome.detail["registry_problem"]) == ("FINISHED", None)
    assert shown.data.metrics["loss"] == outcome.predicate["final"]["loss"]
    assert shown.data.metrics["device_hours"] == outcome.detail["device_hours"]
    assert (
        shown.data.params["trainer.learning_rate"] == "0.01" and shown.data.params["lora.r"] == "2"
    )
    params = shown.data.params
    assert (params["trainer.weight_decay"], params["trainer.optim"]) == ("0.0", "adamw_torch_fused")
    assert (params["device"], params["processes"]) == ("cpu", "1")
    assert 0 < int(params["model.trainable"]) < int(params["model.parameters"])
    assert not [value for value in params.values() if "/" in value]  # no path of this machine
    tags = {f"pipeline.{role}": item.sha256 for role, item in one.inputs.items()}
    assert tags.items() <= shown.data.tags.items()
    (made,) = shown.outputs.model_outputs
    model = client(here.registry_uri).get_logged_model(made.model_id)
    assert model.tags["pipeline.digest"] == published(one)["model"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "grpo"])
def test_the_same_inputs_give_the_same_bytes(
    stage: str,
    project: Path,
    here: Machine,
    allowed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def vowels(text: str, answer: str | None) -> float:
        return float(text.count("a") + text.count("e"))

    tiny.replace_reward(monkeypatch, "route_fields", vowels)  # random answers get some
    first, second = (training(stage, project, tmp_path / part, here) for part in ("one", "two"))
    outcomes = [train.run(one) for one in (first, second)]
    assert published(first) == published(second)
    assert outcomes[0].predicate == outcomes[1].predicate
    assert outcomes[0].parameters == outcomes[1].parameters


@pytest.mark.parametrize(
    ("dropped", "truncated", "said"),
    [
        ({}, 0, ""),
        ({}, 7, " (7 cut to max_length)"),
        ({"NO_ROOM": 250, "OTHER": 3}, 0, " (253 of 990 left out: NO_ROOM 250, OTHER 3)"),
        ({"TOO_LONG": 1}, 2, " (2 cut to max_length; 1 of 990 left out: TOO_LONG 1)"),
    ],
)
def test_what_is_left_out_or_cut_is_said(
    dropped: dict[str, int], truncated: int, said: str
) -> None:
    used = 990 - sum(dropped.values())
    use = RecordUse(offered=990, used=used, dropped=dropped, truncated=truncated)
    assert train._lost(use) == said


def test_a_killed_stages_work_is_not_taken_up_by_another_objective(
    project: Path, here: Machine, allowed: list[str], tmp_path: Path
) -> None:
    first = training("sft", project, tmp_path, here)
    other = training("sft", project, tmp_path, here, params(learning_rate=2e-2))
    works = {train._plan(one, objective.resolve(one.params, "sft")).work for one in (first, other)}
    assert len(works) == 2


def test_without_its_gate_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The enforcing decision itself is tested in test_gate; here: that the stage asks it first, and
    stops.
    """
    started: list[Plan] = []
    monkeypatch.setattr(launch, "run", lambda plan, listener, environ: started.append(plan))
    gated.files(tmp_path)
    with pytest.raises(RefusedError, match="GATE_MISSING"):
        train.run(gated.training(tmp_path, recorded=False))
    refused = gated.training(tmp_path)
    other = refused.inputs["data"].model_copy(update={"sha256": "0" * 64})
    with pytest.raises(RefusedError, match="EVIDENCE_MISSING"):
        train.run(replace(refused, inputs={**refused.inputs, "data": other}))
    assert started == []


def edited_while_training(path: Path) -> Callable[[Plan, Any, Mapping[str, str]], Fitted]:
    real = launch.run

    def run(plan: Plan, listener: Any, environ: Mapping[str, str]) -> Fitted:
        fitted = real(plan, listener, environ)
        path.write_bytes(path.read_bytes() + b" ")
        return fitted

    return run


@pytest.mark.slow
@pytest.mark.parametrize("role", ["data", "parent", "gate"])
def test_bytes_that_change_meanwhile_publish_nothing(
    role: str,
    project: Path,
    here: Machine,
    allowed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = training("sft", project, tmp_path, here)
    inside = {"parent": "config.json", "data": "00000.parquet"}
    path = one.input(role) / inside.get(role, "")
    before = path.read_bytes()
    monkeypatch.setattr(launch, "run", edited_while_training(path))
    try:
        with (
            one_more_run_that_failed(here),
            pytest.raises(VerificationError, match="changed while it was being used"),
        ):
            train.run(one)
    finally:
        path.write_bytes(before)
    assert not one.output("model").exists()


@pytest.mark.slow
def test_a_training_that_changes_no_weight_made_no_model(
    project: Path, here: Machine, allowed: list[str], tmp_path: Path
) -> None:
    one = training("sft", project, tmp_path, here, params(learning_rate=0.0))
    with one_more_run_that_failed(here), pytest.raises(StoppedError) as stopped:
        train.run(one)
    assert [found.code for found in stopped.value.stopped.findings] == ["MODEL_UNCHANGED"]
    assert stopped.value.exit_code == 9


def test_a_training_that_fails_is_shown_as_failed(
    project: Path,
    here: Machine,
    allowed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = training("grpo", project, tmp_path, here)

    def broken(text: str, answer: str | None) -> float:
        raise ZeroDivisionError(text)

    tiny.replace_reward(monkeypatch, "route_fields", broken)
    with one_more_run_that_failed(here), pytest.raises(TrainingError, match="route_fields"):
        train.run(one)
    assert not one.output("model").exists()


@pytest.mark.parametrize("name", SETTLED)
def test_a_process_that_was_not_settled_does_not_train(name: str) -> None:
    train.require_settled(SETTLED, 1)
    with pytest.raises(TrainingError, match=name):
        train.require_settled({**SETTLED, name: "7"}, 1)


def test_inputs_are_what_the_gate_decides_on() -> None:
    given = load_params(ROOT)
    assert [item.role for item in train.inputs(given, "sft")] == ["gate", "data", "parent"]
    assert [item.role for item in train.inputs(params_with_scorer(), "grpo")] == [
        "gate",
        "data",
        "parent",
        "scorer",
    ]


def params_with_scorer() -> Params:
    raw = load_params(ROOT).model_dump()
    raw["stages"]["grpo"] |= {"scorer": "reward", "rewards": [{"name": "model"}]}
    return Params.model_validate(raw)
