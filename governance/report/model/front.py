"""Page one of a report: verdict, use, exceptions, gates, people, integrity, what is open, and the
way back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from governance.attest.predicates import Waiver
from governance.base.model import Json, Model, empty
from governance.report.model.parts import NOT_USED, Reason, Refs, Result

VerdictWord = Literal[
    "APPROVED",
    "APPROVED WITH CONDITIONS",
    "NOT APPROVED",
    "PENDING",
    "WITHDRAWN",
    "COMPLETENESS NOT SHOWN",
    "EVIDENCE DOES NOT VERIFY",
]
GateName = Literal[
    "Data quality",
    "Personal data",
    "Lineage",
    "Labelling",
    "Evaluation",
    "Safety",
    "Privacy leakage",
    "Signatures and files",
]
GapResult = Literal["fail", "not run", "no threshold", "not recorded"]
GapCode = Literal[
    "GATE", "QUALITY_CHECK", "EARLIER_RUN", "REFUSED", "EVALUATION", "NO_TEST", "SLICES",
    "REPRODUCTION", "DRILL", "COUNTER_METRIC", "CANARY",
]  # fmt: skip


class Verdict(Model):
    """The verdict of the version."""

    word: VerdictWord
    reasons: list[Reason] = []
    reason: str
    """The sentences of `reasons`."""
    alias: str | None = None
    """The alias that was decided on last."""
    decided: str
    """When and by whom that was decided."""
    conditions: list[str] = []
    """Each waived finding with the end of its waiver."""
    evidence: Refs = []


class Separation(Model):
    """Whether different people trained, evaluated and approved."""

    state: Literal["holds", "broken", "not shown"] = "not shown"
    own: list[str] = []
    """Who approved their own work."""
    reasons: list[Reason] = []
    text: str = NOT_USED


class Use(Model):
    """What the model is for."""

    approved_for: list[str] = ["nothing: evidence that does not verify permits nothing"]
    not_approved_for: list[str] = ["any use"]
    tier: str = NOT_USED
    tier_demands: list[str] = []
    review_by: str = "now"
    in_service: list[str] = Field([], exclude_if=empty)
    """What was observed of it in service; empty where nobody observed it."""


class Notice(Model):
    """An exception: something a reader has to know before any good news."""

    kind: Literal["fault", "waiver", "note"]
    """It contradicts the verdict or the records; a person accepted it for a while; neither."""
    code: str
    """A name of `report.reasons.About`."""
    fields: dict[str, Json]
    title: str
    detail: str
    evidence: Refs = []


class WaiverRow(Model):
    """A finding that somebody accepted for a while."""

    waiver: Waiver
    """The signed waiver."""
    why_ended: str | None
    """Why it is not in force; None while it is."""
    renewals: int
    """Waivers of the same before this one."""
    used: bool
    """Whether a decision allowed the version because of it."""
    evidence: Refs


class Gate(Model):
    """One row of page one's table."""

    name: GateName
    result: Result
    codes: list[str] = []
    """Finding codes that decide the result: those that stand, or those that are waived."""
    reasons: list[Reason]
    value: str
    """The sentences of `reasons`."""
    threshold: str | None = None
    evidence: Refs = []


class Person(Model):
    """Who did something, as far as that is shown."""

    did: Literal["trained", "evaluated", "validated", "approved", "rejected", "deployed"]
    state: Literal["done", "ended", "not counted", "superseded", "not done"]
    """`ended`: it was deployed and is not any more."""
    who: str
    role: str | None = None
    at: str | None = None
    key: str | None = None
    assurance: str = "none"
    opened_at: str | None = None
    """When an approver opened the page; None where that is not recorded."""
    seconds: float | None = None
    """Between opening the page and signing."""
    evidence: Refs = []


NO_ANCHOR = "none: no checkpoint outside this machine is recorded"


class Integrity(Model):
    """Whether the records can be believed, and how far."""

    verified: bool
    complete: bool = True
    """Whether no entry about the model can be missing. False for a bundle that does not show it."""
    first_broken: str | None = None
    entries: int
    root: str = NOT_USED
    origin: str = NOT_USED
    tree_head: str = NOT_USED
    """What a checkpoint of the log at this size says, but for its signature: log, entries, root."""
    anchor: str = NO_ANCHOR
    """Which witness cosigned how many entries, and when."""
    signatures: str = NOT_USED
    evidence_present: str = NOT_USED
    registry: str = NOT_USED
    shows: list[str]
    does_not_show: list[str]


class Item(Model):
    """Something open."""

    code: str
    """A finding's code, or `INCIDENT`, `SECOND_SIGNATURE`, `WAIVER_ENDS`, `REQUEST`,
    `APPROVALS`, `CANDIDATE_ONLY`, `NOT_SET`, `REVIEW`, `ERASURE`, `MONITORING`.
    """
    about: str | None = None
    """The version or model, e.g. `desk/2`."""
    what: str
    next: str | None = None
    owner: str | None = None
    due: str | None = None
    overdue: bool = False
    evidence: Refs = []


class Hold(Model):
    """An alias that the version held."""

    alias: str
    since: str
    until: str | None
    """When it was taken away; None while it holds the alias."""
    ended: str | None
    """How it ended."""
    asked_by: str
    evidence: Refs


class Back(Model):
    """How to go back."""

    target: str = NOT_USED
    steps: str = NOT_USED
    people: str = NOT_USED
    drill: str = NOT_USED
    evidence: Refs = []


class Gap(Model):
    """A test that failed, was not run, or says nothing."""

    code: GapCode
    what: str
    result: GapResult
    why: str
    evidence: Refs = []
