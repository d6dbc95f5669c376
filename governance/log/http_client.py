"""The one HTTP client: asks a governed server, as one account.

1. The password is sent over TLS only, except to this machine. It is never part of an address.
2. A redirect is an error: it could carry the password to another place.
3. Certificates are verified by the system's authorities (SSL_CERT_FILE names others).
4. An answer has at most the bytes that the caller permits, and comes within `SECONDS`.
5. A proxy of the environment (`https_proxy`) carries TLS only, so it sees no password. Without TLS
   there is none: `http_proxy` would read the password on its way to this machine.

The standard library is enough, and it keeps an auditor's installation small.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from governance.base.errors import ConfigError, VerificationError

PURPOSE_HEADER = "Countersign-Purpose"
"""In which a client says what it reads content for."""
PURPOSE = "COUNTERSIGN_PURPOSE"
"""The variable with that purpose, for commands, the loader and this client."""

SECONDS = 60.0
MAX_ERROR = 1 << 16
"""Bytes that are read of an answer that reports an error."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NoAnswerError(Exception):
    """The server could not be asked, or did not answer. Its text says why."""


class CertificateError(VerificationError):
    """The server's certificate does not verify: what answers is somebody else. Exit code 5."""


class StatusError(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, reason: str, body: bytes) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.body = body

    def member(self, name: str) -> str:
        """A text of the answer's JSON object; empty where there is none."""
        value = parse_json(self.body)
        text = value.get(name) if isinstance(value, dict) else None
        return "" if text is None else str(text)


@dataclass(frozen=True)
class Client:
    """A server's address, and who asks."""

    url: str
    account: tuple[str, str] | None = field(default=None, repr=False)
    """Name and password."""
    setting: str = "COUNTERSIGN_LOG"
    """The variable that named the address, for errors."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request."""

    def __post_init__(self) -> None:
        """(1) Raises `ConfigError`."""
        parts = urlsplit(self.url)
        odd = parts.username or parts.password or parts.query or parts.fragment
        if odd or not parts.hostname or not is_server(self.url):
            expected = "https://HOST; other variables name account and password"
            raise ConfigError("not the address of a server", where=self.setting, expected=expected)
        if self.account:
            refuse_unencrypted(self.url, self.setting)

    def ask(self, method: str, path: str, most: int, body: bytes | None = None) -> bytes:
        """The answer. Raises what `open` raises, and `VerificationError` for an answer of more than
        `most` bytes.
        """
        with self.open(method, path, body) as answer:
            data: bytes = answer.read(most + 1)
        if len(data) > most:
            raise VerificationError("the server's answer is too large", where=self.url)
        return data

    @contextmanager
    def open(self, method: str, path: str, data: bytes | None = None) -> Iterator[Any]:
        """The answer as a stream. Raises `NoAnswerError`, `StatusError`, and `VerificationError`
        for a certificate that does not verify.
        """
        import http.client  # these three take as long as a whole small command
        import urllib.error
        import urllib.request

        class NoRedirect(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                """(2) None: the answer is an error."""

        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(  # noqa: S310 - checked on construction
            f"{self.url.rstrip('/')}/{path}", data, headers
        )
        request.method = method
        if self.account:
            token = base64.b64encode(":".join(self.account).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        try:
            is_direct = is_loopback(self.url) or not self.url.startswith("https://")
            proxies = [urllib.request.ProxyHandler({})] if is_direct else []  # (5)
            opener = urllib.request.build_opener(NoRedirect, *proxies)
            with opener.open(request, timeout=SECONDS) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            body = b""
            with error, suppress(OSError, http.client.HTTPException):
                body = error.read(MAX_ERROR)
            raise StatusError(error.code, error.reason, body) from None
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(error, self.url) from None


def is_server(uri: str) -> bool:
    """Whether an address is a server's."""
    return uri.startswith(("http://", "https://"))


def same_origin(one: str, other: str) -> bool:
    """Whether both are addresses of one server: the same scheme, host and port. An account for one
    may then be told to the other.
    """
    try:
        return is_server(one) and is_server(other) and _origin(one) == _origin(other)
    except ValueError:  # a port that is none
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's."""
    return urlsplit(url).hostname in LOOPBACK


def bypass_proxies(environ: MutableMapping[str, str]) -> None:
    """(5) For libraries that read proxies from the environment: none for this machine."""
    names = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    given = [name.strip() for name in names.split(",") if name.strip()]
    environ["no_proxy"] = environ["NO_PROXY"] = ",".join(dict.fromkeys([*given, *LOOPBACK]))


def refuse_unencrypted(url: str, setting: str, *, is_token: bool = False) -> None:
    """(1) Raises `ConfigError` where a password or token would go to another machine without
    TLS.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(url):
        sent = "token" if is_token else "password"
        found = f"the {sent} would be sent unencrypted to {parts.hostname}"
        raise ConfigError(found, where=setting, expected="https://")


def parse_json(data: bytes) -> Any:
    """The value of JSON bytes; None where they are none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _no_answer(error: Exception, url: str) -> NoAnswerError | VerificationError:
    import socket
    import ssl
    from http.client import HTTPException

    reason = getattr(error, "reason", error)
    cause = reason if isinstance(reason, Exception) else error  # an SSLError's reason is a text
    if isinstance(cause, ssl.SSLCertVerificationError):
        found = f"the server's certificate does not verify: {cause.verify_message}"
        fix = "ask who runs the server; SSL_CERT_FILE names an authority of your own"
        return CertificateError(found, where=url, fix=fix)
    reasons: dict[type[Exception], str] = {
        ssl.SSLError: "it does not speak TLS, or broke off",
        socket.gaierror: "its name cannot be resolved",
        ConnectionRefusedError: "nothing listens there",
        TimeoutError: f"no answer within {SECONDS:g} s",
        HTTPException: "what answers is no web server",
        Exception: "no connection",
    }
    why = next(why for family, why in reasons.items() if isinstance(cause, family))
    return NoAnswerError(f"{why} ({type(cause).__name__})")
