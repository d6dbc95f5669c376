"""MLflow's SQL tracking store. Run data is for display and may be written again. What evidence
needs is not deleted.

A run is protected when evidence of a governed version names it, or a governed version was
registered from it. So is its experiment, and a logged model that it made.
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
from governance.registry.governed.mutators import (
    TAGGED,
    TRACKING,
    check_classified,
    check_parameters,
    tag_keys,
)
from governance.registry.governed.names import begins_with
from governance.registry.governed.rules import OURS

DELETIONS = (
    "delete_run",
    "delete_experiment",
    "delete_logged_model",
    # `mlflow gc` calls these
    "_hard_delete_run",
    "_hard_delete_experiment",
    "_hard_delete_logged_model",
)

PLACES = frozenset({"mlflow.artifactLocation", "mlflow.trace.archiveLocation"})
"""Tags of a trace from which MLflow's server takes an address. Only its client refuses them."""


@contextmanager
def _untagged(
    store: GovernedTrackingStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """Only the server writes tags with its own prefixes, whatever the object is."""
    ours = sorted(key for key in tag_keys(arguments) if begins_with(key, OURS))
    if ours:
        reason = f"only the server writes tags beginning {' or '.join(OURS)}: {ours[0][:100]!r}"
        raise store.governor.refuse(operation, "", reason, "use another name for your own tag")
    if PLACES & set(tag_keys(arguments)):
        reason = "only the server says where the files of a trace are: it would read them there"
        raise store.governor.refuse(operation, "", reason, "leave the tag out")
    yield


@contextmanager
def _own_root(
    store: GovernedTrackingStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """An experiment's files are on the server's own artifact root, in the write-once store."""
    check_parameters(operation, arguments, "name artifact_location tags")
    location = arguments.get("artifact_location")
    if location:
        reason = f"artifacts are on the server's own root, not at {place_of(location)!r}"
        raise store.governor.refuse(operation, "", reason, "leave the artifact location out")
    with _untagged(store, operation, arguments):
        yield


@contextmanager
def _kept(
    store: GovernedTrackingStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """A protected run is not deleted, nor its experiment or logged models."""
    check_parameters(operation, arguments, "run_id experiment_id model_id")
    deletion = operation.removeprefix("_hard_")
    subject = str(next(iter(arguments.values())))
    protected = store.governor.snapshot().runs
    needed = [run for run in protected if store.holds(deletion, subject, run)]
    if needed:
        reason = f"a governed version needs run {min(needed)}, to which {subject} belongs"
        fix = "leave it: only a signed retirement deletes the files of a version"
        raise store.governor.refuse(deletion, "", reason, fix)
    yield


@guarded(TAGGED - {"create_experiment"}, _untagged)
@guarded(["create_experiment"], _own_root)
@guarded(DELETIONS, _kept)
class GovernedTrackingStore(SqlAlchemyStore):  # type: ignore[misc]
    """See the module's docstring."""

    @answering
    def __init__(self, db_uri: str, artifact_root: str, governor: Governor) -> None:
        check_classified(SqlAlchemyStore, TRACKING)
        super().__init__(db_uri, artifact_root)
        self.governor = governor
        guard.install(self.engine, governor)

    def holds(self, deletion: str, subject: str, run_id: str) -> bool:
        """Whether a deletion of this run, experiment or logged model concerns the run."""
        match deletion:
            case "delete_run":
                return subject == run_id
            case "delete_logged_model":
                model = self.get_logged_model(subject, allow_deleted=True)
                return bool(model.source_run_id == run_id)
            case _:
                info = self._info(run_id)
                return info is not None and str(info.experiment_id) == subject

    def place_of(self, run_id: str) -> str | None:
        """Where a run's files are; None where there is no such run."""
        info = self._info(run_id)
        return str(info.artifact_uri).rstrip("/") if info else None

    def _info(self, run_id: str) -> Any:
        try:
            return self.get_run(run_id).info
        except MlflowException:
            return None
