"""Trains one stage if, and only if, its gate allows it on exactly these bytes.

1. The gate decides again from evidence, in its enforcing form, before torch is imported.
2. Training reads the inputs that were hashed and decided on. They are hashed again afterwards: if a
   file changed, nothing is published.
3. The registry shows the run while it lasts, and its failure. The statement in the log is the
   evidence.
4. What is published holds no time, path or run id: the same inputs give the same bytes.
"""

from __future__ import annotations

import csv
import filecmp
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.attest import canonical, digests
from governance.attest.predicates.training import Canaries, Compute, ToolUse
from governance.base.errors import CountersignError, TrainingError
from governance.registry.port import DatasetLink, LoggedModel, RunRequest
from pipelines import energy, lock, paths
from pipelines.failures import unchanged
from pipelines.families import StageFamily, mistakes_of
from pipelines.finite_weights import require_finite_weights
from pipelines.job import Input, Job, Outcome, Output, require_unchanged
from pipelines.model_class import require_language
from pipelines.params import Params
from pipelines.shown import opened, registry, request
from pipelines.stages import gate
from pipelines.training import divergence, engines, launch, objective, release
from pipelines.training.methods import Method, method
from pipelines.training.modelfolder import write_json
from pipelines.training.objective import Objective
from pipelines.training.plan import Fitted, Plan
from pipelines.training.stopping import SIGNALS

if TYPE_CHECKING:
    from governance.attest.predicates import RecordUse
    from governance.attest.requests import Decision
    from governance.registry.runs import LiveRun
    from pipelines.project import Project
    from pipelines.training.callbacks import Listener


EQUAL_REWARDS = "frac_reward_zero_std"
"""TRL's name of the share of groups whose answers all got the same reward."""


CALLS, FAILURES = "tools/call_frequency", "tools/failure_frequency"
"""TRL's names of calls per answer, and of the share of them that failed."""


def inputs(params: Params, key: str) -> list[Input]:
    """The gate's decision and everything it decided on."""
    stage = params.stages[key]
    files = [
        Input("gate", paths.gate(key)),
        Input("data", paths.ready(stage.data) / paths.RECORDS),
        Input("parent", paths.model(stage.parent) / "model"),
    ]
    if objective.uses_scorer(stage):
        files.append(Input("scorer", paths.model(stage.scorer) / "model"))
    return files


def outputs(params: Params, key: str) -> list[Output]:
    """models/STAGE (model, for LoRA the adapter, training.json), and the curves."""
    folder = paths.model(key)
    files = [
        Output("model", folder / "model"),
        Output("training", folder / "training.json"),
        Output("curves", paths.curves(key)),
    ]
    if params.stages[key].lora:
        files.append(Output("adapter", folder / "adapter"))
    return files


def run(job: Job) -> Outcome:
    """Trains and writes model, adapter, curves and figures."""
    train_only_if_allowed(job)
    parent = job.params.stages[job.key].parent
    require_language(job, parent, "parent", f"params.yaml: stages.{job.key}.parent")
    resolved = objective.resolve(job.params, job.key)
    chosen = method(resolved.method)
    require_settled(os.environ, resolved.threads)
    with _shown(job, resolved) as (run, listener):
        fitted, final, compute = measured(job, resolved, listener)
        used = detail(compute)
        run.metrics(fitted.steps, figures(compute))
        model = digests.tree_digest(job.output("model"))
        run.made(LoggedModel(job.key, model, objective.describe(resolved)))
    adapter = digests.tree_digest(job.output("adapter")) if resolved.lora else None
    return Outcome(
        predicate={
            "method": resolved.method,
            "objective": resolved.digest,
            "records": fitted.records,
            "use": fitted.use,
            "steps": fitted.steps,
            "final": final,
            "device": fitted.device,
            "threads": resolved.threads,
            "adapter": adapter,
            "equal_rewards": _equal_rewards(fitted),
            **({"curve": divergence.curve(fitted.history)} if chosen.rewards else {}),
            **_ended(fitted),
            **_tools(resolved, fitted),
            **_canaries(job, resolved),
        },
        parameters=parameters(resolved, fitted),
        detail={
            **used,
            **launcher(job.machine.environ),
            **registry(run),
        },
        engines=optional_engines(resolved),
        summary=_summary(resolved, fitted, final),
    )


