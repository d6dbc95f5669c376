"""The shapes of rows, and how each becomes a record of one of the five kinds.

A shape names its required and optional fields, each with the names that people use.
`pipelines.sources.binding` finds the shape of a file by trying its first rows. To add a shape: a
function below and its entry in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.sources import messages as msg
from pipelines.sources.readers import RowProblem, plain_name, type_name

Record = dict[str, Any]
"""The content columns of a record, as the kind's schema has them."""

PROMPT = ("prompt", "question", "instruction", "query", "problem", "input")
COMPLETION = ("completion", "response", "output", "answer")
MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog")
CONTEXT = {"input": ("input",), "system": ("system", "system_prompt"), "history": ("history",)}
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
    """A row with the field names of a shape."""

    row: Mapping[str, Any]
    names: Mapping[str, str]
    """Name in the shape to name in the row."""
    raters: tuple[str, ...] = ()

    def has(self, slot: str) -> bool:
        """Whether the field exists and is neither null nor empty."""
        return slot in self.names and _dig(self.row, self.names[slot], None) not in (None, "", [])

    def name(self, slot: str) -> str:
        """The field's name in the row."""
        return plain_name(self.names[slot])

    def value(self, slot: str) -> Any:
        """The field's value. Raises `RowProblem` if there is none."""
        value = _dig(self.row, self.names[slot], _MISSING)
        if value is _MISSING:
            raise RowProblem("FIELD_MISSING", self.name(slot), "the row does not have this field")
        return value

    def text(self, slot: str) -> str:
        """The field's text."""
        return msg.text_of(self.value(slot), self.name(slot))

    def whole(self, slot: str) -> list[msg.Message]:
        """The field's whole conversation."""
        return msg.whole(self.value(slot), self.name(slot))

    def completion(self, slot: str) -> list[msg.Message]:
        """The field's answer."""
        return msg.completion(self.value(slot), self.name(slot))

    def label(self) -> bool:
        """Whether the answer is wanted."""
        return msg.label_of(self.value("label"), self.name("label"))

    def raters_named(self) -> str:
        """The names of the raters' columns, for messages."""
        return ", ".join(map(plain_name, self.raters))


_MISSING = object()


def _dig(row: Any, path: str, default: Any) -> Any:
    """`row[path]`, or the value at `instances.0.input` if the row has no field of that name."""
    if path in row:
        return row[path]
    if "." not in path:
        return default
    for part in path.split("."):
        if isinstance(row, Mapping) and part in row:
            row = row[part]
        elif isinstance(row, list) and part.isdecimal() and int(part) < len(row):
            row = row[int(part)]
        else:
            return default
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


# --- prompts --------------------------------------------------------------------------------------


def _prompt(row: Fields) -> list[msg.Message]:
    """System text, history, then the question with its input."""
    value, name = row.value("prompt"), row.name("prompt")
    if isinstance(value, list):
        messages = msg.messages_of(value, name)
    elif msg.is_transcript(value):
        messages = msg.transcript(value, name)
    else:
        messages = [msg.said(_question(row, msg.text_of(value, name)))]
    return [*_system(row), *_history(row), *messages]


def _question(row: Fields, text: str) -> str:
    return (
        f"{text}\n{row.text('input')}"
        if row.has("input") and row.names["input"] != row.names["prompt"]
        else text
    )


def _system(row: Fields) -> list[msg.Message]:
    return [msg.said(row.text("system"), "system")] if row.has("system") else []


def _history(row: Fields) -> list[msg.Message]:
    """Alpaca's history: a list of (question, answer)."""
    if not row.has("history"):
        return []
    name, turns = row.name("history"), row.value("history")
    if not isinstance(turns, list) or not all(
        isinstance(turn, list) and len(turn) == 2 for turn in turns
    ):
        raise RowProblem(
            "MESSAGES_MALFORMED", name, "expected a list of pairs of question and answer"
        )
    roles = ("user", "assistant")
    return [
        msg.said(msg.text_of(turn[side], f"{name}[{at}][{side}]"), roles[side])
        for at, turn in enumerate(turns)
        for side in (0, 1)
    ]


