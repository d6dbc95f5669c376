"""Runs one TRL trainer from a plan: the only module that imports TRL.

It knows nothing of gates, evidence or the registry. It runs in the stage's own process. If the
machine names a launcher (`COUNTERSIGN_LAUNCH`, e.g. `torchrun --nproc_per_node 2`), `main` runs in
each of the launcher's processes, which are isolated as the stage is.

1. Seed and thread count are set before anything is built.
2. Models are loaded by path, never passed in memory, because TRL reloads its reference from that
   path.
3. The training fails unless `accelerate` does what was requested.
4. A killed training continues from its last complete checkpoint and gives the same bits.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from governance.attest.predicates import RecordUse, Selected
from governance.attest.predicates.training import Looks
from governance.base.errors import ConfigError, CountersignError, StorageError, TrainingError
from governance.base.storage import disk_failure
from governance.gates.records import record_limits
from pipelines import isolation
from pipelines.failures import StoppedError, records_refused
from pipelines.kinds import TOOLS, TURNS
from pipelines.optional import OF_TRAINING, hidden
from pipelines.training import (
    arguments,
    callbacks,
    chat,
    divergence,
    engines,
    looks,
    quantization,
    rewards,
    selection,
    stopping,
    tool_files,
    tool_loop,
    usage,
    vllm,
)
from pipelines.training.callbacks import Listener
from pipelines.training.dataset import dataset, extra_names, parts_of
from pipelines.training.finite import POSITION, Watch
from pipelines.training.methods import METHODS, Method
from pipelines.training.objective import Objective
from pipelines.training.plan import (
    ARGUMENTS,
    FAILURE,
    PARENT,
    SIGNALS,
    Fitted,
    LaunchedError,
    Plan,
)

LOGGED_SHARE = 0.05
"""Share of the steps after which signals are logged, unless `logging_steps` is set."""


def fit(plan: Plan, listener: Listener) -> Fitted:
    """Trains and writes `work/trained`. Raises `TrainingError` or `ConfigError`."""
    unused = () if quantization.quantizes(plan.objective.lora) else OF_TRAINING
    with hidden(unused):
        return _fit(plan, listener)


def _fit(plan: Plan, listener: Listener) -> Fitted:
    _settle(plan.objective)
    method = METHODS[plan.objective.method]
    try:
        generation = _generation(plan)
        trainer, use, thinking = _trainer(plan, method, listener)
        Watch(f"train@{plan.stage}", method.signals, partial(_places, plan)).attach(trainer)
        require_requested(trainer.accelerator, plan.objective.processes, os.environ)
        require_precision(trainer.accelerator.mixed_precision, trainer.args)
        if method.rewards:
            where, needed = f"params.yaml: stages.{plan.stage}", "kl_above" in plan.objective.stop
            divergence.attach(trainer, where, needed=needed)
        use = _confirmed(plan, trainer, use)
        _write_arguments(plan, trainer)
        ends = [stopping.stopping(plan.objective.stop)]
        if rule := plan.objective.stop_suite:
            ends.append(looks.looking(plan, rule, trainer, listener))
        for callback in ends:
            trainer.add_callback(callback)
        resume = _last_checkpoint(plan, trainer.accelerator)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        fitted = _finish(plan, method, trainer, use, thinking, ends)
        return fitted.model_copy(update={"generation": generation})
    except CountersignError:
        raise
    except tool_files.ToolStopped as stopped:
        raise stopped.error from None
    except Exception as error:
        raise translated(error, plan) from error


def _settle(objective: Objective) -> None:
    """(1)"""
    import datasets
    import torch
    import transformers

    torch.set_num_threads(objective.threads)
    transformers.set_seed(objective.seed)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for vendor in ("trl", "accelerate", "peft"):
        logging.getLogger(vendor).setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    datasets.disable_caching()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)


def _generation(plan: Plan) -> dict[str, str]:
    """What generates, where that is vLLM. Raises `ConfigError`, `OfflineError`."""
    given, where = plan.objective.trainer, f"params.yaml: stages.{plan.stage}"
    if not given.get("use_vllm"):
        return {}
    if mistake := next(engines.missing([engines.OF_ARGUMENTS["use_vllm"]], where), None):
        raise mistake
    if not vllm.uses_server(given):
        return vllm.colocated()
    from pipelines.training.modelfolder import load_tokenizer

    return vllm.asked(vllm.address(os.environ, where), load_tokenizer(plan.parent))


def _trainer(
    plan: Plan, method: Method, listener: Listener
) -> tuple[Any, dict[str, RecordUse], str]:
    """The trainer with the records that can be used, what became of the others, and where the
    template puts what the assistant thought.
    """
    from transformers import PrinterCallback

    tables = _tables(plan, method)
    tokenizer = _tokenizer(plan, method, tables[0])
    tables = _without_tools(plan, tables)
    parts, extra = _parts(tables), extra_names(tables[0])
    form = _form(plan, method, tokenizer, parts)
    train, validation = (table and dataset(table, parts, extra, form) for table in tables)
    args = _config(plan, method, evaluates=validation is not None)
    train, used = _usable(train, tokenizer, method, args)
    use = {"train": used}
    if validation is not None:
        validation, use["validation"] = _usable(validation, tokenizer, method, args)
    for split, counts in use.items():
        _require_records(plan, split, counts, args)
    more = _functions(plan, method, tokenizer, extra)
    if lora := plan.objective.lora:
        more["peft_config"] = _lora(lora, method)
        if quantization.quantizes(lora):
            loading = {"quantization_config": quantization.loading(lora)}
            args.model_init_kwargs = {**(args.model_init_kwargs or {}), **loading}
    trainer = arguments.load(method.trainer)(
        model=_model(plan, method, tokenizer),
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        callbacks=[callbacks.watching(listener, method.signals)],
        **more,
    )
    if quantization.quantizes(plan.objective.lora):
        quantization.keep_whole_layers(trainer.model)
    trainer.remove_callback(PrinterCallback)
    grain = _grain(trainer.args)
    if select := plan.objective.select:
        selection.require_resumable(select, grain, f"params.yaml: stages.{plan.stage}")
    if plan.objective.stop:
        grain = math.lcm(grain, int(trainer.args.logging_steps))
    trainer.add_callback(callbacks.checkpointing(grain, plan.checkpoint_seconds))
    return trainer, use, (form.thinking or "content") if chat.THINKING in parts else ""


def _functions(plan: Plan, method: Method, tokenizer: Any, extra: Sequence[str]) -> dict[str, Any]:
    """The arguments of a trainer that learns from rewards: functions, tools, the critic's body."""
    more: dict[str, Any] = {}
    if method.rewards:
        # where calls are read, TRL divides what the model thought from its answer
        opened = chat.opens_thinking(tokenizer) and not plan.objective.tools
        more["reward_funcs"] = _rewards(plan, extra, opened=opened)
    if tools := plan.objective.tools:
        tool_loop.prepare(tokenizer)
        more["tools"] = tool_files.load(tools.functions)
    if method.critic:
        more["critic"] = str(_critic_body(plan))
    return more


