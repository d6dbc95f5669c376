"""What policy says of canary rollouts (docs/rollouts.md).

A request can ask for less than this: fewer hours, a smaller margin, more guardrails.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from governance.base.model import Model, Slug, empty


class GuardrailRule(Model):
    """A guardrail that every rollout must have."""

    worse: Literal["higher", "lower"]
    """In which direction the metric gets worse."""
    low: float
    """The smallest value that one observation can have."""
    high: float
    margin: float = Field(gt=0)
    """The largest margin that a request may name, in units of the metric."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.low < self.high or self.margin > self.high - self.low:
            raise ValueError("a guardrail has low < high, and its margin lies within this range")
        return self


class RolloutRules(Model):
    """Who may ask for and widen canary rollouts, and what every one of them must have. The services
    that observe have `rollout_window` among what they sign; those that narrow, `rollout_reaction`.
    """

    requested_by: list[Slug] = Field(min_length=1)
    """Roles in which a person may ask for a rollout."""
    widened_by: list[Slug] = Field(min_length=1)
    """Roles in which a person may start and widen one. A live rollout is started by another person
    than the one who asked for it.
    """
    stopped_by: list[Slug] | None = None
    """Roles in which a person may narrow or abort one; everybody with one of the roles above where
    absent.
    """
    guardrails: dict[Slug, GuardrailRule] = Field(min_length=1)
    """By metric."""
    max_hours: int = Field(default=24 * 14, ge=1, le=24 * 92, strict=True)
    """The longest a rollout may last, from its request on."""
    max_alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The largest probability of a wrong result that a request may accept."""
    minimum_sample: int = Field(default=100, ge=1, strict=True)
    """The fewest observations of the new version that each weight needs."""
    shadow_suffices: bool = Field(False, exclude_if=empty)
    """Whether a shadow rollout that passed is the canary that a tier demands. Nobody saw the
    answers of the new version then, so nobody's reaction to them was observed.
    """

    @property
    def stopping_roles(self) -> list[str]:
        """The roles that may narrow or abort."""
        if self.stopped_by is not None:
            return self.stopped_by
        return list(dict.fromkeys([*self.requested_by, *self.widened_by]))
