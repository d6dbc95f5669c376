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
        one, two = _tensors(first, stack), _tensors(second, stack)
        names = sorted(one.keys() | two.keys())
        if not files:
            return Comparison(True, 0.0, 0, len(names), ())
        found = [_difference(one.get(name), two.get(name), name) for name in names]
    differing = [value for value in found if value is not None]
    largest = max(differing, default=0.0)
    comparable = all(math.isfinite(value) for value in differing)
    return Comparison(False, largest if comparable else None, len(differing), len(names), files)


def _tensors(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Tensor name to the open file that has it."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights.check_safetensors(path)
        file = stack.enter_context(safe_open(path, framework="pt"))
        found.update(dict.fromkeys(file.keys(), file))
    return found


def _difference(one: Any, two: Any, name: str) -> float | None:
    """The largest absolute difference of a tensor. None for the same bytes, infinite if it cannot
    be expressed.
    """
    if one is None or two is None:
        return math.inf
    first, second = one.get_tensor(name), two.get_tensor(name)
    if first.shape != second.shape or first.dtype != second.dtype:
        return math.inf
    told = [value for value in _parts(first, second) if value is not None]
    if not told:
        return None
    return max(told) if all(math.isfinite(value) for value in told) else math.inf


def _parts(first: Any, second: Any) -> Iterator[float | None]:
    import torch

    for one, two in zip(first.flatten().split(PART), second.flatten().split(PART), strict=True):
        if torch.equal(one.view(torch.uint8), two.view(torch.uint8)):
            yield None
        else:
            yield float((one.double() - two.double()).abs().max())
