"""Trainings that were run again, and the service that may say so."""

from __future__ import annotations

from typing import Any

from governance.attest.keys import Signer
from governance.attest.predicates import PREDICATES, TYPE_PREFIX, Artifact, Predicate
from governance.history.lineage import model_node
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.machine.machine import signer
from tests.governance.story import Story

RUNNER = '  - {"name": "runner", "kind": "service", "signs": ["reproduction"], "keys": ["%s"]}\n'


def training(story: Story, stage: str) -> Evidence:
    found = model_node(story.view, story.models[stage]).train
    assert found is not None
    return found


def again(story: Story, stage: str = "sft", key: Signer | None = None, **other: Any) -> int:
    """A reproduction of a stage's training; the same bytes unless `other` says otherwise. Its
    entry.
    """
    first = training(story, stage)
    base: Predicate = first.predicate
    said = {
        **{
            name: getattr(base, name)
            for name in ("stage", "inputs", "parameters", "policy", "code", "environment")
        },
        "of": first.digest,
        "model": story.models[stage],
        "same_bytes": True,
        "largest_difference": 0.0,
        "differing": 0,
        "tensors": 20,
        "final": {"loss": 0.42},
        "device": "cpu",
        "run": story.run(),
        **other,
    }
    subject = said.pop("subject", story.models[stage])
    predicate = PREDICATES[f"{TYPE_PREFIX}reproduction/v1"].model_validate(said)
    subjects = [Artifact(role="model", name=f"models/{stage}/model", sha256=subject)]
    return evidence.record(
        story.log, key or signer(story.machine), "reproduction", subjects, predicate
    ).index
