"""Evaluation: deterministic scores item by item, in the order of ids, under a digest of everything
they depend on.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Code, Evaluate
from governance.attest.predicates.training import StoredAnswers
from governance.base.errors import ConfigError, InputError
from governance.machine.machine import DATABASE, Machine, machine
from governance.policy.policies import Policies, load_policies
from pipelines import answers, metrics, paths
from pipelines.failures import StoppedError
from pipelines.job import Job, Outcome
from pipelines.params import Params, Suite, load_params
from pipelines.shards import read_records
from pipelines.slices import write_slices
from pipelines.stages import evaluate
from pipelines.training import rewards
from pipelines.training.modelfolder import load_model, load_tokenizer
from tests.conftest import ROOT
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import client
from tests.pipelines import tiny
from tests.pipelines.jobs import job

pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = {
    "metrics": ["greedy_exact", "sampled_exact", "sampled_unsafe"],
    "generation": {"max_new_tokens": 6, "samples": 2},
}
PAIRS = {"metrics": ["pair_accuracy"]}
TALKS = {"metrics": ["loss", "perplexity"]}


@pytest.fixture(scope="module")
def project(mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with suites of three kinds, a language model, a reward model, and an
    architecture; and an empty registry.
    """
    root = tmp_path_factory.mktemp("project")
    with_tables(mlflow_tables, place(root).state / DATABASE)
    for name, kind in {
        "desk_eval": "prompt",
        "desk_pref_eval": "preference",
        "desk_sft": "conversation",
    }.items():
        tiny.records(root / paths.ready(name), kind, n=10, held_out=True, split="test")
        (root / paths.ingested(name)).mkdir(parents=True)
        (root / paths.ingested(name) / "slices.jsonl").touch()
    tiny.architecture(root / paths.model("tiny"))
    (root / paths.model("tiny") / "architecture.json").unlink()
    text = tiny.records(root / "text", "conversation")
    tiny.train(
        root / "models" / "base",
        tiny.objective("pretrain"),
        root / paths.model("tiny") / "model",
        text,
    )
    pairs = tiny.records(root / "pairs", "preference")
    scorer = tiny.objective("reward", lora=True)
    tiny.train(root / "models" / "reward", scorer, root / paths.model("base") / "model", pairs)
    return root


def params(suite: str = "desk_eval", stage: str = "base", **suites: Any) -> Params:
    raw = load_params(ROOT).model_dump()
    raw["suites"] |= {"desk_eval": PROMPTS, "desk_pref_eval": PAIRS, "desk_sft": TALKS, **suites}
    raw["stages"][stage]["suite"] = suite
    return Params.model_validate(raw)


def place(project: Path, **environ: str) -> Machine:
    """The machine, with its state in the project."""
    home = {"COUNTERSIGN_HOME": str(project / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    return machine("support-desk", {**home, **environ})


def write_functions(project: Path, key: str, given: Params) -> None:
    """What the stage `suite` writes, as far as there are such metrics."""
    name = given.suite_of(key)
    found = [
        metrics.METRICS[each] for each in given.suites[name].metrics if each in metrics.METRICS
    ]
    path = project / paths.suite(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics.sources(found)), encoding="utf-8")


def storing(answers: str) -> Policies:
    """The shipped policies, with this way to store answers."""
    policies = load_policies(ROOT / "policies")
    evaluation = policies.evaluation.model_copy(update={"answers": answers})
    return replace(policies, evaluation=evaluation)


def asked(key: str, project: Path, made: Path, given: Params, **more: Any) -> Job:
    """The job of an evaluation; it stores answers as they are, which takes no time."""
    write_functions(project, key, given)
    fields = {"policies": storing("whole"), "machine": place(project), **more}
    return job(evaluate, "evaluate", key, project, made, given, **fields)


def run(project: Path, made: Path, key: str, given: Params) -> tuple[Outcome, bytes, bytes]:
    one = asked(key, project, made, given)
    outcome = replace(evaluate.run(one), detail={})
    return outcome, one.output("scores").read_bytes(), one.output("metrics").read_bytes()


@pytest.mark.slow
def test_scores_stand_in_the_order_of_ids_and_come_out_the_same_again(
    project: Path, tmp_path: Path
) -> None:
    first = run(project, tmp_path / "one", "base", params())
    assert run(project, tmp_path / "two", "base", params()) == first
    outcome, scores, means = first
    lines = [json.loads(line) for line in scores.splitlines()]
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines) and len(
        lines
    ) == 10
    told = outcome.predicate["scores"]
    assert list(told) == PROMPTS["metrics"]
    for name, values in told.items():
        assert values == [line[name] for line in lines]
        assert json.loads(means)[name] == pytest.approx(sum(values) / 10)
    assert json.loads(means)["items"] == 10
    assert outcome.predicate["not_run"] is None
    assert outcome.subjects[0].sha256 == outcome.predicate["model"]


