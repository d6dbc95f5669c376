"""What a witness remembers, and what it signs (https://c2sp.org/tlog-witness).

1. Of each log it knows the keys and the last checkpoint that it cosigned. It never signs a smaller
   one, another root of the same size, or one that does not contain the last one.
2. Check, record and signature are one transaction that no other request enters. The signature
   leaves this module only after the record is on the disk.
3. Where a log's key signed checkpoints that do not fit together, both are kept: that is a split
   view. The request's own proof may show it (`proved`); otherwise the log's operator has to.
4. The clock may not run backwards: of two cosignatures, the later one is about the longer log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.attest.envelope import decoded, encoded
from governance.attest.keys import Signer, public_key
from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.base.storage import writing_state
from governance.log import merkle, notes
from governance.log.notes import Note, VerifierKey
from governance.log.port import Execute
from governance.log.sqlite import SqliteDatabase

MAX_PROOF = 63
"""Lines of a consistency proof."""
MAX_SPLITS = 100
"""How many split views are kept of one log: its operator could fill the disk otherwise."""
CLOCK_LEEWAY = 60
"""Seconds by which the clock may be behind the last cosignature."""
SIZE_TYPE = "text/x.tlog.size"
TEXT = "text/plain; charset=utf-8"
SCHEMA = (
    "CREATE TABLE witness (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)",
    (
        "CREATE TABLE log (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,"
        " note TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE log_key (origin TEXT NOT NULL, vkey TEXT NOT NULL,"
        " PRIMARY KEY (origin, vkey)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE split (origin TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL,"
        " known TEXT NOT NULL, other TEXT NOT NULL, proof TEXT NOT NULL, proved INTEGER NOT NULL,"
        " PRIMARY KEY (origin, digest)) WITHOUT ROWID"
    ),
)
_LAST = "SELECT size, root, note, at FROM log WHERE origin = ?"
_RECORD = (
    "INSERT INTO log (origin, size, root, note, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin)"
    " DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note,"
    " at = excluded.at"
)
_SPLIT = "INSERT OR IGNORE INTO split VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Request:
    """A request to cosign."""

    old: int
    proof: tuple[bytes, ...]
    note: Note


@dataclass(frozen=True)
class Answer:
    """A witness's answer over HTTP."""

    status: int
    text: str
    content_type: str = TEXT


@dataclass(frozen=True)
class Known:
    """The last checkpoint of a log that was cosigned; its note has the cosignature."""

    size: int = 0
    root: bytes = merkle.EMPTY_ROOT
    note: str = ""
    at: int = 0


@dataclass(frozen=True)
class Split:
    """Two checkpoints that one log signed and that do not fit together."""

    origin: str
    at: int
    """Seconds since 1970."""
    known: str
    other: str
    proof: tuple[str, ...]
    """The consistency proof that came with the other one."""
    proved: bool
    """Whether notes and proof alone show that the log has two histories."""


def parse_request(body: bytes) -> Request:
    """A request's body. Raises `VerificationError`."""
    where = "the request"
    try:
        head, gap, note = body.decode("utf-8").partition("\n\n")
    except UnicodeDecodeError:
        raise VerificationError("not UTF-8", where=where) from None
    first, *lines = head.split("\n")
    word, _, old = first.partition(" ")
    is_size = old.isascii() and old.isdigit() and (old == "0" or old[0] != "0") and len(old) < 20
    if not gap or word != "old" or not is_size or len(lines) > MAX_PROOF:
        raise VerificationError("not a request to cosign a checkpoint", where=where)
    proof = tuple(decoded(line, where) for line in lines)
    if any(len(step) != 32 for step in proof):
        raise VerificationError("a line of the proof is not a hash", where=where)
    return Request(int(old), proof, notes.parse_note(note, where))


