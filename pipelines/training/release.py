"""Makes the released files from the trainer's output: one model folder, and for LoRA the adapter
beside it.

The merged model is made from the parent's files and the adapter's, so that anybody can make it
again. Only files that a plain `from_pretrained` needs are kept: no code, no paths, no times.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from governance.base.errors import TrainingError
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import MODEL_FILES, belongs, load_model, write_json

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

CONTENT_ID = "sha256:"
"""The name of an adapter's base, with the digest of the base's model folder."""

PLACES = ("_name_or_path", "name_or_path", "use_cache")
"""Configuration keys that describe where and how a model was trained, not what it is."""


def release_adapter(trained: Path, parent_digest: str, target: Path) -> None:
    """Writes the adapter's two files; its sorted config names the base by digest."""
    target.mkdir(parents=True, exist_ok=True)
    config = json.loads((trained / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"{CONTENT_ID}{parent_digest}"
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(member, str) for member in value):
            config[name] = sorted(value)
    write_json(target / ADAPTER_FILES[0], config)
    shutil.copyfile(trained / ADAPTER_FILES[1], target / ADAPTER_FILES[1])


def release_model(
    trained: Path, parent: Path, kind: ModelClass, *, lora: bool, target: Path
) -> None:
    """Writes the model with its tokenizer, in the parent's precision; for LoRA, the parent merged
    with the adapter.
    """
    target.mkdir(parents=True, exist_ok=True)
    precision = _precision(parent)
    if lora:
        _merged(trained, parent, kind).to(precision).save_pretrained(target)
    elif _precision(trained) != precision:
        load_model(trained, kind, dtype=precision).save_pretrained(target)
    for path in sorted(trained.iterdir()):
        if path.is_file() and belongs(path.name) and not (target / path.name).exists():
            shutil.copyfile(path, target / path.name)
    _canonicalise(target)


def _merged(adapter: Path, parent: Path, kind: ModelClass) -> Any:
    """Computed in 32-bit floats. Differs from parent plus adapter by rounding only (largest logit
    difference 3e-6), and from a parent that was quantised in training by that, too.
    """
    import torch
    from peft import PeftModel

    base = load_model(parent, kind, dtype=torch.float32)
    return PeftModel.from_pretrained(base, adapter).merge_and_unload()


def _precision(folder: Path) -> Any:
    """The type that most of a model's weights have; 32-bit floats where it has none."""
    import torch
    from safetensors import safe_open

    sizes: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                part = file.get_slice(name)
                sizes[part.get_dtype()] += prod(part.get_shape())
    known = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    return known.get(max(sizes, key=sizes.__getitem__, default="F32"), torch.float32)


def _canonicalise(folder: Path) -> None:
    """Sorts JSON, removes training details, and refuses files that may not be in a model folder."""
    for path in sorted(folder.iterdir()):
        if not belongs(path.name):
            found = f"{path.name} does not belong in a model folder"
            raise TrainingError(found, expected=", ".join(MODEL_FILES))
        path.chmod(0o644)
        if path.name in ("config.json", "generation_config.json", "tokenizer_config.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {name: value for name, value in content.items() if name not in PLACES})
