"""Who is asked to write, criticise or compare answers: a model of the project, a reward model, or
an endpoint.

Models of the project give the same answers for the same seed, batches, versions and threads.
Replies of endpoints are kept (`pipelines.generation.replies`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from governance.base.progress import Bar
from governance.policy.constitution import Templates
from pipelines.generation.endpoint import Endpoint
from pipelines.params import Asking, Generation, Suite

if TYPE_CHECKING:
    from pipelines.scoring import Scorer

Messages = list[dict[str, Any]]
"""Role and content."""


Chat = tuple[Messages, list[dict[str, Any]] | None]
"""A conversation and its tools, as `pipelines.scoring` takes it."""


class Asked(NamedTuple):
    """A conversation that is to be answered."""

    key: str
    """What no other question for the same purpose has: a seed follows from it."""
    messages: Messages


class Answer(NamedTuple):
    """What was written, without what the model thought."""

    text: str
    ended: bool
    """False if it was cut off."""
    refused: bool = False
    """Who was asked does not take the question."""


class Comparison(NamedTuple):
    """Two answers to a conversation, in the order in which the judge sees them."""

    key: str
    principle: str
    messages: Messages
    first: str
    second: str


Verdict = bool | Literal["UNREADABLE", "REFUSED"]
"""Whether the first answer is the better one; else why that is not known."""


class Writer(Protocol):
    """Writes answers."""

    is_elsewhere: ClassVar[bool]
    """Whether it is asked over a network."""

    def write(self, asked: Sequence[Asked], each: int, purpose: str) -> list[list[Answer]]:
        """`each` answers to each question, sampled."""


class Judge(Protocol):
    """Compares answers."""

    is_elsewhere: ClassVar[bool]
    """Whether it is asked over a network."""

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        """The verdict on each two answers."""


@dataclass(frozen=True)
class Model:
    """A language model of the project. It compares by which letter it finds more probable (as in
    https://arxiv.org/abs/2212.08073, section 4.1).
    """

    scorer: Scorer
    templates: Templates
    is_elsewhere: ClassVar[bool] = False

    def write(self, asked: Sequence[Asked], each: int, purpose: str) -> list[list[Answer]]:
        """As `Writer`."""
        import torch

        answers: list[list[Answer]] = []
        with torch.inference_mode():
            for at, batch in _batches(asked, self.scorer):
                rows = [{"prompt": one.messages} for one in batch]
                made = self.scorer.drawn(rows, each, f"{purpose} {at}")
                answers += [
                    [Answer(self.scorer.answer(one.text).strip(), one.ended) for one in group]
                    for group in made
                ]
                self.scorer.bar.advance(len(batch) * each)
        return answers

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        """As `Judge`."""
        import torch

        from pipelines.likelihood import log_likelihoods

        scorer, verdicts = self.scorer, list[Verdict]()
        letters = scorer.tokenizer(["A", "B"], add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            for _, batch in _batches(pairs, scorer):
                asked: list[Chat] = [(_question(pair, self.templates), None) for pair in batch]
                prompts = [tokens for tokens in scorer.prompt_tokens(asked) for _ in letters]
                values = log_likelihoods(
                    scorer.model, prompts, letters * len(batch), scorer.tokenizer.pad_token_id, 1.0
                )
                verdicts += _verdicts(values)
                scorer.bar.advance(len(batch))
        return verdicts


@dataclass(frozen=True)
class RewardModel:
    """A reward model of the project: the answer with the higher value is the better one, by
    whatever principle.
    """

    scorer: Scorer
    is_elsewhere: ClassVar[bool] = False

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        """As `Judge`."""
        import torch

        verdicts: list[Verdict] = []
        with torch.inference_mode():
            for _, batch in _batches(pairs, self.scorer):
                given: list[Chat] = [
                    ([*pair.messages, {"role": "assistant", "content": text}], None)
                    for pair in batch
                    for text in (pair.first, pair.second)
                ]
                values = self.scorer.rate(given)
                verdicts += _verdicts(values)
                self.scorer.bar.advance(len(batch))
        return verdicts


@dataclass(frozen=True)
class Elsewhere:
    """A model behind an endpoint."""

    endpoint: Endpoint
    templates: Templates
    row: Asking
    is_elsewhere: ClassVar[bool] = True

    def write(self, asked: Sequence[Asked], each: int, purpose: str) -> list[list[Answer]]:
        """As `Writer`."""
        bodies = [
            self._body(one.messages, f"{purpose} {one.key} {number}", self.row.temperature)
            for one in asked
            for number in range(each)
        ]
        replies = [
            Answer(_without_thinking(reply.text), reply.ended, reply.refused)
            for reply in self.endpoint.ask(bodies)
        ]
        return [replies[at : at + each] for at in range(0, len(replies), each)]

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        """As `Judge`. The reply is a letter alone; anything else says nothing."""
        bodies = [
            self._body(_question(pair, self.templates), f"{purpose} {pair.key}", 0.0)
            for pair in pairs
        ]
        return [
            "REFUSED" if reply.refused else _letter(_without_thinking(reply.text))
            for reply in self.endpoint.ask(bodies)
        ]

    def _body(self, messages: Messages, what: str, temperature: float) -> dict[str, Any]:
        digest = hashlib.sha256(f"{self.row.seed} {what}".encode()).digest()
        return {
            "messages": messages,
            "max_tokens": self.row.max_new_tokens,
            "temperature": temperature,
            "seed": int.from_bytes(digest[:4], "big") >> 1,
        }


def opener(row: Asking, bar: Bar) -> Callable[[Path, Any], Scorer]:
    """Opens models of the project, each once."""
    from pipelines import scoring

    settings = Generation(
        max_new_tokens=row.max_new_tokens, temperature=row.temperature, batch_size=row.batch_size
    )
    suite = Suite(metrics=["sampled_exact"], seed=row.seed, generation=settings)
    opened: dict[tuple[Path, str], Scorer] = {}

    def open_model(folder: Path, kind: Any) -> Scorer:
        key = (folder, kind)
        if key not in opened:
            opened[key] = scoring.open_scorer(folder, kind, suite, row.threads, bar)
        return opened[key]

    return open_model


def _batches(items: Sequence[Any], scorer: Scorer) -> Iterator[tuple[int, Sequence[Any]]]:
    size = scorer.suite.generation.batch_size
    for at in range(0, len(items), size):
        yield at, items[at : at + size]


def _question(pair: Comparison, templates: Templates) -> Messages:
    """What a judge reads."""
    talk = "\n\n".join(f"{one['role']}: {one['content']}" for one in pair.messages)
    text = templates.filled(
        "verdict",
        principle=pair.principle,
        conversation=talk,
        first=pair.first,
        second=pair.second,
    )
    return [{"role": "user", "content": text}]


def _verdicts(values: Sequence[float]) -> list[Verdict]:
    """The verdict on each two values. Raises `DivergedError` unless all are finite."""
    from pipelines.scoring import DivergedError

    wrong = sum(not math.isfinite(value) for value in values)
    if wrong:
        raise DivergedError("the values of the judge", f"{wrong} of {len(values)} answers")
    pairs = zip(values[::2], values[1::2], strict=True)
    return ["UNREADABLE" if first == second else first > second for first, second in pairs]


_VERDICT = re.compile(r"\W*(?:[Aa]nswer\W+)?([AB])\W*")


def _letter(text: str) -> Verdict:
    found = _VERDICT.fullmatch(text)
    return found[1] == "A" if found else "UNREADABLE"


def _without_thinking(text: str) -> str:
    from pipelines import thinking

    return thinking.answer_of(text).strip()


def plain(messages: Sequence[Mapping[str, Any]]) -> Messages | None:
    """Messages of a record with nothing but role and content; None if they have more."""
    if any(value for one in messages for part, value in one.items() if part not in KEPT):
        return None
    if any(one["role"] == "tool" for one in messages):
        return None
    return [{part: str(one[part]) for part in KEPT} for one in messages]


KEPT = ("role", "content")
