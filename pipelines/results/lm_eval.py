"""`results_*.json` of lm-evaluation-harness 0.4: `results` has `METRIC,FILTER` and
`METRIC_stderr,FILTER` for each task and group.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from governance.attest.predicates import ToolMetric, ToolTask
from governance.base.time import instant

STDERR = "_stderr"


def fields(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of `pipelines.results.file.ToolFile`. Raises `ValidationError` and errors of
    missing or malformed fields.
    """
    return {
        "version": str(content["lm_eval_version"]),
        "dated": instant(datetime.fromtimestamp(float(content["date"]), UTC)),
        "named": str(content.get("model_name")),
        "tasks": [_task(content, name, row) for name, row in sorted(content["results"].items())],
    }


def _task(content: dict[str, Any], name: str, row: dict[str, Any]) -> ToolTask:
    items, version = content["n-samples"].get(name, {}), content["versions"].get(name)
    return ToolTask(
        name=name,
        version=None if version is None else str(version),
        digest=content.get("task_hashes", {}).get(name),
        shots=content["n-shot"].get(name),
        items=items.get("effective"),
        of=items.get("original"),
        metrics=list(_metrics(row)),
    )


def _metrics(row: dict[str, Any]) -> Iterator[ToolMetric]:
    for key, value in sorted(row.items()):
        name, comma, variant = key.partition(",")
        if not comma or name.endswith(STDERR):
            continue
        error = row.get(f"{name}{STDERR},{variant}")
        stderr = None if isinstance(error, str) else error  # `N/A`
        yield ToolMetric(name=name, variant=variant, value=value, stderr=stderr)
