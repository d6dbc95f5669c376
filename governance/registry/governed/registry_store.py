"""MLflow's SQL model registry, which asks the governor before it changes a governed model.

1. Each method is judged first. Only then MLflow writes, and the guard permits this model alone.
2. MLflow does not write aliases and versions of governed models. They are written with the log's
   entry, in one transaction.
3. The digest of a governed version is the one of its files on this server. A caller may name it,
   and is refused where the files have another.
4. A governed alias is given out only where the log gives it to the same version. A row can be from
   before the model was governed, or written past the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.validation import _validate_model_version_tag

from governance.base.errors import ConflictError, CountersignError, InputError, RefusedError
from governance.registry.governed import guard
from governance.registry.governed.answers import answering, guarded
from governance.registry.governed.governor import (
    Governor,
    Shown,
    log,
    permitting,
    writing_own_tags,
)
from governance.registry.governed.mutators import (
    REGISTRY,
    REGISTRY_JUDGED,
    check_classified,
    check_parameters,
)
from governance.registry.governed.rules import Call, artifact_folder
from governance.registry.port import DIGEST_TAG
from governance.registry.rows import NewVersion

_PARAMETERS = """name new_name dst_name src_mv version alias source run_id tags tag key description
deployment_job_id run_link local_model_path model_id stage archive_existing_versions stages"""
"""Parameters of MLflow's methods that the rules know. A call with another one is refused."""
ATTEMPTS = 8
"""How often an alias is read while it moves."""


def call_of(operation: str, arguments: Mapping[str, Any]) -> Call:
    """A call on the registry, with what the rules need. Raises `StorageError` for a parameter that
    nobody has looked at.
    """
    check_parameters(operation, arguments, _PARAMETERS)
    copied = arguments.get("src_mv")
    tags = [*(arguments.get("tags") or ()), *([arguments["tag"]] if "tag" in arguments else ())]
    keys = [str(tag.key) for tag in tags] + ([arguments["key"]] if "key" in arguments else [])
    version = copied.version if copied else arguments.get("version")
    return Call(
        operation,
        copied.name if copied else arguments["name"],
        new_name=arguments.get("new_name") or arguments.get("dst_name"),
        version=None if version is None else _number(version),
        alias=arguments.get("alias"),
        source=arguments.get("source"),
        run_id=arguments.get("run_id") or None,
        tags=tuple(keys),
    )


def _number(version: Any) -> str:
    """As MLflow reads it: `01` is version 1."""
    with suppress(ValueError):
        return str(int(version))
    return str(version)


@contextmanager
def _judged(
    store: GovernedRegistryStore, operation: str, arguments: Mapping[str, Any]
) -> Iterator[None]:
    """(1) Nothing is permitted for a copy or a rename: `create_model_version`, which is judged
    again, writes the copy, and the guard judges both names of a renamed model.
    """
    call = call_of(operation, arguments)
    store.governor.enforce(call)
    with permitting(*([call.model] if call.new_name is None else [])):
        yield


