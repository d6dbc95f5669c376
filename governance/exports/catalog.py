"""The export formats. To add a format, add a module with a `FORMAT` to
`governance.exports.formats`, and a row to docs/exports.md. No other code lists the formats.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from operator import attrgetter

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
    names = [module.name for module in pkgutil.iter_modules(formats.__path__)]
    known: list[Format] = [import_module(f"{formats.__name__}.{name}").FORMAT for name in names]
    return {each.name: each for each in sorted(known, key=attrgetter("name"))}


def export(
    records: Records, names: Sequence[str] = (), signer: Signer | None = None
) -> dict[str, Made]:
    """Name to files, of the formats of these names, or of all formats. A signer signs each in-toto
    statement.

    Raises `ConfigError` for a name that is no format.
    """
    known = known_formats()
    for name in names:
        if name not in known:
            raise ConfigError(f"no format {name!r}", expected=f"one of: {', '.join(known)}")
    made = {name: known[name].make(records) for name in known if not names or name in names}
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