def _usable(records: Any, tokenizer: Any, method: Method, args: Any) -> tuple[Any, RecordUse]:
    """The records from which the method can learn, in order."""
    kept, use = usage.measure(records, tokenizer, method, args)
    usable = records if use.used == use.offered else records.select(kept)
    return (usable.remove_columns(TURNS) if TURNS in usable.column_names else usable), use


def _confirmed(plan: Plan, trainer: Any, use: dict[str, RecordUse]) -> dict[str, RecordUse]:
    """The counts, compared with the records that the trainer has; and their limits. Packing joins
    records, so there they cannot be compared.
    """
    if not getattr(trainer.args, "packing", False):
        method, kept = METHODS[plan.objective.method], len(trainer.train_dataset)
        kept -= usage.unfinished(method, trainer.args, kept)
        use = {**use, "train": usage.without(use["train"], kept)}
        _require_records(plan, "train", use["train"], trainer.args)
    if plan.limits and (findings := record_limits(f"stage train@{plan.stage}", use, plan.limits)):
        raise records_refused(f"train@{plan.stage}", findings, use["train"])
    return use


def _require_records(plan: Plan, split: str, use: RecordUse, args: Any) -> None:
    """Raises `TrainingError` unless a record of the split is left."""
    if use.used:
        return
    if set(use.dropped) <= {"NO_ROOM", "TOO_LONG", usage.OTHER}:
        limit = getattr(args, "max_length", None)
        found = (
            f"all {use.offered} records of the split {split} are too long for max_length {limit}"
        )
        raise TrainingError(found, where=f"params.yaml: stages.{plan.stage}.trainer.max_length")
    reasons = ", ".join(f"{reason} {count}" for reason, count in use.dropped.items())
    found = f"none of {use.offered} records of the split {split} can be used: {reasons}"
    raise TrainingError(found, where=f"params.yaml: stages.{plan.stage}.data")


