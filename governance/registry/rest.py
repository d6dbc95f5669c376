"""A registry server by its HTTP interface: files of a version, moves of an alias, its rows. MLflow
is not needed.

The caller compares the digest of every file with the manifest (`governance.models.folder.take`).
A refusal carries the server's own message.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from governance.attest.predicates import ModelFile
from governance.base.errors import ConflictError, CountersignError, RefusedError, StorageError
from governance.log import http_client
from governance.log.http_client import (
    PURPOSE,
    PURPOSE_HEADER,
    is_server,
    parse_json,
    same_origin,
)
from governance.models.folder import CHUNK, Fetch
from governance.registry.mlmodel import DESCRIPTION, SEALED
from governance.registry.port import DIGEST_TAG
from governance.registry.rows import AliasRow, Rows, VersionRow

MAX_ANSWER = 8 << 20
PAGE = 200
"""Models or versions in one answer."""
MAX_PAGES = 5000
"""The most pages that are read, because a server could always have one more."""
NO_RIGHT = "the account has no right to do that there"
GRANT = (
    "have an administrator of the server give it EDIT on the project's experiment and model"
    " (docs/registry.md)"
)
"""The problem of an account that may only read, and what to do."""
WRITING = ("EDIT", "MANAGE")
"""MLflow's permissions that let an account write."""
_API = "api/2.0/mlflow"
_ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"


class MissingError(StorageError):
    """The server has no such thing."""


