"""Every method of the table trains for a few steps on its own kind of records, and what it leaves
loads plainly.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from jinja2 import TemplateError
from pyarrow import ArrowInvalid

from governance.attest import digests
from governance.attest.predicates import RecordUse
from governance.base.errors import ConfigError, CountersignError, TrainingError
from governance.models.files import unsafe_files
from governance.policy.data import TrainingRules
from pipelines.failures import RecordsRefusedError, StoppedError, not_finite
from pipelines.kinds import KINDS
from pipelines.shards import read_records
from pipelines.training import fit as fit_module
from pipelines.training import launch, tokenizer
from pipelines.training.callbacks import last_checkpoint, seal, signals_of
from pipelines.training.finite import POSITION, SKIPPED_STEPS, Watch
from pipelines.training.fit import (
    _save_whole,
    _trainer,
    fit,
    require_precision,
    require_requested,
    translated,
)
from pipelines.training.methods import METHODS
from pipelines.training.modelfolder import belongs
from tests.kept import share
from tests.pipelines import tiny
from tests.pipelines.tables import write_records
from tests.ports import free_port

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-trained language model and a reward model made from it."""
    home = tmp_path_factory.mktemp("models")
    text = tiny.records(home / "text", "conversation")
    base, _ = tiny.train(
        home / "base", tiny.objective("pretrain"), tiny.architecture(home / "bare"), text
    )
    pairs = tiny.records(home / "pairs", "preference")
    scorer, _ = tiny.train(
        home / "scorer", tiny.objective("reward", lora=True), base / "model", pairs
    )
    return {"language": base / "model", "scorer": scorer / "model"}


CASES = [
    # method, LoRA, reward functions
    ("sft", True, ()),
    ("sft", False, ()),
    ("reward", True, ()),
    ("reward", False, ()),
    ("dpo", True, ()),
    ("dpo", False, ()),
    ("kto", True, ()),
    ("orpo", True, ()),
    ("grpo", True, ("route_fields", "model")),
    ("grpo", False, ("route_exact",)),
    ("rloo", True, ("no_secrets_asked",)),
    ("ppo", True, ("no_secrets_asked",)),
]


EVERYDAY = [("sft", True), ("dpo", True), ("grpo", True)]
"""What `make test` trains; the others are slow."""


def test_every_method_is_tried() -> None:
    assert {method for method, _, _ in CASES} | {"pretrain"} == set(METHODS)


