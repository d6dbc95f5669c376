"""Pairs that say who preferred what: from votes of raters, or from scores that a judge gave.

1. Of votes, the answer is chosen that more raters preferred. As many for either, or more who found
   both equal: no pair.
2. The shares of raters on each side stand in the record as soft labels (`pipelines.kinds.LABELS`).
3. Scores are compared only between answers of one prompt (and turn) by one judge and rubric: each
   two of them make a pair, in the order of the source. Equal scores and equal answers make none.
4. What makes no pair is left out with its reason, so records in = records out + left out. A row
   of scores counts as one only where it has no other row to be compared with.
5. The scores of a file are held in memory, with their answers, until the file ends.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from governance.attest.predicates import JudgedPairs
from governance.base.errors import InputError
from pipelines.kinds import TOOLS
from pipelines.sources.binding import Binding
from pipelines.sources.readers import Row, RowProblem
from pipelines.sources.shapes import Fields, Record, Shape, pair_of_scores

MOST_ANSWERS = 100
"""Answers to one prompt by one judge: they make 4,950 pairs."""
MOST_JUDGES = 20
"""More different names are hardly those of models."""

ONE_RATER = "one_rater"
"""The slice of an item that one rater rated."""
Judge = tuple[str, str | None]
"""Name, and digest of the rubric."""
Rating = Mapping[str, Any]


# --- votes ----------------------------------------------------------------------------------------


def both(content: Record) -> Iterator[Record]:
    """The two pairs that two answers can make."""
    first, second = content["completions"]
    rest = {name: content[name] for name in content.keys() - {"completions", "ratings"}}
    yield {**rest, "chosen": first, "rejected": second}
    yield {**rest, "chosen": second, "rejected": first}


def of_most(content: Record, counted: Sequence[Rating]) -> Record:
    """(1), (2) The pair with the shares of its raters. Raises `RowProblem` where there is none."""
    votes = Counter(rating["value"] for rating in counted)
    if votes[1] == votes[2]:
        detail = f"{votes[1]} of {len(counted)} raters for either answer"
        raise RowProblem("NO_COMPARISON", "", detail)
    if votes[0] > max(votes[1], votes[2]):
        detail = f"{votes[0]} of {len(counted)} raters found both answers equal"
        raise RowProblem("NO_COMPARISON", "", detail)
    first, second = both(content)
    chosen, other = (1, 2) if votes[1] > votes[2] else (2, 1)
    return {
        **(first if chosen == 1 else second),
        "chosen_share": votes[chosen] / len(counted),
        "rejected_share": votes[other] / len(counted),
        "raters": len(counted),
    }


def disagreement(counted: Sequence[Rating]) -> str:
    """The slice of an item: `unanimous`, `majority` (more than half gave one rating), `split`, or
    `ONE_RATER`.
    """
    if len(counted) == 1:
        return ONE_RATER
    most = max(Counter(rating["value"] for rating in counted).values())
    if most == len(counted):
        return "unanimous"
    return "majority" if 2 * most > len(counted) else "split"


# --- scores ---------------------------------------------------------------------------------------


@dataclass
class _Scored:
    """A row that others are compared with."""

    row: int
    score: float
    answer: Any
    model: Any
    is_compared: bool = False


_PAIR = Shape("pair of scores", pair_of_scores, {}, labelled=True)


def of_pairs(binding: Binding) -> Binding:
    """How to read the pairs that `pairs` makes of the rows of a binding."""
    sides = ("chosen", "rejected", *(f"{side}_model" for side in ("chosen", "rejected")))
    return replace(binding, shape=_PAIR, names={**binding.names, **{name: name for name in sides}})


def pairs(rows: Iterable[Row], binding: Binding, where: str) -> Iterator[Row]:
    """(3), (4) Two rows as one, with `chosen` and `rejected`, and their models as `chosen_model`
    and `rejected_model`; it has the place and other fields of the later row. Raises `InputError`.
    """
    groups: dict[bytes, list[_Scored]] = {}
    for row in rows:
        if row.problem is not None:
            yield row
            continue
        try:
            key, new = _read(row, binding)
        except RowProblem as problem:
            yield replace(row, problem=problem)
            continue
        group = groups.setdefault(key, [])
        for earlier in group:
            earlier.is_compared = new.is_compared = True
            yield _compared(row, earlier, new)
        group.append(new)
        if len(group) > MOST_ANSWERS:
            found = f"more than {MOST_ANSWERS} answers to one prompt, scored by one judge"
            fix = "keep fewer of them, or make pairs of them yourself"
            raise InputError(found, where=f"{where}:{row.row}", fix=fix)
    alone = [each for group in groups.values() for each in group if not each.is_compared]
    for each in sorted(alone, key=lambda each: each.row):
        detail = "no other answer to this prompt by this judge"
        yield Row(each.row, {}, RowProblem("NO_COMPARISON", "", detail))


def _read(row: Row, binding: Binding) -> tuple[bytes, _Scored]:
    """What is compared with each other, and the row. Raises `RowProblem`."""
    record = binding.record(row.value)
    fields = Fields(row.value, binding.names)
    turn, model = fields.optional("turn"), fields.optional("model")
    same = [record["prompt"], record.get(TOOLS), record["judge"], record["rubric"]]
    text = json.dumps([*same, str(turn.value) if turn else None], sort_keys=True)
    new = _Scored(
        row.row, record["score"], fields["completion"].value, model.value if model else None
    )
    return hashlib.sha256(text.encode()).digest(), new


def _compared(row: Row, earlier: _Scored, new: _Scored) -> Row:
    if earlier.answer == new.answer:
        detail = f"the answer of row {earlier.row} again"
        return Row(row.row, row.value, RowProblem("NO_COMPARISON", "", detail))
    if earlier.score == new.score:
        detail = f"a tie with row {earlier.row}"
        return Row(row.row, row.value, RowProblem("NO_COMPARISON", "", detail))
    chosen, rejected = (earlier, new) if earlier.score > new.score else (new, earlier)
    sides = {"chosen": chosen.answer, "rejected": rejected.answer}
    models = {"chosen_model": chosen.model, "rejected_model": rejected.model}
    return Row(row.row, {**row.value, **sides, **models})


# --- evidence -------------------------------------------------------------------------------------


def stated(judges: Mapping[Judge, int], where: str) -> list[JudgedPairs]:
    """What the statement has of the judges. Raises `InputError` where there are too many to be
    models.
    """
    if len(judges) > MOST_JUDGES:
        found, expected = f"{len(judges)} judges", f"at most {MOST_JUDGES} models"
        fix = "map `judge` to the field that names a model, or leave it out: fields: {judge: ''}"
        raise InputError(found, expected=expected, where=where, fix=fix)
    ordered = sorted(judges.items(), key=lambda each: (each[0][0], each[0][1] or ""))
    return [JudgedPairs(name=name, rubric=rubric, pairs=n) for (name, rubric), n in ordered]