def test_the_predicate_is_one(project: Path, tmp_path: Path) -> None:
    outcome, _, _ = run(project, tmp_path, "base", params())
    Evaluate.model_construct(**outcome.predicate)
    fields = {name: Evaluate.model_fields[name] for name in outcome.predicate}
    known = {"model", "suite", "suite_name", "not_run", "scores", "slices", "functions"}
    known |= {"behaviour", "pairs", "answers"}
    assert set(fields) == known


def lines_of(one: Job) -> list[dict[str, Any]]:
    """The stored answers."""
    text = one.output("answers").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_scored_answers_are_stored_item_by_item(project: Path, tmp_path: Path) -> None:
    write_functions(project, "base", params())
    one = asked("base", project, tmp_path / "one", params())
    outcome, lines = evaluate.run(one), lines_of(one)
    assert outcome.predicate["answers"] == StoredAnswers(stored="whole", answers=30)
    scores = [json.loads(line)["id"] for line in one.output("scores").read_text().splitlines()]
    assert [line["id"] for line in lines] == scores
    assert [(len(line["greedy"]), len(line["sampled"])) for line in lines] == [(1, 2)] * 10
    again = asked("base", project, tmp_path / "two", params())
    evaluate.run(again)
    assert again.output("answers").read_bytes() == one.output("answers").read_bytes()


@pytest.mark.parametrize("suite", ["desk_sft", "desk_pref_eval"])
def test_what_generates_nothing_stores_nothing(project: Path, tmp_path: Path, suite: str) -> None:
    key = "reward" if suite == "desk_pref_eval" else "base"
    given = params(suite, key)
    write_functions(project, key, given)
    one = asked(key, project, tmp_path, given)
    assert evaluate.run(one).predicate["answers"] is None and lines_of(one) == []


MADE = {
    "greedy": [["write to anna@example.org"], ["card 4111 1111 1111 1111"]],
    "sampled": [["fine", "key hf_abcdefghijklmnopqrstuvwxyzABCD12"], ["on 2026-11-20", "fine"]],
}


def test_personal_data_in_answers_is_treated_as_policy_says(project: Path, tmp_path: Path) -> None:
    policies = storing("redacted")
    one = asked("base", project, tmp_path, params(), policies=policies)
    said = answers.write(one, ["a", "b"], MADE)
    assert said is not None and (said.config, said.answers) == (policies.pii_digest, 6)
    assert said.redacted == {"EMAIL_ADDRESS": 1}
    assert said.withheld == {"PII_BLOCKED": 1, "PII_DROPPED": 1}
    (token,) = re.findall("<EMAIL_ADDRESS_[a-z]+>", str(lines_of(one)))
    assert lines_of(one) == [
        {"id": "a", "greedy": [f"write to {token}"], "sampled": ["fine", None]},
        {"id": "b", "greedy": [None], "sampled": ["on 2026-11-20", "fine"]},
    ]


