"""An inference server for tests: it speaks as much of OpenAI's API as the proxy passes on, and its
answers say the digest of the folder that it was started on.

    python -m tests.governance.proxy.scripted FOLDER PORT

A request's `delay` (seconds) is waited before the answer, and between two parts of a stream. `more`
is added to the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from governance.attest.digests import tree_digest

PARTS = 5


def application(digest: str) -> Starlette:
    """A server that says it has the model of this digest."""

    async def chat(request: Request) -> Response:
        asked: dict[str, Any] = json.loads(await request.body())
        delay = float(asked.get("delay", 0))
        seen = {name: value for name, value in request.headers.items() if name.startswith("x-")}
        if asked.get("stream"):
            return StreamingResponse(_parts(delay, digest), media_type="text/event-stream")
        await asyncio.sleep(delay)
        if asked.get("end"):
            os._exit(3)
        message = {"role": "assistant", "content": digest}
        body = {"model": asked.get("model"), "choices": [{"message": message}], "seen": seen}
        body |= asked.get("more", {})
        # what a hostile server would say of itself
        return JSONResponse(body, asked.get("status", 200), {"x-countersign-digest": "f" * 64})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": digest, "object": "model"}]})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/load_lora_adapter", health, methods=["POST"]),
            Route("/health", health),
        ]
    )


async def _parts(delay: float, digest: str) -> AsyncIterator[bytes]:
    for part in range(PARTS):
        await asyncio.sleep(delay)
        yield f"data: {json.dumps({'part': part, 'digest': digest})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def main(folder: str, port: str) -> None:
    """Listens until it is ended."""
    found = application(tree_digest(Path(folder)))
    uvicorn.run(found, host="127.0.0.1", port=int(port), log_level="critical")


if __name__ == "__main__":
    main(*sys.argv[1:])
