"""Asks a model what it gives away: the part of a probe that imports torch.

Weights are 32-bit floats, and no step is random: the same model, records, versions and thread count
give the same scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from governance.base.errors import InputError
from governance.base.progress import Bar
from pipelines.leaks import canaries
from pipelines.leaks.canaries import Canary
from pipelines.leaks.sampling import Texts
from pipelines.likelihood import log_likelihoods
from pipelines.params import Suite
from pipelines.scoring import Asked, DivergedError, Scorer, open_scorer, parts_of_rows
from pipelines.training import chat
from pipelines.training.usage import common_beginning

SETTINGS = Suite(metrics=["loss"])
"""A scorer takes a suite; nothing is sampled here."""

Message = dict[str, Any]
Encoded = tuple[list[int], list[int]]
"""The tokens of a prompt, and those of the answer."""


class Probed(NamedTuple):
    """What a model gives away of one canary."""

    rank: int
    extracted: bool


class Prober:
    """A model that is asked. `limit`: tokens of a text that count, as in its training."""

    def __init__(self, folder: Path, threads: int, limit: int, bar: Bar) -> None:
        self.scorer: Scorer = open_scorer(folder, "language", SETTINGS, threads, bar)
        self.limit, self.bar = limit, bar

    def canary(self, planted: Canary, others: Sequence[Canary], *, asks: bool) -> Probed:
        """The rank of a canary among others with its label, and whether it is extracted. Raises
        `InputError` where the training cut the secret off.
        """
        import torch

        texts = [_canary_texts(one, asks=asks) for one in (planted, *others)]
        whole = [prompt + answer for prompt, answer in self._encoded(texts, limit=None)]
        if len(whole[0]) > self.limit:
            found = f"a canary has {len(whole[0])} tokens, and training cut texts to {self.limit}"
            fix = "set a higher `max_length` of the stage's trainer, or plant no canaries"
            raise InputError(found, where="params.yaml: stages", fix=fix)
        start = min(common_beginning(whole[0], one) for one in whole[1:])
        prompts, rest = [one[:start] for one in whole], [one[start:] for one in whole]
        likelihoods = self._likelihoods(list(zip(prompts, rest, strict=True)))
        with torch.inference_mode():
            continued = self._greedy(prompts[0], len(rest[0]))
        self.bar.advance()
        own = likelihoods[0]
        rank = 1 + sum(one >= own for one in likelihoods[1:])
        return Probed(rank, continued.lstrip().startswith(planted.secret))

    def losses(self, texts: Sequence[Texts]) -> list[tuple[float, float]]:
        """For each record the mean negative log-likelihood per token of its answer, and of its
        other answer (0 where it has none).
        """
        answers = self._losses([(one.prompt, one.answer, one.tools) for one in texts])
        others = self._losses([(one.prompt, one.other, one.tools) for one in texts if one.other])
        rest = iter(others)
        self.bar.advance(len(texts))
        pairs = zip(answers, texts, strict=True)
        return [(answer, next(rest) if one.other else 0.0) for answer, one in pairs]

    def _losses(self, texts: Sequence[tuple[list[Message], list[Message], Any]]) -> list[float]:
        if not texts:
            return []
        encoded = self._encoded(texts, limit=self.limit)
        order = sorted(range(len(encoded)), key=lambda at: len(encoded[at][0] + encoded[at][1]))
        found = [0.0] * len(encoded)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            values = self._likelihoods([encoded[at] for at in batch])
            for at, value in zip(batch, values, strict=True):
                found[at] = -value / len(encoded[at][1])
        return found

    def _likelihoods(self, encoded: Sequence[Encoded]) -> list[float]:
        """log p(answer | prompt) of each. Raises `DivergedError` where one is not finite."""
        import torch

        prompts, answers = [one for one, _ in encoded], [one for _, one in encoded]
        pad = self.scorer.tokenizer.pad_token_id
        with torch.inference_mode():
            found = log_likelihoods(self.scorer.model, prompts, answers, pad, 1.0)
        if wrong := sum(not math.isfinite(value) for value in found):
            value = f"{wrong} of {len(found)} texts"
            raise DivergedError("the probabilities of texts", value, {"texts_not_finite": wrong})
        return found

    def _encoded(
        self, texts: Sequence[tuple[list[Message], list[Message], Any]], *, limit: int | None
    ) -> list[Encoded]:
        """The tokens of each text. The first token always belongs to the prompt: nothing predicts
        it. What lies beyond the limit is left out, one token of the answer excepted.
        """
        tokenizer = self.scorer.tokenizer
        rows = [{"prompt": prompt, "answer": answer} for prompt, answer, _ in texts]
        tools = [chat.tools_of({"tools": each}) for _, _, each in texts]
        form = chat.form_of(tokenizer, parts_of_rows(rows), str(tokenizer.name_or_path))
        whole = [
            (form.chat([*prompt, *answer]), each)
            for (prompt, answer, _), each in zip(texts, tools, strict=True)
        ]
        asked = [
            (form.chat(prompt), each)
            for (prompt, _, _), each in zip(texts, tools, strict=True)
            if prompt
        ]
        prompts = iter(self._tokens(asked, generates=True))
        encoded = []
        for tokens, (prompt, _, _) in zip(self._tokens(whole, generates=False), texts, strict=True):
            start = max(1, common_beginning(next(prompts) if prompt else [], tokens))
            start = min(start, len(tokens) - 1)
            end = len(tokens) if limit is None else max(limit, start + 1)
            encoded.append((tokens[:start], tokens[start:end]))
        return encoded

    def _tokens(self, given: list[Asked], *, generates: bool) -> list[list[int]]:
        if not given:
            return []
        texts = chat.rendered(self.scorer.tokenizer, given, generates=generates)
        ids: list[list[int]] = self.scorer.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def _greedy(self, prompt: list[int], tokens: int) -> str:
        """The most probable continuation of a prompt."""
        import torch

        given = torch.tensor([prompt], device=self.scorer.device)
        made = self.scorer.model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=tokens,
            pad_token_id=self.scorer.tokenizer.pad_token_id,
        )
        text: str = self.scorer.tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True)
        return text


BATCH = 256
"""Texts that are sorted by length into one call; `log_likelihoods` divides it further."""


def _canary_texts(canary: Canary, *, asks: bool) -> tuple[list[Message], list[Message], None]:
    messages = canaries.content("conversation", canary, asks=asks)["messages"]
    return messages[:-1], messages[-1:], None


def scores(
    ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]] | None
) -> list[float]:
    """The score of each record: how much less loss the model has on its answer than the parent, in
    nats per token (a likelihood ratio against a reference: Mireshghallah et al. 2022,
    arXiv:2203.03929; Wang et al. 2024, arXiv:2402.17012); of a pair, less the same for the other
    answer (Feng et al. 2024, arXiv:2407.06443). Without a parent, the negative loss.
    """
    before = theirs or [(0.0, 0.0)] * len(ours)
    return [
        (reference - own) - (other_reference - other)
        for (own, other), (reference, other_reference) in zip(ours, before, strict=True)
    ]
