"""MLflow's entry points. Nothing of MLflow is imported before they are called.

MLflow loads them while it is being imported itself: a module that needs it then is dropped with a
warning, and the address would be unknown. The schemes are our own, so a plugin that is broken means
no registry, never the plain one.
"""

from __future__ import annotations

from typing import Any


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """Entry point `mlflow.model_registry_store`."""
    from governance.registry.governed.answers import answering

    @answering
    def build() -> Any:
        from governance.registry.governed.registry_store import GovernedRegistryStore
        from governance.server.context import database_of, engine_uri, governor_of

        return GovernedRegistryStore(engine_uri(database_of(store_uri)), governor_of(store_uri))

    return build()


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Entry point `mlflow.tracking_store`."""
    from governance.registry.governed.answers import answering

    @answering
    def build() -> Any:
        from governance.registry.governed.tracking_store import GovernedTrackingStore
        from governance.server.context import database_of, engine_uri, governor_of

        root = artifact_uri or "mlflow-artifacts:/"
        return GovernedTrackingStore(
            engine_uri(database_of(store_uri)), root, governor_of(store_uri)
        )

    return build()


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
