"""Scores a model on a local task of lm-evaluation-harness (`pipelines.tasks`), item by item.

The evidence is that of every evaluation, so thresholds, intervals and comparisons use it alike. The
same model, task, settings, engine versions and thread count give the same scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from governance.attest.digests import manifest
from governance.attest.predicates import Artifact
from governance.attest.predicates.training import Behaviour
from governance.base.errors import CountersignError
from pipelines import answers, paths
from pipelines.failures import not_finite
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome
from pipelines.metrics import mean
from pipelines.model_class import require_language
from pipelines.params import Params
from pipelines.shown import NoRun, figures, registry, shown_if_possible
from pipelines.stages import evaluate
from pipelines.tasks import definition
from pipelines.tasks.scores import Scored, score
from pipelines.training.modelfolder import has_weights

if TYPE_CHECKING:
    from governance.registry.runs import LiveRun
    from pipelines.project import Project


def inputs(params: Params, key: str) -> list[Input]:
    """The model and the task's folder."""
    row = params.tasks[key]
    return [
        Input("model", paths.model(row.model) / "model"),
        Input("task", paths.task(row.task)),
    ]


def run(job: Job) -> Outcome:
    """Scores the model of row `job.key`."""
    row, model, folder = job.params.tasks[job.key], job.inputs["model"], job.inputs["task"]
    task = definition.read(job.root, row.task)
    require_language(job, row.model, "model", f"params.yaml: tasks.{job.key}.model")
    threads = evaluate.threads_of(job.params, job.key)
    parameters = {**row.model_dump(mode="json"), "threads": threads}
    result = Scored({}, [])
    live: LiveRun | NoRun = NoRun(None)
    not_run = None if has_weights(job.input("model")) else evaluate.NO_WEIGHTS
    if not_run is None:
        with shown_if_possible(job, parameters, {}, [], model.sha256) as live:
            result = _scored(job, task, threads)
            live.metrics(0, {**figures(result.scores, {}), "items": result.items})
    files = {each.path: each.sha256 for each in manifest(job.input("task"))}
    ids = [str(at) for at in range(result.items)]
    evaluate.write_scores(job, ids, result.scores)
    means = {metric: mean(values) for metric, values in result.scores.items()}
    return Outcome(
        predicate={
            "model": model.sha256,
            "suite": definition.suite_digest(row, folder.sha256),
            "suite_name": row.task,
            "not_run": not_run,
            "scores": result.scores,
            "behaviour": Behaviour(not_measured=not_run or evaluate.NOT_OWN),
            "answers": answers.write(job, ids, {"greedy": [[text] for text in result.answers]}),
        },
        parameters={**parameters, "files": files},
        detail={"items": len(ids), "means": means, **registry(live)},
        subjects=(Artifact(role="scored", name=f"{job.name}/model", sha256=model.sha256),),
        summary=not_run or ", ".join(f"{n} {evaluate.shown(v)}" for n, v in means.items()),
    )


def _scored(job: Job, task: definition.Task, threads: int) -> Scored:
    from pipelines.scoring import DivergedError

    row = job.params.tasks[job.key]
    job.progress.step(f"scoring {row.model} on the task {row.task}")
    cache = job.scratch / "datasets"
    try:
        return score(job.input("model"), task, row, job.root, cache, threads)
    except DivergedError as error:
        raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None


def mistakes(project: Project) -> Iterable[CountersignError]:
    """Tasks that cannot be read."""
    return definition.mistakes(project.root, project.params.tasks.values())


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=evaluate.outputs,
    table="tasks",
    evidence="evaluate",
    engines=(
        *("torch", "transformers", "tokenizers", "numpy", "datasets", "jinja2"),
        *("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract"),  # of the answers
    ),
    optional_engines={"lm-eval": "lm-eval"},
    mistakes=mistakes,
)
