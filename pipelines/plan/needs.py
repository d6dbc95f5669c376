"""Estimates of the memory and disk space that training stages need. They are for planning: a
measured run may need more or less.

Sizes follow from a model's configuration and the stage's arguments, in float32:

    memory = 4 bytes x (weights, reference, scorer) + 12 bytes x trained weights + activations
    disk   = 4 bytes x weights x 3 + 8 bytes x trained weights

1. 12 bytes: a gradient, and both moments of Adam (https://arxiv.org/abs/1412.6980).
2. Activations of a layer: 2 x batch x length x hidden x (34 + 5 x heads x length / hidden) bytes,
   twice the figure for 16 bits in https://arxiv.org/abs/2205.05198, equation 2; and three times the
   logits, 4 bytes each.
3. On disk: the model here, in DVC's cache and as a checkpoint, which holds both moments as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import paths
from pipelines.architectures import builtin
from pipelines.params import Params, Stage
from pipelines.training.methods import method
from pipelines.training.objective import uses_scorer

FLOAT = 4
QUANTISED = 0.6
"""Bytes of a weight in 4 bits, with its share of a constant for each 64 weights."""
BATCH, LENGTH = 8, 1024
"""TRL's defaults of `per_device_train_batch_size` and `max_length`."""
REFERENCES = frozenset({"dpo", "kto", "grpo", "ppo", "rloo"})
"""Methods that keep the parent beside the trained model. With LoRA, both share the weights."""
PAIRS = frozenset({"reward", "dpo", "orpo"})
"""Methods whose batch has two answers for each record."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder-only model: see `transformers.LlamaConfig`."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_value: int
    """Width of all key heads together."""
    inner: int
    tied: bool
    width: int
    """Width of all query heads together."""

    @property
    def parameters(self) -> int:
        """How many weights it has. Attention and a gated MLP in each layer; biases are left out."""
        attention = 2 * self.hidden * (self.width + self.key_value)
        layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def adapter(self, rank: int) -> int:
        """How many weights LoRA of this rank trains, on all linear layers."""
        widths = 2 * (2 * self.hidden + self.width + self.key_value)
        return self.layers * rank * (widths + 3 * (self.hidden + self.inner))


@dataclass(frozen=True)
class Need:
    """What one training stage is estimated to need, in bytes."""

    stage: str
    parameters: int
    memory: int
    disk: int


@dataclass(frozen=True)
class Room:
    """What is free here, in bytes."""

    memory: int
    disk: int


def shape(root: Path, params: Params, name: str) -> Shape | None:
    """The shape of a stage's or base's model, from the base it began with; None where that is not
    here yet or has another kind of configuration.
    """
    while name in params.stages:
        name = params.stages[name].parent
    source = builtin.place(params.bases[name].source, root)
    places = [root / paths.model(name) / "model" / "config.json", source / "config.json", source]
    for place in places:
        if place.is_file():
            return _read(place)
    return None


def _read(path: Path) -> Shape | None:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        width = int(config.get("head_dim") or hidden // heads)
        return Shape(
            vocabulary=int(config["vocab_size"]),
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            key_value=width * int(config.get("num_key_value_heads") or heads),
            inner=int(config["intermediate_size"]),
            tied=bool(config.get("tie_word_embeddings")),
            width=width * heads,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None


def needs(root: Path, params: Params, stages: Collection[str]) -> Iterator[Need]:
    """The needs of the training stages among `stages`, as far as they can be estimated."""
    for stage in stages:
        family, _, key = stage.partition("@")
        if family == "train" and (found := shape(root, params, key)) is not None:
            yield _need(
                stage, params.stages[key], found, shape(root, params, params.stages[key].scorer)
            )


def _need(name: str, stage: Stage, model: Shape, scorer: Shape | None) -> Need:
    weights = model.parameters
    trained = model.adapter(stage.lora.r) if stage.lora else weights
    held = weights + (weights if stage.method in REFERENCES and not stage.lora else 0)
    held += scorer.parameters if scorer and uses_scorer(stage) else 0
    critic = weights if method(stage.method).critic else 0  # at most; with LoRA it is trained whole
    held, trained = held + critic, trained + critic
    memory = FLOAT * held + 3 * FLOAT * trained + _activations(stage, model)
    if stage.lora and stage.lora.quantize:  # but it is merged with the adapter in 32-bit floats
        memory = max(memory - int((FLOAT - QUANTISED) * weights), FLOAT * weights)
    return Need(name, weights, memory, 3 * FLOAT * weights + 2 * FLOAT * trained)


def _activations(stage: Stage, model: Shape) -> int:
    arguments = {**method(stage.method).defaults, **stage.trainer}
    length = arguments.get("max_length") or LENGTH
    batch = arguments.get("per_device_train_batch_size") or BATCH
    batch = int(batch) * (2 if stage.method in PAIRS else 1)
    length = int(length)
    layer = 2 * batch * length * (34 * model.hidden + 5 * model.heads * length)
    return model.layers * layer + 3 * FLOAT * batch * length * model.vocabulary


def room(root: Path) -> Room:
    """What is free on this machine and, where a container limits it, in this container. The memory
    of accelerators is not read.
    """
    import psutil

    memory = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii")
        memory = memory if limit == "max" else min(memory, int(limit) - int(used))
    except (OSError, ValueError):
        pass
    return Room(memory, shutil.disk_usage(root).free)
