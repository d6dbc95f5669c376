"""The server's trial before it listens: it tries to move a governed alias through REST, as
administrator.

It uses a model of its own that is always governed (`names.TRIAL_MODEL`). Every answer must be our
refusal. Any other answer (a moved alias, a plain server's answer, none) means that this server
governs nothing, so it does not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governance.base.errors import RefusedError
from governance.registry.governed.names import TRIAL_ALIAS, TRIAL_MODEL
from governance.registry.governed.rules import MARK

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ROOTS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
"""Paths of the client's API and of the web pages' API."""
DEFAULT_EXPERIMENT = "0"
_ALIAS = {"name": TRIAL_MODEL, "alias": TRIAL_ALIAS}
_ABOUT = (
    "Made by the server when it first started: each start it tries to move an alias of this model,"
    " and must fail."
)


def attempt(client: TestClient, user: str, password: str) -> int:
    """Tries to move a governed alias by every API. Returns the number of refusals. Raises
    `RefusedError` for any other answer.
    """
    client.auth = (user, password)
    version = _version(client)
    tries = [
        ("POST", "alias", {**_ALIAS, "version": version}),
        ("DELETE", "alias", _ALIAS),
        ("POST", "rename", {"name": TRIAL_MODEL, "new_name": f"{TRIAL_MODEL}-2"}),
    ]
    for root in ROOTS:
        for method, what, body in tries:
            path = f"{root}/registered-models/{what}"
            answer = client.request(method, path, json=body)
            if answer.status_code != 403 or MARK not in answer.text:
                raise _failed(f"{method} {path} was answered", answer)
        held = client.get(f"{root}/registered-models/alias", params=_ALIAS)
        if held.status_code == 200:
            raise _failed("somebody holds the alias", held)
    return len(ROOTS) * len(tries)


def _version(client: TestClient) -> str:
    """A version of the trial model, made at the first start."""
    named = {"name": TRIAL_MODEL}
    if not _is_there(client, "registered-models/get", named):
        _made(client, "registered-models/create", {**named, "description": _ABOUT})
    if _is_there(client, "model-versions/get", {**named, "version": "1"}):
        return "1"
    run = {"experiment_id": DEFAULT_EXPERIMENT, "run_name": TRIAL_MODEL}
    info = _made(client, "runs/create", run)["run"]["info"]
    source = f"{info['artifact_uri']}/trial"
    body = {**named, "source": source, "run_id": info["run_id"]}
    return str(_made(client, "model-versions/create", body)["model_version"]["version"])


def _is_there(client: TestClient, path: str, query: dict[str, str]) -> bool:
    answer = client.get(f"{ROOTS[0]}/{path}", params=query)
    if answer.status_code not in (200, 404):
        raise _failed("it cannot be asked", answer)
    return bool(answer.status_code == 200)


def _made(client: TestClient, path: str, body: dict[str, str]) -> Any:
    answer = client.post(f"{ROOTS[0]}/{path}", json=body)
    if answer.status_code != 200:
        raise _failed("it could not be prepared", answer)
    return answer.json()


def _failed(why: str, answer: Any) -> RefusedError:
    return RefusedError(
        f"the server's trial of itself failed, so it does not start: {why}"
        f" {answer.status_code}: {answer.text[:300]}",
        expected="403 and our refusal, whatever moves the alias of a governed model",
        fix="check the version of MLflow against constraints.txt, and the administrator's password",
    )
