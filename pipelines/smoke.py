"""The smoke test of a drill: asks a loaded model a few items and checks its answers.

1. If the suite of its last evaluation is here with the recorded digest: the suite's first items.
   Each score must be a number; it is shown beside the recorded one.
2. Otherwise fixed prompts, and the reason. They show only that the model returns finite numbers and
   some text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_file
from governance.base.errors import CountersignError, InputError
from governance.base.progress import Progress
from governance.history.lineage import evaluated
from governance.history.state import LogState
from governance.log.evidence import Evidence
from pipelines import paths
from pipelines.loader import Loaded
from pipelines.metrics import Metric, mean, metrics_of, suite_digest
from pipelines.params import Suite, load_params
from pipelines.stages.evaluate import rows_of

PROMPTS = (
    "Hello.",
    "What can you help me with?",
    "I cannot sign in any more.",
    "Answer in one word: what is two plus two?",
)
TOKENS = 8


@dataclass(frozen=True)
class AtHand:
    """A suite whose recorded scores can be compared with new ones."""

    suite: Suite
    metrics: list[Metric]
    rows: list[dict[str, Any]]
    item: Evidence
    """The evaluation that was recorded."""


def smoke(
    now: LogState, root: Path, loaded: Loaded, items: int, progress: Progress
) -> tuple[int, str]:
    """Number of suite items that were asked, and the result in words. Raises `InputError` if the
    model fails.
    """
    found = at_hand(now, root, loaded.sha256)
    return (
        _fixed(loaded, found) if isinstance(found, str) else _scored(loaded, found, items, progress)
    )


def is_scorer(copy: Path) -> bool:
    """Whether the model of a folder returns a score, not text."""
    from transformers import AutoConfig

    names = (
        AutoConfig.from_pretrained(
            copy, trust_remote_code=False, local_files_only=True
        ).architectures
        or []
    )
    return any(name.endswith("ForSequenceClassification") for name in names)


def at_hand(now: LogState, root: Path, model: str) -> AtHand | str:
    """(1) The suite and records of the model's last evaluation with scores; otherwise why there is
    none.
    """
    mine = [
        item for item in now.view.by_subject(model, "evaluate") if evaluated(item).model == model
    ]
    mine = mine or [item for item in now.view.all("evaluate") if evaluated(item).model == model]
    scored = [item for item in mine if evaluated(item).not_run is None]
    if not scored:
        return "its evaluation is not recorded"
    said = evaluated(scored[-1])
    path = root / paths.ready(said.suite_name) / "records.parquet"
    if not path.is_file():
        return f"the records of {said.suite_name} are not here"
    try:
        suite = load_params(root).suites.get(said.suite_name)
        if suite is None:
            return f"params.yaml has no suite {said.suite_name}"
        if suite_digest(suite, sha256_file(path)) != said.suite:
            return f"{said.suite_name} differs from the suite that it was evaluated on"
        metrics = metrics_of(suite, f"suites.{said.suite_name}")
        return AtHand(suite, metrics, rows_of(path, suite, metrics, said.suite_name), scored[-1])
    except CountersignError as error:
        return f"{said.suite_name} cannot be used here: {' '.join(error.found.split())}"


def _scored(loaded: Loaded, found: AtHand, items: int, progress: Progress) -> tuple[int, str]:
    from pipelines import scoring

    rows = found.rows[:items]
    passes = len({metric.needs for metric in found.metrics})
    with progress.bar(len(rows) * passes, f"asking {loaded.version}") as bar:
        scores = scoring.score_loaded(
            loaded.model, loaded.tokenizer, rows, found.suite, found.metrics, bar
        )
    wrong = [
        name
        for name, values in scores.items()
        if any(one is not None and not math.isfinite(one) for one in values)
    ]
    if wrong:
        raise InputError(f"{', '.join(wrong)} is not a finite number")
    said = evaluated(found.item)
    told = [
        f"{name} {_shown(values)} (recorded of the same items:"
        f" {_shown(said.scores.get(name, [])[: len(rows)])})"
        for name, values in scores.items()
    ]
    of = f"{len(rows)} of {len(found.rows)} items of {said.suite_name} (suite {said.suite[:12]})"
    return len(rows), f"{of}: {', '.join(told)}"


def _fixed(loaded: Loaded, why: str) -> tuple[int, str]:
    """(2) Asks the fixed prompts. Raises `InputError` if the output is not finite or empty."""
    import torch

    for prompt in PROMPTS:
        given = loaded.tokenizer(
            _rendered(loaded.tokenizer, prompt), return_tensors="pt", add_special_tokens=False
        )
        given = given.to(loaded.model.device)
        with torch.inference_mode():
            values = loaded.model(**given).logits
            if not bool(torch.isfinite(values).all()):
                raise InputError("the output is not finite")
            if loaded.model.can_generate():
                made = loaded.model.generate(**given, do_sample=False, max_new_tokens=TOKENS)
                if made.shape[1] <= given["input_ids"].shape[1]:
                    raise InputError("the output is empty")
    return 0, f"no suite items, because {why}; {len(PROMPTS)} fixed prompts gave finite numbers"


def _rendered(tokenizer: Any, prompt: str) -> str:
    if not tokenizer.chat_template:
        return prompt
    said = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))


def _shown(values: list[float | None]) -> str:
    value = mean(values)
    return "none" if value is None else f"{value:.3f}"
