"""The heads of logs, kept outside the database: an older or another copy of a log is refused.

For each log, a folder of this machine's state has the last checkpoint that this machine signed or
verified. The file is named by the log's origin, not by its address, so that a log can be moved.

1. An append writes its checkpoint as `next` before the database commits, and makes it `last`
   afterwards. Each step is on the disk before the following one begins.
2. Killed before the commit, the log ends at `last`, and `next` counts an entry that is not there.
   It is left alone, and the next append replaces it. Killed after the commit, the log has all that
   `next` counts, and whoever looks at the log next makes it `last`. So a kill locks nobody out, and
   an append whose caller got an answer is in `last`. One case is not told apart: an append that was
   killed before its caller got an answer, and a copy that lacks exactly that append.
3. `last` never shrinks. It is read and replaced under a lock, because several processes append.
4. A log is compared before its new entry is written: a checkpoint that was never committed must not
   become `last`.
5. Machines that share a database each have a folder. A machine knows what it signed and what the
   log had then, so it may know less than another one, never more than the log.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import StorageError, VerificationError
from governance.base.storage import write_state, writing_state
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, parse_checkpoint

Proof = Callable[[int, int], list[bytes]]
"""The consistency proof between two sizes of a log (`governance.log.port.Log`)."""
_FIX = (
    "restore a copy of the database that has them; nothing was appended (docs/log.md, Restore, has"
    " the steps, also for a loss that is known and accepted)"
)


@dataclass(frozen=True)
class Heads:
    """The heads of logs that this machine keeps in a folder."""

    folder: Path

    def place(self, origin: str) -> Path:
        """The file of a log's last checkpoint."""
        return self.folder / f"{origin.rpartition('/')[2]}.txt"

    def last(self, origin: str) -> str:
        """The last checkpoint that this machine signed or verified; empty where there is none.
        Raises `StorageError`.
        """
        return _note(self.place(origin))

    def check(self, origin: str, head: Callable[[], Checkpoint], proof: Proof) -> Checkpoint:
        """The head of a log, which must continue the last one known here. Raises
        `VerificationError` where the log is shorter or another one, `StorageError` where the last
        head cannot be read.

        `head` reads the log. It is called after the last head was read, because other processes
        append meanwhile.
        """
        waiting, last = _note(self._next(origin)), self.last(origin)
        now = head()
        if last:
            known, _ = parse_checkpoint(last, where=str(self.place(origin)))
            if not _continues(known, now, proof):
                raise self._another(known, now)
        if waiting:
            announced, _ = parse_checkpoint(waiting, where=str(self._next(origin)))
            if _continues(announced, now, proof):  # (2)
                with suppress(StorageError):  # a reader may have no right to write here
                    self.keep(waiting)
        return now

    def announce(self, note: str) -> None:
        """Writes the checkpoint that is about to be committed (1). Raises `StorageError`."""
        path = self._next(parse_checkpoint(note)[0].origin)
        with writing_state(path), self._locked():
            write_state(path, note.encode())
            _sync(self.folder)

    def keep(self, note: str) -> None:
        """Makes a committed or verified checkpoint the last head, unless a later one is there (3).
        Raises `StorageError`.
        """
        new, _ = parse_checkpoint(note)
        path, waiting = self.place(new.origin), self._next(new.origin)
        with writing_state(path), self._locked():
            last, is_announced = _note(path), _note(waiting) == note
            is_later = not last or parse_checkpoint(last, where=str(path))[0].size < new.size
            if is_later and is_announced:
                waiting.replace(path)  # its content is on the disk already
            elif is_later:
                write_state(path, note.encode())
            elif is_announced:
                waiting.unlink()
            _sync(self.folder)

    def _another(self, known: Checkpoint, now: Checkpoint) -> VerificationError:
        found = (
            f"the log of {now.size} entries does not begin with the {known.size} entries that this"
            " machine signed or verified last"
        )
        if now.size < known.size:
            found = (
                f"the log has {now.size} entries, fewer than the {known.size} that this machine"
                " signed or verified last"
            )
        expected = f"a log that begins with these {known.size} entries"
        return VerificationError(
            found, expected=expected, where=str(self.place(known.origin)), fix=_FIX
        )

    def _next(self, origin: str) -> Path:
        return self.place(origin).with_suffix(".next")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.folder.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _continues(old: Checkpoint, new: Checkpoint, proof: Proof) -> bool:
    """Whether the log with the head `new` begins with all entries of `old` (RFC 9162, 2.1.4)."""
    if old.origin != new.origin or old.size > new.size:
        return False
    try:
        steps = proof(old.size, new.size)
        merkle.verify_consistency(old.size, new.size, old.root, new.root, steps)
    except VerificationError:
        return False
    return True


def _note(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        found = f"the checkpoint kept here cannot be read: {reason}; nothing was appended"
        fix = (
            "use the account that wrote it, or give it the owner of its folder (chown); or set"
            " COUNTERSIGN_HOME to a folder of your own"
        )
        raise StorageError(found, where=str(path), fix=fix) from None


def _sync(folder: Path) -> None:
    """Puts renamed files of a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
