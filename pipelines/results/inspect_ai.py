"""JSON logs of inspect-ai, version 2 of its format: one task, with a list of scores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from governance.attest.predicates import ToolMetric, ToolTask
from governance.base.errors import InputError
from governance.base.time import instant

VERSION = 2
OF_A_MEAN = frozenset({"accuracy", "mean"})
"""Metrics whose standard error the metric `stderr` is."""


def fields(content: dict[str, Any]) -> dict[str, Any]:
    """The fields of `pipelines.results.file.ToolFile`. Raises `InputError` for a run that did not
    end well, `ValidationError` and errors of missing or malformed fields.
    """
    if content["version"] != VERSION:
        raise InputError(f"version {str(content['version'])[:20]} of inspect-ai's log format")
    if content["status"] != "success" or content.get("invalidated"):
        raise InputError("a log of a run that did not succeed, or was invalidated")
    completed = datetime.fromisoformat(content["stats"]["completed_at"])
    if completed.tzinfo is None:
        raise InputError("a time without its offset from UTC: stats.completed_at")
    run, results = content["eval"], content["results"]
    task = ToolTask(
        name=run["task"],
        version=str(run["task_version"]),
        digest=None,
        shots=None,
        items=results["completed_samples"],
        of=run["dataset"]["samples"],
        metrics=[metric for score in results["scores"] for metric in _metrics(score)],
    )
    return {
        "version": run["packages"]["inspect_ai"],
        "dated": instant(completed),
        "named": str(run["model"]),
        "tasks": [task],
    }


def _metrics(score: dict[str, Any]) -> Iterator[ToolMetric]:
    values = {name: metric["value"] for name, metric in score["metrics"].items()}
    for name, value in sorted(values.items()):
        if name != "stderr":
            stderr = values.get("stderr") if name in OF_A_MEAN else None
            yield ToolMetric(name=name, variant=score["name"], value=value, stderr=stderr)
