"""A report's two files: the page for people and its JSON twin."""

from __future__ import annotations

from pathlib import Path

from governance.report.html import json_twin, page
from governance.report.model import Report
from governance.storage import write_atomic


def rendered(report: Report) -> dict[str, bytes]:
    """File name to content: MODEL-VERSION.json and MODEL-VERSION.html."""
    name = f"{report.model}-{report.version}"
    return {f"{name}.json": json_twin(report), f"{name}.html": page(report)}


def differs(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether `folder` does not hold exactly these files."""
    return any(not (folder / name).is_file() or (folder / name).read_bytes() != data for name, data in files.items())


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes each file whole or not at all; their paths, the page last. Raises `StorageError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    return [folder / name for name in files]
