"""A version's files from a registry server, one by one, by its plain HTTP interface: no MLflow is needed.

What arrives is as good as its digest: the caller compares it with the manifest (`governance.modelfolder.take`).
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from governance.errors import StorageError
from governance.modelfolder import CHUNK, Fetch
from governance.predicates import ModelFile

SECONDS = 60.0
MAX_ANSWER = 8 << 20


def from_server(uri: str, run: str, environ: Mapping[str, str]) -> Fetch:
    """Fetches files of the model that a run holds. The account is MLflow's own: MLFLOW_TRACKING_USERNAME, _PASSWORD."""
    root = uri.rstrip("/")
    found = json.loads(_get(f"{root}/api/2.0/mlflow/runs/get?run_id={quote(run)}", environ).read(MAX_ANSWER))
    place = str(_member(found, "run", "info", "artifact_uri"))
    if not place.startswith("mlflow-artifacts:/"):
        raise StorageError(f"the files of run {run} are not on this server", where=root, fix="name their folder")
    below = quote(place.removeprefix("mlflow-artifacts:").strip("/"))

    def fetch(file: ModelFile, target: Path) -> None:
        address = f"{root}/api/2.0/mlflow-artifacts/artifacts/{below}/model/{quote(file.path)}"
        left = file.size + 1  # one byte more shows that it is another file
        with _get(address, environ) as answer, target.open("xb") as copy:
            while left and (data := answer.read(min(CHUNK, left))):
                copy.write(data)
                left -= len(data)

    return fetch


def _get(address: str, environ: Mapping[str, str]) -> Any:
    if not address.startswith(("http://", "https://")):
        raise StorageError("not an address of a server", where=address)
    request = urllib.request.Request(address, headers=_account(environ))  # noqa: S310 - the scheme is checked above
    try:
        return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise StorageError(
            f"the server answers {error.code} {error.reason}",
            where=urllib.parse.urlsplit(address).path,
            fix="check the account: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD",
        ) from None
    except (OSError, ValueError) as error:
        raise StorageError(f"nothing answers there: {error}", where=address) from None


def _account(environ: Mapping[str, str]) -> dict[str, str]:
    name, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    if not (name and password):
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def _member(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
