"""The routes of a log's HTTP server, for Starlette: `Mount("/countersign/v1", routes=routes(...))`.

    GET  checkpoint                     the signed note
    GET  cosigned                       the notes that witnesses cosigned, as JSON
    GET  entries?start=&limit=          envelopes, base64
    GET  index?model=                   the signed index of a model
    POST entries[?expected_size=]       appends an envelope; its receipt

Every request needs an account, which `authenticate` reads from its Authorization header and checks.
The answer to a refused request is JSON with the error's text, and nothing more of the error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from governance.base.errors import CountersignError, InputError
from governance.log import api
from governance.log.port import Log

PREFIX = "/countersign/v1"
Authenticate = Callable[[str], str | None]
"""The account of this Authorization header; None where it may not use the log. The server around
these routes has the one parser of that header."""
IndexOf = Callable[[str], str]
"""The signed index of a model, by its name. Raises `CountersignError`."""


def routes(
    log_of: Callable[[], Log],
    verifier: api.Verifier,
    authenticate: Authenticate,
    index_of: IndexOf,
) -> list[Route]:
    """The routes. `log_of` opens the log for each request, so that requests share nothing."""

    def checkpoint(request: Request, body: bytes, account: str) -> Response:
        return PlainTextResponse(log_of().checkpoint())

    def cosigned(request: Request, body: bytes, account: str) -> Response:
        return JSONResponse(api.Cosigned(notes=log_of().cosigned()).model_dump())

    def entries(request: Request, body: bytes, account: str) -> Response:
        limit = _number(request, "limit", api.MAX_ENTRIES)
        return JSONResponse(api.entries(log_of(), _number(request, "start", 0), limit))

    def index(request: Request, body: bytes, account: str) -> Response:
        return PlainTextResponse(index_of(request.query_params.get("model", "")))

    def append(request: Request, body: bytes, account: str) -> Response:
        expected = (
            _number(request, "expected_size") if "expected_size" in request.query_params else None
        )
        receipt = api.append(log_of(), verifier, body, expected, account)
        return JSONResponse(receipt.model_dump())

    return [
        Route("/checkpoint", _guarded(checkpoint, authenticate), methods=["GET"]),
        Route("/cosigned", _guarded(cosigned, authenticate), methods=["GET"]),
        Route("/entries", _guarded(entries, authenticate), methods=["GET"]),
        Route("/index", _guarded(index, authenticate), methods=["GET"]),
        Route("/entries", _guarded(append, authenticate), methods=["POST"]),
    ]


def _guarded(
    answer: Callable[[Request, bytes, str], Response], authenticate: Authenticate
) -> Callable[[Request], Any]:
    """An endpoint that checks the account, reads a body of at most `MAX_ENVELOPE` bytes, and turns
    errors into answers.
    """

    async def endpoint(request: Request) -> Response:
        try:
            header = request.headers.get("authorization", "")
            account = await run_in_threadpool(authenticate, header)
            if account is None:
                found = "the account or its password is missing or not known here"
                return _refusal(CountersignError(found), 401)
            body = await _body(request)
            return await run_in_threadpool(answer, request, body, account)
        except CountersignError as error:
            families = (family for family in api.STATUS if isinstance(error, family))
            status = api.STATUS.get(next(families, CountersignError), 500)
            if status == 500:
                logging.getLogger(__name__).error("%s: %s", type(error).__name__, error)
                error = CountersignError(
                    "the server cannot use its log now", fix="ask who runs the server; try again"
                )
            return _refusal(error, status)

    return endpoint


def _refusal(error: CountersignError, status: int) -> Response:
    fields = {
        "kind": type(error).__name__,
        "error": error.found,
        "expected": error.expected,
        "next": error.fix,
    }
    challenge = {"WWW-Authenticate": 'Basic realm="countersign", charset="UTF-8"'}
    return JSONResponse(fields, status, challenge if status == 401 else None)


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > api.MAX_ENVELOPE:
            raise InputError(
                "the envelope is too large", expected=f"at most {api.MAX_ENVELOPE} bytes"
            )
    return bytes(data)


def _number(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InputError(f"{name} is no number", expected=f"{name}=NUMBER")
    return int(text)
