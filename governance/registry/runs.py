"""Runs in a registry: shown while they last, written without MLflow, which takes three CPU-seconds
to import.

1. A server is asked over HTTP (`served_runs`); a database is written by SQL (`table_runs`). Both
   give what MLflow's own client would have written; tests read it back with that client.
2. A thread sends metrics every few seconds and measures the machine. Nothing that the registry does
   or fails to do delays the work, or changes it: see `LiveRun.problem`.
3. Only starting a run raises, so that a wrong address is found before hours of work.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from governance.base.errors import CountersignError, StorageError
from governance.log.http_client import is_server
from governance.registry.addresses import follow
from governance.registry.display import param_texts, shortened, without_credentials
from governance.registry.port import (
    DatasetLink,
    LoggedModel,
    Place,
    Point,
    RunRequest,
    RunStatus,
    Say,
)
from governance.registry.process import is_gone, this_process
from governance.registry.rows import Rows
from governance.registry.system import SystemMonitor

PROCESS_TAG = "pipeline.process"
ENDED_TAG = "pipeline.ended"
DIGEST = "pipeline.digest"
"""Tag of a logged model: sha256 of its manifest."""
VERSIONS = "mlflow.modelVersions"
"""MLflow's tag of a logged model for the versions that were registered from it."""
FLUSH_SECONDS = 5.0
KEPT_VALUES = 100_000
"""Metric values held back at most while the registry does not answer; the oldest go first."""
POINTS_PER_CALL = 1000
PARAMS_PER_CALL = 100
TAG_LENGTH = 5000


@dataclass(frozen=True)
class NewRun:
    """A run as it is written first."""

    name: str
    user: str
    at: int
    tags: Mapping[str, str]
    datasets: Sequence[DatasetLink] = ()
    scores: str | None = None


