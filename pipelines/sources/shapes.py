"""The shapes of rows, and how each becomes a record of one of the five kinds.

A shape names its required and optional fields, each with the names that people use.
`pipelines.sources.binding` finds the shape of a file by trying its first rows. To add a shape: a
function below and its entry in `SHAPES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.attest.digests import sha256_bytes
from pipelines import json_texts, thinking
from pipelines.kinds import EXTRA, TOOLS, TURNS
from pipelines.sources import tools
from pipelines.sources.messages import ROLE_NAMES, Field, Message, answer, message
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import RowProblem

Record = dict[str, Any]
"""The content columns of a record, as the kind's schema has them."""

PROMPT = ("prompt", "question", "instruction", "query", "problem", "input")
COMPLETION = ("completion", "response", "output", "answer")
MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog")
SCHEMAS = {TOOLS: ("tools", "functions")}
SYSTEM = {"system": ("system", "system_prompt")}
CONTEXT = {"input": ("input",), **SYSTEM, "history": ("history",)}
ASKED = {**CONTEXT, **SCHEMAS}
TALK = {**SYSTEM, **SCHEMAS}
ANSWER = (
    "answer",
    "solution",
    "final_answer",
    "reference",
    "ground_truth",
    "completion",
    "response",
    "output",
    "canonical_solution",
)
LABEL = ("label", "kto_tag", "desirable")
CHOSEN = ("chosen", "chosen_response", "response_j", "accepted")
REJECTED = ("rejected", "rejected_response", "response_k")
FIRST = ("response1", "response_1", "output_1", "response_a", "answer_a")
SECOND = ("response2", "response_2", "output_2", "response_b", "answer_b")


@dataclass(frozen=True)
class Fields:
    """A row with the field names of a shape: `row["prompt"]` is the field in the slot `prompt`."""

    row: Mapping[str, Any]
    names: Mapping[str, str]
    """Slot to the name in the row."""
    raters: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    """Name of an extra column to the name in the row."""

    def __getitem__(self, slot: str) -> Field:
        field = self.optional(slot)
        if field is None:
            place = plain_name(self.names[slot])
            raise RowProblem("FIELD_MISSING", place, "the row does not have this field")
        return field

    def optional(self, slot: str) -> Field | None:
        """The field, or None if the row does not have it."""
        if slot not in self.names:
            return None
        value = value_at(self.row, self.names[slot])
        return None if value is MISSING else Field(value, plain_name(self.names[slot]))

    def has(self, slot: str) -> bool:
        """Whether the row has the field, and it is neither null nor empty."""
        field = self.optional(slot)
        return field is not None and field.value not in (None, "", [])

    def given(self, name: str) -> Any:
        """The value of a field by its name in the row. Raises `RowProblem` if it has none."""
        value = value_at(self.row, name)
        if value is MISSING:
            raise RowProblem("FIELD_MISSING", plain_name(name), "the row does not have this field")
        return value

    def raters_named(self) -> str:
        """The names of the raters' columns, for messages."""
        return ", ".join(map(plain_name, self.raters))


MISSING = object()


def value_at(row: Any, path: str) -> Any:
    """`row[path]`, or the value at `instances.0.input` if the row has no field of that name."""
    if path in row:
        return row[path]
    if "." not in path:
        return MISSING
    for part in path.split("."):
        if isinstance(row, Mapping) and part in row:
            row = row[part]
        elif isinstance(row, list) and part.isdecimal() and int(part) < len(row):
            row = row[int(part)]
        else:
            return MISSING
    return row


@dataclass(frozen=True)
class Shape:
    """One way to write a kind of record."""

    name: str
    build: Callable[[Fields], Record]
    needs: Mapping[str, tuple[str, ...]]
    """Slot to the names that people use; each slot is required."""
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    raters: bool = False
    """Whether at least one column must be a rater's."""
    labelled: bool = False
    """Whether its pairs say who preferred what (`pipelines.kinds.LABELS`)."""
    scored: bool = False
    """Whether a row is one answer with a score, and two rows make a pair."""


# --- prompts --------------------------------------------------------------------------------------