class RegistryServer:
    """A server, asked by the account of the environment (see `account`). Raises `ConfigError` for a
    wrong address, or where the password would be sent unencrypted.
    """

    def __init__(self, uri: str, environ: Mapping[str, str]) -> None:
        purpose = " ".join(environ.get(PURPOSE, "").encode("ascii", "replace").decode().split())
        headers = {PURPOSE_HEADER: purpose} if purpose else {}
        known = account(uri, environ)
        self._client = http_client.Client(uri, known, "COUNTERSIGN_REGISTRY", headers)

    def check_account(self) -> None:
        """Raises `StorageError` where the server cannot be reached, or does not know the
        account.
        """
        self._get("registered-models/search", max_results="1")

    def check_may_write(self, experiment: str, model: str = "") -> None:
        """Raises `StorageError` where the account may not write to this experiment or model. What
        is not there yet, the account can make. A server without accounts asks for no right.
        """
        held = self._one_of("api/3.0/mlflow/users/current/permissions")
        if held is None or _member(held, "is_admin") is True:
            return
        grants = _objects(held, "permissions")
        row = self._one("experiments/get-by-name", experiment_name=experiment)
        wanted = {"experiment": str(_member(row, "experiment", "experiment_id") or "")}
        if model and self._one("registered-models/get", name=model) is not None:
            wanted["registered_model"] = model
        missing = [
            f"{kind} {name}"
            for kind, name in wanted.items()
            if name and not any(_permits(grant, kind, name) for grant in grants)
        ]
        if missing:
            found = f"the account may not write to {' and '.join(missing)} there"
            raise StorageError(found, where=self._client.url, expected="EDIT or MANAGE", fix=GRANT)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Gives an alias on a governed server, which consumes the open request for it."""
        body = {"name": model, "alias": alias, "version": version}
        self._ask("POST", f"{_API}/registered-models/alias", body)

    def delete_alias(self, model: str, alias: str) -> None:
        """Takes an alias away on a governed server, which consumes the open retirement for it."""
        self._ask("DELETE", f"{_API}/registered-models/alias", {"name": model, "alias": alias})

    def files(self, model: str, version: str) -> Fetch:
        """Fetches files of a version from where the server says they are. Only the log says which
        bytes are right.
        """
        answer = self._get("model-versions/get", name=model, version=version)
        place = str(_member(answer, "model_version", "source"))
        if not place.startswith("mlflow-artifacts:/"):
            found = f"the files of {model}/{version} are not on this server"
            raise StorageError(found, where=self._client.url, fix="name their folder")
        below = quote(place.removeprefix("mlflow-artifacts:").strip("/"))
        if self._has_file(f"{_ARTIFACTS}/{below}/{DESCRIPTION}"):
            below = f"{below}/{SEALED}"

        def fetch(file: ModelFile, target: Path) -> None:
            path = f"{_ARTIFACTS}/{below}/{quote(file.path)}"
            left = file.size + 1  # one byte more shows that it is another file
            with self._open("GET", path) as answer, target.open("xb") as copy:
                while left and (data := answer.read(min(CHUNK, left))):
                    copy.write(data)
                    left -= len(data)

        return fetch

    def call(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a call of MLflow's API. Raises `MissingError` where there is no such thing,
        `RefusedError`, `StorageError`.
        """
        return self._ask(method, f"{_API}/{path}", body)

    def get(self, path: str, **query: str) -> Any:
        """The answer to a question; None where there is no such thing."""
        return self._one(path, **query)

    def rows(self, models: Collection[str], runs: Collection[str]) -> Rows:
        """What the server shows of these models and runs, and the name of every model.

        Raises `StorageError` where it cannot be asked, or shows this account less than all of it.
        """
        registered = self._listed("registered-models/search", "registered_models")
        names = frozenset(str(row.get("name")) for row in registered)
        found = [self.rows_of(name) for name in sorted(models)]
        versions = tuple(row for rows in found for row in rows.versions)
        aliases = tuple(row for rows in found for row in rows.aliases)
        return Rows(names, versions, aliases, frozenset(filter(self._is_active, runs)))

    def rows_of(self, name: str, *, located: bool = True) -> Rows:
        """What the server shows of one model; nothing where it has none of that name. `located`:
        it is asked from where each version is loaded. Raises `StorageError`.
        """
        answer = self._one("registered-models/get", name=name)
        if answer is None:
            return Rows(frozenset(), (), (), frozenset())
        rows = self._listed("model-versions/search", "model_versions", filter=f"name='{name}'")
        aliases = tuple(
            AliasRow(name, str(row.get("alias")), str(row.get("version")))
            for row in _objects(answer, "registered_model", "aliases")
        )
        versions = tuple(self._version(row, located=located) for row in rows)
        return Rows(frozenset({name}), versions, aliases, frozenset())

    def _has_file(self, path: str) -> bool:
        try:
            with self._open("GET", path):
                return True
        except MissingError:
            return False

    def _is_active(self, run: str) -> bool:
        stage = _member(self._one("runs/get", run_id=run), "run", "info", "lifecycle_stage")
        return bool(stage == "active")

    def _version(self, shown: Mapping[str, Any], *, located: bool) -> VersionRow:
        """One version as the server shows it. Some servers leave the stage out."""
        name, number = str(shown.get("name")), str(shown.get("version"))
        source = str(shown.get("source") or "")
        place = located and self._one("model-versions/get-download-uri", name=name, version=number)
        tags = {str(tag.get("key")): tag.get("value") for tag in _objects(shown, "tags")}
        return VersionRow(
            name,
            number,
            source,
            str(shown.get("run_id") or ""),
            shown.get("current_stage"),
            tags.get(DIGEST_TAG),
            str(_member(place, "artifact_uri") or source),
        )

    def _get(self, path: str, **query: str) -> Any:
        return self._ask("GET", f"{_API}/{path}?{urlencode(query)}")

    def _one(self, path: str, **query: str) -> Any:
        """None where the server has no such thing."""
        return self._one_of(f"{_API}/{path}?{urlencode(query)}")

    def _one_of(self, path: str) -> Any:
        try:
            return self._ask("GET", path)
        except MissingError:
            return None

    def _listed(self, path: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        token = ""
        for _ in range(MAX_PAGES):
            page = self._get(path, max_results=str(PAGE), page_token=token, **query)
            yield from _objects(page, key)
            token = str(_member(page, "next_page_token") or "")
            if not token:
                return
        raise StorageError(
            f"the server has more than {MAX_PAGES} pages of {key}", where=self._client.url
        )

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON value of an answer; None where it has none."""
        with self._open(method, path, body) as answer:
            return parse_json(answer.read(MAX_ANSWER))

    @contextmanager
    def _open(self, method: str, path: str, body: Any = None) -> Iterator[Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with self._client.open(method, path, data) as answer:
                yield answer
        except http_client.StatusError as error:
            raise _refusal(error, urlsplit(f"{self._client.url}/{path}").path) from None
        except http_client.NoAnswerError as error:
            found = f"the server cannot be asked: {error}"
            fix = "start it, or correct COUNTERSIGN_REGISTRY"
            raise StorageError(found, where=self._client.url, fix=fix) from None


def _permits(grant: Mapping[str, Any], kind: str, name: str) -> bool:
    """Whether one of the account's grants lets it write to this object: MLflow's rows of
    `users/current/permissions`.
    """
    of = (grant.get("resource_type"), grant.get("resource_pattern"))
    return grant.get("permission") in WRITING and (
        grant.get("resource_type") == "workspace" or of in ((kind, name), (kind, "*"))
    )


def account(uri: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and password: MLflow's (MLFLOW_TRACKING_USERNAME, _PASSWORD), else the log's
    (COUNTERSIGN_USER, _PASSWORD).

    The log's password is not sent to another server than the log's. Raises `ConfigError` where a
    password would be sent unencrypted to another machine.
    """
    log = environ.get("COUNTERSIGN_LOG", "")
    chosen = ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
    if not all(environ.get(name) for name in chosen):
        if is_server(log) and not same_origin(log, uri):
            return None
        chosen = ["COUNTERSIGN_USER", "COUNTERSIGN_PASSWORD"]
    name, password = (environ.get(variable, "") for variable in chosen)
    is_account = bool(name and password)
    if is_account or environ.get("MLFLOW_TRACKING_TOKEN"):  # which MLflow's client sends by itself
        http_client.refuse_unencrypted(uri, "COUNTERSIGN_REGISTRY")
    return (name, password) if is_account else None


def _refusal(error: http_client.StatusError, where: str) -> CountersignError:
    """The server's answer as our own error, with its own message where it has one."""
    message = error.member("message")
    if error.status == 403 and message:
        return RefusedError(message, where="the server")
    if error.status == 409 and message:
        return ConflictError(message, where="the server")
    if error.status == 404:
        return MissingError(f"the server has no such thing: {message or error.reason}", where=where)
    fixes = {401: "check the account: COUNTERSIGN_USER, COUNTERSIGN_PASSWORD", 403: GRANT}
    found = NO_RIGHT if error.status == 403 else message or error.reason
    fix = fixes.get(error.status, "")
    return StorageError(f"the server answers {error.status}: {found}", where=where, fix=fix)


def _objects(value: Any, *names: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer; empty where it has none. Raises `StorageError` for
    anything else: it is no registry's.
    """
    values = _member(value, *names) or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise StorageError("the answer is not a registry's", where="the server")
    return values


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