def _choices(row: Fields) -> list[msg.Message]:
    """A question with its options on lines of their own."""
    options, name = row.value("options"), row.name("options")
    if not isinstance(options, list):
        raise RowProblem(
            "FIELD_NOT_TEXT", name, f"found {type_name(options)}, expected a list of texts"
        )
    texts = [msg.text_of(option, f"{name}[{at}]") for at, option in enumerate(options)]
    return [msg.said("\n".join([row.text("prompt"), *texts]))]


# --- conversation ---------------------------------------------------------------------------------


def _messages(row: Fields) -> Record:
    messages = row.whole("messages")
    return {"messages": messages if messages[0]["role"] == "system" else [*_system(row), *messages]}


def _pair(row: Fields) -> Record:
    return {"messages": [*_prompt(row), *row.completion("completion")]}


def _reasoned(row: Fields) -> Record:
    return {"messages": [*_choices(row), msg.said(row.text("rationale"), "assistant")]}


def _instances(row: Fields) -> Record:
    """Self-Instruct's seed tasks: an instruction with one example."""
    instances, name = row.value("instances"), row.name("instances")
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        raise RowProblem("MESSAGES_MALFORMED", name, "expected a list of one object")
    asked, told = (
        msg.text_of(instances[0].get(key), f"{name}[0].{key}") for key in ("input", "output")
    )
    question = row.text("prompt")
    return {
        "messages": [
            msg.said(f"{question}\n{asked}" if asked else question),
            msg.said(told, "assistant"),
        ]
    }


def _transcript(row: Fields) -> Record:
    return {"messages": msg.transcript(row.text("transcript"), row.name("transcript"))}


def _text(row: Fields) -> Record:
    return {"messages": [msg.said(row.text("text"), "assistant")]}


# --- preference -----------------------------------------------------------------------------------


def _preference(row: Fields) -> Record:
    """A prompt and two answers, or two whole conversations that repeat the prompt."""
    sides = [row.value("chosen"), row.value("rejected")]
    if any(msg.is_transcript(side) for side in sides) or all(
        _begins_with_prompt(side) for side in sides
    ):
        return _compared(row)
    chosen, rejected = (row.completion(side) for side in ("chosen", "rejected"))
    return {"prompt": _prompt(row), "chosen": chosen, "rejected": rejected}


