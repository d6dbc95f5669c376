"""Checks a judge before its judgements count, and writes its card: see `pipelines.judge_check`.

1. It measures and decides nothing. Whether the card suffices is decided where the judge is used,
   under the policies in force then (`governance.gates.judging`).
2. The outputs are deterministic. The day on which the card ends stands in the log alone: a card is
   renewed by `countersign repro --force check_judge@NAME`.
3. A model of the project is asked without a network. An endpoint is asked if policy permits to send
   it the labelled data, and only for replies that are not kept yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from governance.attest.predicates import Artifact
from governance.attest.requests import EndpointRef, judge_digest
from governance.base.errors import ConfigError, CountersignError
from governance.base.yaml import place
from governance.gates import judging
from governance.gates.checks.generation import unfit_for
from governance.policy.judges import JudgeLimits
from pipelines import isolation, paths
from pipelines.failures import not_finite
from pipelines.families import StageFamily, mistakes_of
from pipelines.job import Input, Job, Outcome, Output
from pipelines.judge_check.judge import (
    constitution_of,
    cost,
    judge_name,
    judge_ref,
    open_judge,
    permitted_endpoint,
)
from pipelines.params import JudgeCheck, Params
from pipelines.slices import read_slices
from pipelines.training.modelfolder import write_json

if TYPE_CHECKING:
    from governance.policy.constitution import Constitution
    from governance.policy.rules import Endpoint
    from pipelines.generation.replies import Replies
    from pipelines.judge_check.labelled import Pair
    from pipelines.judge_check.measure import Measured
    from pipelines.project import Project

KINDS = ("preference", "rated")


def inputs(params: Params, key: str) -> list[Input]:
    """The labelled records, who wrote their answers, the constitution, and the model."""
    row = params.judges[key]
    files = [
        Input("labelled", paths.ready(row.labelled) / paths.RECORDS),
        Input("slices", paths.ingested(row.labelled) / "slices.jsonl"),
        Input("constitution", paths.constitution(row.constitution)),
    ]
    if row.endpoint is None:
        files.append(Input("judge", paths.model(row.judge) / "model"))
    return files


def outputs(params: Params, key: str) -> list[Output]:
    """What was measured, and the decision on each labelled pair."""
    folder = paths.judge(key)
    return [Output("card", folder / "card.json"), Output("decisions", folder / "decisions.jsonl")]


def run(job: Job) -> Outcome:
    """(1) Measures."""
    from pipelines.generation.replies import FOLDER, Replies
    from pipelines.judge_check import probes
    from pipelines.scoring import DivergedError

    row = job.params.judges[job.key]
    constitution = constitution_of(job, row, job.key)
    endpoint = permitted_endpoint(job, row, partial(_unfit, job, row))
    replies = Replies(job.machine.state / FOLDER)
    pairs = _pairs(job, row)
    try:
        measured = _measured(job, row, constitution, endpoint, replies, pairs)
    except DivergedError as error:
        raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None
    judge = judge_ref(job, row, endpoint)
    fields = {
        "judge": judge_digest(judge),
        "judged_by": judge,
        "name": judge_name(row, endpoint),
        "labelled": row.labelled,
        "split": row.split,
        "probes": probes.digest(),
        "figures": measured.figures,
        "replies": replies.digest,
        "cost": cost(job, row, replies),
    }
    _write(job, judge_digest(judge), measured)
    limits = job.policies.evaluation.judges or JudgeLimits()
    until = job.now().date() + timedelta(days=limits.valid_days)
    reasons = judging.shortcomings(measured.figures, limits, job.policies.evaluation.confidence)
    failed = ", ".join(dict.fromkeys(reason.measure for reason in reasons))
    return Outcome(
        predicate={**fields, "until": until},
        parameters=row.model_dump(mode="json"),
        subjects=(
            Artifact(role="judge", name=f"{job.name}/judge", sha256=judge_digest(judge)),
            Artifact(role="asked", name=f"{job.name}/asked", sha256=judge.speaker),
        ),
        summary=f"JUDGE_FAILED: {failed}" if failed else f"the judge passes until {until}",
    )


def _measured(
    job: Job,
    row: JudgeCheck,
    constitution: Constitution,
    endpoint: EndpointRef | None,
    replies: Replies,
    pairs: list[Pair],
) -> Measured:
    from pipelines.judge_check.measure import Check, questions

    with job.progress.bar(questions(len(pairs), row.probes), f"asking {job.key}") as bar:
        judge = open_judge(job, row, constitution, endpoint, replies, bar)
        return Check(judge, constitution, row.probes).run(pairs, _own_first(job, row, pairs))


def _unfit(job: Job, row: JudgeCheck, permitted: Endpoint) -> list[tuple[str, str]]:
    """(3) Why an endpoint may not read the labelled data."""
    return unfit_for(permitted, job.policies.datacards.get(row.labelled), row.labelled)


def _pairs(job: Job, row: JudgeCheck) -> list[Pair]:
    """The labelled pairs: the first `limit` of the split by id."""
    from pipelines.judge_check.labelled import pairs_of
    from pipelines.shards import of_split, open_records

    stored = open_records(job.input("labelled"))
    tables = (of_split(table, row.split) for table in stored.tables())
    rows = [record for table in tables for record in table.to_pylist()]
    pairs = pairs_of(sorted(rows, key=lambda record: str(record["id"])), stored.kind)
    if not pairs:
        found = f"no pair of answers in the split {row.split!r} that could be compared"
        raise ConfigError(found, where=f"params.yaml: judges.{job.key}.labelled")
    return pairs[: row.limit]


def _own_first(job: Job, row: JudgeCheck, pairs: list[Pair]) -> list[bool | None]:
    """For each pair whether its first answer alone is by a model of the judge's family; False for
    the second one alone, None where both or neither are.
    """
    if row.family is None:
        return [None] * len(pairs)
    labels = read_slices(job.input("slices"), [pair.id for pair in pairs])
    sides = [labels.get(side) for side in (row.family.chosen, row.family.rejected)]
    if sides[0] is None or sides[1] is None:
        where = f"params.yaml: datasets.{row.labelled}.slices"
        expected = f"the fields {row.family.chosen} and {row.family.rejected}"
        raise ConfigError("who wrote each answer is not kept", where=where, expected=expected)
    own = [[name in row.family.own for name in side] for side in sides if side is not None]
    return [
        None if chosen == rejected else chosen == pair.is_chosen_first
        for pair, chosen, rejected in zip(pairs, *own, strict=True)
    ]


def _write(job: Job, judge: str, measured: Measured) -> None:
    """The card names the judge: what asks it is stale when the judge is another one."""
    figures = measured.figures.model_dump(mode="json")
    write_json(job.output("card"), {"judge": judge, **figures})
    with job.output("decisions").open("w", encoding="utf-8", newline="\n") as stream:
        for record, decision in measured.decisions.items():
            stream.write(json.dumps({"id": record, "decision": decision}) + "\n")


def unfit_rows(project: Project) -> Iterator[CountersignError]:
    """Mistakes in the rows of `judges`: the kind of the labelled data, and keys of endpoints."""
    path = project.root / "params.yaml"
    for name, row in project.params.judges.items():
        kind = project.params.datasets[row.labelled].kind
        if kind not in KINDS:
            found = f"{row.labelled} has records of kind {kind}"
            where = place(path, "judges", name, "labelled")
            yield ConfigError(
                found, where=where, expected=f"a dataset of kind {' or '.join(KINDS)}"
            )
    if "judges" not in project.params.model_fields_set and _names_table(project.root):
        found = "dvc.yaml has the stage `check_judge`, and there is no table"
        yield ConfigError(found, where=str(path), fix="add: judges: {}")
    if any(row.endpoint for row in project.params.judges.values()):
        yield from mistakes_of(lambda: isolation.endpoint_keys(project.machine.environ))


def _names_table(root: Path) -> bool:
    file = root / "dvc.yaml"
    return file.exists() and "${judges}" in file.read_text(encoding="utf-8")


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="judges",
    evidence="judge_card",
    engines=("torch", "transformers", "tokenizers", "numpy", "scipy"),
    mistakes=unfit_rows,
)
