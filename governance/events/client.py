"""Posts one event to a receiver, with httpx.

1. A success is an answer with a status of 200 to 299. Everything else is tried again later.
2. A redirect is not followed: it could lead an event into another network.
3. TLS, with the system's authorities (SSL_CERT_FILE names others). A proxy of the environment
   (`https_proxy`) carries TLS only; nothing else of the environment is read.
4. Without a proxy, the name is resolved here, the addresses are checked, and the connection goes to
   one that was checked: not to this machine unless the address says so, and not to link-local
   addresses, where clouds answer with credentials. Addresses of the own network are allowed: the
   operator has written the address, nobody else.
5. The whole attempt has a time limit. The body of an answer is not read.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from governance.base.distribution import VERSION, pip_install
from governance.base.errors import ConfigError
from governance.events.receivers import Receiver
from governance.events.signing import headers
from governance.log.http_client import NoAnswerError, is_loopback
from governance.witness.client import within

if TYPE_CHECKING:
    import httpx

SECONDS = 15.0
"""For one attempt: the specification says 15 to 30."""
MAX_PAUSE = 24 * 3600.0
"""Of a Retry-After header."""


@dataclass(frozen=True)
class Answer:
    """What an attempt came to."""

    ok: bool
    why: str = ""
    """Of a failure. It names no address."""
    pause: float = 0.0
    """Seconds that the receiver asks us to wait."""


Post = Callable[[Receiver, str, bytes, datetime], Answer]
"""Posts an event by id and body to a receiver, at a time."""


def post(
    receiver: Receiver, id_: str, body: bytes, at: datetime, seconds: float = SECONDS
) -> Answer:
    """One attempt. Raises `ConfigError` where httpx is not installed."""
    require_httpx()
    signed = headers(id_, int(at.timestamp()), body, receiver.secrets)
    try:
        return within(seconds, lambda: _attempt(receiver, body, signed, seconds))
    except NoAnswerError as error:
        return Answer(False, str(error))


def require_httpx() -> None:
    """Raises `ConfigError` where httpx is not installed."""
    try:
        import httpx  # noqa: F401
    except ImportError:
        found = "sending events needs httpx, which is missing"
        raise ConfigError(found, fix=pip_install("server")) from None


def _attempt(receiver: Receiver, body: bytes, signed: dict[str, str], seconds: float) -> Answer:
    """Raises `NoAnswerError`."""
    import httpx

    try:
        url, proxy = httpx.URL(receiver.url), _proxy(receiver.url)
        with httpx.Client(
            timeout=seconds,
            trust_env=False,
            follow_redirects=False,
            verify=_authorities(),
            proxy=proxy,
        ) as client:
            addresses: list[str | None] = [None] if proxy else _addresses(receiver.url, url)
            return _first_answer(client, url, addresses, body, signed)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        raise NoAnswerError(_reason(error)) from None


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Read once: it takes longer than a whole attempt on this machine."""
    return ssl.create_default_context()


def _first_answer(
    client: httpx.Client,
    url: httpx.URL,
    addresses: list[str | None],
    body: bytes,
    signed: dict[str, str],
) -> Answer:
    """(4) The answer of the first address that can be connected to."""
    import httpx

    for number, address in enumerate(addresses, 1):
        try:
            with client.stream(
                "POST",
                url if address is None else url.copy_with(host=address),
                content=body,
                headers={**_fixed(url), **signed},
                extensions={"sni_hostname": url.host},
            ) as answer:
                return _judged(answer)
        except httpx.ConnectError:
            if number == len(addresses):
                raise
    raise NoAnswerError("its name has no address")


def _fixed(url: httpx.URL) -> dict[str, str]:
    return {
        "Host": url.netloc.decode("ascii"),
        "Content-Type": "application/json",
        "User-Agent": f"countersign/{VERSION}",
        "Accept-Encoding": "identity",
    }


def _judged(answer: httpx.Response) -> Answer:
    """(1)"""
    if answer.is_success:
        return Answer(True)
    what = " (a redirect is not followed)" if answer.is_redirect else ""
    text = answer.headers.get("retry-after", "")
    is_number = text.isascii() and text.isdigit() and len(text) < 9
    pause = min(float(text), MAX_PAUSE) if is_number else 0.0
    return Answer(False, f"status {answer.status_code}{what}", pause)


def _addresses(address: str, url: httpx.URL) -> list[str | None]:
    """(4) The addresses of a host. Raises `NoAnswerError` where one of them is not allowed."""
    port = url.port or {"https": 443, "http": 80}[url.scheme]
    found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for each in addresses:
        if not _is_allowed(each, is_own=is_loopback(address)):
            raise NoAnswerError("its name leads to this machine or to a link-local address")
    return [*addresses]


def _is_allowed(text: str, *, is_own: bool) -> bool:
    """`is_own`: the configured address is this machine's."""
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if is_own:
        return address.is_loopback
    odd = address.is_link_local or address.is_multicast or address.is_unspecified
    return not (odd or address.is_loopback or address.is_reserved)


def _proxy(url: str) -> str | None:
    """(3) Raises `ValueError`."""
    if is_loopback(url) or not url.startswith("https://"):
        return None
    if urllib.request.proxy_bypass(urlsplit(url).hostname or ""):
        return None
    return urllib.request.getproxies_environment().get("https")


def _reason(error: Exception) -> str:
    """A failure in words. What httpx says is left out: it may quote the address."""
    import httpx

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate does not verify"
    reasons: dict[type[Exception], str] = {
        httpx.TimeoutException: "it does not answer in time",
        httpx.ConnectError: "it cannot be connected to",
        socket.gaierror: "its name cannot be resolved",
        httpx.RemoteProtocolError: "what answers is no web server, or it broke off",
        Exception: "no connection",
    }
    why = next(why for family, why in reasons.items() if isinstance(error, family))
    return f"{why} ({type(error).__name__})"