def _begins_with_prompt(value: Any) -> bool:
    """Whether an answer is a list of messages that begins with another role."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    role = value[0].get("role", value[0].get("from"))
    return isinstance(role, str) and msg.ROLE_NAMES.get(role.lower()) in ("system", "user")


def _after_messages(row: Fields) -> Record:
    chosen, rejected = (row.completion(side) for side in ("chosen", "rejected"))
    return {"prompt": _messages(row)["messages"], "chosen": chosen, "rejected": rejected}


def _compared(row: Fields) -> Record:
    """Two whole conversations that differ in the last answer only."""
    before, chosen = msg.split_last(row.whole("chosen"), row.name("chosen"))
    other, rejected = msg.split_last(row.whole("rejected"), row.name("rejected"))
    if before != other:
        raise RowProblem(
            "PROMPT_MISMATCH",
            row.name("rejected"),
            f"the two prompts differ ({len(before)} and {len(other)} messages)",
        )
    return {"prompt": before, "chosen": chosen, "rejected": rejected}


def _ranked(row: Fields) -> Record:
    """A list of answers, best first: the first against the last."""
    answers, name = row.value("completion"), row.name("completion")
    if not isinstance(answers, list):
        raise RowProblem(
            "FIELD_NOT_TEXT",
            name,
            f"found {type_name(answers)}, expected a list of answers, best first",
        )
    if len(answers) < 2:
        raise RowProblem("NO_COMPARISON", name, f"{len(answers)} answer(s): nothing to compare")
    chosen, rejected = (
        msg.completion(answers[0], f"{name}[0]"),
        msg.completion(answers[-1], f"{name}[{len(answers) - 1}]"),
    )
    return {"prompt": _prompt(row), "chosen": chosen, "rejected": rejected}


# --- unpaired -------------------------------------------------------------------------------------


def _labelled_messages(row: Fields) -> Record:
    prompt, last = msg.split_last(_messages(row)["messages"], row.name("messages"))
    return {"prompt": prompt, "completion": last, "label": row.label()}


def _labelled(row: Fields) -> Record:
    label = row.label()
    return {"prompt": _prompt(row), "completion": row.completion("completion"), "label": label}


# --- prompt ---------------------------------------------------------------------------------------


def _answer(row: Fields) -> str | None:
    return (
        msg.answer_of(row.value("answer"), row.name("answer"))
        if "answer" in row.names and _given(row)
        else None
    )


def _given(row: Fields) -> bool:
    return _dig(row.row, row.names["answer"], None) is not None


def _asked(row: Fields) -> Record:
    return {"prompt": _prompt(row), "answer": _answer(row)}


def _asked_in_messages(row: Fields) -> Record:
    """A row without a separate answer has it in the assistant's last message."""
    messages = _messages(row)["messages"]
    if messages[-1]["role"] == "assistant" and not row.has("answer"):
        prompt, last = msg.split_last(messages, row.name("messages"))
        return {"prompt": prompt, "answer": last[0]["content"]}
    return {"prompt": messages, "answer": _answer(row)}


def _asked_with_choices(row: Fields) -> Record:
    return {
        "prompt": _choices(row),
        "answer": msg.answer_of(row.value("answer"), row.name("answer")),
    }


def _asked_in_turns(row: Fields) -> Record:
    """MT-Bench's turns. One turn can be asked; the answers before a second one are not in the
    data.
    """
    turns, name = row.value("turns"), row.name("turns")
    if not isinstance(turns, list) or len(turns) != 1:
        size = (
            f"{len(turns)} turns without the answers between"
            if isinstance(turns, list)
            else type_name(turns)
        )
        raise RowProblem(
            "TURNS_UNANSWERED",
            name,
            f"{size}; `fields: {{prompt: {name}.0}}` takes the first alone",
        )
    return {"prompt": [msg.said(msg.text_of(turns[0], f"{name}[0]"))], "answer": None}


# --- rated ----------------------------------------------------------------------------------------


def _rated(row: Fields) -> Record:
    answers, ratings, name = row.value("completions"), row.value("ratings"), row.name("ratings")
    if not isinstance(answers, list) or not answers:
        raise RowProblem(
            "MESSAGES_MALFORMED", row.name("completions"), "expected a list of answers"
        )
    if not isinstance(ratings, list) or not all(isinstance(one, dict) for one in ratings):
        raise RowProblem("RATING_INVALID", name, "expected a list of objects with rater and value")
    values = [
        msg.number_of(one.get("value"), f"{name}[{at}].value") for at, one in enumerate(ratings)
    ]
    given = [
        (str(one.get("rater", at)), value)
        for at, (one, value) in enumerate(zip(ratings, values, strict=True))
    ]
    parts = [
        msg.completion(answer, f"{row.name('completions')}[{at}]")
        for at, answer in enumerate(answers)
    ]
    return _judged(row, parts, given, name)


def _rated_pair(row: Fields) -> Record:
    answers = [row.completion(side) for side in ("first", "second")]
    return _judged(row, answers, _by_rater(row, _side), row.raters_named())


def _rated_alone(row: Fields) -> Record:
    answer = row.completion("completion")
    return _judged(row, [answer], _by_rater(row, msg.number_of), row.raters_named())


