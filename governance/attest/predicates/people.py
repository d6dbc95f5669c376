"""What people sign: approvals, waivers, requests, incidents, keys."""

from typing import Literal

from pydantic import Field

from governance.attest.predicates.parts import Artifact, Day, Instant, Logged, evidence_kind
from governance.base.model import Model, Sha256, Slug, empty


class Signed(Logged):
    """What every statement by a person says of that person."""

    principal: str
    role: str
    """The role in which the person signs."""
    reason: str
    at: Instant
    """By the person's own clock. Rights are judged by the position in the log."""


@evidence_kind("approval")
class Approval(Signed):
    """A person approved or rejected exactly these bytes, after seeing the page made from them."""

    decision: Literal["approve", "reject"]
    about: Literal[
        "packet",
        "policy",
        "data",
        "objective",
        "reward",
        "checkpoint_key",
        "promotion",
        "registration",
    ]
    """For a registration: its statement is the one that stands, of several with one version and
    different bytes.
    """
    model: str | None = None
    alias: str | None = None
    """For a packet: the alias it may be given; None for any that policy governs."""
    page: Sha256 | None
    """sha256 of the review page that was shown; None where there is no page."""
    expires: Instant | None = None
    opened_at: Instant | None = Field(None, exclude_if=empty)
    """When its author opened that page, by their own clock. Absent from older approvals and where
    there is no page.
    """


class Accepted(Model):
    """What was found, of one finding that is accepted: see `Finding`."""

    measure: str = Field("", exclude_if=empty)
    figures: list[str]

    @property
    def text(self) -> str:
        """For people, e.g. `greedy_exact 0.710 0.655 0.758 300`."""
        return " ".join([self.measure, *self.figures]).strip()


@evidence_kind("waiver")
class Waiver(Signed):
    """A finding is accepted for a limited time. The subject is the model, or the data that a gate
    decided on. The next packet has the waiver.
    """

    model: str
    finding: str
    """Its code."""
    about: str
    """The finding's subject, e.g. `model grpo`."""
    owner: str
    """Who answers for the risk during this time."""
    control: str
    """The compensating control."""
    expires: Instant
    accepts: list[Accepted] = Field([], exclude_if=empty)
    """What was found, for each finding of this code and subject. The waiver covers nothing else;
    under version 1 of the rules, whatever has the code and the subject. Empty where nothing has
    figures.
    """

    @property
    def accepted(self) -> str:
        """What was found, for people; empty where it has no figures."""
        return "; ".join(each.text for each in self.accepts)


@evidence_kind("request", not_copied=True)
class PromotionRequest(Signed):
    """A person asks for one move of one alias. It can be carried out once."""

    action: Literal["promote", "rollback", "retire"]
    model: str
    version: str
    alias: str
    model_digest: Sha256
    packet: Sha256 | None
    from_version: str | None
    nonce: str
    expires: Instant
    break_glass: bool = False


@evidence_kind("authorization")
class Authorization(Signed):
    """A person lets services run in their name until a time. The subject is the id of the key that
    signs it; under version 1 of the rules it was the digest of the policies that they knew.
    """

    expires: Instant


@evidence_kind("revocation", not_copied=True)
class Revocation(Signed):
    """A key signs nothing from this entry on. The subject is the key's id, which is a sha256."""

    owner: str
    """The principal whose key it is."""


@evidence_kind("checkpoint_key", not_copied=True)
class CheckpointKey(Signed):
    """A successor of the key that signs checkpoints. The subject is the key's id. It is in force
    once policy owners approve it.
    """

    pem: str


MOST_AFFECTED = 500
"""Models that an incident names; the log gives the others."""
Severity = Literal["low", "medium", "high", "critical"]


@evidence_kind("incident")
class Incident(Signed):
    """A person opened or closed an incident of a model. While one is open, the model gets no
    alias.
    """

    model: str
    version: str
    state: Literal["open", "closed"]
    severity: Severity | None = Field(None, exclude_if=empty)
    kinds: list[Slug] = Field([], exclude_if=empty)
    """What happened, in the words of policies/clocks.yaml: which clocks it starts."""
    aware_at: Instant | None = Field(None, exclude_if=empty)
    """When somebody became aware of it."""
    classified_at: Instant | None = Field(None, exclude_if=empty)
    """When a person classified it."""
    determined_at: Instant | None = Field(None, exclude_if=empty)
    """When a person determined the cause or link that a rule names."""
    filed: dict[Slug, Instant] = Field({}, exclude_if=empty)
    """Clock to when a person filed what it asks for."""
    informed: list[str] = Field([], exclude_if=empty)
    """Roles and bodies that were informed. No names of people."""
    actions: list[str] = Field([], exclude_if=empty)
    """What was done: overrides and exceptions during operation, too."""
    cause: str = Field("", exclude_if=empty)
    """The root cause, as far as it is known."""
    effective: str = Field("", exclude_if=empty)
    """What was measured to see whether the actions were effective, and the result. Whoever signs
    this statement checked it.
    """
    effective_at: Instant | None = Field(None, exclude_if=empty)
    """When this was measured."""
    affected: list[Artifact] = Field([], max_length=MOST_AFFECTED, exclude_if=empty)
    """At the opening: the models that the log then had which were made from these bytes, or from
    what they wrote or scored. Their names are MODEL/VERSION, or the stage of an unregistered one.
    """


@evidence_kind("intervention")
class Intervention(Signed):
    """A person intervened while a version was in use: they overrode what it said or did, or let an
    exception from the rules of its use pass. It stops nothing. The subject is the version's model.
    """

    model: str
    version: str
    event: Literal["override", "exception"]
    what: str
    """What was overridden or excepted, and what was done instead. No personal data."""
    happened_at: Instant
    """When it happened."""


@evidence_kind("periodic_review")
class PeriodicReview(Signed):
    """A person reviewed a version that is in use: it may stay in use until the next review. The
    subject is the version's model.
    """

    model: str
    version: str
    next_by: Day | None = Field(None, exclude_if=empty)
    """By when it is to be reviewed again, where that is earlier than policy sets."""
