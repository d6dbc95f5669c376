"""A stage that stopped stands in the history of the model and in the reports of its versions."""

from __future__ import annotations

from governance.attest.findings import finding
from governance.attest.predicates import Artifact, Failure
from governance.log import evidence
from governance.machine.machine import signer
from governance.release import promotion
from governance.release.retrospect import NOT_COUNTED, history
from governance.report.build import build
from tests.governance.governed import Governed, person
from tests.governance.story import MODEL, digest


def stop(scene: Governed, stage: str, who: str = "") -> None:
    """An attempt of a stage stopped; signed by the service, or by a person's key."""
    (train, *_) = promotion.state(scene.story.log).evidence.all("train")
    fields = train.predicate.model_dump(
        include={"inputs", "parameters", "policy", "code", "environment", "run", "log"}
    )
    found = finding("NON_FINITE", stage, expected="a finite number", found="nan")
    stopped = Failure.model_validate(
        {**fields, "stage": stage, "step": 7, "findings": [found], "counts": {"batch_records": 4}}
    )
    attempt = Artifact(role="attempt", name=stage, sha256=digest(f"attempt of {stage} {who}"))
    key = person(who) if who else signer(scene.story.machine)
    evidence.record(scene.story.log, key, "failure", [attempt], stopped)


def test_a_failed_attempt_is_told(scene: Governed) -> None:
    stop(scene, "train@sft")
    stop(scene, "train@of_another_model")
    stop(scene, "train@sft", "dora")
    told = [
        event
        for event in history(promotion.state(scene.story.log), MODEL)
        if "stopped" in event.what
    ]
    assert [(event.what, event.result, event.detail) for event in told] == [
        ("train@sft stopped", "published nothing", "NON_FINITE"),
        ("train@sft stopped", NOT_COUNTED, "NON_FINITE"),
    ]
    rows = [
        row for row in build(scene.story.sources, MODEL, "1").decisions if row.answer == "stopped"
    ]
    assert [(row.about, row.what, row.by) for row in rows] == [
        ("train@sft", "An attempt stopped and published nothing, at step 7", "ci")
    ]
    assert "NON_FINITE" in rows[0].findings[0]
