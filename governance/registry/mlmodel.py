"""The description by which MLflow loads a registered model: `MLmodel`, beside the model's folder.

    artifacts/model/MLmodel                 the description, of the flavor `transformers`
    artifacts/model/model/...               the registered model: its manifest, and nothing else
    artifacts/model/components/tokenizer/   copies of its small files, where MLflow looks for them

1. All of it follows from the registered model: who has the model can write the same bytes.
2. Nothing in it loads code: no flavor `python_function`, which runs a `code/` folder, no pickle,
   and automatic classes of transformers, which MLflow never loads with remote code.
3. It is no part of the model's digest. A governed server takes only exactly these files, and
   `countersign verify` compares them, but MLflow itself verifies nothing when it loads.

Versions of before have the model's files in `artifacts/model` itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from governance.attest import digests
from governance.base.errors import InputError

DESCRIPTION = "MLmodel"
SEALED = "model"
TOKENIZER = "components/tokenizer"
LEFT_BY_MLFLOW = frozenset({"registered_model_meta"})
"""MLflow writes this file where it loads a model from the same machine's disk."""
_CLASSES = {
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "": ("AutoModelForCausalLM", "text-generation"),
}
"""Ending of an architecture's name to the class of transformers that loads it, and its task."""


def sealed_folder(folder: Path) -> Path:
    """The folder of the model itself, within the folder from which a version was registered."""
    return folder / SEALED if (folder / DESCRIPTION).is_file() else folder


def is_loadable(model: Path) -> bool:
    """Whether MLflow can load the model: it has a configuration, a tokenizer and weights."""
    names = {"config.json", "tokenizer_config.json"}
    return all((model / name).is_file() for name in names) and any(model.glob("*.safetensors"))


def description(model: Path, digest: str) -> bytes:
    """The text of `MLmodel` for the model in this folder. JSON is YAML, and has one form here.

    Raises `InputError` where its configuration cannot be read.
    """
    loader, task = _kind(model)
    value = {
        "artifact_path": SEALED,
        "flavors": {
            "transformers": {
                "components": ["tokenizer"],
                "framework": "pt",
                "model_binary": SEALED,
                "pipeline_model_type": loader,
                "task": task,
                "tokenizer_type": "AutoTokenizer",
            }
        },
        "metadata": {
            "countersign.digest": digest,
            "countersign.note": "MLflow verifies nothing when it loads: pipelines.loader does",
        },
        "model_uuid": digest[:32],
    }
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def write_around(model: Path, digest: str, target: Path) -> list[str]:
    """Writes all that stands around a model into the folder `target`. Returns the paths."""
    target.mkdir(parents=True, exist_ok=True)
    (target / DESCRIPTION).write_bytes(description(model, digest))
    copies = _copies(model)
    for name in copies:
        path = target / TOKENIZER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / name, path)
    return [DESCRIPTION, *(f"{TOKENIZER}/{name}" for name in copies)]


def differences(folder: Path, digest: str) -> list[str]:
    """What differs around the model in a version's folder; empty for a version of before."""
    model = sealed_folder(folder)
    if model == folder:
        return []
    if not model.is_dir():
        return [f"{SEALED}: missing"]
    expected = {DESCRIPTION, *(f"{TOKENIZER}/{name}" for name in _copies(model))}
    present = {path for path in digests.paths(folder) if not path.startswith(f"{SEALED}/")}
    found = [f"{path}: missing" for path in sorted(expected - present)]
    found += [
        f"{path}: stands beside the model" for path in sorted(present - expected - LEFT_BY_MLFLOW)
    ]
    if DESCRIPTION in present and (folder / DESCRIPTION).read_bytes() != description(model, digest):
        found.append(f"{DESCRIPTION}: is not the one of this model")
    for path in sorted(expected & present - {DESCRIPTION}):
        own = model / path.removeprefix(f"{TOKENIZER}/")
        if digests.sha256_file(folder / path) != digests.sha256_file(own):
            found.append(f"{path}: is not the model's own")
    return found


def _copies(model: Path) -> list[str]:
    """All files but the weights."""
    weights = (".safetensors", ".safetensors.index.json")
    return sorted(path for path in digests.paths(model) if not path.endswith(weights))


def _kind(model: Path) -> tuple[str, str]:
    try:
        config: Any = json.loads((model / "config.json").read_text(encoding="utf-8"))
        name = str((config.get("architectures") or [""])[0])
    except (OSError, ValueError, AttributeError, RecursionError, TypeError, KeyError) as error:
        found = f"its configuration cannot be read ({type(error).__name__})"
        raise InputError(found, where=f"{model.name}/config.json") from None
    return next(kind for ending, kind in _CLASSES.items() if name.endswith(ending))
