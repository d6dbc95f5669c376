"""The variation between training seeds: which runs count, and how report, terminal and model card
say it.
"""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from governance.attest.keys import Signer
from governance.attest.predicates import PREDICATES, TYPE_PREFIX, Artifact
from governance.exports.formats.model_card import model_card
from governance.log import evidence
from governance.machine.machine import signer
from governance.report.build import build
from governance.report.html import page
from governance.report.model.report import Report
from governance.report.model.scores import BetweenSeeds
from governance.report.sections import text
from tests.governance.exports.told import records_of
from tests.governance.governed import empty, keypair, person, principals
from tests.governance.report.reproduced import training
from tests.governance.story import MODEL, Story, digest, tell

RUNNER = '  - {"name": "runner", "kind": "service", "signs": ["seed_run"], "keys": ["%s"]}\n'


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Real keys: `ci` signs all but runs of other seeds, `runner` nothing else."""
    named = principals() + RUNNER % keypair("runner")[1]
    return tell(empty(tmp_path_factory.mktemp("people"), people=named).story)


def ran(story: Story, seed: int, mean: float, key: Signer | None = None, **other: Any) -> int:
    """The training of `sft` with another seed, scored on its suite. Its entry."""
    first = training(story, "sft")
    names = ("stage", "inputs", "parameters", "policy", "code", "environment")
    scored = next(
        one.predicate
        for one in story.view.all("evaluate")
        if one.predicate.model == story.models["sft"]
    )
    fields = {
        **{name: getattr(first.predicate, name) for name in names},
        "of": first.digest,
        "seed": seed,
        "model": digest(f"seed {seed}"),
        "suite": scored.suite,
        "suite_name": scored.suite_name,
        "items": 300,
        "means": {"greedy_exact": mean},
        "run": story.run(),
        **other,
    }
    predicate = PREDICATES[f"{TYPE_PREFIX}seed_run/v1"].model_validate(fields)
    subjects = [Artifact(role="model", name="models/sft/model", sha256=story.models["sft"])]
    return evidence.record(
        story.log, key or signer(story.machine), "seed_run", subjects, predicate
    ).index


def report(story: Story) -> Report:
    return build(story.sources, MODEL, "1")


def between(made: Report, model: str = "sft") -> BetweenSeeds | None:
    metric = next(one for one in made.metrics if one.name == "greedy_exact")
    return next(score.between_seeds for score in metric.scores if score.model == model)


def test_without_runs_it_is_not_measured(shared: Story) -> None:
    made = report(shared)
    assert between(made) is None
    assert any("not measured" in line for line in text(made, "evaluation"))
    assert "| not measured |" in model_card(records_of(shared))


def test_runs_are_shown_beside_the_scores_and_leave_these_alone(story: Story) -> None:
    before = [score.model_dump(exclude={"between_seeds"}) for score in _scores(report(story))]
    entries = [ran(story, 2, 0.90), ran(story, 3, 0.96), ran(story, 4, 0.0, **STOPPED)]
    made = report(story)
    found = between(made)
    assert found is not None and found.evidence == entries
    assert (found.seeds, found.stopped, found.separate) == ([2, 3], [4], 0)
    assert (found.lowest, found.highest) == (0.90, 0.96)
    assert found.deviation == pytest.approx(statistics.stdev([0.90, 0.96]))
    assert [score.model_dump(exclude={"between_seeds"}) for score in _scores(made)] == before
    words = (
        "mean 0.930; standard deviation 0.042; 0.900 to 0.960; seeds 2, 3; training stopped with"
        " seeds 4; self-attested"
    )
    assert words in page(made).decode() and words in model_card(records_of(story))
    assert words in " ".join(text(made, "evaluation"))
    assert set(entries) <= {one.index for one in made.evidence}


STOPPED: dict[str, Any] = {
    "model": None,
    "means": {},
    "findings": [{"code": "NON_FINITE", "subject": "stage train@sft", "message": "not finite"}],
}


@pytest.mark.parametrize(
    "other",
    [
        {"suite": digest("another suite")},
        {"of": digest("another training")},
        {"inputs": []},
        {"seed": 1},  # its own
    ],
    ids=lambda other: next(iter(other)),
)
def test_runs_of_something_else_do_not_count(other: dict[str, Any], story: Story) -> None:
    ran(story, **{"seed": 2, "mean": 0.9, **other})
    assert between(report(story)) is None


def test_a_later_run_of_a_seed_replaces_the_earlier_one(story: Story) -> None:
    ran(story, 2, 0.5)
    last = ran(story, 2, 0.9)
    found = between(report(story))
    assert found is not None and (found.mean, found.evidence) == (0.9, [last])
    assert found.deviation is None


def test_only_a_key_with_the_right_counts_and_another_than_the_trainers_is_said(
    people: Story,
) -> None:
    ran(people, 2, 0.9)  # by ci, which may not
    assert between(report(people)) is None
    for seed in (3, 4):
        ran(people, seed, 0.9, person("runner"))
    found = between(report(people))
    assert found is not None and (found.seeds, found.separate) == ([3, 4], 2)
    assert found.words.endswith("separately run")


def _scores(made: Report) -> list[Any]:
    return [score for metric in made.metrics for score in metric.scores]
