"""The proxy's HTTP side: OpenAI's API, passed on to the server of the version that may answer.

1. Only the routes of `PASSED` are passed on, as they are, streams included. Anything else is 404:
   some servers load other weights on request.
2. Each answer of a server names version, digest and log entry in headers. What the server sent
   under these names is dropped.
3. Where nothing may answer, the answer is 503, with an error of OpenAI's form whose `code` is the
   code of the first finding.
4. A request that a server never received is passed on once more. Any other is not repeated.
5. `/healthz`: this process works, and what it knows. `/readyz`: 200 if a request would be answered.
6. No text of a request or an answer is kept or written anywhere. What an answer says of itself is
   counted (`observing`): POST requests only. Where policy says so, a sample of the answers is held
   in memory until another process has searched it (`searching`).
7. During a rollout, a hash of the caller decides which version answers (`choice`). In a shadow
   rollout, requests are copied to the new version, which answers nobody (`shadow`).
8. `/v1/feedback` counts what users say of answers and versions. `/metrics` has the sums.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from governance.attest.predicates import Finding
from governance.history.rollouts import percent
from governance.proxy import metrics
from governance.proxy.answers import Reader, counted, ended, reader_of
from governance.proxy.choice import Caller
from governance.proxy.connections import BrokenError, Connections, Exchange, Headers, UnreachedError
from governance.proxy.fleet import Fleet, Lease, Refused
from governance.proxy.observing import Observer, UnknownError
from governance.proxy.permission import Canary, Held, Verdict
from governance.proxy.rolling import observed
from governance.proxy.shadow import Copies, Pair
from governance.proxy.tally import End

PASSED = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
)
MAX_BODY = 16 << 20
MAX_FEEDBACK = 4 << 10
ATTEMPTS = 2
"""How often a request is passed on that no server received."""
RETRY_AFTER = "5"
"""Seconds."""
PREFIX = "x-countersign-"
_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(
            b"expect",
            b"proxy-connection",
            b"trailer",
            b"trailers",
            b"transfer-encoding",
            b"upgrade",
        ),
    )
)
"""Headers of one connection, which are not passed on."""
FEEDBACK_FORMS = (
    'one of: {"response": ID, "rating": "up" or "down"}, {"version": VERSION, "rating": ...},'
    ' {"preferred": ID or VERSION, "over": ID or VERSION}, {"tie": [ID or VERSION, ...]}'
)
Answer = Any
"""An ASGI application that sends one answer, as Starlette's responses are."""


def application(fleet: Fleet, name: str, observer: Observer) -> Starlette:
    """The proxy's application. `name`: MODEL@ALIAS."""
    proxy = Proxy(fleet, name, observer)
    routes = [Route(path, proxy.passed, methods=[method]) for method, path in PASSED]
    routes += [Route("/v1/feedback", proxy.feedback, methods=["POST"])]
    routes += [Route("/metrics", proxy.metrics)]
    routes += [Route("/healthz", proxy.health), Route("/readyz", proxy.readiness)]
    return Starlette(
        routes=routes,
        exception_handlers={404: _unknown, 405: _unknown},
        lifespan=proxy.lifespan,
    )


