"""The export formats. To add a format, add a module with a `FORMAT` to
`governance.exports.formats`, and a row to docs/exports.md. No other code lists the formats.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module

from governance.attest import canonical
from governance.attest.envelope import sign_statement
from governance.attest.keys import Signer
from governance.base.errors import ConfigError
from governance.exports import formats
from governance.exports.records import Records


@dataclass(frozen=True)
class Document:
    """One file of an export."""

    path: str
    """Relative, POSIX; ends with .json for a statement."""
    data: bytes
    statement: bool = False
    """Whether it is an in-toto Statement v1, which can be signed."""


@dataclass(frozen=True)
class Made:
    """What a format made of a version's records."""

    documents: Sequence[Document]
    missing: Sequence[str] = ()
    """The documents that could not be made, each with the reason."""


@dataclass(frozen=True)
class Format:
    """A format that other tools read."""

    name: str
    title: str
    make: Callable[[Records], Made]


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
) -> dict[str, Made]:
    """Name to files, of the formats of these names, or of all formats. A signer signs each in-toto
    statement.

    Raises `ConfigError` for a name that is no format.
    """
    formats_by_name = known_formats()
    for name in names:
        if name not in formats_by_name:
            expected = f"one of: {', '.join(formats_by_name)}"
            raise ConfigError(f"no format {name!r}", expected=expected)
    made = {
        name: known.make(records)
        for name, known in formats_by_name.items()
        if not names or name in names
    }
    if signer is None:
        return made
    return {
        name: replace(each, documents=[_signed(document, signer) for document in each.documents])
        for name, each in made.items()
    }


def _signed(document: Document, signer: Signer) -> Document:
    """A statement in a DSSE envelope; any other document as it is."""
    if not document.statement:
        return document
    envelope = sign_statement(canonical.loads(document.data), signer)
    return Document(f"{document.path.removesuffix('.json')}.dsse.json", envelope)
