"""The map in the docstring of the table of attacks names rows and tests that are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TABLE = importlib.import_module("tests.governance.registry.test_attacks")
"""The table itself: this is about its docstring and its rows."""
TESTS = Path(__file__).parent.parent.parent
_CASE = re.compile(r"(?P<point>\d+|) +(?P<case>[^:]+):(?P<held>.+)", re.DOTALL)
_CONTINUED = " " * 6


def _cases() -> dict[str, list[str]]:
    """Case, with the number of its point, to what holds it."""
    text = str(TABLE.__doc__).rpartition("\n\n")[2].rstrip()
    cases, point = dict[str, list[str]](), ""
    for item in re.split(rf"\n(?!{_CONTINUED})", text):
        found = _CASE.fullmatch(item)
        assert found, f"no case of the map: {item}"
        point = found["point"] or point
        cases[f"{point} {found['case']}"] = re.split(r",\s+", found["held"].strip())
    return cases


CASES = _cases()


def _is_there(held: str) -> bool:
    """Whether a row, or exactly one test, has this name; `...` stands for the rest of it."""
    if held.startswith("row "):
        return any(row.startswith(held.removeprefix("row ") + " ") for row in TABLE.REFUSED)
    path, _, name = held.rpartition("::")
    module = TESTS / f"{path or 'governance/registry/test_attacks'}.py"
    tests = re.findall(r"^def (test_\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    pattern = re.escape(name).replace(re.escape("..."), r"\w+")
    return len([test for test in tests if re.fullmatch(pattern, test)]) == 1


@pytest.mark.parametrize("case", CASES)
def test_what_holds_a_case_is_there(case: str) -> None:
    assert [held for held in CASES[case] if not _is_there(held)] == []


def test_the_map_has_every_point_that_is_about_attacks() -> None:
    """Point 10 is about sentences of the documentation; 12 holds what was found later."""
    points = {int(case.split()[0]) for case in CASES}
    assert points == {*range(1, 13)} - {10}


def test_every_row_of_the_second_round_is_in_the_map() -> None:
    """Rows 53 to 65 were added for it."""
    named = {held.removeprefix("row ") + " " for cases in CASES.values() for held in cases}
    rows = [row for row in TABLE.REFUSED if 53 <= int(row.split()[0]) <= 65]
    lost = [row for row in rows if not any(row.startswith(beginning) for beginning in named)]
    assert rows and not lost
