"""The server of a version: started here on a private copy, or run by somebody else.

1. A server of this process runs on a private copy, which is compared with the registration. The
   copy goes away with the server. Where policy says who may read the model, each copy is a recorded
   read.
2. A server that somebody else runs (`Declared`) was not verified by this process: its answers say
   `declared`. It is used for one version only.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx

from governance.base.errors import ConfigError, ConflictError
from governance.history.state import LogState, state
from governance.log.http_client import is_loopback
from governance.machine.machine import Machine, read_log
from governance.proxy import servers
from governance.proxy.canary import Moment
from governance.proxy.connections import authorities
from governance.proxy.facts import said_of
from governance.proxy.fleet import Running
from governance.proxy.permission import Held
from governance.proxy.servers import Server
from governance.release.serving import Served, private_copy, resolve, where

Admit = Callable[[LogState, Served], None]
"""Records that a version's files are read. Raises `RefusedError` where that is not permitted."""
READY = ("/health", "/v1/models")
"""Where servers say that they are ready; the second where the first is not there."""
READY_SECONDS = 5.0


# -- Servers of this process -----------------------------------------------------------------------
@dataclass
class Own:
    """A server that this process started on a private copy (1)."""

    process: servers.Process
    copy: ExitStack
    verified: bool = True

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.process.url

    async def is_ready(self) -> bool:
        """Whether it answers requests."""
        return await _answers(self.url, strict=True)

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self.process.ended is not None

    async def stop(self) -> None:
        """Ends it and removes its copy."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """The same, at once."""
        with self.copy:
            self.process.stop()


@dataclass
class Launcher:
    """Starts servers on private copies."""

    machine: Machine
    alias: str
    server: Server
    environ: Mapping[str, str]
    admit: Admit
    clock: Callable[[], datetime]
    scratch: Path | None = None

    async def start(self, held: Held) -> Running:
        """(1) Raises `CountersignError`."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._open, held))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(Exception):  # nobody waits for it any more
                await (await opening).stop()
            raise

    def _open(self, held: Held) -> Running:
        now = state(read_log(self.machine))
        served = self._served(now, held)
        self.admit(now, served)
        with ExitStack() as copy:
            folder = copy.enter_context(
                private_copy(served, where(self.machine, served), self.scratch)
            )
            process = servers.start(self.server, held.model, folder, self.environ)
            return Own(process, copy.pop_all())

    def _served(self, now: LogState, held: Held) -> Served:
        """The registration of the bytes that may be served: of the holder, or of the new version of
        a rollout. Raises `ConflictError` where the log says something else by now.
        """
        served = resolve(now, f"{held.model}@{self.alias}")
        if served.registration.model_digest == held.digest:
            return served
        said = said_of(now, held.model, self.alias, Moment(self.clock(), 0.0))
        canary = said.canary.held if said.canary else None
        if canary is None or canary.against or canary.digest != held.digest:
            raise ConflictError(f"{held.model}@{self.alias} moved; {held.name} is not started")
        return resolve(now, canary.name)


# -- Servers of others -----------------------------------------------------------------------------
@dataclass
class Declared:
    """A server that somebody else runs (2)."""

    url: str
    verified: bool = False

    async def is_ready(self) -> bool:
        """Whether it answers."""
        return await _answers(self.url, strict=False)

    def has_ended(self) -> bool:
        """It is not ours to end."""
        return False

    async def stop(self) -> None:
        """Nothing."""


@dataclass
class Directory:
    """Servers of others, by version."""

    urls: Mapping[str, str]
    first: str = ""
    """The version that held the alias at the start: that of an address without a version."""

    async def start(self, held: Held) -> Running:
        """Raises `ConfigError` where nobody named a server for the version."""
        url = self.urls.get(held.version)
        if url is None and held.version == self.first:
            url = self.urls.get("")
        if url is None:
            found = f"no --backend is named for version {held.version}"
            raise ConfigError(found, fix=f"--backend {held.version}=URL")
        return Declared(url)


def backends(given: tuple[str, ...]) -> dict[str, str]:
    """The addresses of `--backend`, by version; empty: of the version at the start. Raises
    `ConfigError`.
    """
    found: dict[str, str] = {}
    for text in given:
        match = re.fullmatch(r"(?:([1-9][0-9]{0,8})=)?(https?://[^\s=]+)", text)
        url = match[2].rstrip("/").removesuffix("/v1") if match else ""
        if match is None or not _is_safe(url):
            expected = "[VERSION=]https://HOST, or http:// on this machine, without an account"
            raise ConfigError(f"{text[:120]!r} is no backend", where="--backend", expected=expected)
        if (match[1] or "") in found:
            raise ConfigError(f"two backends for version {match[1] or 'at the start'}")
        found[match[1] or ""] = url
    return found


def _is_safe(url: str) -> bool:
    """Whether what callers send, their tokens included, is sent encrypted or stays here."""
    return "@" not in url and (url.startswith("https://") or is_loopback(url))


async def _answers(url: str, *, strict: bool) -> bool:
    """Whether a server is ready. Not `strict`: whether anything but an error of its own comes."""
    timeout = httpx.Timeout(READY_SECONDS)
    try:
        async with httpx.AsyncClient(
            timeout=timeout, trust_env=False, verify=authorities()
        ) as client:
            for path in READY if strict else READY[1:]:
                status = (await client.get(f"{url}{path}")).status_code
                if status != 404:
                    return status == 200 if strict else status < 500
    except httpx.HTTPError:
        return False
    return not strict
