"""A local task of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness): one
YAML file in `tasks/NAME/`, with its data files beside it.

1. The file is read as typed data. What it may say is listed here; all else is refused: functions
   (`!function`, `process_docs`), classes, datasets and metrics of the Hugging Face Hub, includes.
   So a task is data, and its folder's digest identifies all of it.
2. Its metrics have one number for each item, and their mean is the result. Those that are computed
   over all items at once (F1, BLEU, perplexity) have no item scores and are refused.
3. Paths of data files are relative to the project, as the library reads them when it is started
   there, and name files of the task's own folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from governance.attest import canonical
from governance.base.errors import ConfigError, CountersignError
from governance.base.model import Model
from governance.base.yaml import load_model
from pipelines import paths
from pipelines.params import TaskEvaluation

DataFile = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,300}$")]
"""No pattern and no address: the library would resolve them."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,80}$")]


class Data(Model):
    """`dataset_kwargs`: where the items are."""

    data_files: DataFile | dict[Name, DataFile]

    @property
    def files(self) -> dict[str, str]:
        """Split to file."""
        given = self.data_files
        return {"train": given} if isinstance(given, str) else dict(given)


class Metric(Model):
    """One entry of `metric_list`. (2)"""

    metric: Literal["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"]
    aggregation: Literal["mean"] = "mean"
    higher_is_better: Literal[True] = True
    ignore_case: bool | None = None
    ignore_punctuation: bool | None = None
    ignore_numbers: bool | None = None
    regexes_to_ignore: list[str] | None = None


class Step(Model):
    """One function of a filter, by the name under which the library registers it."""

    function: Literal[
        "take_first",
        "majority_vote",
        "regex",
        "multi_choice_regex",
        "remove_whitespace",
        "lowercase",
        "uppercase",
        "map",
    ]
    regex_pattern: str | None = None
    group_select: int | None = None
    fallback: str | None = None
    ignore_case: bool | None = None
    ignore_punctuation: bool | None = None
    regexes_to_ignore: list[str] | None = None
    mapping_dict: dict[str, str] | None = None
    default_value: str | None = None


class Filter(Model):
    """How an answer is cut out of a generated text."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
    filter: list[Step] = Field(min_length=1)


class Generation(Model):
    """`generation_kwargs`."""

    until: list[str] = Field(min_length=1)
    max_gen_toks: int = Field(gt=0)
    do_sample: bool = False
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)


class Task(Model):
    """The task file. Names and meaning of the fields are the library's."""

    task: Name
    task_alias: str | None = None
    tag: str | list[str] | None = None
    dataset_path: Literal["json", "csv", "parquet"]
    dataset_name: None = None
    dataset_kwargs: Data
    training_split: Name | None = None
    validation_split: Name | None = None
    test_split: Name | None = None
    fewshot_split: Name | None = None
    output_type: Literal["multiple_choice", "generate_until", "loglikelihood"]
    doc_to_text: str
    doc_to_target: str | int
    doc_to_choice: str | list[str] | None = None
    description: str = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    gen_prefix: str | None = None
    num_fewshot: int = Field(0, ge=0)
    generation_kwargs: Generation | None = None
    filter_list: list[Filter] | None = None
    metric_list: list[Metric] = Field(min_length=1)
    metadata: dict[str, str | int | float] = {}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.split is None:
            raise ValueError("give test_split or validation_split")
        splits = (self.training_split, self.validation_split, self.test_split, self.fewshot_split)
        if missing := {*filter(None, splits)} - self.dataset_kwargs.files.keys():
            raise ValueError(f"no data file for {', '.join(sorted(missing))}")
        if (self.output_type == "generate_until") != (self.generation_kwargs is not None):
            raise ValueError("generation_kwargs belongs to generate_until, and to it alone")
        if self.output_type == "multiple_choice" and self.doc_to_choice is None:
            raise ValueError("multiple_choice needs doc_to_choice")
        return self

    @property
    def split(self) -> str | None:
        """The split that is evaluated: the library takes the first of these."""
        return self.test_split or self.validation_split

    def configuration(self, root: Path, cache: Path) -> dict[str, Any]:
        """The task as the library takes it, with whole paths; what it caches is in `cache`."""
        given = self.model_dump(exclude_none=True)
        files = {split: str(root / name) for split, name in self.dataset_kwargs.files.items()}
        return {**given, "dataset_kwargs": {"data_files": files, "cache_dir": str(cache)}}


def read(root: Path, name: str) -> Task:
    """(1), (3) The task `name` of the project at `root`. Raises `ConfigError`, or `Problems` with
    every mistake of the file.
    """
    folder = paths.task(name)
    found = sorted((root / folder).glob("*.yaml"))
    if len(found) != 1:
        what = f"{len(found)} YAML files" if found else "no YAML file"
        expected = "the task's, and no other"
        raise ConfigError(what, where=str(folder), expected=expected)
    task = load_model(found[0], Task)
    for file in task.dataset_kwargs.files.values():
        inside = paths.is_inside(file) and Path(file).is_relative_to(folder)
        if not inside or not (root / file).is_file():
            where = f"{found[0].relative_to(root)}: dataset_kwargs.data_files"
            raise ConfigError(file, where=where, expected=f"a file below {folder}/")
    return task


def suite_digest(row: TaskEvaluation, task: str) -> str:
    """Identifies the evaluation, as `pipelines.metrics.suite_digest` does: sha256 over the digest
    of the task's folder and the settings.
    """
    settings = row.model_dump(mode="json", exclude={"model", "task"})
    content = {"harness": "lm-eval", "task": task, **settings}
    return hashlib.sha256(canonical.dumps(content)).hexdigest()


def mistakes(root: Path, rows: Iterable[TaskEvaluation]) -> Iterator[CountersignError]:
    """The tasks that cannot be read."""
    for name in sorted({row.task for row in rows}):
        try:
            read(root, name)
        except CountersignError as error:
            yield error
