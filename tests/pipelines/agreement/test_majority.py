"""Whose ratings the majority overrules, and what nobody can tell from the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from governance.base.errors import InputError
from pipelines.agreement.majority import (
    FEW,
    UNDECLARED,
    Disputes,
    Overruled,
    disputes,
    overruled,
    read_groups,
)
from pipelines.agreement.panel import Panel

CODES = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, -1, 1], [0, 1, -1], [2, -1, -1]])


def test_items_are_unanimous_have_a_majority_or_are_split() -> None:
    assert disputes(Panel(CODES, (0.0, 1.0, 2.0), ("a", "b", "c"))) == Disputes(2, 1, 2)


def pool(groups: dict[str, int]) -> tuple[Panel, dict[str, str]]:
    """Groups of so many raters. The last group gives another rating to every other item."""
    of_rater = {f"{name}{at}": name for name, size in groups.items() for at in range(size)}
    last = list(groups)[-1]
    columns = [
        np.arange(10) % 2 if group == last else np.zeros(10, int) for group in of_rater.values()
    ]
    return Panel(np.column_stack(columns), (0.0, 1.0), tuple(of_rater)), of_rater


def test_a_group_that_is_overruled_is_shown() -> None:
    panel, of_rater = pool({"north": 8, "south": 5})
    assert overruled(panel, {"region": of_rater}) == {
        "region": {"north": Overruled(8, 80, 0), "south": Overruled(5, 50, 25)}
    }


@pytest.mark.parametrize(
    ("groups", "shown"),
    [
        ({"north": 8, "south": 4}, {FEW: 12}),  # south is the rest: north is not shown either
        ({"north": 8, "east": 3, "south": 3}, {"north": 8, FEW: 6}),
        ({"north": 8, "east": 6, "south": 4}, {"north": 8, FEW: 10}),
        ({"north": 2, "south": 2}, {}),
    ],
)
def test_small_groups_cannot_be_told(groups: dict[str, int], shown: dict[str, int]) -> None:
    panel, of_rater = pool(groups)
    (table,) = overruled(panel, {"region": of_rater}).values()
    assert {group: counts.raters for group, counts in table.items()} == shown


def test_raters_without_a_group_are_a_group() -> None:
    panel, of_rater = pool({"north": 8, "south": 5})
    (table,) = overruled(
        panel, {"region": {k: v for k, v in of_rater.items() if v == "south"}}
    ).values()
    assert table[UNDECLARED].raters == 8


def test_a_raters_file_names_each_once(tmp_path: Path) -> None:
    path = tmp_path / "raters.jsonl"
    lines = [{"rater": "a", "region": "north", "age": 30}, {"rater": "b", "region": None}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_groups(path, ("a", "b")) == {"region": {"a": "north"}, "age": {"a": "30"}}
    with pytest.raises(InputError, match="none of the raters"):
        read_groups(path, ("c", "d"))
    path.write_text(path.read_text() + '{"rater": "a", "region": "south"}\n')
    with pytest.raises(InputError, match="named twice"):
        read_groups(path, ("a", "b"))
