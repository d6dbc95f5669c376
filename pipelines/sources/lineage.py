"""What a generated record was made from, kept beside the records: `lineage.jsonl` of the ingested
dataset. No trainer reads it.

A row of a generated source has the field `lineage`: the id of the prompt's record, and the digests
of principle, templates and judge. Ids are HMACs, so nothing else can stand there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from governance.base.model import Model, Sha256
from pipelines.sources.readers import RowProblem

LINEAGE = "lineage"
"""The field of a source's row."""


class Lineage(Model):
    """What one record was made from."""

    parent: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """The id of the prompt."""
    principle: Sha256
    template: Sha256
    judge: Sha256


def lineage_of(row: Mapping[str, Any]) -> Lineage:
    """The lineage of a row. Raises `RowProblem`."""
    try:
        return Lineage.model_validate(row.get(LINEAGE))
    except ValidationError:
        detail = "not the lineage of a generated record"
        raise RowProblem("FIELD_MISSING", LINEAGE, detail) from None


def write_lineage(path: Path, found: Mapping[str, Lineage]) -> None:
    """Writes one JSON object a line, by record id."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record, lineage in sorted(found.items()):
            row = {"id": record, **lineage.model_dump()}
            stream.write(json.dumps(row, sort_keys=True) + "\n")
