"""Files of any project as records with texts: JSONL, JSON, CSV, Parquet and plain text, read and
written as streams.

1. A record is a line (JSONL), an element of the outer list or a whole value (JSON), a row (CSV,
   Parquet) or a paragraph (text: lines up to an empty one, at most `PARAGRAPH` characters).
2. The place of a text is that of `pipelines.json_texts`; the outermost member or column has its
   name where that is a plain word. The names themselves are texts, too.
3. A record that cannot be read has a problem and no texts; those after it are still read. Where a
   file is unreadable from some place on, the reader raises `InputError`.
4. A writer copies what no replacement names. Problems and places never quote text.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

from governance.base.errors import InputError
from pipelines import json_texts
from pipelines.sources.plain_names import MANY_DIGITS
from pipelines.sources.readers import (
    MAX_ROW,
    REPAIR,
    RowProblem,
    as_text,
    check_encoding,
    skip_line,
    too_long,
    without_repeats,
)

PARAGRAPH = 12_000
"""Characters from which a paragraph ends at the next line. The engine's window has as many."""

MAX_VALUE = 1 << 28
"""Largest value in a JSON file, in characters; it is held in memory."""

STEP = 1 << 18
"""Characters of a JSON file that are read at once."""

ROWS = 1024
"""Rows of a Parquet file that are read and written at once, if they are small."""

ROWS_BYTES = 1 << 26
"""Bytes of a Parquet file that are read and written at once."""

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".log": "text",
}
"""Suffix to format."""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Record:
    """One record of a file."""

    row: int
    """1-based: the line (the first one, of a paragraph or CSV row), or the position in JSON lists
    and Parquet. 0: the names of a Parquet file's columns.
    """
    texts: Sequence[tuple[str, str]] = ()
    """(place, text)."""
    value: Any = None
    """What the writer of the format takes."""
    names: Sequence[str] = ()
    """Of the columns or outermost members."""
    problem: str = ""
    """Why it cannot be read."""
    size: int = 0
    """Bytes in memory beside the texts."""

    def field(self, place: str, hidden: Collection[int] = ()) -> str:
        """A place for people (rule 2). `hidden`: positions of names that are not to be shown."""
        match = re.match(r"\[(\d+)\]", place)
        at = int(match[1]) if match else -1
        if match is None or at >= len(self.names) or at in hidden:
            return place.removeprefix(".") or "text"
        name = self.names[at]
        plain = _PLAIN_NAME.fullmatch(name) and sum(map(str.isdigit, name)) < MANY_DIGITS
        return f"{name}{place[match.end() :]}" if plain else place


@dataclass
class Source:
    """Where a document comes from."""

    name: str
    """For people."""
    format: str
    encoding: str = "utf-8"
    path: Path | None = None
    stream: BinaryIO | None = None
    """Instead of a path: standard input."""

    def bytes(self) -> io.BufferedReader:
        """The stream of its bytes. Raises `InputError`."""
        if self.path is None:
            return self.stream  # type: ignore[return-value] # one of both is set
        try:
            return self.path.open("rb")
        except OSError as error:
            raise self.failure(error.strerror or type(error).__name__) from None

    def text(self, newline: str) -> TextIO:
        """The stream of its text."""
        stream = self.bytes()
        try:
            return as_text(stream, self.name, self.encoding, newline)
        except (InputError, LookupError):
            stream.close()
            raise

    def failure(self, found: str, row: int | None = None, fix: str = "") -> InputError:
        """An error of this file."""
        return InputError(found, where=f"{self.name}:{row}" if row else self.name, fix=fix)


class Document(Protocol):
    """One file in one format. `records` comes first: it learns what `begin` needs."""

    def records(self) -> Iterator[Record]:
        """All records. Raises `InputError` (rule 3)."""
        ...

    def begin(self, out: BinaryIO) -> None:
        """Begins to write."""
        ...

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        """Writes a record with other texts at the places that `new` names."""
        ...

    def end(self) -> None:
        """Writes what is still to be written."""
        ...


def document(source: Source) -> Document:
    """The document of a source."""
    kinds: dict[str, type[Any]] = {
        "jsonl": Jsonl,
        "json": Json,
        "csv": Csv,
        "parquet": Parquet,
        "text": Text,
    }
    made: Document = kinds[source.format](source)
    return made


FORMATS = ("jsonl", "json", "csv", "parquet", "text")


