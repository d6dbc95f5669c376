"""Probes what a model gives away of the records of one training of its chain: canaries and
membership (docs/leak-probe.md).

Scores of records and canaries stay in a file of the project. The statement has counts and figures.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from governance.attest.predicates import Artifact
from governance.attest.predicates.leaks import CanaryFigures, Membership, Untestable
from pipelines import paths
from pipelines.failures import not_finite
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.leaks import inference
from pipelines.model_class import declared_class
from pipelines.params import Params, Stage
from pipelines.training.methods import method
from pipelines.training.modelfolder import has_weights, write_json

if TYPE_CHECKING:
    from pipelines.leaks.probing import Prober
    from pipelines.leaks.sampling import Texts

LONGEST = 1024
"""Tokens of a text that count where the training sets no `max_length`: TRL's own limit."""

Lines = list[dict[str, Any]]
Canaried = tuple[CanaryFigures | Untestable, Lines]
Inferred = tuple[Membership | Untestable, Lines]


def inputs(params: Params, key: str) -> list[Input]:
    """The model, the records of the training, and what that training began from."""
    row = params.leak_probes[key]
    return [
        Input("model", paths.model(row.model) / "model"),
        Input("data", paths.ready(row.data) / paths.RECORDS),
        Input("parent", paths.model(row.parent) / "model"),
    ]


def outputs(params: Params, key: str) -> list[Output]:
    """A line for each canary and record, and the figures for `dvc metrics`."""
    folder = paths.further_evaluation(params.leak_probes[key].model, key)
    return [Output("leaks", folder / "leaks.jsonl"), Output("metrics", folder / "metrics.json")]


def run(job: Job) -> Outcome:
    """Probes the model of row `job.key`."""
    row, name = job.params.leak_probes[job.key], job.params.probed(job.key)
    stage = job.params.stages[name]
    job.progress.step(f"probing what {row.model} gives away of {row.data}")
    (found, lines), (inferred, more) = _measured(job, name, stage)
    parts: dict[str, CanaryFigures | Membership | Untestable]
    parts = {"canaries": found, "membership": inferred}
    figures = {part: None if isinstance(value, str) else value for part, value in parts.items()}
    reasons = {part: value for part, value in parts.items() if isinstance(value, str)}
    _write(job, [*lines, *more], figures)
    model = job.inputs["model"]
    return Outcome(
        predicate={
            "model": model.sha256,
            "data": job.inputs["data"].sha256,
            "parent": job.inputs["parent"].sha256,
            "trained": name,
            "referenced": has_weights(job.input("parent")),
            **figures,
            "not_measured": reasons,
        },
        parameters={**row.model_dump(mode="json"), "threads": stage.threads},
        subjects=(Artifact(role="scored", name=f"{job.name}/model", sha256=model.sha256),),
        summary=_summary(parts),
    )


def _measured(job: Job, name: str, stage: Stage) -> tuple[Canaried, Inferred]:
    """Both parts, each with its lines; or why it was not measured."""
    row = job.params.leak_probes[job.key]
    if declared_class(job.params, row.model) != "language":
        return ("NO_PROBABILITIES", []), ("NO_PROBABILITIES", [])
    if not has_weights(job.input("model")):
        return ("NO_WEIGHTS", []), ("NO_WEIGHTS", [])
    from pipelines.scoring import DivergedError

    try:
        return _probed(job, name, stage)
    except DivergedError as error:
        raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None


def _probed(job: Job, name: str, stage: Stage) -> tuple[Canaried, Inferred]:
    """Both parts of a model that writes texts. Raises `DivergedError`."""
    from pipelines.leaks.probing import Prober

    members, others = _samples(job, stage)
    planted = stage.canaries.count if stage.canaries else 0
    with job.progress.bar(planted + 2 * len(members) + 2 * len(others), "probing") as bar:
        limit = _limit(stage)
        prober = Prober(job.input("model"), stage.threads, limit, bar)
        found = _canaries(job, name, stage, prober)
        if min(len(members), len(others)) < 2:
            return found, (_why_no_members(job, stage), [])
        parent = None
        ours = prober.losses([*members, *others])
        if has_weights(job.input("parent")):
            parent = Prober(job.input("parent"), stage.threads, limit, bar)
        theirs = parent.losses([*members, *others]) if parent else None
    return found, _membership(members, others, ours, theirs)


