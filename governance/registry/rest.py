"""A registry server by its plain HTTP interface: files of a version, moves of an alias, its rows.
No MLflow is needed.

What arrives is as good as its digest: the caller compares it with the manifest
(`governance.models.folder.take`). What the server refuses, it says in words, and they are passed
on.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from governance.attest.predicates import ModelFile
from governance.base.errors import (
    ConfigError,
    ConflictError,
    CountersignError,
    RefusedError,
    StorageError,
)
from governance.log.mirror import SAFE_WITHOUT_TLS, NoRedirect
from governance.models.folder import CHUNK, Fetch
from governance.registry.port import DIGEST_TAG
from governance.registry.rows import AliasRow, Rows, VersionRow

SECONDS = 60.0
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
"""What an account that may only read is told, and what to do."""


class MissingError(StorageError):
    """The server answers that there is no such thing."""


def is_server(uri: str) -> bool:
    """Whether an address is a server's."""
    return uri.startswith(("http://", "https://"))


def from_server(uri: str, model: str, version: str, environ: Mapping[str, str]) -> Fetch:
    """Fetches files of a version from where the server says it has them; which bytes they must be,
    the log says.

    The account: see `account`.
    """
    root = uri.rstrip("/")
    asked = f"{root}/api/2.0/mlflow/model-versions/get?name={quote(model)}&version={quote(version)}"
    with _open("GET", asked, environ) as answer:
        place = str(_member(_json(answer.read(MAX_ANSWER)), "model_version", "source"))
    if not place.startswith("mlflow-artifacts:/"):
        raise StorageError(
            f"the files of {model}/{version} are not on this server",
            where=root,
            fix="name their folder",
        )
    below = quote(place.removeprefix("mlflow-artifacts:").strip("/"))

    def fetch(file: ModelFile, target: Path) -> None:
        address = f"{root}/api/2.0/mlflow-artifacts/artifacts/{below}/{quote(file.path)}"
        left = file.size + 1  # one byte more shows that it is another file
        with _open("GET", address, environ) as answer, target.open("xb") as copy:
            while left and (data := answer.read(min(CHUNK, left))):
                copy.write(data)
                left -= len(data)

    return fetch


def set_alias(uri: str, model: str, alias: str, version: str, environ: Mapping[str, str]) -> None:
    """Asks a governed server to give an alias, which consumes the open request that fits. Raises
    what it answers.
    """
    body = {"name": model, "alias": alias, "version": version}
    _open(
        "POST", f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias", environ, body
    ).close()


def delete_alias(uri: str, model: str, alias: str, environ: Mapping[str, str]) -> None:
    """Asks a governed server to take an alias away, which consumes the open retirement of who holds
    it.
    """
    body = {"name": model, "alias": alias}
    _open(
        "DELETE", f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias", environ, body
    ).close()


def read_rows(
    uri: str, models: Collection[str], runs: Collection[str], environ: Mapping[str, str]
) -> Rows:
    """What the server shows of these models and runs, and the name of every model.

    Raises `StorageError` where it cannot be asked, or shows this account less than all of it.
    """
    shown = _Shown(uri, environ)
    names = frozenset(
        str(one.get("name"))
        for one in shown.listed("registered-models/search", "registered_models")
    )
    there = {
        name: found
        for name in sorted(models)
        if (found := shown.one("registered-models/get", name=name))
    }
    versions: list[VersionRow] = []
    aliases: list[AliasRow] = []
    for name, found in there.items():
        rows = shown.listed("model-versions/search", "model_versions", filter=f"name='{name}'")
        versions += [_version(row, shown) for row in rows]
        held = _member(found, "registered_model", "aliases") or ()
        aliases += [
            AliasRow(name, str(row.get("alias")), str(row.get("version"))) for row in _objects(held)
        ]
    active = [run for run in sorted(runs) if _is_active(shown.one("runs/get", run_id=run))]
    return Rows(names, tuple(versions), tuple(aliases), frozenset(active))