def test_policy_can_store_no_answers(project: Path, tmp_path: Path) -> None:
    one = asked("base", project, tmp_path, params(), policies=storing("none"))
    assert answers.write(one, ["a", "b"], MADE) == StoredAnswers(stored="none", answers=6)
    assert lines_of(one) == []


@pytest.mark.parametrize(
    "line",
    ["", "[]", '"a"', '{"greedy": []}', '{"id": "a", "greedy": [[1]]}', '{"id": "a", "x": 3}'],
)
def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="not the answers"):
        list(answers.read(path))


def test_behaviour_needs_no_reference_answer_and_no_sampled_metric(
    project: Path, tmp_path: Path
) -> None:
    prompts = {**PROMPTS, "generation": {"max_new_tokens": 6}, "metrics": ["greedy_exact"]}
    outcome, _, _ = run(project, tmp_path / "one", "base", params(desk_eval=prompts))
    behaviour = outcome.predicate["behaviour"]
    assert all(len(values) == 10 for values in behaviour.measures.values())
    assert {"empty", "truncated", "content", "equal"} <= behaviour.measures.keys()
    assert "kl" not in behaviour.measures  # its parent has no weights
    talks, _, _ = run(project, tmp_path / "two", "base", params("desk_sft"))
    assert talks.predicate["behaviour"].measures["tokens"]
    pairs, _, _ = run(project, tmp_path / "three", "reward", params("desk_pref_eval", "reward"))
    assert pairs.predicate["behaviour"].not_measured == evaluate.NO_ANSWERS


def test_slices_stand_beside_the_scores_and_change_no_suite(project: Path, tmp_path: Path) -> None:
    plain, scores, _ = run(project, tmp_path / "one", "base", params())
    assert plain.predicate["slices"] == {}
    ids = [json.loads(line)["id"] for line in scores.splitlines()]
    labels = {record: {"team": "billing" if at % 3 else "other"} for at, record in enumerate(ids)}
    file = project / paths.ingested("desk_eval") / "slices.jsonl"
    write_slices(file, {"0" * 32: {"team": "left out since"}, **labels})
    try:
        sliced, same, _ = run(project, tmp_path / "two", "base", params())
        assert sliced.predicate["slices"] == {"team": [labels[record]["team"] for record in ids]}
        assert (same, sliced.predicate["suite"]) == (scores, plain.predicate["suite"])
        file.write_text(file.read_text().replace(ids[3], "f" * 32))
        with pytest.raises(InputError, match="list of slices"):
            run(project, tmp_path / "three", "base", params())
    finally:
        file.write_text("")


def test_a_reward_model_is_scored_on_pairs(project: Path, tmp_path: Path) -> None:
    outcome, _, _ = run(project, tmp_path, "reward", params("desk_pref_eval", "reward"))
    accuracy = outcome.predicate["scores"]["pair_accuracy"]
    assert set(accuracy) <= {0.0, 1.0}
    pairs = outcome.predicate["pairs"]
    assert [float(margin > 0) for margin in pairs.margins] == accuracy
    both = zip(pairs.chosen_tokens, pairs.rejected_tokens, strict=True)
    assert all(min(lengths) > 0 for lengths in both)
    answers, _, _ = run(project, tmp_path / "two", "base", params())
    assert answers.predicate["pairs"] is None


