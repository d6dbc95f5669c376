"""Two copies of one log: do they agree, or has somebody two histories?

The other copy is a governed server, a witness, or a checkpoint in a file. Only checkpoints and
proofs are compared. The trees decide: this log must contain the other checkpoint, or the other log
this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.attest.keys import public_key
from governance.base.errors import ConfigError, OfflineError, StorageError, VerificationError
from governance.history.witnesses import contains
from governance.log import http_client
from governance.log.http_client import NoAnswerError, StatusError
from governance.log.mirror import MirrorLog
from governance.log.notes import (
    LOG_KEY,
    MAX_BYTES,
    Note,
    VerifierKey,
    is_signed_by_log,
    parse_note,
)
from governance.log.port import Log
from governance.witness.service import origin_digest

WHERE = "--against"
ATTEMPTS = 3


@dataclass(frozen=True)
class Comparison:
    """The result. Both notes are signed by the log's key, so they prove a fork to anyone."""

    other: str
    """Where the other checkpoint is from."""
    size: int
    """Entries here."""
    other_size: int
    agrees: bool
    shown: str
    """What was compared."""
    note: str
    other_note: str


def compare(
    log: Log, keys: Sequence[tuple[int, str]], address: str, account: tuple[str, str] | None
) -> Comparison:
    """Compares this log with another copy of it. `keys`: those that sign its checkpoints (PEM).
    `account`: for a governed server; None for any other address, so that no password goes there.

    Raises `VerificationError` where the other is no checkpoint of this log, `OfflineError` where
    nobody answers.
    """
    for _ in range(ATTEMPTS):
        note = parse_note(log.checkpoint(), "the log's checkpoint")
        other = _other(note, keys, address, account)
        result = _compared(log, note, other, address)
        if other.size <= note.size:
            break
        if isinstance(log, MirrorLog):  # the log may have grown in between
            log.refresh()
    return result


def _other(
    note: Note, keys: Sequence[tuple[int, str]], address: str, account: tuple[str, str] | None
) -> Note:
    """The other checkpoint, which is of this log and signed by it. Raises `VerificationError`."""
    other = parse_note(_fetched(address, note.origin, account), address)
    if other.origin != note.origin:
        found = f"it is of another log, {other.origin}"
        raise VerificationError(found, expected=note.origin, where=address)
    signers = [VerifierKey(note.origin, public_key(pem), LOG_KEY) for _, pem in keys]
    if not is_signed_by_log(other, signers, address):
        found = "no key of this log signed the checkpoint there"
        raise VerificationError(found, where=address)
    return other


def _compared(log: Log, note: Note, other: Note, address: str) -> Comparison:
    if other.size <= note.size:
        agrees = contains(log, other)
        shown = "this log contains every entry of the other copy"
        if not agrees:
            shown = "this log does not contain the entries of the other copy: two histories"
    else:
        agrees = False
        shown = (
            f"the other copy has {other.size - note.size} entries more; that they continue this"
            " log is not shown: bring this copy up to date. If its server has no more, the server"
            " hides entries or was restored"
        )
    return Comparison(address, note.size, other.size, agrees, shown, note.text, other.text)


def _fetched(address: str, origin: str, account: tuple[str, str] | None) -> str:
    """The other checkpoint, from a file, a governed server or a witness."""
    if not http_client.is_server(address):
        try:
            with Path(address).open("rb") as file:
                return file.read(4 * MAX_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"it cannot be read: {error}", where=address) from None
    path = f"checkpoint/{origin_digest(origin)}"
    try:
        return _ask(address, "countersign/v1/checkpoint" if account else path, account)
    except NoAnswerError as error:
        raise OfflineError(str(error), where=address) from None
    except StatusError as error:
        found = f"this is no witness that knows the log: {error}"
        fix = "a server that is not that of COUNTERSIGN_LOG: save its checkpoint, and give the file"
        raise StorageError(found, where=address, fix=fix) from None


def _ask(address: str, path: str, account: tuple[str, str] | None) -> str:
    client = http_client.Client(address, account, WHERE)
    return client.ask("GET", path, 4 * MAX_BYTES).decode("utf-8", "replace")
