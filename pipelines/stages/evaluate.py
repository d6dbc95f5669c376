"""Scores the model of a stage or base on its suite, item by item.

Comparison with parent, base and champion is arithmetic on stored scores when a decision or report
is made. The same model, suite, engine versions and thread count give the same scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from governance.attest.predicates import Artifact
from governance.attest.predicates.training import Behaviour, Pairs, ToolUse
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.registry.port import DatasetLink
from pipelines import answers, paths
from pipelines import metrics as suites
from pipelines.failures import not_finite
from pipelines.families import StageFamily, mistakes_of
from pipelines.job import Input, Job, Outcome, Output
from pipelines.metrics import Metric, mean, metrics_of, rows_of, sources, suite_digest
from pipelines.model_class import class_of, declared_class
from pipelines.params import Params, Suite
from pipelines.shown import NoRun, figures, registry, shown_if_possible
from pipelines.slices import read_slices
from pipelines.training import engines, objective
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import has_weights, write_json
from pipelines.training.rewards import SCORER

if TYPE_CHECKING:
    from governance.registry.runs import LiveRun
    from pipelines.measuring import Origin
    from pipelines.project import Project
    from pipelines.scoring import Scorer


NO_WEIGHTS = "untrained starting point; nothing to test"
NO_ANSWERS = "a reward model gives no answers"
NO_PROMPTS = "no record of the suite has a prompt"
NOT_OWN = "behaviour is measured on the model's own suite"


def inputs(params: Params, key: str) -> list[Input]:
    """The model, the suite's records, their slices, and the functions that score them; and what the
    model's behaviour is compared with: its parent, and the reward model of its training.
    """
    suite, stage = params.suite_of(key), params.stages.get(key)
    files = [
        Input("model", paths.model(params.evaluated(key)) / "model"),
        Input("records", paths.ready(suite) / paths.RECORDS),
        Input("slices", paths.ingested(suite) / "slices.jsonl"),
        Input("functions", paths.suite(suite)),
    ]
    if stage is not None and declared_class(params, params.evaluated(key)) == "language":
        files.append(Input("parent", paths.model(stage.parent) / "model"))
        if objective.uses_scorer(stage):
            files.append(Input("scorer", paths.model(stage.scorer) / "model"))
    return files


def outputs(params: Params, key: str) -> list[Output]:
    """Scores by item, their means for `dvc metrics`, and the answers that were scored."""
    model = params.evaluated(key)
    folder = paths.evaluation(key) if model == key else paths.further_evaluation(model, key)
    return [
        Output("scores", folder / "scores.jsonl"),
        Output("metrics", folder / "metrics.json"),
        Output("answers", folder / "answers.jsonl"),
    ]


def run(job: Job) -> Outcome:
    """Scores the model of stage, base or row `job.key`."""
    name = job.params.suite_of(job.key)
    suite = job.params.suites[name]
    where = f"params.yaml: suites.{name}"
    metrics = metrics_of(suite, where)
    kind = class_of(job, job.params.evaluated(job.key), "model")
    digest = suite_digest(suite, job.inputs["records"].sha256)
    require_functions(job, metrics)
    rows = rows_of(job.input("records"), suite, metrics, where)
    not_run = None if has_weights(job.input("model")) else NO_WEIGHTS
    scores: dict[str, list[float | None]] = {}
    made: answers.Answers = {}
    ids = [str(row["id"]) for row in rows]
    model, records = job.inputs["model"], job.inputs["records"]
    slices: dict[str, list[str]] = {}
    behaviour, pairs, tools = Behaviour(not_measured=not_run), None, None
    run: LiveRun | NoRun = NoRun(None)
    if not_run is None:
        data = DatasetLink(name, records.sha256, "evaluation", len(rows))
        parameters = {**suite.model_dump(mode="json"), "suite": name}
        slices = read_slices(job.input("slices"), ids)
        with shown_if_possible(job, parameters, {}, [data], model.sha256) as run:
            scores, behaviour, pairs, made, tools = _scores(job, suite, metrics, kind, rows, where)
            behaved = {f"behaviour/{name}": fmean(v) for name, v in behaviour.measures.items()}
            run.metrics(0, {**figures(scores, slices), **behaved, "items": len(rows)})
    require_functions(job, metrics)
    write_scores(job, ids, scores)
    stored = answers.write(job, ids, made)
    means = {metric: mean(values) for metric, values in scores.items()}
    return Outcome(
        predicate={
            "model": model.sha256,
            "suite": digest,
            "suite_name": name,
            "not_run": not_run,
            "scores": scores,
            "slices": slices,
            "functions": functions_of(metrics),
            "behaviour": behaviour,
            "pairs": pairs,
            "answers": stored,
            **({"tools": tools} if tools else {}),
        },
        parameters={**suite.model_dump(mode="json"), "threads": threads_of(job.params, job.key)},
        detail={"items": len(rows), "means": means, **registry(run)},
        engines=engines.versions(["trl"]) if suite.tools else {},
        subjects=(Artifact(role="scored", name=f"{job.name}/model", sha256=model.sha256),),
        summary=not_run or ", ".join(f"{name} {shown(value)}" for name, value in means.items()),
    )


def functions_of(metrics: list[Metric]) -> dict[str, str]:
    """Metric to the sha256 of the reward function that scores it."""
    known = sources(metrics)
    return {metric.name: known[metric.rule] for metric in metrics if metric.rule}


def require_functions(job: Job, metrics: list[Metric]) -> None:
    """Raises `InputError` unless functions and tools are those of the suite's file."""
    name = job.params.suite_of(job.key)
    path = paths.suite(name)
    found = json.loads(job.input("functions").read_text(encoding="utf-8"))
    if found != suites.functions_of(job.params.suites[name], metrics):
        fix = f"run `countersign repro suite@{path.stem}`"
        raise InputError("it names other functions than are here", where=str(path), fix=fix)


