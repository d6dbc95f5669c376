"""The server's trial before it listens: it tries to move a governed alias through REST, as
administrator.

It uses a model of its own that is always governed (`names.TRIAL_MODEL`). Every answer must be our
refusal. Any other answer (a moved alias, a plain server's answer, none) means that this server
governs nothing, so it does not start.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from governance.base.errors import RefusedError
from governance.registry.governed.names import TRIAL_ALIAS, TRIAL_MODEL

ROOTS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
"""Paths of the client's API and of the web pages' API."""
DEFAULT_EXPERIMENT = "0"
_ABOUT = (
    "Made by the server when it first started: each start it tries to move an alias of this model,"
    " and must fail."
)


class Answer(Protocol):
    """What came back."""

    status_code: int
    text: str

    def json(self) -> Any: ...


class Client(Protocol):
    """Whoever carries a request to the application; `starlette.testclient` in the server's own
    process.
    """

    def request(
        self, method: str, url: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer: ...


def attempt(client: Client, user: str, password: str, mark: str) -> int:
    """Tries to move a governed alias by every API. Returns the number of refusals. Raises
    `RefusedError` for any other answer.
    """
    headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    version = _version(client, headers)
    moved = {"name": TRIAL_MODEL, "alias": TRIAL_ALIAS, "version": version}
    tries = [
        ("POST", "alias", moved),
        ("DELETE", "alias", {"name": TRIAL_MODEL, "alias": TRIAL_ALIAS}),
    ]
    tries += [("POST", "rename", {"name": TRIAL_MODEL, "new_name": f"{TRIAL_MODEL}-2"})]
    for root in ROOTS:
        for method, what, body in tries:
            answer = client.request(
                method, f"{root}/registered-models/{what}", json=body, headers=headers
            )
            if answer.status_code != 403 or mark not in answer.text:
                raise _failed(
                    f"{method} {root}/registered-models/{what} was answered {_summary(answer)}"
                )
        held = client.request(
            "GET",
            f"{root}/registered-models/alias?name={TRIAL_MODEL}&alias={TRIAL_ALIAS}",
            headers=headers,
        )
        if held.status_code == 200:
            raise _failed(f"the alias is held by version {held.json()['model_version']['version']}")
    return len(ROOTS) * len(tries)


def _version(client: Client, headers: Mapping[str, str]) -> str:
    """A version of the trial model, made at the first start."""
    root = ROOTS[0]
    registered = client.request(
        "GET", f"{root}/registered-models/get?name={TRIAL_MODEL}", headers=headers
    )
    if registered.status_code == 404:
        body = {"name": TRIAL_MODEL, "description": _ABOUT}
        _json_of(
            client.request("POST", f"{root}/registered-models/create", json=body, headers=headers)
        )
    elif registered.status_code != 200:
        raise _failed(f"it cannot be asked: {_summary(registered)}")
    version_answer = client.request(
        "GET", f"{root}/model-versions/get?name={TRIAL_MODEL}&version=1", headers=headers
    )
    if version_answer.status_code == 200:
        return "1"
    run = {"experiment_id": DEFAULT_EXPERIMENT, "run_name": TRIAL_MODEL}
    run_info = _json_of(client.request("POST", f"{root}/runs/create", json=run, headers=headers))[
        "run"
    ]["info"]
    body = {
        "name": TRIAL_MODEL,
        "source": f"{run_info['artifact_uri']}/trial",
        "run_id": run_info["run_id"],
    }
    version = _json_of(
        client.request("POST", f"{root}/model-versions/create", json=body, headers=headers)
    )
    return str(version["model_version"]["version"])


def _json_of(answer: Answer) -> Any:
    if answer.status_code != 200:
        raise _failed(f"it could not be prepared: {_summary(answer)}")
    return answer.json()


def _summary(answer: Answer) -> str:
    return f"{answer.status_code}: {answer.text[:300]}"


def _failed(why: str) -> RefusedError:
    return RefusedError(
        f"the server's trial of itself failed, so it does not start: {why}",
        expected="403 and our refusal, whatever moves the alias of a governed model",
        fix="check the version of MLflow against constraints.txt, and the administrator's password",
    )
