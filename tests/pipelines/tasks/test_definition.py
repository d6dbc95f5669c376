"""A task file is data: what would run code, reach the Hub or give no item scores is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError, Problems
from pipelines.params import TaskEvaluation
from pipelines.tasks import definition
from tests.pipelines.tasks.written import CHOICE, TEXT, write

ITEM = {"question": "?", "options": ["a", "b"], "right": 0}


def test_a_task_is_read_as_it_is_written(tmp_path: Path) -> None:
    write(tmp_path, CHOICE, [ITEM])
    task = definition.read(tmp_path, "colours")
    assert (task.task, task.split, task.num_fewshot) == ("colours", "test", 0)
    made = task.configuration(tmp_path, tmp_path / "cache")
    file = str(tmp_path / "tasks/colours/test.jsonl")
    assert made["dataset_kwargs"]["data_files"] == {"test": file}
    assert made["metric_list"][0]["aggregation"] == "mean"


REFUSED: dict[str, dict[str, Any]] = {
    "a dataset of the Hub": {"dataset_path": "EleutherAI/hendrycks_math"},
    "code of a dataset": {"dataset_kwargs": {"data_files": "x", "trust_remote_code": True}},
    "a function": {"process_docs": "utils.process_docs"},
    "a class": {"class": "task.Own"},
    "an include": {"include": "other.yaml"},
    "a group": {"group": "several"},
    "unsafe code": {"unsafe_code": True},
    "a metric of the Hub": {"metric_list": [{"metric": "exact_match", "hf_evaluate": True}]},
    "a metric over all items": {"metric_list": [{"metric": "f1"}]},
    "another mean": {"metric_list": [{"metric": "acc", "aggregation": "median"}]},
    "a filter of one's own": {
        "filter_list": [{"name": "own", "filter": [{"function": "custom", "filter_fn": "f"}]}]
    },
    "perplexity": {"output_type": "loglikelihood_rolling"},
    "an address": {"dataset_kwargs": {"data_files": {"test": "https://example.org/a.jsonl"}}},
    "a file outside": {"dataset_kwargs": {"data_files": {"test": "data/ready/x.jsonl"}}},
    "a way out": {"dataset_kwargs": {"data_files": {"test": "tasks/colours/../../a.jsonl"}}},
    "a pattern": {"dataset_kwargs": {"data_files": {"test": "tasks/colours/*.jsonl"}}},
    "a missing file": {"dataset_kwargs": {"data_files": {"test": "tasks/colours/no.jsonl"}}},
    "a split without a file": {"test_split": "validation"},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_data_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, {**CHOICE, **change}, [ITEM])
    with pytest.raises((ConfigError, Problems)):
        definition.read(tmp_path, "colours")


def test_a_function_tag_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, CHOICE, [ITEM])
    file = folder / "task.yaml"
    text = file.read_text(encoding="utf-8").replace("options", "!function utils.choices")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="tags are not accepted"):
        definition.read(tmp_path, "colours")


def test_a_folder_has_one_task(tmp_path: Path) -> None:
    folder = write(tmp_path, CHOICE, [ITEM])
    (folder / "other.yaml").write_text("task: other\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="2 YAML files"):
        definition.read(tmp_path, "colours")
    with pytest.raises(ConfigError, match="no YAML file"):
        definition.read(tmp_path, "absent")


def test_generation_needs_its_settings_and_choices_their_list(tmp_path: Path) -> None:
    for task, lacking in ((TEXT, "generation_kwargs"), (CHOICE, "doc_to_choice")):
        write(tmp_path, {name: task[name] for name in task if name != lacking}, [ITEM])
        with pytest.raises((ConfigError, Problems), match=lacking):
            definition.read(tmp_path, task["task"])


def test_settings_and_folder_identify_the_suite_and_the_model_does_not() -> None:
    row = TaskEvaluation(model="sft", task="colours")
    digest = definition.suite_digest(row, "0" * 64)
    assert digest == definition.suite_digest(row.model_copy(update={"model": "dpo"}), "0" * 64)
    changed = [row.model_copy(update={"limit": 3}), row.model_copy(update={"chat_template": True})]
    assert digest not in {definition.suite_digest(each, "0" * 64) for each in changed}
    assert digest != definition.suite_digest(row, "1" * 64)
