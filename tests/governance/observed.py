"""A released version whose policy has limits of monitoring, and windows of what it did in service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact
from governance.log import evidence
from governance.machine.machine import signer
from tests.governance.examples import monitoring as example
from tests.governance.governed import KINDS, RULES, Governed, begun, principals
from tests.governance.story import MODEL

POLICY = """
monitoring:
  currency: EUR
  prices: {support-desk: {input: 0.5, output: 1.5}}
  search: {share: 0.1}
  objective: {success: 0.9, days: 28, minimum: 200, blocks: true}
  thresholds:
    - {name: errors, metric: error_rate, limit: 0.05, direction: at_most, minimum: 100, blocks: true}
    - {name: slow, metric: latency_p95_ms, limit: 640, direction: at_most, minimum: 100}
    - {name: private, metric: personal_data_rate, limit: 0.05, direction: at_most, minimum: 40}
    - {name: liked, metric: preferred_rate, limit: 0.5, direction: at_least, minimum: 10}
"""
HOUR = "2026-09-02T{:02d}:00:00.000Z"


def observed(folder: Path) -> Governed:
    """A champion; policy has limits, and ci may sign what it observes."""
    people = principals(services={"ci": [*KINDS, "monitoring"]})
    found = begun(folder, RULES + POLICY, people)
    found.released()
    return found


def observe(scene: Governed, by: Signer | None = None, **fields: Any) -> None:
    """A window of the champion."""
    number = fields.get("window", 1)
    sha256 = fields.pop("sha256", scene.story.models["sft"])
    times = {"begins": HOUR.format(number - 1), "ends": HOUR.format(number)}
    predicate = example(**{"model": MODEL, "version": "1", **times, **fields})
    subject = Artifact(role="model", name=f"{MODEL}/1", sha256=sha256)
    evidence.record(
        scene.story.log, by or signer(scene.story.machine), "monitoring", [subject], predicate
    )


def failing(errors: int, **fields: Any) -> dict[str, Any]:
    answered = 120 - errors
    latency = [0] * 4 + [answered] + [0] * 10
    read = min(112, answered)
    tokens = {"answers": read, "input": 5_500, "output": 22_000}
    return {
        "errors": errors, "left": 0, "rejected": 0, "latency": latency, "read": read,
        "refusals": 0, "tokens": tokens, "request_bytes": [], "answer_characters": [], **fields,
    }  # fmt: skip
