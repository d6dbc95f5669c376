"""The server's test of itself before it listens: it tries to move a governed alias through REST, as
administrator.

It uses the name of a model that is always governed (`names.TRIAL_MODEL`) and that nobody makes.
Every answer must be our refusal. Any other answer means that MLflow handled the call, so that this
server governs nothing and does not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance.base.errors import RefusedError
from governance.registry.governed.names import TRIAL_ALIAS, TRIAL_MODEL
from governance.registry.governed.rules import MARK

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ROOTS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
"""Paths of the client's API and of the web pages' API."""
_ALIAS = {"name": TRIAL_MODEL, "alias": TRIAL_ALIAS}
ATTEMPTS = (
    ("POST", "registered-models/alias", {**_ALIAS, "version": "1"}),
    ("DELETE", "registered-models/alias", _ALIAS),
    ("POST", "registered-models/rename", {"name": TRIAL_MODEL, "new_name": f"{TRIAL_MODEL}-2"}),
)


def attempt(client: TestClient, user: str, password: str) -> int:
    """Tries to move a governed alias by every API. Returns the number of refusals. Raises
    `RefusedError` for any other answer.
    """
    client.auth = (user, password)
    for root in ROOTS:
        for method, what, body in ATTEMPTS:
            answer = client.request(method, f"{root}/{what}", json=body)
            if answer.status_code != 403 or MARK not in answer.text:
                raise RefusedError(
                    f"the server does not start, because it failed its own test: {method}"
                    f" {root}/{what} was answered {answer.status_code}: {answer.text[:300]}",
                    expected="403 and our refusal, whoever moves the alias of a governed model",
                )
    return len(ROOTS) * len(ATTEMPTS)
