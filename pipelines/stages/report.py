"""Writes and signs the audit report of the registered version, and attaches it to the version in
the registry.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from governance.attest.digests import sha256_file
from governance.base.errors import VerificationError
from governance.bundle.sources import open_sources
from governance.commands.sources import compared
from governance.exports.formats.model_card import page_of
from governance.exports.records import read
from governance.machine.machine import known_signer, on_server, open_log
from governance.machine.trust import unwitnessed
from governance.people import authorizing, reports
from governance.people.reports import ComputedReport
from governance.release.shown import refresh
from governance.report import html
from governance.report.build import build
from pipelines import paths, provenance
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params

FOLDER = Path("reports")
REASON = "the pipeline registered it"
IN_REGISTRY = "report"
"""Folder of the run's artifacts for reports. Each report has a subfolder named by its digest,
because a governed server writes a file once.
"""
CARD = "model-card.md"


def inputs(params: Params, key: str) -> list[Input]:
    """What `register` did."""
    return [Input("register", paths.registered(key))]


def outputs(params: Params, key: str) -> list[Output]:
    """None for DVC: the file names contain the version."""
    return []


def run(job: Job) -> Outcome:
    """Builds and signs the report. A new report is attached to the registry first, so that a kill
    leaves nothing undone.

    The same report is one entry of the log. Signing it changes nothing in the next report
    (`governance.report.build`).
    """
    registered = json.loads(job.input("register").read_text(encoding="utf-8"))
    model, version = registered["model"], registered["version"]
    if version is None:
        return Outcome(summary=f"no report: {registered['why']}")
    at = job.now()
    sources = compared(open_sources(job.root, job.machine, job.policies, at), job.machine)
    if not on_server(job.machine):  # this machine asks the witnesses when the run is over
        sources = replace(sources, anchors=unwitnessed(sources.anchors))
    report = build(sources, model, version, clock=at)
    made = reports.computed(report, None)
    folder = job.root / FOLDER
    if report.integrity.verified:
        _sign(job, made)
        if html.differs(folder, made.files):
            card = job.scratch / CARD
            card.write_text(page_of(read(sources, (model, version), at)), encoding="utf-8")
            pages = html.write(job.scratch, made.files)
            _attach(job, model, registered["sha256"], [card, *pages])
    refresh(job.machine, open_log(job.machine, job.policies, job.now), at)
    page = html.write(folder, made.files)[-1].relative_to(job.root)
    if not report.integrity.verified:
        found = f"evidence does not verify: {report.integrity.first_broken}"
        raise VerificationError(found, where=str(page), fix="countersign verify")
    return Outcome(summary=f"{report.verdict.word}: {page}")


def _sign(job: Job, made: ComputedReport) -> None:
    log = open_log(job.machine, job.policies, job.now)
    at = job.now()
    machine = authorizing.on_behalf(job.machine, log, at)
    run = provenance.run(at, at, 0.0, machine.requester, {})
    signer = known_signer(machine, job.policies.keys)
    reports.sign(log, signer, machine, made, REASON, None, run)


def _attach(job: Job, model: str, digest: str, files: list[Path]) -> None:
    from governance.registry.mlflow import open_registry

    registry = open_registry(job.machine, say=job.progress.step, now=job.now)
    version = registry.find(model, digest)
    if version is not None:
        into = f"{IN_REGISTRY}/{sha256_file(files[-1])[:12]}"
        registry.attach(version, {f"{into}/{path.name}": path for path in files})


FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="releases",
    writes_runs=True,
    always_runs=True,
)
