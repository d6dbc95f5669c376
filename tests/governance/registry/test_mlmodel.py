"""What tells MLflow how to load a registered model follows from the model, and from nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest, tree_digest
from governance.attest.predicates import Registration, Run
from governance.base.errors import InputError
from governance.registry import mlmodel
from governance.registry.mlflow import open_registry
from governance.registry.port import LoggedModel, RunRequest
from governance.release.artifacts import in_artifact_root, verify_files
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import Place, client, folder_of, request_of

RAN = Run.model_validate(
    {
        "started": "2026-11-20T12:00:00Z",
        "finished": "2026-11-20T12:00:00Z",
        "seconds": 0.0,
        "requested_by": {"name": "ada", "authenticated": False},
    }
)


@pytest.fixture
def place(tmp_path: Path, mlflow_tables: Path) -> Place:
    place = Place(f"sqlite:///{tmp_path}/state/desk.db", tmp_path / "state" / "artifacts")
    with_tables(mlflow_tables, Path(place.registry_uri.removeprefix("sqlite:///")))
    return place


@pytest.fixture
def version(tmp_path: Path) -> tuple[Path, str]:
    """A version's folder, and the digest of its model."""
    model = folder_of(tmp_path / "version" / "model")
    digest = tree_digest(model)
    mlmodel.write_around(model, digest, tmp_path / "version")
    return tmp_path / "version", digest


def test_the_description_runs_nothing(version: tuple[Path, str]) -> None:
    folder, digest = version
    value = json.loads((folder / "MLmodel").read_text())
    assert list(value["flavors"]) == ["transformers"]
    assert value["metadata"]["countersign.digest"] == digest
    text = (folder / "MLmodel").read_text()
    assert not [
        word for word in ("python_function", "loader_module", "code", "env") if f'"{word}"' in text
    ]
    assert mlmodel.differences(folder, digest) == []
    assert mlmodel.sealed_folder(folder) == folder / "model"


@pytest.mark.parametrize(
    ("architecture", "loader", "task"),
    [
        ("LlamaForCausalLM", "AutoModelForCausalLM", "text-generation"),
        (
            "LlamaForSequenceClassification",
            "AutoModelForSequenceClassification",
            "text-classification",
        ),
    ],
)
def test_models_and_reward_models_are_loaded_by_their_class(
    architecture: str, loader: str, task: str, tmp_path: Path
) -> None:
    model = folder_of(tmp_path / "model", architecture)
    flavor = json.loads(mlmodel.description(model, "ab" * 32))["flavors"]["transformers"]
    assert (flavor["pipeline_model_type"], flavor["task"]) == (loader, task)


def _text(path: str, text: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    return spoil


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another description": (_text("MLmodel", "flavors: {}"), "MLmodel: is not the one"),
    "code": (_text("code/evil.py", "1"), "code/evil.py: stands beside the model"),
    "a pickle": (_text("python_model.pkl", "1"), "python_model.pkl: stands beside the model"),
    "another tokenizer": (
        _text("components/tokenizer/tokenizer.json", "{}"),
        "tokenizer.json: is not the model's own",
    ),
    "a tokenizer's file more": (
        _text("components/tokenizer/tokenizer.py", "1"),
        "tokenizer.py: stands beside the model",
    ),
    "a tokenizer's file less": (
        lambda folder: (folder / "components/tokenizer/tokenizer.json").unlink(),
        "tokenizer.json: missing",
    ),
    "no model": (lambda folder: shutil.rmtree(folder / "model"), "model: missing"),
}


@pytest.mark.parametrize("row", SPOILED)
def test_what_differs_around_a_model_is_found(row: str, version: tuple[Path, str]) -> None:
    folder, digest = version
    spoil, said = SPOILED[row]
    spoil(folder)
    (found,) = mlmodel.differences(folder, digest)
    assert said in found


def test_what_mlflow_leaves_behind_is_no_difference(version: tuple[Path, str]) -> None:
    folder, digest = version
    (folder / "registered_model_meta").write_text("model_name: support-desk\n")
    assert mlmodel.differences(folder, digest) == []


def test_a_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model")
    for text in ("[", "[]", '{"architectures": 1}'):
        (model / "config.json").write_text(text)
        with pytest.raises(InputError, match="configuration cannot be read"):
            mlmodel.description(model, "ab" * 32)


def test_a_version_has_its_model_and_its_description(place: Place, tmp_path: Path) -> None:
    """Its files are found and compared, and its logged model names the version."""
    asked = request_of(folder_of(tmp_path / "made"))
    registry = open_registry(place)
    with registry.runs.run(RunRequest("train@sft")) as training:
        training.made(LoggedModel("sft", asked.digest))
    version = registry.register(asked)
    api = client(place.registry_uri)
    shown = api.get_model_version("support-desk", version.number)
    model = api.get_logged_model(shown.tags["pipeline.logged_model"])
    assert json.loads(model.tags["mlflow.modelVersions"]) == [
        {"name": "support-desk", "version": 1}
    ]
    said = Registration(
        model="support-desk",
        version=version.number,
        stage="sft",
        tier="limited",
        model_digest=asked.digest,
        files=list(asked.files),
        chain=[],
        policy="ab" * 32,
        run=RAN.model_copy(update={"detail": {"registry_run": version.run_id}}),
    )
    folder = in_artifact_root(place.artifact_root)(said)
    assert folder is not None and manifest(folder) == list(asked.files)
    assert folder == Path(shown.source.removeprefix("file://")) / "model"
    (folder.parent / "MLmodel").write_text("{}")
    statement: Any = type("Said", (), {"predicate": said, "subjects": ()})()
    found = verify_files(None, [statement], in_artifact_root(place.artifact_root)).mismatches
    assert [fault.reason for fault in found] == ["MLmodel: is not the one of this model"]


@pytest.mark.slow
def test_mlflow_loads_it(place: Place, tmp_path: Path) -> None:
    import mlflow

    from tests.pipelines import tiny

    tiny.architecture(tmp_path / "bare")
    records = tiny.records(tmp_path / "text", "conversation")
    objective = tiny.objective("pretrain")
    tiny.train(tmp_path / "base", objective, tmp_path / "bare/model", records)
    asked = replace(request_of(tmp_path / "base" / "model"))
    registry = open_registry(place)
    registry.set_alias("support-desk", "candidate", registry.register(asked).number)
    try:
        mlflow.set_tracking_uri(place.registry_uri)
        mlflow.set_registry_uri(place.registry_uri)
        loaded = mlflow.transformers.load_model("models:/support-desk@candidate")
        assert loaded("hello", max_new_tokens=2)[0]["generated_text"].startswith("hello")
        with pytest.raises(mlflow.MlflowException, match="python_function"):
            mlflow.pyfunc.load_model("models:/support-desk@candidate")
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
