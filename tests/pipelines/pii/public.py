"""Texts of the public data."""

from __future__ import annotations

import json
import random
from pathlib import Path


def sample(path: Path, size: int = 80) -> list[str]:
    """Texts of a file, or of the first one in a folder, whatever their shape."""
    files = [path] if path.is_file() else sorted([*path.glob("*.json"), *path.glob("*.jsonl")])
    text = files[0].read_text(encoding="utf-8")
    rows = (
        json.loads(text)
        if files[0].suffix == ".json"
        else [json.loads(line) for line in text.splitlines()]
    )
    return random.Random(5).sample([said for row in rows for said in strings(row)], size)


def strings(value: object) -> list[str]:
    """Every text within a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [said for one in inner for said in strings(one)]