def _tables(plan: Plan, method: Method) -> tuple[Any, Any]:
    """The training split, and the validation split if it exists and the trainer evaluates."""
    from pipelines.shards import open_records

    train = _table(_tables_of(plan), method.columns, "train")
    if train is None:
        found, expected = "there are no records to train on", "a record in the split `train`"
        raise TrainingError(found, where=str(plan.records), expected=expected)
    is_evaluated = plan.objective.trainer.get("eval_strategy", "no") != "no"
    if not is_evaluated and plan.objective.select is None:
        return train, None
    validation = _table(open_records(plan.records).tables(), method.columns, "validation")
    if validation is None and plan.objective.select is not None:
        found, expected = "there is nothing to select on", "a record in the split `validation`"
        raise TrainingError(found, where=str(plan.records), expected=expected)
    return train, validation


def _tables_of(plan: Plan, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """The records, then the canaries."""
    from pipelines.shards import open_records

    for folder in (plan.records, plan.planted):
        if folder is not None:
            yield from open_records(folder).tables(columns)


def _table(stored: Iterable[Any], columns: tuple[str, ...], split: str) -> Any:
    import pyarrow as pa

    from pipelines.shards import of_split

    # Each shard is filtered and copied by itself, so that only one is held twice. A memory-mapped
    # file would make TRL write its tokens, which are the records' text, to temporary files.
    tables = (of_split(table, split) for table in stored)
    parts = [table.select(list(columns)).combine_chunks() for table in tables if table.num_rows]
    if not parts:
        return None
    part = pa.concat_tables(parts).replace_schema_metadata(None)
    if split == "train":
        part = part.append_column(POSITION, pa.array(range(part.num_rows), pa.int64()))
    return part


def _parts(tables: Sequence[Any]) -> frozenset[str]:
    """What records of a split have beside role and content."""
    return frozenset().union(*(parts_of(table) for table in tables if table))


def _without_tools(plan: Plan, tables: tuple[Any, Any]) -> tuple[Any, Any]:
    """The tables of a training with tools, of which the trainer tells the model by itself. Raises
    `ConfigError` where records name others.
    """
    if (tools := plan.objective.tools) is None:
        return tables
    for table in tables:
        texts = table[TOOLS].drop_null().unique().to_pylist() if table else []
        for text in texts:
            tool_files.require_named(text, tools.functions, f"stages.{plan.stage}.tools")
    train, validation = (table and table.drop_columns([TOOLS]) for table in tables)
    return train, validation


def _form(plan: Plan, method: Method, tokenizer: Any, parts: frozenset[str]) -> chat.Form:
    """How the model's template takes the messages. Raises `TrainingError` or `InputError` where a
    part of the records would be lost.
    """
    where = f"params.yaml: stages.{plan.stage}.data"
    if TOOLS in parts and not method.tools:
        found = f"the records have tools, which the trainer of {method.name} leaves out"
        able = ", ".join(sorted(name for name, each in METHODS.items() if each.tools))
        raise TrainingError(found, where=where, expected=f"records without tools, or {able}")
    return chat.form_of(tokenizer, parts, where)


def _places(plan: Plan, positions: Sequence[int]) -> list[str]:
    """FILE:ROW in the source, of records of the training split."""
    import pyarrow as pa

    from pipelines.shards import of_split

    tables = _tables_of(plan, ["split", "file", "row"])
    part = pa.concat_tables([of_split(table, "train") for table in tables]).take(positions)
    return [f"{row['file']}:{row['row']}" for row in part.to_pylist()]


def _tokenizer(plan: Plan, method: Method, train: Any) -> Any:
    from pipelines.training import tokenizer
    from pipelines.training.modelfolder import load_tokenizer

    if method.from_scratch:
        rows = (row for chunk in train["messages"].iterchunks() for row in chunk.to_pylist())
        return tokenizer.train({"messages": rows}, tokenizer.vocabulary_limit(plan.parent))
    loaded = load_tokenizer(plan.parent)
    if not loaded.chat_template:
        loaded.chat_template = tokenizer.chat_template()
    if method.rewards:
        loaded.padding_side = loaded.truncation_side = "left"
    return loaded


def _model(plan: Plan, method: Method, tokenizer: Any) -> Any:
    """(2) The parent's path, or a new model with random weights, for which no method needs a
    reference.
    """
    if not method.from_scratch:
        return str(plan.parent)
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(plan.parent, trust_remote_code=False)
    config.vocab_size = len(tokenizer)
    config.bos_token_id = None
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    return AutoModelForCausalLM.from_config(config)


def _rewards(plan: Plan, extra: Sequence[str], *, opened: bool) -> list[Any]:
    """The reward functions in order. The scorer is its path, which TRL loads."""
    take = partial(rewards.for_trainer, extra=extra, opened=opened)
    functions: list[Any] = []
    for reward in plan.objective.rewards:
        if reward.name == rewards.SCORER:
            functions.append(str(plan.scorer))
        else:
            functions.append(take(reward.name, reward.options, reward.source))
    return functions


def _critic_body(plan: Plan) -> Path:
    """The reward model if it scores, else the parent."""
    scored = any(reward.name == rewards.SCORER for reward in plan.objective.rewards)
    return plan.scorer if scored and plan.scorer else plan.parent


def _lora(lora: dict[str, Any], method: Method) -> Any:
    from peft import LoraConfig

    scorer = method.model == "scorer"
    return LoraConfig(
        **quantization.without(lora),
        task_type="SEQ_CLS" if scorer else "CAUSAL_LM",
        modules_to_save=["score"] if scorer else None,
    )


def _config(plan: Plan, method: Method, *, evaluates: bool) -> Any:
    """The trainer's configuration: the objective's arguments, and those that params.yaml may not
    set.
    """
    import torch

    given = plan.objective.trainer
    ours: dict[str, Any] = {
        "output_dir": str(_checkpoints(plan)),
        "seed": plan.objective.seed,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "save_total_limit": 2,
        "logging_nan_inf_filter": False,
        "logging_steps": given.get("logging_steps", 1 if plan.objective.stop else LOGGED_SHARE),
    }
    if plan.objective.select is not None:
        ours |= selection.arguments(plan.objective.select)
    if not evaluates:
        ours["eval_strategy"] = "no"
    if vllm.uses_server(given):
        where = f"params.yaml: stages.{plan.stage}"
        ours["vllm_server_base_url"] = vllm.address(os.environ, where)
    if tools := plan.objective.tools:
        ours["max_tool_calling_iterations"] = tools.rounds
    if method.rewards:
        ours["reward_weights"] = [reward.weight for reward in plan.objective.rewards]
    if not torch.cuda.is_available() or given.get("use_cpu"):
        ours |= {name: False for name in ("bf16", "gradient_checkpointing") if name not in given}
        ours |= {"use_cpu": True, "dataloader_pin_memory": False}
    try:
        return arguments.load(method.config)(**{**given, **ours})
    except (ValueError, TypeError) as error:
        where = f"params.yaml: stages.{plan.stage}.trainer"
        raise ConfigError(_first_line(error), where=where) from None


def _grain(args: Any) -> int:
    """Steps between two points where a resumed run is equal: GRPO and RLOO keep a batch for several
    steps.
    """
    steps = getattr(args, "steps_per_generation", 1) or 1
    return int(steps) * int(getattr(args, "num_iterations", 1) or 1)


def require_requested(accelerator: Any, processes: int, environ: Mapping[str, str]) -> None:
    """(3) Raises `TrainingError` unless accelerate does what was requested, with the number of
    processes that the objective names.

    On CPU it silently ignores FSDP, DeepSpeed and its own process count.
    """
    kind, device = str(accelerator.distributed_type).rpartition(".")[2], accelerator.device.type
    variables = {"FSDP": "ACCELERATE_USE_FSDP", "DEEPSPEED": "ACCELERATE_USE_DEEPSPEED"}
    for name, variable in variables.items():
        requested = environ.get(variable, "false").lower() == "true"
        if requested and (kind != name or device == "cpu"):
            found = f"{name} was requested but {kind} on {device} would run"
            fix = "use a machine with GPUs, or launch with `torchrun`, which also works on CPU"
            raise TrainingError(found, expected=f"{name} on GPUs", fix=fix)
    if accelerator.num_processes != processes:
        found = f"{accelerator.num_processes} processes would train"
        expected = f"{processes}, as `processes` of the stage says"
        fix = (
            f"start {processes} with COUNTERSIGN_LAUNCH (on CPU: `torchrun --nproc_per_node"
            f" {processes}`), or change `processes`: the batch of a step depends on it"
        )
        raise TrainingError(found, expected=expected, fix=fix)


def require_precision(precision: str, args: Any) -> None:
    """(3) Raises `TrainingError` if the environment sets a precision that the objective does not
    ask for.

    If the arguments set none, accelerate uses ACCELERATE_MIXED_PRECISION, which `accelerate launch`
    sets.
    """
    objective = next((name for name in ("bf16", "fp16") if getattr(args, name)), "no")
    if precision not in ("no", objective):
        found = f"mixed precision {precision} would be used, but the objective has {objective}"
        where = "ACCELERATE_MIXED_PRECISION, or the launcher's configuration"
        fix = f"set trainer: {{{precision}: true}} in params.yaml, as part of the objective"
        raise TrainingError(found, where=where, expected=objective, fix=fix)


def _write_arguments(plan: Plan, trainer: Any) -> None:
    """What the training runs with, all defaults resolved."""
    if not trainer.accelerator.is_main_process:
        return
    parameters = list(trainer.model.parameters())
    shown = {f"trainer.{name}": value for name, value in arguments.effective(trainer.args).items()}
    shown |= {
        "model.parameters": sum(tensor.numel() for tensor in parameters),
        "model.trainable": sum(tensor.numel() for tensor in parameters if tensor.requires_grad),
        "device": trainer.accelerator.device.type,
        "processes": trainer.accelerator.num_processes,
    }
    text = json.dumps(shown, default=str)
    (plan.work / ARGUMENTS).write_text(text, encoding="utf-8")


def _finish(
    plan: Plan,
    method: Method,
    trainer: Any,
    use: dict[str, RecordUse],
    thinking: str,
    ends: Sequence[Any],
) -> Fitted:
    trained = plan.work / "trained"
    _save_whole(trainer, trained)
    history: dict[int, dict[str, float]] = {}
    for line in trainer.state.log_history:
        if signals := callbacks.signals_of(line, method.signals):
            history.setdefault(int(line["step"]), {"step": float(line["step"])}).update(signals)
    accelerator = trainer.accelerator
    fitted = Fitted(
        steps=trainer.state.global_step,
        use=_reached(method, trainer, use),
        device=accelerator.device.type,
        cuda=_cuda(accelerator.device.type),
        processes=accelerator.num_processes,
        history=list(history.values()),
        thinking=thinking,
        stopped=next((end.found for end in ends if end.found is not None), None),
        selected=_selected(plan, trainer),
        looks=_looks(plan, trainer, ends),
    )
    if accelerator.is_main_process:
        if plan.objective.tools:
            _restore_form(trainer.processing_class, _tokenizer(plan, method, None))
        trainer.processing_class.save_pretrained(trained)
        (plan.work / "fitted.json").write_text(fitted.model_dump_json(), encoding="utf-8")
    accelerator.wait_for_everyone()
    return fitted


def _selected(plan: Plan, trainer: Any) -> Selected | None:
    if (select := plan.objective.select) is None:
        return None
    return selection.selected(select, trainer, f"params.yaml: stages.{plan.stage}")


def _restore_form(tokenizer: Any, parents: Any) -> None:
    """What `tool_loop.prepare` changed for the training is no part of the model."""
    tokenizer.chat_template = parents.chat_template
    tokenizer.response_template = getattr(parents, "response_template", None)


def _looks(plan: Plan, trainer: Any, ends: Sequence[Any]) -> Looks | None:
    if (rule := plan.objective.stop_suite) is None:
        return None
    return looks.looks(rule, trainer.state.log_history, ends[-1].items)


def _save_whole(trainer: Any, folder: Path) -> None:
    """Saves the model as one, also where each process holds a shard of it. Raises `TrainingError`
    where the launcher's configuration does not permit that.
    """
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(folder))
    if trainer.accelerator.is_main_process and not any(folder.glob("*.safetensors")):
        found = "the trainer saved no whole model"
        fix = "with DeepSpeed stage 3, set stage3_gather_16bit_weights_on_model_save: true"
        raise TrainingError(found, where="the launcher's configuration", fix=fix)