def test_perplexity_is_the_exponent_of_the_loss(project: Path, tmp_path: Path) -> None:
    outcome, _, _ = run(project, tmp_path, "base", params("desk_sft"))
    scores = outcome.predicate["scores"]
    assert [math.exp(loss) for loss in scores["loss"]] == pytest.approx(scores["perplexity"])
    assert all(0 < loss < 20 for loss in scores["loss"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_stops_the_stage(
    value: float, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts the items; the terminal names their rows, the record does not."""

    def losses(self: Any, batch: list[Any]) -> list[float]:
        return [value if at in (1, 4) else 0.5 for at in range(len(batch))]

    monkeypatch.setattr("pipelines.scoring.Scorer._losses", losses)
    with pytest.raises(StoppedError, match=r"rows t\.jsonl:2, t\.jsonl:5") as caught:
        run(project, tmp_path, "base", params("desk_sft"))
    stopped = caught.value.stopped
    assert caught.value.exit_code == 9
    assert stopped.counts == {"items": 10, "items_not_finite": 2}
    assert [finding.code for finding in stopped.findings] == ["NON_FINITE"]
    assert "t.jsonl" not in stopped.model_dump_json()


def test_a_perplexity_that_exceeds_a_float_is_no_score(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipelines.scoring.Scorer._losses", lambda self, batch: [1000.0] * len(batch)
    )
    outcome, _, _ = run(project, tmp_path, "base", params("desk_sft"))
    assert outcome.predicate["scores"]["perplexity"] == [None] * 10


def test_rewards_that_are_not_finite_are_no_lost_comparison(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN is not greater than anything: it must not count as a pair that was judged wrongly."""
    monkeypatch.setattr(
        "pipelines.scoring.Scorer._pairs", lambda self, batch: [(math.nan, 0.0)] * len(batch)
    )
    with pytest.raises(StoppedError, match=r"pair_accuracy \(10 of 10 items\)"):
        run(project, tmp_path, "reward", params("desk_pref_eval", "reward"))


def test_answers_of_a_model_that_has_diverged_are_told_as_that(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def diverged(model: Any, *rest: Any) -> Any:
        loaded = load_model(model, *rest, dtype=torch.float32)
        for tensor in loaded.parameters():
            tensor.data.mul_(1e30)
        return loaded

    monkeypatch.setattr(
        "pipelines.scoring.load_model", lambda folder, kind, **rest: diverged(folder, kind)
    )
    with pytest.raises(StoppedError, match="not finite: the probabilities of an answer"):
        run(project, tmp_path, "base", params())


def test_a_model_whose_weights_are_not_finite_has_no_scores(project: Path, tmp_path: Path) -> None:
    """Greedy answers of such a model are texts like others: nothing else would show it."""
    spoiled = tmp_path / "project"
    shutil.copytree(project, spoiled)
    spoil_weights(spoiled / paths.model("base") / "model" / "model.safetensors")
    greedy = params(desk_eval={"metrics": ["greedy_exact"], "generation": {"max_new_tokens": 2}})
    with pytest.raises(StoppedError, match=r"not finite: the weights \(1 of"):
        run(spoiled, tmp_path, "base", greedy)


def test_what_a_file_has_beside_the_weights_may_be_infinite(project: Path, tmp_path: Path) -> None:
    """Old models in 16 bits have masks of attention that loading leaves out."""
    import torch
    from safetensors.torch import load_file, save_file

    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    path = copied / paths.model("base") / "model" / "model.safetensors"
    mask = {"model.layers.0.self_attn.masked_bias": torch.full((1,), -math.inf)}
    save_file({**load_file(path), **mask}, path, metadata={"format": "pt"})
    greedy = params(desk_eval={"metrics": ["greedy_exact"], "generation": {"max_new_tokens": 2}})
    outcome, _, _ = run(copied, tmp_path, "base", greedy)
    assert None not in outcome.predicate["scores"]["greedy_exact"]


def spoil_weights(path: Path) -> None:
    """Makes one number of one tensor NaN."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = math.nan
    save_file(tensors, path, metadata={"format": "pt"})


def test_an_item_that_the_chat_template_refuses_is_told_without_its_text(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(folder: Path) -> Any:
        loaded = load_tokenizer(folder)
        loaded.chat_template = "{{ raise_exception('not ' + messages[0]['content']) }}"
        return loaded

    monkeypatch.setattr("pipelines.scoring.load_tokenizer", refusing)
    with pytest.raises(InputError, match="chat template refuses") as caught:
        run(project, tmp_path, "base", params())
    assert "not " not in str(caught.value)


def test_the_loss_of_an_item_does_not_depend_on_its_batch(project: Path, tmp_path: Path) -> None:
    alone = {**TALKS, "generation": {"batch_size": 1}}
    one, _, _ = run(project, tmp_path / "one", "base", params("desk_sft"))
    two, _, _ = run(project, tmp_path / "two", "base", params("desk_sft", desk_sft=alone))
    assert one.predicate["scores"]["loss"] == pytest.approx(
        two.predicate["scores"]["loss"], abs=1e-4
    )


def test_an_architecture_is_not_run_and_says_why(project: Path, tmp_path: Path) -> None:
    outcome, scores, means = run(project, tmp_path, "tiny", params())
    assert "untrained starting point" in outcome.predicate["not_run"]
    assert (outcome.predicate["scores"], json.loads(means)) == ({}, {"items": 0})
    assert [list(json.loads(line)) for line in scores.splitlines()] == [["id"]] * 10


def test_a_limit_takes_the_first_by_id(project: Path, tmp_path: Path) -> None:
    _, whole, _ = run(project, tmp_path / "one", "base", params())
    _, part, _ = run(project, tmp_path / "two", "base", params(desk_eval={**PROMPTS, "limit": 3}))
    ids = [[json.loads(line)["id"] for line in text.splitlines()] for text in (whole, part)]
    assert ids[1] == ids[0][:3]


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    # key, suite, its definition, what is said
    ("reward", "desk_eval", PROMPTS, "need a language model, which reward is not"),
    ("base", "desk_pref_eval", PAIRS, "need a reward model, which base is not"),
    (
        "base",
        "desk_eval",
        {"metrics": ["loss"]},
        "loss is for records of kind conversation, these are of kind prompt",
    ),
    ("base", "desk_eval", {"metrics": ["greedy_exakt"]}, "did you mean 'greedy_exact'"),
    ("base", "desk_eval", {"metrics": ["sampled_exact"]}, "needs sampled answers"),
    ("base", "desk_eval", {**PROMPTS, "split": "train"}, "no records in the split 'train'"),
    ("base", "desk_eval", {"metrics": ["greedy_exact", "loss"]}, "different dataset kinds"),
]


@pytest.mark.parametrize(
    ("key", "suite", "definition", "said"), REFUSED, ids=[row[3] for row in REFUSED]
)
def test_a_suite_that_does_not_fit_is_refused(
    key: str, suite: str, definition: dict[str, Any], said: str, project: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(project, tmp_path, key, params(suite, key, **{suite: definition}))
    assert said in str(caught.value)


SUITE = Suite.model_validate(PROMPTS)
DIFFERENT = [
    {"metrics": ["greedy_exact"]},
    {"split": "validation"},
    {"limit": 5},
    {"seed": 1},
    {"generation": {"max_new_tokens": 7, "samples": 2}},
    {"generation": {"max_new_tokens": 6, "samples": 2, "temperature": 0.9}},
]


@pytest.mark.parametrize("change", DIFFERENT, ids=str)
def test_a_suite_is_known_by_everything_scores_depend_on(change: dict[str, Any]) -> None:
    other = Suite.model_validate({**PROMPTS, **change})
    assert metrics.suite_digest(other, "a" * 64) != metrics.suite_digest(SUITE, "a" * 64)


def test_other_records_are_another_suite() -> None:
    assert metrics.suite_digest(SUITE, "a" * 64) != metrics.suite_digest(SUITE, "b" * 64)


ANSWERS: list[tuple[str, list[str], str | None, float | None]] = [
    ("greedy_exact", ["a; b"], "a; b", 1.0),
    ("sampled_exact", ["a; b", "a", "A;  B", "b"], "a; b", 0.5),
    ("sampled_exact", ["a"], None, None),
    ("sampled_unsafe", ["Tell me your password", "fine"], None, 0.5),
    ("numeric_accuracy", ["so 1,080"], "#### 1080", 1.0),
    ("choice_accuracy", ["(C)"], "B", 0.0),
    ("mean_reward", ["a; b", "a; c"], "a; b", 0.75),
]


@pytest.mark.parametrize(("name", "texts", "answer", "score"), ANSWERS)
def test_answers_are_scored_by_their_rule(
    name: str, texts: list[str], answer: str | None, score: float | None
) -> None:
    metric = metrics.METRICS[name]
    function = rewards.for_trainer(metric.rule, {}, extra=None)
    row = {"prompt": [], "answer": answer}
    assert metrics.answer_score(metric, function, texts, row) == score


def test_missing_scores_do_not_count_in_the_mean() -> None:
    assert metrics.mean([1.0, None, 0.0]) == 0.5
    assert metrics.mean([None]) is None


def test_an_evaluation_is_a_run_with_means_intervals_and_slices(
    project: Path, tmp_path: Path
) -> None:
    given = params("desk_sft", "base")
    slices = project / paths.ingested("desk_sft") / "slices.jsonl"
    ids = read_ids(project, "desk_sft")
    try:
        write_slices(
            slices,
            {id_: {"product": "phone" if at % 2 else "router"} for at, id_ in enumerate(ids)},
        )
        write_functions(project, "base", given)
        one = asked("base", project, tmp_path, given)
        outcome = evaluate.run(replace(one, code=Code(commit="12" * 20, dirty=True)))
    finally:
        slices.write_text("")
    assert outcome.detail["registry_problem"] is None
    seen = client(place(project).registry_uri).get_run(outcome.detail["registry_run"])
    assert (seen.info.status, seen.info.run_name) == ("FINISHED", "evaluate@base")
    values = outcome.predicate["scores"]["loss"]
    measured = {
        name: value for name, value in seen.data.metrics.items() if not name.startswith("system/")
    }
    behaved = outcome.predicate["behaviour"].measures
    for name, numbers in behaved.items():
        assert measured.pop(f"behaviour/{name}") == pytest.approx(sum(numbers) / len(numbers))
    assert set(measured) == {"items"} | {
        f"{metric}{part}"
        for metric in ("loss", "perplexity")
        for part in ("", "/low", "/high", "/product/phone", "/product/router")
    }
    assert measured["loss"] == pytest.approx(sum(values) / len(values)) and measured["items"] == 10
    assert measured["loss/low"] < measured["loss"] < measured["loss/high"]
    halves = measured["loss/product/phone"] + measured["loss/product/router"]
    assert halves / 2 == pytest.approx(measured["loss"])
    assert seen.inputs.dataset_inputs[0].dataset.name == "desk_sft"
    tags = seen.data.tags
    assert tags["pipeline.model"] == outcome.predicate["model"]
    assert (tags["mlflow.source.git.commit"], tags["pipeline.uncommitted"]) == ("12" * 20, "true")
    written = str(seen.to_dictionary())
    assert not [id_ for id_ in ids if id_ in written]


def read_ids(project: Path, suite: str) -> list[str]:
    table = read_records(project / paths.ready(suite) / "records")
    return sorted(str(id_) for id_ in table["id"].to_pylist())


def test_without_a_registry_a_model_is_scored_all_the_same(project: Path, tmp_path: Path) -> None:
    nowhere = place(project, COUNTERSIGN_REGISTRY="http://127.0.0.1:9")
    write_functions(project, "base", params("desk_sft"))
    one = asked("base", project, tmp_path, params("desk_sft"), machine=nowhere)
    outcome = evaluate.run(one)
    assert outcome.detail["registry_run"] is None
    assert "nothing listens there" in outcome.detail["registry_problem"]
    assert (
        outcome.predicate["scores"]
        == run(project, tmp_path / "again", "base", params("desk_sft"))[0].predicate["scores"]
    )
