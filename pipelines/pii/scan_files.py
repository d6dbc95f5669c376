"""Searches files of any project for personal data, and writes them as policy says.

1. Files are streams: what is held at once is one batch of texts. Texts of several files are
   searched together.
2. `block` and names that cannot be changed (of Parquet columns) refuse a file; `drop` leaves a
   record out, `redact` replaces the finding. A record that cannot be read, or not be searched
   completely, is a problem and is left out.
3. What was written is read and searched again. If anything is left that policy does not allow, or
   the file could not be read to its end, the file is not published.
4. No result has text. Findings are places, which tell where personal data is.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError, InputError, StorageError
from governance.policy.data import PiiPolicy
from pipelines.json_texts import KEY
from pipelines.pii.documents import Document, Record, Source, document
from pipelines.pii.engine import Span
from pipelines.pii.scan import ROUNDS, redact, significant
from pipelines.pii.search import Search

BATCH = 4_000_000
"""Characters that are searched at once."""

BATCH_TEXTS = 50_000
BATCH_BYTES = 1 << 27
"""What a batch may hold beside: bytes of Parquet files that are no text."""

PROBLEMS = 100
"""Problems of a file that are named; all are counted."""

Report = Callable[[dict[str, Any]], object]
"""Receives a finding."""


@dataclass
class Scanned:
    """One file, and what was found in it."""

    source: Source
    target: Path | None = None
    """Where the treated file goes; None where it is only searched."""
    records: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """Entity to findings."""
    found_in: Counter[str] = field(default_factory=Counter)
    """Entity to records."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason to records."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why the file is not written, e.g. `API_KEY is blocked`, to findings."""
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    failed: bool = False
    """Whether it could not be read to its end."""
    written: int = 0
    """Records in the file that was written; 0 where none was."""
    hidden: set[int] = field(default_factory=set)
    """Columns whose names hold a finding."""

    @cached_property
    def document(self) -> Document:
        """Its reader and writer."""
        return document(self.source)

    def problem(self, text: str) -> None:
        """Counts what is wrong with the file."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS:
            self.problems.append(text)


@dataclass
class _Cell:
    """A text of a record, as far as it is treated."""

    place: str
    text: str
    spans: list[Span] = field(default_factory=list)
    problem: str = ""
    changed: bool = False


@dataclass
class _Item:
    """A record of a file; None at the file's end."""

    file: Scanned
    record: Record | None
    cells: list[_Cell] = field(default_factory=list)


class FilesScan:
    """Scans files with one policy. `key` makes the tokens."""

    def __init__(
        self, policy: PiiPolicy, search: Search, key: bytes, report: Report = lambda found: None
    ) -> None:
        self.policy, self.search, self.key, self.report = policy, search, key, report
        self._writer: _Writer | None = None

    def run(
        self, files: Iterable[Scanned], advance: Callable[[int], object] = lambda records: None
    ) -> None:
        """Searches, and writes the files that have a target."""
        try:
            for batch in _batches(_items(files)):
                self._search([cell for item in batch for cell in item.cells])
                for item in batch:
                    self._tell(item)
                self._treat([cell for item in batch if item.file.target for cell in item.cells])
                for item in batch:
                    self._write(item)
                advance(sum(item.record is not None for item in batch))
        finally:
            self._abandon()

    def _search(self, cells: list[_Cell]) -> None:
        for cell, found in zip(cells, self.search.find([cell.text for cell in cells]), strict=True):
            cell.spans, cell.problem = significant(found.spans, self.policy), found.problem

    def _tell(self, item: _Item) -> None:
        """Counts and reports what was found, before it is treated."""
        file, record = item.file, item.record
        if record is None:
            return
        if record.row:
            file.records += 1
        if record.problem:
            file.problem(f"{file.source.name}:{record.row}: {record.problem}")
        names = [cell for cell in item.cells if _is_name(cell)]
        named = {_position(cell.place) for cell in names if self._actions([cell]) - {"allow"}}
        if file.source.format in ("csv", "parquet"):
            file.hidden |= named
        for cell in item.cells:
            if cell.problem:
                where = record.field(cell.place, file.hidden | named)
                file.problem(f"{file.source.name}:{record.row}: {where}: {cell.problem}")
            for span in cell.spans:
                self.report(
                    {
                        "file": file.source.name,
                        "record": file.records,
                        "row": record.row,
                        "field": record.field(cell.place, file.hidden | named),
                        "start": span.start,
                        "end": span.end,
                        "entity_type": span.entity,
                        "score": span.score,
                        "recognizer": span.recognizer,
                    }
                )
        entities = Counter(span.entity for cell in item.cells for span in cell.spans)
        file.found += entities
        file.found_in += Counter(dict.fromkeys(entities, 1))

    def _actions(self, cells: list[_Cell]) -> set[str]:
        return {self.policy.entity(span.entity).action for cell in cells for span in cell.spans}

    def _treat(self, cells: list[_Cell]) -> None:
        """Redacts until nothing changes, at most `ROUNDS` times; what then remains is found when
        the file is read again.
        """
        for _ in range(ROUNDS):
            cells = [cell for cell in cells if self._is_to_redact(cell)]
            if not cells:
                return
            for cell in cells:
                cell.text = redact(cell.text, cell.spans, self.policy, self.key)
                cell.changed = True
            self._search(cells)

    def _is_to_redact(self, cell: _Cell) -> bool:
        actions = self._actions([cell])
        return "redact" in actions and not actions & {"drop", "block"} and not cell.problem

    def _write(self, item: _Item) -> None:
        file, record = item.file, item.record
        if file.target is None:
            return
        if record is None:
            self._finish(file)
            return
        actions = self._actions(item.cells)
        changed = {cell.place: cell.text for cell in item.cells if cell.changed}
        for span in (span for cell in item.cells for span in cell.spans):
            if self.policy.entity(span.entity).action == "block":
                file.refused[f"{span.entity} is blocked"] += 1
        if record.row == 0 and (changed or "drop" in actions):
            file.refused["a name of a column holds personal data"] += 1
        if record.problem or any(cell.problem for cell in item.cells):
            file.left_out["unreadable or not searched completely"] += 1
        elif "drop" in actions:
            file.left_out["dropped by policy"] += 1
        elif not file.refused:
            self._write_record(file, file.target, record, changed)

    def _write_record(
        self, file: Scanned, target: Path, record: Record, changed: dict[str, str]
    ) -> None:
        try:
            if self._writer is None:
                self._writer = _Writer(target, file)
            self._writer.write(record, changed)
        except InputError as error:
            file.refused[error.found] += 1

    def _finish(self, file: Scanned) -> None:
        """(3) Publishes the file, if nothing is left."""
        writer = self._writer
        if writer is not None and writer.records and not (file.refused or file.failed):
            try:
                file.refused += self._remaining(writer.end())
            except InputError as error:
                file.refused[error.found] += 1
            if not file.refused:
                writer.file.publish()
                file.written = writer.records
        self._abandon()

    def _remaining(self, source: Source) -> Counter[str]:
        """What is found in the file that was written and policy does not allow."""
        again, left = Scanned(source), Counter[str]()
        for batch in _batches(_items([again])):
            cells = [cell for item in batch for cell in item.cells]
            self._search(cells)
            for item in batch:
                if item.record and item.record.problem:
                    again.problem(item.record.problem)
            for cell in cells:
                left["what was written could not be searched"] += bool(cell.problem)
                for span in cell.spans:
                    if self.policy.entity(span.entity).action != "allow":
                        left[f"{span.entity} remains after treatment"] += 1
        left["what was written could not be read"] += again.problem_count
        return +left

    def _abandon(self) -> None:
        if self._writer is not None:
            self._writer.file.__exit__()
            self._writer = None