@dataclass
class _TextDocument:
    """What the formats that are text share."""

    source: Source
    out: io.TextIOWrapper = field(init=False)

    def begin(self, out: BinaryIO) -> None:
        self.out = io.TextIOWrapper(out, self.source.encoding, newline="", write_through=True)

    def end(self) -> None:
        self.out.flush()
        self.out.detach()


# --- lines ----------------------------------------------------------------------------------------


def _lines(stream: TextIO) -> Iterator[tuple[int, str, str]]:
    """(number, line, problem) of every line."""
    number = 0
    while line := stream.readline(MAX_ROW):
        number += 1
        if len(line) == MAX_ROW and not line.endswith("\n"):
            yield number, "", too_long(len(line) + skip_line(stream)).detail
        else:
            yield number, line, _encoding_problem(line)


def _encoding_problem(text: str) -> str:
    try:
        check_encoding(text)
    except RowProblem as problem:
        return problem.detail
    return ""


class Jsonl(_TextDocument):
    """A JSON value in each line."""

    def records(self) -> Iterator[Record]:
        with self.source.text("\n") as stream:
            for number, line, problem in _lines(stream):
                if problem:
                    yield Record(number, problem=problem)
                elif line.strip():
                    yield self._record(number, line)

    def _record(self, number: int, line: str) -> Record:
        repeats = _Repeats()
        try:
            value = repeats.decoder.decode(line.strip())
        except json.JSONDecodeError as error:
            return Record(number, problem=f"not valid JSON at column {error.colno}")
        except (ValueError, RecursionError):
            return Record(number, problem=DEEP)
        return _json_record(number, line, value, repeats)

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        line, value = record.value
        self.out.write(
            f"{_written(value, new, self.source.encoding) if new else line.rstrip(chr(10))}\n"
        )


class Text(_TextDocument):
    """Paragraphs."""

    def records(self) -> Iterator[Record]:
        with self.source.text("\n") as stream:
            part: list[str] = []
            begin = 1
            for number, line, problem in _lines(stream):
                if not part:
                    begin = number
                if problem:
                    yield from _paragraph(begin, part)
                    yield Record(number, problem=problem)
                    part = []
                    continue
                part.append(line)
                if not line.strip() or sum(map(len, part)) >= PARAGRAPH:
                    yield from _paragraph(begin, part)
                    part = []
            yield from _paragraph(begin, part)

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        self.out.write(new.get("", record.value))


def _paragraph(row: int, lines: Sequence[str]) -> Iterator[Record]:
    if lines:
        text = "".join(lines)
        yield Record(row, [("", text)], text)


# --- JSON -----------------------------------------------------------------------------------------

DEEP = "nested too deeply, a number with too many digits, or one that JSON lacks"


class _Repeats:
    """A decoder that notices a key that is there twice: the first value would be lost unseen."""

    def __init__(self) -> None:
        self.found = False
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        try:
            return without_repeats(pairs)
        except RowProblem:
            self.found = True
            return dict(pairs)


def _json_record(row: int, text: str, value: Any, repeats: _Repeats) -> Record:
    if repeats.found:
        return Record(row, problem="an object has the same key twice")
    try:
        json_texts.dumps(value)
    except (ValueError, RecursionError):
        return Record(row, problem=DEEP)
    names = list(value) if isinstance(value, dict) else ()
    return Record(row, list(json_texts.leaves(value, "")), (text, value), names)


def _written(value: Any, new: Mapping[str, str], encoding: str) -> str:
    changed = json_texts.rewritten(value, "", new)
    text = json_texts.dumps(changed)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # a character that was an escape, and can be nothing else here
        return json.dumps(changed)
    return text


class Json(_TextDocument):
    """A list of values, or values one after the other. The text around values is not copied."""

    is_list = False
    written = 0

    def records(self) -> Iterator[Record]:
        with self.source.text("\n") as stream:
            text = _Decoded(self.source, stream)
            self.is_list = text.next() == "["
            if self.is_list:
                text.skip()
            row = 0
            while text.next() not in ("", "]"):
                row += 1
                yield text.record(row)
                if self.is_list and text.next() != "]":
                    text.comma()
            if self.is_list:
                text.close()
            if text.next():
                raise text.failure("text after the end of the list")

    def begin(self, out: BinaryIO) -> None:
        super().begin(out)
        self.written = 0
        if self.is_list:
            self.out.write("[")

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        text, value = record.value
        between = "," if self.is_list and self.written else ""
        self.out.write(f"{between}\n" if self.is_list else "")
        self.out.write(_written(value, new, self.source.encoding) if new else text)
        self.out.write("" if self.is_list else "\n")
        self.written += 1

    def end(self) -> None:
        if self.is_list:
            self.out.write("\n]\n")
        super().end()


