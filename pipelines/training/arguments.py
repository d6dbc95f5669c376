"""Checks TRL's arguments without TRL: names and types are in a committed snapshot of its config
classes.

`trainer:` of a stage passes TRL's own argument names. Unknown names are errors with the nearest
name. Names that TRL has dropped are errors with their replacement. Arguments are refused that
control where a run writes, where it reports, or whose code it runs. `python -m
pipelines.training.arguments` writes the snapshot again after an upgrade; its diff shows what the
upgrade changes.
"""

from __future__ import annotations

import functools
import importlib
import json
import operator
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from governance.base.errors import ConfigError, CountersignError, did_you_mean
from pipelines.training.methods import METHODS, Method

SNAPSHOT = Path(__file__).with_name("trl_arguments.json")

GONE = {
    "max_seq_length": "max_length",
    "max_prompt_length": "nothing: prompts are never cut; drop long ones in the quality suite",
    "warmup_ratio": "warmup_steps (below 1 it is a share of all steps)",
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "logging_dir": "nothing: curves are in reports/curves and MLflow",
    "overwrite_output_dir": "nothing: outputs are published whole",
    "save_safetensors": "nothing: models are always safetensors",
    "rpo_alpha": 'loss_type: ["sigmoid", "sft"] and loss_weights',
    "reference_free": "nothing: DPO always has its reference",
    "use_liger_loss": "use_liger_kernel",
    "tokenizer": "nothing: the parent's tokenizer is used",
    "fp16_opt_level": "fp16",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "dataset_text_field_name": "nothing: datasets have their kind's columns",
}
"""Arguments in tutorials that the pinned TRL does not have, and their replacements."""

_LOCAL = "nothing may leave this machine, and no code is loaded with a model"


