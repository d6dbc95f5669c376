"""Reads the values of a row: texts, numbers, and all usual forms of messages as TRL's list of role
and content.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipelines.sources.readers import RowProblem, type_name

Message = dict[str, str]

ROLE_NAMES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
}
"""Role in the source, in lower case, to our role."""

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant|System): ?")
_MAYBE_TRANSCRIPT = ("\n\nHuman:", "Human:", "\n\nSystem:")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def message(content: str, role: str = "user") -> Message:
    """One message."""
    return {"role": role, "content": content}


READ = frozenset({"role", "from", "content", "value", "type", "text", "rater", "input", "output"})
"""Members of messages, parts, ratings and instances that records keep."""


def messages_lost(value: Any, name: str) -> Iterator[str]:
    """Members of the objects in a used field that its record does not keep: `messages.name`. A call
    of a tool is kept where the message has no text.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, list):
            yield from messages_lost(item, name)
        elif isinstance(item, dict):
            is_call = item.get("content", item.get("value")) is None
            known = READ | {"tool_calls"} if is_call else READ
            yield from (f"{name}.{key}" for key in item.keys() - known if item[key] is not None)
            if isinstance(item.get("content"), list):
                yield from messages_lost(item["content"], f"{name}.content")


@dataclass(frozen=True)
class Field:
    """A value of a row and its place. Methods raise `RowProblem` for a value of another form."""

    value: Any
    place: str
    """The field's name, with the positions in its lists: `messages[0].content`."""

    def problem(self, code: str, detail: str) -> RowProblem:
        """A problem of this field."""
        return RowProblem(code, self.place, detail)

    def mismatch(self, code: str, expected: str) -> RowProblem:
        """The problem that the value has another type."""
        return self.problem(code, f"found {type_name(self.value)}, expected {expected}")

    def items(self, expected: str, code: str = "MESSAGES_MALFORMED") -> list[Field]:
        """The elements of a list; `expected` describes the list."""
        if not isinstance(self.value, list):
            raise self.mismatch(code, expected)
        return [Field(value, f"{self.place}[{at}]") for at, value in enumerate(self.value)]

    def member(self, key: str) -> Field:
        """A value of an object; its value is None where the object does not have the key."""
        return Field(self.value.get(key), f"{self.place}.{key}")

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self.mismatch("FIELD_NOT_TEXT", "text")
        return self.value

    def answer(self) -> str:
        """A reference answer: text, or a finite number written as text."""
        return str(self.value) if self._is_finite() else self.text()

    def label(self) -> bool:
        """Whether an answer is wanted."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, (int, float)) and self.value in (0, 1):
            return bool(self.value)
        if isinstance(self.value, str) and self.value.strip().lower() in _BOOLEANS:
            return _BOOLEANS[self.value.strip().lower()]
        raise self.mismatch("LABEL_NOT_BOOLEAN", "true or false")

    def number(self) -> float:
        """A finite number, or text of one."""
        if isinstance(self.value, str):
            try:
                return Field(float(self.value), self.place).number()
            except ValueError:
                raise self.mismatch("RATING_INVALID", "a number") from None
        if self._is_finite():
            return float(self.value)
        if self._is_number():
            raise self.problem("RATING_INVALID", "a number that is not finite, or too large")
        raise self.mismatch("RATING_INVALID", "a number")

    def _is_number(self) -> bool:
        return isinstance(self.value, (int, float)) and not isinstance(self.value, bool)

    def _is_finite(self) -> bool:
        """Whether it is a number that fits a float: whole numbers in JSON may be larger."""
        try:
            return self._is_number() and math.isfinite(self.value)
        except OverflowError:
            return False

    # --- messages ---------------------------------------------------------------------------------

    def is_transcript(self) -> bool:
        """Whether it is text that begins like a transcript."""
        return isinstance(self.value, str) and self.value.startswith(_MAYBE_TRANSCRIPT)

    def transcript(self) -> list[Message]:
        """The messages of a text with `\\n\\nHuman:` and `\\n\\nAssistant:` before each turn."""
        parts = _TURN.split(self.text())
        if len(parts) < 3 or parts[0].strip():
            detail = "no turns that begin with Human: and Assistant:"
            raise self.problem("MESSAGES_MALFORMED", detail)
        roles = {"Human": "user", "Assistant": "assistant", "System": "system"}
        return [
            message(content.strip(), roles[name])
            for name, content in zip(parts[1::2], parts[2::2], strict=True)
        ]

    def conversation(self) -> list[Message]:
        """A whole conversation: a list of messages, or a transcript."""
        return self.transcript() if self.is_transcript() else self.messages()

    def completion(self) -> list[Message]:
        """An answer: text, one message, or a list of them."""
        if isinstance(self.value, dict):
            return [self._message()]
        if isinstance(self.value, list):
            return self.messages()
        return [message(self.text(), "assistant")]

    def messages(self) -> list[Message]:
        """A list of messages, or its JSON text (as in CSV files)."""
        if isinstance(self.value, str) and self.value.lstrip().startswith("["):
            try:
                return Field(json.loads(self.value), self.place).messages()
            except (ValueError, RecursionError):
                detail = "text that is not a JSON list of messages"
                raise self.problem("MESSAGES_MALFORMED", detail) from None
        items = self.items("a list of messages")
        if not items:
            raise self.problem("MESSAGES_MALFORMED", "an empty list of messages")
        return [item._message() for item in items]

    def split_last(self, messages: list[Message]) -> tuple[list[Message], list[Message]]:
        """The field's messages before the assistant's last answer, and that answer."""
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            detail = f"{len(messages)} message(s), the last not by the assistant"
            raise self.problem("MESSAGES_MALFORMED", detail)
        return messages[:-1], messages[-1:]

    def _message(self) -> Message:
        if not isinstance(self.value, dict):
            raise self.mismatch("MESSAGES_MALFORMED", "an object")
        role = self._either("role", "from")
        name = role.text().strip().lower()
        if name not in ROLE_NAMES:
            known = ", ".join(sorted(ROLE_NAMES))
            raise role.problem("ROLE_UNKNOWN", f"a role that is none of {known}")
        return message(self._content(), ROLE_NAMES[name])

    def _either(self, key: str, other: str) -> Field:
        field = self.member(key if key in self.value else other)
        if key not in self.value and other not in self.value:
            detail = "a message needs role and content, or from and value"
            raise field.problem("FIELD_MISSING", detail)
        return field

    def _content(self) -> str:
        """A message's text. OpenAI's lists of text parts and tool calls are written as text."""
        content, calls = self._either("content", "value"), self.member("tool_calls")
        if content.value is None and calls.value:
            return calls._json()
        if isinstance(content.value, list) and content.value:
            return "".join(part._part() for part in content.items("a list of parts"))
        return content.text()

    def _part(self) -> str:
        if not isinstance(self.value, dict) or self.value.get("type") != "text":
            raise self.problem("FIELD_NOT_TEXT", "a part that is not of type text")
        return self.member("text").text()

    def _json(self) -> str:
        try:
            return json.dumps(self.value, ensure_ascii=False, sort_keys=True)
        except TypeError:  # Parquet holds dates and bytes, which JSON does not
            detail = "a call of a tool with values that JSON does not have"
            raise self.problem("FIELD_NOT_TEXT", detail) from None
