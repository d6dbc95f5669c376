"""With which suites and tasks the records of a dataset are compared before anything trains on them.

1. Records that are trained on are compared with every suite and every task of params.yaml,
   whichever stage trains on them, and whichever model is evaluated there. So nobody has to name
   the pairs, and none is forgotten.
2. Of a suite, the records of its split are held out; of a task, the items of the split that is
   evaluated.
3. A dataset is not compared with itself: its own splits are (`leaks_split`). One without records to
   train on, or whose training split is a suite, is held out as a whole, and is compared only with
   what its row names as `held_out`.
4. DVC sees these inputs through `data/held_out`: a small file for each suite and task, with the
   digest of its records. Another suite checks every dataset again, and trains nothing again where
   the checked records are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from governance.attest import digests
from governance.attest.predicates import Artifact, ComparedSuite
from governance.base.errors import InputError
from pipelines import paths
from pipelines.job import Input
from pipelines.params import Params

TASK_SPLIT = "task"
"""In place of a split: the task's file names it."""


def inputs(params: Params, dataset: str) -> list[Input]:
    """(4) The records of every suite and task that a dataset is compared with, and their files."""
    if not is_compared(params, dataset):
        return []
    read = []
    for suite in _suites(params, dataset):
        read.append(Input(f"suite_{suite}", paths.held_out_suite(suite)))
        if suite != params.datasets[dataset].held_out:
            read.append(Input(_role(suite), paths.scanned(suite) / paths.RECORDS))
    for row, task in _tasks(params).items():
        read.append(Input(f"task_{task}", paths.held_out_task(row)))
        read.append(Input(_role_of_task(task), paths.task(task)))
    return read


def is_compared(params: Params, dataset: str) -> bool:
    """(1), (3)"""
    suite = params.suites.get(dataset)
    trained_on = params.datasets[dataset].splits.train > 0
    return trained_on and (suite is None or suite.split != "train")


def compared(
    params: Params, dataset: str, artifacts: Mapping[str, Artifact]
) -> list[tuple[str, ComparedSuite]]:
    """What a check with these inputs compares: the role of each input, and how it is stated."""
    if not is_compared(params, dataset):
        return []
    own = params.datasets[dataset].held_out
    roles = {
        suite: "held_out" if suite == own else _role(suite) for suite in _suites(params, dataset)
    }
    found = [(role, _suite(params, suite, artifacts[role].sha256)) for suite, role in roles.items()]
    for task in _tasks(params).values():
        role = _role_of_task(task)
        found.append((role, _task(task, artifacts[role].sha256)))
    return found


def demanded(params: Params, root: Path, dataset: str) -> list[ComparedSuite]:
    """What the records of a dataset must have been compared with, as it is now. Raises
    `InputError` where the records of a suite are not here.
    """
    suites = [
        _suite(params, name, _digest(root / paths.scanned(name) / paths.RECORDS))
        for name in _suites(params, dataset)
    ]
    tasks = [_task(name, _digest(root / paths.task(name))) for name in _tasks(params).values()]
    return [*suites, *tasks]


def _suites(params: Params, dataset: str) -> list[str]:
    return sorted(name for name in params.suites if name != dataset)


def _tasks(params: Params) -> dict[str, str]:
    """One row of each task, to the task."""
    rows = {task.task: name for name, task in sorted(params.tasks.items(), reverse=True)}
    return {row: task for task, row in sorted(rows.items())}


def _suite(params: Params, name: str, records: str) -> ComparedSuite:
    return ComparedSuite(name=name, records=records, split=params.suites[name].split)


def _task(name: str, folder: str) -> ComparedSuite:
    return ComparedSuite(name=name, records=folder, split=TASK_SPLIT, harness="lm-eval")


def _role(suite: str) -> str:
    return f"held_out_suite_{suite}"


def _role_of_task(task: str) -> str:
    return f"held_out_task_{task}"


def _digest(path: Path) -> str:
    if not path.exists():
        found, fix = "the records of a suite are missing", "run `countersign repro`, which makes it"
        raise InputError(found, where=str(path), fix=fix)
    return digests.digest_of(path)