def _ended(fitted: Fitted) -> dict[str, Any]:
    """At which step it ended or was selected, where that is not the last one; and by what."""
    said: dict[str, Any]
    said = {"stopped": fitted.stopped, "selected": fitted.selected, "looks": fitted.looks}
    return {name: each for name, each in said.items() if each is not None}


def _tools(resolved: Objective, fitted: Fitted) -> dict[str, ToolUse]:
    """The tools, and what became of calls, over the logged steps."""
    if resolved.tools is None:
        return {}
    lines = [line for line in fitted.history if CALLS in line]
    calls = sum(line[CALLS] for line in lines)
    failed = sum(line[CALLS] * line[FAILURES] for line in lines)
    use = ToolUse(
        functions=resolved.tools.functions,
        calls=calls / len(lines) if lines else 0.0,
        failed=failed / calls if calls else 0.0,
    )
    return {"tools": use}


def _canaries(job: Job, resolved: Objective) -> dict[str, Canaries]:
    """What is stated of the canaries that were planted."""
    if resolved.canaries is None:
        return {}
    from pipelines.leaks import canaries  # its imports take pyarrow
    from pipelines.record_ids import load_key

    key, kind = load_key(job.root, job.params.records), method(resolved.method).kind
    stated = canaries.stated(key, job.key, resolved.canaries, resolved.method, kind)
    return {"canaries": stated}


def _plant(job: Job, plan: Plan) -> None:
    """Writes the canaries that join the records."""
    settings, chosen = plan.objective.canaries, method(plan.objective.method)
    if settings is None or plan.planted is None:
        return
    from pipelines.leaks import canaries
    from pipelines.record_ids import load_key

    key = load_key(job.root, job.params.records)
    shutil.rmtree(plan.planted, ignore_errors=True)
    canaries.write(plan.planted, key, job.key, settings, chosen.name, chosen.kind)


def _summary(resolved: Objective, fitted: Fitted, final: dict[str, float | None]) -> str:
    signals = [f"{name} {value:.4g}" for name, value in final.items() if value is not None]
    records = f"{fitted.records} records{_lost(fitted.use['train'])}"
    steps = f"{fitted.steps} steps{_early(fitted)}{_chosen(fitted)}"
    return f"{steps} on {records}; {', '.join(signals[:3])}"


def _chosen(fitted: Fitted) -> str:
    """Which step's model it is, in words; empty for the last one's."""
    if (best := fitted.selected) is None:
        return ""
    return f" (the model of step {best.step}: {best.metric} {best.value:.4g})"


def _early(fitted: Fitted) -> str:
    """Why the training ended early, in words; empty if it did not."""
    if (stop := fitted.stopped) is None:
        return ""
    signal = stop.metric or SIGNALS[stop.rule]
    side = stop.rule.rpartition("_")[2]
    return f" of {stop.planned} ({signal} {stop.found:.4g} is {side} the limit {stop.limit:g})"


def perform(
    job: Job, resolved: Objective, listener: Listener
) -> tuple[Fitted, dict[str, float | None]]:
    """The training itself, from the job's inputs to its outputs, without asking a gate. Returns the
    last value of each signal too.
    """
    plan, chosen = _plan(job, resolved), method(resolved.method)
    _plant(job, plan)
    fitted = launch.run(plan, listener, job.machine.environ)
    require_unchanged(job)
    job.progress.step("writing the model")
    _release(job, plan, chosen)
    require_finite_weights(job.output("model"), f"train@{job.key}", fitted.steps)
    if _same_weights(job.input("parent"), job.output("model")):
        raise unchanged(f"train@{job.key}", fitted.steps)
    _write_figures(job, resolved, chosen, fitted)
    return fitted, _final(chosen, fitted)


def _same_weights(parent: Path, model: Path) -> bool:
    """Whether two models have the same weight files."""
    names = [{path.name for path in folder.glob("*.safetensors")} for folder in (parent, model)]
    return names[0] == names[1] and all(
        filecmp.cmp(parent / name, model / name, shallow=False) for name in names[0]
    )


def parameters(resolved: Objective, fitted: Fitted) -> dict[str, Any]:
    """The parameters with all defaults filled in."""
    return {
        **resolved.model_dump(mode="json"),
        "processes": fitted.processes,
        **({"cuda": fitted.cuda} if fitted.cuda else {}),
        **({"thinking": fitted.thinking} if fitted.thinking else {}),
        **({"generation": fitted.generation} if fitted.generation else {}),
    }


