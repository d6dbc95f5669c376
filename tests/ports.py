"""Ports for the tests' own servers."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import count

_NUMBERS = count(os.getpid())


def free_port() -> int:
    """One that nobody else takes before the server does.

    It is below those that the kernel gives to whoever listens or connects, and each of pytest's
    workers has a part.
    """
    part = 10_000 + 2_000 * (
        int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    )
    for number in _NUMBERS:
        port = part + number % 2_000
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError
