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

from governance.base.errors import ConfigError, StorageError
from governance.history.model_entries import ModelEntries
from governance.log.sql import SqlLog
from governance.server import accounts
from governance.server.context import account
from governance.server.door import Door

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
        from mlflow.server.security_utils import get_allowed_origins_from_env

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
    accounts.hide_list()
    app.add_middleware(Door, origins=get_allowed_origins_from_env() or ())
    return app


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
    from starlette.routing import Mount

    from governance.log import routes
    from governance.registry.governed.limit import SAID_PER_HOUR, Limit
    from governance.server.append import recording, verifier
    from governance.server.context import database_of, governor_of, own_log

    address = os.environ[BACKEND_STORE_URI_ENV_VAR]
    database = database_of(address)

    def log() -> SqlLog:
        return own_log(database, os.environ)[0]

    def now() -> datetime:
        return datetime.now(UTC)

    entries = ModelEntries()

    def index(model: str) -> str:
        """The index of a model; the server reads each entry of its log once for all of them."""
        own = log()
        if own.signer is None:
            raise StorageError("this log was opened for reading", where=own.where)
        return entries.signed(own, model, own.signer)

    verify = recording(verifier(log(), now, Limit(now, SAID_PER_HOUR)), governor_of(address))
    served = routes.routes(log, verify, lambda _: account.get(), index)  # as the door checked it
    app.router.routes.insert(0, Mount(routes.PREFIX, routes=served))
