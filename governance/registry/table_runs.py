"""Runs in MLflow's tables, written by SQL: what `MlflowClient` would write there.

The columns are those of one version of MLflow's tables (`REVISION`). A database of another version
is refused, as MLflow itself refuses it; a test compares the revision with the pinned MLflow's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from governance.base.errors import StorageError
from governance.log.port import Execute
from governance.log.sql import Database
from governance.registry.display import param_texts
from governance.registry.port import DatasetLink, LoggedModel, Place, Point, RunStatus, Say
from governance.registry.rows import WORKSPACE, Rows, read_rows
from governance.registry.runs import DIGEST, PROCESS_TAG, NewRun, sqlite_path, unusable

REVISION = "dc11669786a5"
"""Of MLflow's tables, in its table `alembic_version`."""
READY = 2
"""The status of a logged model that is complete (MLflow's `LoggedModelStatus`)."""

_EXPERIMENT = (
    "SELECT experiment_id, lifecycle_stage FROM experiments WHERE workspace = ? AND name = ?"
)
_MAKE_EXPERIMENT = """
INSERT INTO experiments
  (name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
VALUES (?, ?, 'active', ?, ?, ?) ON CONFLICT DO NOTHING"""
_RESTORE = "UPDATE experiments SET lifecycle_stage = 'active' WHERE experiment_id = ?"
_LOCATION = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
_MAKE_RUN = """
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status,
  start_time, source_version, lifecycle_stage, artifact_uri, experiment_id)
VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, '', 'active', ?, ?)"""
_TAG = """
INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)
ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"""
_PARAM = "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_POINT = """
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE
SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step
WHERE (excluded.step, excluded.timestamp) >= (latest_metrics.step, latest_metrics.timestamp)"""
_MODEL_POINT = """
INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step,
  metric_value, experiment_id, run_id, dataset_uuid, dataset_name, dataset_digest)
SELECT ?, ?, ?, ?, ?, r.experiment_id, r.run_uuid, d.dataset_uuid, d.name, d.digest
FROM runs r LEFT JOIN datasets d
  ON d.experiment_id = r.experiment_id AND d.name = ? AND d.digest = ?
WHERE r.run_uuid = ? ON CONFLICT DO NOTHING"""
_DATASET = """
INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type,
  dataset_source, dataset_profile) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_DATASET_ID = (
    "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?"
)
_INPUT = """
INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step)
VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING"""
_INPUT_TAG = "INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?)"
_FINISH = "UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?"
_RUNNING = """
SELECT r.run_uuid, t.value FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ?
WHERE r.experiment_id = ? AND r.status = 'RUNNING' AND r.lifecycle_stage = 'active'"""
_MODEL = """
INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,
  last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id)
VALUES (?, ?, ?, ?, ?, ?, ?, 'active', '', ?)"""
_MODEL_TAG = (
    "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value)"
    " VALUES (?, ?, ?, ?)"
)
_RETAG_MODEL = f"""{_MODEL_TAG}
ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value"""
_MODEL_PARAM = (
    "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value)"
    " VALUES (?, ?, ?, ?)"
)
_FIND_MODEL = """
SELECT m.model_id FROM logged_models m
JOIN logged_model_tags t ON t.model_id = m.model_id AND t.tag_key = ? AND t.tag_value = ?
WHERE m.experiment_id = ? AND m.lifecycle_stage = 'active'
ORDER BY m.creation_timestamp_ms DESC LIMIT 1"""


def database_at(place: Place, say: Say) -> Database:
    """The database at `place.registry_uri`, with MLflow's tables. Raises `StorageError`."""
    uri = place.registry_uri
    path = sqlite_path(uri)
    if path is not None:
        from governance.log.sqlite import SqliteDatabase
        from governance.registry.mlflow import prepare_sqlite  # imports MLflow at the first use

        prepare_sqlite(path, place.artifact_root, say)

        database: Database = SqliteDatabase(path)
    elif uri.startswith(("postgresql://", "postgresql+psycopg://")):
        from governance.log.postgres import PostgresDatabase

        database = PostgresDatabase(uri)
    else:
        raise unusable(uri)
    with database.snapshot() as execute:
        is_there = execute is not None and database.has(execute, "alembic_version")
        rows = execute("SELECT version_num FROM alembic_version", ()) if is_there else []  # type: ignore[misc]
    if [row[0] for row in rows] != [REVISION]:
        found = f"its tables are of another version of MLflow: {rows[0][0] if rows else 'none'}"
        fix = "use the version of MLflow in constraints.txt, or set COUNTERSIGN_REGISTRY"
        raise StorageError(found, where=database.where, expected=REVISION, fix=fix)
    return database


