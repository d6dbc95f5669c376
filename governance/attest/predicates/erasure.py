"""What a person signs when records are erased on request. It holds no value, text or record id."""

from typing import Annotated, Literal

from pydantic import Field

from governance.attest.predicates.parts import Instant, evidence_kind
from governance.attest.predicates.people import Signed

Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/#-]{0,99}$")]
"""A case number. It names no person."""
Counts = dict[str, Annotated[int, Field(ge=0)]]


@evidence_kind("erasure", not_copied=True)
class Erasure(Signed):
    """A person has records erased. From this entry on, data counts only if its ingest applied the
    exclusion list, and models that have seen the records are retrained or retired by the deadline.

    Subjects by role: `exclusions` is the root of the list, which is salted; `dataset` each content
    that has the records, and each that was generated from these; `model` each model that was
    trained on one of them, or from such a model.
    """

    reference: Reference
    deadline: Instant
    by: Literal["subject", "text", "record"]
    """What was asked for."""
    exclusions: int = Field(ge=1)
    """Entries of the list."""
    counts: Counts
    """What is affected: records, derived, datasets, models, versions, answers."""


@evidence_kind("erased", not_copied=True)
class Erased(Signed):
    """What an erasure removed, how this was checked, and what is left. The file with this statement
    is the certificate. Its subject `erasure` is the digest of the `Erasure`.
    """

    reference: Reference
    removed: Counts
    """Place to files or objects that were deleted there (`governance.release.erasure_certificate`);
    `source_rows`: rows that were taken out of sources.
    """
    searched: Counts
    """How this was checked: `files` and `bytes` that were read afterwards, and the `values` that
    were looked for in them.
    """
    found: Counts
    """Place to files that still hold one of the values."""
    not_removed: Counts
    """What was not removed, and how many: see `pipelines.erasing.certificate`."""
