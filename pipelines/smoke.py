"""The smoke test of a drill: gives a loaded model a few items and checks its answers.

1. If the suite of its last evaluation is here with the recorded digest: the suite's first items.
   Each score must be a number; it is shown beside the recorded one.
2. Otherwise fixed prompts, and the reason. They show only that the model returns finite numbers and
   some text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.attest.digests import tree_digest
from governance.attest.predicates import Evaluate
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.progress import Progress
from governance.history.state import LogState
from pipelines import paths
from pipelines.loader import Loaded
from pipelines.metrics import Metric, mean, metrics_of, rows_of, suite_digest
from pipelines.params import Suite, load_params
from pipelines.stages.evaluate import not_finite_at

PROMPTS = (
    "Hello.",
    "What can you help me with?",
    "I cannot sign in any more.",
    "Answer in one word: what is two plus two?",
)
TOKENS = 8


@dataclass(frozen=True)
class RecordedSuite:
    """A suite whose recorded scores can be compared with new ones."""

    suite: Suite
    metrics: list[Metric]
    rows: list[dict[str, Any]]
    evaluation: Evaluate


def smoke(
    now: LogState, root: Path, loaded: Loaded, items: int, progress: Progress
) -> tuple[int, str]:
    """Number of suite items that the model answered, and the result in words. Raises `InputError`
    if the model fails.
    """
    try:
        recorded = recorded_suite(now, root, loaded.sha256)
    except CountersignError as error:
        _answer_prompts(loaded)
        why = " ".join(error.found.split())
        return 0, f"no suite items ({why}); {len(PROMPTS)} fixed prompts gave finite numbers"
    return _answer_items(loaded, recorded, items, progress)


def is_scorer(copy: Path) -> bool:
    """Whether the model of a folder returns a score, not text."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(copy, trust_remote_code=False, local_files_only=True)
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or [])


def recorded_suite(now: LogState, root: Path, model: str) -> RecordedSuite:
    """(1) The suite and records of the model's last evaluation with scores. Raises
    `CountersignError` if there is none or they are not the recorded ones.
    """
    params = load_params(root)
    tasks = {row.task for row in params.tasks.values()}
    evaluations = [
        statement.predicate
        for statement in now.view.all(Evaluate)
        if statement.predicate.model == model
        and statement.predicate.not_run is None
        and statement.predicate.suite_name not in tasks
        and statement.predicate.judged_by is None
    ]
    if not evaluations:
        raise InputError("its evaluation is not recorded")
    evaluation = evaluations[-1]
    name = evaluation.suite_name
    path = root / paths.ready(name) / paths.RECORDS
    if not path.is_dir():
        raise InputError(f"the records of {name} are not here")
    suite = params.suites.get(name)
    if suite is None:
        raise ConfigError(f"params.yaml has no suite {name}")
    if suite_digest(suite, tree_digest(path)) != evaluation.suite:
        raise ConfigError(f"{name} differs from the suite that it was evaluated on")
    metrics = metrics_of(suite, f"suites.{name}")
    return RecordedSuite(suite, metrics, rows_of(path, suite, metrics, name), evaluation)


def _answer_items(
    loaded: Loaded, recorded: RecordedSuite, items: int, progress: Progress
) -> tuple[int, str]:
    from pipelines import scoring

    rows, suite, metrics = recorded.rows[:items], recorded.suite, recorded.metrics
    passes = len({metric.needs for metric in metrics})
    with progress.bar(len(rows) * passes, f"running {loaded.version}") as bar:
        scores = scoring.score_loaded(loaded.model, loaded.tokenizer, rows, suite, metrics, bar)
    diverged = [name for name, values in scores.items() if not_finite_at(values)]
    if diverged:
        raise InputError(f"{', '.join(diverged)} is not a finite number")
    evaluation = recorded.evaluation
    figures = []
    for name, values in scores.items():
        before = _shown(evaluation.scores.get(name, [])[: len(rows)])
        figures.append(f"{name} {_shown(values)} (recorded of the same items: {before})")
    suite_shown = f"{evaluation.suite_name} (suite {evaluation.suite[:12]})"
    shown = f"{len(rows)} of {len(recorded.rows)} items of {suite_shown}: {', '.join(figures)}"
    return len(rows), shown


def _answer_prompts(loaded: Loaded) -> None:
    """(2) Raises `InputError` if an output is not finite or empty."""
    import torch

    for prompt in PROMPTS:
        text = _rendered(loaded.tokenizer, prompt)
        tokens = loaded.tokenizer(text, return_tensors="pt", add_special_tokens=False)
        tokens = tokens.to(loaded.model.device)
        with torch.inference_mode():
            if not bool(torch.isfinite(loaded.model(**tokens).logits).all()):
                raise InputError("the output is not finite")
            if loaded.model.can_generate():
                made = loaded.model.generate(**tokens, do_sample=False, max_new_tokens=TOKENS)
                if made.shape[1] <= tokens["input_ids"].shape[1]:
                    raise InputError("the output is empty")


def _rendered(tokenizer: Any, prompt: str) -> str:
    if not tokenizer.chat_template:
        return prompt
    messages = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _shown(values: list[float | None]) -> str:
    value = mean(values)
    return "none" if value is None else f"{value:.3f}"