def _refused(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_OUTPUT = _refused(
    "the stage controls where and when it writes",
    """
    output_dir save_strategy save_steps save_total_limit save_only_model save_on_each_node
    resume_from_checkpoint enable_jit_checkpoint ignore_data_skip
    restore_callback_states_from_checkpoint load_best_model_at_end metric_for_best_model
    greater_is_better do_train do_eval do_predict local_rank include_for_metrics
    batch_eval_metrics prediction_loss_only label_names remove_unused_columns dataset_kwargs
    dataset_text_field generate_during_eval
    """,
)
_REPORTING = _refused(
    "curves are in reports/curves and MLflow; record text is never logged",
    """
    report_to run_name project disable_tqdm log_level log_level_replica log_on_each_node
    log_completions log_completions_hub_repo num_completions_to_print log_multimodal
    log_unique_prompts logging_strategy debug trackio_space_id trackio_bucket_id
    trackio_static_space_id
    """,
)
_REMOTE = _refused(
    _LOCAL,
    """
    push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_always_push
    hub_revision trust_remote_code chat_template_path
    """,
)
_SERVER = _refused(
    "the machine names the server: set COUNTERSIGN_VLLM, and vllm_mode to server",
    """
    vllm_server_base_url vllm_server_host vllm_server_port vllm_group_port vllm_server_timeout
    """,
)
REFUSED = {
    **_OUTPUT,
    **_REPORTING,
    **_REMOTE,
    **_SERVER,
    **_refused("set `seed` of the stage", "seed data_seed"),
    "reward_weights": "set `weight` of each entry of the stage's `rewards`",
    "dataloader_drop_last": "it leaves out records that nothing counts",
    "auto_find_batch_size": (
        "the result would depend on the memory of the machine; set per_device_train_batch_size"
    ),
}
"""Arguments that a stage may not name, and why."""

NESTED_REFUSED = frozenset(
    {"trust_remote_code", "custom_generate", "code_revision", "token", "use_auth_token"}
)
"""Keys refused at any depth of a mapping: they load code or send credentials."""

MODEL_INIT_KEYS = ("dtype", "attn_implementation")
"""Allowed keys of `model_init_kwargs`: how the parent is loaded, never what is loaded."""

HIDDEN = frozenset({*REFUSED, "logging_dir", "deepspeed_plugin", "_n_gpu"}) - {"seed", "data_seed"}
"""Arguments that are not shown: a stage controls them, and none changes what is learned."""


def effective(args: Any) -> dict[str, Any]:
    """The resolved arguments of a trainer that can change its result; those without a value are
    left out.
    """
    resolved: dict[str, Any] = args.to_dict()
    return {
        name: value
        for name, value in sorted(resolved.items())
        if name not in HIDDEN and value is not None and value not in ("", [], {})
    }


Types = list[str]
"""Type names of one argument: bool, int, float, str, dict, list, null, object, or `=value` for a
choice.
"""


def check(
    method: Method, given: dict[str, Any], where: str
) -> tuple[dict[str, Any], list[CountersignError]]:
    """The arguments with converted types (`"2e-3"` is a number), and every mistake."""
    known = fields(method.config)
    converted: dict[str, Any] = {}
    mistakes: list[CountersignError] = []
    for name, value in given.items():
        try:
            _permit(name, value, known, method, f"{where}.{name}")
            converted[name] = _convert(known[name], value, f"{where}.{name}")
        except ConfigError as mistake:
            mistakes.append(mistake)
    return converted, mistakes


def fields(config: str) -> dict[str, Types]:
    """Argument to type names of a config class, from the snapshot."""
    snapshot = _snapshot()
    return {**snapshot["shared"], **snapshot["classes"][config]}


def _permit(name: str, value: Any, known: dict[str, Types], method: Method, where: str) -> None:
    """Raises `ConfigError` for an argument or a value that a stage may not set."""
    if name in REFUSED:
        found = "params.yaml may not set this argument"
        raise ConfigError(found, where=where, fix=REFUSED[name])
    if name not in known:
        found = f"{method.name} has no such argument"
        raise ConfigError(found, where=where, fix=_suggestion(name, known))
    if name == "model_init_kwargs":
        foreign = sorted(set(value or {}) - set(MODEL_INIT_KEYS))
        if foreign:
            expected = f"only {', '.join(MODEL_INIT_KEYS)}"
            raise ConfigError(", ".join(foreign), where=where, expected=expected)
    nested = list(_nested(value))
    if refused := sorted({key for key, _ in nested} & NESTED_REFUSED):
        found = f"{', '.join(refused)} is not accepted"
        raise ConfigError(found, where=where, fix=_LOCAL)
    if any(isinstance(member, str) and "/" in member for _, member in nested):
        found = "paths and repository names are not accepted here"
        raise ConfigError(found, where=where, fix=_LOCAL)


def _suggestion(name: str, known: dict[str, Types]) -> str:
    if name in GONE:
        return f"TRL has dropped it; use {GONE[name]}"
    if near := did_you_mean(name, [field for field in known if field not in REFUSED]):
        return near
    others = [method.name for method in METHODS.values() if name in fields(method.config)]
    if others:
        return f"it is an argument of {', '.join(others)}"
    return "see TRL's documentation of this method's config"


def _nested(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of a value and of everything in it."""
    yield key, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _nested(member, str(name))
    elif isinstance(value, list):
        for member in value:
            yield from _nested(member)


_PYTHON: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "dict": dict[str, Any],
    "list": list[Any],
    "null": None,
}


def _convert(names: Types, value: Any, where: str) -> Any:
    """The value in one of these types. Raises `ConfigError`."""
    types = [name for name in names if name != "object"]
    expected = " or ".join(name.removeprefix("=") for name in types)
    if isinstance(value, bool) and not {"bool", "=False"} & set(names):
        raise ConfigError(f"{value}", where=where, expected=expected)
    options = [Literal[name[1:]] if name.startswith("=") else _PYTHON[name] for name in types]
    union: Any = functools.reduce(operator.or_, options)
    adapter: TypeAdapter[Any] = TypeAdapter(union, config=ConfigDict(allow_inf_nan=False))
    try:
        return adapter.validate_python(value)
    except ValidationError:
        raise ConfigError(repr(value)[:80], where=where, expected=expected) from None


@functools.cache
def _snapshot() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return loaded


# --- the snapshot, from the installed TRL ---------------------------------------------------------


def snapshot() -> dict[str, Any]:
    """The snapshot of the installed TRL's config classes. Imports TRL."""
    configs = sorted({method.config for method in METHODS.values()})
    classes = {config: _describe(load(config)) for config in configs}
    shared = {
        name: types
        for name, types in classes[configs[0]].items()
        if all(arguments.get(name) == types for arguments in classes.values())
    }
    for arguments in classes.values():
        for name in shared:
            del arguments[name]
    return {"shared": shared, "classes": classes}


def load(reference: str) -> Any:
    """The object that `module:Name` stands for."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _describe(config: Any) -> dict[str, Types]:
    import dataclasses
    import typing

    hints = typing.get_type_hints(config)
    return {
        name: _type_names(hints[name])
        for name in sorted(field.name for field in dataclasses.fields(config))
    }


def _type_names(hint: Any) -> Types:
    if get_origin(hint) in (Union, types.UnionType):
        names = sorted({name for option in get_args(hint) for name in _type_names(option)})
        # `str` beside an enum is one of its values, and beside a mapping the path of a file:
        # neither is free text
        free = not any(
            (name.startswith("=") and name != "=False") or name == "dict" for name in names
        )
        return [name for name in names if free or name != "str"]
    if get_origin(hint) is Literal:
        return [f"={value}" for value in get_args(hint)]
    base = get_origin(hint) or hint
    if isinstance(base, type) and issubclass(base, Enum):
        return [f"={member.value}" for member in base]
    plain = {str: "str", bool: "bool", int: "int", float: "float", dict: "dict", list: "list"}
    plain |= {tuple: "list", type(None): "null"}
    return [plain.get(base, "object")]


def render(value: dict[str, Any]) -> str:
    """The snapshot as JSON text with one argument a line, so that a diff shows what an upgrade
    changes.
    """
    groups = {"shared": value["shared"], **value["classes"]}
    text = {
        name: ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(types)}" for key, types in group.items()
        )
        for name, group in groups.items()
    }
    classes = ",\n".join(f" {json.dumps(name)}: {{\n{text[name]}\n }}" for name in value["classes"])
    return f'{{"classes": {{\n{classes}\n}},\n"shared": {{\n{text["shared"]}\n}}}}\n'


if __name__ == "__main__":
    SNAPSHOT.write_text(render(snapshot()), encoding="utf-8")