def _by_rater(row: Fields, read: Callable[[Any, str], float]) -> list[tuple[str, float]]:
    """(rater, value) of every rater who rated the row; `annotator` may name a single one."""
    single = str(row.value("rater")) if len(row.raters) == 1 and row.has("rater") else None
    given = [(name, row.row.get(name)) for name in row.raters]
    return [
        (single or name, read(value, plain_name(name)))
        for name, value in given
        if value is not None
    ]


def _side(value: Any, name: str) -> float:
    """The preferred side. AlpacaEval's figures between 1 and 2 count as the nearer one; 1.5 is a
    tie.
    """
    number = msg.number_of(value, name)
    if 1 < number < 2:
        return 0.0 if number == 1.5 else float(round(number))
    return number


def _judged(
    row: Fields, answers: list[list[msg.Message]], ratings: list[tuple[str, float]], name: str
) -> Record:
    if not ratings:
        raise RowProblem("RATING_INVALID", name, "nobody rated this row")
    if len({rater for rater, _ in ratings}) != len(ratings):
        raise RowProblem("RATING_INVALID", name, "a rater is named twice")
    if len(answers) > 1 and not all(value in range(len(answers) + 1) for _, value in ratings):
        raise RowProblem("RATING_INVALID", name, f"expected 0 for a tie, or 1 to {len(answers)}")
    return {
        "prompt": _prompt(row),
        "completions": answers,
        "ratings": [{"rater": rater, "value": value} for rater, value in ratings],
    }


# --- the table ------------------------------------------------------------------------------------

_ASKED = {"prompt": PROMPT}
_ANSWERED = {"prompt": PROMPT, "completion": COMPLETION}
_TALK = {"messages": MESSAGES}
_SIDES = {"chosen": CHOSEN, "rejected": REJECTED}
_OPTIONS = {"options": ("options", "choices")}
_ANSWERS = {"completions": ("completions", "responses")}
_SYSTEM = {"system": CONTEXT["system"]}
_RATER = {"rater": ("annotator",), **CONTEXT}

SHAPES: dict[str, tuple[Shape, ...]] = {
    "conversation": (
        Shape("messages", _messages, _TALK, _SYSTEM),
        Shape("question and answer", _pair, _ANSWERED, CONTEXT),
        Shape(
            "choices with a rationale",
            _reasoned,
            {**_ASKED, **_OPTIONS, "rationale": ("rationale",)},
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
        Shape("prompt, chosen, rejected", _preference, {**_ASKED, **_SIDES}, CONTEXT),
        Shape("messages, chosen, rejected", _after_messages, {**_TALK, **_SIDES}, _SYSTEM),
        Shape("two whole conversations", _compared, _SIDES),
        Shape(
            "answers, best first",
            _ranked,
            {**_ASKED, "completion": (*COMPLETION, *_ANSWERS["completions"])},
            CONTEXT,
        ),
    ),
    "unpaired": (
        Shape("messages and label", _labelled_messages, {**_TALK, "label": LABEL}, _SYSTEM),
        Shape("question, answer, label", _labelled, {**_ANSWERED, "label": LABEL}, CONTEXT),
    ),
    "prompt": (
        Shape("messages", _asked_in_messages, _TALK, {"answer": ANSWER, **_SYSTEM}),
        Shape(
            "choices", _asked_with_choices, {**_ASKED, **_OPTIONS, "answer": ("correct", *ANSWER)}
        ),
        Shape("turns", _asked_in_turns, {"turns": ("turns",)}),
        Shape("question", _asked, _ASKED, {**CONTEXT, "answer": ANSWER}),
    ),
    "rated": (
        Shape(
            "answers and ratings", _rated, {**_ASKED, **_ANSWERS, "ratings": ("ratings",)}, CONTEXT
        ),
        Shape(
            "two answers and raters",
            _rated_pair,
            {**_ASKED, "first": FIRST, "second": SECOND},
            _RATER,
            raters=True,
        ),
        Shape("answer and raters", _rated_alone, _ANSWERED, _RATER, raters=True),
    ),
}
"""Kind to its shapes. If two fit about equally many rows, the first is used."""
