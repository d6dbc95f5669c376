"""Windows of monitoring, without a log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from governance.attest.predicates import Artifact, Monitoring
from governance.base.time import instant
from governance.log.evidence import Evidence
from tests.governance.examples import A, C
from tests.governance.examples import monitoring as example

START = datetime(2027, 1, 1, tzinfo=UTC)
NOBODY: dict[str, Any] = {
    "rejected": 0, "errors": 0, "left": 0, "tokens": {"answers": 0, "input": 0, "output": 0},
    "cost": None, "refusals": 0, "read": 0, "characters": 0, "feedback": {}, "compared": [],
    "request_bytes": [], "answer_characters": [], "searched": None, "latency": [0] * 15,
    "latency_sum_ms": 0, "requests": 0,
}  # fmt: skip


def window(hour: int, **fields: Any) -> Evidence[Monitoring]:
    """The window of an hour after the start, its entry too; nobody asked but for `fields`."""
    begins = START + timedelta(hours=hour)
    times = {"begins": instant(begins), "ends": instant(begins + timedelta(hours=1))}
    predicate = example(**{**NOBODY, "window": hour + 1, **times, **fields})
    model = Artifact(role="model", name="support-desk/2", sha256=A)
    return Evidence(hour, "monitoring", (model,), predicate, "", False, C)