@pytest.mark.parametrize(
    ("name", "lora", "functions"),
    [
        pytest.param(*case, marks=[] if case[:2] in EVERYDAY else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_a_method_trains_and_what_it_leaves_loads(
    name: str, lora: bool, functions: tuple[str, ...], models: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    method = METHODS[name]
    data = tiny.records(tmp_path / "data", method.kind)
    wanted = tiny.objective(name, lora=lora, rewards=functions)
    made, fitted = tiny.train(tmp_path / "work", wanted, models["language"], data, models["scorer"])

    assert (fitted.steps, fitted.records, fitted.device) == (4, 24, "cpu")
    assert [line["step"] for line in fitted.history] == [1, 2, 3, 4]
    assert {signal for line in fitted.history for signal in line} >= set(method.signals)
    kind = (
        AutoModelForCausalLM if method.model == "language" else AutoModelForSequenceClassification
    )
    model = kind.from_pretrained(made / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(made / "model")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello."}], tokenize=False)
    logits = model(**tokenizer(text, return_tensors="pt")).logits
    assert torch.isfinite(logits).all()
    if lora:
        from peft import PeftModel

        base = kind.from_pretrained(
            models["language"],
            dtype=torch.float32,
            **({"num_labels": 1, "pad_token_id": 0} if method.model == "scorer" else {}),
        )
        adapted = PeftModel.from_pretrained(base, made / "adapter")
        assert torch.allclose(
            adapted(**tokenizer(text, return_tensors="pt")).logits, logits, atol=1e-5
        )
    assert_closed(made)
    assert digests.tree_digest(made / "model") != digests.tree_digest(models["language"])


def assert_closed(made: Path) -> None:
    """No file but a model's, none executable or private, and nothing that names a place or a
    time.
    """
    files = [
        path
        for part in ("model", "adapter")
        if (made / part).exists()
        for path in (made / part).rglob("*")
    ]
    assert not unsafe_files(path.name for path in files)
    assert all(belongs(path.name) for path in (made / "model").iterdir())
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        if path.suffix in (".json", ".jinja"):
            assert str(made.parent) not in path.read_text(encoding="utf-8")
    config = made / "adapter" / "adapter_config.json"
    if config.exists():
        content = json.loads(config.read_text(encoding="utf-8"))
        assert content["base_model_name_or_path"] == "sha256:" + "0" * 64
        assert content["target_modules"] == sorted(content["target_modules"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lora"), [("pretrain", False), ("sft", True), ("grpo", True)])
def test_the_same_plan_gives_the_same_bytes(
    name: str, lora: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    method = METHODS[name]
    data = tiny.records(tmp_path / "data", method.kind)
    parent = tiny.architecture(tmp_path / "bare") if method.from_scratch else models["language"]
    wanted = tiny.objective(name, lora=lora, rewards=("route_fields",) if method.rewards else ())
    made = [tiny.train(tmp_path / part, wanted, parent, data) for part in ("one", "two")]
    assert made[0][1] == made[1][1]
    assert digests.tree_digest(made[0][0] / "model") == digests.tree_digest(made[1][0] / "model")
    if lora:
        assert digests.tree_digest(made[0][0] / "adapter") == digests.tree_digest(
            made[1][0] / "adapter"
        )


@pytest.mark.slow
def test_another_seed_gives_other_bytes(models: dict[str, Path], tmp_path: Path) -> None:
    data = tiny.records(tmp_path / "data", "conversation")
    wanted = tiny.objective("sft")
    one, _ = tiny.train(tmp_path / "one", wanted, models["language"], data)
    two, _ = tiny.train(
        tmp_path / "two", wanted.model_copy(update={"seed": 4}), models["language"], data
    )
    assert digests.tree_digest(one / "model") != digests.tree_digest(two / "model")


def ignore(step: int, steps: int, signals: Mapping[str, float]) -> None:
    """A listener that does not listen."""


WRONG: dict[str, tuple[str, dict[str, Any], type[CountersignError], str]] = {
    "TRL's own rule": (
        "grpo",
        {"per_device_train_batch_size": 3},
        ConfigError,
        "params.yaml: stages.s.trainer",
    ),
    "arguments that contradict": (
        "sft",
        {"packing": True, "packing_strategy": "x"},
        TrainingError,
        "stages.s",
    ),
    "a loss nobody knows": ("dpo", {"loss_type": ["sigmoidal"]}, TrainingError, "stages.s"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_the_trainer_refuses_is_told_in_one_sentence(
    what: str, models: dict[str, Path], tmp_path: Path
) -> None:
    name, arguments, error, said = WRONG[what]
    method = METHODS[name]
    wanted = tiny.objective(name, rewards=("route_exact",) if method.rewards else (), **arguments)
    data = tiny.records(tmp_path / "data", method.kind)
    with pytest.raises(error) as caught:
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_reward_that_raises_ends_the_training(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str, answer: str | None) -> float:
        raise ZeroDivisionError(text)

    wanted = tiny.objective("grpo", rewards=("route_exact",))
    tiny.replace_reward(monkeypatch, "route_exact", broken)
    data = tiny.records(tmp_path / "data", "prompt")
    with pytest.raises(
        TrainingError, match="reward function 'route_exact' raised ZeroDivisionError"
    ):
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert not (tmp_path / "work" / "trained").exists()


DIVERGING = [("sft", False), ("reward", True), ("dpo", True), ("kto", True), ("orpo", True)]
"""Method, LoRA. The prompts of GRPO and RLOO have their own test: what they lose is a reward."""


@pytest.mark.parametrize(
    ("name", "lora"),
    [
        pytest.param(*case, marks=[] if case[0] == "sft" else [pytest.mark.slow])
        for case in DIVERGING
    ],
)
def test_a_training_that_diverges_stops_at_the_step_and_names_its_rows(
    name: str, lora: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    """Its steps are logged too rarely to show it: the loss and the gradients are checked."""
    wanted = tiny.objective(name, lora=lora, learning_rate=1e30, max_steps=8, logging_steps=8)
    data = tiny.records(tmp_path / "data", METHODS[name].kind)
    with pytest.raises(StoppedError) as caught:
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert_stopped(caught.value, 4)
    assert caught.value.stopped.step in (2, 3)
    assert not (tmp_path / "work" / "trained").exists()


def assert_stopped(error: StoppedError, records: int) -> None:
    """The rows stand in the message and not in what is recorded."""
    assert error.exit_code == 9 and "t.jsonl:" in str(error)
    assert error.stopped.counts["batch_records"] == records
    assert [finding.code for finding in error.stopped.findings] == ["NON_FINITE"]
    assert "t.jsonl" not in error.stopped.model_dump_json()


@pytest.mark.parametrize("method", [
    pytest.param("grpo"), pytest.param("rloo", marks=pytest.mark.slow),
])  # fmt: skip
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_reward_that_is_not_finite_stops_the_training(
    value: str,
    method: str,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TRL alone takes it as 0. The row is that of the prompt, not of its whole batch."""
    answers = tiny.answers(24)
    wrong = answers[5]
    rows = [f"t.jsonl:{at + 1}" for at, answer in enumerate(answers) if answer == wrong]

    def broken(text: str, answer: str | None) -> float:
        return float(value) if answer == wrong else 0.0

    wanted = tiny.objective(
        method, rewards=("route_exact", "route_fields"), per_device_train_batch_size=8, max_steps=8
    )
    tiny.replace_reward(monkeypatch, "route_fields", broken)
    data = tiny.records(tmp_path / "data", "prompt")
    with pytest.raises(StoppedError, match="the reward route_fields") as caught:
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    named = str(caught.value).partition("; rows ")[2].splitlines()[0].split(", ")
    assert named and set(named) <= set(rows)
    assert_stopped(caught.value, len(named))


def test_the_batches_that_are_named_are_those_that_trained(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one record whose loss is made infinite, exactly its batch is named."""
    import torch
    from trl import SFTTrainer

    seen: list[set[str]] = []
    real = Watch._take

    def take(watch: Watch, inputs: Any) -> None:
        real(watch, inputs)
        seen.append(set(watch.places(watch.batch)))

    def loss(trainer: Any, model: Any, inputs: Any, **_: Any) -> Any:
        assert POSITION not in inputs
        (value,) = [torch.inf] if "t.jsonl:7" in seen[-1] else [0.0]
        return model(input_ids=inputs["input_ids"]).logits.sum() * 0 + value

    monkeypatch.setattr(Watch, "_take", take)
    monkeypatch.setattr(SFTTrainer, "compute_loss", loss)
    wanted = tiny.objective("sft", max_steps=6)
    data = tiny.records(tmp_path / "data", "conversation")
    with pytest.raises(StoppedError) as caught:
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert len(seen) == caught.value.stopped.step
    assert all(row in str(caught.value) for row in seen[-1])


@dataclass
class Logging:
    """As much of a trainer as a log line is checked with."""

    accelerator: Any


LOGGED: list[tuple[dict[str, Any], bool, str | None]] = [
    ({"loss": 0.5, "grad_norm": 1.0, "epoch": 1}, False, None),
    ({"loss": float("nan")}, False, "loss"),
    ({"eval_loss": float("inf")}, False, "eval_loss"),
    ({"something_else": float("nan")}, False, "something_else"),
    ({"entropy": None}, False, "entropy"),
    ({"eval_entropy": None}, False, "eval_entropy"),
    ({"something_else": None}, False, None),
    ({"grad_norm": float("inf")}, False, "grad_norm"),
    ({"grad_norm": float("inf")}, True, None),  # a scaler skips that step
]


@pytest.mark.parametrize(("logs", "scales", "named"), LOGGED)
def test_every_figure_of_a_log_line_is_finite(
    logs: dict[str, Any], scales: bool, named: str | None
) -> None:
    watch = Watch("train@s", METHODS["sft"].signals, lambda positions: [])
    watch.trainer = Logging(SimpleNamespace(scaler=object() if scales else None))
    if named is None:
        watch.check_log(4, logs)
        return
    with pytest.raises(StoppedError, match=f"at step 4: the figure {named} "):
        watch.check_log(4, logs)


def test_a_scaler_may_skip_some_steps_but_not_all() -> None:
    watch = Watch("train@s", (), lambda positions: [])
    watch.trainer = Logging(SimpleNamespace(scaler=object()))
    norms = iter([float("inf")] * SKIPPED_STEPS + [1.0] + [float("inf")] * (SKIPPED_STEPS + 1))
    checked = watch._norming(lambda: next(norms))
    for _ in range(2 * SKIPPED_STEPS + 1):
        checked()
    with pytest.raises(StoppedError, match="the norm of the gradients"):
        checked()


def test_without_training_records_nothing_starts(models: dict[str, Path], tmp_path: Path) -> None:
    data = tiny.records(tmp_path / "data", "conversation", split="test")
    with pytest.raises(TrainingError, match="no records to train on"):
        fit(tiny.plan(tmp_path / "work", tiny.objective("sft"), models["language"], data), ignore)


def pair_lengths(model: Path, data: Path) -> list[int]:
    """Tokens of the longer conversation of each pair."""
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(model)
    pairs = read_records(data).to_pylist()
    return [
        max(
            len(known.apply_chat_template(pair["prompt"] + pair[side])["input_ids"])
            for side in ("chosen", "rejected")
        )
        for pair in pairs
    ]


def test_what_trl_leaves_out_for_its_length_is_counted(
    models: dict[str, Path], tmp_path: Path
) -> None:
    data = tiny.records(tmp_path / "data", "preference")
    lengths = pair_lengths(models["language"], data)
    limit = sorted(lengths)[len(lengths) // 2]
    long = sum(length > limit for length in lengths)
    assert 0 < long < len(lengths)
    wanted = tiny.objective("reward", lora=True, max_length=limit)
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert fitted.use == {
        "train": RecordUse(
            offered=len(lengths), used=len(lengths) - long, dropped={"TOO_LONG": long}, truncated=0
        )
    }


LOST = [
    pytest.param(name, marks=[] if name in ("dpo", "orpo") else [pytest.mark.slow])
    for name in ("sft", "reward", "dpo", "kto", "orpo")
]


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_counted_in_one_way_for_every_method(
    name: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """At each limit, the trainer has the lengths that were predicted."""
    method = METHODS[name]
    data = tiny.records(tmp_path / "data", method.kind)
    seen = set()
    for limit in (40, 80, 120, 160, 400):
        wanted = tiny.objective(name, max_length=limit, max_steps=1)
        plan = tiny.plan(tmp_path / f"{limit}", wanted, models["language"], data)
        try:
            trainer, use, _ = _trainer(plan, method, ignore)
        except TrainingError as error:
            assert "all 24 records of the split train are too long" in str(error)
            continue
        train, rows = use["train"], trainer.train_dataset
        assert train.offered == 24 == train.used + sum(train.dropped.values())
        assert len(rows) == train.used
        assert sum(longest(row) > limit for row in rows) <= train.truncated
        if name in ("dpo", "kto"):  # these keep whole records, and cut batches
            assert sum(longest(row) > limit for row in rows) == train.truncated
        assert all(has_answer(row) for row in rows)
        seen.add((bool(train.dropped), bool(train.truncated)))
    assert (False, False) in seen and len(seen) > 1


def longest(row: dict[str, Any]) -> int:
    """Tokens of the longer sequence of a prepared record."""
    answers = [row[key] for key in ("chosen_ids", "rejected_ids", "completion_ids") if key in row]
    if answers:
        return len(row.get("prompt_ids", [])) + max(map(len, answers))
    whole = [row[key] for key in ("input_ids", "chosen_input_ids") if key in row]
    return max(map(len, whole))


def has_answer(row: dict[str, Any]) -> bool:
    """Whether a prepared record has a token to learn from."""
    labels = [row[key] for key in ("labels", "chosen_labels", "rejected_labels") if key in row]
    return all(any(label != -100 for label in each) for each in labels)


def test_pairs_without_room_for_an_answer_do_not_make_nan_of_orpo(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """TRL's ORPO divides by the number of answer tokens, of which such a pair has none."""
    data = tiny.records(tmp_path / "data", "preference")
    lengths = prompt_lengths(models["language"], data)
    limit = sorted(lengths)[len(lengths) // 2]
    full = sum(length >= limit for length in lengths)
    wanted = tiny.objective("orpo", max_length=limit, max_steps=6)
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert fitted.use["train"].dropped == {"NO_ROOM": full}
    assert fitted.steps == 6


def prompt_lengths(model: Path, data: Path) -> list[int]:
    """Tokens of each prompt with the beginning of an answer."""
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(model)
    return [
        len(known.apply_chat_template(pair["prompt"], add_generation_prompt=True)["input_ids"])
        for pair in read_records(data).to_pylist()
    ]


def test_policy_limits_what_a_training_may_lose(models: dict[str, Path], tmp_path: Path) -> None:
    """It is refused before the first step, with exit code 4 and the counts."""
    data = tiny.records(tmp_path / "data", "preference")
    lengths = prompt_lengths(models["language"], data)
    limit = sorted(lengths)[len(lengths) // 2]
    full = sum(length >= limit for length in lengths)
    wanted = tiny.objective("dpo", max_length=limit, max_steps=1)
    plan = tiny.plan(tmp_path / "work", wanted, models["language"], data)
    share = full / len(lengths)
    for rules, refused in (
        (TrainingRules(max_dropped_share=share), False),
        (TrainingRules(max_dropped_share=share - 0.01), True),
        (TrainingRules(max_truncated_share=0.0), full < len(lengths)),
    ):
        if not refused:
            assert fit(plan.model_copy(update={"limits": rules}), ignore).steps == 1
            continue
        with pytest.raises(RecordsRefusedError, match="RECORDS_NOT_USED") as caught:
            fit(plan.model_copy(update={"limits": rules}), ignore)
        assert caught.value.exit_code == 4
        assert caught.value.stopped.counts["dropped_no_room"] == full


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "long"), [("bfd", True), ("wrapped", False)])
def test_packing_cuts_what_is_too_long_only_where_it_does_not_split(
    strategy: str, long: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    """64 tokens leave most answers no room."""
    wanted = tiny.objective("sft", packing=True, packing_strategy=strategy, max_length=64)
    data = tiny.records(tmp_path / "data", "conversation")
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert fitted.use["train"].offered == 24
    assert (fitted.records < 24, "NO_ROOM" in fitted.use["train"].dropped) == (long, long)


@pytest.mark.parametrize("method", ["reward", "dpo", "sft"])
def test_where_every_record_is_too_long_nothing_trains(
    method: str, models: dict[str, Path], tmp_path: Path
) -> None:
    wanted = tiny.objective(method, max_length=2)
    data = tiny.records(tmp_path / "data", METHODS[method].kind)
    with pytest.raises(
        TrainingError, match="all 24 records of the split train are too long for max_length 2"
    ):
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)


@pytest.mark.parametrize("method", [pytest.param("orpo", marks=pytest.mark.slow), "dpo"])
def test_where_no_validation_record_can_be_used_nothing_trains(
    method: str, models: dict[str, Path], tmp_path: Path
) -> None:
    data = tiny.records(tmp_path / "data", "preference", validation=1)
    shortest = min(prompt_lengths(models["language"], data))
    rows = read_records(data).to_pylist()
    rows[0]["prompt"][0]["content"] *= 6
    table = pa.Table.from_pylist(rows, schema=KINDS["preference"].schema)
    write_records(data, table, "preference")
    wanted = tiny.objective(method, max_length=3 * shortest, eval_strategy="steps", eval_steps=2)
    with pytest.raises(TrainingError, match="all 1 records of the split validation are too long"):
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)


def with_template(models: dict[str, Path], folder: Path, template: str) -> Path:
    """The language model with another chat template, or none."""
    shutil.copytree(models["language"], folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    if not template:
        (folder / "chat_template.jinja").unlink()
    return folder


def test_a_parent_without_a_chat_template_gets_ours(
    models: dict[str, Path], tmp_path: Path
) -> None:
    parent = with_template(models, tmp_path / "parent", "")
    data = tiny.records(tmp_path / "data", "conversation")
    made, _ = tiny.train(tmp_path / "work", tiny.objective("sft"), parent, data)
    assert (made / "model" / "chat_template.jinja").read_text(
        encoding="utf-8"
    ) == tokenizer.chat_template()


def test_a_template_that_does_not_mark_the_answers_is_named(
    models: dict[str, Path], tmp_path: Path
) -> None:
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    parent = with_template(models, tmp_path / "parent", plain)
    data = tiny.records(tmp_path / "data", "conversation")
    with pytest.raises(TrainingError, match="assistant_only_loss: false"):
        fit(tiny.plan(tmp_path / "one", tiny.objective("sft"), parent, data), ignore)
    whole = tiny.objective("sft", assistant_only_loss=False)
    assert fit(tiny.plan(tmp_path / "two", whole, parent, data), ignore).steps == 4


@pytest.mark.slow
def test_signals_are_logged_about_twenty_times(models: dict[str, Path], tmp_path: Path) -> None:
    wanted = tiny.objective("sft", max_steps=45)
    del wanted.trainer["logging_steps"]
    data = tiny.records(tmp_path / "data", "conversation")
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert [line["step"] for line in fitted.history] == list(range(3, 46, 3))


def test_a_validation_split_is_looked_at_when_asked_for(
    models: dict[str, Path], tmp_path: Path
) -> None:
    wanted = tiny.objective("sft", eval_strategy="steps", eval_steps=2)
    data = tiny.records(tmp_path / "data", "conversation", validation=4)
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert fitted.records == 20
    assert [line["step"] for line in fitted.history if "eval_loss" in line] == [2, 4]


@dataclass
class Accelerator:
    """As accelerate describes what it made of the environment."""

    distributed_type: str = "DistributedType.NO"
    device_type: str = "cpu"
    num_processes: int = 1

    @property
    def device(self) -> Any:
        import torch

        return torch.device(self.device_type)


FSDP, DEEPSPEED = {"ACCELERATE_USE_FSDP": "true"}, {"ACCELERATE_USE_DEEPSPEED": "true"}
REQUESTED: list[tuple[dict[str, str], int, Accelerator, str | None]] = [
    ({}, 1, Accelerator(), None),
    (FSDP, 1, Accelerator(), "FSDP was requested but NO on cpu would run"),
    (DEEPSPEED, 1, Accelerator(), "DEEPSPEED was requested"),
    (DEEPSPEED, 1, Accelerator("DistributedType.DEEPSPEED", "cpu"), "on cpu would run"),
    (FSDP, 1, Accelerator("DistributedType.FSDP", "cuda"), None),
    ({}, 2, Accelerator(), "1 processes would train"),
    ({}, 2, Accelerator("DistributedType.MULTI_CPU", num_processes=2), None),
    # two nodes with eight GPUs each
    ({}, 8, Accelerator("DistributedType.MULTI_GPU", "cuda", 16), "16 processes would train"),
    ({}, 16, Accelerator("DistributedType.MULTI_GPU", "cuda", 16), None),
]


@pytest.mark.parametrize(("environ", "processes", "got", "found"), REQUESTED)
def test_what_the_objective_and_the_launcher_request_is_what_runs(
    environ: dict[str, str], processes: int, got: Accelerator, found: str | None
) -> None:
    if found is None:
        require_requested(got, processes, environ)
    else:
        with pytest.raises(TrainingError, match=found):
            require_requested(got, processes, environ)


def test_a_checkpoint_of_shards_in_folders_is_sealed_and_one_with_a_changed_shard_is_not_used(
    tmp_path: Path,
) -> None:
    """As FSDP and DeepSpeed write them."""
    for step in (4, 8):
        shard = tmp_path / f"checkpoint-{step}" / "pytorch_model_fsdp_0" / "__0_0.distcp"
        shard.parent.mkdir(parents=True)
        shard.write_bytes(b"a shard")
        (shard.parent.parent / "trainer_state.json").write_text("{}")
        seal(shard.parent.parent)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-8"
    shard.write_bytes(b"another")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert not (tmp_path / "checkpoint-8").exists()


class ShardedTrainer:
    """As a trainer whose processes hold shards: it saves a whole model only where it may."""

    def __init__(self, *, fsdp: bool) -> None:
        self.is_fsdp_enabled = fsdp
        plugin = SimpleNamespace(set_state_dict_type=self.set_type)
        self.accelerator = SimpleNamespace(
            is_main_process=True, state=SimpleNamespace(fsdp_plugin=plugin)
        )
        self.kind = "SHARDED_STATE_DICT"

    def set_type(self, kind: str) -> None:
        self.kind = kind

    def save_model(self, folder: str) -> None:
        Path(folder).mkdir()
        if self.kind == "FULL_STATE_DICT":
            (Path(folder) / "model.safetensors").write_bytes(b"")


def test_shards_are_saved_as_one_model_or_the_training_fails(tmp_path: Path) -> None:
    _save_whole(ShardedTrainer(fsdp=True), tmp_path / "fsdp")
    with pytest.raises(TrainingError, match="no whole model"):
        _save_whole(ShardedTrainer(fsdp=False), tmp_path / "deepspeed")


SAID: list[tuple[Exception, str, bool]] = [
    (TemplateError("not anna@example.com"), "chat template refuses the roles of a record", False),
    (ArrowInvalid("Could not convert 'anna@example.com'"), "nothing was published", False),
    (RuntimeError("out of memory on anna"), "per_device_train_batch_size", True),
]


@pytest.mark.parametrize(("error", "fix", "quoted"), SAID)
def test_what_a_library_says_is_told_unless_it_is_made_of_records(
    error: Exception, fix: str, quoted: bool
) -> None:
    plan = SimpleNamespace(work=Path("work"), stage="sft")
    told = str(translated(error, cast(Any, plan)))
    assert fix in told and type(error).__name__ in told and ("anna" in told) == quoted


PRECISIONS: list[tuple[str, dict[str, bool], str | None]] = [
    ("no", {"bf16": False, "fp16": False}, None),
    ("bf16", {"bf16": True, "fp16": False}, None),
    ("fp16", {"bf16": False, "fp16": True}, None),
    ("bf16", {"bf16": False, "fp16": False}, "bf16 would be used, but the objective has no"),
    ("fp8", {"bf16": True, "fp16": False}, "fp8 would be used, but the objective has bf16"),
]


@pytest.mark.parametrize(("found", "args", "said"), PRECISIONS)
def test_the_environment_lends_no_precision(
    found: str, args: dict[str, bool], said: str | None
) -> None:
    if said is None:
        require_precision(found, SimpleNamespace(**args))
    else:
        with pytest.raises(TrainingError, match=said):
            require_precision(found, SimpleNamespace(**args))


@pytest.mark.parametrize(
    ("logged", "kept"),
    [
        ({"loss": 1, "epoch": 0.5}, {"loss": 1.0}),
        ({"loss": float("nan"), "grad_norm": float("inf")}, {}),
        (
            {"rewards/route_exact/mean": 0.5, "rewards/route_exact/std": 0.1},
            {"rewards/route_exact/mean": 0.5},
        ),
        (
            {"eval_loss": 2.0, "eval_runtime": 3.1, "eval_samples_per_second": 9.0},
            {"eval_loss": 2.0},
        ),
        ({"loss": "1.0", "train_runtime": 3.2}, {}),
    ],
)
def test_signals_are_the_methods_figures_and_no_timings(
    logged: dict[str, Any], kept: dict[str, float]
) -> None:
    assert signals_of(logged, ("loss", "grad_norm")) == kept


@pytest.mark.slow
@pytest.mark.nightly
def test_two_processes_train_by_torchrun(
    models: dict[str, Path], tmp_path: Path, own_home: Path
) -> None:
    share(own_home)
    data = tiny.records(tmp_path / "data", "conversation")
    wanted = tiny.objective("sft", lora=True).model_copy(update={"processes": 2})
    plan = tiny.plan(tmp_path / "work", wanted, models["language"], data)
    seen: list[tuple[int, bool]] = []
    torchrun = f"{sys.executable} -m torch.distributed.run --nproc_per_node 2"
    environ = {"COUNTERSIGN_LAUNCH": torchrun}
    listener = lambda step, steps, signals: seen.append((step, "loss" in signals))  # noqa: E731
    fitted = launch.run(plan, listener, environ)
    assert (fitted.processes, fitted.steps) == (2, 4)
    assert [step for step, has_signals in seen if has_signals] == [1, 2, 3, 4]
    assert json.loads(launch.arguments_file(plan).read_text())["processes"] == 2
    assert (plan.work / "trained" / "adapter_model.safetensors").exists()


TWO_NODES = """
import subprocess, sys
torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:PORT"]
nodes = [subprocess.Popen([*torchrun, *rendezvous, *sys.argv[1:]]) for _ in range(2)]
sys.exit(max(node.wait() for node in nodes))
"""
"""A launcher that starts torchrun on each of two nodes, as `srun` does; here both are one machine."""


@pytest.mark.slow
@pytest.mark.nightly
def test_two_nodes_train_one_model(models: dict[str, Path], tmp_path: Path, own_home: Path) -> None:
    share(own_home)
    data = tiny.records(tmp_path / "data", "conversation")
    wanted = tiny.objective("sft", lora=True).model_copy(update={"processes": 2})
    plan = tiny.plan(tmp_path / "work", wanted, models["language"], data)
    program = tmp_path / "two_nodes.py"
    program.write_text(TWO_NODES.replace("PORT", str(free_port())), encoding="utf-8")
    fitted = launch.run(plan, ignore, {"COUNTERSIGN_LAUNCH": f"{sys.executable} {program}"})
    assert (fitted.processes, fitted.steps) == (2, 4)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_launcher_that_starts_one_process_of_two_is_noticed(
    models: dict[str, Path], tmp_path: Path, own_home: Path
) -> None:
    share(own_home)
    data = tiny.records(tmp_path / "data", "conversation")
    wanted = tiny.objective("sft", lora=True).model_copy(update={"processes": 2})
    plan = tiny.plan(tmp_path / "work", wanted, models["language"], data)
    ignored = f"{sys.executable} -m accelerate.commands.launch --cpu --num_processes 2"
    with pytest.raises(TrainingError, match="1 processes would train"):
        launch.run(plan, ignore, {"COUNTERSIGN_LAUNCH": ignored})


def test_signals_are_passed_on_while_they_are_written(tmp_path: Path) -> None:
    seen: list[tuple[int, int, Mapping[str, float]]] = []
    path = tmp_path / "signals.jsonl"
    signals = launch.Signals(path, lambda *line: seen.append(line))
    signals.pass_on()
    path.write_text('[1, 9, {"loss": 0.5}]\n[2, 9')
    signals.pass_on()
    assert seen == [(1, 9, {"loss": 0.5})]
    with path.open("a") as file:
        file.write(", {}]\n")
    signals.pass_on()
    signals.pass_on()
    assert seen[1:] == [(2, 9, {})]


def test_the_first_error_of_launched_processes_is_the_one_that_is_told(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other processes lose their connection to the one that stopped."""
    data = tiny.records(tmp_path / "data", "conversation")
    plan = tiny.plan(tmp_path / "work", tiny.objective("sft"), models["language"], data)
    (plan.work / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
    errors: list[CountersignError] = [
        not_finite("train@s", "the loss", "nan", step=3),
        TrainingError("RuntimeError: Connection closed by peer"),
    ]

    def failing(*_: Any) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(fit_module, "fit", failing)
    monkeypatch.setattr(fit_module.isolation, "require_isolated", lambda environ: None)
    monkeypatch.setattr(sys, "argv", ["fit", str(plan.work / "plan.json")])
    monkeypatch.setenv(fit_module.PARENT, str(os.getpid()))
    for _ in range(2):
        with pytest.raises(SystemExit):
            fit_module.main()
    told = launch._error(plan.work / fit_module.FAILURE, "nothing", "launcher")
    assert isinstance(told, StoppedError) and told.stopped.step == 3


def test_a_launcher_that_is_not_there_is_named(models: dict[str, Path], tmp_path: Path) -> None:
    data = tiny.records(tmp_path / "data", "conversation")
    plan = tiny.plan(tmp_path / "work", tiny.objective("sft"), models["language"], data)
    with pytest.raises(TrainingError, match="no-such-launcher: No such file"):
        launch.run(plan, ignore, {"COUNTERSIGN_LAUNCH": "no-such-launcher"})
