"""What generated data and judged evaluations need in the small project: a constitution, pairs that
people labelled, and an endpoint that policy permits.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.project import Project

CONSTITUTION = {
    "title": "A support desk",
    "principles": [
        {"name": "exact", "text": "The answer names the right team and nothing else."},
        {"name": "safe", "text": "The answer asks for no password."},
    ],
}
LABELLED = "desk_pref_eval"
PAIRS = {
    "kind": "preference", "source": f"data/source/{LABELLED}.jsonl", "suite": "preference",
    "held_out": LABELLED, "splits": {"train": 0, "test": 1},
}  # fmt: skip
ANSWERS = re.compile(r"Answer [AB]:\n(.*?)(?=\n\nAnswer B:|\n\nWhich answer)", re.DOTALL)


def preferred(project: Project) -> set[str]:
    """The answers that people preferred."""
    if not (project.root / PAIRS["source"]).exists():
        assert project.countersign("stage", "sample", LABELLED).code == 0
    lines = (project.root / PAIRS["source"]).read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["chosen"] for line in lines}


def permit(project: Project, uri: str, classification: str = "public") -> None:
    def change(policy: Any) -> None:
        policy["endpoints"] = {
            "frontier": {
                "url": uri, "model": "m", "classifications": [classification], "region": "EU",
            }
        }  # fmt: skip

    project.edit("policies/policy.yaml", change)
