"""Replies of endpoints, kept by the digest of their request, so that a second run asks nobody and
gets the same.

1. A file is named after its request's sha256 and holds a reply to it, with a sha256 over both. One
   that is not so is refused: it is neither used nor asked for anew without a word.
2. Replies lie with the state of this machine, for this account only. They may hold what prompts
   held: an erasure removes the folder (docs/generated-data.md).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base.errors import VerificationError
from governance.base.model import Model, Sha256, absent
from governance.base.storage import write_state

FOLDER = "replies"
"""Where replies lie, below the state of the project on this machine."""
MAX_REPLY = 1 << 20
"""Bytes of a reply that are read."""
MAX_TOKENS = 1 << 40
"""More in one reply is no count."""


class Reply(Model):
    """What an endpoint answered."""

    text: str
    ended: bool
    """Whether the model ended it; else it was cut off."""
    refused: bool = False
    """The endpoint does not take this request. There is no text."""
    tokens: int | None = Field(None, ge=0, le=MAX_TOKENS, exclude_if=absent)
    """What the endpoint says that it read and wrote; None where it says nothing."""


class _File(Model):
    """(1)"""

    request: Sha256
    reply: Reply
    sha256: Sha256


class Replies:
    """A folder of replies, and those that were used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: dict[str, str] = {}
        self._tokens: dict[str, int | None] = {}

    def get(self, request: str) -> Reply | None:
        """The reply to a request; None if there is none. Raises `VerificationError` for a file that
        is not as it was written.
        """
        path = self._path(request)
        try:
            with path.open("rb") as stream:
                data = stream.read(4 * MAX_REPLY + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _spoiled(path, type(error).__name__) from None
        try:
            file = _File.model_validate_json(data)
        except ValueError:
            raise _spoiled(path, "it cannot be read") from None
        if file.request != request or file.sha256 != _checksum(request, file.reply):
            raise _spoiled(path, "it has other bytes than were written")
        self._used[request], self._tokens[request] = file.sha256, file.reply.tokens
        return file.reply

    def put(self, request: str, reply: Reply) -> None:
        """Keeps a reply. Raises `StorageError`."""
        checksum = _checksum(request, reply)
        file = _File(request=request, reply=reply, sha256=checksum)
        write_state(self._path(request), file.model_dump_json().encode())
        self._used[request], self._tokens[request] = checksum, reply.tokens

    @property
    def digest(self) -> str | None:
        """sha256 over all requests and replies of this run; None if there was none."""
        if not self._used:
            return None
        return sha256_bytes(canonical.dumps([list(each) for each in sorted(self._used.items())]))

    @property
    def tokens(self) -> int | None:
        """The tokens of all replies of this run; None where there was none, or one without a
        count.
        """
        counts = [each for each in self._tokens.values() if each is not None]
        return sum(counts) if counts and len(counts) == len(self._tokens) else None

    def _path(self, request: str) -> Path:
        return self._folder / request[:2] / f"{request}.json"


def _checksum(request: str, reply: Reply) -> str:
    said = [request, reply.text, reply.ended, reply.refused]
    said += [] if reply.tokens is None else [reply.tokens]
    return sha256_bytes(canonical.dumps(said))


def _spoiled(path: Path, why: str) -> VerificationError:
    found = f"a kept reply of an endpoint is spoiled: {why}"
    fix = "look who changed it; without the file, the endpoint is asked again"
    return VerificationError(found, where=str(path), fix=fix)
