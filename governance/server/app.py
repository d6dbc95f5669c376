"""The server's application: MLflow with its accounts, without the parts that a governed server must
not have, with the log's API.

Routes are left out by their module, not by their path, so that a path that is decoded twice cannot
reach one of them.
"""

from __future__ import annotations

import logging
import os
import warnings
from datetime import UTC, datetime
from typing import Any

from governance.base.errors import ConfigError
from governance.log.routes import credentials
from governance.log.sql import SqlLog
from governance.server.context import account

UNWANTED = (
    "mlflow.server.assistant",
    "mlflow.server.gateway_api",
    "mlflow.server.job_api",
    "mlflow.server.sandbox",
    "mlflow.server.skill_registry_api",
)
"""Modules of MLflow whose routes are left out: they run commands or jobs, call out, or store
code.
"""
UNWANTED_VIEWS = ("gateway_proxy", "create_promptlab_run", "signup", "create_user_ui")
"""Flask views that are refused, by a part of their name."""
FILES = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")
"""Uploads below these paths are streamed, after MLflow has checked the account."""
MAX_BODY = 16 << 20
"""Bytes of any other body; the largest that MLflow takes is an upload from its pages, of 10 MB."""
_TOO_DEEP = {"error_code": "INVALID_PARAMETER_VALUE", "message": "the body is nested too deeply"}
QUIET = ("alembic", "mlflow.server.auth", "mlflow.store.db.utils")


def create() -> Any:
    """The ASGI application. Raises where a store cannot be made: then nothing is served."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server import ARTIFACT_ROOT_ENV_VAR as ARTIFACT_ROOT
        from mlflow.server import ARTIFACTS_DESTINATION_ENV_VAR as DESTINATION
        from mlflow.server import BACKEND_STORE_URI_ENV_VAR as BACKEND
        from mlflow.server import handlers
        from mlflow.server.auth import create_app

        backend = os.environ[BACKEND]
        handlers.initialize_backend_stores(backend, backend, os.environ.get(ARTIFACT_ROOT))
        stores = (handlers._get_tracking_store(), handlers._get_model_registry_store())
        if not all(hasattr(store, "governor") for store in stores):
            raise ConfigError(
                f"the stores at {backend.partition(':')[0]}: are not governed",
                expected="governed+sqlite:/// or governed+postgresql:// for --backend-store-uri",
            )
        if not os.environ.get(DESTINATION, "").startswith("governed+file:///"):
            raise ConfigError(
                "the artifacts are not in a write-once folder",
                expected="governed+file:/// and a path for --artifacts-destination",
            )
        app = create_app()
    _leave_out(app)
    _mount_log(app)
    app.add_middleware(Door)
    return app


class Door:
    """Checks the headers of every request before anything else reads it.

    1. A request has at most one account. With two, the password check and the record of the caller
       could each use another one. The account is kept for routes that are not Flask's. The password
       is checked later.
    2. The length of a body is declared and at most `MAX_BODY`, because MLflow reads a whole body
       before it asks for an account. Files are streamed to the artifact store and may have any
       length.
    3. A body is not compressed, because a compressed body can unpack to any length.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(name.lower(), value) for name, value in scope["headers"]]
            refused = _refusal(scope, headers)
            if refused is not None:
                await refused(scope, receive, send)
                return
            header = dict(headers).get(b"authorization", b"").decode("latin-1")
            known = credentials(header)
            account.set(known[0] if known else None)
        await self.app(scope, receive, send)


def _refusal(scope: Any, headers: list[tuple[bytes, bytes]]) -> Any:
    """The answer to a request that is refused; None for others."""
    from starlette.responses import JSONResponse

    fields = dict(headers)
    accounts = [value for name, value in headers if name == b"authorization"]
    streams = scope["method"] == "PUT" and scope["path"].startswith(FILES)
    encoding = fields.get(b"content-encoding", b"identity").lower()
    length = fields.get(b"content-length", b"0")
    is_short = length.isdigit() and len(length) < 16 and int(length) <= MAX_BODY
    faults = {
        "more than one Authorization header": (400, len(accounts) > 1),
        "a body without a declared length": (411, b"transfer-encoding" in fields and not streams),
        f"a body of more than {MAX_BODY} bytes": (413, not streams and not is_short),
        "a compressed body": (415, encoding != b"identity"),
    }
    for fault, (status, is_faulty) in faults.items():
        if is_faulty:
            message = f"Countersign refuses: {fault}"
            return JSONResponse(
                {"error_code": "BAD_REQUEST", "message": message}, status, {"connection": "close"}
            )
    return None


def _leave_out(app: Any) -> None:
    """Takes out the routes of unwanted modules, and refuses Flask's unwanted views after routing,
    and bodies that are nested so deep that reading them fails.
    """
    from flask import abort, request
    from mlflow.server import app as flask_app

    app.router.routes[:] = [
        route for route in app.router.routes if not _module(route).startswith(UNWANTED)
    ]

    def refuse() -> None:
        view = request.url_rule.endpoint if request.url_rule else ""
        if any(part in view for part in UNWANTED_VIEWS):
            abort(404)

    flask_app.before_request_funcs.setdefault(None, []).insert(0, refuse)
    flask_app.register_error_handler(RecursionError, lambda _: (_TOO_DEEP, 400))


def _module(route: Any) -> str:
    """The module of a route; for an included router, the module of its first route."""
    endpoint = getattr(route, "endpoint", None)
    if endpoint is not None:
        return str(getattr(endpoint, "__module__", ""))
    inner = getattr(route, "original_router", None) or getattr(route, "router", None)
    routes = getattr(inner, "routes", None)
    return _module(routes[0]) if routes else ""


def _mount_log(app: Any) -> None:
    """The log's own API, for the same accounts, before the mount that catches everything."""
    from mlflow.server import BACKEND_STORE_URI_ENV_VAR
    from mlflow.server.auth import store
    from starlette.routing import Mount

    from governance.log import routes
    from governance.registry.governed.limit import SAID_PER_HOUR, Limit
    from governance.server.append import verifier
    from governance.server.context import database_of, own_log

    database = database_of(os.environ[BACKEND_STORE_URI_ENV_VAR])

    def log() -> SqlLog:
        return own_log(database, os.environ)[0]

    def now() -> datetime:
        return datetime.now(UTC)

    verify = verifier(log(), now, Limit(now, SAID_PER_HOUR))
    served = routes.routes(log, verify, store.authenticate_user)
    app.router.routes.insert(0, Mount(routes.PREFIX, routes=served))
