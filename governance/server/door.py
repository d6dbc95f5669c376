"""Checks every request before anything else reads it.

1. A header that is read here stands once (`ONCE`). With two, this check and a route could each use
   another one.
2. The length of a body is declared and at most `MAX_BODY`, because MLflow reads a whole body before
   it asks for an account. Files are streamed to the artifact store and may have any length.
3. A body is not compressed, because a compressed body can unpack to any length.
4. A page of another site calls no route: neither by a script, which sends `Origin`, nor by an image
   or a link, which modern browsers mark (`Sec-Fetch-Site`, https://www.w3.org/TR/fetch-metadata/).
   A browser would add the password that it remembers. A link may open the start page. A command
   line sends neither header.
5. Headers are ASCII: MLflow fails on others.
6. The account is parsed and its password is checked here, for all routes (`accounts`). Routes see
   the account in one form, or none. After too many wrong passwords, and while too many checks wait,
   the answer is 429 (`passwords`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from governance.log.http_client import PURPOSE_HEADER
from governance.server import accounts
from governance.server.context import account, purpose
from governance.server.passwords import WINDOW, Answer, PasswordChecks

FILES = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")
"""Uploads below these paths are streamed, after the account was checked."""
MAX_BODY = 16 << 20
"""Bytes of any other body; the largest that MLflow takes is an upload from its pages, of 10 MB."""
AUTHORIZATION = b"authorization"
PURPOSE = PURPOSE_HEADER.lower().encode()
ONCE = (
    *(AUTHORIZATION, PURPOSE, b"content-encoding", b"content-length", b"content-type", b"host"),
    *(b"sec-fetch-mode", b"sec-fetch-site", b"transfer-encoding"),
)
"""(1) An `Origin` may be repeated: each one is checked."""
OTHER_ACCOUNTS = (b"x-mlflow-authorization",)
"""Headers that MLflow reads instead, on routes that a governed server leaves out."""

Header = tuple[bytes, bytes]


class Door:
    """The outermost part of the application. See the module's docstring."""

    def __init__(
        self, app: Any, origins: Collection[str], checks: PasswordChecks | None = None
    ) -> None:
        """`origins`: the sites whose pages may call the server, beside its own. `checks`: of
        MLflow's accounts by default.
        """
        self.app = app
        self.origins = frozenset(origins)
        self.checks = checks or PasswordChecks(accounts.is_known, accounts.is_remembered)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(name.lower(), value) for name, value in scope["headers"]]
            refused = _refusal(scope, headers, self.origins)
            if refused is not None:
                await refused(scope, receive, send)
                return
            checked = await self._with_checked_account(scope, headers)
            if checked is None:
                await _later()(scope, receive, send)
                return
            purpose.set(dict(headers).get(PURPOSE, b"").decode("ascii"))
            scope = {**scope, "headers": checked}
        await self.app(scope, receive, send)

    async def _with_checked_account(self, scope: Any, headers: list[Header]) -> list[Header] | None:
        """(6) The headers with the account in one form; without one where it is not known here;
        None where it cannot be checked now.
        """
        account.set(None)
        dropped = (AUTHORIZATION, *OTHER_ACCOUNTS)
        others = [(name, value) for name, value in headers if name not in dropped]
        header = dict(headers).get(AUTHORIZATION, b"").decode("latin-1")
        claimed = accounts.parse(header)
        if claimed is None:
            return others
        address = (scope.get("client") or ("",))[0]
        answer = await self.checks.answer(*claimed, address)
        if answer is Answer.LATER:
            return None
        if answer is Answer.WRONG:
            return others
        account.set(claimed[0])
        return [*others, (AUTHORIZATION, accounts.written(claimed).encode("ascii"))]


def _later() -> Any:
    """(6) The answer where a password cannot be checked now."""
    from starlette.responses import JSONResponse

    message = (
        "Countersign refuses: too many wrong passwords from this address, or too many checks of"
        " passwords at once; wait a minute"
    )
    body = {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": message}
    return JSONResponse(body, 429, {"retry-after": f"{WINDOW:.0f}"})


def _refusal(scope: Any, headers: list[Header], origins: Collection[str]) -> Any:
    """The answer to a request that is refused; None for others."""
    from starlette.responses import JSONResponse

    fields = dict(headers)
    names = [name for name, _ in headers]
    repeated = b", ".join(name for name in ONCE if names.count(name) > 1).decode()
    streams = scope["method"] == "PUT" and scope["path"].startswith(FILES)
    encoding = fields.get(b"content-encoding", b"identity").lower()
    length = fields.get(b"content-length", b"0")
    is_short = length.isdigit() and len(length) < 16 and int(length) <= MAX_BODY
    faults = {
        "a header that is not ASCII": (400, not all(value.isascii() for _, value in headers)),
        f"more than one header of a kind: {repeated}": (400, bool(repeated)),
        "a body without a declared length": (411, b"transfer-encoding" in fields and not streams),
        f"a body of more than {MAX_BODY} bytes": (413, not streams and not is_short),
        "a compressed body": (415, encoding != b"identity"),
        "a request by a page of another site": (403, _is_cross_site(scope, headers, origins)),
    }
    for fault, (status, is_faulty) in faults.items():
        if is_faulty:
            message = f"Countersign refuses: {fault}"
            return JSONResponse(
                {"error_code": "BAD_REQUEST", "message": message}, status, {"connection": "close"}
            )
    return None


def _is_cross_site(scope: Any, headers: list[Header], origins: Collection[str]) -> bool:
    """(4) The server's own pages are those of the Host header, which MLflow checks afterwards."""
    fields = {name: value.decode("latin-1") for name, value in headers}
    host = fields.get(b"host", "").lower()
    named = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
    is_own = all(name in origins or _is_origin_of(name, host) for name in named)
    opens_start_page = (
        scope["method"] == "GET"
        and scope["path"] == "/"
        and fields.get(b"sec-fetch-mode") == "navigate"
    )
    # a script of an allowed site is marked as of another site, and is known by its origin
    is_marked = not named and fields.get(b"sec-fetch-site") in ("cross-site", "same-site")
    return not is_own or (is_marked and not opens_start_page)


def _is_origin_of(origin: str, host: str) -> bool:
    return origin in (f"http://{host}", f"https://{host}")