class RunStore(Protocol):
    """Where runs are written. Every method raises `CountersignError` where it cannot."""

    where: str
    """The registry, as errors name it."""

    def experiment(self, project: str, at: int) -> str:
        """Id of the project's experiment, made where it is missing."""

    def create(self, experiment: str, new: NewRun) -> str:
        """Starts a run. Returns its id."""

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Adds parameters, at most `PARAMS_PER_CALL`."""

    def log_points(
        self, run_id: str, points: Sequence[Point], model: str | None, data: DatasetLink | None
    ) -> None:
        """Adds metric values, at most `POINTS_PER_CALL`; of `model` on `data` too, where given."""

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        """Sets a tag."""

    def finish(self, run_id: str, status: RunStatus, at: int) -> None:
        """Ends a run."""

    def running(self, experiment: str) -> Mapping[str, str]:
        """Id of each run in progress to its tag `PROCESS_TAG`."""

    def make_model(self, experiment: str, run_id: str, model: LoggedModel, at: int) -> str:
        """Adds a model that a run made. Returns its id."""

    def find_model(self, experiment: str, digest: str) -> str | None:
        """Id of the newest model with this digest."""

    def tag_model(self, experiment: str, model_id: str, name: str, value: str) -> None:
        """Sets a tag of a model."""

    def rows(self, model: str) -> Rows:
        """The versions and aliases of a registered model, and perhaps of others."""


def open_runs(
    place: Place,
    environ: Mapping[str, str],
    *,
    say: Say | None = None,
    now: Callable[[], datetime] | None = None,
) -> Runs:
    """The runs of the registry at `place.registry_uri`. Raises `StorageError` where it cannot be
    reached or made.
    """
    uri = place.registry_uri
    clock = now or (lambda: datetime.now(UTC))
    store: RunStore
    if is_server(uri):
        from governance.registry.served_runs import ServedRuns

        store = ServedRuns(uri, environ)
    else:
        from governance.registry.table_runs import TableRuns, database_at

        database = database_at(place, say or (lambda text: None))
        follow(database, place.project, place.artifact_root)
        store = TableRuns(database, place.artifact_root)
    return Runs(
        store, store.experiment(place.project, _millis(clock())), place.requester.name, clock
    )


@dataclass
class Runs:
    """The runs of one project."""

    store: RunStore
    experiment: str
    user: str
    now: Callable[[], datetime]
    _swept: bool = False

    def start(self, request: RunRequest, system: bool = False) -> LiveRun:
        """Starts a run. Runs whose process is gone are ended first. `system`: whether the machine
        is measured meanwhile. Raises `CountersignError` where the registry does not take it.
        """
        if not self._swept:
            self.sweep()
        tags = {"mlflow.user": self.user, PROCESS_TAG: this_process(), **request.tags}
        tags |= {
            f"pipeline.data.{link.context}.{link.name}": link.sha256 for link in request.datasets
        }
        texts = {name: shortened(str(value), TAG_LENGTH) for name, value in tags.items()}
        new = NewRun(
            request.name, self.user, _millis(self.now()), texts, request.datasets, request.scores
        )
        id_ = self.store.create(self.experiment, new)
        run = LiveRun(self.store, self.experiment, id_, self.now, request)
        run.params(request.params)
        run.begin(SystemMonitor() if system else None)
        return run

    @contextmanager
    def run(self, request: RunRequest, system: bool = False) -> Iterator[LiveRun]:
        """`start`, ended by how the block ends: FINISHED, FAILED, or KILLED when it was
        interrupted.
        """
        run = self.start(request, system)
        try:
            yield run
        except BaseException as error:
            run.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        run.end("FINISHED")

    def sweep(self) -> None:
        """Ends RUNNING runs of processes of this machine that are gone, as KILLED."""
        for id_, process in self.store.running(self.experiment).items():
            if is_gone(process):
                self.store.set_tag(id_, ENDED_TAG, "its process had ended; found at a later start")
                self.store.finish(id_, "KILLED", _millis(self.now()))
        self._swept = True

    def find_model(self, digest: str) -> str | None:
        """Id of the newest logged model with this digest; None also where it cannot be asked."""
        try:
            return self.store.find_model(self.experiment, digest)
        except CountersignError:
            return None

    def link_version(self, model_id: str, name: str, version: str) -> None:
        """Shows with a logged model which version was registered from it. It is for display, so a
        failure is no error.
        """
        with suppress(CountersignError):
            value = json.dumps([{"name": name, "version": int(version)}])
            self.store.tag_model(self.experiment, model_id, VERSIONS, value)


@dataclass
class LiveRun:
    """A run in progress, owned by the process that started it. (2) Nothing here raises because of
    the registry.
    """

    _store: RunStore
    _experiment: str
    id: str
    _now: Callable[[], datetime]
    _request: RunRequest
    problem: str | None = None
    """Why the registry lacks something of this run; None where it lacks nothing."""
    _points: list[Point] = field(default_factory=list)
    _params: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _monitor: SystemMonitor | None = None

    def begin(self, monitor: SystemMonitor | None) -> None:
        """Starts the thread that sends what is collected."""
        self._monitor = monitor
        self._thread = threading.Thread(target=self._send, name="registry", daemon=True)
        self._thread.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps one step's values, which the thread sends. Values that are not finite are left
        out.
        """
        at = _millis(self._now())
        points = [
            Point(name, float(value), at, step)
            for name, value in values.items()
            if math.isfinite(value)
        ]
        with self._lock:
            self._points += points
            dropped = len(self._points) - KEPT_VALUES
            if dropped > 0:
                self.problem = f"{dropped} metric values were dropped: the registry did not answer"
                del self._points[:dropped]

    def params(self, params: Mapping[str, Any]) -> None:
        """Keeps parameters, which the thread sends. Each name is given once."""
        texts = sorted(param_texts(params).items())
        with self._lock:
            self._params += texts

    def made(self, model: LoggedModel) -> None:
        """Adds the model that this run made, so that evaluations and versions can be linked."""
        at = _millis(self._now())
        self._try(lambda: self._store.make_model(self._experiment, self.id, model, at))

    def end(self, status: RunStatus) -> None:
        """Sends what is left and closes the run. Never raises: see `problem`."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._measure()
        self._flush_all()
        self._try(lambda: self._store.finish(self.id, status, _millis(self._now())))

    def _send(self) -> None:
        """Runs in the thread."""
        while True:
            self._measure()
            self._flush_all()
            if self._ended.wait(FLUSH_SECONDS):
                return

    def _measure(self) -> None:
        """System metrics, as often as they are due."""
        if self._monitor is not None and (sample := self._monitor.sample()) is not None:
            self.metrics(*sample)

    def _flush_all(self) -> None:
        """Sends batches until nothing is left, or one fails, which is kept for the next time."""
        while (self._params or self._points) and self._flush():
            pass

    def _flush(self) -> bool:
        """Sends one batch. Whether it was sent."""
        with self._lock:
            params, points = self._params[:PARAMS_PER_CALL], self._points[:POINTS_PER_CALL]
        data = next(iter(self._request.datasets), None)
        if params:
            sent = self._try(lambda: self._store.log_params(self.id, dict(params)))
        else:
            model = self._request.scores
            sent = self._try(lambda: self._store.log_points(self.id, points, model, data))
        if sent:
            with self._lock:  # the oldest may have been dropped meanwhile
                gone = {*params} if params else {*points}
                self._params = [item for item in self._params if item not in gone]
                self._points = [item for item in self._points if item not in gone]
        return sent

    def _try(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except CountersignError as error:
            self.problem = without_credentials(error.found)
            return False
        except Exception as error:  # noqa: BLE001 - (2) whatever it is, the work goes on
            self.problem = f"the registry cannot be written: {type(error).__name__}"
            return False
        return True


def _millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite address; None for another kind."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def unusable(uri: str) -> StorageError:
    """For an address of a kind that is not known."""
    return StorageError(
        f"the registry cannot be used: {uri.partition(':')[0][:40]!r} is no kind of registry",
        where="COUNTERSIGN_REGISTRY",
        expected="sqlite:////PATH, postgresql://USER@HOST/DATABASE, or https://SERVER",
        fix="set COUNTERSIGN_REGISTRY",
    )
