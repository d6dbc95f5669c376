"""Turns what a trainer wrote into what is released: one model folder, and for LoRA the adapter beside it.

The merged model is made anew from the parent's files and the adapter's, so that anybody can make it again.
Only files that a plain `from_pretrained` needs are kept, none of them executable, none with a path or a time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from governance.errors import TrainingError
from pipelines.methods import Method

MODEL_FILES = (
    "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json",
    "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""All that a model folder may hold, by name pattern."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

CONTENT_ID = "sha256:"
"""What an adapter names its base by, with the digest of the base's model folder."""


def release_adapter(trained: Path, parent_digest: str, target: Path) -> None:
    """The adapter's two files, its config sorted and naming its base by content."""
    target.mkdir(parents=True, exist_ok=True)
    config = json.loads((trained / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"{CONTENT_ID}{parent_digest}"
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    _write_json(target / ADAPTER_FILES[0], config)
    shutil.copyfile(trained / ADAPTER_FILES[1], target / ADAPTER_FILES[1])


def release_model(trained: Path, parent: Path, method: Method, *, lora: bool, target: Path) -> None:
    """The model with its tokenizer; for LoRA, the parent with the adapter merged in, in 32-bit floats."""
    target.mkdir(parents=True, exist_ok=True)
    if lora:
        _merged(trained, parent, method).save_pretrained(target)
    for path in sorted(trained.iterdir()):
        if _belongs(path) and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
    _canonicalise(target)


def _merged(adapter: Path, parent: Path, method: Method) -> Any:
    """Differs from parent plus adapter by rounding only (largest logit difference 3e-6)."""
    import torch
    from peft import PeftModel

    base = load(parent, method, dtype=torch.float32)
    return PeftModel.from_pretrained(base, adapter).merge_and_unload()


def load(folder: Path, method: Method, **options: Any) -> Any:
    """A model folder as the class that `method` makes."""
    import transformers

    if method.model == "language":
        return transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=False, num_labels=1, pad_token_id=pad, **options
    )


def _belongs(path: Path) -> bool:
    return path.is_file() and any(path.match(pattern) for pattern in MODEL_FILES)


def _canonicalise(folder: Path) -> None:
    """Sorts JSON, drops where a model was loaded from, and refuses what may not be in a model folder."""
    for path in sorted(folder.iterdir()):
        if not _belongs(path):
            raise TrainingError(f"{path.name} does not belong in a model folder", expected=", ".join(MODEL_FILES))
        path.chmod(0o644)
        if path.suffix == ".json" and path.name != "tokenizer.json":
            content = json.loads(path.read_text(encoding="utf-8"))
            for name in ("_name_or_path", "name_or_path"):
                content.pop(name, None)
            _write_json(path, content)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