class _Decoded:
    """The part of a JSON text that is being decoded."""

    def __init__(self, source: Source, stream: TextIO) -> None:
        self._source, self._stream = source, stream
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    def _more(self) -> None:
        """Reads on, in steps that grow with what is held, and forgets what is done."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        part = self._stream.read(max(STEP, len(rest)))
        self._text, self._at, self._ended = rest + part, 0, not part

    def next(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def skip(self) -> None:
        """Goes past one character."""
        self._at += 1

    def comma(self) -> None:
        """Goes past a comma that a value follows."""
        found = self.next()
        if found == ",":
            self.skip()
        if found != "," or self.next() in ("", "]"):
            raise self.failure("the list was cut off" if not self.next() else "no value, no comma")

    def close(self) -> None:
        """Goes past the end of the list."""
        if self.next() != "]":
            raise self.failure("the list was cut off")
        self.skip()

    def record(self, row: int) -> Record:
        """The next value."""
        while True:
            repeats = _Repeats()
            try:
                value, end = repeats.decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or not self._cut_off(error):
                    where = error.pos - self._at
                    raise self.failure(f"not valid JSON, {where} characters on") from None
            except (ValueError, RecursionError):
                raise self.failure(DEEP) from None
            else:
                if end < len(self._text) or self._ended:
                    text = self._text[self._at : end]
                    self._at = end
                    problem = _encoding_problem(text)
                    if problem:
                        return Record(row, problem=problem)
                    return _json_record(row, text, value, repeats)
            if len(self._text) - self._at > MAX_VALUE:
                raise self.failure(f"a value of more than {MAX_VALUE:,} characters")
            self._more()

    def _cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether more text may help."""
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16

    def failure(self, found: str) -> InputError:
        """An error at this place."""
        line = self._line + self._text.count("\n", 0, self._at)
        return self._source.failure(found, line, REPAIR)


# --- CSV ------------------------------------------------------------------------------------------


class Csv(_TextDocument):
    """Rows with commas, semicolons or tabs between. The first row names the columns, and is a
    record like any other: a file without a header begins with data.
    """

    delimiter, line_end = ",", "\n"

    def records(self) -> Iterator[Record]:
        csv.field_size_limit(MAX_ROW)
        with self.source.text("") as stream:
            first = stream.readline(MAX_ROW)
            self.delimiter = max(",;\t", key=first.count)
            self.line_end = "\r\n" if first.endswith("\r\n") else "\n"
            lines = chain([first] if first else [], self._rest(stream))
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            try:
                yield from self._rows(reader)
            except csv.Error as error:
                fix = f"close the quotes; if the file was cut off, {REPAIR}"
                raise self.source.failure(f"not valid CSV: {error}", reader.line_num, fix) from None

    def _rest(self, stream: TextIO) -> Iterator[str]:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_ROW), ""), start=2):
            if len(line) == MAX_ROW:
                raise self.source.failure(f"a line of {MAX_ROW} characters or more", number, REPAIR)
            yield line

    def _rows(self, reader: Any) -> Iterator[Record]:
        names: list[str] = []
        row = 1
        for values in reader:
            problem = next(filter(None, map(_encoding_problem, values)), "")
            if problem:
                yield Record(row, problem=problem)
            elif values:
                end = "" if names else json_texts.KEY
                texts = [(f"[{at}]{end}", value) for at, value in enumerate(values) if value]
                yield Record(row, texts, values, names)
            names = names or [value.strip() for value in values]
            row = reader.line_num + 1

    def begin(self, out: BinaryIO) -> None:
        super().begin(out)
        self._writer = csv.writer(self.out, delimiter=self.delimiter, lineterminator=self.line_end)

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        by_column = {_column(place): text for place, text in new.items()}
        self._writer.writerow([by_column.get(at, value) for at, value in enumerate(record.value)])


# --- Parquet --------------------------------------------------------------------------------------