def _cuda(device: str) -> str:
    import torch

    return (torch.version.cuda or "") if device == "cuda" else ""


def _reached(method: Method, trainer: Any, use: dict[str, RecordUse]) -> dict[str, RecordUse]:
    """The counts, with how many records the training reached where it ended before its first pass
    did.
    """
    train, steps, rows = use["train"], trainer.state.global_step, len(trainer.train_dataset)
    processes = trainer.accelerator.num_processes
    seen = usage.seen(method, trainer.args, steps, rows, train.used, processes)
    return use if seen is None else {**use, "train": train.model_copy(update={"seen": seen})}


def translated(error: Exception, plan: Plan) -> CountersignError:
    """Translates a vendor's exception. Only the first line is kept, because the rest may quote
    records.
    """
    if failure := disk_failure(error):
        return StorageError(failure.found, where=failure.where or str(plan.work), fix=failure.fix)
    quotes = type(error).__module__.partition(".")[0] in QUOTING
    found = type(error).__name__ if quotes else f"{type(error).__name__}: {_first_line(error)}"
    fix = next((fix for part, fix in KNOWN.items() if part in found), "nothing was published")
    return TrainingError(found, where=f"params.yaml: stages.{plan.stage}", fix=fix)


QUOTING = frozenset({"jinja2", "pyarrow"})
"""Packages whose errors quote their input: only the type of such an error is shown."""

