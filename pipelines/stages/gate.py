"""The gate before a training stage: asks `governance.gates.decisions`, writes the decision, and
stops what may not train.

1. The request names the digests of the files here: data, parent, scorer, objective, rewards and
   suites.
2. `gates/STAGE.json` holds the digests decided on, and nothing that changes with time, policy or
   approvals. A repeated decision therefore trains nothing again.
3. `train` calls `enforce_gate`. It decides again from the bytes it is about to use, and requires
   the decision in the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from governance.attest import digests
from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, TEXTS, Artifact, Finding, GateDecision
from governance.attest.requests import (
    DataRef,
    Decision,
    FurtherSuite,
    GateRequest,
    ModelRef,
    ReleaseRequest,
    SuiteRef,
    enforce,
)
from governance.base.errors import InputError
from governance.base.storage import write_atomic
from governance.base.time import instant
from governance.gates.decisions import decide_gate
from pipelines import held_out, paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.judging import suite as judging_suite
from pipelines.metrics import suite_digest
from pipelines.params import Params, TaskEvaluation
from pipelines.tasks import definition
from pipelines.training import objective
from pipelines.training.methods import method

UNKNOWN = "0" * 64
"""In place of a digest that is not known yet."""


def inputs(params: Params, key: str) -> list[Input]:
    """The data, the models it builds on, their evaluations, and the records of every suite that
    matters.
    """
    stage = params.stages[key]
    models = {"parent": stage.parent}
    if objective.uses_scorer(stage):
        models["scorer"] = stage.scorer
    files = [
        Input("data", paths.ready(stage.data) / paths.RECORDS),
        Input("suite", paths.ready(stage.suite) / paths.RECORDS),
    ]
    for role, name in models.items():
        files += [
            Input(role, paths.model(name) / "model"),
            Input(f"{role}_scores", paths.evaluation(name) / "scores.jsonl"),
            Input(f"{role}_suite", paths.ready(params.suite_of(name)) / paths.RECORDS),
        ]
        files += further_scores(params, role, name)
    return files


def further_scores(params: Params, role: str, name: str) -> list[Input]:
    """The scores of a model on suites beside its own."""
    return [
        Input(f"{role}_scores_{row}", paths.further_evaluation(name, row) / "scores.jsonl")
        for row in params.further(name)
    ]


def outputs(params: Params, key: str) -> list[Output]:
    """The decision and what was decided on."""
    return [Output("gate", paths.gate(key))]


def run(job: Job) -> Outcome:
    """Decides. A refusal is recorded like a permission, and removes an earlier one's file: DVC
    leaves it there.
    """
    (job.root / paths.gate(job.key)).unlink(missing_ok=True)
    request, decision = _decide(job)
    job.output("gate").write_bytes(gate_bytes(request))
    _write_report(job.root, request, decision)
    return Outcome(
        predicate={
            "allowed": decision.allowed,
            "method": request.method,
            "tier": decision.tier,
            "decided_on": decision.decided_on,
            "findings": list(decision.findings),
            "waived": list(decision.waived),
            "at": instant(decision.at),
        },
        parameters=request.model_dump(mode="json"),
        detail={TEXTS: objective.texts(objective.resolve(job.params, job.key))},
        subjects=tuple(
            Artifact(role=f"decided_on/{role}", name=f"{job.name}/{role}", sha256=digest)
            for role, digest in decision.decided_on.items()
        ),
        refused=decision.findings,
        summary=f"{job.name}: allowed, tier {decision.tier}; {paths.gate_report(job.key)}",
    )


def dry_run(job: Job) -> tuple[GateRequest, Decision]:
    """The decision of the gate now. It is neither written nor recorded."""
    return _decide(job)


def enforce_gate(job: Job) -> Decision:
    """The enforcing form, for the training stage `train@KEY`. `job.inputs` are the bytes it is
    about to use.

    Raises `RefusedError` unless the stage may train under the policy in force, `gates/KEY.json` is
    about these digests, and the log has the decision. The caller must use no other bytes than those
    of its inputs.
    """
    complete = _complete(job)
    enforce(complete, f"gate@{job.key}")
    return complete


def against(job: Job) -> dict[str, list[list[str]]]:
    """The same answer for `pipelines.stages.recheck`, without its time and texts: what refuses, and
    what a waiver excuses. Empty where there is neither.
    """
    decision = _complete(job)
    found = {"findings": decision.findings, "waived": decision.waived}
    return {
        name: sorted([each.code, each.subject] for each in listed)
        for name, listed in found.items()
        if listed
    }


def _complete(job: Job) -> Decision:
    """The decision on what `train` uses, with what speaks against the gate's file and entry."""
    request, decision = _decide(job)
    further = _gate_findings(job, request)
    return replace(
        decision, allowed=decision.allowed and not further, findings=(*decision.findings, *further)
    )


