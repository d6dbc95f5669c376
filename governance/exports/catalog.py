"""The export formats. To add one, add a module to `governance.exports.formats` that has a `FORMAT`.
Nothing else lists them.
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
    """What there is no document about, and why."""


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
    found = []
    for module in pkgutil.iter_modules(formats.__path__, f"{formats.__name__}."):
        found.append(import_module(module.name).FORMAT)
    return {one.name: one for one in sorted(found, key=lambda one: str(one.name))}


def export(
    records: Records, names: Sequence[str] = (), signer: Signer | None = None
) -> list[Export]:
    """The formats of these names, or all. A signer signs each statement. Raises `ConfigError`."""
    known = known_formats()
    for name in names:
        if name not in known:
            raise ConfigError(f"no format {name!r}", expected=f"one of: {', '.join(known)}")
    return [_export(known[name], records, signer) for name in known if not names or name in names]


def _export(wanted: Format, records: Records, signer: Signer | None) -> Export:
    made = wanted.make(records)
    documents = tuple(
        one if isinstance(one, Document) else _signed(one, signer) for one in made.documents
    )
    return Export(wanted, documents, tuple(made.missing))


def _signed(statement: InTotoStatement, signer: Signer | None) -> Document:
    """The statement's file; in a DSSE envelope if there is a signer."""
    path = f"attestations/{file_name(statement.name)}"
    if signer is None:
        return Document(f"{path}.json", canonical.dumps(statement.value))
    return Document(f"{path}.dsse.json", sign_statement(statement.value, signer))
