"""Writes what is generated from the code, for people and editors: `python -m
governance.policy.publish` in the project folder.

`docs/findings.md` from the table of finding codes, `policies/schemas/*.json` from the policies'
models. A test holds both current.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from governance.attest.codes import CODES, Code
from governance.base.model import Model
from governance.base.storage import write_atomic
from governance.policy.policies import FILES, FOLDERS

SCHEMAS = Path("policies/schemas")


def documents() -> dict[Path, str]:
    """Path in the project to text, of everything generated."""
    models: dict[str, type[Model]] = {Path(name).stem: model for name, model in FILES.items()}
    models |= {name.removesuffix("s"): model for name, model in FOLDERS.items()}
    schemas = {
        SCHEMAS / f"{name}.json": schema(name, model) for name, model in sorted(models.items())
    }
    return {Path("docs/findings.md"): findings_page(), **schemas}


def schema(name: str, model: type[Model]) -> str:
    """The JSON Schema (draft 2020-12) of a policy file, for editors and other tools."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return json.dumps({**model.model_json_schema(), **head}, indent=1, sort_keys=True) + "\n"


def findings_page() -> str:
    """Every finding code, by section, in the order of the table."""
    lines = [
        "# Finding codes",
        "",
        (
            "What a gate, a release or a data stage can say, and what to do about it. Codes are"
            " stable: they are never"
        ),
        (
            "renamed or used for something else. Made from `governance/attest/codes.py` by"
            " `python -m governance.policy.publish`."
        ),
    ]
    for section in dict.fromkeys(code.section for code in CODES.values()):
        lines += ["", f"## {section}", "", "| Code | What it says | What to do |", "|---|---|---|"]
        lines += [_row(name, code) for name, code in CODES.items() if code.section == section]
    return "\n".join([*lines, ""])


def _row(name: str, code: Code) -> str:
    note = "" if code.blocking else " *(stops nothing by itself)*"
    cells = (f"`{name}`", f"{code.title}{note}", code.next)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
