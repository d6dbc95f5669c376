"""Answers in which a model calls tools: the loop of TRL's GRPO trainer, also for evaluations, so
that what is scored is what was trained.

1. The model answers; each call in its answer runs; the results follow as messages of role `tool`;
   the model goes on. That ends after `rounds`, with an answer without a call, or where the results
   would exceed the length of an answer. Such results are left out.
2. Tokens of results are not the model's: they carry no loss, and no measure counts them.
3. The trainer must be able to read calls in the model's text. It knows the chat templates of some
   families of models, and ours. Another one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from governance.base.errors import InputError
from pipelines.training.tokenizer import chat_template
from pipelines.training.tool_files import Tool, ToolStopped, schemas

Ids = list[int]
Generate = Callable[[list[Ids]], list[Ids]]
"""Prompts to what the model generates after each, up to its end token."""


@dataclass(frozen=True)
class Called:
    """An answer with its calls."""

    tokens: Ids
    own: list[int]
    """1 for a token of the model, 0 for one of a result."""
    messages: list[dict[str, Any]]
    """What follows the prompt: the last one is the answer, if it is the assistant's."""

    @property
    def text(self) -> str:
        """The answer, without what the model thought; empty where it ends with a call's result."""
        last = self.messages[-1]
        return str(last.get("content") or "") if last["role"] == "assistant" else ""


def prepare(tokenizer: Any) -> None:
    """Teaches a tokenizer to read calls (3). Raises `InputError`."""
    from trl import chat_template_utils as known

    where = str(tokenizer.name_or_path)
    if not known.supports_tool_calling(tokenizer):
        found = "the model's chat template leaves out calls of tools or their results"
        raise InputError(found, where=where, fix="use another model, or delete `tools`")
    if getattr(tokenizer, "response_template", None) is None:
        if tokenizer.chat_template == chat_template():
            tokenizer.response_template = _ours(tokenizer.eos_token)
        else:
            try:
                known.add_response_schema(tokenizer)
            except ValueError:
                found = "TRL cannot read calls of tools in the answers of the model's chat template"
                fix = "use a model with a chat template that TRL knows (Qwen, Llama 3, Gemma 4)"
                raise InputError(found, where=where, fix=fix) from None
    if not known.is_chat_template_prefix_preserving(tokenizer):
        tokenizer.chat_template = known.get_training_chat_template(tokenizer)


def _ours(end: str) -> dict[str, Any]:
    """How calls are read in what `chat.jinja` writes."""
    call = {"type": "function", "function": "{content}"}
    return {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|assistant|>",
        "fields": {
            "reasoning_content": {
                "open": "<think>", "close_pattern": r"</think>\s*", "content": "text",
            },
            "tool_calls": {
                "open": "<tool_call>", "close_pattern": r"</tool_call>\s*", "repeats": True,
                "content": "json", "transform": call,
            },
            "content": {"close_pattern": rf"{re.escape(end)}\s*", "content": "text"},
        },
    }  # fmt: skip


class ToolLoop:
    """The loop for one model outside of a trainer. `calls` and `failed` count over all answers."""

    def __init__(
        self, model: Any, tokenizer: Any, tools: Sequence[Tool], rounds: int, longest: int
    ) -> None:
        from trl import GRPOTrainer

        self._trainer, self._tools = GRPOTrainer, list(tools)
        self.schemas = schemas(self._tools)
        by_name = {tool.__name__: tool for tool in tools}
        self._by_name = by_name
        self._state = SimpleNamespace(
            model=model,
            processing_class=tokenizer,
            _tokenizer=tokenizer,
            chat_template=None,
            chat_template_kwargs={},
            tools=self._tools,
            environment_factories=None,
            max_tool_calling_iterations=rounds,
            max_completion_length=longest,
            use_vllm=False,
            vllm_mode="",
            _is_vlm=False,
        )
        self._state._get_tool_suffix_ids = lambda messages: GRPOTrainer._get_tool_suffix_ids(
            self._state, messages
        )
        self.answers = self.calls = self.failed = 0

    def run(self, prompts: list[Ids], talks: Sequence[Any], generate: Generate) -> list[Called]:
        """The answer to each prompt, whose messages are `talks`. Raises `StoppedError` for a tool
        that reached out.
        """
        from trl.chat_template_utils import parse_response

        state = self._state
        state._generate_single_turn = lambda ids, *_, **__: (generate(ids), None)
        state._sync_tool_dicts = [self._by_name] * len(prompts)
        state._async_tool_dicts = [{}] * len(prompts)
        first = generate(prompts)
        messages = [
            [parse_response(state._tokenizer, ids, prefix=prompt, tools=self._tools)]
            for ids, prompt in zip(first, prompts, strict=True)
        ]
        try:
            own, messages, tokens, _, calls, failed, _ = self._trainer._tool_call_loop(
                state, [[*talk] for talk in talks], prompts, first, messages, None, None, {}
            )
        except ToolStopped as stopped:
            raise stopped.error from None
        self.answers += len(prompts)
        self.calls += calls
        self.failed += failed
        made = zip(tokens, own, messages, strict=True)
        return [Called(ids, mask, said) for ids, mask, said in made]
