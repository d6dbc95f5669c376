"""The slice of each record: labels that params.yaml lists, from fields of the source.

Only listed labels are used, so that no value of a wrongly named field reaches evidence or a report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import InputError

DISAGREEMENT = "disagreement"
"""The slice of records with ratings: whether their raters agree. A field of the source that
params.yaml names by this name takes its place.
"""
OTHER = "other"
"""The label of records without a listed label."""


def labels_of(row: Mapping[str, Any], slices: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Slicing field to the row's label."""
    labels = {name: str(row.get(name)).strip() for name in slices}
    return {name: label if label in slices[name] else OTHER for name, label in labels.items()}


def write_slices(path: Path, slices: Mapping[str, Mapping[str, str]]) -> None:
    """Writes one JSON object per line, by record id. The file is empty if the dataset has no
    slices.
    """
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record, labels in sorted(slices.items()):
            row = {"id": record, "slices": labels}
            stream.write(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n")


def read_slices(path: Path, ids: Sequence[str]) -> dict[str, list[str]]:
    """Slicing field to one label for each of `ids`. Raises `InputError`."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        labels = {row["id"]: row["slices"] for row in rows}
        names = sorted(labels[ids[0]]) if labels and ids else []
        return {name: [labels[record][name] for record in ids] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"not a readable list of slices ({type(error).__name__})"
        fix = "`countersign repro` writes it again"
        raise InputError(found, where=str(path), fix=fix) from None
