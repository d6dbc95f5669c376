"""Compares two model folders: byte by byte, then tensor by tensor.

Weights are read one tensor at a time and compared in parts, so that models larger than memory can
be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.attest import digests
from governance.models import weights

PART = 1 << 22
"""Numbers that are compared at once."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two model folders."""

    same_bytes: bool
    largest_difference: float | None
    """The largest absolute difference of any number. None if shapes or types differ, or for NaN."""
    differing: int
    """Tensors that differ, including those that only one folder has."""
    tensors: int
    files: tuple[str, ...]
    """Files that differ, in words."""


def compare(first: Path, second: Path) -> Comparison:
    """Compares `second` with `first`. Raises `InputError` for weights that are not well-formed."""
    files = tuple(digests.difference(digests.manifest(first), digests.manifest(second)))
    with ExitStack() as stack:
        before, after = _tensors(first, stack), _tensors(second, stack)
        names = sorted(before.keys() | after.keys())
        if not files:
            return Comparison(True, 0.0, 0, len(names), ())
        differences = [_difference(before.get(name), after.get(name), name) for name in names]
    differing = [value for value in differences if value is not None]
    largest = max(differing, default=0.0)
    comparable = all(math.isfinite(value) for value in differing)
    return Comparison(False, largest if comparable else None, len(differing), len(names), files)


def _tensors(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Tensor name to the open file that has it."""
    from safetensors import safe_open

    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights.check_safetensors(path)
        file = stack.enter_context(safe_open(path, framework="pt"))
        tensors.update(dict.fromkeys(file.keys(), file))
    return tensors


def _difference(before: Any, after: Any, name: str) -> float | None:
    """The largest absolute difference of a tensor. None for the same bytes, infinite if it cannot
    be expressed.
    """
    if before is None or after is None:
        return math.inf
    first, second = before.get_tensor(name), after.get_tensor(name)
    if first.shape != second.shape or first.dtype != second.dtype:
        return math.inf
    differences = list(_differences(first, second))
    if any(math.isnan(difference) for difference in differences):
        return math.inf
    return max(differences, default=None)


def _differences(first: Any, second: Any) -> Iterator[float]:
    """The largest difference of each part that does not have the same bytes."""
    import torch

    pairs = zip(first.flatten().split(PART), second.flatten().split(PART), strict=True)
    for left, right in pairs:
        if not torch.equal(left.view(torch.uint8), right.view(torch.uint8)):
            yield float((left.double() - right.double()).abs().max())
