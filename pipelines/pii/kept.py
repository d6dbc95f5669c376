"""A file that keeps what takes long to prepare for a search, from run to run.

1. It begins with an HMAC under a key that only this project has and that names what the content was
   made for. Content with another HMAC is not read.
2. Losing the file or failing to write it costs only time.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from governance.base.errors import StorageError
from governance.base.storage import write_atomic

HMAC_BYTES = 32


@dataclass(frozen=True)
class KeptFile:
    """The file of one search."""

    path: Path
    key: bytes = field(repr=False)

    def read(self) -> bytes:
        """The content; empty if there is none for this key."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return b""
        code, content = data[:HMAC_BYTES], data[HMAC_BYTES:]
        return content if hmac.compare_digest(code, self._code(content)) else b""

    def write(self, content: bytes) -> None:
        """Replaces the content in one step."""
        with suppress(OSError, StorageError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomic(self.path, self._code(content) + content, mode=0o600)

    def _code(self, content: bytes) -> bytes:
        return hmac.digest(self.key, content, "sha256")
