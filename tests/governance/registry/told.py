"""A training and its evaluation as a registry is told of them, and as MLflow's client reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest, manifest_digest
from governance.attest.predicates import Requester
from governance.registry.port import DatasetLink, LoggedModel, RunRequest, VersionRequest
from governance.registry.runs import Runs

ANN = Requester(name="ann", authenticated=False)


@dataclass(frozen=True)
class Place:
    registry_uri: str
    artifact_root: Path
    project: str = "desk"
    requester: Requester = ANN


DATA = DatasetLink("desk_sft", "cd" * 32, "training", 3000)
EVALUATED = DatasetLink("desk_eval", "ef" * 32, "evaluation", 300)


def folder_of(path: Path, architecture: str = "LlamaForCausalLM") -> Path:
    """A model folder, as far as files go."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (path / "tokenizer_config.json").write_text("{}")
    (path / "tokenizer.json").write_text('{"version": "1.0"}')
    (path / "model.safetensors").write_bytes(b"\0" * 64)
    return path


def request_of(folder: Path) -> VersionRequest:
    files = manifest(folder)
    return VersionRequest("support-desk", folder, manifest_digest(files), files, "register")


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri, uri)


def tell(runs: Runs) -> tuple[str, str]:
    """A training and its evaluation; their ids."""
    asked = RunRequest(
        "train@sft",
        {
            "learning_rate": 1e-4,
            "lora": {"r": 16},
            "hub_token": "hf_secret",
            "eos_token": "<|end|>",
            "long": "x" * 9000,
            **{f"p{at}": at for at in range(150)},
        },
        {"pipeline.parent": "ab" * 32, "mlflow.source.git.commit": "12" * 20},
        [DATA],
    )
    with runs.run(asked, system=True) as training:
        for step in range(1200):
            training.metrics(
                step, {"loss": 1.0 / (step + 1), "nan": float("nan"), "inf": float("inf")}
            )
        training.params({"trainer.weight_decay": 0.0})
        training.made(LoggedModel("sft", "aa" * 32, {"learning_rate": 1e-4}))
    assert training.problem is None
    scored = RunRequest("evaluate@sft", {}, {}, [EVALUATED], runs.find_model("aa" * 32))
    assert scored.scores is not None and runs.find_model("bb" * 32) is None
    with runs.run(scored) as evaluation:
        evaluation.metrics(0, {"greedy_exact": 0.5, "greedy_exact/low": 0.4})
    assert evaluation.problem is None
    runs.link_version(scored.scores, "support-desk", "3")
    return training.id, evaluation.id


def check(uri: str, training: str, evaluation: str) -> None:
    """MLflow's own client reads all of it."""
    api = client(uri)
    seen = api.get_run(training)
    assert (seen.info.status, seen.info.run_name) == ("FINISHED", "train@sft")
    assert seen.info.artifact_uri.endswith(f"{training}/artifacts")
    assert seen.data.params["learning_rate"] == "0.0001"
    assert seen.data.params["lora.r"] == "16"
    assert seen.data.params["eos_token"] == "<|end|>"
    assert seen.data.params["trainer.weight_decay"] == "0.0" and seen.data.params["p149"] == "149"
    assert "hub_token" not in seen.data.params and "hf_secret" not in str(seen.to_dictionary())
    assert len(seen.data.params["long"]) == 500 and "9000 characters" in seen.data.params["long"]
    assert seen.data.tags["pipeline.data.training.desk_sft"] == "cd" * 32
    assert seen.data.tags["mlflow.source.git.commit"] == "12" * 20
    (used,) = seen.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("desk_sft", "cd" * 16)
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    history = api.get_metric_history(training, "loss")
    assert sorted(point.step for point in history) == list(range(1200))
    assert seen.data.metrics["loss"] == pytest.approx(1 / 1200)
    assert {name for name in seen.data.metrics if not name.startswith("system/")} == {"loss"}
    assert seen.data.metrics["system/system_memory_usage_megabytes"] > 0
    (made,) = seen.outputs.model_outputs
    model = api.get_logged_model(made.model_id)
    assert (model.name, model.source_run_id, str(model.status)) == ("sft", training, "READY")
    assert model.tags["pipeline.digest"] == "aa" * 32
    assert model.tags["mlflow.modelVersions"] == '[{"name": "support-desk", "version": 3}]'
    figures = {figure.key: figure for figure in model.metrics}
    assert figures["greedy_exact"].value == 0.5
    assert (figures["greedy_exact"].run_id, figures["greedy_exact"].dataset_name) == (
        evaluation,
        "desk_eval",
    )
    assert api.get_run(evaluation).inputs.model_inputs[0].model_id == made.model_id
    found = api.search_runs([seen.info.experiment_id], "metrics.`greedy_exact/low` = 0.4")
    assert [run.info.run_id for run in found] == [evaluation]
