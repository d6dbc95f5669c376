"""The log's side of https://c2sp.org/tlog-witness: a witness is asked to cosign the checkpoint.

Only origin, size, root, the log's signature and a proof that the log grew leave the machine. An
answer has at most `MAX_ANSWER` bytes, redirects are not followed, and what is not a cosignature of
this very checkpoint by the witness's key is an error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from governance.attest.envelope import encoded
from governance.base.errors import (
    BusyError,
    CountersignError,
    OfflineError,
    StorageError,
    VerificationError,
)
from governance.base.text import visible
from governance.log import http_client
from governance.log.http_client import NoAnswerError, StatusError
from governance.log.notes import Note, VerifierKey, cosigned_at, parse_note
from governance.log.sql import SqlLog
from governance.policy.rules import Witness
from governance.witness.book import request_body

MAX_ANSWER = 1 << 14
SECONDS = 30.0
"""How long a witness may take, from connecting to the last byte."""
ATTEMPTS = 3
CLOCKS = timedelta(minutes=10)
"""How far the clocks of log and witness may differ."""
T = TypeVar("T")


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint that a witness cosigned, and kept beside the log."""

    witness: str
    size: int
    at: datetime
    note: str


def request(log: SqlLog, witness: Witness, now: Callable[[], datetime]) -> Cosigned:
    """Asks a witness to cosign the log's checkpoint, and keeps its cosignature.

    Raises `OfflineError` where it does not answer, `StorageError` where it refuses, and
    `VerificationError` where it has seen another log, or its answer is no cosignature.
    """
    key = witness.verifier
    size, note = log.head()
    if not note:
        raise StorageError("there is no log yet", where=log.where)
    line = _cosign(log, witness, size, note)
    body = parse_note(note)
    made = parse_note(f"{body.body}\n{_own_lines(body)}{line}")
    at = _time_of(made, key, witness.url)
    if abs(at - now()) > CLOCKS:
        found = f"the clock of the witness differs: it says {at:%Y-%m-%dT%H:%M:%SZ}"
        raise VerificationError(found, where=witness.url, fix="set the clocks right")
    log.keep_cosigned(_kept_as(key), size, made.text)
    return Cosigned(witness.name, size, at, made.text)


def request_all(
    log: SqlLog, witnesses: Iterable[Witness], now: Callable[[], datetime]
) -> tuple[list[Cosigned], list[tuple[str, CountersignError]]]:
    """Asks each witness. Returns what they cosigned, and the name and error of each other one."""
    made: list[Cosigned] = []
    errors: list[tuple[str, CountersignError]] = []
    for witness in witnesses:
        try:
            made.append(request(log, witness, now))
        except CountersignError as error:
            errors.append((witness.name, error))
    return made, errors


def _cosign(log: SqlLog, witness: Witness, size: int, note: str) -> str:
    """The witness's signature line over the note."""
    old = _last_size(log, witness.verifier)
    for _ in range(ATTEMPTS):
        body = request_body(old, log.consistency_proof(old, size), note)
        try:
            answer = within(SECONDS, lambda body=body: _post(witness, body))  # type: ignore[misc]
        except StatusError as error:
            old = _size_after(error, witness, old, size, note)
            continue
        except NoAnswerError as error:
            raise _offline(witness, str(error)) from None
        return _line(note, answer, witness)
    raise BusyError("the witness is asked by others at the same time", where=witness.url)


def _post(witness: Witness, body: bytes) -> bytes:
    client = http_client.Client(witness.url, None, "policies/policy.yaml: witnesses")
    return client.ask("POST", "add-checkpoint", MAX_ANSWER, body)


def _size_after(error: StatusError, witness: Witness, old: int, size: int, note: str) -> int:
    """The size from which the witness wants a proof. Raises where it refuses."""
    reasons = {
        404: "it does not know this log: its operator adds it (countersign witness add)",
        403: "it has another key for this log: its operator adds the present one",
    }
    match = re.fullmatch(rb"(0|[1-9][0-9]{0,18})\n", error.body)
    if error.status == 409 and match is not None:
        seen = int(match[1])
        if seen <= size and seen != old:
            return seen
        found = f"it has cosigned {seen} entries of this log, which has {size} here"
        if seen == old == size:
            found = f"it has cosigned another log of {size} entries"
        raise _fork(witness, found, note)
    if error.status == 422:
        raise _fork(witness, "it has cosigned entries that this log does not have", note)
    said = visible(error.body[:200].decode("utf-8", "replace")).strip()
    found = reasons.get(error.status, f"it answered {error.status}: {said}")
    raise StorageError(f"the witness does not cosign: {found}", where=witness.url)


def _fork(witness: Witness, found: str, note: str) -> VerificationError:
    fix = "the log was restored from a copy, or has two histories; compare with the witness"
    return VerificationError(f"{found}; the checkpoint here:\n{note}", where=witness.url, fix=fix)


def _offline(witness: Witness, reason: str) -> OfflineError:
    return OfflineError(f"the witness cannot be reached: {reason}", where=witness.url)


def _line(note: str, answer: bytes, witness: Witness) -> str:
    """The line by the witness's key; others are left out. Raises `VerificationError`."""
    key = witness.verifier
    cosigned = parse_note(note + answer.decode("utf-8", "replace"), witness.url)
    blobs = cosigned.by(key)
    _ = _time_of(cosigned, key, witness.url)
    return f"\u2014 {key.name} {encoded(key.hash + blobs[-1])}\n"


def _time_of(note: Note, key: VerifierKey, where: str) -> datetime:
    seconds = cosigned_at(note, key, where)
    if seconds is None:
        found = "the answer has no cosignature by the witness that policy names"
        raise VerificationError(found, where=where, expected=str(key))
    return datetime.fromtimestamp(seconds, UTC)


def _own_lines(note: Note) -> str:
    """The lines of the note as it came from the log."""
    return note.text[len(note.body) + 1 :]


def _kept_as(key: VerifierKey) -> str:
    return f"{key.name}+{key.hash.hex()}"


def _last_size(log: SqlLog, key: VerifierKey) -> int:
    """How many entries the witness has cosigned, as far as this log knows."""
    notes = (parse_note(note) for note in log.cosigned())
    return max((note.size for note in notes if note.by(key)), default=0)


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. A witness that sends a byte now and then is left alone when
    its time is up: raises `NoAnswerError`.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except (NoAnswerError, StatusError, CountersignError) as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise NoAnswerError(f"no answer within {seconds:g} s")
    return results[0]