@guarded(REGISTRY_JUDGED, _judged)
class GovernedRegistryStore(SqlAlchemyStore):  # type: ignore[misc]
    """See the module's docstring."""

    @answering
    def __init__(self, db_uri: str, governor: Governor) -> None:
        check_classified(SqlAlchemyStore, REGISTRY)
        super().__init__(db_uri)
        self.governor = governor
        guard.install(self.engine, governor)

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
        """(2), (3) As MLflow does it, together with the log's entry."""
        claimed = [str(tag.value) for tag in tags or () if tag.key == DIGEST_TAG]
        others = [tag for tag in tags or () if tag.key != DIGEST_TAG]
        given = {"name": name, "source": source, "run_id": run_id, "tags": others}
        call = call_of("create_model_version", given)
        self.governor.enforce(call)
        own = self._own_digest(call, claimed)
        if not self.governor.is_governed(name):
            written = [*others, *(ModelVersionTag(DIGEST_TAG, digest) for digest in set(claimed))]
            with permitting(name), writing_own_tags():
                return super().create_model_version(
                    name, source, run_id, written, run_link, description, local_model_path, model_id
                )
        for tag in others:
            _validate_model_version_tag(tag.key, tag.value)
        self.get_registered_model(name)  # MLflow's own answer where there is none
        texts = {str(tag.key): str(tag.value) for tag in others}
        if own is not None:
            texts[DIGEST_TAG] = own
        new = NewVersion(name, source, run_id or "", run_link, description, texts)
        return self.get_model_version(name, self.governor.make(call, new))

    def _own_digest(self, call: Call, claimed: list[str]) -> str | None:
        """(3) The digest of the files, where it is needed."""
        if not claimed and not self.governor.is_governed(call.model):
            return None
        folder = artifact_folder(call.source or "")
        try:
            own = self.governor.surroundings.digest_of(folder) if folder else None
        except InputError as error:
            raise self.governor.refuse(call.operation, call.model, error.found, error.fix) from None
        if any(digest != own for digest in claimed):
            reason = f"the files have the digest {own or 'none'}, not {claimed[0][:64]}"
            fix = "log the files to the run first, then make the version"
            raise self.governor.refuse(call.operation, call.model, reason, fix)
        return own

    @answering
    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        """(4) Row and entry commit together, so a difference counts if the log is the same before
        and after the row is read. It is not recorded: reading writes nothing.
        """
        given = {"name": name, "alias": alias}
        self.governor.enforce(call_of("get_model_version_by_alias", given))
        for _ in range(ATTEMPTS):
            before = self.governor.snapshot()
            found = super().get_model_version_by_alias(name, alias)
            holder = before.holders.get((name, alias))
            if not before.governs(name, alias) or str(found.version) == holder:
                break
            if self.governor.snapshot().holders.get((name, alias)) == holder:
                raise RefusedError(
                    f"the registry gives {alias} of {name} to version {found.version}",
                    where=f"{name}@{alias}",
                    expected=f"version {holder}" if holder else "no version, as the log says",
                    fix="countersign verify; then "
                    + (f"set the alias to version {holder}" if holder else "delete the alias"),
                )
        else:
            raise ConflictError(f"{alias} of {name} moves all the time", fix="try again")
        return found

    @answering
    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """(2)"""
        given = {"name": name, "alias": alias, "version": version}
        if not self._moved("set_registered_model_alias", given):
            super().set_registered_model_alias(name, alias, version)

    @answering
    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """(2)"""
        if not self._moved("delete_registered_model_alias", {"name": name, "alias": alias}):
            super().delete_registered_model_alias(name, alias)

    def _moved(self, operation: str, arguments: Mapping[str, Any]) -> bool:
        """Whether the model is governed. Its alias is then moved, and its pages are written."""
        call = call_of(operation, arguments)
        judgement = self.governor.enforce(call)
        if not self.governor.is_governed(call.model):
            return False
        if judgement.verdict == "promotion":
            self.governor.promote(call)
        else:  # MLflow's own answer where there is no such model or version
            self.get_registered_model(call.model)
            if call.version is not None:
                self.get_model_version(call.model, call.version)
            self.governor.move(call)
        self.show(call.model)
        return True

    def show(self, name: str) -> None:
        """Writes what the registry's pages show of a governed model's versions. They are for
        display, so a failure is only logged.
        """
        try:
            for version, shown in self.governor.surroundings.shown(name).items():
                self._write_shown(name, int(version), shown)
        except (CountersignError, MlflowException) as error:
            log.warning("the pages of %s were not written: %s", name, error)

    def _write_shown(self, name: str, version: int, shown: Shown) -> None:
        """In one transaction. SQLAlchemy writes only what differs."""
        writing = self.ManagedSessionMaker(read_only=False)
        with permitting(name), writing_own_tags(), writing as session:
            row = self._get_sql_model_version(session, name, version, eager=True)
            row.description = shown.description
            for key, value in shown.tags.items():
                session.merge(
                    SqlModelVersionTag(
                        workspace=row.workspace, name=name, version=version, key=key, value=value
                    )
                )

    def version_folders(self) -> frozenset[str]:
        """The artifact folders of all versions of governed models. Nothing is added to them."""
        names = self.governor.snapshot().names
        with self.ManagedSessionMaker() as session:
            rows = session.query(SqlModelVersion.name, SqlModelVersion.source).all()
        sources = [source or "" for name, source in rows if names.is_governed(name)]
        return frozenset(folder for source in sources if (folder := artifact_folder(source)))
