"""The small pieces that the data stages' reports are made of: JSON with sorted keys, Markdown
tables, a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.attest.predicates import Finding


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with sorted keys: the same value gives the same bytes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, or `None.` where there are no rows."""
    if not rows:
        return "None."
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines
    )


def verdict(findings: Sequence[Finding]) -> str:
    """Passed, or refused with every finding and its next step."""
    if not findings:
        return "**Passed.**"
    lines = [f"**Refused**, {len(findings)} finding(s):", ""]
    for one in findings:
        bounds = (
            f" Expected {one.expected}; found {one.found}." if one.expected or one.found else ""
        )
        lines.append(f"- `{one.code}` {one.message}.{bounds} Next: {one.next}")
    return "\n".join(lines)
