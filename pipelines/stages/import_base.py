"""Imports a model from outside to `models/NAME/model`. The gate decides whether a stage may build
on it.

1. Only configuration, tokenizer and safetensors weights are imported: no pickle, no code.
2. Weights are checked before any library loads them (`governance.models.weights`), and hold no
   number that is not finite.
3. The same source gives the same folder. Policy names it by digest.
4. A model without a chat template gets one, because it is trained and evaluated in conversations.
   The statement says which.

A source is an architecture (`*.json` or `builtin:NAME`: a configuration to train from scratch), a
local folder, a Hugging Face model at a pinned revision (`OWNER/NAME@<40 hex digits>`), which is
downloaded once and cached, or a registered version (`models:/MODEL/VERSION`, see
`pipelines.own_version`), whose files stay as they are.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.attest import canonical
from governance.base.errors import ConfigError, CountersignError, InputError, VerificationError
from governance.base.yaml import place
from governance.models import weights
from governance.models.files import refuse_configs, remote_code
from pipelines import architectures, paths
from pipelines.architectures import builtin
from pipelines.checkpoints import require_whole
from pipelines.failures import not_finite
from pipelines.families import StageFamily
from pipelines.finite_weights import tensors
from pipelines.hub import hub_errors
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Base, Params
from pipelines.training.modelfolder import MODEL_FILES, belongs, has_weights, write_json

if TYPE_CHECKING:
    from pipelines.project import Project


HUB = re.compile(r"(?P<name>[A-Za-z0-9][\w.\-]*/[\w.\-]+)@(?P<revision>[0-9a-f]{40})")

SOURCES = (
    f"an architecture ({', '.join(builtin.names())}, *.json), a folder,"
    " OWNER/NAME@<40 hex digits> of the Hub, or models:/MODEL/VERSION"
)

TEMPLATE = "chat_template.jinja"
OURS = "ours"
"""What the statement names for our own chat template; its text is in the model's folder."""

PICKLES = (
    *(".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"),
    *(".joblib", ".npy", ".npz", ".h5", ".msgpack"),
)
"""File endings of weights that can run code when loaded, or that nothing here loads."""


def inputs(params: Params, key: str) -> list[Input]:
    """The file or folder of the project. A model of the Hub has none: its revision identifies it.
    Nor has a registered version, or an architecture of the package, which is part of this family's
    code.
    """
    row = params.bases[key]
    elsewhere = _is_elsewhere(row) or architectures.is_builtin(row.source)
    files = [] if elsewhere else [Input("source", Path(row.source))]
    return [*files, Input("template", Path(row.chat_template))] if row.chat_template else files


def _is_elsewhere(row: Base) -> bool:
    return row.is_own_version or HUB.fullmatch(row.source) is not None


def outputs(params: Params, key: str) -> list[Output]:
    """models/NAME/model"""
    return [Output("model", paths.model(key) / "model")]


def run(job: Job) -> Outcome:
    """Imports the base."""
    row, target = job.params.bases[job.key], job.output("model")
    if HUB.fullmatch(row.source):
        job.progress.step(f"downloading {row.source}")
    template = ""
    if row.is_own_version:
        from pipelines.own_version import version_files

        target.mkdir(parents=True, exist_ok=True)
        with version_files(row.source, job.root, job.machine, job.now()) as folder:
            take_folder(folder, target)
    else:
        template = take(row, job.root, target, f"params.yaml: bases.{job.key}")
    require_finite(job.name, target)
    files = sorted(path.name for path in target.iterdir())
    return Outcome(
        predicate={
            "source": row.source,
            "files": len(files),
            "weights": has_weights(target),
            **({"chat_template": template} if template else {}),
        },
        parameters=row.model_dump(mode="json", exclude={"suite"}),
        summary=f"{len(files)} files{_about(template, weights=has_weights(target))}",
    )


def require_finite(stage: str, folder: Path) -> None:
    """Raises `StoppedError` for a tensor with NaN, or a weight that is infinite. Buffers beside the
    weights may be infinite: old masks of attention are, and loading leaves them out.
    """
    found = list(tensors(folder))
    wrong = [one.name for one in found if one.nan or (one.infinite and "weight" in one.name)]
    if wrong:
        counts = {"tensors": len(found), "tensors_not_finite": len(wrong)}
        value = f"{len(wrong)} of {len(found)} tensors, the first is {wrong[0]}"
        raise not_finite(stage, "the weights", value, counts=counts)


def _about(template: str, *, weights: bool) -> str:
    if not weights:
        return ", untrained architecture"
    return f", with the chat template {template}" if template else ""


def take(row: Base, root: Path, target: Path, where: str) -> str:
    """Imports a base into the folder `target`. Local paths are relative to `root`. Returns the chat
    template that it was given: a file, or `OURS`; empty if it keeps its own or is an architecture.
    Raises `ConfigError`, `InputError` or `OfflineError`.
    """
    _take(row.source, root, target, f"{where}.source")
    is_bare = not has_weights(target) or has_template(target)
    if row.chat_template is None and is_bare:
        return ""
    template = _template(row, root, where)
    (target / TEMPLATE).write_text(template, encoding="utf-8")
    _refuse_code(target, root / (row.chat_template or TEMPLATE))
    return row.chat_template or OURS


