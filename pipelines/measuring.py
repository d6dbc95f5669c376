"""Measures the behaviour of a model that generates, beside its parent (`pipelines.behaviour`,
`pipelines.likelihood`).

`reward` is what the rewards of its training, weighted as there, give to the sampled answers, and
`parent_reward` what they give to the parent's answers to the same prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import behaviour, json_texts
from pipelines.behaviour import Answer, Measures
from pipelines.kinds import EXTRA
from pipelines.likelihood import log_likelihoods
from pipelines.scoring import Asked, DivergedError, Made, Rows, Scorer, open_scorer
from pipelines.training import rewards
from pipelines.training.objective import ResolvedReward

DIGITS = 6
"""Decimal digits that are kept of a measure."""

RATIOS = 2
"""Answers of each item for which the divergence from the parent is estimated, and that the parent
samples.
"""


@dataclass(frozen=True)
class Origin:
    """What a model was made from, as far as its behaviour is compared with it."""

    parent: Path | None = None
    """Its parent, if that has weights."""
    scorer: Path | None = None
    """The reward model of its training."""
    rewards: Sequence[ResolvedReward] = ()
    """The rewards of its training."""
    threads: int = field(default=1)


def measure(scorer: Scorer, rows: Rows, origin: Origin) -> Measures:
    """Every measure, for the first rows with a prompt; nothing where none has one. Raises
    `DivergedError`.
    """
    import torch

    asked = behaviour.prompts(rows)
    if not asked:
        return {}
    per_item = scorer.suite.generation.samples or behaviour.ANSWERS
    with torch.inference_mode():
        made = scorer.samples(asked, per_item)
        measured = behaviour.measures(_answers(scorer, made))
        measured["content"] = _content(scorer, made)
        if origin.parent is not None:
            measured |= _beside(origin.parent, scorer, made, asked, origin)
    _require_finite(measured)
    return {
        name: [round(value, DIGITS) + 0.0 for value in values] for name, values in measured.items()
    }


def _answers(scorer: Scorer, made: list[list[Made]]) -> list[list[Answer]]:
    return [
        [Answer(scorer.answer(one.text), one.own_tokens, one.ended) for one in group]
        for group in made
    ]


def _content(scorer: Scorer, made: list[list[Made]]) -> list[float]:
    """How much likelier the first answer of each item is after its own prompt than after that of
    the next item.
    """
    firsts = [group[0] for group in made]
    prompts = scorer.prompt_tokens([one.asked for one in firsts])
    own = _likelihoods(scorer, prompts, firsts)
    other = _likelihoods(scorer, [*prompts[1:], *prompts[:1]], firsts)
    return [one - two for one, two in zip(own, other, strict=True)]


def _beside(
    folder: Path, scorer: Scorer, made: list[list[Made]], rows: Rows, origin: Origin
) -> Measures:
    """The measures that need the parent."""
    parent = open_scorer(folder, "language", scorer.suite, origin.threads, scorer.bar)
    measured: Measures = {}
    if parent.tokenizer.get_vocab() == scorer.tokenizer.get_vocab():
        measured["kl"] = _divergence(scorer, parent, made)
    if origin.rewards:
        reward = _Rewards(origin, scorer)
        measured["reward"] = reward.of(scorer, made, rows)
        theirs = parent.samples(rows, min(len(made[0]), RATIOS))
        measured["parent_reward"] = reward.of(parent, theirs, rows)
    return measured


def _divergence(scorer: Scorer, parent: Scorer, made: list[list[Made]]) -> list[float]:
    """For each item the mean over its answers of the log-ratio per token."""
    made = [group[:RATIOS] for group in made]
    answers = [one for group in made for one in group]
    prompts = scorer.prompt_tokens([one.asked for one in answers])
    pairs = zip(
        _likelihoods(scorer, prompts, answers), _likelihoods(parent, prompts, answers), strict=True
    )
    ratios = [
        (one - two) / len(answer.own_tokens)
        for (one, two), answer in zip(pairs, answers, strict=True)
    ]
    return _means(ratios, len(made[0]))


def _likelihoods(scorer: Scorer, prompts: list[list[int]], answers: list[Made]) -> list[float]:
    tokens, pad = [one.tokens for one in answers], scorer.tokenizer.pad_token_id
    temperature = scorer.suite.generation.temperature
    own = [one.own or [1] * len(one.tokens) for one in answers]
    return log_likelihoods(scorer.model, prompts, tokens, pad, temperature, own)


def _means(values: list[float], per_item: int) -> list[float]:
    groups = [values[at : at + per_item] for at in range(0, len(values), per_item)]
    return [sum(group) / len(group) for group in groups]


class _Rewards:
    """The rewards of a training, as its trainer adds them up."""

    def __init__(self, origin: Origin, scorer: Scorer) -> None:
        self.rewards, self.model = origin.rewards, None
        if origin.scorer is not None:
            self.model = open_scorer(
                origin.scorer, "scorer", scorer.suite, origin.threads, scorer.bar
            )

    def of(self, scorer: Scorer, made: list[list[Made]], rows: Rows) -> list[float]:
        """The mean reward of each item's answers."""
        answers = [one for group in made for one in group]
        items = [row for group, row in zip(made, rows, strict=True) for _ in group]
        total = [0.0] * len(answers)
        for reward in self.rewards:
            values = self._of(reward, scorer, answers, items)
            total = [
                so_far + reward.weight * one for so_far, one in zip(total, values, strict=True)
            ]
        return _means(total, len(made[0]))

    def _of(
        self, reward: ResolvedReward, scorer: Scorer, answers: list[Made], items: Rows
    ) -> list[float]:
        if reward.name == rewards.SCORER and self.model is not None:
            return self.model.rate([_answered(one) for one in answers])
        columns = _columns(items)
        function = rewards.for_trainer(
            reward.name, reward.options, reward.source, [*columns], opened=scorer.opened
        )
        given = {"prompts": [one.asked[0] for one in answers]}
        texts = [one.text for one in answers]
        references = [row.get("answer") for row in items]
        return function(completions=texts, answer=references, **given, **columns)


def _answered(made: Made) -> Asked:
    talk, tools = made.asked
    return [*talk, *(made.messages or [{"role": "assistant", "content": made.text}])], tools


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """The extra columns of records, as reward functions get them."""
    extra = [json_texts.loads(row.get(EXTRA) or "{}") for row in rows]
    names = sorted({name for values in extra for name in values})
    return {name: [values.get(name) for values in extra] for name in names}


def _require_finite(measured: Measures) -> None:
    for name, values in measured.items():
        if wrong := sum(not math.isfinite(value) for value in values):
            raise DivergedError(f"the measure {name}", f"{wrong} of {len(values)} items")
