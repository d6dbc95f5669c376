"""The log that most tests of witnesses begin from: written once per process, read only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.governance.witness.worlds import Begun, Witnessed, world


@pytest.fixture(scope="session")
def witnessed_log(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A log whose policy names two witnesses."""
    return Begun.at(tmp_path_factory.mktemp("witnessed"))


@pytest.fixture
def here(witnessed_log: Begun, tmp_path: Path) -> Iterator[Witnessed]:
    """A copy of it to go on with, and both witnesses."""
    with world(tmp_path / "world", start=witnessed_log) as made:
        yield made
