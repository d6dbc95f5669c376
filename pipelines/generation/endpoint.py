"""Asks a model behind an API that speaks OpenAI's protocol (`POST URL/chat/completions`).

1. What comes back is untrusted: at most `MAX_REPLY` bytes, not compressed, within `Limits.seconds`
   in all however slowly it comes, JSON of the protocol's shape, text with a UTF-8 form.
2. A redirect is an error: it would carry prompts to another place than policy permits.
3. No answer, 429 and 5xx are tried again, a few times, each after a longer pause. Other errors are
   not. A request that is refused for what it holds (`REFUSED`) is answered by that, and kept like a
   reply; an endpoint that refuses every request so is an error, and nothing is kept of that.
4. The key comes from a variable that COUNTERSIGN_ENDPOINT_KEYS names (`NAME=VARIABLE,...`). It
   stands in no file, message or statement. Nor does what the endpoint says of an error: it may
   quote the prompt.
5. Proxies come from the environment alone (`https_proxy`, `no_proxy`), for TLS only; certificates
   are those of the system (SSL_CERT_FILE names others). No other file is read.
6. A reply is kept as it comes; the same request is never sent twice.
7. An error, SIGTERM or Ctrl-C ends all requests that are open.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.requests import EndpointRef
from governance.base.errors import ConfigError, OfflineError, VerificationError
from governance.base.progress import Bar
from governance.log.http_client import is_loopback, parse_json
from pipelines.generation.replies import MAX_REPLY, MAX_TOKENS, Replies, Reply
from pipelines.isolation import ENDPOINT_KEYS, endpoint_keys

if TYPE_CHECKING:
    import httpx

AGAIN = frozenset({408, 429, 500, 502, 503, 504, 529})
"""(3) Status codes of an endpoint that may answer later."""
REFUSED = frozenset({400, 413, 422})
"""(3) Status codes for one request that the endpoint does not take, e.g. for its length."""
REFUSAL = Reply(text="", ended=False, refused=True)
AT_ONCE = 4
"""Requests that are open at a time."""
FORM = "a JSON object with choices[0].message.content"


@dataclass(frozen=True)
class Limits:
    """How long an endpoint is waited for."""

    seconds: float = 180
    """From sending a request to the end of its reply."""
    silence: float = 60
    """Without a byte."""
    attempts: int = 6
    pause: float = 1
    """Seconds before the second attempt; twice as long before each further one."""
    longest_pause: float = 60


class _LaterError(Exception):
    """(3) It may work later. `pause`: the seconds that the endpoint asked for."""

    def __init__(self, why: str, pause: float = 0) -> None:
        super().__init__(why)
        self.pause = pause


@dataclass(frozen=True)
class Endpoint:
    """One endpoint, as policy permits it."""

    ref: EndpointRef
    replies: Replies
    environ: Mapping[str, str] = field(repr=False)
    bar: Bar
    limits: Limits = Limits()

    def ask(self, bodies: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """The replies, in the order of the requests. Raises `OfflineError`, `ConfigError`,
        `VerificationError`, `StorageError`.
        """
        contents = [canonical.dumps({"model": self.ref.model, **body}) for body in bodies]
        replies = {content: self.replies.get(self._name(content)) for content in contents}
        new = [content for content, reply in replies.items() if reply is None]
        self.bar.advance(len(replies) - len(new))
        asked = asyncio.run(self._asked(new)) if new else {}
        self._keep_refusals(asked, are_all=len(asked) == len(replies) > 1)
        return [replies[content] or asked[content] for content in contents]

    def _keep_refusals(self, asked: Mapping[bytes, Reply], *, are_all: bool) -> None:
        """(3) `are_all`: these are the replies to all requests."""
        refused = [content for content, reply in asked.items() if reply.refused]
        if are_all and len(refused) == len(asked):
            raise self._refuses("every request")
        for content in refused:
            self.replies.put(self._name(content), asked[content])

    def _name(self, content: bytes) -> str:
        return sha256_bytes(canonical.dumps([self.ref.url, content.decode()]))

    async def _asked(self, contents: Sequence[bytes]) -> dict[bytes, Reply]:
        """(6), (7) The replies to new requests."""
        replies: dict[bytes, Reply] = {}
        rest = iter(contents)

        async def work(client: httpx.AsyncClient) -> None:
            for content in rest:
                reply = replies[content] = await self._reply(client, content)
                if not reply.refused:
                    self.replies.put(self._name(content), reply)
                self.bar.advance()

        try:
            async with self._client() as client, asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work(client))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return replies

    async def _reply(self, client: httpx.AsyncClient, content: bytes) -> Reply:
        for attempt in range(self.limits.attempts):
            try:
                data = await self._once(client, content)
                return REFUSAL if data is None else self._read(data)
            except _LaterError as error:
                why = str(error)
                pause = max(self.limits.pause * 2**attempt, error.pause)
            if attempt + 1 < self.limits.attempts:
                await asyncio.sleep(min(pause, self.limits.longest_pause))
        found = f"no reply after {self.limits.attempts} attempts: {why}"
        fix = "run this again later; replies that came are kept"
        raise OfflineError(found, where=self._where, fix=fix)

    async def _once(self, client: httpx.AsyncClient, content: bytes) -> bytes | None:
        """(1), (2) The body of an answer; None if the request is refused for what it holds."""
        import httpx

        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.ref.url.rstrip('/')}/chat/completions"
        try:
            async with (
                asyncio.timeout(self.limits.seconds),
                client.stream("POST", url, content=content, headers=headers) as answer,
            ):
                if answer.status_code in REFUSED:
                    return None
                self._require_success(answer)
                return await self._body(answer)
        except TimeoutError:
            raise _LaterError(f"not within {self.limits.seconds:g} s") from None
        except (httpx.TransportError, httpx.StreamError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                fix = "ask who runs it; SSL_CERT_FILE names an authority of your own"
                found = "its certificate does not verify"
                raise VerificationError(found, where=self._where, fix=fix) from None
            raise _LaterError(type(error).__name__) from None
        except httpx.InvalidURL:
            raise ConfigError("not the address of an endpoint", where=self._where) from None

    def _client(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            timeout=httpx.Timeout(self.limits.silence, connect=min(10, self.limits.silence)),
            trust_env=False,
            follow_redirects=False,
            verify=ssl.create_default_context(),
            proxy=self._proxy,
        )

    def _require_success(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status == 200:
            return
        if status in AGAIN:
            raise _LaterError(f"status {status}", _seconds(answer.headers.get("retry-after")))
        if answer.is_redirect:
            found = f"it redirects elsewhere (status {status})"
            fix = "policies/policy.yaml: endpoints: the address that answers, if it is permitted"
            raise VerificationError(found, where=self._where, fix=fix)
        raise self._refuses(f"the request (status {status})")

    def _refuses(self, what: str) -> ConfigError:
        variable = endpoint_keys(self.environ).get(self.ref.name)
        given = f"the key is in {variable}" if variable else f"{ENDPOINT_KEYS} names no key for it"
        fix = f"check the key, and url and model in policies/policy.yaml ({given})"
        return ConfigError(f"it refuses {what}", where=self._where, fix=fix)

    async def _body(self, answer: httpx.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise self._wrong("compressed", "a reply that is not compressed")
        data = bytearray()
        async for part in answer.aiter_raw():
            data += part
            if len(data) > MAX_REPLY:
                raise self._wrong("too large", f"at most {MAX_REPLY:,} bytes")
        return bytes(data)

    def _read(self, data: bytes) -> Reply:
        """(1)"""
        value = parse_json(data)
        try:
            choice = value["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (TypeError, KeyError, IndexError, AttributeError):
            raise self._wrong("not of the protocol", FORM) from None
        if text is None:
            text = ""  # a refusal, or nothing
        if not isinstance(text, str) or not _is_unicode(text):
            raise self._wrong("not a text", FORM)
        tokens, written = _count(value, "total_tokens"), _count(value, "completion_tokens")
        if tokens is None or (written or 0) > tokens:
            written = None
        return Reply(text=text, ended=reason == "stop", tokens=tokens, written=written)

    def _wrong(self, what: str, expected: str) -> VerificationError:
        fix = "look whether url and model in policies/policy.yaml are right"
        found = f"the reply is {what}"
        return VerificationError(found, where=self._where, expected=expected, fix=fix)

    @property
    def _where(self) -> str:
        return f"endpoint {self.ref.name}"

    def _key(self) -> str:
        """(4)"""
        variable = endpoint_keys(self.environ).get(self.ref.name)
        if variable is None:
            return ""
        key = self.environ.get(variable, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            found = f"the variable {variable} holds no key"
            raise ConfigError(found, where=f"{ENDPOINT_KEYS}: {self.ref.name}", fix="set it")
        return key

    @property
    def _proxy(self) -> str | None:
        """(5)"""
        host = urlsplit(self.ref.url).hostname or ""
        if is_loopback(self.ref.url) or not self.ref.url.startswith("https://"):
            return None
        if urllib.request.proxy_bypass(host):
            return None
        proxy = urllib.request.getproxies_environment().get("https")
        if proxy and not _is_proxy(proxy):
            found, expected = "not the address of a proxy", "http://HOST:PORT"
            raise ConfigError(found, where="https_proxy", expected=expected, fix="set it so")
        return proxy


def _is_proxy(address: str) -> bool:
    """Whether httpx can use it."""
    import httpx

    try:
        proxy = httpx.Proxy(address)
    except (ValueError, httpx.InvalidURL):
        return False
    return proxy.url.scheme in ("http", "https") and bool(proxy.url.host)


def _count(value: Mapping[str, Any], name: str) -> int | None:
    """Tokens as a reply counts them; None where it says nothing that is a count."""
    usage = value.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count <= MAX_TOKENS else None


def _seconds(text: str | None) -> float:
    """The seconds of a Retry-After header; 0 for none, and for a date."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 0


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
