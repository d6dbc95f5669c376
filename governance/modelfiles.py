"""Which files a model folder may hold: what only carries numbers and text, never what can run.

An allow list: an unknown kind of file is refused, since nobody has said what loading it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

SAFE_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".md", ".jinja", ".model"})
"""Weights, configuration, vocabulary, notes, chat template (rendered in a sandbox), SentencePiece."""

SAFE_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "USE_POLICY", ".gitattributes"})


def unsafe_files(paths: Iterable[str]) -> list[str]:
    """The paths that are on no list, sorted: pickles (`.bin`, `.pt`, `.pkl`), code (`.py`, `.so`), anything unknown."""
    return sorted(path for path in paths if not _safe(PurePosixPath(path)))


def remote_code(folder: Path) -> list[str]:
    """JSON files of a model folder that ask for code to be loaded (`auto_map`, `custom_pipelines`), sorted by path."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            continue
        if isinstance(value, dict) and (value.get("auto_map") or value.get("custom_pipelines")):
            found.append(path.relative_to(folder).as_posix())
    return found


def _safe(path: PurePosixPath) -> bool:
    return path.suffix in SAFE_SUFFIXES or path.name in SAFE_NAMES
