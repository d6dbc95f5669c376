"""Runs written without MLflow are what MLflow's own client reads: in SQLite always, over a server in
the slow ones. What the registry fails to do never reaches the work.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import StorageError
from governance.registry.port import LoggedModel, Point, RunRequest
from governance.registry.runs import ENDED_TAG, NewRun, Runs, open_runs
from governance.registry.system import SystemMonitor
from governance.registry.table_runs import REVISION, TableRuns
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import Place, check, client, tell


@pytest.fixture
def place(tmp_path: Path, mlflow_tables: Path) -> Place:
    place = Place(f"sqlite:///{tmp_path}/state/desk.db", tmp_path / "state" / "artifacts")
    with_tables(mlflow_tables, Path(place.registry_uri.removeprefix("sqlite:///")))
    return place


def opened(place: Place) -> Runs:
    return open_runs(place, {})


def test_what_is_told_is_what_mlflow_reads(place: Place) -> None:
    check(place.registry_uri, *tell(opened(place)))


def test_the_tables_are_of_the_pinned_mlflow() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from mlflow.store import db_migrations

    config = Config()
    config.set_main_option("script_location", str(Path(db_migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_tables_of_another_mlflow_are_refused(place: Place) -> None:
    import sqlite3

    with sqlite3.connect(place.registry_uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'other'")
    with pytest.raises(StorageError, match="another version of MLflow: other"):
        opened(place)


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, "FINISHED"),
        (ValueError, "FAILED"),
        (KeyboardInterrupt, "KILLED"),
        (SystemExit, "KILLED"),
    ],
)
def test_a_run_ends_as_its_block_did(
    place: Place, raised: type[BaseException] | None, status: str
) -> None:
    with contextlib.suppress(BaseException), opened(place).run(RunRequest("train@sft")) as run:
        if raised:
            raise raised
    assert client(place.registry_uri).get_run(run.id).info.status == status


def _start_and_die(place: Place, pipe: Any) -> None:
    pipe.send(opened(place).start(RunRequest("train@dpo")).id)
    os._exit(9)


def test_the_run_of_a_killed_process_is_ended_at_the_next_start(place: Place) -> None:
    opened(place)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_start_and_die, args=(place, there))
    process.start()
    dead = here.recv()
    process.join()
    alive = opened(place).start(RunRequest("train@sft"))
    api = client(place.registry_uri)
    assert api.get_run(dead).info.status == "KILLED"
    assert api.get_run(dead).data.tags[ENDED_TAG]
    opened(place).sweep()
    assert api.get_run(alive.id).info.status == "RUNNING"
    alive.end("FINISHED")


class Broken:
    """A store that starts a run and then fails, or hangs until it is let go."""

    where = "nowhere"

    def __init__(self, error: Exception | None) -> None:
        self.error, self.go = error, threading.Event()
        self.points: list[Point] = []

    def experiment(self, project: str, at: int) -> str:
        return "1"

    def create(self, experiment: str, new: NewRun) -> str:
        return "ab" * 16

    def running(self, experiment: str) -> Mapping[str, str]:
        return {}

    def log_points(self, run_id: str, points: Sequence[Point], *_: Any) -> None:
        self._fail()
        self.points += points

    def log_params(self, *_: Any) -> None:
        self._fail()

    def make_model(self, *_: Any) -> str:
        self._fail()
        return ""

    def finish(self, *_: Any) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
        self.go.wait(60)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageError("nothing answers at https://ann:hunter2@there"), "at https://...@there"),
        (ZeroDivisionError("hunter2"), "ZeroDivisionError"),
    ],
)
def test_no_failure_of_the_registry_reaches_the_work(error: Exception, said: str) -> None:
    runs = Runs(Broken(error), "1", "ann", lambda: datetime.now(UTC))  # type: ignore[arg-type]
    with runs.run(RunRequest("train@sft", {"a": 1})) as run:
        run.metrics(1, {"loss": 1.0})
        run.made(LoggedModel("sft", "aa" * 32))
    assert run.problem and said in run.problem and "hunter2" not in run.problem


def test_a_registry_that_hangs_delays_no_step() -> None:
    broken = Broken(None)
    runs = Runs(broken, "1", "ann", lambda: datetime.now(UTC))  # type: ignore[arg-type]
    with runs.run(RunRequest("train@sft", {"a": 1})) as run:
        began = time.monotonic()
        for step in range(2000):
            run.metrics(step, {"loss": 1.0})
        assert time.monotonic() - began < 30  # the store answers after 60 seconds, or when it may
        broken.go.set()
    assert run.problem is None and [point.step for point in broken.points] == list(range(2000))


def test_the_machine_is_measured_when_it_is_due() -> None:
    at = [100.0]
    monitor = SystemMonitor(lambda: at[0])
    first = monitor.sample()
    assert first is not None and first[0] == 0
    assert 0 <= first[1]["system/cpu_utilization_percentage"] <= 100
    assert monitor.sample() is None
    at[0] += 10
    second = monitor.sample()
    assert second is not None and second[0] == 1


def test_another_experiment_of_the_name_that_was_deleted_is_used_again(place: Place) -> None:
    runs = opened(place)
    client(place.registry_uri).delete_experiment(runs.experiment)
    assert opened(place).experiment == runs.experiment
    assert client(place.registry_uri).get_experiment(runs.experiment).lifecycle_stage == "active"


@pytest.mark.slow
def test_runs_need_no_mlflow(place: Place, tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom tests.governance.registry.told import Place\nfrom pathlib import"
        " Path\nfrom governance.registry.runs import open_runs\nfrom governance.registry.port import"
        f" RunRequest\nplace = Place({place.registry_uri!r}, Path({str(place.artifact_root)!r}))\n"
        "with open_runs(place, {}).run(RunRequest('train@sft', {'a': 1}), system=True) as run:\n"
        "    run.metrics(1, {'loss': 1.0})\nassert run.problem is None\n"
        "assert not {'mlflow', 'sqlalchemy', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])


def test_table_runs_are_a_store() -> None:
    methods = {name for name in dir(TableRuns) if not name.startswith("_")}
    from governance.registry.served_runs import ServedRuns

    assert methods == {name for name in dir(ServedRuns) if not name.startswith("_")}


@pytest.mark.slow
def test_the_same_in_postgresql(cluster: Any, tmp_path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = cluster.database().replace("postgresql://", "postgresql+psycopg://", 1)
    SqlAlchemyStore(uri, (tmp_path / "artifacts").as_uri()).engine.dispose()
    check(uri, *tell(opened(Place(uri, tmp_path / "artifacts"))))
