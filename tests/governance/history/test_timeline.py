"""Which move ends which tenure: a move of the same model, and of the same alias or version."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from governance.attest.predicates import Promotion
from governance.history.timeline import Tenure, _ends

ROWS = [
    # tenure of desk: alias, version; move: action, model, version, alias; whether it ends it
    ("champion", "1", "promote", "desk", "2", "champion", True),
    ("champion", "1", "rollback", "desk", "2", "champion", True),
    ("champion", "1", "promote", "desk", "2", "challenger", False),
    ("champion", "1", "promote", "other", "2", "champion", False),
    ("champion", "1", "retire", "desk", "1", "champion", True),
    ("challenger", "1", "retire", "desk", "1", "champion", True),
    ("candidate", "1", "retire", "desk", "1", "champion", False),
    ("champion", "1", "retire", "desk", "2", "champion", False),
    ("champion", "1", "retire", "other", "1", "champion", False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(map(str, row)))
def test_a_move_ends_a_tenure(row: tuple[str, str, str, str, str, str, bool]) -> None:
    held, version, action, model, moved, alias, ends = row
    tenure = Tenure("desk", held, version, cast(Any, SimpleNamespace()))
    move = Promotion.model_construct(
        model=model, version=moved, alias=alias, action=cast(Any, action)
    )
    assert _ends(tenure, move) is ends
