"""Architectures to train from scratch: configurations without weights. A project names one that is
here `builtin:NAME` (`pipelines.architectures.builtin`), and one of its own by its path, `*.json`.
"""

from __future__ import annotations

BUILTIN = "builtin:"


def is_architecture(source: str) -> bool:
    """Whether a base's source is an architecture; else it is a model."""
    return source.startswith(BUILTIN) or source.endswith(".json")


def is_builtin(source: str) -> bool:
    """Whether a base's source is one of these."""
    return source.startswith(BUILTIN)
