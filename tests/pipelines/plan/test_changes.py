"""Why a stage runs, from what DVC says of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.plan.changes import _is_new

PARAMS: list[Any] = [{"changed deps": {"countersign.lock": {"report": "new"}}}, "always changed"]
FOUND = [
    # what DVC says, whether it has a record of the stage, whether the stage is new
    (PARAMS, False, True),
    (PARAMS, True, False),
    ([], False, False),
    ([{"changed outs": {"models/sft": "deleted"}}], True, True),
    ([{"changed outs": {"models/sft": "modified"}}], False, False),
]


@pytest.mark.parametrize(("found", "ran", "new"), FOUND)
def test_a_stage_without_outputs_is_new_until_dvc_has_a_record_of_it(
    found: list[Any], ran: bool, new: bool
) -> None:
    assert _is_new(found, ran) is new