class Proxy:
    """Passes requests on."""

    def __init__(self, fleet: Fleet, name: str, observer: Observer) -> None:
        self.fleet, self.name, self.observer = fleet, name, observer
        self._connections = Connections()
        self.copies = Copies(fleet, observer)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Closes the connections to the servers at the end."""
        yield
        await self.copies.close()
        await self._connections.close()

    # -- Requests ----------------------------------------------------------------------------------
    async def passed(self, request: Request) -> Answer:
        """Passes a request on to the server of the version that may answer."""
        now = self.fleet.verdict()
        if not now.allowed:  # before the body is read
            return self._refused(Refused(now.findings, now))
        began = time.monotonic()
        try:
            body = await _body(request, MAX_BODY)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if body is None:
            return failure(413, f"the body is larger than {MAX_BODY} bytes", "BODY_TOO_LARGE")
        return await self._answered(request, body, began)

    async def _answered(
        self, request: Request, body: bytes, began: float, attempts: int = ATTEMPTS
    ) -> Answer:
        """(4)"""
        address = request.client.host if request.client else ""
        caller = Caller(request.headers, body, address)
        lease = await self.fleet.lease(caller)
        if isinstance(lease, Refused):
            return self._refused(lease)
        watch = self._watch(request, body, lease, caller, began)
        try:
            return _Passed(await self._pass(request, body, lease), lease, watch)
        except UnreachedError as problem:
            if attempts > 1:
                return await self._answered(request, body, began, attempts - 1)
            return _broke_off(lease, problem, watch)
        except BrokenError as problem:
            return _broke_off(lease, problem, watch)

    def _watch(
        self, request: Request, body: bytes, lease: Lease, caller: Caller, began: float
    ) -> Watch | None:
        """(6), (7) Looks at a request, and copies it where the new version is to have it."""
        if request.method != "POST":
            return None
        canary = lease.verdict.canary
        if canary is None or not canary.shadow:
            split = (canary, caller.name) if canary is not None else None
            return Watch(self.observer, lease.held, began, len(body), split)

        async def send(connections: Connections, url: str) -> Exchange:
            headers = _request_headers(request)
            return await connections.ask(url, request.method, _target(request), headers, body)

        pair = self.copies.copy(lease, caller, body, send)
        return Watch(self.observer, lease.held, began, len(body), pair=pair)

    def _refused(self, refused: Refused) -> Response:
        self.observer.refuse(refused.findings[0].code)
        return refusal(refused)

    async def _pass(self, request: Request, body: bytes, lease: Lease) -> Exchange:
        """The answer of a server. Raises `UnreachedError` and `BrokenError`; the lease has ended
        then.
        """
        target, headers = _target(request), _request_headers(request)
        try:
            return await self._connections.ask(lease.url, request.method, target, headers, body)
        except (UnreachedError, BrokenError):
            lease.end()
            self.fleet.failed(lease.backend)
            raise
        except BaseException:
            lease.end()
            raise

    # -- Observations ------------------------------------------------------------------------------
    async def feedback(self, request: Request) -> Response:
        """(8) Counts what a user says."""
        try:
            body = await _body(request, MAX_FEEDBACK)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return failure(413, f"the body is larger than {MAX_FEEDBACK} bytes", "BODY_TOO_LARGE")
        try:
            rated = self.observer.rate(body, self.fleet.verdict().allowed)
        except ValidationError:
            return failure(400, FEEDBACK_FORMS, "FEEDBACK_INVALID")
        except UnknownError:
            about = "no such answer or version is known here, or it was rated already"
            return failure(404, about, "FEEDBACK_UNKNOWN")
        return JSONResponse({"counted": [described(held) for held in rated]})

    async def metrics(self, _: Request) -> Response:
        """(8) The sums, for Prometheus."""
        now = self.fleet.verdict()
        text = metrics.page(self.observer, now.allowed, self.fleet.known.said.size, now.age)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    # -- Health ------------------------------------------------------------------------------------
    async def health(self, _: Request) -> Response:
        """(5) 200 while this process works, whatever it may serve."""
        return JSONResponse(self._status(self.fleet.verdict()))

    async def readiness(self, _: Request) -> Response:
        """(5) 200 if a request would be answered now."""
        now = self.fleet.verdict()
        status = self._status(now)
        return JSONResponse(status, 200 if status["ready"] else 503)

    def _status(self, now: Verdict) -> dict[str, Any]:
        fleet = self.fleet
        backends = [
            {**described(each.held), "state": each.state, "in_flight": each.leases}
            for each in fleet.backends.values()
        ]
        new = now.canary.held.digest if now.canary else None  # it answers its own callers, or none
        permitted = [
            each for digest, each in fleet.backends.items() if now.permits(digest) and digest != new
        ]
        return {
            "alias": self.name,
            "ready": bool(now.allowed) and any(each.ready for each in permitted),
            "versions": [described(held) for held in now.allowed],
            "meanwhile": described(now.meanwhile) if now.meanwhile else None,
            "rollout": self._rollout(now),
            "log": {
                "entries": fleet.known.said.size,
                "state": now.log,
                "seconds_since_read": round(now.age, 1),
                "reason": fleet.known.unreached,
            },
            "findings": [_told(each) for each in now.findings],
            "servers": backends,
        }

    def _rollout(self, now: Verdict) -> dict[str, Any] | None:
        """The rollout of this alias: its share by the log, and the share that it has here now."""
        canary = self.fleet.known.said.canary
        if canary is None:
            return None
        return {
            **described(canary.held),
            "request": canary.rollout,
            "mode": "shadow" if canary.shadow else "live",
            "copies": self.observer.copies if canary.shadow else None,
            "share_in_log": percent(canary.weight),
            "share": percent(now.canary.weight if now.canary else 0),
            "observed": self.observer.rolling is not None and observed(canary),
            "seconds_left": max(0, round(canary.ends - self.fleet.seconds())),
            "findings": [_told(each) for each in canary.held.against],
        }


def described(held: Held) -> dict[str, Any]:
    """A version, as health reports it."""
    return {"version": held.name, "digest": held.digest, "entry": held.entry}


def stamped(lease: Lease) -> Headers:
    """(2) The headers that say which bytes answered, and by which log entry."""
    held, now = lease.held, lease.verdict
    fields = {
        "version": held.name,
        "digest": held.digest,
        "entry": str(held.entry),
        "bytes": "verified" if lease.verified else "declared",
        "log": now.log,
    }
    if now.log != "current":
        fields["log-age"] = str(int(now.age))
    return [(f"{PREFIX}{name}".encode(), value.encode()) for name, value in fields.items()]


def refusal(refused: Refused) -> Response:
    """(3) The answer where nothing may answer, or nothing can."""
    first = refused.findings[0]
    about = "; ".join(f"{each.subject}: {each.message}" for each in refused.findings)
    response = failure(503, about, first.code)
    response.headers[f"{PREFIX}log"] = refused.verdict.log
    response.headers["retry-after"] = RETRY_AFTER
    return response


def failure(status: int, message: str, code: str) -> Response:
    """An error as clients of OpenAI's API read it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": body}, status)