def _decide(job: Job) -> tuple[GateRequest, Decision]:
    digests = {role: artifact.sha256 for role, artifact in job.inputs.items()}
    request = build_request(job.params, job.root, job.key, digests)
    decision = decide_gate(request, job.policies, job.evidence, job.now(), authority=job.authority)
    return request, decision


def build_request(
    params: Params, root: Path, key: str, known: Mapping[str, str] = {}
) -> GateRequest:
    """The request to the gate of stage `key`. `known` are digests by role that were computed
    already.
    """
    stage = params.stages[key]
    resolved = objective.resolve(params, key)
    released, *also = params.released_from(key)

    def model(role: str, name: str) -> ModelRef:
        return model_ref(params, root, name, known.get(role), known.get(f"{role}_suite"))

    return GateRequest(
        model=released,
        also=also,
        stage=key,
        method=stage.method,
        kind=method(stage.method).kind,
        data=DataRef(
            dataset=stage.data,
            sha256=known.get("data") or _records(root, stage.data),
            generated=params.generated(stage.data),
        ),
        suite=_suite(params, root, stage.suite, known.get("suite")),
        parent=model("parent", stage.parent),
        scorer=model("scorer", stage.scorer) if objective.uses_scorer(stage) else None,
        objective=resolved.digest,
        rewards=dict(objective.functions(resolved)),
        compared=held_out.demanded(params, root, stage.data),
    )


def declared_request(params: Params, key: str) -> GateRequest:
    """The request of stage `key` before its inputs exist: its digests of files are zeros."""
    stage, resolved = params.stages[key], objective.resolve(params, key)
    released, *also = params.released_from(key)

    def model(name: str) -> ModelRef:
        return ModelRef(
            name=name, outside=name in params.bases, sha256=UNKNOWN, files=[],
            suite=params.suite_of(name), suite_digest=UNKNOWN,
        )  # fmt: skip

    split = params.suites[stage.suite].split
    return GateRequest(
        model=released,
        also=also,
        stage=key,
        method=stage.method,
        kind=method(stage.method).kind,
        data=DataRef(dataset=stage.data, sha256=UNKNOWN, generated=params.generated(stage.data)),
        suite=SuiteRef(name=stage.suite, digest=UNKNOWN, records=UNKNOWN, split=split),
        parent=model(stage.parent),
        scorer=model(stage.scorer) if objective.uses_scorer(stage) else None,
        objective=resolved.digest,
        rewards=dict(objective.functions(resolved)),
    )


def release_request(
    params: Params,
    root: Path,
    model: str,
    *,
    champion: str | None = None,
    alias: str = CANDIDATE,
    digest: str | None = None,
) -> ReleaseRequest:
    """The request to `decide_release` about the stage that params.yaml releases as `model`.
    `digest` is its digest, if known.
    """
    released = model_ref(params, root, params.releases[model].stage, digest)
    return ReleaseRequest(model=model, released=released, champion=champion, alias=alias)


def model_ref(
    params: Params,
    root: Path,
    name: str,
    sha256: str | None = None,
    suite_records: str | None = None,
) -> ModelRef:
    """The model folder of a stage or base, and its suite as defined now."""
    folder = root / paths.model(name) / "model"
    if not folder.is_dir():
        fix = "run `countersign repro`, which makes it"
        raise InputError("there is no model", where=str(folder), fix=fix)
    suite = _suite(params, root, params.suite_of(name), suite_records)
    return ModelRef(
        name=name,
        outside=name in params.bases,
        sha256=sha256 or digests.tree_digest(folder),
        files=sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
        ),
        suite=suite.name,
        suite_digest=suite.digest,
        further=further_suites(params, root, name),
    )


def gate_bytes(request: GateRequest) -> bytes:
    """The content of `gates/STAGE.json`: the same bytes for the same digests."""
    content = {"stage": request.stage, "allowed": True, "decided_on": request.decided_on}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def report(request: GateRequest, decision: Decision) -> str:
    """The decision for people: every finding with its next step, and what was decided on."""
    head = f"Model {', '.join(request.models)}, tier {decision.tier}, method {request.method}"
    return decision_report(f"gate@{request.stage}", head, decision)


