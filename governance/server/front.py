"""One address for several governed servers: `/PROJECT/...` is passed to the server of that project.

1. The first part of the path names the project, byte for byte. Nothing else of a request chooses
   where it goes, and no request reaches two projects.
2. Path, query, headers and body are passed on as they came. Each project's own server checks
   accounts, hosts and sites; the front has no rights and opens no log.
3. Headers about one connection are not passed on (RFC 9110, 7.6.1), nor what the client says of its
   own address: the address that the front sees is sent instead, so that limits by address hold.
   Behind a proxy that uvicorn trusts (docs/registry.md), it is the address that the proxy names.
4. Each server listens on a socket in a folder that only this account can enter.
5. No request is sent twice.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpcore

CONNECTIONS = 256
"""To each project at once; further requests wait."""
IDLE_SECONDS = 2.0
"""An unused connection is closed before the server closes it, after 5 s."""
CONNECT_SECONDS = 10.0
OF_A_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade")
)
OF_THE_WAY = (b"x-forwarded-", b"forwarded", b"x-real-ip")
"""Beginnings of headers that say who asked."""
KEPT = {
    *(b"authorization", b"content-encoding", b"content-length", b"content-type", b"host"),
    *(b"origin", b"sec-fetch-mode", b"sec-fetch-site", b"transfer-encoding"),
}
"""What a project's server checks."""

Headers = list[tuple[bytes, bytes]]


class Front:
    """The application that uvicorn serves. `sockets`: project to the socket of its server."""

    def __init__(self, sockets: Mapping[str, Path]) -> None:
        self._pools = {
            name.encode("ascii"): httpcore.AsyncConnectionPool(
                uds=str(socket),
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
            )
            for name, socket in sockets.items()
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return  # no route of a governed server speaks WebSocket
        name, slash, rest = scope["raw_path"].removeprefix(b"/").partition(b"/")
        pool = self._pools.get(name)
        if pool is None:
            found = "no such project here; the address of a project is https://SERVER/PROJECT"
            await _answer(send, 404, found)
        elif scope["method"] == "CONNECT":  # a tunnel would end what the front knows of HTTP
            await _answer(send, 405, "no tunnel leads through here")
        elif not slash:  # relative addresses of the pages begin below the project
            await _answer(send, 308, "see below it", [(b"location", b"/" + name + b"/")])
        else:
            query = b"?" + scope["query_string"] if scope["query_string"] else b""
            await _pass_on(pool, b"/" + rest + query, scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        """Closes the connections at the end."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                for pool in self._pools.values():
                    await pool.aclose()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def _pass_on(
    pool: httpcore.AsyncConnectionPool, target: bytes, scope: Any, receive: Any, send: Any
) -> None:
    names = {name.lower() for name, _ in scope["headers"]}
    has_body = bool(names & {b"content-length", b"transfer-encoding"})
    request = httpcore.Request(
        scope["method"],
        httpcore.URL(scheme=b"http", host=b"project", port=None, target=target),
        headers=_asked(scope),
        content=_body(receive) if has_body else None,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    )
    begun = False
    try:
        response = await pool.handle_async_request(request)
        try:
            headers = _without(response.headers, (b"transfer-encoding",))
            begun = True
            await send(
                {"type": "http.response.start", "status": response.status, "headers": headers}
            )
            async for chunk in response.aiter_stream():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()
    except httpcore.LocalProtocolError:
        if begun:
            raise
        await _answer(send, 400, "the request is not well-formed")
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        if begun:
            raise  # the client must see that the answer is not whole
        await _answer(send, 503, "the server of this project does not answer; try again")


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpcore.ReadError("the client went away")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _asked(scope: Any) -> Headers:
    """(3) The headers of a request to a project's server."""
    headers = _without(scope["headers"])
    if any(name.lower() == b"transfer-encoding" for name, _ in headers):
        headers = _without(headers, (b"content-length",))  # it is overridden: RFC 9112, 6.3
    passed = [(name, value) for name, value in headers if not name.lower().startswith(OF_THE_WAY)]
    client = (scope.get("client") or ("",))[0]
    told = [(b"x-forwarded-for", client.encode("ascii", "replace"))] if client else []
    return [*passed, *told, (b"x-forwarded-proto", scope["scheme"].encode("ascii"))]


def _without(headers: Headers, also: tuple[bytes, ...] = ()) -> Headers:
    """Headers without those about one connection, and those that `Connection` names."""
    named = {
        part.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for part in value.split(b",")
    }
    # what frames or authorizes a request is never one connection's own, whatever a client says
    left_out = OF_A_CONNECTION | (named - KEPT) | set(also)
    return [(name, value) for name, value in headers if name.lower() not in left_out]


async def _answer(send: Any, status: int, found: str, more: Headers | None = None) -> None:
    body = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": found}).encode()
    length = (b"content-length", str(len(body)).encode())
    headers = [(b"content-type", b"application/json"), length, *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
