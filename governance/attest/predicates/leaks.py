"""How much of its training data a model gives away, as a leak probe measured it: counts and figures
only (docs/leak-probe.md).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from governance.attest.predicates.parts import Predicate, evidence_kind
from governance.attest.predicates.training import Canaries
from governance.base.model import Model, Sha256

Untestable = Literal["NO_CANARIES", "NO_PROBABILITIES", "NO_ANSWERS", "NO_HELD_OUT", "NO_WEIGHTS"]
"""Why a part was not measured. The training planted no canaries; a reward model gives no
probabilities of texts; the records have no answers to score; every record was trained on; the
model is an architecture.
"""

Part = Literal["canaries", "membership"]
"""The parts of a probe."""


class CanaryFigures(Model):
    """What a model gives away of the canaries of a training."""

    planted: Canaries
    """As derived again from the record key. The training states the same."""
    candidates: int = Field(ge=1)
    """Secrets that were never planted, with which each canary is compared."""
    ranks: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    """For each canary: 1 + how many candidates the model finds at least as probable. Chance alone
    gives every rank from 1 to `candidates` + 1 with the same probability.
    """
    extracted: int = Field(ge=0)
    """Canaries that the model completes by greedy decoding from the text before the secret."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.ranks) != self.planted.count or self.extracted > self.planted.count:
            raise ValueError("ranks and extractions are not those of the planted canaries")
        if max(self.ranks) > self.candidates + 1:
            raise ValueError("a rank beyond the number of candidates")
        return self


class Membership(Model):
    """How well the loss tells records that were trained on from held-out ones of one dataset."""

    members: int = Field(ge=2)
    non_members: int = Field(ge=2)
    auc: float = Field(ge=0, le=1)
    """Probability that a member has the higher score than a held-out record; 0.5 is chance."""
    error: float = Field(ge=0)
    """Its standard error (DeLong et al. 1988)."""
    found: int | None = Field(ge=0)
    """Members above the threshold that at most 1 % of the held-out records exceed. None where fewer
    than 100 records are held out.
    """
    false_alarms: int | None = Field(ge=0)
    """Held-out records above it."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.found is None) != (self.false_alarms is None):
            raise ValueError("found and false_alarms go together")
        if (self.found or 0) > self.members or 100 * (self.false_alarms or 0) > self.non_members:
            raise ValueError("more are found than there are, or more than 1 % are false alarms")
        return self


@evidence_kind("leak_probe", granted=True, optional_for_release=True)
class LeakProbe(Predicate):
    """A model was tested for what it gives away of the data of one training of its chain."""

    model: Sha256
    """Digest of the model folder that was tested."""
    data: Sha256
    """The records of that training."""
    parent: Sha256
    """The model that this training began from. Its loss is the reference, where it has weights."""
    trained: str
    """The name of that training's stage."""
    referenced: bool
    """Whether scores are the loss of the parent less that of the model; else the model's alone."""
    canaries: CanaryFigures | None
    membership: Membership | None
    not_measured: dict[Part, Untestable]
    """Part to the reason, where it has no figures."""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        parts = {"canaries": self.canaries, "membership": self.membership}
        if {name for name, part in parts.items() if part is None} != {*self.not_measured}:
            raise ValueError("each part has either figures or a reason")
        return self
