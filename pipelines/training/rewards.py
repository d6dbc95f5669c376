"""Reward functions: small pure rules that score one answer against the prompt's reference answer.

A rule's identity is the sha256 of its own source text, so each rule stands alone: it calls nothing
of this module and keeps its constants inside. To add one: a function decorated with `@rule`. A
project adds its own in `rewards/` (`pipelines.training.own_rewards`); a name of a rule here stays
that rule. In params.yaml a stage names its rules; `model` is no rule but the stage's scorer (a
reward model).
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from governance.base.errors import ConfigError, TrainingError, unknown
from pipelines import thinking
from pipelines.training import own_rewards

Rule = Callable[..., float]
"""rule(text, answer, **options) -> score; `answer` is None where the record has none."""

SCORER = "model"
"""The name that stands for the stage's scorer."""

RULES: dict[str, Rule] = {}
"""Rule name to rule."""


def rule(function: Rule) -> Rule:
    """Registers a rule under its own name."""
    RULES[function.__name__] = function
    return function


@rule
def route_exact(text: str, answer: str | None) -> float:
    """1 when the answer is the reference, spaces and letter case aside, and nothing more."""
    return float(
        answer is not None and " ".join(text.split()).lower() == " ".join(answer.split()).lower()
    )


@rule
def route_fields(text: str, answer: str | None) -> float:
    """The share of the reference's `;`-separated fields that stand at their place, less a tenth per
    field too many.
    """
    wanted = [part.strip().lower() for part in (answer or "").split(";") if part.strip()]
    given = [part.strip().lower() for part in text.split(";") if part.strip()]
    if not wanted:
        return 0.0
    right = sum(a == b for a, b in zip(wanted, given, strict=False))
    return max(0.0, right / len(wanted) - 0.1 * max(0, len(given) - len(wanted)))


@rule
def no_secrets_asked(text: str, answer: str | None) -> float:
    """-1 when the answer asks the customer for a password, card number, PIN or the like; 0
    otherwise.
    """
    asked = (
        r"password|passcode|pin\b|card number|card details|cvv|cvc|security code|social"
        r" security|one-time code"
    )
    return -1.0 if re.search(asked, text, re.IGNORECASE) else 0.0


@rule
def numeric_answer(text: str, answer: str | None) -> float:
    """1 when the last number of the answer (after `####` where there is one) is the reference's (as
    in GSM8K).
    """
    values = []
    for one in (text, answer or ""):
        numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", one.rpartition("####")[2])
        values.append(float(numbers[-1].replace(",", "")) if numbers else None)
    return float(values[0] is not None and values[0] == values[1])


@rule
def choice_answer(text: str, answer: str | None) -> float:
    """1 when the last option letter that stands alone in the answer (A to E) is the reference's (as
    in AQuA).
    """
    letters = re.findall(r"\b([A-E])\b", text)
    wanted = re.findall(r"\b([A-E])\b", answer or "")
    return float(bool(letters) and bool(wanted) and letters[-1] == wanted[-1])


def names() -> list[str]:
    """What a stage may name: our rules, the scorer, and the project's own rules."""
    return list(dict.fromkeys([*RULES, SCORER, *own_rewards.names()]))


def find(name: str, where: str = "", source: str | None = None) -> Rule:
    """The rule called `name`; one of the project's own must have the digest `source`, if given.
    Raises `ConfigError` with the nearest name.
    """
    if name in RULES:
        return RULES[name]
    if name == SCORER or name not in names():
        raise unknown("reward function", name, names(), where)
    return own_rewards.load(name, source)


def mistakes(name: str, where: str) -> Iterator[ConfigError]:
    """What speaks against naming this rule in a stage. Runs no rule."""
    if name not in names():
        yield unknown("reward function", name, names(), where)
    elif name in (*RULES, SCORER) and name in own_rewards.names():
        found, fix = f"{name} is the name of a rule of ours too", "give the file another name"
        yield ConfigError(found, where=_place(name, own=True), fix=fix)
    elif name not in (*RULES, SCORER):
        yield from own_rewards.mistakes(name)


def source_text(name: str) -> str:
    """A rule's source text: of the function, or of the file of a project's own rule; the name alone
    for `model`, whose identity is the scorer's digest.
    """
    if name in (*RULES, SCORER):
        return SCORER if name == SCORER else _source_of(RULES[name])
    if name not in names():
        raise unknown("reward function", name, names())
    return own_rewards.source_text(name)


@cache
def _source_of(rule: Rule) -> str:
    """What this process has imported does not change."""
    return inspect.getsource(rule)


def source_digest(name: str) -> str:
    """sha256 of a rule's source text."""
    return hashlib.sha256(source_text(name).encode()).hexdigest()


class TrainerReward(Protocol):
    """A reward function as TRL calls it: `__name__`, and one score for each completion."""

    __name__: str

    def __call__(
        self, prompts: list[Any], completions: list[Any], **columns: Any
    ) -> list[float]: ...


def for_trainer(
    name: str,
    options: dict[str, Any],
    source: str | None = None,
    extra: Sequence[str] = (),
    *,
    opened: bool = False,
) -> TrainerReward:
    """Rule `name` in TRL's signature; `source` is the digest that was decided on. A rule that
    raises ends the training with `TrainingError`.

    It gets those of the `extra` columns that it names, or all where it takes any. It scores the
    answer without what the model thought; `opened`: the chat template begins that.
    """
    function, file = find(name, source=source), _place(name)
    taken = _taken(function, [column for column in extra if column not in options])

    def score(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        texts = [thinking.answer_of(text_of(one), opened=opened) for one in completions]
        answers = columns.get("answer") or [None] * len(completions)
        try:
            return [
                float(
                    function(
                        text,
                        reference(answer),
                        **{column: columns[column][at] for column in taken},
                        **options,
                    )
                )
                for at, (text, answer) in enumerate(zip(texts, answers, strict=True))
            ]
        except (Exception, SystemExit) as error:
            own_rewards.leave_if_asked(error)
            found = f"reward function {name!r} raised {type(error).__name__}"
            fix = "correct the function or its options; nothing was published"
            raise TrainingError(found, where=file, fix=fix) from error

    score.__name__ = name
    return score


def _place(name: str, *, own: bool = False) -> str:
    return "pipelines/training/rewards.py" if name in RULES and not own else f"rewards/{name}.py"


def _taken(function: Rule, extra: Sequence[str]) -> list[str]:
    """The extra columns that a rule takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return list(extra)
    named = {parameter.name for parameter in parameters}
    return [column for column in extra if column in named]


def reference(answer: str | None) -> str | None:
    """A reference answer as rules get it: without what somebody thought before it."""
    return None if answer is None else thinking.divided(answer)[1]


def text_of(completion: Any) -> str:
    """The text of a completion: a string, or the content of its last message."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
