"""MLflow's client as the registry of a pipeline; its errors become ours here.

MLflow gets every address and run id as an argument; its globals are neither read nor set. Its
telemetry, logging and printing are off. With SQLite the tables are made here, in one step. Runs are
written without MLflow (`governance.registry.runs`).
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from governance.base.errors import StorageError
from governance.base.model import SLUG
from governance.log.http_client import bypass_proxies, is_server
from governance.log.sqlite import SqliteDatabase
from governance.registry import rest
from governance.registry.display import shortened
from governance.registry.failures import translated
from governance.registry.mlmodel import SEALED, is_loadable, write_around
from governance.registry.port import (
    DIGEST_TAG,
    Place,
    RunRequest,
    Say,
    Version,
    VersionRequest,
)
from governance.registry.runs import TAG_LENGTH, Runs, open_runs
from governance.registry.schema import install_tables, unsynced

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

TABLE = "alembic_version"
"""Of a database in which MLflow's tables are."""
MODEL_FOLDER = "model"
"""The folder of a version's files below its run's artifacts."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Settings that MLflow reads from the environment. Values that are set already stay."""

CONFINED = {"MLFLOW_ALLOW_HTTP_REDIRECTS": "false", "NETRC": os.devnull}
"""Settings that keep the account at the server: no redirect is followed, and no account of another
file takes its place.
"""


def open_registry(
    place: Place, *, say: Say | None = None, now: Callable[[], datetime] | None = None
) -> MlflowRegistry:
    """The registry at `place.registry_uri`. Raises `StorageError` where it cannot be reached or
    made.
    """
    return MlflowRegistry(
        place.registry_uri, open_runs(place, os.environ, say=say, now=now), partial(_client, place)
    )


