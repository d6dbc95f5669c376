"""What the findings of each scenario say, word by word, in a file that a reviewer can read.

`TESTS_UPDATE=1 pytest -n 0 FILE` writes the files of a test module anew. Read the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from governance.attest.predicates import Finding


def check(
    path: Path, scenario: str, findings: Iterable[Finding], packet: str = "no packet"
) -> None:
    """Compares the findings of a scenario with those in the file. `packet`: a digest that differs
    from log to log.
    """
    recorded: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    present = [finding.model_dump(mode="json", exclude_defaults=True) for finding in findings]
    present = json.loads(re.sub(f"{packet[:12]}[0-9a-f]*", "PACKET", json.dumps(present)))
    if os.environ.get("TESTS_UPDATE"):
        text = json.dumps({**recorded, scenario: present}, indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", "utf-8")
    else:
        assert present == recorded[scenario]


def scenarios(path: Path) -> set[str]:
    """The scenarios that the file has."""
    return set(json.loads(path.read_text("utf-8")))


def codes(path: Path) -> set[str]:
    """The finding codes of all scenarios in the file."""
    recorded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {finding["code"] for findings in recorded.values() for finding in findings}
