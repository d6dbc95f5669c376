"""Small tasks of lm-evaluation-harness, as a project has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.project import write_yaml

CHOICE: dict[str, Any] = {
    "task": "colours",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "tasks/colours/test.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "options",
    "doc_to_target": "right",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
TEXT: dict[str, Any] = {
    "task": "words",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "tasks/words/test.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match"}],
}


def write(root: Path, task: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> Path:
    """A task with its data below `root`; returns its folder."""
    folder = root / "tasks" / str(task["task"])
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / "task.yaml", dict(task))
    lines = "".join(json.dumps(item) + "\n" for item in items)
    (folder / "test.jsonl").write_text(lines, encoding="utf-8")
    return folder
