"""The engine versions that results depend on, by stage family, as DVC parameters.

DVC compares `pipelines/versions.yaml`. A stage refuses to run if the installed engines differ from
that file, so no result is cached under another engine's version.
"""

from __future__ import annotations

from pathlib import Path

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from governance.base.yaml import read_yaml
from pipelines.families import all_families, family

FILE = Path("pipelines/versions.yaml")


def installed(name: str) -> dict[str, str]:
    """Engine to installed version for a stage family. Raises `ConfigError` if one is missing."""
    if not family(name).engines:
        return {}
    import importlib.metadata  # slow, and a gate needs none

    engines: dict[str, str] = {}
    for engine in sorted(family(name).engines):
        try:
            engines[engine] = importlib.metadata.version(engine)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(f"{engine} is not installed", fix=pip_install("pipeline")) from None
    return engines


def all_installed() -> dict[str, dict[str, str]]:
    """Stage family to its engines and their installed versions; families without engines left
    out.
    """
    return {name: installed(name) for name, declared in all_families().items() if declared.engines}


def check(root: Path, name: str) -> None:
    """Compares the installed engines of a stage family with the file. Raises `ConfigError` with
    every difference.
    """
    if differing := differing_engines(root, name):
        found = f"installed engines differ from the file: {', '.join(differing)}"
        fix = "record them (`countersign versions --write`); stages that depend on them run again"
        raise ConfigError(found, where=str(FILE), fix=fix)


def differing_engines(root: Path, name: str) -> list[str]:
    """The installed engines of a stage family that the file does not have. Raises `ConfigError`."""
    engines = installed(name)
    recorded = (read_yaml(root / FILE) or {}).get(name, {}) if engines else {}
    return [
        f"{engine} {version} (file: {recorded.get(engine, 'not listed')})"
        for engine, version in engines.items()
        if recorded.get(engine) != version
    ]


def write(root: Path) -> bool:
    """Writes the installed versions; returns whether the file changed."""
    lines = ["# Written by `countersign versions --write`: engine versions that results depend on."]
    for name, engines in all_installed().items():
        lines += [f"{name}:", *(f"  {engine}: '{version}'" for engine, version in engines.items())]
    path, text = root / FILE, "\n".join(lines) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True
