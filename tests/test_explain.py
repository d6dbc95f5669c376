"""Every decision of a real run comes out the same when it is performed again from the log."""

from __future__ import annotations

import json

import pytest

from tests.project import Project

pytestmark = pytest.mark.slow


def test_every_decision_of_a_run_is_performed_again(small: Project) -> None:
    decisions = [item for item in small.evidence() if item.kind in ("gate", "promotion")]
    assert [(item.kind, item.predicate.allowed) for item in decisions] == [
        ("gate", True), ("gate", True), ("promotion", True)
    ]  # fmt: skip
    for item in decisions:
        done = small.countersign("explain", str(item.index), "--json")
        found = json.loads(done.out)
        assert (done.code, found["same"], found["allowed"]) == (0, True, True), done.out
        assert found["entry"] == item.index
    assert small.countersign("explain", "support-desk/1").code == 0
    others = next(item.index for item in small.evidence() if item.kind == "train")
    done = small.countersign("explain", str(others))
    assert done.code == 3 and "filed as train" in done.out
