"""A log on a governed server: read from a copy on this machine, appended to over HTTP. See
`governance.log.routes`.

1. The copy is brought up to date before the first reading. New entries are hashed here. Together
   with the entries of the copy they must give the root of the server's checkpoint, and the log's
   own key must have signed that checkpoint. The entries, new ones included, say which key that is.
   Where anything does not fit, the copy stays as it is.
2. A server whose log is shorter than before, another one or forked is refused. The error shows both
   checkpoints.
3. The first contact decides which log it is (trust on first use), unless COUNTERSIGN_ORIGIN pins
   it.
4. An append counts when the entry is in the copy. Its receipt, made from the copy, is kept beside
   it.
5. Where the server cannot be reached, or cannot use its log, the copy is read, and `offline` says
   why. Appending fails.
6. Entries are fetched in pages, which are kept in a folder of their own. They join the copy when
   all of them are there (1). An interrupted fetch continues with the next page. Pages that do not
   fit are thrown away and fetched once more.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from governance.attest.keys import public_key
from governance.base.errors import (
    ConfigError,
    ConflictError,
    CountersignError,
    OfflineError,
    StorageError,
    VerificationError,
)
from governance.base.model import Model
from governance.base.progress import SILENT, Progress
from governance.base.storage import write_atomic, writing_state
from governance.log import api, http_client, merkle
from governance.log.checkpoint import Checkpoint, parse_checkpoint, signed_in_turn
from governance.log.copies import extend
from governance.log.evidence import filed_under, origin_in
from governance.log.model_index import verified_index
from governance.log.port import Also, Entry, Execute, Filing, Log, OtherEntriesError
from governance.log.sqlite import SqliteLog

MAX_ANSWER = 24 << 20
"""A page of `governance.log.api.MAX_PAGE` in base64, one envelope more, and room."""
ATTEMPTS = 5
"""How often an index is asked for while the log grows."""
_FAMILIES = {family.__name__: family for family in api.STATUS}
"""The kinds of errors that a server names; any other one is a `StorageError`."""
_NOT_A_LOG = (
    "check COUNTERSIGN_LOG: https://SERVER, without more, by a name that its --allowed-host permits"
)


M = TypeVar("M", bound=Model)


class _UnableError(StorageError):
    """The server is there, and cannot use its log."""


class Server:
    """The log's part of a governed server."""

    def __init__(self, url: str, account: str = "", password: str = "") -> None:
        self.url = url
        self._client = http_client.Client(url, (account, password))

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer, raw."""
        try:
            return self._client.ask(method, f"countersign/v1/{path}", MAX_ANSWER, body)
        except http_client.StatusError as error:
            raise self._refused(error) from None
        except http_client.NoAnswerError as error:
            raise self._offline(str(error)) from None

    def read(self, answer: bytes, model: type[M]) -> M:
        """An answer, typed. Raises `VerificationError`."""
        try:
            return model.model_validate_json(answer)
        except ValidationError:
            raise VerificationError(
                f"the server's answer is not a {model.__name__.lower()} of a log", where=self.url
            ) from None

    def _offline(self, reason: str) -> OfflineError:
        found = f"the log's server cannot be reached, or stopped answering: {reason}"
        fix = "check COUNTERSIGN_LOG, then try again: nothing is appended twice"
        return OfflineError(found, where=self.url, fix=fix)

    def _refused(self, error: http_client.StatusError) -> CountersignError:
        """The server's error, by the kind it names; its text made safe for a terminal."""
        if error.status == 401:
            found = "the server does not accept the account or its password"
            fix = "check COUNTERSIGN_USER and COUNTERSIGN_PASSWORD"
            return ConfigError(found, where=self.url, fix=fix)
        kind = error.member("kind")
        if error.status in (502, 503, 504) and not kind:
            return self._offline("a proxy answered instead of it")
        family = _UnableError if error.status == 500 else _FAMILIES.get(kind, StorageError)
        message = _printable(error.member("error"))
        next_step = _printable(error.member("next"))
        return family(
            message or f"the server answered {error.status}",
            expected=_printable(error.member("expected")),
            where=self.url,
            fix=next_step or ("" if message else _NOT_A_LOG),
        )


def _printable(text: str) -> str:
    """A server's text, at most 2000 characters, with nothing in it that acts on a terminal."""
    text = text[:2000]
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


