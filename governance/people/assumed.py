"""A statement that nobody has signed yet, as evidence. It shows what a signature would change."""

from __future__ import annotations

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact
from governance.base.model import Model
from governance.history.state import LogState
from governance.log.evidence import Evidence

NOT_YET = "0" * 64
"""Replaces the digest of a statement that nobody has signed."""


def assumed(
    now: LogState, signer: Signer, kind: str, subject: Artifact, predicate: Model
) -> Evidence:
    """The statement as the next entry of the log."""
    return Evidence(now.size, kind, (subject,), predicate, signer.keyid, False, NOT_YET)