def _client(place: Place) -> MlflowClient:
    """MLflow's own client."""
    uri = place.registry_uri
    served = is_server(uri)
    _import_quietly(served)
    from mlflow.tracking import MlflowClient

    bypass_proxies(os.environ)
    os.environ.update(CONFINED)
    account = rest.account(uri, os.environ) if served else None
    if account:  # MLflow's client reads nothing else
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = account
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@dataclass
class MlflowRegistry:
    """Runs, versions and aliases. Raises `StorageError` where the registry cannot be reached or
    written. What it holds is read without MLflow, which takes seconds to import.
    """

    _uri: str
    runs: Runs
    _connect: Callable[[], MlflowClient]

    @cached_property
    def _client(self) -> MlflowClient:
        with translated(self._uri):
            return self._connect()

    def find(self, model: str, digest: str) -> Version | None:
        """The first complete version of `model` with these bytes, or None."""
        return next((version for version in self.versions(model) if version.digest == digest), None)

    def register(self, request: VersionRequest) -> Version:
        """The version of these bytes: the one that exists, or a new one. It is made last and in one
        step: one that exists is complete.
        """
        existing = self.find(request.model, request.digest)
        if existing:
            return existing
        made = self.runs.find_model(request.digest)
        linked = {"pipeline.logged_model": made} if made else {}
        tags = {**request.tags, **linked}
        shown = {**tags, **request.run_tags, "pipeline.digest": request.digest}
        asked = RunRequest(request.run_name, request.params, shown, request.datasets)
        with self.runs.run(asked) as run:
            run.metrics(0, request.metrics)
            with translated(self._uri):
                self._log_model(run.id, request)
                self._attach(run.id, request.attachments)
                tags[DIGEST_TAG] = request.digest
                number = self._create_version(request, run.id, tags)
        if made:
            self.runs.link_version(made, request.model, number)
        return Version(request.model, number, request.digest, run.id)

    def _log_model(self, run_id: str, request: VersionRequest) -> None:
        """The model's files; and where MLflow can load it, what tells MLflow how
        (`governance.registry.mlmodel`).
        """
        folder = MODEL_FOLDER
        if is_loadable(request.folder):
            folder = f"{MODEL_FOLDER}/{SEALED}"
            with tempfile.TemporaryDirectory() as staging:
                around = Path(staging)
                for path in write_around(request.folder, request.digest, around):
                    self._log_file(run_id, around / path, MODEL_FOLDER, path)
        for file in request.files:
            self._log_file(run_id, request.folder / file.path, folder, file.path)

    def _log_file(self, run_id: str, file: Path, folder: str, path: str) -> None:
        self._client.log_artifact(run_id, str(file), "/".join([folder, *path.split("/")[:-1]]))

    def versions(self, model: str) -> list[Version]:
        """Oldest first; empty where the model is not registered."""
        name = _safe_name(model)
        with translated(self._uri):
            rows = self.runs.store.rows(name)
        holders = [(alias.version, alias.alias) for alias in rows.aliases if alias.model == name]
        return [
            Version(
                name,
                row.version,
                row.digest,
                row.run_id or None,
                tuple(sorted(alias for holder, alias in holders if holder == row.version)),
            )
            for row in sorted(rows.versions, key=lambda row: int(row.version))
            if row.model == name and not row.deleted
        ]

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Points `alias` at a version. What permits it is decided elsewhere, before."""
        with translated(self._uri):
            self._client.set_registered_model_alias(_safe_name(model), alias, number)

    def attach(self, version: Version, files: Mapping[str, Path]) -> None:
        """Copies files below the version's run's artifacts, e.g. its report."""
        if version.run_id is None:
            problem = f"{version.model} version {version.number} has no run to attach files to"
            raise StorageError(problem, where=self._uri)
        with translated(self._uri):
            self._attach(version.run_id, files)

    def where(self, version: Version) -> str:
        """Where a person finds it: a page of the server, or the command that shows it."""
        page = f"#/models/{version.model}/versions/{version.number}"
        if is_server(self._uri):
            return f"{self._uri.rstrip('/')}/{page}"
        return f"mlflow ui --backend-store-uri {self._uri}   (then /{page})"

    def _create_version(self, request: VersionRequest, run_id: str, tags: Mapping[str, str]) -> str:
        """Makes the version. Returns its number."""
        with _unless_there():
            self._client.create_registered_model(_safe_name(request.model))
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
        version = self._client.create_model_version(
            request.model, source, run_id, tags=_texts(tags), description=request.description
        )
        return str(version.version)

    def _attach(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Copies files under other paths. MLflow keeps a file's own name, so a file that gets
        another name is copied first.
        """
        for into, path in sorted(files.items()):
            folder, _, name = into.rpartition("/")
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), into)
            elif path.name == name:
                self._client.log_artifact(run_id, str(path), folder or None)
            else:
                with tempfile.TemporaryDirectory() as staging:
                    staged = Path(staging) / name
                    staged.write_bytes(path.read_bytes())
                    self._client.log_artifact(run_id, str(staged), folder or None)


def prepare_sqlite(path: Path, artifact_root: Path, say: Say) -> None:
    """Makes MLflow's tables where they are not there yet (`governance.registry.schema`)."""
    database = SqliteDatabase(path)
    with database.snapshot() as execute:
        if execute and database.has(execute, TABLE):
            return
    say("making the registry's tables (first use, a few seconds)")
    with tempfile.TemporaryDirectory(prefix="countersign-") as folder, unsynced():
        _import_quietly(served=False)
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        template = Path(folder) / "template.db"
        SqlAlchemyStore(f"sqlite:///{template}", artifact_root.absolute().as_uri()).engine.dispose()
        install_tables(template, database, TABLE)


@contextmanager
def _unless_there() -> Iterator[None]:
    """Nothing is made where it exists already, perhaps by another process."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _safe_name(model: str) -> str:
    """The name, if it can be put into a search. Raises `StorageError`."""
    if not re.fullmatch(SLUG, model):
        raise StorageError(f"{model!r} is no name of a model", expected="a-z, 0-9, _ and -")
    return model


def _texts(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: shortened(str(value), TAG_LENGTH) for name, value in tags.items()}


def _import_quietly(served: bool) -> None:
    """Imports MLflow, which then reads the environment, warns and sets up its logging."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.store.db.utils as database
        import mlflow.tracking

        if not served:
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
        database.MAX_RETRY_COUNT = 4  # of 10, which take 100 seconds
    for logger in ("mlflow", "alembic", "sqlalchemy.engine", "urllib3.connectionpool"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
