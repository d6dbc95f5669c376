"""Reads rows from JSONL, JSON, CSV and Parquet files, and names every problem by file, row and
field.

1. A file that is unreadable as a whole or cut off is an `InputError`.
2. An unreadable row is a `Row` with a problem; the rows after it are still read.
3. JSONL, CSV and Parquet are streamed. A JSON document is held in memory as text, its rows are not.
4. Problems give types, sizes and positions, never text of the row.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from governance.base.errors import ConfigError, InputError
from pipelines.sources.plain_names import plain_file, plain_name

MAX_ROW = 16 << 20
"""Largest row in characters; a longer row is left out."""

BOMS = {
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\x1f\x8b": "gzip",
    b"PK": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""First bytes of file formats that people rename to .jsonl."""

SET_ENCODING = (
    "set `encoding` of the dataset, e.g. utf-16 (countersign add and scan: --encoding utf-16)"
)
REPAIR = "copy or correct the file"

TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    str: "text",
    int: "number",
    float: "number",
    list: "list",
    dict: "object",
}


class RowProblem(Exception):
    """One row cannot become a record. `reason` is a finding code; `detail` never holds text of the
    row.
    """

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.field, self.detail = reason, field, detail


@dataclass(frozen=True)
class Row:
    """One row of a source file."""

    row: int
    """1-based: the line in JSONL and CSV, the position in JSON arrays and Parquet."""
    value: dict[str, Any]
    problem: RowProblem | None = None


def source_files(source: Path) -> list[tuple[str, Path]]:
    """(name, path) of a file, or of every data file in a folder, in the order of their names. A
    name that may be personal data is replaced by the file's number.
    """
    if source.is_file():
        _reader(source)
        return [(plain_file(source.name, 1), source)]
    if not source.is_dir():
        raise InputError("no such file or folder", where=str(source))
    files = [
        path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in READERS
    ]
    if not files:
        found = "no data file in this folder"
        raise InputError(found, where=str(source), expected=", ".join(READERS))
    ordered = sorted((path.relative_to(source).as_posix(), path) for path in files)
    return [(plain_file(name, at), path) for at, (name, path) in enumerate(ordered, 1)]


def read_rows(path: Path, encoding: str = "utf-8") -> Iterator[Row]:
    """The rows of a file, by its suffix. Raises `InputError` where the file as a whole is not
    readable.
    """
    try:
        yield from _reader(path)(path, encoding)
    except UnicodeError as error:
        found = f"not text in {encoding} ({type(error).__name__})"
        raise InputError(found, where=str(path), fix=SET_ENCODING) from None
    except LookupError:
        found, where = f"no encoding {encoding!r}", "params.yaml: datasets"
        raise ConfigError(found, where=where, expected="e.g. utf-8, cp1252") from None
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None


def type_name(value: object) -> str:
    """The type of a value, in JSON's words."""
    return TYPE_NAMES.get(type(value), type(value).__name__)


