"""The typed audit report. The JSON twin, the page and the terminal text are made from it.

1. Every figure comes from verified records; nobody types any of it.
2. What does not exist is `null` or an empty list, never a word: a person may be called `none`.
3. A reason has a code and fields; `text` is the sentence made from them (`report.reasons`).
4. An evidence reference `12` is entry 12 of the log; `evidence` lists each entry with digest and
   key.
5. The same log and files give the same bytes, because every time in it comes from the log.

Format v1 had words such as `none` in place of null, and no codes. Reports that were signed in that
format are returned unchanged, by their digest.
"""

from __future__ import annotations

from pydantic import Field

from governance.attest.predicates import ModelFile
from governance.base.model import Model, empty
from governance.report.model.behaviour import Behaviour, RewardModel, StageGain
from governance.report.model.controls import ControlRow
from governance.report.model.data import Dataset, ReadersPart
from governance.report.model.front import (
    Back,
    Gap,
    Gate,
    Hold,
    Integrity,
    Item,
    Notice,
    Person,
    Separation,
    Use,
    Verdict,
    WaiverRow,
)
from governance.report.model.incident import IncidentRecord, InterventionRow
from governance.report.model.parts import NOT_USED
from governance.report.model.record import (
    Change,
    Decision,
    Edge,
    LegalClock,
    Node,
    PolicyUsed,
    SignedRow,
    Statement,
)
from governance.report.model.scores import AlignmentTax, Metric, OutsideResults
from governance.report.model.training import Base, RewardFunction, Training

FORMAT = "https://countersign.dev/report/v2"


class EvidenceSections(Model):
    """The evidence of a version: the report and the page that approvers sign both show this."""

    gates: list[Gate] = []
    change_since: str = NOT_USED
    changes: list[Change] = []
    unchanged: dict[str, int] = {}
    """Group to the number of properties that are the same in the version before."""
    datasets: list[Dataset] = []
    confidence: float
    thresholds_fixed: str = NOT_USED
    alignment: AlignmentTax = AlignmentTax()
    metrics: list[Metric] = []
    behaviour: Behaviour = Behaviour()
    stage_gains: list[StageGain] = []
    reward_models: list[RewardModel] = []
    rewards: list[RewardFunction] = []
    outside: list[OutsideResults] = []
    """Results of other evaluation tools."""


class Report(EvidenceSections):
    """The audit report of one model version."""

    format: str = FORMAT
    generator: str
    """Of the same log, files, time and generator the bytes are the same."""
    project: str
    model: str
    version: str
    digest: str = NOT_USED
    """sha256 of the model folder's manifest; words where that is not established."""
    as_of: str
    """Time of the last entry of the log that was read."""
    log_range: str
    entries_read: int
    """It rests on entries before this one."""
    reads: str | None = None
    """How far the log was read; None for its end."""
    verdict: Verdict
    use: Use = Use()
    exceptions: list[Notice] = []
    waivers: list[WaiverRow] = []
    people: list[Person] = []
    separation: Separation = Separation()
    integrity: Integrity
    way_back: Back = Back()
    holds: list[Hold] = []
    open: list[Item] = []
    gaps: list[Gap] = []
    policy: PolicyUsed = PolicyUsed()
    controls: list[ControlRow] = []
    control_warnings: list[str] = [NOT_USED]
    decisions: list[Decision] = []
    clocks: list[LegalClock] = Field([], exclude_if=empty)
    incidents: list[IncidentRecord] = Field([], exclude_if=empty)
    interventions: list[InterventionRow] = Field([], exclude_if=empty)
    """What people overrode or excepted while it was in use."""
    signed_reports: list[SignedRow] = []
    readers: ReadersPart = ReadersPart()
    bases: list[Base] = []
    trainings: list[Training] = []
    nodes: list[Node] = []
    edges: list[Edge] = []
    files: list[ModelFile] = []
    meanings: dict[str, str] = {}
    """Each finding code named in the report, with its meaning in a sentence."""
    evidence: list[Statement] = []