def _prompt(row: Fields) -> list[Message]:
    """System text, history, then the question with its input."""
    prompt = row["prompt"]
    if isinstance(prompt.value, list):
        messages = prompt.messages()
    elif prompt.is_transcript():
        messages = prompt.transcript()
    else:
        question = prompt.text()
        if row.has("input") and row.names["input"] != row.names["prompt"]:
            question = f"{question}\n{row['input'].text()}"
        messages = [message(question)]
    return [*_system(row), *_history(row), *messages]


def _system(row: Fields) -> list[Message]:
    return [message(row["system"].text(), "system")] if row.has("system") else []


def _history(row: Fields) -> list[Message]:
    """Alpaca's history: a list of (question, answer)."""
    if not row.has("history"):
        return []
    expected = "a list of pairs of question and answer"
    history: list[Message] = []
    for turn in row["history"].items(expected):
        pair = turn.items(expected)
        if len(pair) != 2:
            raise turn.problem("MESSAGES_MALFORMED", f"expected {expected}")
        history += [message(pair[0].text()), answer(pair[1].text())]
    return history


def _choices(row: Fields) -> list[Message]:
    """A question with its options on lines of their own."""
    options = row["options"].items("a list of texts", "FIELD_NOT_TEXT")
    return [message("\n".join([row["prompt"].text(), *(option.text() for option in options)]))]


# --- conversation ---------------------------------------------------------------------------------


def _messages(row: Fields) -> list[Message]:
    return _after_system(row, row["messages"].conversation())


def _after_system(row: Fields, messages: list[Message]) -> list[Message]:
    """The messages, after the row's system text if they have none. Raises `RowProblem` for two that
    differ: one of them would be lost.
    """
    system = _system(row)
    if not system or messages[0] == system[0]:
        return messages
    if messages[0]["role"] == "system":
        detail = "a system text beside the one that the messages begin with"
        raise row["system"].problem("MESSAGES_MALFORMED", detail)
    return [*system, *messages]


def _conversation(row: Fields) -> Record:
    return {"messages": _messages(row)}


def _pair(row: Fields) -> Record:
    return {"messages": [*_prompt(row), *row["completion"].completion()]}


def _reasoned(row: Fields) -> Record:
    return {"messages": [*_choices(row), message(row["rationale"].text(), "assistant")]}


def _instances(row: Fields) -> Record:
    """Self-Instruct's seed tasks: an instruction with one example."""
    instances = row["instances"].items("a list of one object")
    if len(instances) != 1 or not isinstance(instances[0].value, dict):
        raise row["instances"].problem("MESSAGES_MALFORMED", "expected a list of one object")
    given, answer = instances[0].member("input").text(), instances[0].member("output").text()
    question = row["prompt"].text()
    if given:
        question = f"{question}\n{given}"
    return {"messages": [message(question), message(answer, "assistant")]}


def _transcript(row: Fields) -> Record:
    return {"messages": row["transcript"].transcript()}


def _text(row: Fields) -> Record:
    return {"messages": [message(row["text"].text(), "assistant")]}


# --- preference -----------------------------------------------------------------------------------


def _preference(row: Fields) -> Record:
    """A prompt and two answers, or two whole conversations that repeat the prompt."""
    sides = [row["chosen"], row["rejected"]]
    if any(side.is_transcript() for side in sides) or all(map(_begins_with_prompt, sides)):
        return _compared(row)
    return _preferred(row, _prompt(row))


def _begins_with_prompt(answer: Field) -> bool:
    """Whether an answer is a list of messages that begins with another role."""
    value = answer.value
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    role = value[0].get("role", value[0].get("from"))
    return isinstance(role, str) and ROLE_NAMES.get(role.lower()) in ("system", "user")


def _after_messages(row: Fields) -> Record:
    return _preferred(row, _messages(row))


def _preferred(row: Fields, prompt: list[Message]) -> Record:
    chosen, rejected = row["chosen"].completion(), row["rejected"].completion()
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _compared(row: Fields) -> Record:
    """Two whole conversations that differ in the last answer only."""
    before, chosen = row["chosen"].split_last(row["chosen"].conversation())
    other, rejected = row["rejected"].split_last(row["rejected"].conversation())
    if before != other:
        detail = f"the two prompts differ ({len(before)} and {len(other)} messages)"
        raise row["rejected"].problem("PROMPT_MISMATCH", detail)
    return {"prompt": _after_system(row, before), "chosen": chosen, "rejected": rejected}


