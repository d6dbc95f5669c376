"""A training whose held-back records are scored along it: what is said, where it ends, and that a
look changes nothing.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from governance.attest import digests
from governance.base.errors import CountersignError, Problems, TrainingError
from pipelines import isolation
from pipelines.metrics import metrics_of, sources
from pipelines.params import Params, Suite, load_params
from pipelines.training import launch, looks, objective
from pipelines.training.fit import fit
from pipelines.training.looks import SuiteRule, early_stop
from pipelines.training.plan import Fitted, Plan
from tests.conftest import ROOT
from tests.kept import share
from tests.pipelines import tiny

pytestmark = pytest.mark.filterwarnings("ignore")

REWARD = '''"""How many different characters an answer has."""
def variety(text, answer):
    return min(1.0, len(set(text)) / 40)
'''
METRICS = ["sampled:variety", "greedy:variety"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that every case trains on."""
    home = tmp_path_factory.mktemp("base")
    text = tiny.records(home / "text", "conversation")
    bare = tiny.architecture(home / "bare")
    return tiny.train(home / "base", tiny.objective("pretrain"), bare, text)[0] / "model"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a reward function, which is the working folder."""
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "variety.py").write_text(REWARD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(work: Path, base: Path, rule: dict[str, Any] | None, **more: Any) -> Plan:
    """Six steps at a constant learning rate, and six records of the split `validation`."""
    constant = {"lr_scheduler_type": "constant", "max_steps": 6, "learning_rate": 0.05}
    wanted = tiny.objective("grpo", lora=True, rewards=("variety",), **constant)
    suite = Suite.model_validate(
        {
            "metrics": METRICS,
            "split": "validation",
            "limit": 5,
            "generation": {"max_new_tokens": 10, "samples": 4, "batch_size": 8},
        }
    )
    if rule is not None:
        given = {"metric": METRICS[0], "every": 2, "below": None, "above": None, **rule}
        functions = sources(metrics_of(suite, ""))
        made = SuiteRule(name="desk_eval", suite=suite, functions=functions, **given)
        wanted = wanted.model_copy(update={"stop_suite": made})
    data = tiny.records(work / "prompts", "prompt", validation=6)
    return tiny.plan(work, wanted.model_copy(update=more), base, data)


def silent(step: int, steps: int, signals: Any) -> None:
    """A listener that does nothing."""


def weights(made: Plan) -> str:
    """sha256 of what was trained."""
    return digests.sha256_file(made.work / "trained" / "adapter_model.safetensors")


class _KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.slow
def test_a_look_changes_nothing_and_its_rule_ends_the_training(base: Path, project: Path) -> None:
    without = plan(project / "without", base, None)
    fit(without, silent)
    free = plan(project / "free", base, {"above": 1.0})
    whole = fit(free, silent)
    assert weights(free) == weights(without)
    seen = whole.looks
    assert seen is not None and whole.stopped is None
    assert (seen.suite, seen.items, seen.count) == ("desk_eval", 5, 3)
    assert [look.step for look in seen.points] == [2, 4, 6]
    means = [look.scores[METRICS[0]].mean for look in seen.points]
    assert set(seen.points[0].scores) == set(METRICS) and len(set(means)) > 1
    assert [
        line["suite/sampled:variety"] for line in whole.history if "suite/sampled:variety" in line
    ] == means

    assert means[0] != means[1]
    limit = (means[0] + means[1]) / 2
    side = "below" if means[1] < means[0] else "above"
    ended = plan(project / "ended", base, {side: limit})
    fitted = fit(ended, silent)
    assert fitted.steps == 4 and fitted.looks is not None and fitted.looks.count == 2
    assert fitted.stopped is not None
    assert (fitted.stopped.rule, fitted.stopped.found) == (f"suite_{side}", means[1])
    assert (fitted.stopped.metric, fitted.stopped.planned) == (METRICS[0], 6)

    for last in (3, 4):
        assert _killed_and_resumed(project / f"cut{last}", base, {side: limit}, last) == fitted
        assert weights(plan_of(project / f"cut{last}", base, {side: limit})) == weights(ended)


def plan_of(work: Path, base: Path, rule: dict[str, Any]) -> Plan:
    """The plan of a work folder that is there."""
    made = plan(work.with_name(f"{work.name}-again"), base, rule)
    return made.model_copy(update={"work": work, "checkpoint_seconds": 0.0})


def _killed_and_resumed(work: Path, base: Path, rule: dict[str, Any], last: int) -> Fitted:
    """What comes out of a training that is killed after a step, and at the look of that step."""
    made = plan(work, base, rule).model_copy(update={"checkpoint_seconds": 0.0})

    def kill(step: int, steps: int, signals: Any) -> None:
        if step == last and (last % 2 or any(name.startswith("suite/") for name in signals)):
            raise _KilledError

    with pytest.raises(TrainingError, match="_KilledError"):
        fit(made, kill)
    return fit(made, silent)


@pytest.mark.nightly
def test_two_processes_see_the_same(base: Path, project: Path, own_home: Path) -> None:
    """Both look; the first one's scores count. What they see of equal weights is what one sees."""
    share(own_home)
    still = {"above": 1.0, "every": 3}
    one = plan(project / "one", base, still)
    two = plan(project / "two", base, still, processes=2)
    launched = f"{sys.executable} -P -s -S {isolation.script()} torch.distributed.run"
    environ = {"COUNTERSIGN_LAUNCH": f"{launched} --nproc_per_node 2"}
    both = [
        fit(made.model_copy(update={"objective": _frozen(made)}), silent)
        if made is one
        else launch.run(made.model_copy(update={"objective": _frozen(made)}), silent, environ)
        for made in (one, two)
    ]
    assert both[0].looks is not None and both[0].looks == both[1].looks


