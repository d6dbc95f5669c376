"""What the sections of a report share: results, reasons, estimates, and references to the log."""

from __future__ import annotations

from typing import Literal

from governance.base.model import Json, Model

NOT_USED = "not established: the log does not verify"
"""The value of a text that the report of such a log does not have."""
Result = Literal["pass", "fail", "waived", "not run", "no threshold"]
ScoreRole = Literal["this version", "champion", "parent", "scorer", "base", "earlier stage"]
Refs = list[int]
"""Indexes of log entries."""


class Reason(Model):
    """A reason with a code."""

    code: str
    """A name of `report.reasons.Say`."""
    fields: dict[str, Json]
    text: str


class Estimate(Model):
    """A mean over items, with its confidence interval."""

    n: int
    mean: float | None
    low: float | None
    high: float | None
