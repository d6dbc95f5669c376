"""Registers the model of a released stage if its release is allowed, once per content, and makes it
`candidate`.

1. The release is decided before anything is registered: the release itself, and again every gate of
   its chain. The decision is always recorded. If it refuses, nothing is registered.
2. The same bytes are the same version: the registry is asked first, then the log. After a kill
   between registry and log, the next run finds the version and records it. If the same bytes have
   newer evidence (trained again, scanned again), the log records it for the same version.
3. Under `dvc exp run` nothing is registered unless COUNTERSIGN_REGISTER=1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.attest import canonical
from governance.attest.digests import manifest, tree_digest
from governance.attest.predicates import CANDIDATE, Artifact, ModelFile, Promotion, Registration
from governance.attest.requests import ReleaseDecision, ReleaseRequest
from governance.base.time import instant
from governance.history.chain import Chain
from governance.history.lineage import model_node
from governance.log import evidence
from governance.machine.machine import known_signer, open_log
from governance.machine.signers import model_signer
from governance.models.files import refuse_configs
from governance.models.signature import signed_files
from governance.people import authorizing
from governance.release.artifacts import REGISTRY_RUN
from governance.report import dossier
from pipelines import dvc_lock, paths, provenance
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.shown import source
from pipelines.stages import gate
from pipelines.training.modelfolder import write_json

if TYPE_CHECKING:
    from governance.registry.mlflow import MlflowRegistry
    from governance.registry.port import Version, VersionRequest

# The stage itself has no statement: registration and promotion are recorded here, each as its own
# kind.

NO_VERSION = "none"
ELSEWHERE = "elsewhere; how is declared, self-attested"
"""The tag of a model that was trained elsewhere."""


def inputs(params: Params, key: str) -> list[Input]:
    """The model that params.yaml releases under this name."""
    return [Input("model", paths.model(params.releases[key].stage) / "model")]


def outputs(params: Params, key: str) -> list[Output]:
    """What was registered, for the report that follows."""
    return [Output("register", paths.registered(key))]


def run(job: Job) -> Outcome:
    """Decides, registers, records and sets the alias."""
    log = open_log(job.machine, job.policies, job.now)
    job = replace(job, machine=authorizing.on_behalf(job.machine, log, job.now()))
    name, digest = job.key, job.inputs["model"].sha256
    if stands_aside(job.machine.environ):
        why = "experiments register nothing unless COUNTERSIGN_REGISTER=1"
        _write(job, {"model": name, "version": None, "sha256": digest, "why": why})
        return Outcome(summary=f"not registered: {why}")
    request = gate.release_request(job.params, job.root, name, digest=digest)
    decision = _decide(job, request)
    if not decision.allowed:
        _promote(job, request, decision, _known_version(job, digest) or NO_VERSION)
        return Outcome(refused=decision.findings)
    version, where = _register(job, request, decision)
    _write(job, {"model": name, "version": version.number, "sha256": digest})
    return Outcome(summary=f"{name} version {version.number} is {CANDIDATE}; see it: {where}")


def stands_aside(environ: Mapping[str, str]) -> bool:
    """Whether this is an experiment without COUNTERSIGN_REGISTER=1."""
    return bool(environ.get("DVC_EXP_NAME")) and environ.get("COUNTERSIGN_REGISTER") != "1"


def _decide(job: Job, request: ReleaseRequest) -> ReleaseDecision:
    from governance.gates.decisions import decide_release

    return decide_release(request, job.policies, job.evidence, job.now(), authority=job.authority)


def _register(job: Job, request: ReleaseRequest, decision: ReleaseDecision) -> tuple[Version, str]:
    """The version, now `candidate` in registry and log; and where to find it, with the next
    step.
    """
    from governance.registry.mlflow import open_registry

    refuse_configs(job.input("model"), str(job.input("model")))
    began, clock = job.now(), time.monotonic()
    digest, model = job.inputs["model"].sha256, job.key
    registry = open_registry(job.machine, say=job.progress.step, now=job.now)
    registry.runs.sweep()  # of a killed run: where its version is found, no other run is started
    view, further = job.evidence.signed_under(job.policies), request.released.further
    trained_here = model_node(view, digest).train is not None  # a base may be a version of ours
    suite = None if trained_here else gate.released_suite(job.params, job.root, model)
    chain = Chain(view, digest, _stage(job), suite=suite, further=further)
    files = manifest(job.input("model"))
    version = _find(job, registry) or registry.register(_request(job, chain, files, decision))
    run = provenance.run(
        began,
        job.now(),
        time.monotonic() - clock,
        job.machine.requester,
        {REGISTRY_RUN: version.run_id},
    )
    stage = _stage(job)
    registration = Registration(
        model=model,
        version=version.number,
        stage=stage,
        tier=decision.tier,
        model_digest=digest,
        files=files,
        chain=dossier.links(chain),
        policy=job.policies.digest,
        run=run,
        dvc=dvc_lock.behind(job.root, (paths.model(stage), paths.evaluation(stage))),
        suite=suite,
        further=further,
    )
    _record(job, "registration", registration)
    _promote(job, request, decision, version.number)
    frozen = _freeze(job, version.number)
    if CANDIDATE not in version.aliases:
        registry.set_alias(model, CANDIDATE, version.number)
    step = f"; next: countersign review {model}/{version.number}" if frozen else ""
    return version, f"{registry.where(version)}{step}"


def _find(job: Job, registry: MlflowRegistry) -> Version | None:
    """(2) The registry's version of these bytes. If its tag was lost, the one that the log
    names.
    """
    model, digest = job.key, job.inputs["model"].sha256
    versions, known = registry.versions(model), _known_version(job, digest)
    tagged = [version for version in versions if version.digest == digest]
    lost = [version for version in versions if version.number == known and not version.digest]
    return next(iter([*tagged, *lost]), None)


def _known_version(job: Job, digest: str) -> str | None:
    """The version of these bytes in the log."""
    statements = job.evidence.signed_under(job.policies).by_subject(digest, Registration)
    registrations = [statement.predicate for statement in statements]
    versions = [str(known.version) for known in registrations if known.model == job.key]
    return versions[-1] if versions else None


def _promote(job: Job, request: ReleaseRequest, decision: ReleaseDecision, version: str) -> None:
    """Records the decision about the alias with its request; an equal decision is not recorded
    twice.
    """
    promotion = Promotion(
        model=job.key,
        version=version,
        alias=CANDIDATE,
        model_digest=request.released.sha256,
        allowed=decision.allowed,
        findings=list(decision.findings),
        waived=list(decision.waived),
        policy=job.policies.digest,
        at=instant(decision.at),
        run=provenance.run(decision.at, job.now(), 0.0, job.machine.requester, {}),
        asked=request.model_dump(mode="json"),
    )
    _record(job, "promotion", promotion)


def _freeze(job: Job, version: str) -> bool:
    """Freezes the packet for approval, if the policies in force govern an alias. Returns whether
    they do.
    """
    policies = job.authority.in_force.policies if job.authority else None
    if policies is None or not policies.rules.aliases:
        return False
    from governance.history import packet
    from governance.release import promotion

    log = open_log(job.machine, job.policies, job.now)
    run = provenance.run(job.now(), job.now(), 0.0, job.machine.requester, {})
    model, now = job.key, promotion.state(log)
    frozen = promotion.freeze(now, model, version, job.now(), run)
    signer = known_signer(job.machine, job.policies.keys)
    evidence.record(log, signer, "packet", packet.subjects(frozen), frozen)
    return True


def _record(job: Job, kind: str, predicate: Registration | Promotion) -> None:
    log = open_log(job.machine, job.policies, job.now)
    signer = known_signer(job.machine, job.policies.keys)
    released: Artifact = job.inputs["model"]
    evidence.record(log, signer, kind, [released.model_copy(update={"role": "model"})], predicate)


def _request(
    job: Job, chain: Chain, files: list[ModelFile], decision: ReleaseDecision
) -> VersionRequest:
    from governance.registry.port import DatasetLink, VersionRequest

    attachments = {f"evidence/{name}": path for name, path in _documents(job, chain, files).items()}
    adapter = job.root / paths.model(_stage(job)) / "adapter"
    if chain.released.train and _same_adapter(adapter, chain.released.train.predicate.adapter):
        attachments["adapter"] = adapter
    datasets = [
        DatasetLink(
            data.dataset,
            data.sha256,
            "training" if any(use.startswith("train@") for use in uses) else "evaluation",
            data.quality.predicate.counts.records_out,
        )
        for data, uses in chain.datasets
        if data.quality
    ]
    return VersionRequest(
        model=job.key,
        folder=job.input("model"),
        digest=chain.digest,
        files=files,
        run_name=f"register {job.key}",
        description=_description(job, chain, decision),
        tags={
            "pipeline.stage": _stage(job),
            "pipeline.method": chain.released.method,
            "pipeline.tier": decision.tier,
            "pipeline.policy": job.policies.digest,
            "pipeline.parent": chain.released.parent or NO_VERSION,
            "pipeline.train_run": _train_run(chain),
            "pipeline.trained": ELSEWHERE if chain.released.imported else "here",
        },
        run_tags=source(job),
        params=dossier.parameters(chain),
        metrics=dossier.means(chain, job.policies),
        datasets=datasets,
        attachments=attachments,
    )


def _same_adapter(folder: Path, digest: str | None) -> bool:
    return digest is not None and folder.is_dir() and tree_digest(folder) == digest


def _train_run(chain: Chain) -> str:
    train = chain.released.train
    run = train.predicate.run.detail.get(REGISTRY_RUN) if train else None
    return str(run or NO_VERSION)


def _documents(job: Job, chain: Chain, files: list[ModelFile]) -> dict[str, Path]:
    """Writes the dossier, and the signature of OpenSSF Model Signing, to the job's own folder."""
    folder = job.scratch / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for name, document in dossier.documents(chain, files, job.policies).items():
        written[name] = folder / name
        written[name].write_bytes(canonical.dumps(document))
    signer = model_signer(job.machine.keys)
    for name, data in signed_files(job.key, files, signer).items():
        written[name] = folder / name
        written[name].write_bytes(data)
    return written


def _description(job: Job, chain: Chain, decision: ReleaseDecision) -> str:
    """The description for people. Decisions use the log only."""
    stage = f"Stage `{_stage(job)}` ({chain.released.method}), tier {decision.tier}"
    report = f"`countersign report {job.key}/VERSION` shows its evidence"
    lines = [
        f"{stage}; model sha256 `{chain.digest}`.",
        *([f"Trained {ELSEWHERE}."] if chain.released.imported else []),
        f"{report}; the run's artifacts have it too.",
        "Tags and this text are for display only: decisions use the log.",
        "MLflow verifies nothing when it loads. Load it with `pipelines.loader.load`, which does.",
    ]
    return "\n\n".join(lines)


def _stage(job: Job) -> str:
    return job.params.releases[job.key].stage


def _write(job: Job, result: dict[str, Any]) -> None:
    write_json(job.output("register"), result)


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="releases",
    also_signs=("registration", CANDIDATE),
    always_runs=True,
    writes_runs=True,
)
