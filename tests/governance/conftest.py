"""The logs that most tests of governance begin from: written once per process, read only; tests go
on with copies.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.exports.records import Records
from tests.governance.audited import audited
from tests.governance.exports.told import HOSTILE, records_of
from tests.governance.governed import Governed, governed
from tests.governance.sshagent import agent as agent  # the fixture
from tests.governance.story import Story, told


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One registered version, under development keys; read only."""
    return told(tmp_path_factory.mktemp("story"))


@pytest.fixture
def story(shared: Story, tmp_path: Path) -> Story:
    """A copy of it, to go on with or to spoil."""
    return shared.copy(tmp_path)


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """One registered version, under real people; read only."""
    return governed(tmp_path_factory.mktemp("life"))


@pytest.fixture
def scene(life: Governed, tmp_path: Path) -> Governed:
    """A copy of it, to go on with."""
    return life.copy(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Two versions, the second released with a waiver: the log of docs/auditing.md; read only."""
    return audited(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="session")
def plain(shared: Story) -> Records:
    """The records of a version that nobody approved."""
    return records_of(shared)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Of one that two people approved and that serves, with a waiver beside it."""
    scene = governed(tmp_path_factory.mktemp("released"))
    scene.waive("PII_REMAINING", "dataset desk_sft", reason=f"dora said so {HOSTILE[:40]}")
    scene.released()
    return records_of(scene.story)
