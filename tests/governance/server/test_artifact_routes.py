"""Every route of the server is one that gives no file out, or one whose files come from the artifact
store, which asks who may read.

A new route of MLflow has no line in routes.txt and fails here: look at what it gives out.
`python -m tests.governance.server.test_artifact_routes` writes what is found.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from governance.server.app import UNWANTED, UNWANTED_VIEWS

LIST = Path(__file__).parent / "routes.txt"
STORES = ("_get_artifact_repo", "get_artifact_repository")
"""How functions of MLflow reach artifacts."""
READS = {
    "_download_artifact", "_get_presigned_download_url", "_list_artifacts",
    "_list_artifacts_mlflow_artifacts", "_list_logged_model_artifacts", "download_artifact",
    "_create_presigned_download_url", "serve_artifacts", "serve_get_logged_model_artifact",
    "serve_get_trace_artifact", "serve_model_version_artifact",
}  # fmt: skip
"""Handlers that give out names or bytes of artifacts, as somebody read them."""


def handlers() -> dict[str, Callable[..., Any]]:
    """Module and name of the function behind each route, and the function."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    views = [inspect.unwrap(view) for view in app.view_functions.values()]
    found = [*views, *_endpoints(create_fastapi_app(app).routes)]
    return {f"{each.__module__} {each.__name__}": each for each in found}


def _endpoints(routes: Any) -> Iterator[Callable[..., Any]]:
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            yield inspect.unwrap(endpoint)
        else:
            yield from _endpoints(getattr(inner or route, "routes", None) or ())


def reaches_files(function: Any, seen: set[Any]) -> bool:
    """Whether a function, or a function of MLflow's server that it calls, names the artifact
    store.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code in seen:
        return False
    seen.add(code)
    names = set(_names(code))
    if any(name.startswith(STORES) for name in names):
        return True
    known = getattr(inspect.unwrap(function), "__globals__", {})
    called = (known[name] for name in names if name in known)
    return any(
        reaches_files(each, seen)
        for each in called
        if callable(each) and str(getattr(each, "__module__", "")).startswith("mlflow.server")
    )


def _names(code: Any) -> Iterator[str]:
    """The names that a function uses, inner functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _names(constant)


def described() -> list[str]:
    """A line for each handler: what it gives, its module and its name."""
    rows = []
    for name, function in handlers().items():
        module, _, view = name.partition(" ")
        if module.startswith(UNWANTED) or any(part in view for part in UNWANTED_VIEWS):
            kind = "left-out"
        else:
            kind = "artifacts" if reaches_files(function, set()) else "no-file"
        rows.append(f"{kind} {name}")
    return sorted(rows)


@pytest.mark.slow
def test_every_route_is_known() -> None:
    """In a process of its own: MLflow's server changes settings of its process."""
    command = [sys.executable, "-m", "tests.governance.server.test_artifact_routes", "--show"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines == LIST.read_text(encoding="utf-8").splitlines()
    artifacts = {line.split()[2] for line in lines if line.startswith("artifacts ")}
    assert artifacts >= READS


if __name__ == "__main__":
    text = "".join(f"{line}\n" for line in described())
    if "--show" in sys.argv:
        sys.stdout.write(text)
    else:
        LIST.write_text(text, encoding="utf-8")
