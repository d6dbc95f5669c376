"""Scores a model on prompts by a judge, who compares its answers with those of an opponent
(`pipelines.judging.contest`).

1. It measures and decides nothing. Whether the judge counts is decided where the scores are read,
   by its card (`governance.gates.judging`). Until then no figure is shown: not here, not in the
   registry, not by `dvc metrics`.
2. The judge must be the one whose card is here, by digest: model or endpoint, constitution, words.
3. Answers are sampled, by the row's seed. Both models have the same seeds, so that one model
   against itself has the same answers.
4. An endpoint is asked as `check_judge` asks it. Answers are searched for personal data before they
   are sent there, as policies/pii.yaml says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from governance.attest.predicates import Artifact, JudgedBy, JudgeRef
from governance.attest.predicates.training import Behaviour
from governance.attest.requests import EndpointRef, judge_digest
from governance.base.errors import ConfigError, InputError
from governance.gates import judging
from governance.gates.checks.generation import unfit_for, unfit_for_answers
from pipelines import answers, paths
from pipelines.failures import not_finite
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome
from pipelines.judge_check.judge import (
    constitution_of,
    cost,
    judge_name,
    judge_ref,
    open_judge,
    permitted_endpoint,
)
from pipelines.judging.suite import AT_EQUAL_LENGTH, WIN_RATE, judge_of_card, suite_digest
from pipelines.metrics import mean
from pipelines.model_class import require_language
from pipelines.params import JudgedEvaluation, Params
from pipelines.slices import read_slices
from pipelines.stages import evaluate
from pipelines.training.modelfolder import has_weights, write_json

if TYPE_CHECKING:
    from governance.policy.constitution import Constitution
    from governance.policy.rules import Endpoint
    from pipelines.generation.replies import Replies
    from pipelines.generation.speakers import Messages
    from pipelines.judging.contest import Contest, Pair

MODELS = ("model", "opponent")


def inputs(params: Params, key: str) -> list[Input]:
    """The two models, the prompts and their slices, and the judge: its card, what it compares by,
    and its model.
    """
    row = params.judged[key]
    judge = params.judges[row.judge]
    files = [
        Input("model", paths.model(row.model) / "model"),
        Input("opponent", paths.model(row.opponent) / "model"),
        Input("records", paths.ready(row.prompts) / paths.RECORDS),
        Input("slices", paths.ingested(row.prompts) / "slices.jsonl"),
        Input("card", paths.judge(row.judge) / "card.json"),
        Input("constitution", paths.constitution(judge.constitution)),
        Input("pii", paths.PII),
    ]
    if judge.endpoint is None:
        files.append(Input("judge", paths.model(judge.judge) / "model"))
    return files


def run(job: Job) -> Outcome:
    """Answers the prompts with both models, and asks the judge."""
    from pipelines.generation.replies import FOLDER, Replies
    from pipelines.judging.contest import scores_at_equal_length
    from pipelines.scoring import DivergedError

    row = job.params.judged[job.key]
    checked = job.params.judges[row.judge]
    constitution = constitution_of(job, checked, row.judge)
    endpoint = permitted_endpoint(job, checked, partial(_unfit, job, row))
    judge = _require_card(job, row, endpoint)
    for role, name in zip(MODELS, (row.model, row.opponent), strict=True):
        require_language(job, name, role, f"params.yaml: judged.{job.key}.{role}")
    prompts, left_out = _prompts(job, row)
    replies = Replies(job.machine.state / FOLDER)
    not_run = None if has_weights(job.input("model")) else evaluate.NO_WEIGHTS
    ids, scores, judged = [record for record, _ in prompts], dict[str, Any](), None
    written: list[list[str]] = [[], []]
    if not_run is None:
        try:
            written, found = _compared(job, row, constitution, endpoint, replies, prompts)
        except DivergedError as error:
            raise not_finite(job.name, error.figure, error.value, counts=error.counts) from None
        own, opponent = ([len(text) for text in texts] for texts in written)
        scores = {
            WIN_RATE: found.scores,
            AT_EQUAL_LENGTH: scores_at_equal_length(found.scores, own, opponent),
        }
        judged = _judged_by(
            job, row, judge, endpoint, found,
            left_out=left_out, lengths=own, opponent_lengths=opponent, replies=replies.digest,
            tokens=replies.tokens, cost=cost(job, checked, replies),
        )  # fmt: skip
    slices = read_slices(job.input("slices"), ids) if scores else {}
    _write_scores(job, ids, scores, judged)
    digests = {role: job.inputs[role].sha256 for role in ("records", *MODELS)}
    suite = suite_digest(row, checked, digests["records"], judge_digest(judge), digests["opponent"])
    return Outcome(
        predicate={
            "model": digests["model"],
            "suite": suite,
            "suite_name": row.suite,
            "not_run": not_run,
            "scores": scores,
            "slices": slices,
            "behaviour": Behaviour(not_measured=not_run or evaluate.NOT_OWN),
            "answers": answers.write(job, ids, {"sampled": [[text] for text in written[0]]}),
            "judged_by": judged,
        },
        parameters=row.model_dump(mode="json"),
        detail={"items": len(ids)},
        subjects=(Artifact(role="scored", name=f"{job.name}/model", sha256=digests["model"]),),
        summary=not_run or _summary(job, judge, scores),
    )


def _judged_by(
    job: Job,
    row: JudgedEvaluation,
    judge: JudgeRef,
    endpoint: EndpointRef | None,
    found: Contest,
    **fields: Any,
) -> JudgedBy:
    return JudgedBy(
        judge=judge,
        name=judge_name(job.params.judges[row.judge], endpoint),
        row=row.judge,
        prompts=row.prompts,
        opponent=job.inputs["opponent"].sha256,
        opponent_name=row.opponent,
        consistent=found.consistent,
        inconsistent=found.inconsistent,
        equal=found.equal,
        no_verdict=found.no_verdict,
        **fields,
    )


def _require_card(job: Job, row: JudgedEvaluation, endpoint: EndpointRef | None) -> JudgeRef:
    """(2) The judge. Raises `InputError` where the card here is that of another one."""
    judge = judge_ref(job, job.params.judges[row.judge], endpoint)
    found = judge_of_card(job.input("card"), row.judge)
    if found != judge_digest(judge):
        raise InputError(
            "the card is that of another judge",
            where=str(paths.judge(row.judge) / "card.json"),
            expected=judge_digest(judge)[:12],
            fix=f"run `countersign repro check_judge@{row.judge}`",
        )
    return judge


def _unfit(job: Job, row: JudgedEvaluation, permitted: Endpoint) -> list[tuple[str, str]]:
    """(4) Why an endpoint may not read the prompts, or what the models wrote."""
    view = job.evidence.signed_under(job.policies)
    models = {
        name: job.inputs[role].sha256
        for role, name in zip(MODELS, (row.model, row.opponent), strict=True)
    }
    card = job.policies.datacards.get(row.prompts)
    return [
        *unfit_for(permitted, card, row.prompts),
        *unfit_for_answers(permitted, view, job.policies, models),
    ]


def _prompts(job: Job, row: JudgedEvaluation) -> tuple[list[tuple[str, Messages]], int]:
    """Id and conversation of the first `limit` prompts of the split by id, and how many were left
    out: those with tools, calls or further turns.
    """
    from pipelines.generation.speakers import plain
    from pipelines.kinds import TOOLS, TURNS
    from pipelines.shards import of_split, open_records

    tables = (of_split(table, row.split) for table in open_records(job.input("records")).tables())
    rows = [record for table in tables for record in table.to_pylist()]
    taken = sorted(rows, key=lambda record: str(record["id"]))[: row.limit]
    found = [
        (str(record["id"]), messages)
        for record in taken
        if not record.get(TOOLS) and not record.get(TURNS)
        if (messages := plain(record["prompt"])) is not None
    ]
    if not found:
        what = f"no prompt of plain messages in the split {row.split!r}"
        raise ConfigError(what, where=f"params.yaml: judged.{job.key}.prompts")
    return found, len(taken) - len(found)


def _compared(
    job: Job,
    row: JudgedEvaluation,
    constitution: Constitution,
    endpoint: EndpointRef | None,
    replies: Replies,
    prompts: Sequence[tuple[str, Messages]],
) -> tuple[list[list[str]], Contest]:
    """The answers of the model and of its opponent, and what the judge said of them."""
    from pipelines.judging.contest import Pair, compare

    with job.progress.bar(4 * len(prompts), f"comparing {row.model} with {row.opponent}") as bar:
        written = [_answers(job, row, role, constitution, prompts, bar) for role in MODELS]
        read = [_readable(job, texts) for texts in written] if endpoint else written
        pairs: list[Pair] = [
            Pair(record, messages, own, opponent)
            for (record, messages), own, opponent in zip(prompts, *read, strict=True)
        ]
        checked = job.params.judges[row.judge]
        judge = open_judge(job, checked, constitution, endpoint, replies, bar)
        return written, compare(judge, constitution, pairs)


def _answers(
    job: Job,
    row: JudgedEvaluation,
    role: str,
    constitution: Constitution,
    prompts: Sequence[tuple[str, Messages]],
    bar: Any,
) -> list[str]:
    """(3) One sampled answer of a model to each prompt."""
    from pipelines.generation import speakers

    if not has_weights(job.input(role)):
        found, fix = "a model without weights has no answers", "name a trained one"
        raise InputError(found, where=f"params.yaml: judged.{job.key}.{role}", fix=fix)
    scorer = speakers.opener(row, bar)(job.input(role), "language")
    asked = [speakers.Asked(record, messages) for record, messages in prompts]
    made = speakers.Model(scorer, constitution.templates).write(asked, 1, "contest")
    return [answer.text for (answer,) in made]


def _readable(job: Job, texts: Sequence[str]) -> list[str | None]:
    """(4) What may be sent to an endpoint of each answer."""
    from pipelines.pii.clean import clean_here

    done = clean_here(texts, job.policies.pii, job.params, job.root, job.machine.state)
    return [one.text for one in done]


def _write_scores(
    job: Job, ids: Sequence[str], scores: dict[str, list[float | None]], judged: JudgedBy | None
) -> None:
    """(1) The scores by item with the lengths of both answers; of all items, counts alone."""
    columns: dict[str, Sequence[float | None]] = {**scores}
    if judged is not None:
        columns |= {"length": judged.lengths, "opponent_length": judged.opponent_lengths}
    evaluate.write_scores(job, [*ids], {name: [*values] for name, values in columns.items()})
    counts = {"items": len(ids) if scores else 0}
    if judged is not None:
        fields = {"consistent", "inconsistent", "equal", "no_verdict"}
        counts |= judged.model_dump(include=fields)
    write_json(job.output("metrics"), counts)


def _summary(job: Job, judge: JudgeRef, scores: dict[str, list[float | None]]) -> str:
    """(1) The figures, if the judge counts today."""
    view = job.evidence.signed_under(job.policies)
    standing = judging.standing(view, judge_digest(judge), job.policies, job.now())
    model = job.inputs["model"].sha256
    reasons = [*standing.reasons, *judging.optimised_for(view, model, judge)]
    if reasons:
        codes = ", ".join(dict.fromkeys(reason.code for reason in reasons))
        return f"not shown: {codes}"
    return ", ".join(f"{name} {evaluate.shown(mean(each))}" for name, each in scores.items())


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=evaluate.outputs,
    table="judged",
    evidence="evaluate",
    engines=(
        *("torch", "transformers", "tokenizers", "numpy", "scikit-learn"),
        *("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract"),  # of the answers
    ),
)