KNOWN = {
    "TemplateError": "the parent's chat template refuses the roles of a record, or their order",
    "not training-compatible": (
        "set trainer: {assistant_only_loss: false}, so that it learns from whole conversations"
    ),
    "DataParallel": (
        "set COUNTERSIGN_LAUNCH, e.g. `torchrun --nproc_per_node 4`, or CUDA_VISIBLE_DEVICES to"
        " one GPU"
    ),
    "out of memory": (
        "lower per_device_train_batch_size and raise gradient_accumulation_steps, or use lora"
    ),
}
"""Part of a vendor's message to the next step."""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


def _checkpoints(plan: Plan) -> Path:
    folder = plan.work / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _last_checkpoint(plan: Plan, accelerator: Any) -> Path | None:
    """Where a killed training goes on. The first process looks, for all: it removes what is
    incomplete.
    """
    found = [callbacks.last_checkpoint(_checkpoints(plan)) if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(found)
    return found[0]


def main() -> None:
    """Runs a plan in one of a launcher's processes. The first error is written to the plan's work
    folder: the others follow from it, e.g. because a process ended.
    """
    plan = Plan.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    threading.Thread(target=_end_with, args=(os.environ[PARENT],), daemon=True).start()
    try:
        isolation.require_isolated(os.environ)
        fit(plan, _writer(plan))
    except CountersignError as error:
        stopped = error.stopped if isinstance(error, StoppedError) else None
        failure = LaunchedError(text=str(error), exit_code=error.exit_code, stopped=stopped)
        with suppress(FileExistsError), (plan.work / FAILURE).open("x", encoding="utf-8") as file:
            file.write(failure.model_dump_json())
        sys.exit(error.exit_code)


def _writer(plan: Plan) -> Listener:
    """A listener that writes signals for the stage that launched this process; only in the first of
    its processes.
    """
    is_first = os.environ.get("RANK", "0") == "0"

    def write(step: int, steps: int, signals: Mapping[str, float]) -> None:
        if is_first:
            with (plan.work / SIGNALS).open("a", encoding="utf-8") as file:
                file.write(json.dumps([step, steps, dict(signals)]) + "\n")

    return write


def _end_with(stage: str) -> None:
    """Ends this process when the stage that launched it ends; on another node, when the launcher's
    process there does.
    """
    pid, _, host = stage.partition("@")
    parent = int(pid) if host == socket.gethostname() else os.getppid()
    while True:
        try:
            os.kill(parent, 0)
        except OSError:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
