"""The simulated desk as a project: its parameters, its files, and the jobs of a gate and of the
training behind it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Artifact, GateDecision
from governance.log.evidence import Evidence
from pipelines import paths
from pipelines.job import Job
from pipelines.metrics import suite_digest
from pipelines.params import Params
from pipelines.stages import gate
from tests.pipelines.jobs import job
from tests.simulator import (
    DATASETS,
    STAGES,
    InMemory,
    Plan,
    desk,
    digest,
    in_memory,
    model,
    ready,
    suite_of,
)


def params() -> Params:
    """The simulated desk as params.yaml would have it."""
    datasets = {
        name: {
            "kind": kind,
            "source": f"data/source/{name}.jsonl",
            "suite": kind,
            "held_out": "eval",
        }
        for name, kind in DATASETS.items()
    }
    stages: dict[str, Any] = {
        name: {
            "method": method,
            "data": data,
            "parent": parent,
            "scorer": scorer or parent,
            "suite": suite_of(name),
        }
        for name, (method, data, parent, scorer) in STAGES.items()
    }
    stages["grpo"]["rewards"] = [{"name": "route_exact"}, {"name": "model", "weight": 0.5}]
    return Params.model_validate(
        {
            "project": "support-desk",
            "records": {},
            "samples": {},
            "hub": {},
            "datasets": datasets,
            "bases": {"tiny": {"source": "tiny.json", "suite": "eval"}},
            "stages": stages,
            "suites": {
                "eval": {
                    "metrics": ["greedy_exact", "sampled_unsafe"],
                    "generation": {"samples": 4},
                },
                "pairs": {"metrics": ["pair_accuracy"]},
            },
            "releases": {"support-desk": {"stage": "grpo"}},
        }
    )


def files(root: Path) -> None:
    """Files with the digests of the simulated records; model folders stand for what they are
    called.
    """
    for name in DATASETS:
        for step, folder in (("scanned", paths.scanned(name)), ("ready", paths.ready(name))):
            path = root / folder / "records"
            path.parent.mkdir(parents=True)
            path.write_bytes(f"{step} {name}".encode())
    for name in ("tiny", *STAGES):
        folder = root / paths.model(name) / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"name": name}), encoding="utf-8")
        scores = root / paths.evaluation(name) / "scores.jsonl"
        scores.parent.mkdir(parents=True)
        scores.write_text(f"scores {name}", encoding="utf-8")


def planned(params: Params) -> Plan:
    """The simulated desk, evaluated on the suites of these parameters."""
    plan = desk()
    plan.suites = {name: suite_digest(suite, ready(name)) for name, suite in params.suites.items()}
    return plan


def gating(root: Path, plan: Plan | None = None, **more: Any) -> Job:
    """The job of gate@grpo, its models having the digests of the simulated ones."""
    given = params()
    world = in_memory(plan or planned(given))
    made = job(gate, "gate", "grpo", root, root / "made", given, **more)
    inputs = {
        **made.inputs,
        **{role: _model(role, name) for role, name in (("parent", "dpo"), ("scorer", "reward"))},
    }
    return replace(
        made, inputs=inputs, policies=world.policies, open_evidence=lambda: world.evidence
    )


def _model(role: str, name: str) -> Artifact:
    return Artifact(role=role, name=f"models/{name}/model", sha256=model(name))


def training(root: Path, plan: Plan | None = None, *, recorded: bool = True) -> Job:
    """The job of train@grpo behind that gate, whose answer stands in the log."""
    deciding = gating(root, plan)
    outcome = gate.run(deciding)
    answer = deciding.output("gate").read_bytes()
    view = deciding.evidence
    assert isinstance(view, InMemory)
    if recorded:
        said = {
            **view.items[-2].predicate.model_dump(),
            **outcome.predicate,
            "stage": "gate@grpo",
            "parameters": {},
        }
        fields = {name: said[name] for name in GateDecision.model_fields if name in said}
        subjects = (
            Artifact(role="gate", name="gates/grpo.json", sha256=sha256_bytes(answer)),
            *outcome.subjects,
        )
        predicate = GateDecision.model_validate(fields)
        view.items.append(
            Evidence(
                len(view.items), "gate", subjects, predicate, "development-key", True, digest("x")
            )
        )
    inputs = {role: deciding.inputs[role] for role in ("data", "parent", "scorer")}
    inputs["gate"] = Artifact(role="gate", name="gates/grpo.json", sha256=sha256_bytes(answer))
    return replace(deciding, name="train@grpo", inputs=inputs)
