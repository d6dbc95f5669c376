"""The code that the results of a stage family depend on, found from the imports of its module.

1. A family's code is its module of `pipelines.stages` and everything of `pipelines` and
   `governance` that it imports, directly or not, wherever the import stands.
2. A table, word list or template counts if a module or template of the family names it and it lies
   in that module's folder or in the package's `templates`.
3. `OUTSIDE` does not count: it runs a stage, records it or words a message, and does not change a
   result. The results of a family that runs each time are not kept, and the same rule holds.
4. The defaults of the family's tables of params.yaml count as well: they decide what a missing
   entry means.
5. Files of the family's `code_folders` count. Reward functions (`pipelines/rewards`) count for the
   family `suite` alone: objectives and suites have the digests of those that they name.

The digest is over names and sha256 of the files. It is the same for a checkout and for an installed
package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

import governance
import pipelines
from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from pipelines.families import family
from pipelines.params import Params

OUTSIDE = frozenset(
    f"pipelines.{name}"
    for name in (
        *("boot", "cli", "codefiles", "commit", "families", "familycode", "generation.deciding"),
        *("harness", "installed"),
        *("isolation", "job", "lock", "own_version", "params", "paths", "process", "project"),
        *("provenance", "shown", "stages", "stages.gate"),
    )
) | frozenset(
    f"governance.{name}"
    for name in (
        *("attest.codes", "attest.findings", "attest.predicates", "attest.requests"),
        *("base.distribution", "base.errors", "base.progress", "base.storage"),
        *("machine", "people", "registry"),
    )
)
"""(3) Modules, and packages with all that is in them. `stages.gate` counts for the family `gate`:
for others, it decides whether a stage runs, not what it writes, as `generation.deciding` does. Not
`stages` as a whole.
"""
_WHOLE = tuple(f"{name}." for name in OUTSIDE if name.startswith("governance."))

EMPTY: tuple[Any, ...] = (None, "", [], {})

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<package>(?:governance|pipelines)[\w.]*)[ \t]+import[ \t]+"
    r"(?P<names>\([^)]*\)|[^\n(]*)|import[ \t]+(?P<modules>(?:governance|pipelines)[^\n]*))",
    re.MULTILINE,
)
_QUOTED_MODULE = re.compile(r"""["']((?:governance|pipelines)(?:\.\w+)+)["']""")
_QUOTED_FILE = re.compile(r"""["']([\w-]+(?:\.[\w-]+)+)["']""")
_COMMENT = re.compile(r"#[^\n]*")


def digest(name: str) -> str:
    """sha256 of the code and the defaults of a family. Raises `ConfigError` for an unknown one."""
    found = {file: sha256_bytes(_read(file)) for file in files(name)}
    return sha256_bytes(canonical.dumps({"files": found, "defaults": _defaults(name)}))


def files(name: str) -> list[str]:
    """(1) to (3) and (5): `PACKAGE/PATH` of each file, sorted."""
    folders = family(name).code_folders
    found = {f"{folder}/{each}" for folder in folders for each in _names(folder) if "." in each}
    queue = [f"pipelines.stages.{name}"]
    while queue:
        file = _file(queue.pop())
        if file is not None and file not in found:
            found |= {file, *_data(file)}
            queue += [module for module in _imports(file) if not _is_outside(module)]
    return sorted(found)


def _is_outside(module: str) -> bool:
    return module in OUTSIDE or module.startswith(_WHOLE)


@cache
def _path(file: str) -> Path:
    package, _, rest = file.partition("/")
    folder = {"governance": governance, "pipelines": pipelines}[package].__path__[0]
    return Path(folder) / rest


@cache
def _read(file: str) -> bytes:
    """Its bytes when they were first read in this process."""
    return _path(file).read_bytes()


@cache
def _names(folder: str) -> frozenset[str]:
    """What is in a folder of the packages; nothing if there is none."""
    path = _path(folder)
    return frozenset(entry.name for entry in path.iterdir()) if path.is_dir() else frozenset()


def _is_file(file: str) -> bool:
    folder, _, name = file.rpartition("/")
    return name in _names(folder)


@cache
def _file(module: str) -> str | None:
    """The file of a module; None if there is no such module."""
    name = module.replace(".", "/")
    places = (f"{name}.py", f"{name}/__init__.py") if "/" in name else ()
    return next(filter(_is_file, places), None)


@cache
def _imports(file: str) -> frozenset[str]:
    """(1) The modules that a module names in an import or as a program to start."""
    text = _read(file).decode("utf-8")
    found = set(_QUOTED_MODULE.findall(text))
    for match in _IMPORT.finditer(text):
        package, names = match["package"], match["names"] or match["modules"]
        listed = _COMMENT.sub("", names).strip("() \t\n").split(",")
        for name in filter(None, (entry.split(" as ")[0].strip() for entry in listed)):
            below = f"{package}.{name}" if package else name
            found.add(below if _file(below) or not package else package)
    return frozenset(found)


def _data(file: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """(2) The data files that a module or template names."""
    folder = file.rpartition("/")[0]
    folders = {folder, f"{file.partition('/')[0]}/templates"}
    for name in set(_QUOTED_FILE.findall(_read(file).decode("utf-8", "replace"))):
        for found in (f"{place}/{name}" for place in folders):
            if not name.endswith(".py") and found not in seen | {file} and _is_file(found):
                yield found
                yield from _data(found, seen | {file, found})


def _defaults(name: str) -> dict[str, Any]:
    """(4) Table to the defaults of its rows."""
    declared = family(name)
    tables = filter(None, (declared.table, *declared.settings))
    return {table: _of_type(Params.model_fields[table].annotation) for table in sorted(tables)}


def _of_type(kind: Any) -> dict[str, Any]:
    """Model to field to default, of a type and all models within it. A field without a default, or
    with an empty one, is left out: what it means when it is absent is said by the code alone.
    """
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        inner = chain.from_iterable(_of_type(part).items() for part in get_args(kind))
        return dict(inner)
    fields = kind.model_fields
    given = {
        name: to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in fields.items()
        if not field.is_required()
    }
    defaults = {name: value for name, value in given.items() if value not in EMPTY}
    within = chain.from_iterable(_of_type(field.annotation).items() for field in fields.values())
    return {kind.__name__: defaults, **dict(within)}
