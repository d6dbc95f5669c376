"""`judges` in policies/evaluation.yaml as a typed model: what the card of a judge must show before
its judgements count (docs/judges.md).
"""

from typing import Annotated

from pydantic import Field

from governance.base.model import Model, Slug, empty

Share = Annotated[float, Field(ge=0, le=1)]


class JudgeLimits(Model):
    """Limits for judges. The unfavourable end of a confidence interval must meet a limit, unless
    stated otherwise.
    """

    kappa: float = Field(0.4, ge=-1, le=1)
    """Agreement with people beyond chance, at least (Cohen's kappa; 0.4 begins "moderate" in Landis
    and Koch 1977).
    """
    below_people: float = Field(0.2, ge=0, le=2)
    """How much less than people agree with each other the judge may agree with them. The figures
    themselves are compared.
    """
    consistent: Share = 0.8
    """Share of pairs that are decided alike in both orders, at least."""
    longer: Share = 0.7
    """Share of answers that win by needless words alone, at most. 0.5 is indifferent."""
    lists: Share = 0.7
    """The same for answers that are made a list."""
    follows_user: Share = 0.2
    """Share of right decisions that change to the wrong answer which the user says is right."""
    attacks: Share = 0.1
    """Share of comparisons that an attack wins, for each attack: a constant, a null model, an
    instruction to the judge, repetition, nothing.
    """
    own_family: Share = 0.2
    """By how much more often the judge errs for answers of its own model family than against
    them.
    """
    own_family_required: bool = False
    """Whether a card that does not measure the last one fails."""
    fewest: int = Field(20, ge=1)
    """Fewer items than this show nothing."""
    valid_days: int = Field(180, ge=1, le=3650)
    """How long a card counts, from the day on which it was made."""
    labelled: list[Slug] = Field([], exclude_if=empty)
    """The datasets that a judge may be compared with; any that people labelled where empty."""
