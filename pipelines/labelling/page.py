"""A local page that shows two answers side by side: blind, in random order, usable by keyboard.

1. It listens on this machine only, for requests that name this machine (a page of another site
   cannot reach it by a name of its own) and that have the token of this start.
2. Which answer stands on the left is drawn for each rater and item with the project's record key.
3. A vote is appended to `votes-RATER.jsonl` and on disk before the page goes on. A rater who comes
   back goes on where they ended; `back` shows the last item again, and the last vote counts.
4. The rater's name is not kept: the file has a pseudonym under the record key.
5. The time of a vote is from the moment when the page got the item.
"""

from __future__ import annotations

import html
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.errors import InputError, StorageError
from governance.base.storage import disk_failure
from pipelines.labelling.tasks import Choice, Folder, Task, coin
from pipelines.labelling.votes import PageVote, read
from pipelines.record_ids import Key

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = Path(__file__).with_name("page.html")
LOCAL = "127.0.0.1"
OTHER: dict[Choice, Choice] = {"left": "right", "right": "left", "tie": "tie"}
MAX_BODY = 10_000
"""Bytes of a request."""


@dataclass
class Desk:
    """What one rater has done, and does next."""

    folder: Folder
    path: Path
    rater: str
    """The pseudonym."""
    key: Key
    clock: Callable[[], datetime]
    place: int = 0
    """The task that is shown."""
    since: datetime | None = None
    """When it was shown."""

    def shown(self) -> dict[str, Any]:
        """The task that comes next; without texts where all are done."""
        tasks = self.folder.tasks
        counted = {"done": min(self.place, len(tasks)), "of": len(tasks)}
        if self.place >= len(tasks):
            return {**counted, "item": None}
        task = tasks[self.place]
        self.since = self.clock()
        left, right = (task.right, task.left) if self.swapped(task) else (task.left, task.right)
        texts = {"prompt": task.prompt, "left": left, "right": right}
        return {**counted, "item": task.item, **texts}

    def vote(self, item: str, choice: Choice) -> None:
        """(3) Keeps a vote. Raises `InputError` for an item that is not shown."""
        if self.place >= len(self.folder.tasks) or self.since is None:
            raise InputError("no item is shown", expected="an item")
        task = self.folder.tasks[self.place]
        if item != task.item:
            raise InputError("another item is shown", fix="load the page again")
        swapped, now = self.swapped(task), self.clock()
        kept = PageVote(
            item=item,
            rater=self.rater,
            choice=OTHER[choice] if swapped else choice,
            shown_first="right" if swapped else "left",
            seconds=round((now - self.since).total_seconds(), 3),
            at=now,
        )
        _append(self.path, kept)
        self.place += 1

    def back(self) -> None:
        """Shows the last item again."""
        self.place = max(0, self.place - 1)

    def swapped(self, task: Task) -> bool:
        """(2) Whether the task's right answer stands on the left for this rater."""
        return coin(self.key, f"{self.rater} sees {task.item}")


def opened(folder: Folder, at: Path, rater: str, key: Key, clock: Callable[[], datetime]) -> Desk:
    """(3) The desk of a rater, at the first task without a vote of theirs. Raises `InputError` for
    a file of votes that cannot be read.
    """
    name = key.rater_name(rater)
    path = at / f"votes-{name}.jsonl"
    voted = set[str]()
    if path.exists():
        _repair(path)
        voted = {vote.item for vote in read(path, folder, key).votes}
    items = [task.item for task in folder.tasks]
    place = next((at for at, item in enumerate(items) if item not in voted), len(items))
    return Desk(folder, path, name, key, clock, place)


def _repair(path: Path) -> None:
    """Takes away a line that a killed process did not end: that vote was not yet confirmed."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))


def _append(path: Path, vote: PageVote) -> None:
    line = json.dumps(vote.model_dump(mode="json"), sort_keys=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_failure(error) or StorageError(str(error), where=str(path)) from None


# --- the application ------------------------------------------------------------------------------


def application(desk: Desk, token: str, guideline: str = "") -> Starlette:
    """The page, and what it asks for: the next task, a vote, the last task again. `token` must be
    in the address of the page, and in a header of the other requests.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    def allowed(given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), token.encode())

    async def page(request: Request) -> Response:
        if not allowed(request.query_params.get("token")):
            return JSONResponse({"error": "open the address that the command printed"}, 403)
        nonce = secrets.token_urlsafe(16)
        text = PAGE.read_text(encoding="utf-8").replace("NONCE", nonce)
        text = text.replace("GUIDELINE", html.escape(guideline))
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}';"
            " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(text, headers=headers)

    async def act(request: Request) -> Response:
        if not allowed(request.headers.get("x-token")):
            return JSONResponse({"error": "wrong token"}, 403)
        try:
            if request.method == "POST":
                _apply(desk, await _body(request))
            return JSONResponse(desk.shown(), headers={"Cache-Control": "no-store"})
        except InputError as error:
            return JSONResponse({"error": str(error)}, 409)

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[LOCAL, "localhost"])
    routes = [Route("/", page), Route("/vote", act, methods=["GET", "POST"])]
    return Starlette(routes=routes, middleware=[hosts])


async def _body(request: Request) -> Any:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY:
            raise InputError("the request is too long")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None


def _apply(desk: Desk, body: Any) -> None:
    if body == {"back": True}:
        return desk.back()
    if isinstance(body, dict) and body.keys() == {"item", "choice"}:
        item, choice = body["item"], body["choice"]
        if isinstance(item, str) and isinstance(choice, str) and choice in OTHER:
            return desk.vote(item, choice)
    raise InputError("not a vote", expected="item, and choice: left, right or tie")
