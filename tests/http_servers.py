"""HTTP servers that a test answers itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


@contextmanager
def http_servers(handler: type[BaseHTTPRequestHandler]) -> Iterator[Callable[..., Any]]:
    """Starts a server with these attributes at each call; `uri` is its address."""
    servers = []

    def begun(**attributes: Any) -> Any:
        server: Any = HTTPServer(("127.0.0.1", 0), handler)
        vars(server).update(attributes, uri=f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    try:
        yield begun
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
