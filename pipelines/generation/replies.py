"""Replies of endpoints, kept by the digest of their request, so that a second run asks nobody and
gets the same.

1. A file is named after its request's sha256 and holds a reply to it, with a sha256 over both. One
   that is not so is refused: it is neither used nor asked for anew without a word.
2. Replies lie with the state of this machine, for this account only. They may hold what prompts
   held: an erasure removes the folder (docs/generated-data.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import JudgingCost
from governance.base.errors import VerificationError
from governance.base.model import Model, Sha256, absent
from governance.base.storage import write_state
from governance.policy.rules import EndpointPrice

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
    written: int | None = Field(None, ge=0, le=MAX_TOKENS, exclude_if=absent)
    """How many of them it wrote; None where it does not say it, and in older replies."""


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
        self._replies: dict[str, Reply] = {}

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
        self._used[request], self._replies[request] = file.sha256, file.reply
        return file.reply

    def put(self, request: str, reply: Reply) -> None:
        """Keeps a reply. Raises `StorageError`."""
        checksum = _checksum(request, reply)
        file = _File(request=request, reply=reply, sha256=checksum)
        write_state(self._path(request), file.model_dump_json().encode())
        self._used[request], self._replies[request] = checksum, reply

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
        return _sum(reply.tokens for reply in self._replies.values())

    def cost(self, price: EndpointPrice | None) -> JudgingCost | None:
        """What the replies of this run took; None where there was none."""
        if not self._replies:
            return None
        tokens, written = self.tokens, _sum(reply.written for reply in self._replies.values())
        requests = len(self._replies)
        if price is None or tokens is None or written is None:
            return JudgingCost(requests=requests, tokens=tokens, written=written)
        # a price of a million tokens is that of one in millionths
        millionths = round((tokens - written) * price.input + written * price.output)
        return JudgingCost(
            requests=requests,
            tokens=tokens,
            written=written,
            currency=price.currency,
            millionths=millionths,
        )

    def _path(self, request: str) -> Path:
        return self._folder / request[:2] / f"{request}.json"


def _sum(counts: Iterable[int | None]) -> int | None:
    """None where one of them is, and where there are none."""
    known = [*counts]
    total = sum(each for each in known if each is not None)
    return total if known and None not in known else None


def _checksum(request: str, reply: Reply) -> str:
    said = [request, reply.text, reply.ended, reply.refused]
    said += [] if reply.tokens is None else [reply.tokens]
    said += [] if reply.written is None else [reply.written]
    return sha256_bytes(canonical.dumps(said))


def _spoiled(path: Path, why: str) -> VerificationError:
    found = f"a kept reply of an endpoint is spoiled: {why}"
    fix = "look who changed it; without the file, the endpoint is asked again"
    return VerificationError(found, where=str(path), fix=fix)
