"""Makes the sample data: a seeded support desk with planted defects that the gates must find.

A ticket (product, tier, issue in one of several wordings, urgency) is answered with a routing line
(team, priority, fix, product). The pairs of `HELD_OUT` occur only in the `*_held_out` parts and in
the leaked tickets that `planted` names. The demonstrations are noisy on purpose (40% good, 35%
rambling, 25% asking for a password or card number), so that preferences and rewards can improve the
model.

The same part, n and seed give the same bytes on every platform: only `random.Random.random` is
used.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from governance.base.errors import ConfigError, unknown
from pipelines import desk, desk_safety, short_questions
from pipelines.desk import Case
from pipelines.desk_safety import Request

Row = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """One planted defect."""

    line: int
    """1-based line of the file."""
    what: str
    """`pii`, or the name of a defect in `DEFECTS`."""
    entity: str = ""
    """For `pii`: the entity by Presidio's name."""
    of: int = 0
    """For `duplicate`: the line it copies."""


@dataclass(frozen=True)
class Part:
    """One kind of sample file."""

    row: Callable[[Case, random.Random], Row]
    """A clean row for a ticket."""
    rows: Callable[[int, random.Random], list[Row]] | None = None
    """All clean rows, where they are not one for each ticket."""
    held_out: bool = False
    pii: Callable[[Row, str], None] | None = None
    """Puts a sentence with personal data into a row."""
    defects: tuple[str, ...] = ()
    """The planted defects: names in `DEFECTS`."""


@dataclass
class _Draft:
    """An unfinished part."""

    part: Part
    rng: random.Random
    rows: list[Row]
    lines: dict[int, str] = field(default_factory=dict)
    """0-based index to a line that is not the row as JSON."""


# --- clean rows -----------------------------------------------------------------------------------


def _text(case: Case, rng: random.Random) -> Row:
    return {"text": desk.text_line(rng)}


def _conversation(case: Case, rng: random.Random) -> Row:
    draw = rng.random()
    if draw < 0.40:
        answer = case.answer
    elif draw < 0.75:
        answer = desk.rambling(rng)
    else:
        answer = desk.unsafe(rng)
    return {"messages": [_message("user", case.ticket), _message("assistant", answer)]}


def _preference(case: Case, rng: random.Random) -> Row:
    return {"prompt": case.ticket, "chosen": case.answer, "rejected": _bad_answer(case, rng)}


def _judgement(case: Case, rng: random.Random) -> Row:
    """One answer, and whether it is wanted; half of them are."""
    wanted = rng.random() < 0.5
    answer = case.answer if wanted else _bad_answer(case, rng)
    return {"prompt": case.ticket, "completion": answer, "label": wanted}


def _prompt(case: Case, rng: random.Random) -> Row:
    return {"prompt": case.ticket, "answer": case.answer}


def _sliced(case: Case, rng: random.Random) -> Row:
    """A prompt with its slices."""
    return {**_prompt(case, rng), "product": case.product, "team": case.issue.team}


def _rated(case: Case, rng: random.Random) -> Row:
    """Two answers and three raters. Each rater is right nine times in ten."""
    best = 1 + int(rng.random() * 2)
    answers = [case.answer, _bad_answer(case, rng)]
    if best == 2:
        answers.reverse()
    votes = [best if rng.random() < RATER_ACCURACY else int(rng.random() * 3) for _ in RATERS]
    ratings = [{"rater": rater, "value": vote} for rater, vote in zip(RATERS, votes, strict=True)]
    return {"prompt": case.ticket, "completions": answers, "ratings": ratings}


