"""Logs on which rollouts are told, made once."""

from __future__ import annotations

import pytest

from tests.governance.governed import Governed
from tests.governance.rollout.rolling import Told, desk, told


@pytest.fixture(scope="session")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 is champion, version 2 is registered; policy permits rollouts. Read only."""
    return desk(tmp_path_factory.mktemp("rolling"))


@pytest.fixture(scope="session")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """The same in a tier that demands a passed canary. Read only."""
    return desk(tmp_path_factory.mktemp("canaries"), "    canary: true\n")


@pytest.fixture
def tale(rolling: Governed) -> Told:
    """Nothing has been asked for yet."""
    return told(rolling)
