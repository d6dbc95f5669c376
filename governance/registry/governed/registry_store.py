"""MLflow's SQL model registry, which asks the governor before it does anything to a governed model.

Each method judges first and only then lets MLflow write, announcing to the guard below which model
it may touch. Aliases of governed models are not written here at all: they are written with the
log's entry, in one transaction.
"""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.validation import _validate_model_version_tag

from governance.base.errors import CountersignError, StorageError
from governance.registry.governed import guard
from governance.registry.governed.answers import answer, answering
from governance.registry.governed.governor import Governor, Shown, log, permitting
from governance.registry.governed.mutators import REGISTRY, unclassified
from governance.registry.governed.names import TRIAL_MODEL
from governance.registry.governed.rules import Call, artifact_folder
from governance.registry.versions import NewVersion


class GovernedRegistryStore(SqlAlchemyStore):  # type: ignore[misc]
    """See the module's docstring."""

    def __init__(self, db_uri: str, governor: Governor) -> None:
        unknown = unclassified(SqlAlchemyStore, REGISTRY)
        if unknown:
            raise answer(
                StorageError(
                    "this version of MLflow has registry methods that nobody has looked at:"
                    f" {', '.join(unknown)}",
                    fix=(
                        "use the version of constraints.txt, or classify them in"
                        " governed/mutators.py"
                    ),
                )
            )
        super().__init__(db_uri)
        self.governor = governor
        guard.install(self.engine, governor)

    # -- Models

    @answering
    def create_registered_model(
        self,
        name: str,
        tags: Any = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> Any:
        self.governor.enforce(Call("create_registered_model", name, tags=_keys(tags)))
        with permitting(name):
            return super().create_registered_model(name, tags, description, deployment_job_id)

    @answering
    def update_registered_model(
        self, name: str, description: str, deployment_job_id: str | None = None
    ) -> Any:
        self.governor.enforce(Call("update_registered_model", name))
        with permitting(name):
            return super().update_registered_model(name, description, deployment_job_id)

    @answering
    def rename_registered_model(self, name: str, new_name: str) -> Any:
        self.governor.enforce(Call("rename_registered_model", name, new_name=new_name))
        return super().rename_registered_model(name, new_name)

    @answering
    def delete_registered_model(self, name: str) -> None:
        self.governor.enforce(Call("delete_registered_model", name))
        super().delete_registered_model(name)

    @answering
    def set_registered_model_tag(self, name: str, tag: Any) -> None:
        self.governor.enforce(Call("set_registered_model_tag", name, tags=(tag.key,)))
        with permitting(name):
            super().set_registered_model_tag(name, tag)

    @answering
    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self.governor.enforce(Call("delete_registered_model_tag", name, tags=(key,)))
        with permitting(name):
            super().delete_registered_model_tag(name, key)

    # -- Versions

    @answering
    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Any = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> Any:
        call = Call(
            "create_model_version", name, source=source, run_id=run_id or None, tags=_keys(tags)
        )
        self.governor.enforce(call)
        if name != TRIAL_MODEL and self.governor.is_governed(name):
            return self._make(call, run_link, description, tags or ())
        with permitting(name):
            return super().create_model_version(
                name, source, run_id, tags, run_link, description, local_model_path, model_id
            )

    def _make(self, call: Call, run_link: str | None, description: str | None, tags: Any) -> Any:
        """As MLflow does it, together with the log's entry."""
        for tag in tags:
            _validate_model_version_tag(tag.key, tag.value)
        self.get_registered_model(call.model)  # MLflow's own answer where there is none
        given = {str(tag.key): str(tag.value) for tag in tags}
        new = NewVersion(
            call.model, call.source or "", call.run_id or "", run_link, description, given
        )
        return self.get_model_version(call.model, self.governor.make(call, new))

    @answering
    def copy_model_version(self, src_mv: Any, dst_name: str) -> Any:
        self.governor.enforce(
            Call("copy_model_version", src_mv.name, new_name=dst_name, version=str(src_mv.version))
        )
        return super().copy_model_version(src_mv, dst_name)

    @answering
    def update_model_version(self, name: str, version: str, description: str | None = None) -> Any:
        self.governor.enforce(Call("update_model_version", name, version=str(version)))
        return super().update_model_version(name, version, description)

    @answering
    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> Any:
        self.governor.enforce(Call("transition_model_version_stage", name, version=str(version)))
        return super().transition_model_version_stage(
            name, version, stage, archive_existing_versions
        )

    @answering
    def delete_model_version(self, name: str, version: str) -> None:
        self.governor.enforce(Call("delete_model_version", name, version=str(version)))
        super().delete_model_version(name, version)

    @answering
    def set_model_version_tag(self, name: str, version: str, tag: Any) -> None:
        self.governor.enforce(
            Call("set_model_version_tag", name, version=str(version), tags=(tag.key,))
        )
        with permitting(name):
            super().set_model_version_tag(name, version, tag)

    @answering
    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self.governor.enforce(
            Call("delete_model_version_tag", name, version=str(version), tags=(key,))
        )
        with permitting(name):
            super().delete_model_version_tag(name, version, key)

    # -- Aliases

    @answering
    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        call = Call("set_registered_model_alias", name, version=str(version), alias=alias)
        promotion = self.governor.enforce(call).verdict == "promotion"
        if promotion:
            self.governor.promote(call)
        elif self.governor.is_governed(name):
            self.get_model_version(name, version)  # MLflow's own answer where it has none
            self.governor.move(call)
        else:
            super().set_registered_model_alias(name, alias, version)
        self.show(name)

    @answering
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        call = Call("delete_registered_model_alias", name, alias=alias)
        promotion = self.governor.enforce(call).verdict == "promotion"
        if promotion:
            self.governor.promote(call)
        elif self.governor.is_governed(name):
            self.get_registered_model(name)
            self.governor.move(call)
        else:
            super().delete_registered_model_alias(name, alias)
        self.show(name)

    def show(self, name: str) -> None:
        """Writes what the registry's pages show of a governed model's versions. Display: what fails
        is only told.
        """
        if not self.governor.is_governed(name):
            return
        try:
            for version, shown in self.governor.shown(name).items():
                self._write_shown(name, int(version), shown)
        except (CountersignError, MlflowException) as error:
            log.warning("the pages of %s were not written: %s", name, error)

    def _write_shown(self, name: str, version: int, shown: Shown) -> None:
        """One transaction; rows that say it already are left alone."""
        with permitting(name), self.ManagedSessionMaker(read_only=False) as session:
            row = self._get_sql_model_version(session, name, version, eager=True)
            if row.description != shown.description:
                row.description = shown.description
            present = {tag.key: tag.value for tag in row.model_version_tags}
            for key, value in shown.tags.items():
                if present.get(key) != value:
                    tag = SqlModelVersionTag(
                        workspace=row.workspace, name=name, version=version, key=key, value=value
                    )
                    session.merge(tag)

    def version_folders(self) -> frozenset[str]:
        """The artifact folders of all versions of governed models: closed to further files."""
        names = self.governor.names()
        with self.ManagedSessionMaker() as session:
            rows = session.query(SqlModelVersion.name, SqlModelVersion.source).all()
        folders = {
            artifact_folder(source or "") for name, source in rows if names.is_governed(name)
        }
        return frozenset(folder for folder in folders if folder is not None)

    # -- Reads that answer `latest`

    @answering
    def get_latest_versions(self, name: str, stages: Any = None) -> Any:
        self.governor.enforce(Call("get_latest_versions", name))
        return super().get_latest_versions(name, stages)

    @answering
    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        self.governor.enforce(Call("get_model_version_by_alias", name, alias=alias))
        return super().get_model_version_by_alias(name, alias)


def _keys(tags: Any) -> tuple[str, ...]:
    return tuple(str(tag.key) for tag in tags or ())
