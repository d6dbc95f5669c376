"""The record behind a version: what changed, was decided and signed, under which policies, on which
entries it rests, and where it comes from."""

from __future__ import annotations

from typing import Literal

from governance.attest.predicates import SignedReport
from governance.base.model import Model, Sha256
from governance.history.clocks import State
from governance.report.model.parts import NOT_USED, Refs


class Change(Model):
    """One thing that two versions are compared by, and differ in."""

    group: str
    """Data, recipe, code, base model, rules, or results."""
    what: str
    before: str
    now: str


Answer = Literal[
    "allowed",
    "refused",
    "approved",
    "rejected",
    "asked",
    "waived",
    "frozen",
    "opened",
    "closed",
    "reviewed",
    "logged",
    "does not count",
    "registered",
    "stopped",
]


class LegalClock(Model):
    """A legal deadline that an incident of this version started, as it stood at the report's
    time.
    """

    clock: str
    rule: str
    to: str
    state: State
    trigger: str
    due: str | None
    filed: str | None
    checked: bool
    """Whether somebody compared the rule with its source."""
    evidence: Refs


class Decision(Model):
    """What was decided, or said by a person, about this version or a stage it rests on; in the
    order of the log.
    """

    about: str
    what: str
    answer: Answer
    by: str = "the automatic checks"
    """Who said it, and in which role."""
    words: str | None = None
    """A person's own reason."""
    shown: str | None = None
    """Digest of the page that an approver was shown."""
    at: str
    tier: str | None = None
    findings: list[str] = []
    evidence: Refs


class SignedRow(Model):
    """A report of this version that somebody signed before."""

    report: SignedReport
    by: str
    evidence: Refs


class PolicyUsed(Model):
    """Under which policies the version is judged, and since when they are fixed."""

    which: str = NOT_USED
    digest: str = NOT_USED
    since: str = NOT_USED
    signed_by: list[str] = []
    proposals: list[str] = []
    """Policies that were recorded and are not in force."""
    demands: list[str] = [NOT_USED]
    evidence: Refs = []


class Node(Model):
    """One thing in the drawing of where the version comes from."""

    id: str
    kind: Literal["source", "dataset", "base", "stage", "release"]
    label: str
    note: str
    digest: str
    row: int
    evidence: Refs


class Edge(Model):
    """`start` was made into, or used for, `end`."""

    start: str
    end: str
    role: str


class Statement(Model):
    """One entry of the log that this report rests on."""

    index: int
    kind: str
    about: str
    digest: Sha256
    subjects: list[str]
    key: str
    """The key id."""
    signer: str
    """Whose key it is, in words."""
    at: str
