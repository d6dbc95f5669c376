"""A project that nobody has begun, for the tests of how a governed log begins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.governance.one_connection import one_connection as one_connection  # the fixture
from tests.governance.people.desk import Desk, desk
from tests.governance.story import START


@dataclass
class Fresh:
    """A project that nobody has begun, in the shape `Desk` asks for."""

    @dataclass
    class Story:
        root: Path

    story: Story
    now = START


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    root = tmp_path / "project"
    shutil.copytree(ROOT / "policies", root / "policies")
    shutil.copy(ROOT / "params.yaml", root)
    return desk(tmp_path, Fresh(Fresh.Story(root)), monkeypatch)  # type: ignore[arg-type]
