"""Whether a training came out again, as the report says it: what counts, what does not, and in
which words.
"""

from __future__ import annotations

from typing import Any

import pytest

from governance.attest.digests import tree_digest
from governance.attest.predicates import Artifact
from governance.history.lineage import inputs, model_node, reproductions
from governance.log import evidence
from governance.machine.machine import signer
from governance.release.artifacts import verify_files
from governance.report.build import build
from governance.report.html import page
from governance.report.model.report import Report
from governance.report.model.training import Training
from governance.report.sections import text
from tests.governance.governed import KINDS, empty, keypair, person, principals
from tests.governance.report.reproduced import RUNNER, again, training
from tests.governance.story import MODEL, Story, digest, tell

NEVER = "self-attested; never run again"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Real keys: `ci` signs all but reproductions, `runner` nothing else. Tests add to its log,
    each about its own.
    """
    named = principals() + RUNNER % keypair("runner")[1]
    return tell(empty(tmp_path_factory.mktemp("people"), people=named).story)


def report(story: Story) -> Report:
    return build(story.sources, MODEL, "1")


def stage(made: Report, name: str = "sft") -> Training:
    return next(one for one in made.trainings if one.stage == name)


def by(made: Report) -> str:
    return next(one.assurance for one in made.people if one.did == "trained")


def missing(made: Report) -> list[str]:
    return [gap.why for gap in made.gaps if gap.what == "independent reproduction"]


BAND: dict[str, Any] = {
    "model": digest("another"),
    "same_bytes": False,
    "largest_difference": 2.5e-7,
    "differing": 3,
}


def test_what_was_never_run_again_says_so(shared: Story) -> None:
    made = report(shared)
    assert {one.assurance for one in made.trainings} == {NEVER}
    assert by(made) == "self-attested"
    assert missing(made) == ["no result was produced again by another runner"]
    assert NEVER in page(made).decode()


def test_the_same_bytes_are_told_with_their_entry_and_a_development_key_is_marked(
    story: Story,
) -> None:
    entry = again(story)
    made = report(story)
    told_as = (
        f"reproduced: same bytes on cpu, entry {entry} (under the key that trained it, a"
        " development key)"
    )
    assert stage(made).assurance == told_as and entry in stage(made).evidence
    assert stage(made, "base").assurance == NEVER
    assert by(made) == "self-attested (base); the others reproduced"
    assert entry in next(node.evidence for node in made.nodes if node.label == "sft")
    assert told_as in page(made).decode()
    assert any(told_as in line for line in text(made, "training"))
    assert entry in {one.index for one in made.evidence}
    again(story, "base")
    assert by(report(story)) == "reproduced: same bytes"
    assert missing(report(story)) == ["not every result was produced again by another runner"]


def test_a_band_is_told_as_a_band(story: Story) -> None:
    entry = again(story, **BAND)
    again(story, "base")
    made = report(story)
    assert stage(made).assurance.startswith(
        f"reproduced within 2.5e-07: 3 of 20 tensors differ, on cpu, entry {entry}"
    )
    assert by(made) == "reproduced within the band measured"


def test_what_cannot_be_measured_is_not_reproduced(story: Story) -> None:
    again(story, **{**BAND, "largest_difference": None})
    again(story, "base")
    made = report(story)
    assert stage(made).assurance.startswith("NOT reproduced: 3 of 20 tensors differ")
    assert by(made) == "self-attested (sft); the others reproduced"


def test_other_files_than_weights_may_differ(story: Story) -> None:
    again(story, **{**BAND, "largest_difference": 0.0, "differing": 0})
    assert stage(report(story)).assurance.startswith(
        "reproduced: same weights, other files of the model differ"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"of": digest("no training")},
        {"inputs": []},
        {"inputs": [Artifact(role="data", name="in", sha256=digest("other data"))]},
        {"same_bytes": True, "model": digest("another")},
        {"same_bytes": False},
    ],
    ids=[
        "of nothing",
        "from nothing",
        "from other data",
        "same bytes and another digest",
        "other bytes, same digest",
    ],
)
def test_a_reproduction_that_does_not_fit_does_not_count(
    story: Story, other: dict[str, Any]
) -> None:
    again(story, **other)
    assert stage(report(story)).assurance == NEVER


def test_one_that_stands_before_its_training_does_not_count(story: Story) -> None:
    """Of a training that is recorded again later, with the same inputs and bytes, it still does."""
    first = training(story, "sft")
    again(story)
    node = model_node(story.view, story.models["sft"])
    assert len(reproductions(story.view, node)) == 1
    later = first.predicate.model_copy(update={"parameters": {"recorded": "again"}})
    evidence.record(story.log, signer(story.machine), "train", first.subjects, later)
    second = model_node(story.view, story.models["sft"])
    assert (
        second.train is not None
        and second.train.index > first.index
        and inputs(second.train) == inputs(first)
    )
    assert len(reproductions(story.view, second)) == 1


def test_a_key_that_may_not_sign_it_counts_for_nothing(people: Story) -> None:
    """`ci` signed the training itself; policy does not let it sign reproductions. `eve` signs
    nothing at all.
    """
    assert "reproduction" not in KINDS
    for key in (None, person("eve")):
        again(people, "base", key)
        again(people, "sft", key)
    made = report(people)
    assert {one.assurance for one in made.trainings} == {NEVER}
    assert by(made) == "self-attested" and missing(made)
    entries = [again(people, name, person("runner")) for name in ("base", "sft")]
    made = report(people)
    assert (
        stage(made).assurance
        == f"reproduced: same bytes on cpu, entry {entries[1]} (under another key)"
    )
    assert by(made) == "reproduced: same bytes" and missing(made) == []


def test_a_reproduction_gives_no_file_at_hand_a_history(story: Story) -> None:
    """It published nothing: a model folder that only it names stays one that nobody made."""
    folder = story.root / "models" / "sft" / "model"
    (folder / "config.json").write_text('{"other": 1}', encoding="utf-8")
    before = verify_files(story.root, story.view.all(), lambda _: None).mismatches
    again(story, subject=tree_digest(folder))
    after = verify_files(story.root, story.view.all(), lambda _: None).mismatches
    assert [one.path for one in after] == [one.path for one in before]
    assert any(one.path.startswith("models/sft/model") for one in after)
