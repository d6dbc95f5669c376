"""The files of a model folder, and how it is loaded."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipelines.training.methods import ModelClass

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)
"""All files that a model folder may hold, by name pattern."""


def belongs(name: str) -> bool:
    """Whether a file of this name is part of a model."""
    return any(fnmatchcase(name, pattern) for pattern in MODEL_FILES)


def has_weights(folder: Path) -> bool:
    """False for an architecture to be trained from scratch."""
    return any(folder.glob("*.safetensors"))


def load_model(folder: Path, kind: ModelClass, **options: Any) -> Any:
    """The model of a folder: a language model, or a scorer with one output. Only safetensors, no
    code.
    """
    import transformers

    safe = {"trust_remote_code": False, "use_safetensors": True, **options}
    if kind == "language":
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **safe)
    tokenizer = load_tokenizer(folder)
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, pad_token_id=tokenizer.pad_token_id, **safe
    )


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """The tokenizer of a folder; one without a padding token pads with its end-of-text token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented: the same value gives the same bytes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
