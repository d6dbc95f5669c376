"""Incidents of a version, and what people overrode or excepted while it was in use."""

from __future__ import annotations

from typing import Literal

from governance.attest.predicates import Severity
from governance.base.model import Model, Sha256
from governance.report.model.parts import Refs
from governance.report.model.record import LegalClock


class Said(Model):
    """One thing that a person said of an incident."""

    text: str
    by: str
    role: str
    at: str
    """When it was signed; of a check, when it was measured."""
    evidence: Refs


class Affected(Model):
    """A model that was made from the version: trained from it, scored by it, or trained on what it
    wrote or judged.
    """

    name: str
    """MODEL/VERSION, or the training stage where it has no version."""
    sha256: Sha256
    named: bool
    """Whether the opening named it. The others were made or registered since."""


class InterventionRow(Model):
    """A person overrode what a version said or did, or let an exception pass."""

    event: Literal["override", "exception"]
    what: str
    reason: str
    by: str
    role: str
    at: str
    """When it happened."""
    evidence: Refs


class IncidentRecord(Model):
    """One incident, from its opening to its closing."""

    about: str
    """MODEL/VERSION"""
    sha256: Sha256
    state: Literal["open", "closed"]
    severity: Severity | None
    kinds: list[str]
    opened_at: str
    opened_by: str
    reason: str
    aware_at: str
    aware_stated: bool
    """Whether somebody stated that time; else it is that of the opening."""
    classified_at: str | None
    determined_at: str | None
    affected: list[Affected]
    informed: list[Said]
    actions: list[Said]
    interventions: list[InterventionRow]
    """While it was open."""
    cause: str | None
    checks: list[Said]
    """What was measured to see whether the actions were effective."""
    closed_at: str | None
    closed_by: str | None
    closing_reason: str | None
    not_stated: list[str]
    """What a record of an incident has, and nobody has said."""
    clocks: list[LegalClock]
    evidence: Refs
    """The opening and the closing."""