def _frozen(made: Plan) -> objective.Objective:
    """A learning rate that changes nothing that can be seen."""
    arguments = {**made.objective.trainer, "learning_rate": 1e-12}
    return made.objective.model_copy(update={"trainer": arguments})


def test_a_function_that_changes_between_two_looks_ends_the_training(
    base: Path, project: Path
) -> None:
    made = plan(project / "work", base, {"above": 1.0, "every": 1})

    def change(step: int, steps: int, signals: Any) -> None:
        (project / "rewards" / "variety.py").write_text(REWARD + "\n")

    with pytest.raises(TrainingError, match="changed during the run"):
        fit(made, change)


RULES: list[tuple[dict[str, float], float, int, str | None]] = [
    ({"below": 0.5}, 0.4, 3, "suite_below"),
    ({"below": 0.5}, 0.5, 3, None),
    ({"above": 0.5}, 0.5, 3, None),
    ({"above": 0.5}, 0.6, 3, "suite_above"),
    ({"below": 0.2, "above": 0.5}, 0.1, 3, "suite_below"),
    ({"below": 0.5}, 0.4, 10, None),  # the last step is not early
]


@pytest.mark.parametrize(("bounds", "mean", "step", "rule"), RULES)
def test_a_rule_holds_beyond_its_bound_and_before_the_last_step(
    bounds: dict[str, float], mean: float, step: int, rule: str | None
) -> None:
    given: dict[str, Any] = {"below": None, "above": None, **bounds}
    suite = Suite(metrics=["greedy_exact"])
    made = SuiteRule(metric="greedy_exact", every=1, name="s", suite=suite, functions={}, **given)
    ended = early_stop(made, mean, step, 10)
    assert (ended.rule if ended else None) == rule


def test_of_many_looks_a_statement_has_some_in_even_distances_and_the_last() -> None:
    suite = Suite(metrics=["greedy_exact", "sampled_unsafe"], generation={"samples": 1})
    rule = SuiteRule(
        metric="greedy_exact", every=1, below=0.0, above=None, name="s", suite=suite, functions={}
    )
    line = {"suite/greedy_exact": 0.5, "suite_error/greedy_exact": 0.1}
    seen = looks.looks(rule, [{"step": at, **line} for at in range(1, 101)], 7)
    assert seen is not None and seen.count == 100 and len(seen.points) <= looks.POINTS
    steps = [look.step for look in seen.points]
    assert steps[-1] == 100 and len({b - a for a, b in itertools.pairwise(steps)}) == 1
    assert seen.lower_is_better == ["sampled_unsafe"]
    assert looks.looks(rule, [{"step": 1, "loss": 1.0}], 7) is None


def changed(**rows: dict[str, Any]) -> Params:
    """The shipped parameters with validation records of prompts, and other changes."""
    content = load_params(ROOT).model_dump()
    content["datasets"]["desk_prompts"]["splits"] = {"train": 0.8, "validation": 0.2, "test": 0}
    for place, change in rows.items():
        table, _, row = place.partition("__")
        content[table].setdefault(row, {}).update(change)
    return Params.model_validate(content)


STOP: dict[str, Any] = {"metric": "greedy_exact", "every": 5, "below": 0.5}
JUDGED = {
    "metrics": ["greedy_exact"],
    "split": "validation",
    "limit": None,
    "seed": 0,
    "generation": {},
}
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("grpo", {"stages__grpo": {"stop": {"suite": {**STOP, "metric": "loss"}}}}, "no metric of"),
    (
        "grpo",
        {
            "stages__grpo": {"stop": {"suite": STOP}},
            "datasets__desk_prompts": {"splits": {"train": 1.0, "validation": 0.0, "test": 0.0}},
        },
        "there is nothing to score",
    ),
    (
        "grpo",
        {
            "stages__grpo": {"stop": {"suite": STOP}},
            "suites__desk_prompts": JUDGED,
            "evaluations__more": {"model": "sft", "suite": "desk_prompts"},
        },
        "the split validation of desk_prompts is also the suite of more",
    ),
    (
        "grpo",
        {
            "stages__grpo": {"select": {"metric": "eval_reward", "best": "highest", "every": 5}},
            "suites__desk_prompts": JUDGED,
            "evaluations__more": {"model": "sft", "suite": "desk_prompts"},
        },
        "the split validation of desk_prompts is also the suite of more",
    ),
    ("dpo", {"stages__dpo": {"stop": {"suite": STOP}}}, "generates no answers"),
]


@pytest.mark.parametrize(("stage", "change", "said"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_a_row_that_cannot_be_scored_or_chooses_by_what_judges_is_refused(
    stage: str, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(CountersignError) as caught:
        objective.resolve(changed(**change), stage)
    assert said in str(caught.value) and not isinstance(caught.value, Problems)


def test_what_scores_a_look_is_part_of_the_objective() -> None:
    rule = {"stages__grpo": {"stop": {"suite": STOP}}}
    made = objective.resolve(changed(**rule), "grpo")
    assert made.stop_suite is not None
    assert (made.stop_suite.suite.split, made.stop_suite.suite.limit) == ("validation", 64)
    assert made.stop_suite.functions
    other = objective.resolve(changed(**rule, suites__desk_eval={"seed": 5}), "grpo")
    assert other.digest != made.digest
    free = objective.resolve(changed(), "grpo")
    assert '"stop_suite"' not in free.text and free.digest != made.digest
    assert "stop.greedy_exact.below" in objective.describe(made)