def decision_report(stage: str, head: str, decision: Decision) -> str:
    """The same of any decision. `head`: what it is about."""
    verdict = "allowed" if decision.allowed else f"refused, {len(decision.findings)} finding(s)"
    lines = [f"# {stage}: {verdict}", "", f"{head}, decided {instant(decision.at)}.", ""]
    for number, reason in enumerate(decision.findings, 1):
        message = f"{reason.message[:1].upper()}{reason.message[1:]}."
        lines += [f"## {number}. {reason.code}: {reason.subject}", "", message, ""]
        lines += [f"- expected: {reason.expected}"] if reason.expected else []
        lines += [f"- found: {reason.found}"] if reason.found else []
        lines += [f"- **next:** {reason.next}", ""]
    lines += ["| decided on | sha256 |", "|---|---|"]
    lines += [f"| {role} | `{digest}` |" for role, digest in decision.decided_on.items()]
    return "\n".join([*lines, ""])


def _gate_findings(job: Job, request: GateRequest) -> list[Finding]:
    """Findings about `gates/KEY.json` and its entry in the log."""
    stage, gate = f"stage {job.key}", f"gate@{job.key}"
    step = f"countersign repro {gate}"
    digest, found = digests.sha256_bytes(gate_bytes(request)), job.inputs["gate"].sha256
    if found != digest:
        code = "EVIDENCE_INCONSISTENT"
        message = f"{paths.gate(job.key)} does not permit training on these files"
        return [finding(code, stage, message, expected=digest[:12], found=found[:12], next=step)]
    recorded = job.evidence.signed_under(job.policies).by_subject(found, GateDecision)
    decisions = [statement.predicate for statement in recorded]
    if not any(decision.allowed and decision.stage == gate for decision in decisions):
        message = "the log has no decision that allows this training"
        expected = f"a decision of {gate} that allows it"
        return [finding("GATE_MISSING", stage, message, expected=expected, next=step)]
    return []


def released_suite(params: Params, root: Path, model: str) -> SuiteRef | None:
    """The suite of a released model that was trained elsewhere. None for one that a stage of
    params.yaml makes: the request of its gate has the suite.
    """
    name = params.releases[model].stage
    return _suite(params, root, params.suite_of(name)) if name in params.bases else None


def further_suites(params: Params, root: Path, model: str) -> list[FurtherSuite]:
    """The suites of a model's rows of `evaluations`, `tasks` and `judged`, as they are defined
    now.
    """
    return [_further(params, root, row, suite) for row, suite in params.further(model).items()]


def _further(params: Params, root: Path, row: str, suite: str) -> FurtherSuite:
    if row in params.tasks:
        return _task(root, row, params.tasks[row])
    if row in params.judged:
        return _judged(params, root, row)
    return FurtherSuite(row=row, **_suite(params, root, suite).model_dump())


def _task(root: Path, row: str, task: TaskEvaluation) -> FurtherSuite:
    folder = digests.tree_digest(root / paths.task(task.task))
    digest = definition.suite_digest(task, folder)
    return FurtherSuite(
        row=row, name=task.task, digest=digest, records=folder, split="task", harness="lm-eval"
    )


def _judged(params: Params, root: Path, row: str) -> FurtherSuite:
    judged = params.judged[row]
    records = _records(root, judged.prompts)
    judge = judging_suite.judge_of_card(
        root / paths.judge(judged.judge) / "card.json", judged.judge
    )
    opponent = digests.tree_digest(root / paths.model(judged.opponent) / "model")
    asked = params.judges[judged.judge]
    return FurtherSuite(
        row=row,
        name=judged.suite,
        digest=judging_suite.suite_digest(judged, asked, records, judge, opponent),
        records=records,
        split=judged.split,
        judge=judge,
        prompts=judged.prompts,
    )


def _suite(params: Params, root: Path, name: str, records: str | None = None) -> SuiteRef:
    suite, records = params.suites[name], records or _records(root, name)
    digest = suite_digest(suite, records)
    return SuiteRef(name=name, digest=digest, records=records, split=suite.split)


def _records(root: Path, dataset: str) -> str:
    return digests.digest_of(root / paths.ready(dataset) / paths.RECORDS)


def _write_report(root: Path, request: GateRequest, decision: Decision) -> None:
    path = root / paths.gate_report(request.stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, report(request, decision).encode())


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="stages",
    evidence="gate",
    is_rechecked=True,
    uses_digests_only=True,
)