def _samples(job: Job, stage: Stage) -> tuple[list[Texts], list[Texts]]:
    """The members, and the held-out records, that are compared."""
    from pipelines.leaks import sampling

    records, limit = job.input("data"), job.params.leak_probes[job.key].records
    members = sampling.sample(records, ("train",), limit)
    return members, sampling.sample(records, sampling.held_out_splits(stage), limit)


def _why_no_members(job: Job, stage: Stage) -> Untestable:
    from pipelines.leaks import sampling

    splits = job.params.datasets[stage.data].splits
    held_out = {"validation": splits.validation, "test": splits.test}
    has_any = any(held_out[split] for split in sampling.held_out_splits(stage))
    return "NO_ANSWERS" if has_any else "NO_HELD_OUT"


def _canaries(job: Job, name: str, stage: Stage, prober: Prober) -> Canaried:
    if stage.canaries is None:
        return "NO_CANARIES", []
    from pipelines.leaks import canaries
    from pipelines.record_ids import load_key

    key, row = load_key(job.root, job.params.records), job.params.leak_probes[job.key]
    kind, asks = job.params.datasets[stage.data].kind, canaries.asks(stage.method)
    lines: Lines = []
    for at, planted in enumerate(canaries.canaries(key, name, stage.canaries.count)):
        others = canaries.candidates(key, name, at, row.candidates)
        probed = prober.canary(planted, others, asks=asks)
        lines.append({"canary": at, "rank": probed.rank, "extracted": probed.extracted})
    figures = CanaryFigures(
        planted=canaries.stated(key, name, stage.canaries, stage.method, kind),
        candidates=row.candidates,
        ranks=[line["rank"] for line in lines],
        extracted=sum(line["extracted"] for line in lines),
    )
    return figures, lines


def _membership(
    members: list[Texts],
    others: list[Texts],
    ours: list[tuple[float, float]],
    theirs: list[tuple[float, float]] | None,
) -> Inferred:
    from pipelines.leaks.probing import scores

    values = [round(value, inference.DIGITS) for value in scores(ours, theirs)]
    figures = inference.membership(values[: len(members)], values[len(members) :])
    lines = [
        {"id": one.id, "member": at < len(members), "score": values[at]}
        for at, one in enumerate([*members, *others])
    ]
    return figures, lines


def _limit(stage: Stage) -> int:
    given = {**method(stage.method).defaults, **stage.trainer}.get("max_length", LONGEST)
    return given if isinstance(given, int) else LONGEST


def _write(job: Job, lines: Lines, figures: dict[str, CanaryFigures | Membership | None]) -> None:
    with job.output("leaks").open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    shown: dict[str, float | int] = {}
    found, inferred = figures["canaries"], figures["membership"]
    if isinstance(found, CanaryFigures):
        shown |= {"canaries_extracted": found.extracted, "canaries_lowest_rank": min(found.ranks)}
    if isinstance(inferred, Membership):
        shown["membership_auc"] = inferred.auc
    write_json(job.output("metrics"), shown)


def _summary(parts: dict[str, CanaryFigures | Membership | Untestable]) -> str:
    said = []
    for name, part in parts.items():
        if isinstance(part, CanaryFigures):
            said.append(f"{part.extracted} of {part.planted.count} canaries extracted")
        elif isinstance(part, Membership):
            said.append(f"membership AUC {part.auc:.3f}")
        else:
            said.append(f"{name} not measured ({part})")
    return ", ".join(said)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="leak_probes",
    settings=("records",),
    evidence="leak_probe",
    engines=("torch", "transformers", "tokenizers", "numpy", "pyarrow"),
)
