"""The engine versions that results depend on, by stage family, as DVC parameters.

`pipelines/versions.yaml` is what DVC compares; a stage refuses to run when the installed engines
differ from it, so that a result is never cached under another engine's name.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from governance.base.errors import ConfigError
from governance.base.yaml import read_yaml

FILE = Path("pipelines/versions.yaml")

ENGINES: dict[str, tuple[str, ...]] = {
    "fetch": ("datasets", "pyarrow"),
    "ingest": ("pyarrow",),
    "scan": ("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract", "pyarrow"),
    "quality": ("great-expectations", "pandas", "numpy", "pyarrow"),
    "train": (
        "torch",
        "transformers",
        "trl",
        "peft",
        "accelerate",
        "tokenizers",
        "datasets",
        "safetensors",
        "numpy",
    ),
    "evaluate": ("torch", "transformers", "tokenizers", "numpy"),
}
"""Group of stages to the distributions that can change what it writes."""

GROUP_OF: dict[str, str] = {
    "fetch": "fetch",
    "ingest": "ingest",
    "scan_pii": "scan",
    "check_quality": "quality",
    "train": "train",
    "evaluate": "evaluate",
    "evaluate_base": "evaluate",
}
"""Stage family to group; the others depend on no engine."""


def installed(family: str) -> dict[str, str]:
    """Distribution to installed version for a stage family. Raises `ConfigError` when one is
    missing.
    """
    found: dict[str, str] = {}
    for name in ENGINES.get(GROUP_OF.get(family, ""), ()):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"{name} is not installed", fix="pip install 'countersign[pipeline]'"
            ) from None
    return found


def check(root: Path, family: str) -> None:
    """Holds the installed engines against the file. Raises `ConfigError` naming each difference."""
    group = GROUP_OF.get(family)
    if group is None:
        return
    have = installed(family)
    said = read_yaml(root / FILE) or {}
    written = said.get(group, {})
    wrong = [
        f"{name} {found} (file: {written.get(name)})"
        for name, found in have.items()
        if written.get(name) != found
    ]
    if wrong:
        raise ConfigError(
            f"installed engines differ from the file: {', '.join(wrong)}",
            where=str(FILE),
            fix=(
                "`countersign versions --write` takes the installed ones, and what depends on them"
                " is made again"
            ),
        )


def write(root: Path) -> bool:
    """Writes the installed versions; true when the file changed."""
    lines = [
        "# Written by `countersign versions --write`: engines whose version is part of a stage's"
        " result.\n"
    ]
    for group in ENGINES:
        family = next(f for f, g in GROUP_OF.items() if g == group)
        lines.append(f"{group}:\n")
        lines += [f"  {name}: '{version}'\n" for name, version in sorted(installed(family).items())]
    path, text = root / FILE, "".join(lines)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True