def _is_name(cell: _Cell) -> bool:
    return bool(re.fullmatch(rf"\[\d+\]{re.escape(KEY)}", cell.place))


def _position(place: str) -> int:
    return int(place[1 : place.index("]")])


class NewFile:
    """A file written beside its place, for this account only, and moved there by `publish`. A
    context manager: what was not published is removed. Raises `StorageError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self.stream = os.fdopen(os.open(self.temporary, flags, 0o600), "wb")

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.stream.close()
        self.temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Adds bytes."""
        with self._failures():
            self.stream.write(data)

    def complete(self) -> None:
        """Nothing more is written; the file can be read at its temporary place."""
        with self._failures():
            if not self.stream.closed:
                self.stream.flush()
                os.fsync(self.stream.fileno())
                self.stream.close()

    def publish(self) -> None:
        """Moves it to its place."""
        self.complete()
        with self._failures():
            self.temporary.replace(self.path)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            found = f"cannot be written: {error.strerror or error}"
            raise StorageError(found, where=str(self.path)) from None


class _Writer:
    """Writes the records of a file in its format."""

    def __init__(self, target: Path, file: Scanned) -> None:
        self.file, self._scanned = NewFile(target), file
        self.records = 0
        file.document.begin(self.file.stream)

    def write(self, record: Record, new: dict[str, str]) -> None:
        """Adds a record."""
        self._scanned.document.write(record, new)
        self.records += record.row > 0

    def end(self) -> Source:
        """Completes the file; returns it, to be read again."""
        self._scanned.document.end()
        self.file.complete()
        return replace(self._scanned.source, path=self.file.temporary, stream=None)


# --- reading --------------------------------------------------------------------------------------


def _items(files: Iterable[Scanned]) -> Iterator[_Item]:
    for file in files:
        count = 0
        try:
            for record in file.document.records():
                count += 1
                yield _Item(file, record, [_Cell(place, text) for place, text in record.texts])
            if not count:
                file.problem(f"{file.source.name}: no records: the file is empty")
        except InputError as error:
            file.failed = True
            file.problem(str(error))
        except UnicodeError as error:
            file.failed = True
            found = f"not text in {file.source.encoding} ({type(error).__name__})"
            file.problem(f"{file.source.name}: {found}")
        except LookupError:
            found = f"no encoding {file.source.encoding!r}"
            raise ConfigError(found, where="--encoding", expected="e.g. utf-8, cp1252") from None
        yield _Item(file, None)


def _batches(items: Iterator[_Item]) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    characters = texts = size = 0
    for item in items:
        batch.append(item)
        characters += sum(len(cell.text) for cell in item.cells)
        texts += len(item.cells) + 1
        size += item.record.size if item.record else 0
        if characters >= BATCH or texts >= BATCH_TEXTS or size >= BATCH_BYTES:
            yield batch
            batch, characters, texts, size = [], 0, 0, 0
    if batch:
        yield batch