def _ranked(row: Fields) -> Record:
    """A list of answers, best first: the first against the last."""
    answers = row["completion"].items("a list of answers, best first", "FIELD_NOT_TEXT")
    if len(answers) < 2:
        detail = f"{len(answers)} answer(s): nothing to compare"
        raise row["completion"].problem("NO_COMPARISON", detail)
    chosen, rejected = answers[0].completion(), answers[-1].completion()
    return {"prompt": _prompt(row), "chosen": chosen, "rejected": rejected}


# --- preference, by raters or by a judge ---------------------------------------------------------

JUDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,99}")
"""The name of a model that judged. Full names of people and addresses do not fit."""
DIGEST = re.compile(r"[0-9a-f]{64}")


def _voted(row: Fields) -> Record:
    """Two answers and what raters, or one judge, said of them. Ingest counts the votes."""
    record = _rated(row) if row.has("ratings") else _rated_pair(row)
    if len(record["completions"]) != 2:
        detail = f"{len(record['completions'])} answers: a pair has two"
        raise row["completions"].problem("NO_COMPARISON", detail)
    if not row.has("judge"):
        return record
    if len(record["ratings"]) != 1:
        detail = f"{len(record['ratings'])} ratings of a row with one judge"
        raise row["judge"].problem("RATING_INVALID", detail)
    return {**record, **judge_of(row)}


def scored(row: Fields) -> Record:
    """One answer and the score that a judge gave it."""
    answered = {"prompt": _prompt(row), "completion": row["completion"].completion()}
    score = row["score"]
    if score.value is None or (isinstance(row["judge"].value, list) and score.value == -1):
        raise score.problem("NO_COMPARISON", "no score")
    return {**answered, "score": score.number(), **judge_of(row), **beside(row)}


def pair_of_scores(row: Fields) -> Record:
    """The pair of two rows of `scored`."""
    shares = {"chosen_share": 1.0, "rejected_share": 0.0, "raters": 1}
    return {**_preferred(row, _prompt(row)), **shares, **judge_of(row)}


def judge_of(row: Fields) -> Record:
    """Name and rubric of the judge: a text, or MT-Bench's list of model and template."""
    given = row["judge"]
    parts = given.value if isinstance(given.value, list) else [given.value]
    name = ":".join(part for part in parts if isinstance(part, str))
    if not JUDGE.fullmatch(name):
        raise given.problem("RATING_INVALID", "expected the name of a model, without spaces")
    return {"judge": name, "rubric": _rubric(row)}


def _rubric(row: Fields) -> str | None:
    """The digest of a rubric: as the source gives it, or of the text that it gives."""
    if not row.has("rubric"):
        return None
    text = row["rubric"].text()
    return text if DIGEST.fullmatch(text) else sha256_bytes(text.encode())


# --- unpaired -------------------------------------------------------------------------------------


def _labelled_messages(row: Fields) -> Record:
    prompt, last = row["messages"].split_last(_messages(row))
    return {"prompt": prompt, "completion": last, "label": row["label"].label()}


def _labelled(row: Fields) -> Record:
    label, completion = row["label"].label(), row["completion"].completion()
    return {"prompt": _prompt(row), "completion": completion, "label": label}


# --- prompt ---------------------------------------------------------------------------------------


def _answer(row: Fields) -> str | None:
    answer = row.optional("answer")
    return answer.answer() if answer is not None and answer.value is not None else None


def _question(row: Fields) -> Record:
    return {"prompt": _prompt(row), "answer": _answer(row)}


def _question_in_messages(row: Fields) -> Record:
    """A row without a separate answer has it in the assistant's last message."""
    messages = _messages(row)
    if messages[-1]["role"] == "assistant" and not row.has("answer"):
        prompt, last = row["messages"].split_last(messages)
        return {"prompt": prompt, "answer": _reference(last[0])}
    return {"prompt": messages, "answer": _answer(row)}


def _reference(last: Message) -> str:
    """An assistant's message as a reference answer: what it thought, then its text or its calls."""
    return thinking.joined(last.get("thinking"), last["content"] or last.get("tool_calls", ""))