def measured(
    job: Job, resolved: Objective, listener: Listener
) -> tuple[Fitted, dict[str, float | None], Compute]:
    """Performs the training, and measures what it used of its machine."""
    began = time.monotonic()
    with energy.here() as meter:
        fitted, final = perform(job, resolved, listener)
    hours = (time.monotonic() - began) * fitted.processes / 3600
    rules = job.policies.rules.training if job.policies else None
    found = meter.used(fitted.device, fitted.processes)
    compute = Compute(
        device_hours=round(hours, 6),
        devices=fitted.processes,
        training_seconds=round(hours * 3600 / fitted.processes, 3),
        energy_joules=found.joules,
        energy_counters=found.counters,
        energy_not_measured=found.not_measured,
        cost=rules.cost(fitted.device, hours) if rules else None,
    )
    return fitted, final, compute


def detail(compute: Compute) -> dict[str, Any]:
    """Figures for `run.detail`: what was used, and the memory of this process by now."""
    return {**compute.model_dump(mode="json"), "peak_rss_bytes": peak_rss()}


def figures(compute: Compute) -> dict[str, float]:
    """What the registry shows of time, energy and cost."""
    shown = {"device_hours": compute.device_hours}
    if compute.energy_joules is not None:
        shown["energy_joules"] = compute.energy_joules
    if compute.cost is not None:
        shown[f"cost_{compute.cost.currency.lower()}"] = compute.cost.millionths / 1e6
    return shown


def launcher(environ: Mapping[str, str]) -> dict[str, str]:
    """The machine's launcher, if it names one: a program that nothing here checks."""
    command = environ.get(launch.LAUNCH, "").strip()
    return {"launcher": command} if command else {}


def optional_engines(resolved: Objective) -> dict[str, str]:
    """The engines that this objective uses beside those of every training, with their versions."""
    return engines.versions(engines.used(resolved.lora, resolved.trainer))


def train_only_if_allowed(job: Job) -> Decision:
    """(1) Raises `RefusedError` unless the gate allows training on the digests of `job.inputs`."""
    return gate.enforce_gate(job)


def require_settled(environ: Mapping[str, str], threads: int) -> None:
    """Raises `TrainingError` unless the process was started with the settings that results depend
    on.
    """
    settings = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    wrong = [name for name, value in settings.items() if environ.get(name) != value]
    if wrong:
        found = ", ".join(f"{name}={environ.get(name, '')}" for name in wrong)
        expected = ", ".join(f"{name}={value}" for name, value in settings.items())
        fix = "use `countersign stage train STAGE`, which sets them"
        raise TrainingError(f"started with {found}", expected=expected, fix=fix)


