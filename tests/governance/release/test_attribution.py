"""Who did what is who signed it; a name within a statement is a claim."""

from __future__ import annotations

from pathlib import Path

from governance.attest.predicates import Artifact, Drill, Packet
from governance.base.time import exact_instant
from governance.history import packet
from governance.log import evidence
from governance.release import promotion, retrospect
from tests.governance.governed import governed, person
from tests.governance.story import MODEL


def test_history_names_the_signer_not_the_name_in_the_statement(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen, key="ben")
    scene.approve("ada", "ml-lead", frozen)
    events = retrospect.history(promotion.state(scene.story.log), MODEL)
    approvals = [(event.by, event.result) for event in events if "approve packet" in event.what]
    assert approvals == [("ben", retrospect.NOT_COUNTED), ("ada", "as ml-lead")]
    made = next(event for event in events if event.what == "registration")
    assert made.by == "ci", "the service that signed it, not the account that it names"


def test_history_says_what_does_not_count(tmp_path: Path) -> None:
    """A drill, a packet and an incident by people who may not make them, beside those that count."""
    scene = governed(tmp_path)
    scene.freeze()
    log = scene.story.log
    now = promotion.state(log)
    (frozen,) = now.evidence.all(Packet)
    eve, here = person("eve"), log.entry(0).leaf_hash.hex()
    altered = frozen.predicate.model_copy(update={"tier": "high"})
    forged = [evidence.record(log, eve, "packet", packet.subjects(altered), altered).index]
    drill = Drill(
        model=MODEL, alias="champion", version="1", from_version=None,
        model_digest=scene.story.models["sft"], passed=True, steps=[], items=1,
        policy=scene.story.policies.digest, at=exact_instant(scene.now), run=scene.story.run(),
        log=here,
    )  # fmt: skip
    subject = [Artifact(role="model", name="sft", sha256=drill.model_digest)]
    forged.append(evidence.record(log, eve, "drill", subject, drill).index)
    forged.append(scene.incident("1", "open", who="eve", role="visitor"))
    now = promotion.state(log)
    events = {event.entry: event for event in retrospect.history(now, MODEL)}
    assert {entry for entry, event in events.items() if not event.counts} == set(forged)
    assert all(events[entry].result == retrospect.NOT_COUNTED for entry in forged)