@dataclass(frozen=True)
class _Shown:
    """A server, asked what it has."""

    uri: str
    environ: Mapping[str, str]

    def get(self, path: str, **query: str) -> Any:
        address = f"{self.uri.rstrip('/')}/api/2.0/mlflow/{path}?{urlencode(query)}"
        with _open("GET", address, self.environ) as answer:
            return _json(answer.read(MAX_ANSWER))

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
        raise StorageError(f"the server has more than {MAX_PAGES} pages of {key}", where=self.uri)


def _is_active(shown: Any) -> bool:
    return bool(_member(shown, "run", "info", "lifecycle_stage") == "active")


def _version(shown: Any, server: _Shown) -> VersionRow:
    """One version as the server shows it; the stage that stands for none is left out by some."""
    name, number, source = (
        str(shown.get("name")),
        str(shown.get("version")),
        str(shown.get("source") or ""),
    )
    place = server.one("model-versions/get-download-uri", name=name, version=number)
    tags = {str(one.get("key")): one.get("value") for one in _objects(shown.get("tags") or ())}
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
    _open(
        "GET", f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/search?max_results=1", environ
    ).close()


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
    given = ((environ.get(name, ""), environ.get(password, "")) for name, password in chosen)
    known = next((one for one in given if all(one)), None)
    host = urllib.parse.urlsplit(uri)
    if known and host.scheme != "https" and host.hostname not in SAFE_WITHOUT_TLS:
        raise ConfigError(
            f"the password would travel readable to {host.hostname}",
            where="COUNTERSIGN_REGISTRY",
            expected="https://",
        )
    return known


def _open(method: str, address: str, environ: Mapping[str, str], body: Any = None) -> Any:
    if not is_server(address):
        raise StorageError("not an address of a server", where=address)
    if "@" in urllib.parse.urlsplit(address).netloc:
        raise ConfigError(
            "the address holds an account, which errors would show",
            where="COUNTERSIGN_REGISTRY",
            expected=(
                "https://HOST, account and password in MLFLOW_TRACKING_USERNAME and"
                " MLFLOW_TRACKING_PASSWORD"
            ),
        )
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **_credentials(address, environ)}
    # Checked above.
    request = urllib.request.Request(address, data=data, headers=headers, method=method)  # noqa: S310
    try:
        return urllib.request.build_opener(NoRedirect).open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, address) from None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"nothing answers there: {error}", where=address, fix="start it, or mend its name"
        ) from None
    except http.client.HTTPException as error:
        raise StorageError(
            f"what answers there is no server: {type(error).__name__}", where=address
        ) from None


def _refusal(error: urllib.error.HTTPError, address: str) -> CountersignError:
    """The server's answer as our own error, in its own words where it gives any."""
    said = _member(_json(error.read(MAX_ANSWER)), "message")
    where = urllib.parse.urlsplit(address).path
    if error.code == 403 and said:
        return RefusedError(str(said), where="the server")
    if error.code == 409 and said:
        return ConflictError(str(said), where="the server")
    if error.code == 404:
        return MissingError(f"the server has no such thing: {said or error.reason}", where=where)
    fix = {401: "check the account: COUNTERSIGN_USER, COUNTERSIGN_PASSWORD", 403: GRANT}.get(
        error.code, ""
    )
    found = NO_RIGHT if error.code == 403 else said or error.reason
    return StorageError(f"the server answers {error.code}: {found}", where=where, fix=fix)


def _credentials(address: str, environ: Mapping[str, str]) -> dict[str, str]:
    known = account(address, environ)
    return (
        {"Authorization": f"Basic {base64.b64encode(':'.join(known).encode()).decode()}"}
        if known
        else {}
    )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _objects(values: Any) -> list[dict[str, Any]]:
    """The objects of a list in an answer. Raises `StorageError` for anything else: it is no
    registry's.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(one, dict) for one in values):
        raise StorageError("the answer is not a registry's", where="the server")
    return list(values)


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
