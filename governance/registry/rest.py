"""A registry server by its HTTP interface: files of a version, moves of an alias, its rows. MLflow
is not needed.

The caller compares the digest of every file with the manifest (`governance.models.folder.take`).
A refusal carries the server's own message.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from governance.attest.predicates import ModelFile
from governance.base import http_client
from governance.base.errors import (
    ConflictError,
    CountersignError,
    RefusedError,
    StorageError,
)
from governance.base.http_client import is_server, parse_json
from governance.models.folder import CHUNK, Fetch
from governance.registry.port import DIGEST_TAG
from governance.registry.rows import AliasRow, Rows, VersionRow

MAX_ANSWER = 8 << 20
PAGE = 200
"""Models or versions in one answer."""
MAX_PAGES = 5000
"""Of answers to one question: a server that always has one more is not listened to for ever."""
NO_RIGHT = "the account has no right to do that there"
GRANT = (
    "have an administrator of the server give it EDIT on the project's experiment and model"
    " (docs/registry.md)"
)
"""The problem of an account that may only read, and what to do."""
ALIAS = "api/2.0/mlflow/registered-models/alias"


class MissingError(StorageError):
    """The server answers that there is no such thing."""


def from_server(uri: str, model: str, version: str, environ: Mapping[str, str]) -> Fetch:
    """Fetches files of a version from where the server says it has them; which bytes they must be,
    the log says.

    The account: see `account`.
    """
    client = _client(uri, environ)
    question = f"api/2.0/mlflow/model-versions/get?name={quote(model)}&version={quote(version)}"
    place = str(_member(_answer(client, "GET", question), "model_version", "source"))
    if not place.startswith("mlflow-artifacts:/"):
        raise StorageError(
            f"the files of {model}/{version} are not on this server",
            where=client.url,
            fix="name their folder",
        )
    below = quote(place.removeprefix("mlflow-artifacts:").strip("/"))

    def fetch(file: ModelFile, target: Path) -> None:
        path = f"api/2.0/mlflow-artifacts/artifacts/{below}/{quote(file.path)}"
        left = file.size + 1  # one byte more shows that it is another file
        with _open(client, "GET", path) as answer, target.open("xb") as copy:
            while left and (data := answer.read(min(CHUNK, left))):
                copy.write(data)
                left -= len(data)

    return fetch


def set_alias(uri: str, model: str, alias: str, version: str, environ: Mapping[str, str]) -> None:
    """Asks a governed server to give an alias, which consumes the open request that fits. Raises
    what it answers.
    """
    body = {"name": model, "alias": alias, "version": version}
    _answer(_client(uri, environ), "POST", ALIAS, body)


def delete_alias(uri: str, model: str, alias: str, environ: Mapping[str, str]) -> None:
    """Asks a governed server to take an alias away, which consumes the open retirement of who holds
    it.
    """
    _answer(_client(uri, environ), "DELETE", ALIAS, {"name": model, "alias": alias})


def read_rows(
    uri: str, models: Collection[str], runs: Collection[str], environ: Mapping[str, str]
) -> Rows:
    """What the server shows of these models and runs, and the name of every model.

    Raises `StorageError` where it cannot be asked, or shows this account less than all of it.
    """
    server = _RegistryServer(_client(uri, environ))
    names = frozenset(
        str(row.get("name"))
        for row in server.listed("registered-models/search", "registered_models")
    )
    models_there = {
        name: answer
        for name in sorted(models)
        if (answer := server.one("registered-models/get", name=name))
    }
    versions: list[VersionRow] = []
    aliases: list[AliasRow] = []
    for name, answer in models_there.items():
        rows = server.listed("model-versions/search", "model_versions", filter=f"name='{name}'")
        versions += [_version(row, server) for row in rows]
        held = _member(answer, "registered_model", "aliases") or ()
        aliases += [
            AliasRow(name, str(row.get("alias")), str(row.get("version"))) for row in _objects(held)
        ]
    active = [run for run in sorted(runs) if _is_active(server.one("runs/get", run_id=run))]
    return Rows(names, tuple(versions), tuple(aliases), frozenset(active))


@dataclass(frozen=True)
class _RegistryServer:
    """A server, asked what it has."""

    client: http_client.Client

    def get(self, path: str, **query: str) -> Any:
        return _answer(self.client, "GET", f"api/2.0/mlflow/{path}?{urlencode(query)}")

    def one(self, path: str, **query: str) -> Any:
        """None where the server has no such thing."""
        try:
            return self.get(path, **query)
        except MissingError:
            return None

    def listed(self, path: str, key: str, **query: str) -> Iterator[Any]:
        token = ""
        for _ in range(MAX_PAGES):
            page = self.get(path, max_results=str(PAGE), page_token=token, **query)
            yield from _objects(_member(page, key) or ())
            token = str(_member(page, "next_page_token") or "")
            if not token:
                return
        raise StorageError(
            f"the server has more than {MAX_PAGES} pages of {key}", where=self.client.url
        )


def _is_active(shown: Any) -> bool:
    return bool(_member(shown, "run", "info", "lifecycle_stage") == "active")


def _version(shown: Any, server: _RegistryServer) -> VersionRow:
    """One version as the server shows it; the stage that stands for none is left out by some."""
    name, number, source = (
        str(shown.get("name")),
        str(shown.get("version")),
        str(shown.get("source") or ""),
    )
    place = server.one("model-versions/get-download-uri", name=name, version=number)
    tags = {str(tag.get("key")): tag.get("value") for tag in _objects(shown.get("tags") or ())}
    return VersionRow(
        name,
        number,
        source,
        str(shown.get("run_id") or ""),
        shown.get("current_stage"),
        tags.get(DIGEST_TAG),
        str(_member(place, "artifact_uri") or source),
    )


def check_account(uri: str, environ: Mapping[str, str]) -> None:
    """Raises `StorageError` where the server cannot be reached, or does not know the account."""
    path = "api/2.0/mlflow/registered-models/search?max_results=1"
    _answer(_client(uri, environ), "GET", path)


def account(uri: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and password: MLflow's (MLFLOW_TRACKING_USERNAME, _PASSWORD), else the log's
    (COUNTERSIGN_USER, _PASSWORD).

    Where the log is on another server, its password is none of this one's business. Raises
    `ConfigError` where it would travel readable to another machine.
    """
    log = environ.get("COUNTERSIGN_LOG", "")
    chosen = [("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")]
    if not is_server(log) or urllib.parse.urlsplit(log)[:2] == urllib.parse.urlsplit(uri)[:2]:
        chosen.append(("COUNTERSIGN_USER", "COUNTERSIGN_PASSWORD"))
    pairs = ((environ.get(name, ""), environ.get(password, "")) for name, password in chosen)
    account_found = next((pair for pair in pairs if all(pair)), None)
    if account_found:
        http_client.refuse_unencrypted(uri, "COUNTERSIGN_REGISTRY")
    return account_found


