"""All evidence of a log, for the parts of a report that look at every entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from governance.log.evidence import Evidence
from governance.log.views import EvidenceView


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
