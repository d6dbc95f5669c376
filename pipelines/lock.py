"""`countersign.lock`: by stage family, what of the installed software its results depend on.

    train:
      code: <sha256>                     # of the packages' code for the family (`familycode`)
      engines: {torch: '2.13.0', ...}    # versions of the libraries that it names

DVC tracks each family's entry as a parameter (`countersign.lock: [train]`), so that a family runs
again when its code or engines change, and only then. Each stage and gate refuses to run if what is
installed differs from the lock: no result is kept under another one's name. `countersign upgrade`
writes the file; nothing else does.

Of a version, the local part does not count (`+cpu` in `2.13.0+cpu`): it names a build for a
platform, and a lock holds for all of them. A statement has the whole version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from governance.base.model import Model, Sha256
from governance.base.storage import write_atomic
from governance.base.yaml import parse_model, read_text
from pipelines import familycode
from pipelines.families import family, names

FILE = Path("countersign.lock")
FIX = "run `countersign upgrade`: it shows what will run again, then writes the lock"
HEAD = (
    "# What the results of each stage family depend on: the packages' code and engines.\n"
    "# Written by `countersign upgrade`. DVC tracks the entries; commit this file.\n"
)


class Entry(Model):
    """One family."""

    code: Sha256
    engines: dict[str, str] = {}
    """Distribution to version, without its local part."""


class Lock(Model):
    """The whole file."""

    model_config = {"extra": "allow"}
    __pydantic_extra__: dict[str, Entry] = {}

    @property
    def families(self) -> Mapping[str, Entry]:
        """Name to entry."""
        return self.__pydantic_extra__


@dataclass(frozen=True)
class Difference:
    """What is installed for a family, and not locked."""

    family: str
    part: Literal["code", "engine"]
    name: str = ""
    """Of the engine."""
    locked: str | None = None
    """The locked digest or version; None if there is none."""
    installed: str | None = None
    """The installed one; None if the family does not have this engine, or is not here, any more."""


def engines(name: str) -> dict[str, str]:
    """Engine to installed version for a stage family; without optional ones that are not installed.
    Raises `ConfigError` if another is missing.
    """
    declared = family(name)
    wanted = sorted({*declared.engines, *declared.optional_engines})
    if not wanted:
        return {}
    import importlib.metadata  # slow, and a gate needs none

    found: dict[str, str] = {}
    for engine in wanted:
        try:
            found[engine] = importlib.metadata.version(engine)
        except importlib.metadata.PackageNotFoundError:
            if engine in declared.optional_engines:
                continue
            raise ConfigError(f"{engine} is not installed", fix=pip_install("pipeline")) from None
    return found


def installed(name: str) -> Entry:
    """The entry of a family as it is installed. Raises `ConfigError`."""
    versions = {engine: version.partition("+")[0] for engine, version in engines(name).items()}
    return Entry(code=_code(name), engines=versions)


@cache
def _code(name: str) -> str:
    """What this process has imported does not change."""
    return familycode.digest(name)


def read(root: Path) -> Lock:
    """The lock of the project at `root`; empty if there is none. Raises `ConfigError`."""
    path = root / FILE
    return parse_model(read_text(path), path, Lock) if path.exists() else Lock()


def differences(root: Path, families: Collection[str]) -> list[Difference]:
    """How what is installed differs from the lock, in the order of `families`. Raises
    `ConfigError`.
    """
    locked = read(root).families
    return [
        difference
        for name in families
        for difference in between(name, locked.get(name), installed(name))
    ]


def between(name: str, old: Entry | None, new: Entry) -> Iterator[Difference]:
    """How the entry of a family differs from an older one. Without an older one, only that."""
    if old is None:
        yield Difference(name, "code", "", None, new.code)
        return
    if old.code != new.code:
        yield Difference(name, "code", "", old.code, new.code)
    before, after = old.engines, new.engines
    for engine in sorted(before.keys() | after.keys()):
        if before.get(engine) != after.get(engine):
            yield Difference(name, "engine", engine, before.get(engine), after.get(engine))


def check(root: Path, name: str) -> None:
    """Raises `ConfigError` with every difference of a stage family."""
    if error := mistake(root, [name]):
        raise error


def mistake(root: Path, families: Collection[str]) -> ConfigError | None:
    """The error for what is installed for these families and differs from the lock."""
    if not (root / FILE).exists():
        return ConfigError("this project has no lock", where=str(FILE), fix=FIX)
    for name in families:
        for engine, extra in family(name).optional_engines.items():
            if engine not in engines(name):
                found = f"{engine} is not installed, and {name} needs it"
                return ConfigError(found, fix=pip_install(extra))
    differing = differences(root, families)
    if not differing:
        return None
    found = f"what is installed differs from the lock: {'; '.join(in_words(differing))}"
    return ConfigError(found, where=str(FILE), fix=FIX)


def in_words(differing: Collection[Difference], *, named: bool = True) -> list[str]:
    """One text for each difference. `named`: with the families that have it."""
    rows: dict[str, list[str]] = {}
    for each in differing:
        rows.setdefault(_text(each), []).append(each.family)
    return [f"{text} ({', '.join(families)})" if named else text for text, families in rows.items()]


def _text(difference: Difference) -> str:
    if difference.part == "code":
        return "other code" if difference.locked else "no entry"
    installed, locked = difference.installed or "not used", difference.locked or "not listed"
    return f"{difference.name} {installed} (locked: {locked})"


def write(root: Path) -> None:
    """Writes what is installed, in one step. Raises `ConfigError` or `StorageError`."""
    lines = [HEAD]
    for name in names():
        entry = installed(name)
        lines.append(f"{name}:\n  code: {entry.code}\n")
        if entry.engines:
            lines.append("  engines:\n")
            lines += [f"    {engine}: '{version}'\n" for engine, version in entry.engines.items()]
    write_atomic(root / FILE, "".join(lines).encode())
