"""What a model is made from, which reproductions of it count, and what a packet of it rests on."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest.findings import finding
from governance.attest.predicates import Artifact, Evaluate, Train
from governance.base.time import instant_of
from governance.history.lineage import (
    evaluations,
    inputs,
    model_chain,
    model_node,
    reproductions,
)
from governance.history.packet import Part, differing
from governance.history.state import no_version, state
from governance.log.evidence import Evidence
from tests.governance.governed import Governed
from tests.governance.story import MODEL, Story, digest


def training(story: Story) -> Evidence[Train]:
    return story.view.by_subject(story.models["sft"], Train)[-1]


def reproduce(story: Story, **other: Any) -> None:
    """Records a reproduction of the training of `sft`, with other fields than the right ones."""
    first = training(story)
    fields = {
        "of": first.digest,
        "model": story.models["sft"],
        "same_bytes": True,
        "largest_difference": 0.0,
        "differing": 0,
        "tensors": 20,
        "final": {},
        "device": "cpu",
        **other,
    }
    read = fields.pop("inputs", first.predicate.inputs)
    subject = [Artifact(role="model", name="sft", sha256=story.models["sft"])]
    story.record("reproduction", "train@sft", subject, read, **fields)


ROWS: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"same_bytes": False, "model": digest("another model")}, 1),
    ({"same_bytes": True, "model": digest("another model")}, 0),
    ({"same_bytes": False}, 0),
    ({"of": digest("no training")}, 0),
    ({"inputs": []}, 0),
    ({"inputs": [Artifact(role="data", name="in", sha256=digest("other data"))]}, 0),
]


@pytest.mark.parametrize(("fields", "count"), ROWS)
def test_a_reproduction_counts_if_it_fits_its_training(
    fields: dict[str, Any], count: int, story: Story
) -> None:
    reproduce(story, **fields)
    node = model_node(story.view, story.models["sft"])
    assert len(reproductions(story.view, node)) == count


def test_a_model_from_outside_has_no_reproductions(story: Story) -> None:
    reproduce(story)
    assert reproductions(story.view, model_node(story.view, story.models["tiny"])) == []


def trained_from(story: Story, role: str, made: str | None = None, **changes: str) -> None:
    """Records that the same bytes, or those `made`, were trained with another input in this
    role.
    """
    first = training(story)
    subjects = [
        artifact.model_copy(update={"sha256": made})
        if made and artifact.role == "model"
        else artifact
        for artifact in first.subjects
    ]
    inputs = [
        artifact.model_copy(update=changes) if artifact.role == role else artifact
        for artifact in first.predicate.inputs
    ]
    fields = first.predicate.model_dump(include={"method", "objective", "records", "steps"})
    story.record(
        "train", "train@sft", subjects, inputs,
        **fields, final={}, device="cpu", threads=1, adapter=None,
    )  # fmt: skip


def test_a_reproduction_of_a_training_with_other_inputs_does_not_count(story: Story) -> None:
    """The same bytes were trained twice, from other data. The reproduction is of the first."""
    reproduce(story)
    first = training(story)
    trained_from(story, "data", sha256=digest("other data"))
    node = model_node(story.view, story.models["sft"])
    assert node.train is not None and inputs(node.train) != inputs(first)
    assert reproductions(story.view, node) == []


def test_a_finding_is_waived_until_the_last_of_its_waivers_ends(scene: Governed) -> None:
    about = "dataset desk_sft"
    raised = finding("PII_REMAINING", about)
    assert state(scene.story.log).timeline.waived_until(MODEL, raised, scene.now) is None
    scene.waive("PII_REMAINING", about, days=9)
    scene.waive("PII_REMAINING", about, days=2)
    timeline = state(scene.story.log).timeline
    first, second = timeline.waivers[MODEL, "PII_REMAINING", about]
    ends = instant_of(first.predicate.expires)
    assert timeline.waived_until(MODEL, raised, scene.now) == ends
    accepted = instant_of(second.predicate.at)
    micro = timedelta(microseconds=1)
    assert timeline.waived_until(MODEL, raised, instant_of(first.predicate.at) - micro) is None
    assert timeline.waived_until(MODEL, raised, accepted - micro) == ends
    assert timeline.waived_until(MODEL, finding("PII_REMAINING", "dataset x"), accepted) is None


def test_a_packet_differs_by_every_step_that_came_or_went(scene: Governed) -> None:
    frozen = scene.freeze()
    now = state(scene.story.log)
    (statement,) = now.evidence.by_subject(frozen, "packet")
    assert _differing(scene, statement) == []
    fewer = statement.predicate.model_copy(update={"stages": statement.predicate.stages[1:]})
    changed = _differing(scene, _with(statement, fewer))
    assert statement.predicate.stages[0].name in changed
    more = statement.predicate.stages[0].model_copy(update={"name": "train@gone"})
    stages = [*statement.predicate.stages, more]
    changed = _differing(
        scene, _with(statement, statement.predicate.model_copy(update={"stages": stages}))
    )
    assert "train@gone" in changed


def _with(statement: Evidence, predicate: Any) -> Evidence:
    return Evidence(
        statement.index, statement.kind, statement.subjects, predicate, statement.keyid, False, ""
    )


def _differing(scene: Governed, statement: Evidence) -> list[str]:
    now = state(scene.story.log)
    return differing(statement, now.view, now.authority, evidence=now.evidence, at=scene.now)


def test_a_packet_of_a_version_that_is_not_registered_differs(scene: Governed) -> None:
    frozen = scene.freeze()
    (statement,) = state(scene.story.log).evidence.by_subject(frozen, "packet")
    for change in ({"version": "7"}, {"model": "other"}, {"files": []}, {"stage": "other"}):
        other = _with(statement, statement.predicate.model_copy(update=change))
        assert Part.REGISTRATION in _differing(scene, other), change


def test_each_model_of_a_chain_has_its_name_parent_and_evidence(story: Story) -> None:
    chain = model_chain(story.view, story.models["sft"], "called")
    assert [(node.name, node.method, node.known) for node in chain] == [
        ("tiny", "base", True),
        ("base", "pretrain", True),
        ("sft", "sft", True),
    ]
    assert [node.parent for node in chain] == [None, story.models["tiny"], story.models["base"]]
    assert all(node.scorer is None for node in chain)
    (unknown,) = model_chain(story.view, digest("no model"), "called")
    assert (unknown.name, unknown.known, unknown.method) == ("called", False, "base")
    assert model_chain(story.view, digest("no model"))[0].name == digest("no model")[:12]


@pytest.mark.parametrize("same", [True, False])
def test_a_scorer_is_a_model_of_its_own_unless_it_is_the_parent(story: Story, same: bool) -> None:
    first = training(story)
    scorer = story.models["base"] if same else story.models["tiny"]
    name = "base" if same else "tiny"
    read = [
        *first.predicate.inputs,
        Artifact(role="scorer", name=f"models/{name}/model", sha256=scorer),
    ]
    fields = first.predicate.model_dump(include={"method", "objective", "records", "steps"})
    story.record(
        "train", "train@sft", list(first.subjects), read,
        **fields, final={}, device="cpu", threads=1, adapter=None,
    )  # fmt: skip
    node = model_node(story.view, story.models["sft"])
    assert (node.parent, node.scorer) == (story.models["base"], None if same else scorer)


def test_a_training_that_gave_back_its_parent_made_nothing(story: Story) -> None:
    """It does not hide what the model was made from."""
    first = training(story)
    trained_from(story, "parent", sha256=story.models["sft"])
    node = model_node(story.view, story.models["sft"])
    assert node.train is not None and node.train.index == first.index


def test_models_that_were_made_from_one_another_have_no_origin(story: Story) -> None:
    lost = digest("made from what was made from it")
    trained_from(story, "parent", sha256=lost)
    trained_from(story, "parent", made=lost, sha256=story.models["sft"])
    chain = model_chain(story.view, story.models["sft"])
    assert [(node.sha256, node.known) for node in chain] == [
        (lost, False),
        (story.models["sft"], True),
    ]


def test_a_model_without_evidence_is_called_as_its_path_says(story: Story) -> None:
    """The parent of a training has no statement of its own in this log."""
    trained_from(story, "parent", sha256=digest("lost"), name="models/lost/model")
    assert [node.name for node in model_chain(story.view, story.models["sft"])] == ["lost", "sft"]


def test_an_error_names_the_last_ten_versions() -> None:
    registrations = {("desk", str(number)): None for number in range(1, 13)}
    now: Any = SimpleNamespace(timeline=SimpleNamespace(registrations=registrations))
    error = no_version(now, "desk", "99")
    assert error.expected == "one of: " + ", ".join(f"desk/{number}" for number in range(3, 13))
    assert error.fix == "countersign repro registers one"
    assert no_version(now, "dest").fix == "did you mean 'desk'?"


def test_the_evaluations_of_a_model_are_those_that_name_it(story: Story) -> None:
    model = story.models["sft"]
    (first,) = evaluations(story.view, model, "desk_eval")
    assert first.predicate.model == model and not story.view.by_subject(model, Evaluate)
    story.evaluate("sft", 0.5)
    assert [one.index for one in evaluations(story.view, model, "desk_eval")] == [
        first.index,
        story.log.size() - 1,
    ]
    assert evaluations(story.view, model, "another suite") == []
    assert evaluations(story.view, digest("no model"), "desk_eval") == []
