"""Checks the weights of a model folder without loading them.

A safetensors file is a length, a JSON header and raw numbers
(https://huggingface.co/docs/safetensors). The library refuses huge headers, overlaps, holes and
trailing bytes; it accepts duplicate keys and any tensor name. This module refuses all of these,
before any library reads the file.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

from governance.attest import canonical
from governance.base.errors import InputError, VerificationError

MAX_HEADER = 64 << 20
"""The most bytes of a header. No known model has a larger one."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits per number of each type in the format."""

INDEX = "model.safetensors.index.json"
"""The one index of weights that is read."""

MAX_DIMENSIONS = 32
"""The most dimensions of a tensor. A longer shape could take any time to multiply."""

NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,512}")
"""A tensor's name. The parameters of a module have only these characters."""

FIX = "get the model from its publisher again, or convert it with safetensors' own tools"


def check_safetensors(path: Path) -> None:
    """Raises `InputError` if a file is not exactly one well-formed safetensors file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise _bad(path, f"header of {length} bytes in a file of {size}")
        raw = stream.read(length)
    try:
        header = canonical.loads(raw.rstrip(b" "), where=str(path))
    except VerificationError as error:
        raise _bad(path, f"header: {error.found}") from None
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise _bad(path, "header is no JSON object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise _bad(path, "metadata that is not name to text")
    _check_layout(path, header, size - 8 - length)


def check_index(folder: Path) -> None:
    """Raises `InputError` if the index does not name exactly the weight files of the folder."""
    path = folder / INDEX
    weights = {file.name for file in folder.glob("*.safetensors")}
    if not path.exists():
        if len(weights) > 1:
            raise InputError(
                f"{len(weights)} weight files and no index", where=str(folder), expected=path.name
            )
        return
    try:
        with path.open("rb") as stream:  # read no more than the limit, whatever the size
            data = stream.read(canonical.MAX_BYTES + 1)
        named = set(canonical.loads(data, where=str(path))["weight_map"].values())
    except (VerificationError, KeyError, AttributeError, TypeError):
        raise InputError("not an index of weights", where=str(path), fix=FIX) from None
    if named != weights:
        differing = ", ".join(sorted(str(name) for name in named ^ weights)[:5])
        raise InputError(
            f"the index and the files at hand differ: {differing}", where=str(path), fix=FIX
        )


def _check_layout(path: Path, tensors: dict[str, Any], size: int) -> None:
    spans = sorted(_span(path, name, entry) for name, entry in tensors.items())
    position = 0
    for begin, end in spans:
        if begin != position:
            fault = "overlapping tensors" if begin < position else "a hole"
            raise _bad(path, f"{fault} at byte {min(begin, position)}")
        position = end
    if position != size:
        raise _bad(path, f"{size} bytes of numbers, {position} described")


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    if not NAME.fullmatch(name) or ".." in name or name.startswith("/"):
        raise _bad(path, "a tensor name that is no parameter's name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"tensor {name}: not dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    bits = BITS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    well_formed = (
        _naturals(shape)
        and len(shape) <= MAX_DIMENSIONS
        and _naturals(offsets)
        and len(offsets) == 2
    )
    if not well_formed or bits is None or (offsets[1] - offsets[0]) * 8 != math.prod(shape) * bits:
        raise _bad(path, f"tensor {name}: type, shape and place do not agree")
    return offsets[0], offsets[1]


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _bad(path: Path, found: str) -> InputError:
    return InputError(found, where=str(path), expected="a well-formed safetensors file", fix=FIX)
