"""The answers that an evaluation scored, as it stores them for people and judges.

1. One line of JSON for each item, in the suite's order: `id` of the record, and the answers by how
   they were generated (`greedy`, `sampled`), without what the model thought. What is withheld is
   null.
2. `answers` in policies/evaluation.yaml says how they are stored. Not stored: the file is empty.
3. The signed statement has the file's sha256 as its subject `answers`, and counts. It never has
   text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.attest.predicates.training import StoredAnswers
from governance.base.errors import InputError
from governance.policy.policies import Policies
from pipelines.job import Job
from pipelines.params import Params

Answers = Mapping[str, Sequence[Sequence[str]]]
"""How they were generated, to the answers of each item."""


@dataclass(frozen=True)
class Item:
    """The stored answers to one item."""

    id: str
    answers: dict[str, list[str | None]]
    """By how they were generated; None: withheld."""


def write(job: Job, ids: Sequence[str], made: Answers) -> StoredAnswers | None:
    """Writes the output `answers`; what is stated of it. None where nothing was generated."""
    made = {name: groups for name, groups in made.items() if groups}
    texts = [text for groups in made.values() for group in groups for text in group]
    mode = job.policies.evaluation.answers
    stored: list[str | None] = [*texts]
    stated = StoredAnswers(stored=mode, answers=len(texts))
    if mode == "redacted" and texts:
        stored, stated = cleaned(texts, job.policies, job.params, job.root, job.machine.state)
    rest = iter(stored)
    kept = {n: [[next(rest) for _ in group] for group in groups] for n, groups in made.items()}
    with job.output("answers").open("w", encoding="utf-8", newline="\n") as stream:
        for at, record in enumerate(ids if texts and mode != "none" else ()):
            line = {"id": record, **{name: groups[at] for name, groups in kept.items()}}
            stream.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    return stated if texts else None


def cleaned(
    texts: Sequence[str], policies: Policies, params: Params, root: Path, state: Path
) -> tuple[list[str | None], StoredAnswers]:
    """The texts as policies/pii.yaml lets them stay, and what was done. Raises `CountersignError`
    where policy replaces by tokens and the record key is not here.
    """
    from pipelines.pii.clean import clean_here

    done = clean_here(texts, policies.pii, params, root, state)
    replaced = sum((one.replaced for one in done), Counter[str]())
    withheld = Counter(one.withheld for one in done if one.withheld)
    stated = StoredAnswers(
        stored="redacted",
        answers=len(texts),
        config=policies.pii_digest,
        redacted=dict(sorted(replaced.items())),
        withheld=dict(sorted(withheld.items())),
    )
    return [one.text for one in done], stated


def read(path: Path) -> Iterator[Item]:
    """The items of a file. Raises `InputError` for a line that is none."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield _item(line, f"{path}:{number}")


def _item(line: str, where: str) -> Item:
    try:
        fields = json.loads(line)
        answers = {name: fields[name] for name in sorted(fields) if name != "id"}
        texts = [text for group in answers.values() for text in group]
        if all(text is None or isinstance(text, str) for text in texts):
            return Item(str(fields["id"]), answers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise InputError("not the answers to an item", where=where, fix="dvc checkout")
