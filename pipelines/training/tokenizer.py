"""The tokenizer of a model trained from scratch: byte-level BPE learnt from the stage's own
records.

Every text can be encoded, and the same records give the same tokenizer. A parent without a chat
template gets this one's (`pipelines/training/chat.jinja`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.base.errors import InputError
from pipelines.kinds import ROLES

END = "<|end|>"
PAD = "<|pad|>"
MARKERS = tuple(f"<|{role}|>" for role in ROLES)
"""The marker of a message's beginning in the chat template."""

MIN_VOCABULARY = 256 + len(MARKERS) + 2
"""Every byte, the markers, end and padding."""


def chat_template() -> str:
    """The template as one string."""
    return Path(__file__).with_name("chat.jinja").read_text(encoding="utf-8").rstrip("\n")


def vocabulary_limit(architecture: Path) -> int:
    """`vocab_size` of a model folder's config.json. Raises `InputError`."""
    where = architecture / "config.json"
    try:
        size = json.loads(where.read_text(encoding="utf-8"))["vocab_size"]
    except (OSError, ValueError, KeyError):
        raise InputError("no vocab_size", where=str(where)) from None
    if not isinstance(size, int) or size < MIN_VOCABULARY:
        expected = f"an integer of at least {MIN_VOCABULARY}"
        raise InputError(f"vocab_size {size}", where=str(where), expected=expected)
    return size


def train(conversations: Any, limit: int) -> Any:
    """A tokenizer of at most `limit` tokens, from the `messages` of rows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=limit,
        special_tokens=[PAD, END, *MARKERS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_contents(conversations), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        chat_template=chat_template(),
        clean_up_tokenization_spaces=False,
    )


def _contents(conversations: Any) -> Iterator[str]:
    for messages in conversations["messages"]:
        for message in messages:
            yield message["content"]
            yield from (message[part] for part in ("thinking", "tool_calls") if message.get(part))
