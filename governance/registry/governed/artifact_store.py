"""A folder of artifacts in which every file is written once.

1. A file is published by a hard link from a staging folder: it is there whole or not at all, and
   never replaced. Writing the same bytes again changes nothing; other bytes are refused.
2. Nothing is deleted.
3. Nothing is added to a folder from which a governed version was registered. A file whose path
   names a run belongs into that run's own folder.
4. A file is given out, and a folder listed, only to whom policy permits that
   (`Governor.read`). A folder is given out to whom policy permits to read each file of it.
5. Paths are judged after every decoding. Links, devices and pipes below the root are refused, for
   reading too.

A program that writes to the folder itself is not stopped. The manifest of the registration shows
what it did.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from governance.attest.digests import sha256_file
from governance.base.errors import RefusedError, StorageError
from governance.registry.governed.answers import answering
from governance.registry.governed.paths import checked, without_links

SCHEME = "governed+file"
STAGING = ".incoming"
SERVED = "mlflow-artifacts:/"
_RUN = re.compile(r"(?:\d+/)?(?P<run>[0-9a-f]{32})/")
FILE_MODE = 0o440
FOLDER_MODE = 0o750


class WriteOnceArtifactRepository(LocalArtifactRepository):  # type: ignore[misc]
    """See the module's docstring."""

    def __init__(
        self,
        artifact_uri: str,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
        stores: Callable[[], tuple[Any, Any]] | None = None,
    ) -> None:
        """`stores`: the tracking store and the registry around this folder; by default those of
        this process's MLflow server.
        """
        if not artifact_uri.startswith(f"{SCHEME}:///"):
            raise MlflowException.invalid_parameter_value(
                f"{SCHEME}:/// and an absolute path are expected"
            )
        super().__init__(artifact_uri.removeprefix("governed+"), tracking_uri, registry_uri)
        self._root = Path(self._artifact_dir)
        self._stores = stores or _served_stores

    # -- Writing

    @answering
    def _get_destination_artifact_path(
        self, artifact_file_name: str, artifact_path: str | None = None
    ) -> Any:
        target = self._target(Path(artifact_file_name).name, artifact_path)
        return str(target.parent), str(target)

    @answering
    def _create_staging_artifact(
        self, artifact_file_name: str, artifact_path: str | None = None
    ) -> Any:
        """(1) Staged aside, so that a killed upload leaves nothing in a model's folder."""
        target = self._target(Path(artifact_file_name).name, artifact_path)
        staging = self._root / STAGING
        staging.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        descriptor, path = tempfile.mkstemp(dir=staging)
        return descriptor, path, str(target)

    @answering
    def _publish_staged_artifact(
        self, temp_file_path: str, destination_file_path: str, finalize_temp_path: Any = None
    ) -> None:
        """(1), (3) The rules are asked again, now that the bytes are there. The staged file is
        removed in any case.
        """
        staged, target = Path(temp_file_path), Path(destination_file_path)
        try:
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            staged.chmod(FILE_MODE)
            if not _same(staged, target):
                self._publish(staged, target)
        finally:
            staged.unlink(missing_ok=True)

    def _publish(self, staged: Path, target: Path) -> None:
        relative = PurePosixPath(target.relative_to(self._root).as_posix())
        try:
            self._judge(relative)
            target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            without_links(self._root, relative)
            os.link(staged, target, follow_symlinks=False)
        except RefusedError as error:
            raise self._recorded("write artifact", error) from None
        except FileExistsError:
            if not _same(staged, target):
                reason = f"{relative} is written once, and exists with other bytes"
                refusal = RefusedError(reason, fix="use another name")
                raise self._recorded("write artifact", refusal) from None
        except OSError as error:
            raise StorageError(
                f"{relative} cannot be stored: {error.strerror}", where=str(self._root)
            ) from None

    @answering
    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """A folder, file by file."""
        source = Path(local_dir)
        files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
        for path in sorted(files):
            into = PurePosixPath(artifact_path or "") / path.parent.relative_to(source).as_posix()
            self.log_artifact(str(path), str(into) if into.parts else None)

    @answering
    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """(2)"""
        refusal = RefusedError(
            f"artifacts are written once and never deleted ({(artifact_path or 'all')[:300]})",
            fix="`countersign retire` takes a version out of service by a signed decision",
        )
        raise self._recorded("delete artifact", refusal)

    # -- Reading

    @answering
    def get_local_path(self, artifact_path: str) -> Any:
        self._admit(artifact_path)
        return super().get_local_path(artifact_path)

    @answering
    def list_artifacts(self, path: str | None = None) -> Any:
        self._admit(path or "", lists=True)
        return [info for info in super().list_artifacts(path) if not info.path.startswith(STAGING)]

    @answering
    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> Any:
        self._admit(artifact_path)
        return super().download_artifacts(artifact_path, dst_path)

    @answering
    def download_trace_data(self) -> Any:
        self._admit("")
        return super().download_trace_data()

    @answering
    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._admit(remote_file_path)
        super()._download_file(remote_file_path, local_path)

    def _admit(self, path: str, lists: bool = False) -> None:
        """(4), (5) Before anything of it is read."""
        relative = checked(path)
        place = without_links(self._root, relative)
        governor = getattr(self._stores()[1], "governor", None)
        if governor is None:
            raise StorageError("a write-once artifact folder belongs to a governed registry only")
        governor.read(relative.as_posix(), lists=lists)
        for file in place.rglob("*") if place.is_dir() and not lists else ():
            governor.read(file.relative_to(self._root).as_posix())

    # -- Rules

    def _target(self, name: str, folder: str | None) -> Path:
        relative = checked(f"{folder}/{name}" if folder else name)
        if not relative.parts:
            raise RefusedError("an artifact needs a name")
        self._root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        return without_links(self._root, relative)

    def _judge(self, relative: PurePosixPath) -> None:
        """(3) What cannot be asked refuses the write."""
        tracking, registry = self._stores()
        if not hasattr(registry, "version_folders"):
            raise StorageError("a write-once artifact folder belongs to a governed registry only")
        closed = registry.version_folders()
        for folder in (relative, *relative.parents):
            if folder.as_posix() in closed:
                raise RefusedError(
                    f"the folder {folder} of a registered version is closed: {relative} is refused",
                    fix="register other bytes as another version",
                )
        named = _RUN.match(relative.as_posix())
        place = tracking.place_of(named["run"]) if named else None
        if place is not None and not f"{SERVED}{relative}".startswith(f"{place}/"):
            raise RefusedError(
                f"the path {relative} names a run, but the files of the run are below {place}",
                fix="log it to the run itself",
            )

    def _recorded(self, operation: str, refusal: RefusedError) -> RefusedError:
        """The refusal, recorded in the log where there is a governed registry."""
        governor = getattr(self._stores()[1], "governor", None)
        if governor is not None:
            governor.refuse(operation, "", refusal.found, "")
        return refusal


def _served_stores() -> tuple[Any, Any]:
    """The stores of this process's MLflow server."""
    from mlflow.server import handlers

    return handlers._get_tracking_store(), handlers._get_model_registry_store()


def _same(staged: Path, target: Path) -> bool:
    """Whether a plain file of these bytes is there already."""
    if target.is_symlink() or not target.is_file():
        return False
    sizes_match = target.stat().st_size == staged.stat().st_size
    return sizes_match and sha256_file(staged) == sha256_file(target)