class TableRuns:
    """See `governance.registry.runs.RunStore`. Each call is one transaction."""

    def __init__(self, database: Database, artifact_root: Path) -> None:
        self._database = database
        self._root = artifact_root
        self.where = database.where

    def rows(self, model: str) -> Rows:
        """See `RunStore`."""
        found = read_rows(self._database, ())
        if found is None:
            raise StorageError("the registry has no tables", where=self.where)
        return found

    def experiment(self, project: str, at: int) -> str:
        """See `RunStore`."""
        key = (WORKSPACE, project)
        with self._database.snapshot() as execute:
            rows = execute(_EXPERIMENT, key) if execute else []
        if rows and rows[0][1] == "active":
            return str(rows[0][0])
        with self._database.transaction() as execute:
            location = self._root.absolute().as_uri()
            execute(_MAKE_EXPERIMENT, (project, location, at, at, WORKSPACE))
            id_ = execute(_EXPERIMENT, key)[0][0]
            execute(_RESTORE, (id_,))
        return str(id_)

    def create(self, experiment: str, new: NewRun) -> str:
        """See `RunStore`."""
        run_id, experiment_id = uuid.uuid4().hex, int(experiment)
        with self._database.transaction() as execute:
            location = str(execute(_LOCATION, (experiment_id,))[0][0]).rstrip("/")
            place = f"{location}/{run_id}/artifacts"
            execute(_MAKE_RUN, (run_id, new.name, new.user, new.at, place, experiment_id))
            for name, value in {**new.tags, "mlflow.runName": new.name}.items():
                execute(_TAG, (name, value, run_id))
            for link in new.datasets:
                _link_dataset(execute, experiment_id, run_id, link)
            if new.scores:
                _link(execute, "RUN_INPUT", run_id, "MODEL_INPUT", new.scores)
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """See `RunStore`."""
        with self._database.transaction() as execute:
            for name, value in params.items():
                execute(_PARAM, (name, value, run_id))

    def log_points(
        self, run_id: str, points: Sequence[Point], model: str | None, data: DatasetLink | None
    ) -> None:
        """See `RunStore`."""
        latest = {point.name: point for point in points}
        source = (data.name, short_digest(data)) if data else (None, None)
        with self._database.transaction() as execute:
            for point in points:
                values = (point.name, point.value, point.at, run_id, point.step, False)
                execute(_POINT, values)
                if model and not point.name.startswith("system/"):
                    at = (point.at, point.step, point.value)
                    execute(_MODEL_POINT, (model, point.name, *at, *source, run_id))
            for point in latest.values():
                newest = (point.name, point.value, point.at, point.step, False, run_id)
                execute(_LATEST, newest)

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """See `RunStore`."""
        with self._database.transaction() as execute:
            execute(_TAG, (name, value, run_id))

    def finish(self, run_id: str, status: RunStatus, at: int) -> None:
        """See `RunStore`."""
        with self._database.transaction() as execute:
            execute(_FINISH, (status, at, run_id))

    def running(self, experiment: str) -> Mapping[str, str]:
        """See `RunStore`."""
        with self._database.snapshot() as execute:
            rows = execute(_RUNNING, (PROCESS_TAG, int(experiment))) if execute else []
        return {str(run): str(process) for run, process in rows}

    def make_model(self, experiment: str, run_id: str, model: LoggedModel, at: int) -> str:
        """See `RunStore`."""
        model_id, experiment_id = f"m-{uuid.uuid4().hex}", int(experiment)
        with self._database.transaction() as execute:
            location = str(execute(_LOCATION, (experiment_id,))[0][0]).rstrip("/")
            place = f"{location}/models/{model_id}/artifacts"
            values = (model_id, experiment_id, model.name, place, at, at, READY, run_id)
            execute(_MODEL, values)
            execute(_MODEL_TAG, (model_id, experiment_id, DIGEST, model.digest))
            for name, value in param_texts(model.params).items():
                execute(_MODEL_PARAM, (model_id, experiment_id, name, value))
            _link(execute, "RUN_OUTPUT", run_id, "MODEL_OUTPUT", model_id)
        return model_id

    def find_model(self, experiment: str, digest: str) -> str | None:
        """See `RunStore`."""
        with self._database.snapshot() as execute:
            rows = execute(_FIND_MODEL, (DIGEST, digest, int(experiment))) if execute else []
        return str(rows[0][0]) if rows else None

    def tag_model(self, experiment: str, model_id: str, name: str, value: str) -> None:
        """See `RunStore`."""
        with self._database.transaction() as execute:
            execute(_RETAG_MODEL, (model_id, int(experiment), name, value))


def short_digest(link: DatasetLink) -> str:
    """The digest as MLflow's field can keep it, of 36 characters. The source has all of it."""
    return link.sha256[:32]


def described(link: DatasetLink) -> dict[str, str]:
    """A dataset as MLflow describes it."""
    return {
        "name": link.name,
        "digest": short_digest(link),
        "source_type": "countersign",
        "source": json.dumps({"sha256": link.sha256}),
        "profile": json.dumps({"num_rows": link.records}),
    }


def _link_dataset(execute: Execute, experiment: int, run_id: str, link: DatasetLink) -> None:
    shown = described(link)
    kind = (shown["source_type"], shown["source"], shown["profile"])
    named = (experiment, shown["name"], shown["digest"])
    execute(_DATASET, (uuid.uuid4().hex, *named, *kind))
    dataset = execute(_DATASET_ID, named)[0][0]
    made = _link(execute, "DATASET", dataset, "RUN", run_id)
    execute(_INPUT_TAG, (made, "mlflow.data.context", link.context))


def _link(execute: Execute, kind: str, source: str, to: str, destination: str) -> str:
    id_ = uuid.uuid4().hex
    execute(_INPUT, (id_, kind, source, to, destination))
    return id_
