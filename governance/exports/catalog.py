"""The export formats. To add a format, add a module with a `FORMAT` to
`governance.exports.formats`. No other place lists the formats.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from governance.attest import canonical
from governance.attest.envelope import sign_statement
from governance.attest.keys import Signer
from governance.base.errors import ConfigError
from governance.exports import formats
from governance.exports.records import Records
from governance.exports.text import file_name


@dataclass(frozen=True)
class Document:
    """One file of an export."""

    path: str
    """Relative, POSIX."""
    data: bytes


@dataclass(frozen=True)
class InTotoStatement:
    """An in-toto Statement v1: a file that can be signed."""

    name: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Made:
    """What a format made of a version's records."""

    documents: Sequence[Document | InTotoStatement]
    missing: Sequence[str] = ()
    """The documents that could not be made, each with the reason."""


@dataclass(frozen=True)
class Format:
    """A format that other tools read."""

    name: str
    title: str
    make: Callable[[Records], Made]


@dataclass(frozen=True)
class Export:
    """One format's files for a version."""

    format: Format
    documents: tuple[Document, ...]
    missing: tuple[str, ...]


@cache
def known_formats() -> Mapping[str, Format]:
    """Name to format, in alphabetical order."""
    modules = pkgutil.iter_modules(formats.__path__, f"{formats.__name__}.")
    by_name = {}
    for module in modules:
        known_format: Format = import_module(module.name).FORMAT
        by_name[known_format.name] = known_format
    return dict(sorted(by_name.items()))


def export(
    records: Records, names: Sequence[str] = (), signer: Signer | None = None
) -> list[Export]:
    """Exports the formats of these names, or all formats. A signer signs each in-toto statement.

    Raises `ConfigError` for a name that is no format.
    """
    formats_by_name = known_formats()
    for name in names:
        if name not in formats_by_name:
            raise ConfigError(
                f"no format {name!r}", expected=f"one of: {', '.join(formats_by_name)}"
            )
    return [
        _export(formats_by_name[name], records, signer)
        for name in formats_by_name
        if not names or name in names
    ]


def _export(chosen: Format, records: Records, signer: Signer | None) -> Export:
    made = chosen.make(records)
    documents = tuple(
        document if isinstance(document, Document) else _signed(document, signer)
        for document in made.documents
    )
    return Export(chosen, documents, tuple(made.missing))


def _signed(statement: InTotoStatement, signer: Signer | None) -> Document:
    """The statement's file; in a DSSE envelope if there is a signer."""
    path = f"attestations/{file_name(statement.name)}"
    if signer is None:
        return Document(f"{path}.json", canonical.dumps(statement.value))
    return Document(f"{path}.dsse.json", sign_statement(statement.value, signer))
