"""Evidence as it would be after a statement that nobody has made yet: what a signature would come
to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact
from governance.base.model import Model
from governance.log.evidence import Evidence, EvidenceView
from governance.release.promotion import State

NOT_YET = "0" * 64
"""In place of the digest of a statement that nobody has signed."""


class Assumed:
    """An `EvidenceView` with statements that nobody has made yet."""

    def __init__(self, view: EvidenceView, more: Sequence[Evidence]) -> None:
        self._view, self._more = view, more

    def by_subject(self, sha256: str, kind: str | None = None) -> list[Evidence]:
        """As the view's, and what is assumed."""
        assumed = [
            one for one in self._more if any(subject.sha256 == sha256 for subject in one.subjects)
        ]
        return self._view.by_subject(sha256, kind) + [
            one for one in assumed if kind in (None, one.kind)
        ]

    def all(self, kind: str | None = None) -> Iterator[Evidence]:
        """As the view's, and what is assumed."""
        yield from self._view.all(kind)
        yield from (one for one in self._more if kind in (None, one.kind))


def assumed(now: State, signer: Signer, kind: str, subject: Artifact, predicate: Model) -> Evidence:
    """A statement as it would stand in the log next."""
    return Evidence(now.size, kind, (subject,), predicate, signer.keyid, False, NOT_YET)
