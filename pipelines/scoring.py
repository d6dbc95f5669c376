"""Scores a model on a suite's records, item by item: the part of evaluation that imports torch.

Weights are 32-bit floats, batches are in the order of record ids, and every batch's seed follows
from the suite's seed. The same model, suite, versions and thread count give the same scores.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from governance.attest.predicates.training import ToolUse
from governance.base.errors import ConfigError, InputError
from governance.base.progress import Bar
from pipelines import behaviour, json_texts, thinking
from pipelines.kinds import TOOLS, TURNS
from pipelines.metrics import Metric, answer_score
from pipelines.params import Suite
from pipelines.training import chat, rewards, tool_files
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import load_model, load_tokenizer
from pipelines.training.rewards import TrainerReward

if TYPE_CHECKING:
    from pipelines.training.tool_loop import ToolLoop

Rows = list[dict[str, Any]]

Asked = tuple[chat.Chat, chat.Tools | None]
"""A conversation as the chat template takes it, with its tools."""


class Made(NamedTuple):
    """A generated answer."""

    asked: Asked
    text: str
    """With what the model thought."""
    tokens: list[int]
    ended: bool
    own: list[int] | None = None
    """1 for each token of the model, 0 for one of a tool's result; None where all are the
    model's.
    """
    messages: chat.Chat | None = None
    """With tools: what follows the prompt."""

    @property
    def own_tokens(self) -> list[int]:
        """The tokens that the model chose."""
        if self.own is None:
            return self.tokens
        return [token for token, own in zip(self.tokens, self.own, strict=True) if own]


class DivergedError(InputError):
    """A figure of the model is not finite: its weights, or the probabilities of an answer."""

    def __init__(self, figure: str, value: str, counts: dict[str, int] | None = None) -> None:
        found = f"the model has diverged: {figure} are not finite ({value})"
        super().__init__(found, where="models", fix="train it again, with a lower learning rate")
        self.figure, self.value, self.counts = figure, value, counts


Scores = dict[str, list[float | None]]


def open_scorer(model: Path, kind: ModelClass, suite: Suite, threads: int, bar: Bar) -> Scorer:
    """The model of a folder, ready to be scored. Raises `DivergedError`."""
    import torch

    torch.set_num_threads(threads)
    quiet()
    loaded = load_model(model, kind, dtype=torch.float32)
    require_finite_weights(loaded)
    return Scorer(loaded, load_tokenizer(model), suite, bar)


def require_finite_weights(model: Any) -> None:
    """Raises `DivergedError` unless every weight is finite. What a file has beside the weights may
    be infinite: old masks of attention are, and loading leaves them out.
    """
    import torch

    weights = [weight for weight in model.parameters() if weight.is_floating_point()]
    wrong = sum(not bool(torch.isfinite(weight).all()) for weight in weights)
    if wrong:
        counts = {"tensors": len(weights), "tensors_not_finite": wrong}
        raise DivergedError("the weights", f"{wrong} of {len(weights)} tensors", counts)


def score(scorer: Scorer, rows: Rows, metrics: list[Metric], *, inference: bool = True) -> Scores:
    """Metric name to one score per row. `inference`: false for a model that goes on training.
    Raises `DivergedError`.
    """
    import torch

    scores: Scores = {}
    with torch.inference_mode() if inference else torch.no_grad():
        for need in sorted({metric.needs for metric in metrics}):
            scores |= scorer.scores(need, rows, [m for m in metrics if m.needs == need])
    return {metric.name: scores[metric.name] for metric in metrics}


def score_loaded(
    model: Any, tokenizer: Any, rows: Rows, suite: Suite, metrics: list[Metric], bar: Bar
) -> Scores:
    """The same as `score` for a loaded model."""
    return score(Scorer(model, tokenizer, suite, bar), rows, metrics)


def quiet() -> None:
    """Switches off the progress bars and advice of transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


