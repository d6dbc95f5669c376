"""Converts messages, prompts and answers of all usual forms to TRL's list of role and content."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pipelines.sources.readers import RowProblem, plain_name, type_name

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


def said(content: str, role: str = "user") -> Message:
    """One message."""
    return {"role": role, "content": content}


def text_of(value: Any, field: str) -> str:
    """A value that must be text. Raises `RowProblem`."""
    if isinstance(value, str):
        return value
    raise RowProblem("FIELD_NOT_TEXT", field, f"found {type_name(value)}, expected text")


def answer_of(value: Any, field: str) -> str:
    """A reference answer: text, or a finite number written as text. Raises `RowProblem`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value):
        return str(value)
    return text_of(value, field)


def messages_of(value: Any, field: str) -> list[Message]:
    """A list of messages, or its JSON text (as in CSV files). Raises `RowProblem`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowProblem(
                "MESSAGES_MALFORMED", field, "text that is not a JSON list of messages"
            ) from None
    if not isinstance(value, list):
        raise RowProblem(
            "MESSAGES_MALFORMED", field, f"found {type_name(value)}, expected a list of messages"
        )
    if not value:
        raise RowProblem("MESSAGES_MALFORMED", field, "an empty list of messages")
    return [_message(one, f"{field}[{at}]") for at, one in enumerate(value)]


def _message(value: Any, field: str) -> Message:
    if not isinstance(value, dict):
        raise RowProblem(
            "MESSAGES_MALFORMED", field, f"found {type_name(value)}, expected an object"
        )
    role_key = "role" if "role" in value else "from"
    text_key = "content" if "content" in value else "value"
    for key in (role_key, text_key):
        if key not in value:
            raise RowProblem(
                "FIELD_MISSING",
                f"{field}.{key}",
                "a message needs role and content, or from and value",
            )
    role = text_of(value[role_key], f"{field}.{role_key}").strip().lower()
    if role not in ROLE_NAMES:
        known = ", ".join(sorted(ROLE_NAMES))
        raise RowProblem("ROLE_UNKNOWN", f"{field}.{role_key}", f"a role that is none of {known}")
    return said(_content(value, text_key, field), ROLE_NAMES[role])


def _content(message: dict[str, Any], key: str, field: str) -> str:
    """A message's text. OpenAI's lists of text parts and tool calls are written as text."""
    content = message[key]
    if content is None and message.get("tool_calls"):
        return _calls(message["tool_calls"], f"{field}.tool_calls")
    if isinstance(content, list) and content:
        for at, part in enumerate(content):
            if not isinstance(part, dict) or part.get("type") != "text":
                raise RowProblem(
                    "FIELD_NOT_TEXT", f"{field}.{key}[{at}]", "a part that is not of type text"
                )
        return "".join(text_of(part.get("text"), f"{field}.{key}.text") for part in content)
    return text_of(content, f"{field}.{key}")


def _calls(calls: Any, field: str) -> str:
    try:
        return json.dumps(calls, ensure_ascii=False, sort_keys=True)
    except TypeError:  # Parquet holds dates and bytes, which JSON does not
        raise RowProblem(
            "FIELD_NOT_TEXT", field, "a call of a tool with values that JSON does not have"
        ) from None


def transcript(text: str, field: str) -> list[Message]:
    """The messages of a transcript, with `\\n\\nHuman:` and `\\n\\nAssistant:` before each turn.
    Raises `RowProblem`.
    """
    parts = _TURN.split(text)
    if len(parts) < 3 or parts[0].strip():
        raise RowProblem(
            "MESSAGES_MALFORMED", field, "no turns that begin with Human: and Assistant:"
        )
    roles = {"Human": "user", "Assistant": "assistant", "System": "system"}
    return [
        said(content.strip(), roles[name])
        for name, content in zip(parts[1::2], parts[2::2], strict=True)
    ]


def is_transcript(value: Any) -> bool:
    """Whether a value is text that begins like a transcript."""
    return isinstance(value, str) and value.startswith(_MAYBE_TRANSCRIPT)


def whole(value: Any, field: str) -> list[Message]:
    """A whole conversation: a list of messages, or a transcript."""
    return (
        transcript(value, field)
        if isinstance(value, str) and is_transcript(value)
        else messages_of(value, field)
    )


def completion(value: Any, field: str) -> list[Message]:
    """An answer: text, one message, or a list of them. Raises `RowProblem`."""
    if isinstance(value, dict):
        return [_message(value, field)]
    if isinstance(value, list):
        return messages_of(value, field)
    return [said(text_of(value, field), "assistant")]


def split_last(messages: list[Message], field: str) -> tuple[list[Message], list[Message]]:
    """The messages before, and the assistant's last answer. Raises `RowProblem`."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise RowProblem(
            "MESSAGES_MALFORMED",
            field,
            f"{len(messages)} message(s), the last not by the assistant",
        )
    return messages[:-1], messages[-1:]


def label_of(value: Any, field: str) -> bool:
    """Whether an answer is wanted. Raises `RowProblem`."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise RowProblem(
        "LABEL_NOT_BOOLEAN", field, f"found {type_name(value)}, expected true or false"
    )


def number_of(value: Any, field: str) -> float:
    """A finite number, or text of one. Raises `RowProblem`."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise RowProblem("RATING_INVALID", field, "found text, expected a number") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        what = "a number that is not finite, or too large" if number else type_name(value)
        raise RowProblem("RATING_INVALID", plain_name(field), f"found {what}, expected a number")
    return float(value)


def _finite(value: int | float) -> bool:
    """Whether it is a number that fits a float: whole numbers in JSON may be larger."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
