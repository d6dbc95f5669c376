"""Architectures to train from scratch: configurations without weights. A project names one that is
here `builtin:NAME`, and one of its own by its path, `*.json`.
"""

from __future__ import annotations

from pathlib import Path

from governance.base.errors import unknown

BUILTIN = "builtin:"


def is_architecture(source: str) -> bool:
    """Whether a base's source is an architecture; else it is a model."""
    return source.startswith(BUILTIN) or source.endswith(".json")


def is_builtin(source: str) -> bool:
    """Whether a base's source is one of these."""
    return source.startswith(BUILTIN)


def names() -> list[str]:
    """As a project names them."""
    return sorted(f"{BUILTIN}{path.stem}" for path in Path(__file__).parent.glob("*.json"))


def place(source: str, root: Path) -> Path:
    """The file or folder of a local source in the project at `root`. Raises `ConfigError` for an
    unknown `builtin:NAME`.
    """
    if not is_builtin(source):
        return root / source
    if source not in names():
        raise unknown("built-in architecture", source, names(), "params.yaml: bases")
    return Path(__file__).with_name(f"{source.removeprefix(BUILTIN)}.json")
