"""What `countersign serve` may go on with: the part `serving` of policies/policy.yaml.

1. Without this part, the strictest values hold, except for the age of the log.
2. An incident without a severity counts as critical.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from governance.attest.predicates import Severity
from governance.base.model import Model

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the most severe."""


class ServingRules(Model):
    """policy.yaml: serving."""

    stale_hours: int = Field(default=24, ge=0, le=24 * 31, strict=True)
    """How long a version is served while the log cannot be read."""
    when_stale: Literal["stop", "continue"] = "stop"
    """What happens afterwards."""
    stop_at_incident: Severity | Literal["never"] = "low"
    """The least severity of an open incident that ends serving of these bytes."""
    handover_minutes: int = Field(default=10, ge=0, le=24 * 60, strict=True)
    """How long, after a promotion, the version before it is served until the new one is ready. A
    rollback or retirement ends at once what it takes back.
    """

    def stops_at(self, severity: Severity | None) -> bool:
        """Whether an open incident of this severity ends serving."""
        if self.stop_at_incident == "never":
            return False
        return SEVERITIES.index(severity or "critical") >= SEVERITIES.index(self.stop_at_incident)
