"""Which of the versions that may be served answers a caller.

Today the alias has one holder, and it answers everybody. A rollout gives another function of this
type, which splits callers between versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from governance.proxy.permission import Held

Choose = Callable[[Sequence[Held], Mapping[str, str]], Held]
"""From the versions that may be served, the alias's holder first, and the request's headers (names
in lower case) to the version that answers. It gets at least one version.
"""


def holder(versions: Sequence[Held], headers: Mapping[str, str]) -> Held:
    """The version that holds the alias."""
    return versions[0]
