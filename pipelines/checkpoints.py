"""Recognises what trainers leave behind that is no whole model, and says how to make one of it.

Only names of files are read. Each kind has one sentence, so that nobody guesses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import InputError


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint, told by the names at the top of its folder."""

    names: str
    """Pattern of a name that only this kind has."""
    found: str
    fix: str


KINDS = (
    Kind(
        r"model_world_size_\d+_rank_\d+\.pt",
        "shards of a training with verl (FSDP)",
        "python -m verl.model_merger merge --backend fsdp --local_dir THIS --target_dir MODEL",
    ),
    Kind(
        r"zero_to_fp32\.py|global_step\d+|zero_pp_rank_.+|mp_rank_\d+_model_states\.pt",
        "a checkpoint of DeepSpeed",
        "run `python zero_to_fp32.py THIS MODEL --safe_serialization`, then copy config.json and"
        " the tokenizer's files beside the weights",
    ),
    Kind(
        r"latest_checkpointed_iteration\.txt|iter_\d+|mp_rank_\d+(_\d+)*|dist_ckpt",
        "a checkpoint of Megatron",
        "export it with Megatron Bridge (`AutoBridge.export_ckpt`), or from verl with `python -m"
        " verl.model_merger merge --backend megatron --local_dir THIS --target_dir MODEL`",
    ),
    Kind(
        r".+\.distcp|pytorch_model_fsdp_\d+",
        "shards of a distributed checkpoint (FSDP)",
        "run `accelerate merge-weights THIS MODEL`, then copy config.json and the tokenizer's files"
        " beside the weights",
    ),
)
"""In the order in which they are told apart: verl also writes folders that others have."""
ADAPTER = "adapter_config.json"


def require_whole(folder: Path) -> None:
    """Raises `InputError` for a checkpoint that no library loads as one model, and for an adapter
    without its model. A folder that has whole weights, too, is a model.
    """
    names = sorted(path.name for path in folder.iterdir())
    if any(re.fullmatch(r"model.*\.safetensors", name) for name in names):
        return
    for kind in KINDS:
        if any(re.fullmatch(kind.names, name) for name in names):
            raise _refused(folder, kind.found, kind.fix)
    if ADAPTER in names:
        fix = "load it with PEFT, then `merge_and_unload()` and `save_pretrained(MODEL)`"
        raise _refused(folder, "a LoRA adapter without the weights of its model", fix)


def _refused(folder: Path, found: str, fix: str) -> InputError:
    expected = "one model: config.json and safetensors weights"
    return InputError(found, where=str(folder), expected=expected, fix=fix)
