"""A stage's job without the harness: for tests of one stage's own work."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from governance.attest import digests
from governance.attest.predicates import Artifact
from governance.base.progress import Progress
from governance.machine.machine import machine
from pipelines.job import Job
from pipelines.params import Params, load_params

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def job(
    module: ModuleType,
    family: str,
    key: str,
    root: Path,
    made: Path,
    params: Params | None = None,
    **more: Any,
) -> Job:
    """The job of one stage: inputs from the project at `root`, outputs below `made`."""
    params = params or load_params(root)
    inputs, outputs = module.inputs(params, key), module.outputs(params, key)
    for output in outputs:
        (made / output.path).parent.mkdir(parents=True, exist_ok=True)
    (made / "scratch").mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {
        "name": f"{family}@{key}",
        "key": key,
        "root": root,
        "params": params,
        "policies": None,
        "machine": machine(
            params.project, {"COUNTERSIGN_HOME": str(made / "home"), "COUNTERSIGN_REQUESTER": "ada"}
        ),
        "inputs": {
            item.role: Artifact(
                role=item.role,
                name=item.path.as_posix(),
                sha256=digests.digest_of(root / item.path),
            )
            for item in inputs
        },
        "input_paths": {item.role: root / item.path for item in inputs},
        "output_paths": {output.role: made / output.path for output in outputs},
        "scratch": made / "scratch",
        "now": lambda: NOW,
        "progress": Progress(io.StringIO()),
        "open_evidence": lambda: None,
    }
    return Job(**{**fields, **more})