def _client(uri: str, environ: Mapping[str, str]) -> http_client.Client:
    """Raises `ConfigError` where the address is none, or the password would be sent unencrypted."""
    return http_client.Client(
        uri,
        account(uri, environ),
        "COUNTERSIGN_REGISTRY",
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )


def _answer(client: http_client.Client, method: str, path: str, body: Any = None) -> Any:
    """The JSON value of an answer; None where it has none."""
    with _open(client, method, path, body) as answer:
        return parse_json(answer.read(MAX_ANSWER))


@contextmanager
def _open(client: http_client.Client, method: str, path: str, body: Any = None) -> Iterator[Any]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with client.open(method, path, data) as answer:
            yield answer
    except http_client.StatusError as error:
        raise _refusal(error, urllib.parse.urlsplit(f"{client.url}/{path}").path) from None
    except http_client.NoAnswerError as error:
        raise StorageError(
            f"the server cannot be asked: {error.reason}",
            where=client.url,
            fix="start it, or mend its name",
        ) from None


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
    return StorageError(
        f"the server answers {error.status}: {found}",
        where=where,
        fix=fixes.get(error.status, ""),
    )


def _objects(values: Any) -> list[dict[str, Any]]:
    """The objects of a list in an answer. Raises `StorageError` for anything else: it is no
    registry's.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, dict) for value in values):
        raise StorageError("the answer is not a registry's", where="the server")
    return list(values)


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
