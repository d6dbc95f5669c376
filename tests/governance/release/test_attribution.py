"""Who did what is who signed it; a name within a statement is a claim."""

from __future__ import annotations

from pathlib import Path

from governance.release import promotion, retrospect
from tests.governance.governed import governed
from tests.governance.story import MODEL


def test_history_names_the_signer_not_the_name_in_the_statement(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet, key="ben")
    scene.approve("ada", "ml-lead", packet)
    events = retrospect.history(promotion.state(scene.story.log), MODEL)
    approvals = [(event.by, event.result) for event in events if "approve packet" in event.what]
    assert approvals == [("ben", retrospect.NOT_COUNTED), ("ada", "as ml-lead")]
    made = next(event for event in events if event.what == "registration")
    assert made.by == "ci", "the service that signed it, not the account that it names"
