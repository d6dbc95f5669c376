"""The verifying loader: loads the model that an alias serves, from a private copy that was
verified.

    from pipelines.loader import load
    served = load("models:/support-desk@champion")
    served.model, served.tokenizer, served.version

It is here, not in `governance`, because it imports transformers and the trust core does not.
`governance.release.serving` decides what may be loaded and from where. This module turns the
verified copy into a model.

1. The log resolves the name. The decisions that lead to the alias are repeated. Where policy stops
   serving a version whose periodic review has lapsed, it is refused. Where policy says who may read
   the model, that is asked and recorded.
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
from governance.history.state import LogState, state
from governance.log import evidence
from governance.log.http_client import PURPOSE
from governance.machine.machine import Machine, log_to_add_to, machine_of, signer
from governance.machine.signers import person_signer
from governance.machine.trust import own_policies
from governance.people.speaking import KEY
from governance.policy.policies import Policies
from governance.release.reading import Reading, Rights, admit
from governance.release.serving import (
    Served,
    check_registry,
    content_of,
    private_copy,
    resolve,
    reviewed,
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
    purpose: str = "",
    **options: Any,
) -> Loaded:
    """The model of `MODEL@ALIAS` or `MODEL/VERSION` (with or without `models:/`). Raises
    `VerificationError`.

    The project is at `root` (the working folder) or on `machine`. `origin` pins the log: its entry
    0, or the id of its checkpoint key. `folder` holds the files if the registry is not used.
    `scratch` holds the temporary copy. `options` are those of transformers' `from_pretrained`
    (`OPTIONS`).

    Raises `RefusedError` where the periodic review of the version has lapsed and policy then stops
    serving it. Where the review is only overdue, `served.served.review` says so.

    Where policy says who may read the model, the key of COUNTERSIGN_KEY, else the machine's, needs
    the right, and the log records the read with its `purpose`. Raises `RefusedError` without it.
    """
    _refuse(options)
    folder_here = root or Path.cwd()
    here = machine or machine_of(folder_here, os.environ)
    own, at = own_policies(folder_here), datetime.now(UTC)
    log = serving_log(here, at, own, origin)
    now = state(log)
    served = reviewed(now, resolve(now, name), at)
    check_registry(log, here, served)
    _admit(now, own, here, served, purpose, at)
    with private_copy(served, folder or where(here, served), scratch) as copy:
        return from_copy(served, copy, scorer=scorer, **options)


def _admit(
    now: LogState, own: Policies | None, here: Machine, served: Served, purpose: str, at: datetime
) -> None:
    """(1) Records the read, before any file is copied. Raises as `reading.admit`."""
    rights = Rights(now.authority, own)
    if not rights.restricted:
        return
    address = here.environ.get(KEY)
    key = person_signer(address, here.environ, None) if address else signer(here)
    is_development = key.public_pem in evidence.origin(now.log).development_keys
    said = purpose or here.environ.get(PURPOSE, "")
    reading = Reading(key, is_development, "load", said, here.requester, at)
    admit(rights, reading, [content_of(now, served)], lambda: log_to_add_to(here))


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
