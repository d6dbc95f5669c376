"""A report's two files: the page for people and its JSON twin."""

from __future__ import annotations

from pathlib import Path

from governance.base.storage import write_atomic
from governance.report.html import json_twin, page
from governance.report.model import Report


def rendered(report: Report) -> dict[str, bytes]:
    """File name to content, the page last."""
    return named(report.model, report.version, json_twin(report), page(report))


def named(model: str, version: str, twin: bytes, html: bytes) -> dict[str, bytes]:
    """MODEL-VERSION.json and MODEL-VERSION.html to their content."""
    return {f"{model}-{version}.json": twin, f"{model}-{version}.html": html}


def differs(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether `folder` does not hold exactly these files."""
    return any(
        not (folder / name).is_file() or (folder / name).read_bytes() != data
        for name, data in files.items()
    )


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    """Writes each file whole or not at all; their paths, the page last. Raises `StorageError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    return [folder / name for name in files]