def request_body(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of a request to cosign a checkpoint."""
    lines = [f"old {old}", *(encoded(step) for step in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()


class Book:
    """The book of one witness, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "witness.db"
        self._database = SqliteDatabase(self.path)

    def begin(self, name: str) -> None:
        """Makes the book. Raises `ConfigError` where there is one, or for a bad name."""
        if not notes.is_name(name):
            expected = "a text without spaces and +, e.g. witness.example.org/w1"
            raise ConfigError(f"{name[:80]!r} cannot be a witness's name", expected=expected)
        if self.path.exists():
            raise ConfigError("this folder has a witness already", where=str(self.path))
        with writing_state(self.path):
            self.path.touch(mode=0o600)
        with self._database.transaction() as execute:
            for statement in SCHEMA:
                execute(statement, ())
            execute("INSERT INTO witness VALUES (1, ?)", (name,))

    @property
    def name(self) -> str:
        """The witness's name. Raises `StorageError` where there is no book."""
        with self._database.snapshot() as execute:
            rows = execute("SELECT name FROM witness", ()) if execute else []
        if not rows:
            fix = "countersign witness init NAME; a witness whose book is lost gets a new key"
            raise StorageError("there is no witness here", where=str(self.path), fix=fix)
        return str(rows[0][0])

    def add_log(self, origin: str, key: VerifierKey) -> None:
        """Adds a log, or another key of it. Raises `ConfigError`."""
        if key.kind != notes.LOG_KEY:
            found = "this is the key of a witness, not that of a log"
            raise ConfigError(found, where=str(key), expected="signature type 1 (Ed25519)")
        if not origin or not origin.isprintable():
            raise ConfigError("this cannot be the origin of a log", where=repr(origin[:80]))
        _ = self.name
        with self._database.transaction() as execute:
            execute("INSERT OR IGNORE INTO log_key VALUES (?, ?)", (origin, str(key)))

    def logs(self) -> dict[str, Known]:
        """Every log by its origin."""
        with self._database.snapshot() as execute:
            if execute is None:
                return {}
            rows = execute("SELECT DISTINCT origin FROM log_key ORDER BY origin", ())
            return {origin: _last(execute, origin) for (origin,) in rows}

    def splits(self) -> list[Split]:
        """Every split view, in the order of time."""
        select = "SELECT origin, at, known, other, proof, proved FROM split ORDER BY at"
        with self._database.snapshot() as execute:
            rows = execute(select, ()) if execute else []
        return [
            Split(origin, at, known, other, tuple(json.loads(proof)), bool(proved))
            for origin, at, known, other, proof, proved in rows
        ]

    def add_checkpoint(self, body: bytes, signer: Signer, clock: Callable[[], int]) -> Answer:
        """Cosigns a checkpoint, or says why not. `clock`: seconds since 1970. Raises
        `StorageError` and `BusyError`; nothing is signed then.
        """
        try:
            request = parse_request(body)
        except VerificationError as error:
            return Answer(400, f"{error.found}\n")
        with self._database.transaction() as execute:
            return self._answer(execute, request, signer, clock())  # (2)

    def _answer(self, execute: Execute, request: Request, signer: Signer, now: int) -> Answer:
        note = request.note
        keys, last = _keys(execute, note.origin), _last(execute, note.origin)
        refusal = _not_from_log(request, keys) or _not_grown(execute, request, last, now)
        if refusal is not None:
            return refusal
        at = max(now, last.at)
        name = str(execute("SELECT name FROM witness", ())[0][0])
        line = notes.cosignature(note, name, signer, at)
        text = f"{note.body}\n{_lines_by(note, keys)}{line}"
        execute(_RECORD, (note.origin, note.size, note.root, text, at))
        return Answer(200, line)


def _not_from_log(request: Request, keys: Sequence[VerifierKey]) -> Answer | None:
    """The refusal of a checkpoint that no known log signed."""
    if not keys:
        return Answer(404, "this witness does not know the log\n")
    try:
        signed = notes.is_signed_by_log(request.note, keys)
    except VerificationError:
        signed = False
    if not signed:
        return Answer(403, "no known key of the log signed the checkpoint\n")
    return None


def _not_grown(execute: Execute, request: Request, last: Known, now: int) -> Answer | None:
    """The refusal of a checkpoint that does not continue the last one."""
    note = request.note
    if request.old > note.size:
        return Answer(400, "the old size is larger than the checkpoint\n")
    is_other = note.size == last.size and note.root != last.root and bool(last.note)
    if request.old != last.size or is_other:
        if is_other:
            _keep(execute, request, last, now, proved=True)
        return Answer(409, f"{last.size}\n", SIZE_TYPE)
    try:
        merkle.verify_consistency(last.size, note.size, last.root, note.root, request.proof)
    except VerificationError:
        if last.note:
            _keep(execute, request, last, now, proved=_shows_fork(request, last))
        return Answer(422, "the proof does not show that the log has only grown\n")
    if now < last.at - CLOCK_LEEWAY:
        return Answer(503, "the witness's clock is wrong\n")
    return None


def vkey(name: str, signer: Signer) -> VerifierKey:
    """What policies name of a witness."""
    return VerifierKey(name, public_key(signer.public_pem), notes.WITNESS_KEY)


def _keys(execute: Execute, origin: str) -> list[VerifierKey]:
    rows = execute("SELECT vkey FROM log_key WHERE origin = ?", (origin,))
    return [notes.read_vkey(text) for (text,) in rows]


def _last(execute: Execute, origin: str) -> Known:
    rows = execute(_LAST, (origin,))
    return Known(*rows[0]) if rows else Known()


def _lines_by(note: Note, keys: Sequence[VerifierKey]) -> str:
    """The lines of the log's own keys; others' lines are not kept."""
    return "".join(
        f"\u2014 {key.name} {encoded(key.hash + signature)}\n"
        for key in keys
        for signature in note.by(key)
    )


def _shows_fork(request: Request, last: Known) -> bool:
    """Whether the proof itself shows another history: it leads to the new root, from another old
    root than the one that was cosigned.
    """
    size = request.note.size
    if not request.proof or not 0 < last.size < size or last.size & (last.size - 1) == 0:
        return False
    try:
        old, new = merkle.roots_of_proof(last.size, size, last.root, request.proof)
    except VerificationError:
        return False
    return new == request.note.root and old != last.root


def _keep(execute: Execute, request: Request, last: Known, now: int, *, proved: bool) -> None:
    """Keeps a split view, unless it is kept already or too many are."""
    note = request.note
    kept = execute("SELECT COUNT(*) FROM split WHERE origin = ?", (note.origin,))[0][0]
    if kept >= MAX_SPLITS and not proved:
        return
    digest = hashlib.sha256(f"{last.size}\n{note.body}".encode()).hexdigest()
    proof = json.dumps([encoded(step) for step in request.proof])
    if kept < 2 * MAX_SPLITS:
        values = (note.origin, digest, now, last.note, note.text, proof, int(proved))
        execute(_SPLIT, values)
