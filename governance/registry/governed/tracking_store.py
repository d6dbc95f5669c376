"""MLflow's SQL tracking store: run data may be written again, being display; what evidence rests on
is not deleted.

A run is protected when evidence of a governed version names it, or a governed version was
registered from it; so is the experiment around it, and a logged model below it.
"""

from __future__ import annotations

from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from governance.base.errors import StorageError
from governance.registry.display import place_of
from governance.registry.governed import guard
from governance.registry.governed.answers import answer, answering
from governance.registry.governed.governor import Governor
from governance.registry.governed.mutators import TRACKING, unclassified

_NEXT = (
    "leave it: evidence of a governed model rests on it, and its bytes go by a signed retirement"
    " only"
)


class GovernedTrackingStore(SqlAlchemyStore):  # type: ignore[misc]
    """See the module's docstring."""

    def __init__(self, db_uri: str, artifact_root: str, governor: Governor) -> None:
        unknown = unclassified(SqlAlchemyStore, TRACKING)
        if unknown:
            raise answer(
                StorageError(
                    "this version of MLflow has tracking methods that nobody has looked at:"
                    f" {', '.join(unknown)}",
                    fix=(
                        "use the version of constraints.txt, or classify them in"
                        " governed/mutators.py"
                    ),
                )
            )
        super().__init__(db_uri, artifact_root)
        self.governor = governor
        guard.install(self.engine, governor)

    @answering
    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Any = None
    ) -> Any:
        """Only on the server's own artifact root, where the write-once store stands."""
        if artifact_location:
            reason = (
                f"artifacts stand on the server's own root, not at {place_of(artifact_location)!r}"
            )
            raise self.governor.refuse(
                "create_experiment", "", reason, "leave the artifact location out"
            )
        return super().create_experiment(name, artifact_location, tags)

    @answering
    def delete_run(self, run_id: str) -> None:
        self._keep_run("delete_run", run_id)
        super().delete_run(run_id)

    # What `mlflow gc` calls; no public method, and guarded all the same.
    @answering
    def _hard_delete_run(self, run_id: str) -> None:
        self._keep_run("delete_run", run_id)
        super()._hard_delete_run(run_id)

    @answering
    def delete_experiment(self, experiment_id: str) -> None:
        self._keep_experiment(experiment_id)
        super().delete_experiment(experiment_id)

    @answering
    def _hard_delete_experiment(self, experiment_id: str) -> None:
        self._keep_experiment(experiment_id)
        super()._hard_delete_experiment(experiment_id)

    @answering
    def delete_logged_model(self, model_id: str) -> None:
        self._keep_logged_model(model_id)
        super().delete_logged_model(model_id)

    @answering
    def _hard_delete_logged_model(self, model_id: str) -> None:
        self._keep_logged_model(model_id)
        super()._hard_delete_logged_model(model_id)

    def _keep_run(self, operation: str, run_id: str) -> None:
        if run_id in self.governor.protected_runs():
            raise self.governor.refuse(
                operation, "", f"run {run_id} holds what a governed version rests on", _NEXT
            )

    def _keep_experiment(self, experiment_id: str) -> None:
        for run_id in sorted(self.governor.protected_runs()):
            if str(experiment_id) == self._experiment_of(run_id):
                reason = (
                    f"experiment {experiment_id} has run {run_id}, on which a governed version"
                    " rests"
                )
                raise self.governor.refuse("delete_experiment", "", reason, _NEXT)

    def _keep_logged_model(self, model_id: str) -> None:
        run_id = self.get_logged_model(model_id, allow_deleted=True).source_run_id
        if run_id:
            self._keep_run("delete_logged_model", run_id)

    def _experiment_of(self, run_id: str) -> str | None:
        info = self._info(run_id)
        return str(info.experiment_id) if info else None

    def place_of(self, run_id: str) -> str | None:
        """Where a run's files stand; None where there is no such run."""
        info = self._info(run_id)
        return str(info.artifact_uri).rstrip("/") if info else None

    def _info(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.get_run(run_id).info
        except MlflowException:
            return None
