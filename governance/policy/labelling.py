"""What policy declares about labels: how they were made, and whose count.

Declared means that a steward says it. What ingest found stands in its statement
(`governance.attest.predicates.Labels`).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, StringConstraints

from governance.base.model import Model, Sha256, Slug, empty

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^rater_[0-9a-f]{8}$")]
"""A rater's name in records: an HMAC under the project's record key."""


class Guideline(Model):
    """What raters were told to do."""

    version: Words
    sha256: Sha256
    """Of the file that params.yaml names: `datasets.NAME.guideline`."""


class Sampling(Model):
    """How the items were chosen that raters saw."""

    rule: Slug
    """E.g. `all`, `random`, `disagreement`, `small-margin`, `worst-slice`."""
    seed: int | None = None
    population: Sha256 | None = None
    """Digest of what they were drawn from."""


class Adjudication(Model):
    """What became of items on which raters disagreed."""

    by: Words
    """Who decided: a role or a team."""
    rule: Words
    disputes: int = Field(ge=0, strict=True)
    open: int = Field(0, ge=0, strict=True)
    """How many are not decided."""


class Judge(Model):
    """A model that labelled. Everybody else in the data is taken for a person."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """As it stands in the source."""
    sha256: Sha256 | None = None
    """Of its folder; None for a model behind an endpoint."""


class Labelling(Model):
    """The datacard's `labelling`, in parts."""

    by: str = ""
    """Who labelled, in words; `none` where nobody did."""
    judges: list[Judge] = Field([], exclude_if=empty)
    guideline: Guideline | None = None
    sampling: Sampling | None = None
    adjudication: Adjudication | None = None
    pay: str = ""
    """What raters were paid, if it is declared."""


class ExcludedRater(Model):
    """A decision not to count a rater's labels."""

    rater: Pseudonym
    reason: Words
    decided_by: Words
    """Who decided: a role or a person of the project."""
    on: date
