"""Each recipe of `countersign new`, with its own data, steps and seeds, ends in a registered model.

Other tests train a few steps with lower demands. They cannot notice that changed data or code makes
the shipped models miss the shipped thresholds. In CI, `tests/governance/registry/test_walk.py` does
so for the project of this repository.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.template import RECIPES
from tests.conftest import rows
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("recipe", rows(RECIPES, in_ci=[]))
def test_a_recipe_ends_in_a_registered_model(recipe: str, tmp_path: Path) -> None:
    project = Project(tmp_path / "mine", tmp_path / "home")
    new = project.run("countersign", "new", "mine", "--recipe", recipe, cwd=tmp_path)
    assert new.code == 0, new.out
    project.made()
    shown = project.countersign("show", "mine/1", "evaluation")
    assert shown.code == 0 and "mine/1: PENDING" in shown.out, shown.out
