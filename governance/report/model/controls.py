"""What outside frameworks ask, and the evidence for it."""

from __future__ import annotations

from typing import Literal

from governance.base.model import Model
from governance.report.frameworks import Control
from governance.report.model.parts import Refs

Outcome = Literal[
    "evidence present and verified", "partial", "missing", "not applicable", "not assessed"
]
Presence = Literal["present", "partial", "missing", "not recorded"]
"""Of a kind of evidence: complete; partly there; missing; or Countersign keeps no record of it."""


class Link(Model):
    """One kind of evidence, and what this version has of it."""

    key: str
    asks: str
    """What complete evidence contains."""
    state: Presence
    says: str
    lacks: list[str]
    evidence: Refs


class ControlRow(Model):
    """What an outside framework asks, and the evidence for it of this version."""

    framework: str
    control: Control
    """The entry of the catalogue."""
    asked_by: str | None
    """The older id that the caller gave, and what replaced it; None for a current id."""
    result: Outcome
    why: str | None
    """Why the control is not applicable or not assessed; None otherwise."""
    kinds: dict[str, str]
    """The kinds of evidence that could show it, and what this version has of each."""
    in_force: str
    """On the day of the report, in words."""
    in_force_later: bool
    """Whether it is not in force for anybody on that day."""
    evidence: Refs
    """At most `controls.EVIDENCE_SHOWN`."""
