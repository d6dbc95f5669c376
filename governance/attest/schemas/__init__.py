"""JSON Schemas of the statements, one file per kind of evidence and version, for tools that are not
ours.

Written from the models of `governance.attest.predicates` by `python -m governance.attest.schemas`;
a test holds them current. A published version never changes: a predicate that changes gets a new
version, and the old model stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from governance.attest.predicates import PREDICATES, TYPE_PREFIX
from governance.base.model import Model

FOLDER = Path(__file__).parent
_STATEMENT = "https://in-toto.io/Statement/v1"


def documents() -> dict[str, str]:
    """File name to schema text, for every kind of evidence."""
    return {
        f"{uri.removeprefix(TYPE_PREFIX).replace('/', '.')}.json": (
            json.dumps(statement_schema(uri, model), indent=1) + "\n"
        )
        for uri, model in sorted(PREDICATES.items())
    }


def statement_schema(uri: str, model: type[Model]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a whole in-toto Statement with this predicate."""
    predicate = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = predicate.pop("$defs", {})
    subject = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "digest", "annotations"],
        "properties": {
            "name": {"type": "string"},
            "digest": _closed({"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}),
            "annotations": _closed({"role": {"type": "string"}}),
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": uri,
        **_closed(
            {
                "_type": {"const": _STATEMENT},
                "predicateType": {"const": uri},
                "subject": {"type": "array", "minItems": 1, "items": subject},
                "predicate": predicate,
            }
        ),
        "$defs": definitions,
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(properties),
        "properties": properties,
    }
