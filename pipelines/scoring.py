"""Scores a model on a suite's records, item by item: the part of evaluation that imports torch.

Weights are 32-bit floats, batches are in the order of record ids, and every batch's seed follows
from the suite's seed. The same model, suite, versions and thread count give the same scores.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.base.errors import InputError
from governance.base.progress import Bar
from pipelines.metrics import Metric, answer_score
from pipelines.params import Suite
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import load_model, load_tokenizer

Rows = list[dict[str, Any]]
Scores = dict[str, list[float | None]]


def score(
    model: Path,
    kind: ModelClass,
    rows: Rows,
    suite: Suite,
    metrics: list[Metric],
    threads: int,
    bar: Bar,
) -> Scores:
    """Metric name to one score per row."""
    import torch

    torch.set_num_threads(threads)
    quiet()
    loaded = load_model(model, kind, dtype=torch.float32)
    return score_loaded(loaded, load_tokenizer(model), rows, suite, metrics, bar)


def score_loaded(
    model: Any, tokenizer: Any, rows: Rows, suite: Suite, metrics: list[Metric], bar: Bar
) -> Scores:
    """The same as `score` for a loaded model."""
    import torch

    scorer = _Scorer(model, tokenizer, suite, bar)
    needs = {metric.needs for metric in metrics}
    found: Scores = {metric.name: [] for metric in metrics}
    with torch.inference_mode():
        for need in sorted(needs):
            for metric, values in scorer.of(
                need, rows, [one for one in metrics if one.needs == need]
            ):
                found[metric.name] += values
    return found


def quiet() -> None:
    """Switches off the progress bars and advice of transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


class _Scorer:
    """A loaded model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, suite: Suite, bar: Bar) -> None:
        import torch

        self.tokenizer = tokenizer
        self.tokenizer.padding_side = "left"
        if not self.tokenizer.chat_template:
            raise InputError(
                "the model's tokenizer has no chat template", where=str(tokenizer.name_or_path)
            )
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device).eval()
        self.suite, self.bar = suite, bar

    def of(
        self, need: str, rows: Rows, metrics: list[Metric]
    ) -> Iterator[tuple[Metric, list[float | None]]]:
        """The scores of the metrics with the same need, batch by batch."""
        import torch

        per_item = self.suite.generation.samples if need == "sampled" else 1
        size = max(1, self.suite.generation.batch_size // per_item)
        for at in range(0, len(rows), size):
            batch = rows[at : at + size]
            torch.manual_seed(_seed(self.suite.seed, need, at))
            if need in ("greedy", "sampled"):
                answers = self._answers(batch, per_item, sampled=need == "sampled")
                for metric in metrics:
                    pairs = zip(answers, batch, strict=True)
                    yield (
                        metric,
                        [answer_score(metric, texts, row["answer"]) for texts, row in pairs],
                    )
            elif need == "pair":
                values: list[float | None] = [
                    float(chosen > rejected) for chosen, rejected in self._pairs(batch)
                ]
                yield from ((metric, values) for metric in metrics)
            else:
                losses = self._losses(batch)
                for metric in metrics:
                    yield (
                        metric,
                        [
                            _perplexity(loss) if metric.name == "perplexity" else loss
                            for loss in losses
                        ],
                    )
            self.bar.advance(len(batch))

    def _answers(self, batch: Rows, per_item: int, *, sampled: bool) -> list[list[str]]:
        given = self._encode([row["prompt"] for row in batch], prompt=True)
        settings = self.suite.generation
        sampling = {"temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
        how: dict[str, Any] = {"do_sample": sampled, **(sampling if sampled else {})}
        try:
            made = self.model.generate(
                **given,
                **how,
                num_return_sequences=per_item,
                max_new_tokens=settings.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            found = "the model has diverged: its output is not finite, so no answer can be sampled"
            raise InputError(
                found, where="models", fix="train it again, with a lower learning rate"
            ) from None
        texts = self.tokenizer.batch_decode(
            made[:, given["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [texts[at : at + per_item] for at in range(0, len(texts), per_item)]

    def _pairs(self, batch: Rows) -> list[tuple[float, float]]:
        """The reward model's scores of both answers of each pair."""
        both = [[*row["prompt"], *row[side]] for side in ("chosen", "rejected") for row in batch]
        values = self.model(**self._encode(both)).logits[:, 0].tolist()
        return list(zip(values[: len(batch)], values[len(batch) :], strict=True))

    def _losses(self, batch: Rows) -> list[float]:
        """Mean negative log-likelihood per token of each conversation, as rendered by the chat
        template.
        """
        import torch

        given = self._encode([row["messages"] for row in batch])
        logits = self.model(**given).logits[:, :-1].transpose(1, 2)
        loss = torch.nn.functional.cross_entropy(
            logits, given["input_ids"][:, 1:], reduction="none"
        )
        counted = (given["attention_mask"][:, 1:] * given["attention_mask"][:, :-1]).to(loss.dtype)
        return [float(value) for value in (loss * counted).sum(1) / counted.sum(1).clamp(min=1)]

    def _encode(self, conversations: list[Any], *, prompt: bool = False) -> Any:
        from jinja2 import TemplateError

        try:
            texts = self.tokenizer.apply_chat_template(
                conversations, tokenize=False, add_generation_prompt=prompt
            )
        except TemplateError:  # whose message is the template's, and may quote the item
            raise InputError(
                "the model's chat template refuses the roles of an item, or their order",
                where=str(self.tokenizer.name_or_path),
                fix=(
                    "use a suite whose messages the template accepts (some accept no system"
                    " message)"
                ),
            ) from None
        return self.tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.device)


def _perplexity(loss: float) -> float:
    """Infinite if the value exceeds a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _seed(suite: int, need: str, at: int) -> int:
    """The seed of one batch."""
    return int.from_bytes(hashlib.sha256(f"{suite} {need} {at}".encode()).digest()[:4], "big")
