"""QLoRA (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314): the parent's weights are held in
4 bits while an adapter is trained on them.

Only the training sees quantised weights. The released model is the parent in its own precision,
merged with the adapter, and that model is evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.base.distribution import pip_install
from governance.base.errors import TrainingError

PACKAGE = "bitsandbytes"
OPTIONS = ("quantize", "double_quantize", "compute_dtype")
"""The options of `lora` that are not PEFT's."""
COMPUTE_DTYPE = "bfloat16"
"""The paper's, section 4."""


def quantizes(lora: Mapping[str, Any] | None) -> bool:
    """Whether the parent's weights are quantised."""
    return bool(lora and lora.get("quantize"))


def without(lora: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are PEFT's."""
    return {name: value for name, value in lora.items() if name not in OPTIONS}


def loading(lora: Mapping[str, Any]) -> Any:
    """How transformers loads the parent: a `BitsAndBytesConfig`. Raises `TrainingError` if this
    machine cannot quantise.
    """
    import torch
    from transformers import BitsAndBytesConfig

    require_able("cuda" if torch.cuda.is_available() else "cpu")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=lora["quantize"],
        bnb_4bit_use_double_quant=bool(lora.get("double_quantize")),
        bnb_4bit_compute_dtype=getattr(torch, lora.get("compute_dtype") or COMPUTE_DTYPE),
    )


def keep_whole_layers(model: Any) -> None:
    """Makes layers that are trained whole, such as the head of a reward model, 32-bit floats again:
    TRL makes them 16-bit with the adapter, and without mixed precision they cannot read the rest.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and "modules_to_save" in name:
            weight.data = weight.data.float()


def require_able(device: str) -> None:
    """Raises `TrainingError` unless bitsandbytes is here and can quantise on `device`: it has
    compiled code for some platforms only, and says so late and at length.
    """
    import torch

    expected = f"{PACKAGE}, for this platform and device"
    try:
        from bitsandbytes.functional import quantize_4bit

        quantize_4bit(torch.ones(64, device=device), quant_type="nf4")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != PACKAGE:
            raise
        found = "`quantize` needs bitsandbytes, which is not installed"
        fix = f"{pip_install('qlora')}, or train without `quantize`"
        raise TrainingError(found, expected=expected, fix=fix) from None
    except (ImportError, OSError, RuntimeError, AttributeError, NotImplementedError) as error:
        found = f"bitsandbytes cannot quantise on {device} here: {type(error).__name__}"
        fix = "train without `quantize`, or on a machine with an NVIDIA GPU"
        raise TrainingError(found, expected=expected, fix=fix) from None
