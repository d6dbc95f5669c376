"""Engines that change a training's result and that only some objectives use: they are recorded, and
asked for before a run. The others are engines of the stage family (`countersign.lock`).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from pipelines.training import quantization

OF_ARGUMENTS = {"use_liger_kernel": "liger-kernel", "use_vllm": "vllm"}
"""TRL's argument to the distribution that it needs."""


def used(lora: Mapping[str, Any] | None, trainer: Mapping[str, Any]) -> list[str]:
    """The distributions that an objective with these options uses beside the family's engines."""
    found = [engine for name, engine in OF_ARGUMENTS.items() if trainer.get(name)]
    return [*found, quantization.PACKAGE] if quantization.quantizes(lora) else found


def versions(names: list[str]) -> dict[str, str]:
    """Distribution to version, of those that are installed."""
    return {name: version for name in names if (version := _version(name)) is not None}


def missing(names: list[str], where: str) -> Iterator[ConfigError]:
    """The distributions that are not installed."""
    for name in names:
        if _version(name) is None:
            extra = name == quantization.PACKAGE
            fix = pip_install("qlora") if extra else f"install {name}, or train without it"
            yield ConfigError(f"{name} is not installed", where=where, expected=name, fix=fix)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
