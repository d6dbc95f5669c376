"""Evidence as it would be after a statement that nobody has made yet: what a signature would come
to.
"""

from __future__ import annotations

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact
from governance.base.model import Model
from governance.history.state import LogState
from governance.log.evidence import Evidence

NOT_YET = "0" * 64
"""In place of the digest of a statement that nobody has signed."""


def assumed(
    now: LogState, signer: Signer, kind: str, subject: Artifact, predicate: Model
) -> Evidence:
    """A statement as it would stand in the log next."""
    return Evidence(now.size, kind, (subject,), predicate, signer.keyid, False, NOT_YET)
