"""The architectures that come with the package. DVC sees none of these files, so they are listed by
name: what is named here is part of the code of `import_base` (`pipelines.familycode`).
"""

from __future__ import annotations

from pathlib import Path

from governance.base.errors import unknown
from pipelines.architectures import BUILTIN, is_builtin

FILES = ("tiny.json",)


def names() -> list[str]:
    """As a project names them."""
    return [f"{BUILTIN}{name.removesuffix('.json')}" for name in FILES]


def place(source: str, root: Path) -> Path:
    """The file or folder of a local source in the project at `root`. Raises `ConfigError` for an
    unknown `builtin:NAME`.
    """
    if not is_builtin(source):
        return root / source
    if source not in names():
        raise unknown("built-in architecture", source, names(), "params.yaml: bases")
    return Path(__file__).with_name(f"{source.removeprefix(BUILTIN)}.json")
