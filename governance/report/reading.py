"""The log's evidence as a report reads it: each entry verified once, each question asked of the
database once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from governance.log.evidence import Evidence, EvidenceView


class Remembered:
    """An `EvidenceView` that keeps its answers, for as long as one report is made; the log only
    grows meanwhile.
    """

    def __init__(self, view: EvidenceView) -> None:
        self._view = view
        self._kinds: dict[str | None, list[Evidence]] = {}
        self._subjects: dict[str, list[Evidence]] = {}
        self._seen: dict[int, Evidence] = {}

    def by_subject(self, sha256: str, kind: str | None = None) -> list[Evidence]:
        """As the view's."""
        if sha256 not in self._subjects:
            self._subjects[sha256] = self._kept(self._view.by_subject(sha256))
        return [item for item in self._subjects[sha256] if kind in (None, item.kind)]

    def all(self, kind: str | None = None) -> Iterator[Evidence]:
        """As the view's."""
        if kind not in self._kinds:
            self._kinds[kind] = self._kept(list(self._view.all(kind)))
        return iter(self._kinds[kind])

    def seen(self, index: int) -> Evidence | None:
        """The statement of an entry that some answer held."""
        return self._seen.get(index)

    def _kept(self, found: list[Evidence]) -> list[Evidence]:
        self._seen.update((item.index, item) for item in found)
        return found


class Everything(Sequence[Evidence]):
    """All evidence of a view in order, read when the first is asked for."""

    def __init__(self, view: EvidenceView) -> None:
        self._view = view
        self._read: list[Evidence] | None = None

    @property
    def _items(self) -> list[Evidence]:
        if self._read is None:
            self._read = list(self._view.all())
        return self._read

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Evidence: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Evidence]: ...

    def __getitem__(self, index: int | slice) -> Evidence | Sequence[Evidence]:
        return self._items[index]
