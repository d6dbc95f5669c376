"""Trains a plan of PPO in one of a launcher's processes.

python -m tests.pipelines.ppo_ranks PLAN LAST [fixed]

The process raises an error after step LAST, as if it was killed. With `fixed`, answers are not
generated: they follow from the prompt.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.training.fit import fit
from pipelines.training.plan import Plan
from pipelines.training.ppo import PPOTrainer
from tests.pipelines import tiny


def ends_in_a(text: str, answer: str | None) -> float:
    """A reward that random answers get sometimes."""
    return float(text.count("a")) / (1 + len(text))


def fixed_answers(trainer: Any, prompt_ids: list[list[int]], *_: Any) -> tuple[list[Any], None]:
    """In the place of the trainer's method that generates: the same answers to the same prompts,
    for any number of processes.
    """
    answers = []
    for at, ids in enumerate(prompt_ids):
        rng = random.Random(f"{ids} {at % 2}")
        tokens = [rng.randrange(5, 200) for _ in range(rng.randrange(2, 8))]
        answers.append([*tokens, trainer.eos_token_ids[0]])
    return answers, None


def main(path: str, last: int, *how: str) -> None:
    """Trains the plan."""
    tiny.replace_reward(pytest.MonkeyPatch(), "ends_in_a", ends_in_a)
    if "fixed" in how:
        PPOTrainer._generate_single_turn = fixed_answers

    def listener(step: int, steps: int, signals: Mapping[str, float]) -> None:
        if step == last and not signals:
            raise InterruptedError

    fit(Plan.model_validate_json(Path(path).read_text(encoding="utf-8")), listener)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
