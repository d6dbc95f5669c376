"""The verifying loader: the model that an alias serves, from bytes that were hashed after they
could change.

    from pipelines.loader import load
    served = load("models:/support-desk@champion")
    served.model, served.tokenizer, served.version

It stands here, and not in `governance`, because it imports transformers: the trust core stays free
of it. What it may load, and from where, `governance.release.serving` decides; this module only
turns a verified private copy into a model.

1. The name is resolved by the log. 2. The files are copied into a folder of this process's own. 3.
   The copy is held
against the registered manifest. 4. Exactly the copy is loaded: safetensors, no remote code, nothing
from the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from governance.machine.machine import Machine, machine_of
from governance.release.promotion import state
from governance.release.serving import Served, private_copy, resolve, serving_log, where
from pipelines.training.modelfolder import load_model, load_tokenizer

OPTIONS = frozenset({"dtype", "device_map", "max_memory", "attn_implementation"})
"""Of `from_pretrained`: where and in which precision the same weights stand."""


@dataclass(frozen=True)
class Loaded:
    """A model and its tokenizer, and what the log says of them."""

    model: Any
    tokenizer: Any
    served: Served

    @property
    def version(self) -> str:
        """MODEL/VERSION"""
        return self.served.name

    @property
    def sha256(self) -> str:
        """Of the model folder's manifest: what was decided on."""
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
    """The model of `MODEL@ALIAS` or `MODEL/VERSION` (`models:/` may stand before). Raises
    `VerificationError`.

    The project is the one at `root` (the working folder), or on `machine`. `origin` pins the log:
    its entry 0, or the id of its checkpoint key. `folder` says where the files are, where the
    registry is not asked; `scratch` where the copy stands meanwhile. `options` go to transformers'
    `from_pretrained` (`OPTIONS`).
    """
    _refuse(options)
    here = machine or machine_of(root or Path.cwd(), os.environ)
    served = resolve(state(serving_log(here, origin)), name)
    with private_copy(served, folder or where(here, served), scratch) as copy:
        return from_copy(served, copy, scorer=scorer, **options)


def from_copy(served: Served, copy: Path, *, scorer: bool = False, **options: Any) -> Loaded:
    """(4) The model of a private copy that was verified
    (`governance.release.serving.private_copy`), and of nothing else.
    """
    _refuse(options)
    with _offline():
        model = load_model(
            copy, "scorer" if scorer else "language", local_files_only=True, **options
        )
        return Loaded(_settled(model), load_tokenizer(copy, local_files_only=True), served)


def _refuse(options: dict[str, Any]) -> None:
    """An allow list: other options of transformers can load something else than the verified bytes,
    or run code.
    """
    refused = sorted(options.keys() - OPTIONS)
    if refused or "/" in str(options.get("attn_implementation")):
        raise ConfigError(
            f"load() takes no {', '.join(refused) or 'attention from the Hub'}",
            where="governed loading",
            expected=f"none but {', '.join(sorted(OPTIONS))}",
        )


def _settled(model: Any) -> Any:
    """With every weight in memory of its own: one still mapped from the copy would change with
    it.
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()
    return model.eval()


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing is fetched meanwhile, whatever a configuration asks for."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
