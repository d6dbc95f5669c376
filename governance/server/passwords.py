"""Bounds what checks of passwords cost: one takes 0.15 CPU-seconds, and anybody can ask for it.

1. At most `CHECKS` run at once. Others wait in a queue of bounded length, outside the threads that
   answer requests. Equal requests share one check.
2. Wrong passwords are counted by account name with address, and by address. Beyond the limit there
   is no check for `WINDOW`, and the answer says so. Nobody is locked out from another address.
3. A password that was right within `KNOWN` passes the limits and has a queue of its own, so that a
   stranger, at the same address too, delays no owner. It is checked all the same.
4. A password that was right a moment ago is not computed again (`is_remembered`). Only keyed hashes
   are kept, in memory, under a key of this process.
5. All this depends on the name that is claimed, never on whether such an account exists.

Each worker counts for itself. Requests from many addresses are for a proxy to limit.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock
from typing import NamedTuple

CHECKS = max(1, (os.cpu_count() or 1) // 4)
"""Checks that run at once, in each of the two queues: a fraction of the machine."""
MOST_WAITING = 32
"""Checks of strangers that wait, from any address."""
WINDOW = 60.0
"""Seconds in which wrong passwords are counted, and for which there is no further check."""
WRONG_FOR_ACCOUNT = 5
"""Wrong passwords for one account name from one address, within `WINDOW`."""
WRONG_FROM_ADDRESS = 10
"""Wrong passwords from one address, whatever the names, within `WINDOW`."""
KNOWN = 3600.0
"""Seconds for which a keyed hash of a right password is kept."""
MOST_KEPT = 4096
"""Entries of each table; the oldest are dropped."""


class Answer(Enum):
    """What is known of an account and a password."""

    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"
    """Not checked: too many were wrong, or too many wait."""


@dataclass
class _Failures:
    """When wrong passwords were sent, by who sent them."""

    now: Callable[[], float]
    _times: OrderedDict[Hashable, deque[float]] = field(default_factory=OrderedDict)

    def count(self, key: Hashable) -> int:
        """How many within `WINDOW`."""
        times = self._times.get(key, deque())
        while times and self.now() - times[0] >= WINDOW:
            times.popleft()
        return len(times)

    def add(self, key: Hashable) -> None:
        """One more."""
        self._times.setdefault(key, deque(maxlen=WRONG_FROM_ADDRESS)).append(self.now())
        self._times.move_to_end(key)
        while len(self._times) > MOST_KEPT:
            self._times.popitem(last=False)


class _Claim(NamedTuple):
    """An account and a password, as somebody claims them."""

    digest: bytes
    """Of both, keyed."""
    name: bytes
    """Its keyed digest: a name may be as long as a header."""
    place: str


class PasswordChecks:
    """The checks of one process. See the module's docstring."""

    def __init__(
        self,
        is_right: Callable[[str, str], bool],
        is_remembered: Callable[[str, str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_right` computes, `is_remembered` does not."""
        self._is_right, self._is_remembered, self._now = is_right, is_remembered, now
        self._key = secrets.token_bytes(32)
        self._lock = Lock()
        self._failures = _Failures(now)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[_Claim, Future[bool]] = {}
        self._threads = {
            is_known: ThreadPoolExecutor(CHECKS, thread_name_prefix="password")
            for is_known in (True, False)
        }

    async def answer(self, name: str, password: str, address: str) -> Answer:
        """Whether the password is the account's. `address`: the client's."""
        if self._is_remembered(name, password):  # (4)
            return Answer.RIGHT
        check = self._begun(name, password, place_of(address))
        if check is None:
            return Answer.LATER
        is_right = await asyncio.shield(asyncio.wrap_future(check))
        return Answer.RIGHT if is_right else Answer.WRONG

    def _begun(self, name: str, password: str, place: str) -> Future[bool] | None:
        """The check of this password, which may be waiting already; None where there is none."""
        claim = _Claim(self._keyed(name, password), self._keyed(name), place)
        with self._lock:
            running = self._running.get(claim)
            if running is not None:  # (1)
                return running
            is_known = self._was_right(claim)
            if not is_known and self._is_beyond(claim):  # (2), (3)
                return None
            check = self._threads[is_known].submit(self._is_right, name, password)
            self._running[claim] = check
        check.add_done_callback(lambda done: self._ended(claim, done))
        return check

    def _is_beyond(self, claim: _Claim) -> bool:
        """Strangers that wait count as wrong until they are not."""
        strangers = [waiting for waiting in self._running if not self._was_right(waiting)]
        here = [waiting for waiting in strangers if waiting.place == claim.place]
        same = [waiting for waiting in here if waiting.name == claim.name]
        return (
            len(strangers) >= MOST_WAITING
            or len(same) + self._failures.count((claim.name, claim.place)) >= WRONG_FOR_ACCOUNT
            or len(here) + self._failures.count(claim.place) >= WRONG_FROM_ADDRESS
        )

    def _was_right(self, claim: _Claim) -> bool:
        """(3)"""
        return self._now() - self._known.get(claim.digest, -KNOWN) < KNOWN

    def _ended(self, claim: _Claim, check: Future[bool]) -> None:
        with self._lock:
            del self._running[claim]
            if check.exception() is not None:  # nothing is known of the password
                return
            self._known.pop(claim.digest, None)
            if check.result():
                self._known[claim.digest] = self._now()
                while len(self._known) > MOST_KEPT:
                    self._known.popitem(last=False)
            else:
                self._failures.add((claim.name, claim.place))
                self._failures.add(claim.place)

    def _keyed(self, *texts: str) -> bytes:
        claimed = "\0".join(texts).encode(errors="surrogatepass")
        return hmac.digest(self._key, claimed, "sha256")


def place_of(address: str) -> str:
    """What counts as one address. Of IPv6 it is the network of 64 bits, which one client has."""
    try:
        host = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    if host.ipv4_mapped is not None:
        return str(host.ipv4_mapped)
    network = ipaddress.ip_network((host, 64), strict=False)
    return str(network.network_address)
