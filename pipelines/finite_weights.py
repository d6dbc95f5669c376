"""Finds numbers that are not finite in weight files, from their bytes: no model is loaded and torch
is not imported.

In the formats of IEEE 754, bfloat16 included, a number is infinite if all bits of its exponent are
set and no bit of its fraction is; with a bit of the fraction it is NaN. E4M3 has no infinity: NaN
has all bits but the sign. Types of 4 and 6 bits have neither.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.failures import not_finite

CHUNK = 1 << 24
"""Numbers that are compared at a time."""

EXPONENTS = {
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F32": ("<u4", 0x7F800000, 0x7FFFFFFF),
    "F64": ("<u8", 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF),
    "F8_E5M2": ("u1", 0x7C, 0x7F),
    "F8_E4M3": ("u1", 0x7F, 0x7F),
}
"""Type of a tensor to its numbers as unsigned integers, the exponent's bits, and all bits but the
sign.
"""


@dataclass(frozen=True)
class Tensor:
    """What a tensor holds beside finite numbers."""

    name: str
    type: str
    """As safetensors names it."""
    nan: bool
    infinite: bool

    @property
    def finite(self) -> bool:
        """Whether all its numbers are."""
        return not (self.nan or self.infinite)


def tensors(folder: Path) -> Iterator[Tensor]:
    """Every tensor of the folder's safetensors files, by file and name. The files are well formed
    (`governance.models.weights`).
    """
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items()):
            yield Tensor(name, entry["dtype"], *_found(path, entry, 8 + length))


def require_finite_weights(folder: Path, stage: str, step: int | None = None) -> None:
    """Raises `StoppedError` unless every number in every safetensors file of a folder is finite."""
    found = [tensor.finite for tensor in tensors(folder)]
    if wrong := found.count(False):
        counts = {"tensors": len(found), "tensors_not_finite": wrong}
        raise not_finite(
            stage, "the weights", f"{wrong} of {len(found)} tensors", step=step, counts=counts
        )


def _found(path: Path, entry: dict[str, Any], begin: int) -> tuple[bool, bool]:
    """Whether a tensor holds NaN, and whether it holds an infinite number."""
    import numpy as np

    if entry["dtype"] not in EXPONENTS:
        return False, False
    kind, exponent, magnitude = EXPONENTS[entry["dtype"]]
    first, last = entry["data_offsets"]
    count = (last - first) // np.dtype(kind).itemsize
    nan = infinite = False
    for at in range(0, count, CHUNK):
        place = begin + first + at * np.dtype(kind).itemsize
        bits = np.fromfile(path, kind, min(CHUNK, count - at), offset=place) & magnitude
        if entry["dtype"] == "F8_E4M3":
            nan |= bool((bits == exponent).any())
            continue
        if bits.max(initial=0) >= exponent:
            nan |= bool((bits > exponent).any())
            infinite |= bool((bits == exponent).any())
    return nan, infinite