def has_template(folder: Path) -> bool:
    """Whether the tokenizer of a model folder has a chat template."""
    return bool(_tokenizer(folder).get("chat_template")) or (folder / TEMPLATE).exists()


def tokenizer_of(folder: Path) -> str:
    """The class of tokenizer that a model folder names; empty if none."""
    return str(_tokenizer(folder).get("tokenizer_class", ""))


def _tokenizer(folder: Path) -> dict[str, Any]:
    """The tokenizer's settings; empty if there are none. Transformers writes `model_max_length`
    1e30 there, which canonical JSON has not.
    """
    try:
        value = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _template(row: Base, root: Path, where: str) -> str:
    """The text of the file that `row` names, or of ours. Raises `ConfigError`."""
    if row.chat_template is None:
        from pipelines.training.tokenizer import chat_template  # imports pyarrow

        return chat_template()
    try:
        return (root / row.chat_template).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"{row.chat_template}: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        expected = "a Jinja file in UTF-8"
        raise ConfigError(found, where=f"{where}.chat_template", expected=expected) from None


def _take(source: str, root: Path, target: Path, where: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    local = builtin.place(source, root)
    if hub := HUB.fullmatch(source):
        take_folder(_fetched(hub["name"], hub["revision"], where), target)
    elif local.is_dir():
        take_folder(local, target)
    elif architectures.is_architecture(source):
        take_architecture(local, target)
    else:
        raise ConfigError(f"{source!r} is not a source of a model", where=where, expected=SOURCES)


def take_architecture(path: Path, target: Path) -> None:
    """Writes `config.json` from an architecture file. Raises `InputError`."""
    config = _json(path)
    types = {"model_type": str, "vocab_size": int}
    if not all(isinstance(config.get(key), type_) for key, type_ in types.items()):
        expected = "a JSON object with model_type and vocab_size"
        raise InputError("not an architecture", where=str(path), expected=expected)
    write_json(target / "config.json", config)
    _refuse_code(target, path)


def take_folder(folder: Path, target: Path) -> None:
    """Copies the files of a model from `folder`, after (1) and (2). Raises `InputError`, also for a
    checkpoint of a trainer that is no whole model.
    """
    require_whole(folder)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    code = [name for name in names if name.endswith(".py")]
    if code:
        found = f"the model has code: {', '.join(code[:5])}"
        raise InputError(found, where=str(folder), expected="a model without code")
    pickled = [name for name in names if name.endswith(PICKLES) and name != "training_args.bin"]
    if pickled:
        files = ", ".join(pickled[:5])
        found = f"weights in formats that can run code when they are loaded: {files}"
        fix = "save a trusted copy as safetensors (`save_pretrained`), then delete these"
        raise InputError(found, where=str(folder), expected="safetensors only", fix=fix)
    for name in names:
        if belongs(name):
            shutil.copyfile(folder / name, target / name)
    missing = [kind for kind in ("config.json", "*.safetensors") if not list(target.glob(kind))]
    if missing:
        found, expected = f"no {' and no '.join(missing)}", "a model that transformers saved"
        raise InputError(found, where=str(folder), expected=expected)
    try:
        for path in sorted(target.glob("*.safetensors")):
            weights.check_safetensors(path)
        weights.check_index(target)
    except InputError as error:  # the copy was checked; the source must be corrected
        where = str(folder / Path(error.where).relative_to(target))
        raise InputError(error.found, where=where, expected=error.expected, fix=error.fix) from None
    _refuse_code(target, folder)


def _refuse_code(folder: Path, source: Path) -> None:
    """Raises `InputError` for what no registered model may have either."""
    if found := remote_code(folder):
        message = f"{', '.join(found)} names code of its own (auto_map)"
        fix = "use a model of an architecture that transformers has"
        raise InputError(message, where=str(source), fix=fix)
    refuse_configs(folder, str(source))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = canonical.loads(path.read_bytes(), where=str(path))
    except VerificationError as error:
        raise InputError(error.found, where=str(path), expected="a JSON object") from None
    return value if isinstance(value, dict) else {}


def _fetched(name: str, revision: str, where: str) -> Path:
    """The snapshot in Hugging Face's cache, downloaded if it is missing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    with hub_errors(name, revision, where):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(MODEL_FILES)))


def is_there(row: Base, root: Path) -> bool:
    """Whether a source is a file here, an architecture of the package, a model of the Hub at a
    revision, or a registered version.
    """
    if architectures.is_builtin(row.source):
        return row.source in builtin.names()
    return _is_elsewhere(row) or (root / row.source).exists()


def wrong_sources(project: Project) -> Iterator[CountersignError]:
    """Bases whose source is neither here nor named by what never changes, and chat templates for
    registered versions.
    """
    for name, row in project.params.bases.items():
        if row.is_own_version and row.chat_template is not None:
            where = place(project.root / "params.yaml", "bases", name, "chat_template")
            found, fix = "a registered version keeps its chat template", "delete the field"
            yield ConfigError(found, where=where, fix=fix)
        if not is_there(row, project.root):
            found = f"there is no {row.source!r} here"
            where = place(project.root / "params.yaml", "bases", name, "source")
            yield ConfigError(found, where=where, expected=SOURCES)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="bases",
    evidence="base",
    network=True,
    always_runs=True,
    mistakes=wrong_sources,
)