class Scorer:
    """A loaded model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, suite: Suite, bar: Bar) -> None:
        import torch

        self.tokenizer = tokenizer
        self.tokenizer.padding_side = "left"
        if not self.tokenizer.chat_template:
            raise InputError(
                "the model's tokenizer has no chat template", where=str(tokenizer.name_or_path)
            )
        self.form = chat.Form()
        self.opened = chat.opens_thinking(tokenizer) and not suite.tools
        self.loop = _loop(model, tokenizer, suite)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device).eval()
        self.suite, self.bar = suite, bar
        end = self.model.generation_config.eos_token_id if self.model.can_generate() else None
        self.ends = {end} if isinstance(end, int) else {*(end or ())}
        self.sampled: list[list[Made]] = []
        """The sampled answers of the first items."""
        self.scored: dict[str, list[list[str]]] = {"greedy": [], "sampled": []}
        """The answers to each item that metrics scored, without what the model thought."""
        self.margins: list[float] = []
        """A reward model's score of the chosen answer less that of the rejected one, by pair."""

    @property
    def tool_use(self) -> ToolUse | None:
        """What became of calls so far."""
        if self.loop is None or self.suite.tools is None:
            return None
        sources = {name: tool_files.source_digest(name) for name in self.suite.tools.names}
        calls = self.loop.calls / self.loop.answers if self.loop.answers else 0.0
        failed = self.loop.failed / self.loop.calls if self.loop.calls else 0.0
        return ToolUse(functions=sources, calls=calls, failed=failed)

    def samples(self, rows: Rows, per_item: int) -> list[list[Made]]:
        """Sampled answers of each row, with the seeds of those that metrics score. Of rows that
        metrics had sampled already, those.
        """
        if not self.sampled:
            self.sampled = self.drawn(rows, per_item, "sampled")
        return self.sampled[: len(rows)]

    def drawn(self, rows: Rows, per_item: int, purpose: str) -> list[list[Made]]:
        """Sampled answers of each row. The seed of a batch follows from that of the suite and from
        what the answers are for.
        """
        import torch

        self.form = chat.form_of(self.tokenizer, parts_of_rows(rows), self._name)
        size = max(1, self.suite.generation.batch_size // per_item)
        made: list[list[Made]] = []
        for at in range(0, len(rows), size):
            torch.manual_seed(_seed(self.suite.seed, purpose, at))
            made += self._groups(rows[at : at + size], per_item, sampled=True)
        return made

    def prompt_tokens(self, asked: list[Asked]) -> list[list[int]]:
        """The tokens of each prompt."""
        texts = self._texts(asked, prompt=True)
        tokens: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return tokens

    def answer(self, text: str) -> str:
        """A generated text without what the model thought."""
        return thinking.answer_of(text, opened=self.opened)

    def rate(self, asked: list[Asked]) -> list[float]:
        """The values that a reward model gives to whole conversations."""
        size = self.suite.generation.batch_size
        values: list[float] = []
        for at in range(0, len(asked), size):
            values += self.model(**self._encode(asked[at : at + size])).logits[:, 0].tolist()
        return values

    def lengths(self, rows: Rows, side: str) -> list[int]:
        """Tokens of what the messages of one side of pairs (`chosen`, `rejected`) contain."""
        texts = ["\n".join(each["content"] or "" for each in row[side]) for row in rows]
        tokens: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [len(each) for each in tokens]

    def scores(self, need: str, rows: Rows, metrics: list[Metric]) -> Scores:
        """The scores of the metrics with the same need, batch by batch."""
        import torch

        scores: Scores = {metric.name: [] for metric in metrics}
        self.form = chat.form_of(self.tokenizer, parts_of_rows(rows), self._name)
        per_item = self.suite.generation.samples if need == "sampled" else 1
        size = max(1, self.suite.generation.batch_size // per_item)
        functions = {
            metric.name: rewards.for_trainer(metric.rule, {}, extra=None)
            for metric in metrics
            if metric.rule
        }
        for at in range(0, len(rows), size):
            batch = rows[at : at + size]
            torch.manual_seed(_seed(self.suite.seed, need, at))
            results = self._results(need, batch, per_item)
            for metric in metrics:
                scores[metric.name] += [
                    _score(metric, functions.get(metric.name), result, row)
                    for result, row in zip(results, batch, strict=True)
                ]
            self.bar.advance(len(batch))
        return scores

    def _results(self, need: str, batch: Rows, per_item: int) -> list[Any]:
        """What the metrics score for each row: texts, a pair of scores, or a loss."""
        if need == "pair":
            return self._pairs(batch)
        if need == "loss":
            return self._losses(batch)
        return self._answers(batch, per_item, sampled=need == "sampled")

    def _answers(self, batch: Rows, per_item: int, *, sampled: bool) -> list[list[str]]:
        """The answers to each prompt, without what the model thought."""
        groups = self._groups(batch, per_item, sampled=sampled)
        if sampled and len(self.sampled) < behaviour.ITEMS:
            self.sampled += groups
        answers = [[self.answer(made.text) for made in group] for group in groups]
        self.scored["sampled" if sampled else "greedy"] += answers
        return answers

    def _groups(self, batch: Rows, per_item: int, *, sampled: bool) -> list[list[Made]]:
        """What the model generates for each prompt. Where the user has further turns, each answer
        has a conversation of its own, and the last one counts.
        """
        if self.loop is not None or not any(row.get(TURNS) for row in batch):
            asked = [(self.form.chat(row["prompt"]), self._tools_of(row)) for row in batch]
            made = self._generated(asked, per_item, sampled=sampled)
        else:
            made = self._answers_in_turns(batch, per_item, sampled=sampled)
        return [made[at : at + per_item] for at in range(0, len(made), per_item)]

    def _tools_of(self, row: dict[str, Any]) -> chat.Tools | None:
        """What the model is told of the tools of a row: with tools of the suite, of these."""
        if self.loop is None or self.suite.tools is None:
            return chat.tools_of(row)
        if row.get(TURNS):
            found, fix = "a record of a suite with tools has several turns", "use two suites"
            raise InputError(found, where=f"{row['file']}:{row['row']}", fix=fix)
        if row.get(TOOLS):
            where = f"{row['file']}:{row['row']}"
            tool_files.require_named(row[TOOLS], self.suite.tools.names, where)
        return self.loop.schemas

    def _answers_in_turns(self, batch: Rows, per_item: int, *, sampled: bool) -> list[Made]:
        """The last answer of each conversation, `per_item` for each row."""
        rows = [row for row in batch for _ in range(per_item)]
        talks = [self.form.chat(row["prompt"]) for row in rows]
        turns = [json_texts.loads(row.get(TURNS) or "[]") for row in rows]
        latest: dict[int, Made] = {}
        for turn in range(1 + max(map(len, turns))):
            open_ones = [at for at, several in enumerate(turns) if len(several) >= turn]
            for at in open_ones if turn else ():
                talks[at] += [self._said(latest[at].text), _asks(turns[at][turn - 1])]
            asked = [([*talks[at]], chat.tools_of(rows[at])) for at in open_ones]
            latest |= zip(open_ones, self._generated(asked, 1, sampled=sampled), strict=True)
        return [latest[at] for at in range(len(rows))]

    def _said(self, text: str) -> dict[str, Any]:
        """A generated text as a message of the conversation that goes on."""
        thought, answer = thinking.divided(f"{thinking.OPENS}{text}" if self.opened else text)
        said = {"role": "assistant", "content": answer, "thinking": thought}
        return self.form.chat([said])[0]

    def _generated(self, asked: list[Asked], per_item: int, *, sampled: bool) -> list[Made]:
        if self.loop is not None:
            return self._with_tools(self.loop, asked, per_item, sampled=sampled)
        answers = self._continued(self._encode(asked, prompt=True), per_item, sampled=sampled)
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [
            Made(asked[at // per_item], text, *self._to_the_end(row))
            for at, (text, row) in enumerate(zip(texts, answers.tolist(), strict=True))
        ]

    def _with_tools(
        self, loop: ToolLoop, asked: list[Asked], per_item: int, *, sampled: bool
    ) -> list[Made]:
        """The answers of a model that calls tools."""
        each = [one for one in asked for _ in range(per_item)]

        def generate(prompts: list[list[int]]) -> list[list[int]]:
            padded = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
            answers = self._continued(padded.to(self.device), 1, sampled=sampled)
            return [self._to_the_end(row)[0] for row in answers.tolist()]

        called = loop.run(self.prompt_tokens(each), [talk for talk, _ in each], generate)
        return [
            Made(one, made.text, made.tokens, made.tokens[-1] in self.ends, made.own, made.messages)
            for one, made in zip(each, called, strict=True)
        ]

    def _continued(self, prompts: Any, per_item: int, *, sampled: bool) -> Any:
        """The tokens that the model generates after each prompt."""
        settings = self.suite.generation
        options: dict[str, Any] = {"do_sample": sampled}
        if sampled:
            options |= {"temperature": settings.temperature, "top_k": 0, "top_p": 1.0}
        try:
            made = self.model.generate(
                **prompts,
                **options,
                num_return_sequences=per_item,
                max_new_tokens=settings.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        except RuntimeError as error:
            if "probability tensor" not in str(error):  # torch has no class for it
                raise
            raise DivergedError("the probabilities of an answer", "nan") from None
        return made[:, prompts["input_ids"].shape[1] :]

    def _to_the_end(self, row: list[int]) -> tuple[list[int], bool]:
        """The tokens up to the first end token, and whether there is one."""
        at = next((at for at, token in enumerate(row) if token in self.ends), None)
        return (row, False) if at is None else (row[: at + 1], True)

    def _pairs(self, batch: Rows) -> list[tuple[float, float]]:
        """The reward model's scores of both answers of each pair."""
        both = [
            (self.form.chat([*row["prompt"], *row[side]]), chat.tools_of(row))
            for side in ("chosen", "rejected")
            for row in batch
        ]
        values = self.model(**self._encode(both)).logits[:, 0].tolist()
        pairs = list(zip(values[: len(batch)], values[len(batch) :], strict=True))
        self.margins += [chosen - rejected for chosen, rejected in pairs]
        return pairs

    def _losses(self, batch: Rows) -> list[float]:
        """Mean negative log-likelihood per token of each conversation, as rendered by the chat
        template.
        """
        import torch

        given = [(self.form.chat(row["messages"]), chat.tools_of(row)) for row in batch]
        tokens = self._encode(given)
        logits = self.model(**tokens).logits[:, :-1].transpose(1, 2)
        loss = torch.nn.functional.cross_entropy(
            logits, tokens["input_ids"][:, 1:], reduction="none"
        )
        mask = tokens["attention_mask"]
        counted = (mask[:, 1:] * mask[:, :-1]).to(loss.dtype)
        return [float(value) for value in (loss * counted).sum(1) / counted.sum(1).clamp(min=1)]

    @property
    def _name(self) -> str:
        return str(self.tokenizer.name_or_path)

    def _encode(self, given: list[Asked], *, prompt: bool = False) -> Any:
        options = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}
        return self.tokenizer(self._texts(given, prompt=prompt), **options).to(self.device)

    def _texts(self, given: list[Asked], *, prompt: bool) -> list[str]:
        """Conversations as the chat template writes them; `prompt`: up to where the answer
        begins.
        """
        from jinja2 import TemplateError

        try:
            return chat.rendered(self.tokenizer, given, generates=prompt)
        except TemplateError:  # whose message is the template's, and may quote the item
            found = "the model's chat template refuses the roles of an item, or their order"
            fix = "use a suite whose messages the template accepts (some accept no system message)"
            raise InputError(found, where=self._name, fix=fix) from None


def _loop(model: Any, tokenizer: Any, suite: Suite) -> ToolLoop | None:
    """How the model calls the suite's tools; None where there are none, or it gives no answers."""
    if suite.tools is None or not model.can_generate():
        return None
    from pipelines.training import tool_loop

    tool_loop.prepare(tokenizer)
    sources = {name: tool_files.source_digest(name) for name in suite.tools.names}
    tools = tool_files.load(sources)
    return tool_loop.ToolLoop(
        model, tokenizer, tools, suite.tools.rounds, suite.generation.max_new_tokens
    )


def parts_of_rows(rows: Rows) -> frozenset[str]:
    """What some rows have beside role and content of messages."""
    tools = {TOOLS} if any(row.get(TOOLS) for row in rows) else set()
    return frozenset(tools.union(*(_parts_in(value) for row in rows for value in row.values())))


def _parts_in(value: Any) -> set[str]:
    """The parts of a message, or of lists of messages."""
    if isinstance(value, list):
        return set().union(*map(_parts_in, value))
    if not isinstance(value, dict) or "role" not in value:
        return set()
    parts = {part for part in (chat.CALLS, chat.THINKING) if value.get(part)}
    return parts | {chat.ANSWERS} if value["role"] == "tool" else parts


def _asks(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _score(
    metric: Metric, function: TrainerReward | None, result: Any, row: dict[str, Any]
) -> float | None:
    if metric.needs == "pair":
        chosen, rejected = result
        return float(chosen > rejected) if math.isfinite(chosen - rejected) else math.nan
    if metric.needs == "loss":
        return _perplexity(result) if metric.name == "perplexity" else float(result)
    if function is None:
        raise ConfigError(f"{metric.name} names no reward function")
    return answer_score(metric, function, result, row)


def _perplexity(loss: float) -> float | None:
    """None if the value of a finite loss exceeds a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return None


def _seed(suite: int, need: str, at: int) -> int:
    """The seed of one batch."""
    return int.from_bytes(hashlib.sha256(f"{suite} {need} {at}".encode()).digest()[:4], "big")
