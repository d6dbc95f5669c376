"""Decides every gate again, in one process, at every repro: approvals arrive and expire, keys are
revoked and rewards are edited outside of what DVC can see.

1. For each row of `stages` it writes what would refuse a training now, by the decision that `train`
   makes (`gate.against`), and what a waiver excuses. Nothing in it changes with time alone.
2. The gate of the row reads its file. DVC therefore runs a gate where the answer changed, and the
   gate records its decision or refuses. Where a file of dvc.yaml changed, DVC runs it in any case.
3. A row that cannot be decided yet, because an input is missing, has an empty file: DVC makes the
   input and then runs the gate.
4. DVC takes neither these files nor a gate's from an earlier run: the log at hand decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from governance.attest import digests
from governance.attest.predicates import Artifact
from governance.base.errors import CountersignError
from pipelines import lock, paths
from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output
from pipelines.params import Params
from pipelines.stages import gate
from pipelines.training.modelfolder import write_json


def inputs(params: Params, key: str) -> list[Input]:
    """None for DVC: it runs each time."""
    return []


def outputs(params: Params, key: str) -> list[Output]:
    """One file for each training stage."""
    return [Output("recheck", paths.RECHECKED)]


def run(job: Job) -> Outcome:
    """Decides the gates whose inputs are here. Raises `ConfigError` for a gate's code that is not
    locked.
    """
    lock.check(job.root, "gate")
    folder = job.output("recheck")
    folder.mkdir()
    found = {key: _against(job, key) for key in job.params.stages}
    for key, reasons in found.items():
        write_json(folder / paths.rechecked(key).name, reasons)
    refused = sum("findings" in reasons for reasons in found.values())
    return Outcome(summary=f"{len(found)} gates decided again, {refused} would refuse")


def _against(job: Job, key: str) -> dict[str, Any]:
    """(1), (3)"""
    files = [*gate.inputs(job.params, key), Input("gate", paths.gate(key))]
    if not all((job.root / file.path).exists() for file in files):
        return {}
    own = replace(
        job,
        name=f"gate@{key}",
        key=key,
        inputs={file.role: _hashed(job, file) for file in files},
        input_paths={file.role: job.root / file.path for file in files},
        open_evidence=lambda: job.evidence,
        open_authority=lambda: job.authority,
    )
    try:
        return gate.against(own)
    except CountersignError as error:  # the gate says it
        return {"error": error.exit_code}


def _hashed(job: Job, file: Input) -> Artifact:
    digest = digests.digest_of(job.root / file.path)
    return Artifact(role=file.role, name=file.path.as_posix(), sha256=digest)


FAMILY = StageFamily(run=run, inputs=inputs, outputs=outputs, always_runs=True)
