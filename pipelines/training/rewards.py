"""Reward functions by name: of this package, of the project, or the stage's scorer. They score one
answer against the prompt's reference answer; suites use the same functions as metrics.

A function is a file (`pipelines.training.reward_files`) and known by the file's sha256. To add one
to this package: a file in `pipelines/rewards/`. In params.yaml a stage names its functions; `model`
is no function but the stage's scorer (a reward model).
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol

from governance.attest.reward_source import SCORER as SCORER
from governance.attest.reward_source import RewardDeclaration
from governance.base.errors import ConfigError, unknown
from pipelines import thinking
from pipelines.failures import reward_failed
from pipelines.training import reward_files
from pipelines.training.guard import guarded

Rule = Callable[..., Any]
"""rule(text, answer, **options) -> score, where `answer` is None if the record has none; or
rule(completions, **kwargs) -> scores, as in TRL.
"""

MAY_SKIP = "may_skip"
"""Attribute of a trainer's reward function: whether it may give None, as TRL allows."""

Columns = Mapping[str, Sequence[Any]]
"""Column to one value for each completion: `answer`, and extra columns of the records."""


def names() -> list[str]:
    """What a stage may name: functions of this package, the scorer, and the project's own."""
    return list(dict.fromkeys([*reward_files.shipped(), SCORER, *reward_files.own()]))


def find(name: str, where: str = "", source: str | None = None) -> Rule:
    """The function called `name`; its file must have the digest `source`, if given. Raises
    `ConfigError` with the nearest name.
    """
    if name == SCORER or name not in names():
        raise unknown("reward function", name, names(), where)
    return reward_files.load(name, source)


def mistakes(name: str, where: str) -> Iterator[ConfigError]:
    """What speaks against naming this function in a stage. Runs nothing."""
    ours = (*reward_files.shipped(), SCORER)
    if name not in names():
        yield unknown("reward function", name, names(), where)
    elif name in ours and name in reward_files.own():
        found, fix = f"{name} is the name of a rule of ours too", "give the file another name"
        yield ConfigError(found, where=f"{reward_files.FOLDER}/{name}.py", fix=fix)
    elif name not in ours:
        yield from reward_files.mistakes(name)


def source_text(name: str) -> str:
    """The text of a function's file; the name alone for `model`, whose identity is the scorer's
    digest.
    """
    if name == SCORER:
        return SCORER
    if name not in names():
        raise unknown("reward function", name, names())
    return reward_files.source_text(name)


def source_digest(name: str) -> str:
    """sha256 of a function's source text."""
    return hashlib.sha256(source_text(name).encode()).hexdigest()


def declaration(name: str) -> RewardDeclaration:
    """What a function declares; nothing for `model`."""
    return RewardDeclaration() if name == SCORER else reward_files.declaration(name)


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
    extra: Sequence[str] | None = (),
    *,
    opened: bool = False,
) -> TrainerReward:
    """Function `name` in TRL's signature; `source` is the digest that was decided on. A function
    that raises, gives a score outside the range that it declares, or is a project's own and asks
    for network, process or file (`pipelines.training.guard`), ends the run with `StoppedError`.

    It gets those of the `extra` columns (None: of all columns) that it names, or all where it takes
    any. It scores the answer without what the model thought; `opened`: the chat template begins
    that. A function in TRL's own signature gets what TRL gives, unchanged.
    """
    file = reward_files.place(name)
    watched = partial(guarded, name, file) if name in reward_files.own() else nullcontext
    with watched():
        function = find(name, source=source)
    declared, batch = declaration(name), is_batch(function)

    def score(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        with watched():
            scores = scored(prompts, completions, columns)
        _require_scores(name, scores, len(completions), declared, batch=batch)
        return scores

    def scored(
        prompts: list[Any], completions: list[Any], columns: Mapping[str, Any]
    ) -> list[float]:
        try:
            if batch:
                scores = _by_batch(function, options, prompts, completions, columns)
            else:
                wanted = columns.keys() - {"answer"} if extra is None else extra
                kept = {column: columns[column] for column in wanted if column in columns}
                texts = [thinking.answer_of(text_of(one), opened=opened) for one in completions]
                answers = columns.get("answer") or [None] * len(completions)
                scores = one_by_one(function, options, texts, answers, kept)
        except (Exception, SystemExit) as error:
            reward_files.leave_if_asked(error)
            fix = "correct the function or its options"
            problem = f"raised {reward_files.kind_of(error)}"
            raise reward_failed(name, file, problem, fix=fix) from error
        return scores

    score.__name__ = name
    score.__dict__[MAY_SKIP] = batch
    return score


def is_batch(function: Rule) -> bool:
    """Whether a function has TRL's signature."""
    return reward_files.BATCH in inspect.signature(function).parameters


def one_by_one(
    function: Rule,
    options: dict[str, Any],
    texts: Sequence[str],
    answers: Sequence[str | None],
    columns: Columns,
) -> list[Any]:
    """The scores of a function that takes one answer."""
    taken = _taken(function, [column for column in columns if column not in options])
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


def _by_batch(
    function: Rule,
    options: dict[str, Any],
    prompts: list[Any],
    completions: list[Any],
    columns: Mapping[str, Any],
) -> list[Any]:
    """The scores of a function in TRL's signature, called as TRL calls it."""
    given = {**columns, "prompts": prompts, "completions": completions, **options}
    scores = function(**{name: given[name] for name in _taken(function, list(given))})
    return scores.tolist() if hasattr(scores, "tolist") else list(scores)  # arrays have a method


def _require_scores(
    name: str, scores: list[Any], answers: int, declared: RewardDeclaration, *, batch: bool
) -> None:
    """Raises `StoppedError` unless there is a number (or None, from a function in TRL's signature)
    for each answer, in the range that the function declares. `pipelines.training.finite` stops
    what is not finite and names the row; for a function in TRL's signature it cannot tell NaN from
    None.
    """
    failed = partial(reward_failed, name, reward_files.place(name))
    if len(scores) != answers:
        problem = f"gave {len(scores)} scores for {answers} answers"
        raise failed(problem, expected="one score for each answer")
    for score in scores:
        if score is None:
            continue
        if not isinstance(score, int | float):
            raise failed(f"gave a {reward_files.kind_of(score)}", expected="numbers or None")
        if batch and not math.isfinite(score):
            raise failed(f"gave {score}", expected="finite numbers or None")
        if not declared.holds(score):
            expected = f"{declared.bounds}, as its RANGE declares"
            fix = "correct the function or its RANGE"
            raise failed(f"gave {score:g}", expected=expected, fix=fix)


def _taken(function: Rule, columns: Sequence[str]) -> list[str]:
    """The columns that a function takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return list(columns)
    named = {parameter.name for parameter in parameters}
    return [column for column in columns if column in named]


def reference(answer: str | None) -> str | None:
    """A reference answer as rules get it: without what somebody thought before it."""
    return None if answer is None else thinking.divided(answer)[1]


def text_of(completion: Any) -> str:
    """The text of a completion: a string, or the content of its last message. Where that is the
    result of a tool, there is no answer.
    """
    if isinstance(completion, str):
        return completion
    last = completion[-1]
    return "" if last.get("role") == "tool" else str(last.get("content") or "")
