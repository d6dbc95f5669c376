"""The secret by which rollouts split callers (`governance.rollout.split`), in a file."""

from __future__ import annotations

import secrets
from pathlib import Path

from governance.base.errors import ConfigError, StorageError
from governance.base.storage import write_state

FILE = "rollout.key"
"""In the state folder."""
LENGTH = 32


def kept(state: Path) -> bytes:
    """The secret by which rollouts split callers, made at first use. It outlives the process, so a
    caller stays on one side. An account that only serves may have no right to write there: then it
    is new in each process. Raises `ConfigError`.
    """
    path, new = state / FILE, secrets.token_bytes(LENGTH)
    try:
        if not path.exists():
            write_state(path, new)
        found = path.read_bytes()
    except (OSError, StorageError):
        return new
    if len(found) != LENGTH:
        expected, fix = f"{LENGTH} bytes", "copy that of another proxy, or remove it"
        raise ConfigError(f"{FILE} has {len(found)} bytes", expected=expected, fix=fix)
    return found
