"""A log on a server that runs in a thread of the test."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from governance.base.errors import RefusedError
from governance.history.model_entries import ModelEntries
from governance.log import evidence
from governance.log.port import Filing, Log
from governance.log.routes import PREFIX, routes
from governance.log.sql import SqlLog
from tests.governance.keys import stranger

ACCOUNT, PASSWORD = "ada", "correct horse: battery"


@dataclass
class Served:
    """A server in a thread; what it serves can be exchanged while it runs."""

    log: Log
    port: int
    known: set[str] = field(default_factory=lambda: {stranger().keyid})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def index(self, model: str) -> str:
        """The signed index of a model."""
        assert isinstance(self.log, SqlLog) and self.log.signer is not None
        return ModelEntries().signed(self.log, model, self.log.signer)

    def verifier(self, envelope: bytes, account: str | None = None) -> Filing:
        """Whom this server knows may say anything."""
        _, keyid = evidence.unverified(envelope)
        if keyid not in self.known:
            raise RefusedError(
                "the server does not know who signed this", fix="have the key enrolled"
            )
        return evidence.filed_under(envelope)


@contextlib.contextmanager
def serving(log: Log) -> Iterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    served = Served(log, listener.getsockname()[1])
    token = base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()
    found = routes(
        lambda: served.log,
        lambda given, account=None: served.verifier(given, account),
        lambda header: ACCOUNT if header == f"Basic {token}" else None,
        served.index,
    )
    app = Starlette(routes=[Mount(PREFIX, routes=found)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield served
    finally:
        server.should_exit = True
        thread.join()
