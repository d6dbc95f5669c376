"""A state folder may be moved whole: MLflow's stored addresses follow it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from governance.log.sqlite import SqliteDatabase
from governance.registry.addresses import moved_from
from governance.registry.mlflow import open_registry
from governance.registry.port import LoggedModel, RunRequest
from governance.registry.runs import open_runs
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import Place, client, folder_of, request_of


@pytest.fixture
def place(tmp_path: Path, mlflow_tables: Path) -> Place:
    """A registry with a version, and the model of a training."""
    place = Place(f"sqlite:///{tmp_path}/old/desk.db", tmp_path / "old" / "artifacts")
    with_tables(mlflow_tables, tmp_path / "old" / "desk.db")
    registry = open_registry(place)
    asked = request_of(folder_of(tmp_path / "made"))
    with registry.runs.run(RunRequest("train@sft")) as training:
        training.made(LoggedModel("sft", asked.digest))
    registry.register(asked)
    return place


def at(folder: Path) -> Place:
    return Place(f"sqlite:///{folder}/desk.db", folder / "artifacts")


def dump(place: Place) -> str:
    import sqlite3

    with sqlite3.connect(place.registry_uri.removeprefix("sqlite:///")) as database:
        return "\n".join(database.iterdump())


@pytest.mark.parametrize("copied", [False, True])
def test_the_addresses_follow_a_folder_that_was_moved_or_copied(
    place: Place, copied: bool, tmp_path: Path
) -> None:
    new = tmp_path / "new home ä"
    (shutil.copytree if copied else shutil.move)(tmp_path / "old", new)
    there = at(new)
    database = SqliteDatabase(new / "desk.db")
    assert moved_from(database, "desk", there.artifact_root) == f"file://{tmp_path}/old/artifacts/"
    open_runs(there, {})
    assert moved_from(database, "desk", there.artifact_root) is None
    assert f"file://{tmp_path}/old" not in dump(there)
    api = client(there.registry_uri)
    shown = api.get_model_version("support-desk", "1")
    stored = new / "artifacts" / shown.run_id / "artifacts" / "model"
    assert shown.source == stored.as_uri() and (stored / "MLmodel").is_file()
    assert Path(api.download_artifacts(shown.run_id, "model/MLmodel")).is_file()
    model = api.get_logged_model(shown.tags["pipeline.logged_model"])
    assert model.artifact_location.startswith((new / "artifacts").as_uri())
    before = dump(there)
    open_runs(there, {})
    assert dump(there) == before
    if copied:  # the first one is as it was
        assert (
            moved_from(SqliteDatabase(tmp_path / "old/desk.db"), "desk", place.artifact_root)
            is None
        )


def test_a_registry_whose_files_are_elsewhere_stays_as_it_is(place: Place, tmp_path: Path) -> None:
    """Another machine with the same database has a folder of its own, without these files."""
    (tmp_path / "other").mkdir()
    elsewhere = replace(place, artifact_root=tmp_path / "other")
    before = dump(place)
    open_runs(elsewhere, {})
    assert dump(place) == before
