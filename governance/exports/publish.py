"""Writes what is generated from the code, for people, editors and tools that are not ours:
`python -m governance.exports.publish` in the project folder. A test holds it current.

`docs/findings.md` from the table of finding codes, `policies/schemas/*.json` from the policies'
models, `governance/attest/schemas/*.json` from the predicates. A published version of a predicate
never changes: a predicate that changes gets a new version, and the old model stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from governance.attest.codes import CODES
from governance.attest.predicates import PREDICATES, TYPE_PREFIX
from governance.base.model import Model
from governance.base.storage import write_atomic
from governance.log.evidence import STATEMENT_TYPE
from governance.policy.clocks import Clocks
from governance.policy.policies import CLOCKS, FILES, FOLDERS
from governance.report.frameworks import Framework

STATEMENTS = Path("governance/attest/schemas")
POLICIES = Path("policies/schemas")
DRAFT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def documents() -> dict[Path, str]:
    """Path in the project to text, of everything generated."""
    models: dict[str, type[Model]] = {Path(name).stem: model for name, model in FILES.items()}
    models |= {name.removesuffix("s"): model for name, model in FOLDERS.items()}
    models |= {"control": Framework, Path(CLOCKS).stem: Clocks}
    schemas = {
        POLICIES / f"{name}.json": _json(
            {**model.model_json_schema(), **DRAFT, "title": name}, sort_keys=True
        )
        for name, model in sorted(models.items())
    }
    return {Path("docs/findings.md"): findings_page(), **schemas, **statement_schemas()}


def statement_schemas() -> dict[Path, str]:
    """The JSON Schema of every kind of evidence, as a whole in-toto Statement."""
    return {
        STATEMENTS / f"{uri.removeprefix(TYPE_PREFIX).replace('/', '.')}.json": _json(
            _statement_schema(uri, model)
        )
        for uri, model in sorted(PREDICATES.items())
    }


def _statement_schema(uri: str, model: type[Model]) -> dict[str, Any]:
    predicate = model.model_json_schema(ref_template="#/$defs/{model}")
    definitions = predicate.pop("$defs", {})
    text = {"type": "string"}
    digest = _closed({"sha256": {**text, "pattern": "^[0-9a-f]{64}$"}})
    subject = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "digest", "annotations"],
        "properties": {"name": text, "digest": digest, "annotations": _closed({"role": text})},
    }
    statement = {
        "_type": {"const": STATEMENT_TYPE},
        "predicateType": {"const": uri},
        "subject": {"type": "array", "minItems": 1, "items": subject},
        "predicate": predicate,
    }
    return {**DRAFT, "$id": uri, **_closed(statement), "$defs": definitions}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(properties),
        "properties": properties,
    }


def _json(schema: dict[str, Any], *, sort_keys: bool = False) -> str:
    return json.dumps(schema, indent=1, sort_keys=sort_keys) + "\n"


def findings_page() -> str:
    """Every finding code, by section, in the order of the table."""
    lines = [
        "# Finding codes",
        "",
        "What a gate, a release or a data stage can say, and what to do about it. Codes are stable:"
        " they are never",
        "renamed or used for something else. Made from `governance/attest/codes.py` by `python -m"
        " governance.exports.publish`.",
    ]
    for section in dict.fromkeys(code.section for code in CODES.values()):
        lines += ["", f"## {section}", "", "| Code | What it says | What to do |", "|---|---|---|"]
        for name, code in CODES.items():
            if code.section == section:
                note = "" if code.blocking else " *(stops nothing by itself)*"
                cells = (f"`{name}`", f"{code.title}{note}", code.next)
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def main(root: Path) -> None:
    """Writes every document below `root`, and says which changed."""
    for path, text in documents().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            write_atomic(target, text.encode())
            click.echo(f"written: {path}")


if __name__ == "__main__":
    main(Path.cwd())
