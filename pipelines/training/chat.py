"""The messages of records as chat templates and TRL take them.

1. Each part of a message reaches the template: calls of tools in OpenAI's form, and what the
   assistant thought under the name that the template reads, else before the answer in its text.
2. A template that leaves out tools, calls or answers of tools is refused: what it left out would be
   lost without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.base.errors import InputError
from pipelines import json_texts, thinking
from pipelines.kinds import TOOLS

Messages = Sequence[Mapping[str, Any]]
"""Messages of records (`pipelines.kinds.MESSAGE`)."""

Chat = list[dict[str, Any]]
"""Messages as a chat template takes them."""

Tools = list[dict[str, Any]]
"""OpenAI's function schemas."""

NAME = "reasoning_content"
"""The name of what the assistant thought. transformers gives it to templates that read `thinking`
too.
"""

CALLS, ANSWERS, THINKING = "tool_calls", "tool_call_id", "thinking"


@dataclass(frozen=True)
class Form:
    """How one chat template takes messages."""

    thinking: str = ""
    """`NAME` if it reads what the assistant thought; empty: that stands before the answer."""

    def chat(self, messages: Messages) -> Chat:
        """The messages with all their parts."""
        return [self._message(message) for message in messages]

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        made = {"role": message["role"], "content": message["content"]}
        if (thought := message.get(THINKING)) and self.thinking:
            made[self.thinking] = thought
        elif thought:
            made["content"] = thinking.joined(thought, message["content"])
        if calls := message.get(CALLS):
            made[CALLS] = [_call(call) for call in json_texts.loads(calls)]
        return made | {name: message[name] for name in ("name", ANSWERS) if message.get(name)}


def tools_of(row: Mapping[str, Any]) -> Tools | None:
    """The tools of a record."""
    if not row.get(TOOLS):
        return None
    tools: Tools = json_texts.loads(row[TOOLS])
    return tools


def rendered(
    tokenizer: Any, given: Sequence[tuple[Chat, Tools | None]], *, generates: bool
) -> list[str]:
    """The text of each conversation with its tools; `generates`: up to where the answer begins."""
    if not any(tools for _, tools in given):
        texts: list[str] = tokenizer.apply_chat_template(
            [messages for messages, _ in given], tokenize=False, add_generation_prompt=generates
        )
        return texts
    return [
        tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generates
        )
        for messages, tools in given
    ]


def form_of(tokenizer: Any, parts: Collection[str], where: str) -> Form:
    """The form that this tokenizer's template takes. Raises `InputError` where it would leave out
    one of the parts.
    """
    needed = [probe for part, probe in _PROBES.items() if part in parts]
    lost = [name for name, is_in in needed if not is_in(tokenizer)]
    if lost:
        raise _loses(lost, where)
    if THINKING not in parts:
        return Form()
    if _has_thinking(tokenizer, {NAME: _MARK}):
        return Form(NAME)
    if _has_thinking(tokenizer, {"content": thinking.joined(_MARK, "A")}):
        return Form()
    raise _loses(["what the assistant thought"], where)


def _loses(parts: Sequence[str], where: str) -> InputError:
    found = f"the model's chat template leaves out {' and '.join(parts)}, which records have"
    fix = "use a model whose template has them, or data without them"
    return InputError(found, where=where, fix=fix)


def opens_thinking(tokenizer: Any) -> bool:
    """Whether the template begins what the assistant thinks, so that its text begins within it."""
    return _rendered(tokenizer, [_ASKED], generates=True).rstrip().endswith(thinking.OPENS)


# --- what a template has --------------------------------------------------------------------------

_MARK = "countersignmark"
_ASKED = {"role": "user", "content": "Q"}
_NAMED = {"type": "function", "id": "abcdefgh1", "function": {"name": "f", "arguments": {"a": "b"}}}
_TOOL = {
    "type": "function",
    "function": {
        "name": _MARK,
        "description": "d",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    identity = {"id": call["id"]} if "id" in call else {}
    return {"type": "function", **identity, "function": function}


def _rendered(tokenizer: Any, messages: Chat, *, generates: bool = False, **more: Any) -> str:
    """The text of messages; empty where the template refuses them."""
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generates, **more
            )
        )
    except (TemplateError, TypeError, KeyError):
        return ""


def _has_tools(tokenizer: Any) -> bool:
    return _MARK in _rendered(tokenizer, [_ASKED], tools=[_TOOL])


def _has_calls(tokenizer: Any) -> bool:
    call = {**_NAMED, "function": {"name": "f", "arguments": {"a": _MARK}}}
    return _MARK in _rendered(tokenizer, [_ASKED, _calling(call)])


def _has_answers(tokenizer: Any) -> bool:
    answer = {"role": "tool", "content": _MARK, "name": "f", "tool_call_id": "abcdefgh1"}
    return _MARK in _rendered(tokenizer, [_ASKED, _calling(_NAMED), answer])


def _has_thinking(tokenizer: Any, thought: dict[str, str]) -> bool:
    said = {"role": "assistant", "content": "A", **thought}
    return _MARK in _rendered(tokenizer, [_ASKED, said])


def _calling(call: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", CALLS: [call]}


_PROBES = {
    TOOLS: ("tools", _has_tools),
    CALLS: ("calls of tools", _has_calls),
    ANSWERS: ("answers of tools", _has_answers),
}
"""Part to its name, and the check that a template has it."""
