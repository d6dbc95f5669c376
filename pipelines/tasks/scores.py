"""Runs a task by lm-evaluation-harness on a model folder: the only module that imports the library.

1. The model is loaded as for every evaluation: 32-bit floats, no code, finite weights.
2. Seeds are those of the library's `simple_evaluate`, and so are the scores. That function itself
   is not called: it starts programs that describe the machine.
3. Templates of the task are rendered in Jinja's sandbox. The library's own renderer gives them all
   of Python.
4. A prompt that does not fit into the model's context stops the evaluation. The library would cut
   it.
"""

from __future__ import annotations

import io
import logging
import math
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.model import SLUG
from pipelines.params import TaskEvaluation
from pipelines.tasks.definition import Task

EXTRA = "lm-eval"
"""The distribution, and our extra that installs it."""
RANDOM_SEED, OTHER_SEED = 0, 1234
"""(2) Of Python's random numbers; of numpy's, torch's and those that choose examples."""


@dataclass(frozen=True)
class Scored:
    """What a model was scored."""

    scores: dict[str, list[float | None]]
    """Metric to one score per item, in the order of the task's split. The filter belongs to the
    name where the task has several.
    """
    answers: list[str]
    """The generated texts; empty where the task generates none."""

    @property
    def items(self) -> int:
        """How many items were scored."""
        return max(map(len, self.scores.values()), default=0)


def score(
    model: Path, task: Task, row: TaskEvaluation, root: Path, cache: Path, threads: int
) -> Scored:
    """The scores of a model folder. Raises `ConfigError` where the library is missing or the task
    does not fit the model, `InputError` where the library cannot run it, and
    `pipelines.scoring.DivergedError`.
    """
    _require_library()
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    harness = _model(model, row.batch_size, threads)
    if row.chat_template and not harness.tokenizer.chat_template:
        fix = "set `chat_template: false` in the row"
        raise ConfigError("the model has no chat template", where=f"tasks/{row.task}", fix=fix)
    try:
        with _sandboxed(), redirect_stderr(io.StringIO()):  # it draws bars of its own
            loaded = _task(task.configuration(root, cache))
            samples = _evaluated(harness, loaded, task, row)
    except CountersignError:
        raise
    except Exception as error:
        raise _translated(error, row) from error
    _require_room(harness, loaded, row)
    return _scored(samples, task)


def _require_library() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise ConfigError(f"{EXTRA} is not installed", fix=pip_install(EXTRA)) from None


def _model(folder: Path, batch_size: int, threads: int) -> Any:
    """(1)"""
    import torch
    from lm_eval.models.huggingface import HFLM

    from pipelines import scoring
    from pipelines.training.modelfolder import load_model, load_tokenizer

    torch.set_num_threads(threads)
    scoring.quiet()
    loaded = load_model(folder, "language", dtype=torch.float32)
    scoring.require_finite_weights(loaded)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return HFLM(
        pretrained=loaded.to(device).eval(),
        tokenizer=load_tokenizer(folder),
        backend="causal",
        batch_size=batch_size,
    )


def _task(configuration: dict[str, Any]) -> Any:
    from lm_eval.api.task import ConfigurableTask

    return ConfigurableTask(config=configuration)


def _evaluated(harness: Any, loaded: Any, task: Task, row: TaskEvaluation) -> list[dict[str, Any]]:
    """(2) One sample for each item and filter."""
    import numpy as np
    import torch
    from lm_eval.evaluator import evaluate

    random.seed(RANDOM_SEED)
    np.random.seed(OTHER_SEED)
    torch.manual_seed(OTHER_SEED)
    loaded.set_fewshot_seed(seed=OTHER_SEED)
    results = evaluate(
        lm=harness,
        task_dict={"tasks": {task.task: loaded}},
        limit=row.limit,
        bootstrap_iters=0,
        apply_chat_template=row.chat_template,
        fewshot_as_multiturn=True,
    )
    samples: list[dict[str, Any]] = results["samples"][task.task]
    return samples


@contextmanager
def _sandboxed() -> Iterator[None]:
    """(3)"""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils

    unsafe = utils.env
    safe = ImmutableSandboxedEnvironment(
        loader=unsafe.loader, undefined=unsafe.undefined, keep_trailing_newline=True
    )
    safe.filters["regex_replace"] = unsafe.filters["regex_replace"]
    utils.env = safe
    try:
        yield
    finally:
        utils.env = unsafe


def _translated(error: Exception, row: TaskEvaluation) -> InputError:
    """The library's error. Its message may quote an item, so only its type is told."""
    found = f"lm-eval cannot run the task ({type(error).__name__})"
    fix = "compare the fields that the task's templates name with those of its data"
    return InputError(found, where=f"tasks/{row.task}", fix=fix)


def _require_room(harness: Any, loaded: Any, row: TaskEvaluation) -> None:
    """(4) Raises `ConfigError` with how many requests were cut."""
    requests = [instance.args for instance in loaded.instances]
    cut = sum(_tokens(harness, request) > harness.max_length for request in requests)
    if cut:
        found = f"{cut} of {len(requests)} requests are longer than the model's context"
        expected = f"at most {harness.max_length} tokens"
        fix = "use fewer examples (num_fewshot), shorter answers (max_gen_toks) or other items"
        raise ConfigError(found, where=f"tasks/{row.task}", expected=expected, fix=fix)


def _tokens(harness: Any, request: tuple[Any, ...]) -> int:
    """The tokens of a prompt with its continuation, or with the room for its answer."""
    prompt, rest = request
    if isinstance(rest, str):
        return len(harness.tok_encode(prompt)) + len(harness.tok_encode(rest))
    return len(harness.tok_encode(prompt)) + int(rest["max_gen_toks"])


def _scored(samples: list[dict[str, Any]], task: Task) -> Scored:
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    scores: dict[str, list[float | None]] = {}
    for name in filters:
        rows = sorted(
            (each for each in samples if each["filter"] == name), key=lambda each: each["doc_id"]
        )
        for metric in rows[0]["metrics"]:
            label = metric if len(filters) == 1 else f"{metric}_{name}"
            if not re.fullmatch(SLUG, label):
                expected = "lower-case names of filters, of at most 30 characters"
                raise ConfigError(label, where=f"task {task.task}", expected=expected)
            scores[label] = [_number(each[metric], label) for each in rows]
    answers = []
    if task.output_type == "generate_until":
        first = [each for each in samples if each["filter"] == filters[0]]
        answers = [str(each["resps"][0][0]) for each in sorted(first, key=lambda e: e["doc_id"])]
    return Scored(scores, answers)


def _number(value: Any, metric: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"the score {metric} of an item is {number}", where="lm-eval")
    return number