def _scores(
    job: Job,
    suite: Suite,
    metrics: list[Metric],
    kind: ModelClass,
    rows: list[dict[str, Any]],
    where: str,
) -> tuple[dict[str, list[float | None]], Behaviour, Pairs | None, answers.Answers, ToolUse | None]:
    unfit = [metric.name for metric in metrics if metric.model != kind]
    if unfit:
        needed = "a language model" if kind == "scorer" else "a reward model"
        found = f"{', '.join(unfit)} need {needed}, which {job.key} is not"
        fix = f"give {job.key} a suite of its own"
        raise ConfigError(found, where=f"{where}.metrics", fix=fix)
    from pipelines import scoring

    passes = len({metric.needs for metric in metrics})
    with job.progress.bar(len(rows) * passes, f"scoring {job.key}") as bar:
        model, threads = job.input("model"), threads_of(job.params, job.key)
        try:
            scorer = scoring.open_scorer(model, kind, suite, threads, bar)
            scores = scoring.score(scorer, rows, metrics)
            require_finite(job.name, scores, rows)
            tools = scorer.tool_use
            behaviour = _behaviour(job, scorer, metrics, kind, rows)
            return scores, behaviour, _pairs(scorer, rows), scorer.scored, tools
        except scoring.DivergedError as error:
            raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None


def _behaviour(
    job: Job, scorer: Scorer, metrics: list[Metric], kind: ModelClass, rows: list[dict[str, Any]]
) -> Behaviour:
    """How the model behaves, beside its parent."""
    from pipelines import measuring

    if kind != "language":
        return Behaviour(not_measured=NO_ANSWERS)
    lower = [metric.name for metric in metrics if metric.lower_is_better]
    if job.key in job.params.evaluations:
        return Behaviour(not_measured=NOT_OWN, lower_is_better=lower)
    origin = _origin(job)
    measures = measuring.measure(scorer, rows, origin)
    if not measures:
        return Behaviour(not_measured=NO_PROMPTS)
    sources = {reward.name: reward.source for reward in origin.rewards}
    if origin.scorer is not None:
        sources[SCORER] = job.inputs["scorer"].sha256
    return Behaviour(
        measures=measures,
        parent=job.inputs["parent"].sha256 if origin.parent else None,
        rewards=sources if "reward" in measures else {},
        lower_is_better=lower,
    )


def _pairs(scorer: Scorer, rows: list[dict[str, Any]]) -> Pairs | None:
    """How the model ranked the rows that it has scored; None if it ranks none."""
    from pipelines.measuring import DIGITS

    if not scorer.margins:
        return None
    return Pairs(
        margins=[round(margin, DIGITS) for margin in scorer.margins],
        chosen_tokens=scorer.lengths(rows, "chosen"),
        rejected_tokens=scorer.lengths(rows, "rejected"),
    )


def _origin(job: Job) -> Origin:
    """What the model was trained from and with, as far as it can be compared."""
    from pipelines.measuring import Origin

    threads = threads_of(job.params, job.key)
    if "parent" not in job.inputs or not has_weights(job.input("parent")):
        return Origin(threads=threads)
    scorer = job.input("scorer") if "scorer" in job.inputs else None
    trained = objective.resolve(job.params, job.key)
    return Origin(job.input("parent"), scorer, trained.rewards, threads)


def require_finite(
    stage: str, scores: dict[str, list[float | None]], rows: list[dict[str, Any]]
) -> None:
    """Raises `StoppedError` if a score is NaN or infinite, as those of a diverged model are."""
    for name, values in scores.items():
        if wrong := not_finite_at(values):
            counts = {"items": len(values), "items_not_finite": len(wrong)}
            places = [f"{rows[at]['file']}:{rows[at]['row']}" for at in wrong]
            value = f"{len(wrong)} of {len(values)} items"
            raise not_finite(stage, f"the score {name}", value, counts=counts, rows=places)


def not_finite_at(values: list[float | None]) -> list[int]:
    """The positions of the scores that are NaN or infinite."""
    return [at for at, value in enumerate(values) if value is not None and not math.isfinite(value)]


def write_scores(job: Job, ids: list[str], scores: dict[str, list[float | None]]) -> None:
    """Writes the scores item by item, and their means."""
    with job.output("scores").open("w", encoding="utf-8", newline="\n") as stream:
        for at, record in enumerate(ids):
            line = {"id": record, **{metric: values[at] for metric, values in scores.items()}}
            stream.write(json.dumps(line, sort_keys=True) + "\n")
    means = {metric: mean(values) for metric, values in scores.items()}
    write_json(job.output("metrics"), {"items": len(ids) if scores else 0, **means})


def threads_of(params: Params, key: str) -> int:
    """The CPU threads of an evaluation: those of the training."""
    stage = params.stages.get(params.evaluated(key))
    return stage.threads if stage else 1


def shown(value: float | None) -> str:
    """A score in words."""
    return "n/a" if value is None else f"{value:.3f}"


def unknown_metrics(project: Project) -> Iterator[CountersignError]:
    """Suites with metrics that are not known."""
    for name, suite in project.params.suites.items():
        yield from mistakes_of(partial(metrics_of, suite, f"params.yaml: suites.{name}"))


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="stages",
    settings=("suites",),
    evidence="evaluate",
    engines=(
        *("torch", "transformers", "tokenizers", "numpy"),
        *("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract"),  # of the answers
    ),
    mistakes=unknown_metrics,
)
