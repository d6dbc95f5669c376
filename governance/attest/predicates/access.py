"""Who read the content of a dataset or model."""

from pydantic import Field

from governance.attest.predicates.parts import Logged, Run, evidence_kind
from governance.base.model import Sha256, Slug, empty

LONGEST_PURPOSE = 300


@evidence_kind("read", not_copied=True)
class Read(Logged):
    """Somebody was permitted to read content, recorded before it was given out. No decision reads
    it.

    The subjects are what they read: role `dataset` or `model`, its name, and its digest; name `*`
    for files that no evidence names. The same read is recorded once a day (UTC).
    """

    reader: Slug | None
    """The principal who read; None for somebody whom policy does not name."""
    account: str = Field("", max_length=256, exclude_if=empty)
    """The account, as the server authenticated it, for which the server signs this. Empty where the
    reader's own key signs it.
    """
    command: Slug
    """What gave it out: `data`, `look`, `answers`, `trace`, `load`, `serve`, `artifact`."""
    purpose: str = Field("", max_length=LONGEST_PURPOSE, exclude_if=empty)
    """What for, in the reader's words."""
    policy: Sha256
    """The policies in force that permitted it."""
    run: Run

    @property
    def day(self) -> str:
        """The day, UTC, on which it was read."""
        return self.run.finished[:10]
