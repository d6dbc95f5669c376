"""MLflow's entry points. Nothing of MLflow is imported before they are called.

MLflow loads them while it is being imported itself: a module that needs it then is dropped with a
warning, and the address would be unknown. The schemes are our own, so a plugin that is broken means
no registry, never the plain one.
"""

from __future__ import annotations

from typing import Any


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """Entry point `mlflow.model_registry_store`."""
    from governance.registry.governed.registry_store import GovernedRegistryStore

    return GovernedRegistryStore(*_governed(store_uri))


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Entry point `mlflow.tracking_store`."""
    from governance.registry.governed.tracking_store import GovernedTrackingStore

    database, governor = _governed(store_uri)
    return GovernedTrackingStore(database, artifact_uri or "mlflow-artifacts:/", governor)


def _governed(store_uri: str) -> tuple[str, Any]:
    """The database behind a governed address, for SQLAlchemy, and its governor."""
    from governance.registry.governed.answers import answering
    from governance.server.context import database_of, governor_of

    database = answering(database_of)(store_uri)
    driver = database.replace("postgresql://", "postgresql+psycopg://", 1)  # as the log uses it
    return driver, answering(governor_of)(store_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> Any:
    """Entry point `mlflow.artifact_repository`."""
    from governance.registry.governed.artifact_store import WriteOnceArtifactRepository

    return WriteOnceArtifactRepository(artifact_uri, tracking_uri, registry_uri)


def app() -> Any:
    """Entry point `mlflow.app`: a factory of the whole server."""
    from governance.server.app import create

    return create()
