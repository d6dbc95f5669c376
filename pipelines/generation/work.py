"""Drafts, critiques and revisions, and judged pairs (Bai et al. 2022,
https://arxiv.org/abs/2212.08073).

1. Each prompt is used with principles that are drawn from the constitution by the seed and the
   prompt's id, whatever other prompts there are.
2. `revisions`: the generator answers, the judge criticises the answer by the principle, and the
   generator revises it. The revision is the answer of a conversation.
3. `pairs`: the generator answers twice, and the judge says twice which answer follows the principle
   better: once in each order. A verdict that changes with the order is dropped.
4. Every record that was asked for is kept, or dropped for one counted reason:

       NOT_PLAIN     the prompt has tools, calls or further turns
       EMPTY         a draft, critique or revision without text
       REFUSED       an endpoint does not take what it is asked, e.g. for its length
       CUT_OFF       a draft or revision that reached `max_new_tokens`
       EQUAL         two drafts that are the same
       UNREADABLE    the judge names neither answer, or rates both the same
       INCONSISTENT  the verdict changed with the order of the answers
       PII_...       what was written holds personal data that may not be sent (6)

5. A record names, by digest, its prompt (the record's id), principle, templates and judge.
6. What was written is searched for personal data before it is sent to an endpoint, and treated as
   policies/pii.yaml says: replaced, or the record is dropped (`pipelines.pii.clean`). Prompts were
   searched by their scan.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import GenerationCounts
from governance.policy.constitution import Constitution, Principle
from pipelines.generation.speakers import (
    Answer,
    Asked,
    Comparison,
    Judge,
    Messages,
    Writer,
    plain,
)
from pipelines.judging.asking import FIRST, TIE, decision, in_both_orders, unreadable
from pipelines.kinds import TOOLS, TURNS
from pipelines.params import Generate
from pipelines.sources.lineage import LINEAGE

if TYPE_CHECKING:
    from pipelines.pii.clean import Cleaned

Written = tuple["Task", list[Answer]]
"""Answers for a task."""

CALLS = {"revisions": 3, "pairs": 4}
"""Questions for one record."""


@dataclass(frozen=True)
class Task:
    """One record that is asked for."""

    prompt: str
    """The id of its record."""
    messages: Messages
    principle: Principle

    @property
    def key(self) -> str:
        """What no other task has."""
        return f"{self.prompt} {self.principle.name}"


@dataclass
class Made:
    """The records, and why others were dropped."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    """(6) Type of personal data to how often it was replaced."""

    def keep(self, task: Task, row: Mapping[str, Any], template: str, judge: str) -> None:
        """(5) Adds a record."""
        principle = sha256_bytes(canonical.dumps(task.principle.model_dump(mode="json")))
        lineage = {
            "parent": task.prompt, "principle": principle, "template": template, "judge": judge,
        }  # fmt: skip
        self.rows.append({**row, LINEAGE: lineage})

    @property
    def counts(self) -> GenerationCounts:
        """(4)"""
        kept, dropped = len(self.rows), dict(sorted(self.dropped.items()))
        return GenerationCounts(
            asked=kept + self.dropped.total(),
            kept=kept,
            dropped=dropped,
            redacted=dict(sorted(self.redacted.items())),
        )


@dataclass(frozen=True)
class Work:
    """What is asked of whom."""

    row: Generate
    constitution: Constitution
    template: str
    """Digest of the templates."""
    judge_digest: str
    clean: Callable[[Sequence[str]], Sequence[Cleaned]]
    """(6)"""

    def tasks(self, prompts: Iterable[Mapping[str, Any]], made: Made) -> list[Task]:
        """(1) The tasks in the order of the prompts."""
        tasks: list[Task] = []
        for prompt in prompts:
            messages = plain(prompt["prompt"])
            principles = self._drawn(str(prompt["id"]))
            if messages is None or prompt.get(TOOLS) or prompt.get(TURNS):
                made.dropped["NOT_PLAIN"] += len(principles)
                continue
            tasks += [Task(str(prompt["id"]), messages, each) for each in principles]
        return tasks

    def revise(self, tasks: Sequence[Task], writer: Writer, critic: Writer, made: Made) -> None:
        """(2)"""
        drafts = writer.write([Asked(task.key, task.messages) for task in tasks], 1, "draft")
        drafted = list(_whole(zip(tasks, drafts, strict=True), made))
        if critic.is_elsewhere or writer.is_elsewhere:
            drafted = self._cleaned(drafted, made)
        asked = [
            self._after(task, draft, "critique", answer=draft.text) for task, (draft,) in drafted
        ]
        critiques = critic.write(asked, 1, "critique")
        criticised = [
            (task, [draft, critique])
            for (task, (draft,)), (critique,) in zip(drafted, critiques, strict=True)
            if critique.text or _drop(made, "REFUSED" if critique.refused else "EMPTY")
        ]
        if writer.is_elsewhere:
            criticised = self._cleaned(criticised, made)
        asked = [
            self._after(task, draft, "revision", critique=critique.text)
            for task, (draft, critique) in criticised
        ]
        revisions = writer.write(asked, 1, "revision")
        whole = _whole(zip([task for task, _ in criticised], revisions, strict=True), made)
        for task, (revision,) in whole:
            answer = {"role": "assistant", "content": revision.text}
            row = {"messages": [*task.messages, answer]}
            made.keep(task, row, self.template, self.judge_digest)

    def compare(self, tasks: Sequence[Task], writer: Writer, judge: Judge, made: Made) -> None:
        """(3)"""
        drafts = writer.write([Asked(task.key, task.messages) for task in tasks], 2, "draft")
        drafted = list(_whole(zip(tasks, drafts, strict=True), made))
        if judge.is_elsewhere:
            drafted = self._cleaned(drafted, made)
        whole = [
            (task, first.text, second.text)
            for task, (first, second) in drafted
            if first.text != second.text or _drop(made, "EQUAL")
        ]
        given = [_comparison(task, first, second) for task, first, second in whole]
        verdicts = in_both_orders(judge, given, "verdict")
        for (task, first, second), both in zip(whole, verdicts, strict=True):
            reason, chosen_one = unreadable(both), decision(both)
            if reason is not None:
                made.dropped[reason] += 1
            elif chosen_one == TIE:
                made.dropped["INCONSISTENT"] += 1
            else:
                chosen, rejected = (first, second) if chosen_one == FIRST else (second, first)
                row = {"prompt": task.messages, "chosen": chosen, "rejected": rejected}
                made.keep(task, row, self.template, self.judge_digest)

    def _drawn(self, prompt: str) -> list[Principle]:
        """(1)"""

        def place(principle: Principle) -> bytes:
            text = f"{self.row.seed} {prompt} {principle.name}"
            return hashlib.sha256(text.encode()).digest()

        return sorted(self.constitution.principles, key=place)[: self.row.principles]

    def _cleaned(self, written: Sequence[Written], made: Made) -> list[Written]:
        """(6) The tasks whose answers may be sent, and these as they may be."""
        kept: list[Written] = []
        rest = iter(self.clean([answer.text for _, answers in written for answer in answers]))
        for task, answers in written:
            done = [next(rest) for _ in answers]
            withheld = next((each.withheld for each in done if each.withheld), None)
            if withheld is not None:
                made.dropped[withheld] += 1
                continue
            made.redacted.update(sum((each.replaced for each in done), Counter[str]()))
            texts = zip(answers, done, strict=True)
            kept.append((task, [answer._replace(text=each.text or "") for answer, each in texts]))
        return kept

    def _after(self, task: Task, draft: Answer, template: Any, **values: str) -> Asked:
        """A question about a draft, in the conversation that it answers."""
        templates = self.constitution.templates
        text = templates.filled(template, principle=task.principle.text, **values)
        said = {"role": "assistant", "content": draft.text}
        return Asked(task.key, [*task.messages, said, {"role": "user", "content": text}])


def _comparison(task: Task, first: str, second: str) -> Comparison:
    return Comparison(task.key, task.principle.text, task.messages, first, second)


def _whole(answered: Iterable[Written], made: Made) -> Iterator[Written]:
    """The tasks of which every answer has text and an end."""
    for task, answers in answered:
        if any(answer.refused for answer in answers):
            made.dropped["REFUSED"] += 1
        elif not all(answer.text for answer in answers):
            made.dropped["EMPTY"] += 1
        elif not all(answer.ended for answer in answers):
            made.dropped["CUT_OFF"] += 1
        else:
            yield task, answers


def _drop(made: Made, reason: str) -> bool:
    """Counts a reason; false, so that it ends a condition."""
    made.dropped[reason] += 1
    return False
