"""Which version a caller gets during a rollout.

1. A keyed hash of the caller gives a point that never changes during a rollout. The caller gets
   the new version if the point is below the share. So a conversation stays on one side, a widening
   moves callers to the new version only, and a narrowing moves them back only.
2. The key is a secret of the service: nobody outside can choose a side. The rollout is hashed, too,
   so that each rollout has other callers in its first share.
3. Nothing of the caller is kept or shown.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal

from governance.attest.predicates.rollouts import WHOLE
from governance.history.rollouts import Rollout

Side = Literal["old", "new"]
_BITS = 64


@dataclass(frozen=True)
class Split:
    """How the callers of one rollout are divided at a moment."""

    rollout: str
    """The statement of its request."""
    weight: int
    """The share of the new version, in hundredths of a percent."""
    shadow: bool
    """Whether the new version only gets copies: then everybody gets the old version's answer."""
    key: bytes = field(repr=False)


def split_of(rollout: Rollout, key: bytes, at: datetime) -> Split:
    """The split of a rollout at a time. Once it is over, everybody is on the old side."""
    is_shadow = rollout.asked.mode == "shadow"
    return Split(rollout.request.digest, rollout.weight(at), is_shadow, key)


def arm_of(caller: str, rollout: Split) -> Side:
    """(1) The side of a caller; in a shadow rollout, `new` means that the request is copied."""
    return "new" if point_of(caller, rollout) * WHOLE < rollout.weight << _BITS else "old"


def point_of(caller: str, rollout: Split) -> int:
    """The caller's point, from 0 to 2^64 - 1."""
    said = f"{rollout.rollout}\0{caller}".encode(errors="surrogatepass")
    return int.from_bytes(hmac.digest(rollout.key, said, sha256)[: _BITS // 8], "big")
