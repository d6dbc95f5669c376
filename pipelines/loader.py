"""The verifying loader: loads the model that an alias serves, from a private copy that was
verified.

    from pipelines.loader import load
    served = load("models:/support-desk@champion")
    served.model, served.tokenizer, served.version

It is here, not in `governance`, because it imports transformers and the trust core does not.
`governance.release.serving` decides what may be loaded and from where. This module turns the
verified copy into a model.

1. The log resolves the name. The decisions that lead to the alias are repeated.
2. The files are copied into a folder of this process.
3. The copy is compared with the registered manifest.
4. Exactly this copy is loaded: safetensors, no remote code, no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from governance.history.state import state
from governance.machine.machine import Machine, machine_of
from governance.machine.trust import own_policies
from governance.release.serving import (
    Served,
    check_registry,
    private_copy,
    resolve,
    serving_log,
    where,
)
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import load_model, load_tokenizer

OPTIONS = frozenset({"dtype", "device_map", "max_memory", "attn_implementation"})
"""Options of `from_pretrained` that set device and precision, not the weights."""


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer, and its entry in the log."""

    model: Any
    tokenizer: Any
    served: Served

    @property
    def version(self) -> str:
        """MODEL/VERSION"""
        return self.served.name

    @property
    def sha256(self) -> str:
        """Digest of the model folder's manifest: what was decided on."""
        return self.served.registration.model_digest


def load(
    name: str,
    *,
    root: Path | None = None,
    machine: Machine | None = None,
    origin: str | None = None,
    folder: Path | None = None,
    scratch: Path | None = None,
    scorer: bool = False,
    **options: Any,
) -> Loaded:
    """The model of `MODEL@ALIAS` or `MODEL/VERSION` (with or without `models:/`). Raises
    `VerificationError`.

    The project is at `root` (the working folder) or on `machine`. `origin` pins the log: its entry
    0, or the id of its checkpoint key. `folder` holds the files if the registry is not used.
    `scratch` holds the temporary copy. `options` are those of transformers' `from_pretrained`
    (`OPTIONS`).
    """
    _refuse(options)
    folder_here = root or Path.cwd()
    here = machine or machine_of(folder_here, os.environ)
    log = serving_log(here, datetime.now(UTC), own_policies(folder_here), origin)
    served = resolve(state(log), name)
    check_registry(log, here, served)
    with private_copy(served, folder or where(here, served), scratch) as copy:
        return from_copy(served, copy, scorer=scorer, **options)


def from_copy(served: Served, copy: Path, *, scorer: bool = False, **options: Any) -> Loaded:
    """(4) The model of a verified private copy (`governance.release.serving.private_copy`), and of
    nothing else.
    """
    _refuse(options)
    with _offline():
        kind: ModelClass = "scorer" if scorer else "language"
        model = load_model(copy, kind, local_files_only=True, **options)
        return Loaded(_settled(model), load_tokenizer(copy, local_files_only=True), served)


def _refuse(options: dict[str, Any]) -> None:
    """Allows only `OPTIONS`: other options of transformers can load other bytes or run code."""
    refused = sorted(options.keys() - OPTIONS)
    if refused or "/" in str(options.get("attn_implementation")):
        found = f"load() takes no {', '.join(refused) or 'attention from the Hub'}"
        expected = f"none but {', '.join(sorted(OPTIONS))}"
        raise ConfigError(found, where="governed loading", expected=expected)


def _settled(model: Any) -> Any:
    """Copies every weight to memory: one mapped from the file would change with it."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()
    return model.eval()


@contextmanager
def _offline() -> Iterator[None]:
    """Blocks downloads while the model loads, whatever its configuration names."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
