"""Connections to the servers, which are used again while they are idle.

httpcore speaks HTTP on each connection. Its pool is not used: for each request it looks through all
connections several times, which takes longer than everything else when many are open.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from functools import cache
from typing import cast
from urllib.parse import urlsplit

import httpcore

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""Connections that are idle for longer are not used again. Servers close theirs after 5 s or more,
and a request on a connection that is being closed would be lost.
"""
MOST_IDLE = 256
"""To each server."""
Headers = list[tuple[bytes, bytes]]


class UnreachedError(Exception):
    """No connection: the server did not receive the request."""


class BrokenError(Exception):
    """The connection broke off after the request was sent, or what came is no answer."""


@dataclass
class Exchange:
    """One answer, whose body is still to be read. `close` ends it in any case."""

    status: int
    headers: Headers
    body: AsyncIterable[bytes]
    _response: httpcore.Response
    _connection: httpcore.AsyncHTTPConnection
    _idle: list[httpcore.AsyncHTTPConnection]

    async def close(self) -> None:
        """Gives the connection back if the answer was read to its end; else ends it."""
        await self._response.aclose()
        if self._connection.is_idle() and len(self._idle) < MOST_IDLE:
            self._idle.append(self._connection)
        else:
            await self._connection.aclose()


@dataclass
class Connections:
    """The connections of one proxy, by the server's address."""

    _idle: dict[str, list[httpcore.AsyncHTTPConnection]] = field(default_factory=dict)

    async def ask(
        self, server: str, method: str, target: str, headers: Headers, body: bytes
    ) -> Exchange:
        """Sends a request. Raises `UnreachedError` and `BrokenError`."""
        if server not in self._idle:  # another server came: those before may be gone
            await self.close()
        idle = self._idle.setdefault(server, [])
        connection = await _usable(idle) or _new(server)
        request = httpcore.Request(
            method,
            f"{server}{target}",
            headers=[
                (b"host", urlsplit(server).netloc.encode()),
                *headers,
                (b"content-length", str(len(body)).encode()),
            ],
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        )
        try:
            response = await connection.handle_async_request(request)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise UnreachedError(type(error).__name__) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            await connection.aclose()
            raise BrokenError(type(error).__name__) from None
        except BaseException:
            await connection.aclose()
            raise
        stream = cast(AsyncIterable[bytes], response.stream)
        return Exchange(response.status, response.headers, stream, response, connection, idle)

    async def close(self) -> None:
        """Closes all that are idle."""
        for idle in list(self._idle.values()):
            while idle:
                await idle.pop().aclose()


@cache
def authorities() -> ssl.SSLContext:
    """Certificates are verified by the system's authorities (SSL_CERT_FILE names others)."""
    return ssl.create_default_context()


async def _usable(
    idle: list[httpcore.AsyncHTTPConnection],
) -> httpcore.AsyncHTTPConnection | None:
    """The connection that was used last, if it can be used again."""
    while idle:
        connection = idle.pop()
        if connection.is_idle() and not connection.has_expired():
            return connection
        await connection.aclose()
    return None


def _new(server: str) -> httpcore.AsyncHTTPConnection:
    return httpcore.AsyncHTTPConnection(
        httpcore.URL(server).origin, ssl_context=authorities(), keepalive_expiry=IDLE_SECONDS
    )