class MirrorLog(SqliteLog):
    """See `governance.log.port.Log`."""

    def __init__(
        self,
        server: Server,
        project: str,
        folder: Path,
        checkpoint_keys: Callable[[Log], Sequence[tuple[int, str]]],
        pin: str | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """`checkpoint_keys`: from which entry on which public key (PEM) signs checkpoints, by the
        entries that are there.
        """
        name = hashlib.sha256(server.url.encode()).hexdigest()[:16]
        super().__init__(folder / name / "log.db", project)
        self.where = server.url
        self._copy = SqliteLog(self.path, project)
        """The copy as it is. To read it asks no server."""
        self.offline = ""
        """Why the server could not be asked; empty where it could."""
        self._server = server
        self._checkpoint_keys = checkpoint_keys
        self._pin = pin
        self._progress = progress
        self._asked = False

    def __getstate__(self) -> dict[str, Any]:
        """For another process that reads: the copy as it is, no password."""
        return {
            **super().__getstate__(),
            "_server": None,
            "_checkpoint_keys": None,
            "_progress": SILENT,
            "_asked": True,
        }

    @contextmanager
    def reading(self) -> Iterator[Execute | None]:
        """Statements within one snapshot of the copy, which was brought up to date once."""
        if not self._asked:
            if self._copy.size():  # (3) the pin may be set after the copy was begun
                self._check_first(self._copy.entry(0).envelope)
            try:
                self.refresh()
                self._fetch_cosigned()
            except (OfflineError, _UnableError) as error:
                if not self.path.exists():
                    raise
                self._asked, self.offline = True, error.found
                self._progress.warn(f"this machine's copy of the log is read: {error.found}")
        with super().reading() as execute:
            yield execute

    def refresh(self) -> None:
        """Brings the copy up to date, or raises and leaves it as it is."""
        while True:
            # read before the server is asked: the server's log may only be longer
            size, last_note = self._copy.head()
            with self._progress.waiting(f"waiting for {self.where}"):
                note = self._server.ask("GET", "checkpoint").decode("utf-8", "replace")
            self._asked, self.offline = True, ""
            resumed = any(self._incoming.glob("*.json"))
            try:
                self._follow(size, last_note, note)
            except ConflictError:
                continue  # another process of this machine has extended the copy
            except VerificationError:
                self._forget_incoming()
                if not resumed:
                    # otherwise pages of an earlier run may be out of date: fetch all of them again
                    raise
            else:
                self._forget_incoming()
                return

    def _follow(self, size: int, last_note: str, note: str) -> None:
        if note == last_note:
            return
        if not note:
            change = "the server's log is shorter than it was"
            raise _differ(change, last_note, "no entries", self.where)
        new, _ = parse_checkpoint(note, where=f"{self.where}: its checkpoint")
        if last_note:
            self._check_growth(last_note, new, note)
            if new.size == size:
                return
        else:
            self._check_begin(new)
        # (6)
        is_long = new.size - size > api.MAX_ENTRIES
        progress = self._progress if is_long else SILENT
        with progress.bar(new.size - size, "entries fetched") as bar:
            for page in self._pages(size, new.size):
                bar.advance(len(page))

        def check(extended: Log) -> None:
            """By the key that these very entries name: a successor may be among them."""
            signed_in_turn(note, self._checkpoint_keys(extended), f"{self.where}: its checkpoint")

        try:
            extend(self, self._entries(size, new.size), note, check)
        except OtherEntriesError:
            if not last_note:
                raise
            change = "the server's log does not continue the log seen before"
            raise _differ(change, last_note, note, self.where) from None

    def _fetch_cosigned(self) -> None:
        """Takes over the notes that witnesses cosigned. Verification reports where they are missing
        or wrong. A server of an older version has none.
        """
        with suppress(StorageError, VerificationError):
            answer = self._server.read(self._server.ask("GET", "cosigned"), api.Cosigned)
            if answer.notes != self._copy.cosigned():
                self._copy.replace_cosigned(answer.notes)

    def append(
        self,
        envelope: bytes,
        filing: Filing,
        *,
        expected_size: int | None = None,
        also: Also | None = None,
    ) -> Entry:
        """Asks the server to append, and verifies that it did."""
        if also is not None:
            raise StorageError("only the server can write more with an entry", where=self.where)
        query = "" if expected_size is None else f"?expected_size={expected_size}"
        with self._progress.waiting(f"waiting for {self.where}"):
            answer = self._server.ask("POST", f"entries{query}", envelope)
        index = self._server.read(answer, api.Receipt).index
        self.refresh()
        entry = self.entry(index)
        if entry.identity != filing.identity:
            found = f"the server's receipt is of another entry, {index}"
            raise VerificationError(found, where=self.where)
        self._keep(entry, api.receipt(self._copy, entry))
        return entry

    def model_index(self, model: str) -> str:
        """The signed index of a model at the size of the copy. Raises `ConflictError` where the
        server's log grows all the time.
        """
        for _ in range(ATTEMPTS):
            note = self._server.ask("GET", f"index?model={quote(model, safe='')}")
            text = note.decode("utf-8", "replace")
            if verified_index(text, self._checkpoint_keys(self._copy)).size == self._copy.size():
                return text
            self.refresh()
        raise ConflictError("the server's log grows while it is read", where=self.where)

    @property
    def receipts(self) -> Path:
        """The folder of the receipts of what this machine appended."""
        return self.path.parent / "receipts"

    def _check_growth(self, last_note: str, new: Checkpoint, note: str) -> None:
        """(2) Compares the server's checkpoint with the last one seen."""
        old, _ = parse_checkpoint(last_note)
        changes = {
            "the server has another log than before": new.origin != old.origin,
            "the server's log is shorter than it was": new.size < old.size,
            "the server's log was rewritten": new.size == old.size and new.root != old.root,
        }
        for change, happened in changes.items():
            if happened:
                raise _differ(change, last_note, note, self.where)

    def _check_begin(self, new: Checkpoint) -> None:
        """(3) Checks a log on first contact: its entry 0, project and pin."""
        first = self._page(0, min(max(new.size, 1), api.MAX_ENTRIES))[0]
        if not new.origin.endswith(merkle.leaf_hash(first).hex()[:16]):
            raise VerificationError("its entry 0 is not that of its checkpoint", where=self.where)
        if not new.origin.startswith(f"countersign/{self.project}/"):
            found = f"it is the log of another project, {new.origin}"
            raise VerificationError(found, where=self.where, expected=repr(self.project))
        self._check_first(first)

    def _check_first(self, first: bytes) -> None:
        """(3) Raises `VerificationError` where entry 0 is not the pinned one."""
        leaf, key = merkle.leaf_hash(first).hex(), origin_in(first).checkpoint_key
        if self._pin is not None and self._pin not in (leaf, public_key(key).keyid):
            found, where = f"the server's log begins with {leaf}", f"{self.where}: pinned origin"
            raise VerificationError(found, expected=self._pin, where=where)

    def _entries(self, start: int, end: int) -> Iterator[tuple[Entry, Sequence[str]]]:
        """The server's entries [start, end), hashed and filed here."""
        envelopes = chain.from_iterable(self._pages(start, end))
        for index, envelope in enumerate(envelopes, start):
            filing, leaf = filed_under(envelope), merkle.leaf_hash(envelope)
            entry = Entry(index, envelope, leaf, filing.identity, filing.scope, filing.kind)
            yield entry, filing.subjects

    def _pages(self, start: int, end: int) -> Iterator[list[bytes]]:
        """The envelopes of [start, end), page by page."""
        while start < end:
            limit = min(end - start, api.MAX_ENTRIES)
            envelopes = self._page(start, limit)[:limit]
            yield envelopes
            start += len(envelopes)

    def _page(self, start: int, limit: int) -> list[bytes]:
        """(6) The envelopes of one page, at least one: as they were kept, or from the server."""
        path = self._incoming / f"{start}.json"
        try:
            answer = path.read_bytes()
        except FileNotFoundError:  # not fetched yet, or another process removed it
            answer = self._server.ask("GET", f"entries?start={start}&limit={limit}")
            with writing_state(self.path):  # makes the folder of the copy for this account only
                path.parent.mkdir(exist_ok=True, mode=0o700)
                write_atomic(path, answer, mode=0o600)
        except OSError as error:
            raise StorageError(f"it cannot be read: {error.strerror}", where=str(path)) from None
        page = self._server.read(answer, api.Page)
        if page.start != start or not page.entries:
            raise VerificationError(f"the server does not give entry {start}", where=self.where)
        return page.entries

    @property
    def _incoming(self) -> Path:
        """The folder of pages that belong to no copy yet. Only `_page` reads them."""
        return self.path.parent / "incoming"

    def _forget_incoming(self) -> None:
        for page in self._incoming.glob("*.json"):  # the folder stays for other processes
            with suppress(OSError):
                page.unlink()

    def _keep(self, entry: Entry, receipt: api.Receipt) -> None:
        kept = {
            "log": self.where,
            **receipt.model_dump(),
            "envelope": base64.b64encode(entry.envelope).decode(),
        }
        self.receipts.mkdir(parents=True, exist_ok=True)
        name = f"{receipt.leaf_hash}.json"
        write_atomic(self.receipts / name, json.dumps(kept, indent=2).encode())


def _differ(found: str, last_note: str, note: str, where: str) -> VerificationError:
    """(2) An error with both checkpoints: each is signed, so together they prove the fault."""
    both = f"{found}; last seen:\n{last_note}now:\n{note}"
    fix = "keep both: signed by one key, they prove that the log was rewritten or restored"
    return VerificationError(both, where=where, fix=fix)
