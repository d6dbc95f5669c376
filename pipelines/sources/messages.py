"""Reads the values of a row: texts, numbers, and all usual forms of messages as a list of role,
content and the parts that a message has (`pipelines.kinds.PARTS`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipelines import thinking
from pipelines.sources import media, tools
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

CALLS = frozenset({"function_call", "tool_call"})
"""Roles whose text is a call of a tool, as ShareGPT has it."""

THINKING = ("reasoning_content", "reasoning", "thinking")
"""Members of an assistant's message with what it thought."""

THOUGHTS = frozenset({"thinking", "reasoning"})
"""Types of parts of a message with what it thought, and names of their text."""

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant|System): ?")
_MAYBE_TRANSCRIPT = ("\n\nHuman:", "Human:", "\n\nSystem:")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def message(content: str, role: str = "user") -> Message:
    """One message."""
    return {"role": role, "content": content}


def answer(content: str, thought: str | None = None) -> Message:
    """A message of the assistant. Without `thought`, it may stand before the answer in its text."""
    if thought is None:
        thought, content = thinking.divided(content)
    made = message(content, "assistant")
    return {**made, "thinking": thought} if thought else made


READ = frozenset({"role", "from", "content", "value", "type", "text", "rater", "input", "output"})
"""Members of messages, parts, ratings and instances that records keep."""


def messages_lost(value: Any, name: str) -> Iterator[str]:
    """Members of the objects in a used field that its record does not keep: `messages.name`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, list):
            yield from messages_lost(item, name)
        elif isinstance(item, dict):
            rest = item.keys() - READ
            if not rest and not isinstance(item.get("content"), list) and not _is_call(item):
                continue
            rest -= _kept(item)
            yield from (f"{name}.{key}" for key in rest if item[key] not in (None, []))
            yield from _lost_below(item, name)


def _kept(item: dict[str, Any]) -> frozenset[str]:
    """The further members that records keep of this message or part."""
    role = _role_of(item)
    if role == "assistant":
        return frozenset({*THINKING, "tool_calls", "function_call"})
    if role == "tool":
        return frozenset({"name", "tool_call_id"})
    return frozenset({item["type"]}) if item.get("type") in THOUGHTS else frozenset()


def _lost_below(item: dict[str, Any], name: str) -> Iterator[str]:
    """What the parts and calls of a message lose."""
    if isinstance(item.get("content"), list):
        yield from messages_lost(item["content"], f"{name}.content")
    if _role_of(item) != "assistant":
        return
    for member in ("tool_calls", "function_call"):
        if item.get(member):
            yield from tools.lost(item[member], f"{name}.{member}")
    if _is_call(item):
        member = "content" if "content" in item else "value"
        yield from tools.lost(item.get(member), f"{name}.{member}")


def _is_call(item: dict[str, Any]) -> bool:
    """Whether the message's role says that its text is a call."""
    role = item.get("role", item.get("from"))
    return isinstance(role, str) and role.strip().lower() in CALLS


def _role_of(item: dict[str, Any]) -> str | None:
    role = item.get("role", item.get("from"))
    return ROLE_NAMES.get(role.strip().lower()) if isinstance(role, str) else None


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
        return [answer(self.text())]

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
        if name in CALLS and not (self.value.get("tool_calls") or self.value.get("function_call")):
            call = self._either("content", "value")
            return {**message("", "assistant"), "tool_calls": tools.calls(call.value, call.place)}
        if ROLE_NAMES[name] == "assistant":
            return self._answer()
        made = message(self._content(), ROLE_NAMES[name])
        if made["role"] == "tool":
            members = [self.member(key) for key in ("name", "tool_call_id")]
            given = [member for member in members if member.value is not None]
            made |= {member.place.rpartition(".")[2]: member.text() for member in given}
        return made

    def _either(self, key: str, other: str) -> Field:
        field = self.member(key if key in self.value else other)
        if key not in self.value and other not in self.value:
            detail = "a message needs role and content, or from and value"
            raise field.problem("FIELD_MISSING", detail)
        return field

    def _answer(self) -> Message:
        """A message of the assistant: its text, what it thought, and the tools that it calls."""
        content = self._either("content", "value")
        if len(self.value) == 2 and isinstance(content.value, str):  # role and text, nearly always
            return answer(content.value)
        calls = self._calls()
        text = "" if content.value is None and calls else self._content(thoughts=True)
        made = self._thinking(text, self._thought())
        return {**made, "tool_calls": calls} if calls else made

    def _thinking(self, text: str, thought: str | None) -> Message:
        """An answer with what the assistant thought: in a member, before its text, or nowhere."""
        inner, rest = thinking.divided(text)
        if not thought or not inner or inner == thought:
            return answer(rest, thought or inner or "")
        raise self.problem("MESSAGES_MALFORMED", "two different texts of what it thought")

    def _calls(self) -> str | None:
        """The calls of a message as JSON text; OpenAI's older form has one, without an id."""
        given = [self.member(key) for key in ("tool_calls", "function_call")]
        given = [member for member in given if member.value]
        if len(given) > 1:
            raise given[1].problem("TOOL_CALL_MALFORMED", "calls in both forms")
        return tools.calls(given[0].value, given[0].place) if given else None

    def _thought(self) -> str | None:
        """What an assistant thought, from a member or from parts of its content."""
        thoughts = {member.text() for key in THINKING if (member := self.member(key)).value}
        content = self.value.get("content")
        parts = self.member("content").items("") if isinstance(content, list) else []
        inner = "".join(part._thought_part() or "" for part in parts)
        thoughts |= {inner} if inner else set()
        if len(thoughts) > 1:
            raise self.problem("MESSAGES_MALFORMED", "two different texts of what it thought")
        return next(iter(thoughts), None)

    def _content(self, *, thoughts: bool = False) -> str:
        """A message's text, or that of OpenAI's list of parts; `thoughts` are read elsewhere."""
        content = self._either("content", "value")
        if isinstance(content.value, list) and content.value:
            parts = content.items("a list of parts")
            skipped = [thoughts and part._thought_part() is not None for part in parts]
            kept = [part for part, skip in zip(parts, skipped, strict=True) if not skip]
            return "".join(part._part() for part in kept)
        return content.text()

    def _thought_part(self) -> str | None:
        """The text of a part with what the assistant thought; None for another part."""
        kind = self.value.get("type") if isinstance(self.value, dict) else None
        if kind not in THOUGHTS:
            return None
        return self.member(kind if kind in self.value else "text").text()

    def _part(self) -> str:
        media.refuse_part(self.value, self.place)
        if not isinstance(self.value, dict) or self.value.get("type") != "text":
            raise self.problem("FIELD_NOT_TEXT", "a part that is not of type text")
        return self.member("text").text()