def _question_with_choices(row: Fields) -> Record:
    return {"prompt": _choices(row), "answer": row["answer"].answer()}


def _question_in_turns(row: Fields) -> Record:
    """MT-Bench's turns: the user's, without the answers between them. The model gives these when it
    is evaluated.
    """
    turns = [turn.text() for turn in row["turns"].items("a list of turns", "TURNS_UNANSWERED")]
    if not turns:
        raise row["turns"].problem("TURNS_UNANSWERED", "an empty list of turns")
    made = {"prompt": [*_system(row), message(turns[0])], "answer": _answer(row)}
    return {**made, TURNS: json_texts.dumps(turns[1:])} if turns[1:] else made


# --- beside the messages --------------------------------------------------------------------------


def beside(row: Fields) -> Record:
    """The columns that any record with messages may have: tools and extra columns."""
    found: Record = {}
    given = row.optional(TOOLS)
    if given is not None and (schemas := tools.schemas(given.value, given.place)):
        found[TOOLS] = schemas
    if row.extra:
        values = {name: row.given(source) for name, source in sorted(row.extra.items())}
        found[EXTRA] = tools.dumps(values, EXTRA, "EXTRA_NOT_JSON")
    return found


# --- rated ----------------------------------------------------------------------------------------

Ratings = list[dict[str, Any]]
"""`rater` and `value`; `seconds` and `first` where the source says how the rating was given."""
BATCH = "batch"
"""Of an item: a day, or the version of the guideline. It is read for checks, and not kept."""


def _rated(row: Fields) -> Record:
    answers = row["completions"].items("a list of answers")
    if not answers:
        raise row["completions"].problem("MESSAGES_MALFORMED", "an empty list of answers")
    ratings: Ratings = []
    expected = "a list of objects with rater and value"
    for at, rating in enumerate(row["ratings"].items(expected, "RATING_INVALID")):
        if not isinstance(rating.value, dict):
            raise rating.mismatch("RATING_INVALID", "an object with rater and value")
        given = {name for name in ("seconds", "first") if rating.value.get(name) is not None}
        numbers = {name: rating.member(name).number() for name in ("value", *given)}
        ratings.append({"rater": str(rating.value.get("rater", at)), **numbers})
    completions = [answer.completion() for answer in answers]
    record = _with_ratings(row, completions, ratings, row["ratings"].place)
    if row.has(BATCH):
        record[BATCH] = str(row[BATCH].value)
    return record


def _rated_pair(row: Fields) -> Record:
    answers = [row["first"].completion(), row["second"].completion()]
    return _with_ratings(row, answers, _by_rater(row, _side), row.raters_named())


def _rated_alone(row: Fields) -> Record:
    answers = [row["completion"].completion()]
    return _with_ratings(row, answers, _by_rater(row, Field.number), row.raters_named())


def _by_rater(row: Fields, read: Callable[[Field], float]) -> Ratings:
    """The rating of every rater who rated the row; `annotator` may name a single one."""
    single = str(row["rater"].value) if len(row.raters) == 1 and row.has("rater") else None
    return [
        {"rater": single or name, "value": read(Field(row.row[name], plain_name(name)))}
        for name in row.raters
        if row.row.get(name) is not None
    ]


def _side(rating: Field) -> float:
    """The preferred side. AlpacaEval's figures between 1 and 2 count as the nearer one; 1.5 is a
    tie.
    """
    number = rating.number()
    if number == 1.5:
        return 0.0
    return float(round(number)) if 1 < number < 2 else number


def _with_ratings(
    row: Fields, answers: list[list[Message]], ratings: Ratings, place: str
) -> Record:
    if not ratings:
        raise RowProblem("RATING_INVALID", place, "nobody rated this row")
    if len({rating["rater"] for rating in ratings}) != len(ratings):
        raise RowProblem("RATING_INVALID", place, "a rater is named twice")
    choices = range(len(answers) + 1)
    if len(answers) > 1 and not all(rating["value"] in choices for rating in ratings):
        raise RowProblem("RATING_INVALID", place, f"expected 0 for a tie, or 1 to {len(answers)}")
    if not all(rating.get("first", 1) in choices[1:] for rating in ratings):
        raise RowProblem("RATING_INVALID", place, f"expected `first` from 1 to {len(answers)}")
    if not all(rating.get("seconds", 0) >= 0 for rating in ratings):
        raise RowProblem("RATING_INVALID", place, "expected `seconds` of 0 or more")
    return {"prompt": _prompt(row), "completions": answers, "ratings": ratings}


