"""MLflow's SQL tracking store: run data may be written again, being display; what evidence rests on
is not deleted.

A run is protected when evidence of a governed version names it, or a governed version was
registered from it; so is the experiment around it, and a logged model below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from governance.registry.display import place_of
from governance.registry.governed import guard
from governance.registry.governed.answers import answering, guarded
from governance.registry.governed.governor import Governor
from governance.registry.governed.mutators import TRACKING, check_classified, check_parameters


@contextmanager
def _own_root(
    store: GovernedTrackingStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """Only on the server's own artifact root, where the write-once store stands."""
    check_parameters(operation, arguments, "name artifact_location tags")
    location = arguments.get("artifact_location")
    if location:
        reason = f"artifacts stand on the server's own root, not at {place_of(location)!r}"
        raise store.governor.refuse(operation, "", reason, "leave the artifact location out")
    yield


@contextmanager
def _kept(
    store: GovernedTrackingStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """Nothing is deleted that holds a protected run, or is held by one."""
    check_parameters(operation, arguments, "run_id experiment_id model_id")
    deletion = operation.removeprefix("_hard_")
    subject = str(next(iter(arguments.values())))
    for run_id in sorted(
        store.runs_behind(deletion, subject) & store.governor.surroundings.protected_runs()
    ):
        reason = f"a governed version rests on run {run_id}, to which {subject} belongs"
        fix = "leave it: the files of a version are deleted by a signed retirement only"
        raise store.governor.refuse(deletion, "", reason, fix)
    yield


class GovernedTrackingStore(SqlAlchemyStore):  # type: ignore[misc]
    """See the module's docstring."""

    @answering
    def __init__(self, db_uri: str, artifact_root: str, governor: Governor) -> None:
        check_classified(SqlAlchemyStore, TRACKING)
        super().__init__(db_uri, artifact_root)
        self.governor = governor
        guard.install(self.engine, governor)

    create_experiment = guarded(SqlAlchemyStore, "create_experiment", _own_root)
    delete_run = guarded(SqlAlchemyStore, "delete_run", _kept)
    delete_experiment = guarded(SqlAlchemyStore, "delete_experiment", _kept)
    delete_logged_model = guarded(SqlAlchemyStore, "delete_logged_model", _kept)
    # what `mlflow gc` calls: no public methods, and guarded all the same
    _hard_delete_run = guarded(SqlAlchemyStore, "_hard_delete_run", _kept)
    _hard_delete_experiment = guarded(SqlAlchemyStore, "_hard_delete_experiment", _kept)
    _hard_delete_logged_model = guarded(SqlAlchemyStore, "_hard_delete_logged_model", _kept)

    def runs_behind(self, deletion: str, subject: str) -> frozenset[str]:
        """The runs that the deletion of a run, an experiment or a logged model concerns."""
        match deletion:
            case "delete_run":
                return frozenset({subject})
            case "delete_logged_model":
                model = self.get_logged_model(subject, allow_deleted=True)
                return frozenset({str(model.source_run_id)})
            case _:
                runs = self.governor.surroundings.protected_runs()
                return frozenset(run for run in runs if self._experiment_of(run) == subject)

    def _experiment_of(self, run_id: str) -> str | None:
        info = self._info(run_id)
        return str(info.experiment_id) if info else None

    def place_of(self, run_id: str) -> str | None:
        """Where a run's files stand; None where there is no such run."""
        info = self._info(run_id)
        return str(info.artifact_uri).rstrip("/") if info else None

    def _info(self, run_id: str) -> Any:
        try:
            return self.get_run(run_id).info
        except MlflowException:
            return None
