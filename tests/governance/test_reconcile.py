"""The registry against the log where there is no registry: on the machine that keeps the log, and on an auditor's."""

from __future__ import annotations

import shutil
from pathlib import Path

from governance.machine import CHECKPOINT
from governance.reconcile import reconcile
from tests.governance.governed import governed


def test_a_registry_that_is_gone_where_the_log_is_kept(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    found = reconcile(scene.story.log, scene.story.machine)
    assert found is not None
    assert [one.code for one in found] == ["REGISTRY_VERSION_MISSING"]


def test_a_copy_of_the_log_has_no_registry_to_compare(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    (scene.story.machine.keys / f"{CHECKPOINT}.pem").unlink()
    assert reconcile(scene.story.log, scene.story.machine) is None
    shutil.rmtree(scene.story.machine.keys)
    assert reconcile(scene.story.log, scene.story.machine) is None