class Parquet:
    """Rows of columns of any type. Where the type of a replaced value is no text, null is written.
    The file's metadata is neither searched nor copied.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.schema: Any = None
        self._writer: Any = None
        self._batch: Any = None
        self._kept: list[int] = []
        self._new: dict[int, dict[int, Any]] = {}

    def records(self) -> Iterator[Record]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        row = 0
        try:
            with self.source.bytes() as stream, pq.ParquetFile(stream) as file:
                self.schema = file.schema_arrow
                names = list(self.schema.names)
                if len(set(names)) != len(names):
                    raise self.source.failure("a column is named twice")
                known = enumerate(_names(self.schema))
                yield Record(0, [(f"[{at}].key", name) for at, name in known], names=names)
                for batch in file.iter_batches(batch_size=_rows_at_once(file.metadata)):
                    size = batch.nbytes // max(batch.num_rows, 1)
                    for at, value in enumerate(batch.to_pylist()):
                        row += 1
                        texts = list(_cells(list(value.values())))
                        yield Record(row, texts, (batch, at), names, size=size)
        except (pa.ArrowException, OSError) as error:
            found = f"not a readable Parquet file ({type(error).__name__})"
            raise self.source.failure(found, fix="copy the file again") from None
        except (ValueError, OverflowError) as error:
            found = f"a value that Python cannot hold ({type(error).__name__})"
            raise self.source.failure(found, row + 1) from None

    def begin(self, out: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.schema = pa.schema([pa.field(one.name, one.type) for one in self.schema])
        self._writer = pq.ParquetWriter(out, self.schema)

    def write(self, record: Record, new: Mapping[str, str]) -> None:
        if record.row == 0:  # names are not changed
            return
        batch, at = record.value
        if batch is not self._batch:
            with self._failures():
                self._flush()
            self._batch = batch
        for column in {_column(place) for place in new}:
            value = _listed(batch.column(column)[at].as_py())
            changed = json_texts.rewritten(value, f"[{column}]", new)
            fitting = _fitting(changed, batch.schema.field(column).type)
            self._new.setdefault(column, {})[len(self._kept)] = fitting
        self._kept.append(at)

    def end(self) -> None:
        with self._failures():
            self._flush()
            self._writer.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except pa.ArrowException as error:
            raise self.source.failure(f"cannot be written ({type(error).__name__})") from None

    def _flush(self) -> None:
        import pyarrow as pa

        if self._kept:
            columns = []
            for at, column in enumerate(self._batch.columns):
                kept, changed = column.take(pa.array(self._kept)), self._new.get(at)
                if changed:
                    values = [changed.get(row, value) for row, value in enumerate(kept.to_pylist())]
                    kept = pa.array(values, self.schema.field(at).type)
                columns.append(kept)
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
        self._kept, self._new = [], {}


def _rows_at_once(metadata: Any) -> int:
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return int(min(ROWS, max(1, ROWS_BYTES // max(largest, 1))))


def _column(place: str) -> int:
    return int(place[1 : place.index("]")])


def _names(schema: Any) -> Iterator[str]:
    """The names of the columns, then those inside them."""
    yield from schema.names
    types = [one.type for one in schema]
    while types:
        type_ = types.pop(0)
        for at in range(type_.num_fields):
            inner = type_.field(at)
            yield inner.name
            types.append(inner.type)


def _cells(values: list[Any]) -> Iterator[tuple[str, str]]:
    for at, value in enumerate(values):
        for place, text in json_texts.leaves(_searched(value), f"[{at}]"):
            if not place.endswith(json_texts.KEY):  # a name of the schema
                yield place, text


def _listed(value: Any) -> Any:
    """The value with lists in the place of pairs (of maps)."""
    if isinstance(value, list | tuple):
        return [_listed(one) for one in value]
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in value.items()}
    return value


def _searched(value: Any) -> Any:
    """The value as JSON: bytes that are UTF-8 as text, other bytes as null, dates as text."""
    if isinstance(value, list | tuple):
        return [_searched(one) for one in value]
    if isinstance(value, dict):
        return {key: _searched(one) for key, one in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return _decoded(value)
    return value if isinstance(value, str | int | None) else str(value)


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _fitting(value: Any, type_: Any) -> Any:
    """The value with nulls in the place of texts that the type does not hold."""
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return _fitting(value, type_.value_type)
    if isinstance(value, dict):
        return {key: _fitting(one, type_.field(key).type) for key, one in value.items()}
    if isinstance(value, list) and pa.types.is_map(type_):
        return [(_fitting(k, type_.key_type), _fitting(v, type_.item_type)) for k, v in value]
    if isinstance(value, list):
        return [_fitting(one, type_.value_type) for one in value]
    return _fitting_text(value, type_) if isinstance(value, str) else value


def _fitting_text(text: str, type_: Any) -> str | bytes | None:
    import pyarrow as pa

    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    binary = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if any(known(type_) for known in texts):
        return text
    return text.encode() if any(known(type_) for known in binary) else None