def _bad_answer(case: Case, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.45:
        return desk.rambling(rng)
    return desk.unsafe(rng) if draw < 0.85 else desk.wrong(case, rng)


def _message(role: str, content: str) -> Row:
    return {"role": role, "content": content}


# --- safety tuning: what is refused, and what only looks like it ----------------------------------


def _safety_preferences(n: int, rng: random.Random) -> list[Row]:
    """A refusal before an answer to a harmful request, and the other way round for a look-alike;
    a third are the pairs of the desk.
    """
    plain = [_preference(case, rng) for case in desk.cases(n // 3, rng, held_out=False)]
    asked = [_safety_pair(one, rng) for one in _safety_requests(n - n // 3, rng)]
    return desk.shuffled([*plain, *asked], rng)


def _safety_pair(request: Request, rng: random.Random) -> Row:
    answers = [desk_safety.refusal(rng), request.case.answer]
    if not request.harmful:
        answers.reverse()
    return {"prompt": request.ticket, "chosen": answers[0], "rejected": answers[1]}


def _safety_requests(n: int, rng: random.Random) -> list[Request]:
    """Half harmful, half look-alikes."""
    harmful = desk_safety.requests(n // 2, rng, harmful=True, held_out=False)
    return [*harmful, *desk_safety.requests(n - n // 2, rng, harmful=False, held_out=False)]


def _harmful_requests(n: int, rng: random.Random) -> list[Row]:
    made = desk_safety.requests(n, rng, harmful=True, held_out=True)
    return [{"prompt": one.ticket, "harm": one.word.harm} for one in made]


def _look_alikes(n: int, rng: random.Random) -> list[Row]:
    made = desk_safety.requests(n, rng, harmful=False, held_out=True)
    return [
        {"prompt": one.ticket, "answer": one.case.answer, "harm": one.word.harm} for one in made
    ]


# --- verbosity and sycophancy ---------------------------------------------------------------------


def _short(n: int, rng: random.Random) -> list[Row]:
    return [{"prompt": one.text, "answer": one.right} for one in short_questions.questions(n, rng)]


def _opinions(n: int, rng: random.Random) -> list[Row]:
    """Each question twice: as it is, and with the wrong answer that the user states."""
    rows = []
    for one in short_questions.questions(n // 2, rng):
        common = {"answer": one.right, "opinion": one.wrong}
        rows.append({"prompt": one.text, **common, "stated": "no"})
        rows.append({"prompt": one.with_opinion(rng), **common, "stated": "yes"})
    return rows


RATERS = ("anna", "ben", "carla")
RATER_ACCURACY = 0.9


# --- defects --------------------------------------------------------------------------------------


def _answer_field(row: Row) -> tuple[Row | list[Any], str | int]:
    """The container and key of the text that defects spoil: the answer, or the prompt of a row
    without answers.
    """
    if "messages" in row:
        return row["messages"][1], "content"
    if "completions" in row:
        return row["completions"], 0
    return row, next(name for name in ("chosen", "completion", "prompt", "text") if name in row)


def _set_answer(row: Row, value: Any) -> None:
    container, key = _answer_field(row)
    container[key] = value  # type: ignore[index]


def _empty_answer(draft: _Draft, at: int) -> None:
    _set_answer(draft.rows[at], "" if draft.rng.random() < 0.5 else "  ")


def _text_is_true(draft: _Draft, at: int) -> None:
    _set_answer(draft.rows[at], True)


def _text_is_null(draft: _Draft, at: int) -> None:
    _set_answer(draft.rows[at], None)


def _missing_field(draft: _Draft, at: int) -> None:
    draft.rows[at].pop(next(iter(draft.rows[at])))
    draft.rows[at]["note"] = "empty"


def _not_an_object(draft: _Draft, at: int) -> None:
    draft.lines[at] = "[1, 2, 3]"


def _broken_json(draft: _Draft, at: int) -> None:
    whole = _dumps(draft.rows[at])
    draft.lines[at] = whole[: len(whole) // 2]


def _chosen_equals_rejected(draft: _Draft, at: int) -> None:
    draft.rows[at]["rejected"] = draft.rows[at]["chosen"]


def _swapped_roles(draft: _Draft, at: int) -> None:
    first, second = draft.rows[at]["messages"]
    first["role"], second["role"] = second["role"], first["role"]


def _leaked(draft: _Draft, at: int) -> None:
    draft.rows[at] = draft.part.row(desk.leak(at), draft.rng)


def _leaked_reworded(draft: _Draft, at: int) -> None:
    draft.rows[at] = draft.part.row(desk.leak(at).shouted(), draft.rng)


def _raters_disagree(draft: _Draft, at: int) -> None:
    for vote, rating in enumerate(draft.rows[at]["ratings"]):
        rating["value"] = vote


DEFECTS: dict[str, Callable[[_Draft, int], None]] = {
    "empty_answer": _empty_answer,
    "text_is_true": _text_is_true,
    "text_is_null": _text_is_null,
    "missing_field": _missing_field,
    "not_an_object": _not_an_object,
    "broken_json": _broken_json,
    "chosen_equals_rejected": _chosen_equals_rejected,
    "swapped_roles": _swapped_roles,
    "leaked": _leaked,
    "leaked_reworded": _leaked_reworded,
    "raters_disagree": _raters_disagree,
}
"""Name to the function that spoils a row. `duplicate` and `pii` have rules of their own."""

MALFORMED = ("text_is_true", "text_is_null", "missing_field", "not_an_object", "broken_json")
"""Defects that ingest finds: the row cannot become a record."""


def _pii_in(*fields: str) -> Callable[[Row, str], None]:
    def put(row: Row, sentence: str) -> None:
        target: Any = row
        for name in fields[:-1]:
            target = target[int(name) if name.isdigit() else name]
        target[fields[-1]] = f"{target[fields[-1]]} {sentence}"

    return put


_IN_PROMPT = _pii_in("prompt")

PARTS: dict[str, Part] = {
    "text": Part(_text, pii=_pii_in("text"), defects=("empty_answer", *MALFORMED)),
    "conversations": Part(
        _conversation,
        pii=_pii_in("messages", "0", "content"),
        defects=("empty_answer", "swapped_roles", "leaked", "leaked_reworded", *MALFORMED),
    ),
    "preferences": Part(
        _preference,
        pii=_IN_PROMPT,
        defects=("empty_answer", "chosen_equals_rejected", "leaked", "leaked_reworded", *MALFORMED),
    ),
    "preferences_held_out": Part(_preference, held_out=True),
    "judgements": Part(
        _judgement,
        pii=_IN_PROMPT,
        defects=("empty_answer", "leaked", "leaked_reworded", *MALFORMED),
    ),
    "prompts": Part(_prompt, pii=_IN_PROMPT, defects=("leaked", "leaked_reworded", *MALFORMED)),
    "prompts_held_out": Part(_sliced, held_out=True),
    "ratings": Part(
        _rated, pii=_IN_PROMPT, defects=("empty_answer", "raters_disagree", *MALFORMED)
    ),
    "safety_preferences": Part(
        _preference,
        _safety_preferences,
        pii=_IN_PROMPT,
        defects=("empty_answer", "chosen_equals_rejected", *MALFORMED),
    ),
    "unsafe_held_out": Part(_prompt, _harmful_requests, held_out=True),
    "short_questions": Part(_prompt, _short, held_out=True),
    "opinions": Part(_prompt, _opinions, held_out=True),
    "look_alikes_held_out": Part(_prompt, _look_alikes, held_out=True),
}
"""The allowed values of `samples.<name>.part` in params.yaml."""


# --- putting a part together ----------------------------------------------------------------------


def lines(part: str, n: int, seed: int) -> list[str]:
    """The `n` lines of a part, without line ends."""
    return _build(part, n, seed)[0]


def planted(part: str, n: int, seed: int) -> list[Planted]:
    """Everything that was planted in those lines, in line order. The gates must find all of it."""
    return _build(part, n, seed)[1]


def _build(name: str, n: int, seed: int) -> tuple[list[str], list[Planted]]:
    if name not in PARTS:
        raise unknown("part", name, PARTS, "params.yaml: samples")
    part = PARTS[name]
    # Nothing secret is made of it.
    rng = random.Random(f"countersign desk 1 {name} {seed}")  # noqa: S311
    draft = _Draft(part, rng, _clean(name, part, n, rng))
    marks = [] if part.held_out else _plant(draft)
    return [draft.lines.get(at) or _dumps(row) for at, row in enumerate(draft.rows)], marks


def _clean(name: str, part: Part, n: int, rng: random.Random) -> list[Row]:
    """`n` rows with different tickets (or, for text, different lines)."""
    capacity = desk.capacity(held_out=part.held_out)
    if n > capacity:
        found, where = f"{n} rows of {name!r}", "params.yaml: samples"
        raise ConfigError(found, expected=f"at most {capacity}", where=where)
    if part.rows is not None:
        return part.rows(n, rng)
    if name == "text":
        return [{"text": line} for line in desk.text_lines(n, rng)]
    leaks = [desk.leak(at) for at in range(desk.LEAKS)] if name == "prompts_held_out" else []
    cases = desk.cases(n, rng, held_out=part.held_out, first=leaks[:n])
    return [part.row(case, rng) for case in cases]


def _plant(draft: _Draft) -> list[Planted]:
    """Spoils at most a quarter of the rows, no row twice."""
    n = len(draft.rows)
    places = iter(desk.shuffled(range(n), draft.rng)[: n // 4])
    marks = [
        *_plant_defects(draft, places),
        *_plant_duplicates(draft, places),
        *_plant_pii(draft, places),
    ]
    return sorted(marks, key=lambda mark: mark.line)


def _plant_defects(draft: _Draft, places: Iterator[int]) -> Iterator[Planted]:
    # Ingest's share of malformed rows stays small in small parts, so that they pass the policy's
    # limit.
    defects = list(draft.part.defects)
    if len(draft.rows) < 250:
        defects = [defect for defect in defects if defect not in MALFORMED] + [*MALFORMED[:2]]
    for defect in defects:
        for at in _take(places, 1 + len(draft.rows) // 2000):
            DEFECTS[defect](draft, at)
            yield Planted(at + 1, defect)


def _plant_duplicates(draft: _Draft, places: Iterator[int]) -> Iterator[Planted]:
    """Each copy comes after its original; neither has another defect."""
    count = 2 + len(draft.rows) // 500
    taken = _take(places, 2 * count)
    for first, second in zip(taken[::2], taken[1::2], strict=False):
        low, high = sorted((first, second))
        draft.rows[high] = json.loads(_dumps(draft.rows[low]))
        yield Planted(high + 1, "duplicate", of=low + 1)


def _plant_pii(draft: _Draft, places: Iterator[int]) -> Iterator[Planted]:
    put = draft.part.pii
    if put is None:
        return
    for index in range(2 + len(draft.rows) // 1000):
        for entity, sentences in desk.PII.items():
            for at in _take(places, 1):
                put(draft.rows[at], sentences[index % len(sentences)])
                yield Planted(at + 1, "pii", entity=entity)


def _take(places: Iterator[int], count: int) -> list[int]:
    return list(islice(places, count))


def _dumps(row: Row | Sequence[Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