def _told(found: Finding) -> dict[str, str]:
    return found.model_dump(include={"code", "subject", "message", "expected", "found", "next"})


@dataclass(frozen=True)
class Watch:
    """Looks at one request."""

    observer: Observer
    held: Held
    began: float
    request_bytes: int
    split: tuple[Canary, str] | None = field(default=None, repr=False)
    """The live rollout under which it began, and the hash of its caller."""
    pair: Pair | None = field(default=None, repr=False)
    """The copy of it, in a shadow rollout."""

    def over(self, end: End, reader: Reader | None = None) -> None:
        """The request ended."""
        seen = replace(counted(self.began, end, reader), request_bytes=self.request_bytes)
        if self.pair is not None:
            milliseconds = round(1000 * (time.monotonic() - self.pair.began))
            self.pair.answered(self.held, replace(seen, milliseconds=milliseconds))
        self.observer.finished(self.held, seen, reader.id if reader is not None else "", self.split)
        if reader is not None and reader.keeps and seen.said is not None and seen.said.characters:
            self.observer.offer(self.held, reader.text)


def _broke_off(lease: Lease, problem: Exception, watch: Watch | None) -> Response:
    if watch is not None:
        watch.over("failed")
    about = f"{lease.held.name}: the inference server did not answer ({problem})"
    response = failure(502, about, "BACKEND_NOT_READY")
    response.raw_headers += stamped(lease)
    return response


async def _unknown(request: Request, _: Exception) -> Response:
    """(1)"""
    return failure(
        404, f"{request.method} {request.scope['path']} is not passed on", "ROUTE_UNKNOWN"
    )


async def _body(request: Request, most: int) -> bytes | None:
    """The body; None where it is too large."""
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            return None
        parts.append(chunk)
    return b"".join(parts)


class _Passed:
    """A server's answer, as its bytes come. The lease ends with it, also where the caller
    leaves.
    """

    def __init__(self, exchange: Exchange, lease: Lease, watch: Watch | None) -> None:
        self._exchange, self._lease, self._watch = exchange, lease, watch
        self._reader = reader_of(exchange.headers, watch.observer.held_text() if watch else 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it. Raises what the server's connection raises: the caller's connection then ends
        before the answer does, and the caller sees that it is not whole.
        """
        tasks = [asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_left(receive))]
        end: End = "left"
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                end = "failed"
                tasks[0].result()
                end = ended(self._exchange.status)
        finally:
            if self._watch is not None:
                self._watch.over(end, self._reader)
            for task in tasks:
                task.cancel()
            self._lease.end()
            await self._exchange.close()

    async def _send(self, send: Send) -> None:
        headers = [*_response_headers(self._exchange.headers), *stamped(self._lease)]
        head = {"status": self._exchange.status, "headers": headers}
        await send({"type": "http.response.start", **head})
        async for chunk in self._exchange.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if self._watch is not None:
                self._reader.feed(chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _target(request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    return f"{request.scope['path']}{f'?{query}' if query else ''}"


async def _left(receive: Receive) -> None:
    """Until the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _request_headers(request: Request) -> Headers:
    dropped = {b"host", b"content-length"} | _of_connection(request.headers.raw)
    return [(name, value) for name, value in request.headers.raw if name not in dropped]


def _response_headers(raw: Headers) -> Headers:
    """(2)"""
    headers = [(name.lower(), value) for name, value in raw]
    dropped = _of_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in dropped and not name.startswith(PREFIX.encode())
    ]


def _of_connection(headers: Headers) -> frozenset[bytes]:
    """The headers that are about one connection, those that `Connection` names included."""
    named = b",".join(value for name, value in headers if name == b"connection")
    return _HOP | {part.strip().lower() for part in named.split(b",")}
