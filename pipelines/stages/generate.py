"""Generates a dataset from prompts and a constitution, if the decision of its own gate allows it:
see `pipelines.generation`.

1. The decision is taken here, on the bytes that are about to be used, before any model is loaded
   or asked. It is signed and logged with what was generated, or with the refusal.
2. It is decided again where the dataset is used: at the gate of a training, and at a release.
3. `data/source/NAME.jsonl` is a source like any other: a row of `datasets` ingests, scans and
   checks it.
4. Models of the project are asked without a network. A connection is opened only to an endpoint
   that policy permits, and only for replies that are not kept yet. Nothing is downloaded, so
   `network` is not set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.attest.findings import finding
from governance.attest.predicates import Artifact, GenerationCounts
from governance.attest.requests import (
    Decision,
    EndpointRef,
    GenerationRequest,
    speaker_digest,
)
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.time import instant
from governance.base.yaml import place
from pipelines import isolation, paths
from pipelines.failures import Stopped, StoppedError, not_finite
from pipelines.families import StageFamily, mistakes_of
from pipelines.generation.deciding import ROLES, Role, card_of, decide
from pipelines.job import Input, Job, Outcome, Output
from pipelines.model_class import class_of, declared_class, require_language
from pipelines.params import Generate, Params
from pipelines.stages import gate
from pipelines.training.methods import ModelClass
from pipelines.training.modelfolder import has_weights

if TYPE_CHECKING:
    from pipelines.generation.speakers import Elsewhere, Judge, Writer
    from pipelines.generation.work import Made
    from pipelines.pii.clean import Cleaned
    from pipelines.project import Project


def inputs(params: Params, key: str) -> list[Input]:
    """The prompts, the constitution, how what is sent to endpoints is searched, and the models that
    are asked, with their evaluations.
    """
    row = params.generate[key]
    files = [
        Input("prompts", paths.ready(row.prompts) / paths.RECORDS),
        Input("constitution", paths.constitution(row.constitution)),
        Input("pii", paths.PII),
    ]
    for role in ROLES:
        if role not in row.endpoints:
            name = getattr(row, role)
            files += [
                Input(role, paths.model(name) / "model"),
                Input(f"{role}_scores", paths.evaluation(name) / "scores.jsonl"),
                *gate.further_scores(params, role, name),
            ]
    return files


def outputs(params: Params, key: str) -> list[Output]:
    """data/source/NAME.jsonl"""
    return [Output("source", paths.sample(key))]


def run(job: Job) -> Outcome:
    """(1) Decides, and generates if that is allowed."""
    request, decision = decide(job)
    if not decision.allowed:
        return _outcome(request, decision)
    made, replies = _generate(job, request)
    counts = made.counts
    if not made.rows:
        raise nothing_kept(job.name, counts)
    with job.output("source").open("w", encoding="utf-8", newline="\n") as stream:
        for row in made.rows:
            stream.write(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n")
    return _outcome(request, decision, counts, replies, card_of(job, request))


def _outcome(
    request: GenerationRequest,
    decision: Decision,
    counts: GenerationCounts | None = None,
    replies: str | None = None,
    card: str | None = None,
) -> Outcome:
    name = f"generate@{request.stage}"
    return Outcome(
        predicate={
            "allowed": decision.allowed,
            "tier": decision.tier,
            "decided_on": decision.decided_on,
            "findings": list(decision.findings),
            "waived": list(decision.waived),
            "at": instant(decision.at),
            "counts": counts,
            "replies": replies,
            "judge_gate": card,
        },
        parameters=request.model_dump(mode="json"),
        subjects=tuple(
            Artifact(role=f"decided_on/{role}", name=f"{name}/{role}", sha256=digest)
            for role, digest in decision.decided_on.items()
        ),
        refused=decision.findings,
        summary=f"{name}: {in_words(counts)}" if counts else "",
    )


def in_words(counts: GenerationCounts) -> str:
    """Counts in one line."""
    dropped = ", ".join(f"{reason} {count}" for reason, count in counts.dropped.items())
    replaced = ", ".join(f"{entity} {count}" for entity, count in counts.redacted.items())
    parts = [f"{counts.kept} of {counts.asked} records kept", dropped]
    parts += [f"replaced before sending: {replaced}"] if replaced else []
    return "; ".join(filter(None, parts))


def _generate(job: Job, request: GenerationRequest) -> tuple[Made, str | None]:
    """The records, and the digest of the replies of endpoints."""
    from pipelines.generation.replies import FOLDER, Replies
    from pipelines.generation.work import CALLS, Made, Work
    from pipelines.scoring import DivergedError

    row = job.params.generate[job.key]
    judge = speaker_digest(request.judge)
    if judge is None or request.templates is None:
        raise InputError("the decision allows what it does not name", where=job.name)
    constitution = job.policies.constitutions[row.constitution]
    work = Work(row, constitution, request.templates, judge, partial(_clean, job))
    made, replies = Made(), Replies(job.machine.state / FOLDER)
    tasks = work.tasks(_prompts(job, row), made)
    with job.progress.bar(len(tasks) * CALLS[row.kind], f"generating {job.key}") as bar:
        speakers = _Speakers(job, row, request, replies, bar)
        try:
            if row.kind == "pairs":
                work.compare(tasks, speakers.writer("generator"), speakers.judge(), made)
            else:
                writers = (speakers.writer("generator"), speakers.writer("judge"))
                work.revise(tasks, *writers, made)
        except DivergedError as error:
            raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None
    return made, replies.digest


def _clean(job: Job, texts: Sequence[str]) -> list[Cleaned]:
    """What was written, as it may be sent to an endpoint."""
    from pipelines.pii.clean import clean_here

    return clean_here(texts, job.policies.pii, job.params, job.root, job.machine.state)


def _prompts(job: Job, row: Generate) -> list[dict[str, Any]]:
    """The prompts in the order of their ids: the first `limit` of the split."""
    from pipelines.shards import of_split, open_records

    tables = (of_split(table, row.split) for table in open_records(job.input("prompts")).tables())
    found = [prompt for table in tables for prompt in table.to_pylist()]
    if not found:
        fix = f"params.yaml: generate.{job.key}.split"
        raise ConfigError(f"no prompts in the split {row.split!r}", where=job.name, fix=fix)
    return sorted(found, key=lambda prompt: str(prompt["id"]))[: row.limit]


class _Speakers:
    """The models and endpoints of one row."""

    def __init__(
        self, job: Job, row: Generate, request: GenerationRequest, replies: Any, bar: Any
    ) -> None:
        from pipelines.generation import speakers

        self.job, self.row, self.request = job, row, request
        self.replies, self.bar = replies, bar
        self.templates = job.policies.constitutions[row.constitution].templates
        self.open = speakers.opener(row, bar)

    def writer(self, role: Role) -> Writer:
        """Who writes in this role."""
        from pipelines.generation.speakers import Model

        if (elsewhere := self._elsewhere(role)) is not None:
            return elsewhere
        where = f"params.yaml: generate.{self.job.key}.{role}"
        require_language(self.job, getattr(self.row, role), role, where)
        return Model(self._model(role, "language"), self.templates)

    def judge(self) -> Judge:
        """Who compares."""
        from pipelines.generation.speakers import Model, RewardModel

        if (elsewhere := self._elsewhere("judge")) is not None:
            return elsewhere
        kind = class_of(self.job, self.row.judge, "judge")
        scorer = self._model("judge", kind)
        return RewardModel(scorer) if kind == "scorer" else Model(scorer, self.templates)

    def _model(self, role: Role, kind: ModelClass) -> Any:
        folder = self.job.input(role)
        if not has_weights(folder):
            found, fix = "a model without weights has no answers", "name a trained one"
            raise InputError(found, where=f"{self.job.name}: {role}", fix=fix)
        return self.open(folder, kind)

    def _elsewhere(self, role: Role) -> Elsewhere | None:
        from pipelines.generation.endpoint import Endpoint
        from pipelines.generation.speakers import Elsewhere

        ref = getattr(self.request, role)
        if not isinstance(ref, EndpointRef):
            return None
        endpoint = Endpoint(ref, self.replies, self.job.machine.environ, self.bar)
        return Elsewhere(endpoint, self.templates, self.row)


def nothing_kept(stage: str, counts: GenerationCounts) -> StoppedError:
    """The error that every record was dropped."""
    dropped = {f"dropped_{reason.lower()}": count for reason, count in counts.dropped.items()}
    reason = finding("NOTHING_GENERATED", f"stage {stage}", found=in_words(counts))
    stopped = Stopped(findings=(reason,), counts={"asked": counts.asked, **dropped})
    return StoppedError(stopped, f"nothing could be kept: {in_words(counts)}", stage, reason.next)


def unfit_rows(project: Project) -> Iterator[CountersignError]:
    """Mistakes in the rows of `generate`: kinds of prompts and models, and keys of endpoints."""
    path = project.root / "params.yaml"
    if "generate" not in project.params.model_fields_set and _has(project.root, "${generate}"):
        found, fix = "dvc.yaml has the stage `generate`, and there is no table", "add: generate: {}"
        yield ConfigError(found, where=str(path), fix=fix)
    named = "endpoints" in project.policies.rules.model_fields_set
    params = project.params
    rows = (*params.generate, *params.judges, *params.judged)
    if rows and not named and _has(project.root, "[endpoints]"):
        found, fix = "dvc.yaml reads `endpoints`, and there is no such table", "add: endpoints: {}"
        yield ConfigError(found, where=str(project.root / "policies/policy.yaml"), fix=fix)
    for name, row in params.generate.items():
        for field, found, expected in _mistakes(params, name, row):
            yield ConfigError(found, where=place(path, "generate", name, field), expected=expected)
        if row.checked is None and _has(project.root, "${item.checked}"):
            found, fix = (
                "no row of `judges` checks its judge",
                "add it (docs/judges.md): checked: NAME",
            )
            yield ConfigError(found, where=place(path, "generate", name), fix=fix)
    if any(row.endpoints for row in project.params.generate.values()):
        yield from mistakes_of(lambda: isolation.endpoint_keys(project.machine.environ))


def _has(root: Path, text: str) -> bool:
    """Whether dvc.yaml names a table so: DVC fails without it."""
    file = root / "dvc.yaml"
    return file.exists() and text in file.read_text(encoding="utf-8")


def _mistakes(params: Params, name: str, row: Generate) -> Iterator[tuple[str, str, str]]:
    """Field, what is wrong, and what is expected."""
    kind = params.datasets[row.prompts].kind
    if kind != "prompt":
        yield "prompts", f"{row.prompts} has records of kind {kind}", "a dataset of kind prompt"
    for role in ROLES if row.kind == "revisions" else ROLES[:1]:
        asked = getattr(row, role)
        if role not in row.endpoints and declared_class(params, asked) == "scorer":
            yield role, f"{asked} is a reward model, which writes nothing", "a language model"
    for dataset, other in params.datasets.items():
        if Path(other.source) in paths.sample(name).parents:
            found = f"the folder that {dataset} reads holds the file that this row writes"
            yield "kind", found, f"a row of datasets with source: {paths.sample(name)}"


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="generate",
    evidence="generation",
    engines=(
        *("torch", "transformers", "tokenizers", "numpy"),
        *("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract"),  # of what is sent
    ),
    mistakes=unfit_rows,
)
