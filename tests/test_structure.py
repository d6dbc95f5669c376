"""The measuring script counts what it says it counts; the drawing of the packages is current."""

from __future__ import annotations

from pathlib import Path

import pytest
from networkx import DiGraph

from benchmarks import architecture, structure
from tests.conftest import ROOT

SAMPLE = '''"""A docstring,
of two lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import other
from governance.b import there

if TYPE_CHECKING:
    from governance import types_only

LIMIT: int = 3
"""A docstring below a constant."""
_hidden = 1  # a comment beside code
# a comment of its own


def outer(rows: list[int]) -> int:
    """One docstring."""

    def inner() -> int:
        return 1 if rows else 0

    for row in rows:
        if row and LIMIT or inner():
            return sum(r for r in rows if r)
    return (
        0
    )
'''


def test_a_file_is_counted_as_documented() -> None:
    file = structure.python_file(SAMPLE, ("governance", "a"))
    assert file.lines == len(SAMPLE.splitlines())
    assert file.code == 17
    assert file.public == 2  # LIMIT, outer
    assert sorted(file.function_lengths) == [2, 11]  # inner, outer
    assert ("governance.a", "other") in file.imports
    assert not any(member == "types_only" for _, member in file.imports)


def test_a_tree_knows_its_imports_units_and_core(tmp_path: Path) -> None:
    files = {
        "governance/__init__.py": "",
        "governance/base/__init__.py": "",
        "governance/base/errors.py": "X = 1\n",
        "governance/gates/__init__.py": "from governance.base import errors\n",
        "governance/report.py": "import governance.gates\nfrom .base.errors import X\n",
        "governance/report/style.css": "/* a\n comment */\n\nbody {}\n",
        "governance/report/page.yaml": "# comment\na: 1\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    tree = structure.read_tree(tmp_path)
    assert set(tree.imports["governance.gates"]) == {"governance.base.errors"}
    assert set(tree.imports["governance.report"]) == {"governance.gates", "governance.base.errors"}
    figures = structure.figures(tree, "governance")
    assert figures["units"] == "3"
    assert figures["imports between units"] == "3"
    assert figures["levels of units"] == "3"
    assert {path: file.code for path, file in tree.texts.items()} == {
        "governance/report/style.css": 1,
        "governance/report/page.yaml": 1,
    }
    assert structure.core_figures(tree)["imports from outside the core"] == "none"


def test_a_cycle_counts_as_one_file() -> None:
    cycle = [("a", "b"), ("b", "c"), ("c", "b")]
    assert structure.depth(DiGraph(cycle)) == 2
    assert structure.depth(DiGraph([("a", "b"), ("b", "c"), ("c", "d")])) == 4


@pytest.mark.slow
def test_the_drawing_shows_the_imports_there_are() -> None:
    drawn = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == architecture.drawing(structure.read_tree(ROOT)), "run `make architecture`"


@pytest.mark.slow
def test_packages_import_only_what_stands_below_them() -> None:
    imports = architecture.package_imports(structure.read_tree(ROOT))
    names = architecture.ordered(imports)
    for name, targets in imports.items():
        assert all(names.index(target) > names.index(name) for target in targets), name
