"""Which of the versions that may be served answers a caller, and who the caller is.

1. Without a rollout, and during a shadow rollout, the holder of the alias answers everybody. With a
   live one, a keyed hash of the caller decides (`governance.rollout.split`), so that a conversation
   stays on one side. In a shadow rollout, the same hash decides whose requests are copied.
2. The caller is the first of these that a request has: the text `user` in its body, as OpenAI's API
   defines it; its `Authorization` header; the address of its connection. The first one is the
   finest: an application that serves many people has one key and one address for all of them.
3. Only a hash of the caller leaves this module, and nothing of it is kept or shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from governance.proxy.permission import Canary, Held, Verdict
from governance.rollout.split import Split, arm_of


@dataclass(frozen=True)
class Caller:
    """Who asks. The body is read only where a rollout has to know."""

    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Names in lower case."""
    body: bytes = field(repr=False, default=b"")
    address: str = field(repr=False, default="")

    @cached_property
    def name(self) -> str:
        """(2), (3) A hash, which is the same in each request of this caller."""
        user = _user(self.body)
        key = self.headers.get("authorization", "")
        said = ("user", user) if user else ("key", key) if key else ("address", self.address)
        return sha256("\0".join(said).encode(errors="surrogatepass")).hexdigest()


def chosen(now: Verdict, caller: Caller, key: bytes) -> Held:
    """(1) The version that answers a caller, of those that are allowed; at least one is. `key`: the
    secret of the split.
    """
    canary = now.canary
    if canary is None or canary.shadow:
        return now.allowed[0]
    return canary.held if _is_new(canary, caller, key) else now.allowed[0]


def is_copied(canary: Canary, caller: Caller, key: bytes) -> bool:
    """(1) Whether a caller's requests are copied to the new version."""
    return canary.shadow and _is_new(canary, caller, key)


def _is_new(canary: Canary, caller: Caller, key: bytes) -> bool:
    split = Split(canary.rollout, canary.weight, shadow=canary.shadow, key=key)
    return arm_of(caller.name, split) == "new"


def _user(body: bytes) -> str:
    """The text `user` of a request; empty where it has none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    user = said.get("user") if isinstance(said, dict) else None
    return user if isinstance(user, str) else ""