# --- the table ------------------------------------------------------------------------------------

_PROMPT = {"prompt": PROMPT}
_ANSWERED = {"prompt": PROMPT, "completion": COMPLETION}
_MESSAGES = {"messages": MESSAGES}
_SIDES = {"chosen": CHOSEN, "rejected": REJECTED}
_OPTIONS = {"options": ("options", "choices")}
_ANSWERS = {"completions": ("completions", "responses")}
_RATER = {"rater": ("annotator",), **CONTEXT}
_RATINGS = {"ratings": ("ratings",)}
_PAIR = {"first": FIRST, "second": SECOND}
_JUDGE = ("judge", "judge_model")
_BY_JUDGE = {"judge": _JUDGE, "rubric": ("rubric", "rubric_sha256")}

SHAPES: dict[str, tuple[Shape, ...]] = {
    "conversation": (
        Shape("messages", _conversation, _MESSAGES, TALK),
        Shape("question and answer", _pair, _ANSWERED, ASKED),
        Shape(
            "choices with a rationale",
            _reasoned,
            {**_PROMPT, **_OPTIONS, "rationale": ("rationale",)},
        ),
        Shape(
            "instruction with an instance",
            _instances,
            {"prompt": ("instruction",), "instances": ("instances",)},
        ),
        Shape("transcript", _transcript, {"transcript": ("transcript", "text")}),
        Shape("text", _text, {"text": ("text", "full_text", "content", "document", "body")}),
    ),
    "preference": (
        Shape("prompt, chosen, rejected", _preference, {**_PROMPT, **_SIDES}, ASKED),
        Shape("messages, chosen, rejected", _after_messages, {**_MESSAGES, **_SIDES}, TALK),
        Shape("two whole conversations", _compared, _SIDES, SCHEMAS),
        Shape(
            "answers and ratings",
            _voted,
            {**_PROMPT, **_ANSWERS, **_RATINGS},
            {**CONTEXT, BATCH: (BATCH,)},
            labelled=True,
        ),
        Shape(
            "two answers and raters",
            _voted,
            {**_PROMPT, **_PAIR},
            {**_RATER, **_BY_JUDGE},
            raters=True,
            labelled=True,
        ),
        Shape(
            "answers, best first",
            _ranked,
            {**_PROMPT, "completion": (*COMPLETION, *_ANSWERS["completions"])},
            ASKED,
        ),
        Shape(
            "answer scored by a judge",
            scored,
            {**_ANSWERED, "score": ("score",), "judge": _JUDGE},
            {**ASKED, **_BY_JUDGE, "model": ("model", "model_id"), "turn": ("turn",)},
            labelled=True,
            scored=True,
        ),
    ),
    "unpaired": (
        Shape("messages and label", _labelled_messages, {**_MESSAGES, "label": LABEL}, TALK),
        Shape("question, answer, label", _labelled, {**_ANSWERED, "label": LABEL}, ASKED),
    ),
    "prompt": (
        Shape("messages", _question_in_messages, _MESSAGES, {"answer": ANSWER, **TALK}),
        Shape(
            "choices",
            _question_with_choices,
            {**_PROMPT, **_OPTIONS, "answer": ("correct", *ANSWER)},
        ),
        Shape("turns", _question_in_turns, {"turns": ("turns",)}, {"answer": (), **TALK}),
        Shape("question", _question, _PROMPT, {**ASKED, "answer": ANSWER}),
    ),
    "rated": (
        Shape(
            "answers and ratings",
            _rated,
            {**_PROMPT, **_ANSWERS, **_RATINGS},
            {**CONTEXT, BATCH: (BATCH,)},
        ),
        Shape(
            "two answers and raters",
            _rated_pair,
            {**_PROMPT, **_PAIR},
            _RATER,
            raters=True,
        ),
        Shape("answer and raters", _rated_alone, _ANSWERED, _RATER, raters=True),
    ),
}
"""Kind to its shapes. If two fit about equally many rows, the first is used."""
