"""How probable a model finds given answers: the measures of behaviour that need logits.

- `kl`: log p(answer) under the model less that under its parent, per token of the answer, for
  answers that the model sampled. Its mean estimates the Kullback-Leibler divergence per token from
  the parent (the estimator k1 of Schulman 2020, http://joschu.net/blog/kl-approx.html: unbiased,
  and single values may be negative).
- `content`: log p(answer | its prompt) less log p(answer | the next item's prompt), in nats per
  answer, for the first answer of each item. Near 0, the answers do not depend on what was asked.

Probabilities are those of the temperature that the answers were sampled at.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

BUDGET = 2**21
"""Logits that are held at once, as numbers: a batch that fits a processor's cache."""

Tokens = Sequence[int]


def log_likelihoods(
    model: Any,
    prompts: Sequence[Tokens],
    answers: Sequence[Tokens],
    pad: int,
    temperature: float,
    own: Sequence[Sequence[int]] | None = None,
) -> list[float]:
    """log p(answer | prompt) of each pair, in nats. The model is in evaluation mode. `own`: 1 for
    each token of an answer that counts, 0 for one that was given to the model.
    """
    counted = own or [[1] * len(answer) for answer in answers]
    longest = max(map(len, answers), default=1)
    size = max(1, BUDGET // ((longest + 1) * model.config.get_text_config().vocab_size))
    found: list[float] = []
    for at in range(0, len(answers), size):
        part = slice(at, at + size)
        found += _batch(model, prompts[part], answers[part], counted[part], pad, temperature)
    return found


def _batch(
    model: Any,
    prompts: Sequence[Tokens],
    answers: Sequence[Tokens],
    own: Sequence[Sequence[int]],
    pad: int,
    temperature: float,
) -> list[float]:
    """Padded on the left, so that all answers end at the last position."""
    import torch

    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    width, kept = max(map(len, rows)), max(map(len, answers))
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    counted = torch.tensor([[0.0] * (kept - len(one)) + [*map(float, one)] for one in own])
    tokens, mask, counted = (each.to(model.device) for each in (tokens, mask, counted))
    known = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {}
    if "position_ids" in known:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    if "logits_to_keep" in known:
        options["logits_to_keep"] = kept + 1
    logits = model(input_ids=tokens, attention_mask=mask, **options).logits
    logits = logits[:, -kept - 1 : -1].float() / temperature
    given = logits.gather(2, tokens[:, -kept:, None])[:, :, 0] - logits.logsumexp(2)
    return [float(value) for value in (given * counted).sum(1)]