def peak_rss() -> int:
    """Peak resident memory of this process and its children, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return unit * max(resource.getrusage(process).ru_maxrss for process in processes)


def _plan(job: Job, resolved: Objective) -> Plan:
    """The work folder. Another objective, other inputs or other engines have another folder, so
    their work is never resumed.
    """
    inputs = {role: artifact.sha256 for role, artifact in job.inputs.items()}
    code = lock.installed("train").code
    versions = {**lock.engines("train"), **optional_engines(resolved)}
    identity = [resolved.digest, code, versions, inputs]
    work = job.scratch / digests.sha256_bytes(canonical.dumps(identity))[:16]
    work.mkdir(parents=True, exist_ok=True)
    return Plan(
        stage=job.key,
        objective=resolved,
        parent=job.input("parent"),
        scorer=job.input("scorer") if "scorer" in job.inputs else None,
        records=job.input("data"),
        planted=work / "canaries" if resolved.canaries else None,
        work=work,
        limits=job.policies.rules.training if job.policies else None,
    )


@contextmanager
def _shown(job: Job, resolved: Objective) -> Iterator[tuple[LiveRun, Listener]]:
    """(3) Opens the run in the registry; yields a listener that feeds it and the terminal."""
    with ExitStack() as stack:
        run = stack.enter_context(opened(job).run(_request(job, resolved), system=True))
        draw = stack.enter_context(drawn(job, resolved))
        settings = launch.arguments_file(_plan(job, resolved))
        settings.unlink(missing_ok=True)
        is_told = False

        def listener(step: int, steps: int, signals: Mapping[str, float]) -> None:
            nonlocal is_told
            if not is_told:
                is_told = True
                run.params(_effective(settings, resolved))
            if signals:
                run.metrics(step, signals)
            draw(step, steps, signals)

        yield run, listener


def _effective(settings: Path, resolved: Objective) -> dict[str, Any]:
    """The arguments that the objective leaves to TRL, as the trainer resolved them."""
    known = objective.describe(resolved)
    try:
        found = json.loads(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in found.items() if name not in known}


@contextmanager
def drawn(job: Job, resolved: Objective) -> Iterator[Listener]:
    """A listener that feeds the terminal."""
    with ExitStack() as stack:
        bar, done = None, 0

        def listener(step: int, steps: int, signals: Mapping[str, float]) -> None:
            nonlocal bar, done
            if bar is None:
                bar = stack.enter_context(job.progress.bar(steps, f"training {job.key}"))
            if step > done:
                bar.advance(step - done, f"loss {signals['loss']:.3f}" if "loss" in signals else "")
                done = step

        job.progress.step(f"training {job.key} by {resolved.method}")
        yield listener


def _request(job: Job, resolved: Objective) -> RunRequest:
    from pipelines.shards import open_records

    stage, rows = job.params.stages[job.key], len(open_records(job.input("data")))
    tags = {"pipeline.objective": resolved.digest}
    scores = job.root / paths.evaluation(stage.parent) / "scores.jsonl"
    if scores.exists():
        tags["pipeline.parent_evaluation"] = digests.sha256_file(scores)
    data = DatasetLink(stage.data, job.inputs["data"].sha256, "training", rows)
    return request(job, objective.describe(resolved), tags, [data])


def _release(job: Job, plan: Plan, chosen: Method) -> None:
    trained, lora = plan.work / "trained", plan.objective.lora is not None
    release.release_model(trained, plan.parent, chosen.model, lora=lora, target=job.output("model"))
    if lora:
        release.release_adapter(trained, job.inputs["parent"].sha256, job.output("adapter"))


def _lost(use: RecordUse) -> str:
    """The records that are not used as they are, in words; empty if there are none."""
    parts = [f"{use.truncated} cut to max_length"] if use.truncated else []
    if use.dropped:
        reasons = ", ".join(f"{reason} {count}" for reason, count in use.dropped.items())
        parts.append(f"{sum(use.dropped.values())} of {use.offered} left out: {reasons}")
    if use.seen is not None:
        parts.append(f"{use.seen} of {use.used} reached before the last step")
    return f" ({'; '.join(parts)})" if parts else ""


def _write_figures(job: Job, resolved: Objective, chosen: Method, fitted: Fitted) -> None:
    used = {
        role: {"name": artifact.name, "sha256": artifact.sha256}
        for role, artifact in job.inputs.items()
        if role != "gate"
    }
    content: dict[str, Any] = {
        "stage": job.key,
        "method": resolved.method,
        "objective": resolved.digest,
        "inputs": used,
        "records": fitted.records,
        "use": {split: use.model_dump() for split, use in fitted.use.items()},
        "steps": fitted.steps,
        "final": _final(chosen, fitted),
        **{name: each.model_dump() for name, each in _ended(fitted).items()},
    }
    write_json(job.output("training"), content)
    names = list(dict.fromkeys(name for line in fitted.history for name in line if name != "step"))
    names.sort(key=chosen.signals[0].__eq__)  # the last column is the one that `dvc plots` draws
    with job.output("curves").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.DictWriter(stream, ["step", *names], lineterminator="\n")
        rows.writeheader()
        rows.writerows({**line, "step": int(line["step"])} for line in fitted.history)


def _final(chosen: Method, fitted: Fitted) -> dict[str, float | None]:
    """The last value of each of the method's signals."""
    return {
        name: next((line[name] for line in reversed(fitted.history) if name in line), None)
        for name in chosen.signals
    }


def _equal_rewards(fitted: Fitted) -> float | None:
    """Mean share of groups without variance of rewards; None of methods that compare no groups."""
    shares = [line[EQUAL_REWARDS] for line in fitted.history if EQUAL_REWARDS in line]
    return sum(shares) / len(shares) if shares else None


def unfit_objectives(project: Project) -> Iterator[CountersignError]:
    """Mistakes in the rows of training stages: method, arguments, rewards, kinds of data."""
    for name in project.params.stages:
        yield from mistakes_of(partial(objective.resolve, project.params, name))


ENGINES = (
    *("torch", "transformers", "trl", "peft", "accelerate"),
    *("tokenizers", "datasets", "safetensors", "numpy"),
)

FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="stages",
    evidence="train",
    engines=ENGINES,
    mistakes=unfit_objectives,
    writes_runs=True,
)
