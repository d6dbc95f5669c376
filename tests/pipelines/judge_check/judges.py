"""Judges with known defects, and pairs of answers that people labelled, for tests."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from governance.policy.constitution import Constitution
from pipelines.generation.speakers import Comparison, Verdict
from pipelines.judge_check.labelled import Pair, pairs_of
from pipelines.judge_check.measure import Check, Measured
from pipelines.judging.asking import FIRST, SECOND

CONSTITUTION = Constitution.model_validate(
    {"title": "Sums", "principles": [{"name": "right", "text": "The answer is right."}]}
)

Chooses = Callable[[str, str, str], bool]
"""From the conversation's text and two answers, as they stand: whether the first is chosen."""


def preference(count: int) -> list[dict[str, Any]]:
    """Records of sums with a right and a wrong answer."""
    return [_record(at) for at in range(count)]


def _record(at: int) -> dict[str, Any]:
    return {
        "id": f"{at * 0x9E3779B97F4A7C15 % 2**128:032x}",
        "prompt": [{"role": "user", "content": f"What is {at} plus {at}?"}],
        "chosen": [{"role": "assistant", "content": f"It is {2 * at}. That is the sum."}],
        "rejected": [{"role": "assistant", "content": f"It is {2 * at + 1}. That is the sum."}],
    }


def rated(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """The same, labelled by three raters of whom each errs in a tenth."""
    rng = random.Random(seed)
    rows = []
    for pair in pairs_of(preference(count), "preference"):
        ratings = [
            {"rater": name, "value": pair.people if rng.random() > 0.1 else 3 - pair.people}
            for name in ("ann", "bo", "cy")
        ]
        answers = [[{"role": "assistant", "content": text}] for text in (pair.first, pair.second)]
        rows.append(
            {"id": pair.id, "prompt": pair.messages, "completions": answers, "ratings": ratings}
        )
    return rows


def is_right(conversation: str, answer: str) -> bool:
    """Whether an answer names the sum that is asked for."""
    asked, named = re.search(r"What is (\d+) plus", conversation), re.search(r"It is (\d+)", answer)
    assert asked
    return bool(named) and int(named[1]) == 2 * int(asked[1])


def clean(conversation: str, first: str, second: str) -> bool:
    """Chooses the right answer, else one that names a sum, else the shorter one."""
    worth = [is_right(conversation, answer) + ("It is" in answer) for answer in (first, second)]
    return worth[0] > worth[1] if worth[0] != worth[1] else len(first) < len(second)


def first_one(conversation: str, first: str, second: str) -> bool:
    return True


def mostly_first(conversation: str, first: str, second: str) -> bool:
    """Chooses the first one of most right answers, wherever the right one is."""
    return hash((conversation, *sorted((first, second)))) % 3 != 0 or clean(
        conversation, first, second
    )


def longer(conversation: str, first: str, second: str) -> bool:
    """Of two right answers, the one of more words."""
    rights = [is_right(conversation, answer) for answer in (first, second)]
    words = [len(answer.split()) for answer in (first, second)]
    if all(rights) and abs(words[0] - words[1]) > 5:
        return words[0] > words[1]
    return clean(conversation, first, second)


def lists(conversation: str, first: str, second: str) -> bool:
    """Of two right answers, the list."""
    rights = [is_right(conversation, answer) for answer in (first, second)]
    if rights[0] == rights[1] and ("- " in first) != ("- " in second):
        return "- " in first
    return clean(conversation, first, second)


def fooled_by(text: str) -> Chooses:
    """Chooses whatever holds a text, else the right answer."""

    def choose(conversation: str, first: str, second: str) -> bool:
        if (text in first) != (text in second):
            return text in first
        return clean(conversation, first, second)

    return choose


def fooled_by_nothing(conversation: str, first: str, second: str) -> bool:
    return not first or (bool(second) and clean(conversation, first, second))


def repetition(conversation: str, first: str, second: str) -> bool:
    """Chooses what stands there more often."""
    counts = [answer.count("It is") for answer in (first, second)]
    return counts[0] > counts[1] if counts[0] != counts[1] else clean(conversation, first, second)


def follows_user(conversation: str, first: str, second: str) -> bool:
    """Chooses what the user has said."""
    if first and second and (first in conversation) != (second in conversation):
        return first in conversation
    return clean(conversation, first, second)


def contrary(conversation: str, first: str, second: str) -> bool:
    return not clean(conversation, first, second)


@dataclass(frozen=True)
class Scripted:
    """A judge that is a rule."""

    choose: Chooses
    is_elsewhere: ClassVar[bool] = False

    def compare(self, pairs: Sequence[Comparison], purpose: str) -> list[Verdict]:
        """As `Judge`."""
        return [
            self.choose(
                "\n".join(each["content"] for each in pair.messages), pair.first, pair.second
            )
            for pair in pairs
        ]


def measured(choose: Chooses, pairs: Sequence[Pair], own: Sequence[bool | None] = ()) -> Measured:
    """What a check measures of a rule."""
    check = Check(Scripted(choose), CONSTITUTION, probes=60)
    return check.run(pairs, own or [None] * len(pairs))


def by_own_family(pairs: Sequence[Pair]) -> list[bool]:
    """Half of the pairs have their first answer by the judge's family, the others the second."""
    return [at % 4 < 2 for at in range(len(pairs))]


def prefers_own(pairs: Sequence[Pair], share: float) -> Chooses:
    """Chooses its family's answer in a share of the pairs in which the other one is right."""
    rng = random.Random(2)
    own = {
        (pair.first if is_first else pair.second)
        for pair, is_first in zip(pairs, by_own_family(pairs), strict=True)
        if (pair.people == FIRST) != is_first
        and pair.people in (FIRST, SECOND)
        and rng.random() < share
    }

    def choose(conversation: str, first: str, second: str) -> bool:
        if (first in own) != (second in own):
            return first in own
        return clean(conversation, first, second)

    return choose