def _reader(path: Path) -> Callable[[Path, str], Iterator[Row]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        found = f"no reader for {path.suffix or 'a name without suffix'}"
        raise InputError(found, where=str(path), expected=", ".join(READERS))
    return reader


def _open(path: Path, encoding: str, newline: str) -> TextIO:
    """Opens text. Bytes that are not `encoding` become lone surrogates, which rows are checked
    for.
    """
    stream = path.open("rb")
    try:
        return as_text(stream, str(path), encoding, newline)
    except (InputError, LookupError):
        stream.close()
        raise


def as_text(stream: io.BufferedReader, where: str, encoding: str, newline: str) -> TextIO:
    """The same of a stream that is open; `where` names it. Raises `InputError`."""
    head = stream.peek(4096)[:4096]
    plain, wanted = encoding.lower().replace("_", "-"), f"{encoding} text"
    for mark, form in BOMS.items():
        if head.startswith(mark) and not plain.startswith(form):
            fix = SET_ENCODING if form == "utf-16" else "unpack the file first"
            raise InputError(f"this is {form}", where=where, expected=wanted, fix=fix)
    is_utf8 = plain in ("utf-8", "utf8")
    if b"\0" in head and is_utf8:
        found, fix = "this is not text: it has zero bytes", f"if it is text, {SET_ENCODING}"
        raise InputError(found, where=where, expected=wanted, fix=fix)
    chosen = "utf-8-sig" if is_utf8 else encoding
    return io.TextIOWrapper(stream, chosen, errors="surrogateescape", newline=newline)


def check_encoding(text: str) -> None:
    """Raises `RowProblem` for text with bytes that are not of the file's encoding."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        detail = f"character {error.start + 1} is not valid in the file's encoding"
        raise RowProblem("ROW_ENCODING", "", detail) from None


# --- JSON -----------------------------------------------------------------------------------------


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises `RowProblem` for a key that is there twice."""
    names = [name for name, _ in pairs]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        detail = "an object has the same key twice"
        raise RowProblem("KEY_REPEATED", plain_name(repeated[0]), detail)
    return dict(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=without_repeats)
_LENIENT = json.JSONDecoder()


def _decode(text: str) -> dict[str, Any]:
    """A row of JSON. Raises `RowProblem`."""
    check_encoding(text)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise RowProblem("ROW_UNREADABLE", "", "nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RowProblem("ROW_UNREADABLE", "", f"not valid JSON at column {error.colno}") from None
    except ValueError:
        raise RowProblem("ROW_UNREADABLE", "", "a number with too many digits") from None
    return _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowProblem("ROW_NOT_OBJECT", "", f"found {type_name(value)}, expected an object")
    return value


def _jsonl(path: Path, encoding: str) -> Iterator[Row]:
    with _open(path, encoding, "\n") as stream:
        number = 0
        while line := stream.readline(MAX_ROW):
            number += 1
            if len(line) == MAX_ROW and not line.endswith("\n"):
                yield Row(number, {}, too_long(len(line) + skip_line(stream)))
            elif line.strip():
                yield _jsonl_row(path, number, line)


def too_long(size: int) -> RowProblem:
    """The problem of a row of so many characters."""
    return RowProblem("ROW_TOO_LONG", "", f"{size} characters, at most {MAX_ROW}")


def skip_line(stream: TextIO) -> int:
    """Skips to the end of the line; returns the number of characters."""
    size = 0
    while part := stream.readline(MAX_ROW):
        size += len(part)
        if part.endswith("\n"):
            break
    return size


def _jsonl_row(path: Path, number: int, line: str) -> Row:
    try:
        return Row(number, _decode(line))
    except RowProblem as problem:
        if problem.reason == "ROW_UNREADABLE" and not line.endswith("\n"):
            found = "the file ends in the middle of a row: it was cut off"
            fix = "copy the file again, or remove the last line"
            raise InputError(found, where=f"{path}:{number}", fix=fix) from None
        return Row(number, {}, problem)


def _json(path: Path, encoding: str) -> Iterator[Row]:
    """Rows of an array of objects, of an object with one list of them, or of JSONL under another
    name.
    """
    with _open(path, encoding, "\n") as stream:
        text = stream.read()
    try:
        check_encoding(text)
    except RowProblem as problem:
        raise InputError(problem.detail, where=str(path), fix=SET_ENCODING) from None
    start = _space(text, 0)
    if text[start : start + 1] == "[":
        yield from _array(path, text, start)
        return
    value, end = _whole(path, text, start)
    if _space(text, end) < len(text):
        yield from _jsonl(path, encoding)
        return
    for number, element in enumerate(_only_list(path, value), start=1):
        yield _row(number, _object, element)


def _only_list(path: Path, value: Any) -> list[Any]:
    """The list `data` of an object, or the only list that it has. Raises `InputError`."""
    members = value if isinstance(value, dict) else {}
    if isinstance(members.get("data"), list):
        return list(members["data"])
    lists = [member for member in members.values() if isinstance(member, list)]
    if len(lists) != 1:
        found = f"a JSON {type_name(value)} with {len(lists)} lists"
        expected = 'a list of objects, an object with one such list, or {"data": [...]}'
        raise InputError(found, where=str(path), expected=expected)
    return list(lists[0])


def _array(path: Path, text: str, start: int) -> Iterator[Row]:
    """The elements of the array at `start`, decoded one by one."""
    at, row = _space(text, start + 1), 0
    if text[at : at + 1] == "]":
        return
    while True:
        row += 1
        try:
            value, end = _DECODER.raw_decode(text, at)
            yield _row(row, _object, value)
        except RowProblem as problem:
            _, end = _whole(path, text, at)
            yield Row(row, {}, problem)
        except (ValueError, RecursionError):
            _, end = _whole(path, text, at)
        at = _space(text, end)
        if text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ",":
            found = "no comma between two rows"
            if at >= len(text):
                found = "the file ends in the middle of the list: it was cut off"
            raise InputError(found, where=f"{path}:{_line(text, at)}", fix=REPAIR)
        at = _space(text, at + 1)


def _row(number: int, read: Callable[..., dict[str, Any]], *values: Any) -> Row:
    """The row that `read` makes of the values, or a row with the problem that it raises."""
    try:
        return Row(number, read(*values))
    except RowProblem as problem:
        return Row(number, {}, problem)


def _whole(path: Path, text: str, at: int) -> tuple[Any, int]:
    """The JSON value at `at` and where it ends. Raises `InputError`."""
    try:
        return _LENIENT.raw_decode(text, at)
    except json.JSONDecodeError as error:
        found = f"not valid JSON at column {error.colno}"
        if not text.rstrip().endswith(("}", "]")):
            found = f"{found}; the file was cut off"
        raise InputError(found, where=f"{path}:{error.lineno}", fix=REPAIR) from None
    except (RecursionError, ValueError):
        found = "nested too deeply, or a number with too many digits"
        raise InputError(found, where=f"{path}:{_line(text, at)}") from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


_SPACE = re.compile(r"[ \t\r\n]*")


def _space(text: str, at: int) -> int:
    """The first position from `at` on that is not JSON white space."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


# --- CSV ------------------------------------------------------------------------------------------


def _csv(path: Path, encoding: str) -> Iterator[Row]:
    """Rows below a header; commas, semicolons or tabs. Quoted fields may have line breaks."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _open(path, encoding, "") as stream:
        first = stream.readline(MAX_ROW)
        delimiter = max(",;\t", key=first.count)
        stream.seek(0)
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = _header(path, next(reader, []))
            number = reader.line_num + 1
            for values in reader:
                if values:
                    yield _row(number, _csv_values, header, values)
                number = reader.line_num + 1
        except csv.Error as error:
            fix = f"close the quotes; if the file was cut off, {REPAIR}"
            where = f"{path}:{reader.line_num}"
            raise InputError(f"not valid CSV: {error}", where=where, fix=fix) from None


def _header(path: Path, names: list[str]) -> list[str]:
    stripped = [name.strip() for name in names]
    if not any(stripped):
        raise InputError("no header line", where=f"{path}:1", expected="the names of the columns")
    doubled = sorted({plain_name(name) for name in stripped if stripped.count(name) > 1})
    if doubled:
        raise InputError(f"column named twice: {', '.join(doubled)}", where=f"{path}:1")
    return stripped


def _csv_values(header: list[str], values: list[str]) -> dict[str, Any]:
    if len(values) != len(header):
        detail = f"{len(values)} fields, the header has {len(header)}"
        raise RowProblem("ROW_UNREADABLE", "", detail)
    size = sum(map(len, values))
    if size > MAX_ROW:
        raise too_long(size)
    for value in values:
        check_encoding(value)
    return dict(zip(header, values, strict=True))


# --- Parquet --------------------------------------------------------------------------------------


def _parquet(path: Path, encoding: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise InputError("a column is named twice", where=str(path))
            merges = any(_has_objects(field.type) for field in file.schema_arrow)
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    row += 1
                    yield Row(row, _own_members(value) if merges else value)
    except (pa.ArrowException, OSError) as error:
        found = f"not a readable Parquet file ({type(error).__name__})"
        raise InputError(found, where=str(path), fix="copy the file again") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, UnicodeError):
            raise
        found = f"a value that Python cannot hold ({type(error).__name__})"
        expected = "dates from year 1 to 9999, and objects whose fields have names of their own"
        raise InputError(found, where=f"{path}:{row + 1}", expected=expected) from None


def _has_objects(type_: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(type_):
        return True
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(type_) for is_list in lists) and _has_objects(type_.value_type)


def _own_members(row: dict[str, Any]) -> dict[str, Any]:
    """The row without the null members of its objects: Arrow gives every object of a column the
    members of all others, e.g. each call of a tool the arguments of every tool.
    """
    return {name: _without_nulls(value) for name, value in row.items()}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
"""Suffix to reader."""
