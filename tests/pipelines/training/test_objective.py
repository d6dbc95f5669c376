"""An objective is resolved without torch: every mistake of a stage's row is found, and what counts
is digested.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, Problems
from pipelines.params import Params, load_params
from pipelines.training import arguments, objective, rewards
from pipelines.training.methods import METHODS, method
from tests.conftest import ROOT
from tests.pipelines import tiny


def params(**stages: dict[str, Any]) -> Params:
    """The project's own parameters with rows of stages changed or added."""
    raw = load_params(ROOT).model_dump()
    for name, change in stages.items():
        raw["stages"][name] = {**raw["stages"].get(name, {}), **change}
    return Params.model_validate(raw)


def trainer(stage: str, **given: Any) -> dict[str, Any]:
    """The arguments of `stage` as resolved, with `given` instead of its own."""
    return objective.resolve(params(**{stage: {"trainer": given}}), stage).trainer


def refusal(stage: str, **change: Any) -> str:
    """What is said of a changed row."""
    with pytest.raises(ConfigError) as caught:
        objective.resolve(params(**{stage: change}), stage)
    return str(caught.value)


def test_the_shipped_stages_resolve() -> None:
    shipped = params()
    digests = {objective.resolve(shipped, name).digest for name in shipped.stages}
    assert len(digests) == len(shipped.stages) == 5


def test_the_texts_behind_an_objective_have_the_digests_that_people_approve() -> None:
    resolved = objective.resolve(params(), "grpo")
    texts = objective.texts(resolved)
    assert set(texts) == {resolved.digest, *(one.source for one in resolved.rewards)}
    assert all(sha256_bytes(text.encode()) == digest for digest, text in texts.items())
    assert any("def route_exact" in text for text in texts.values())


TYPOS = [
    # stage, argument, value, what is said
    ("sft", "learning_rat", 1e-3, "did you mean 'learning_rate'"),
    ("sft", "max_step", 3, "did you mean 'max_steps'"),
    ("sft", "max_seq_length", 128, "use max_length"),
    ("dpo", "max_prompt_length", 128, "TRL has dropped it"),
    ("sft", "warmup_ratio", 0.1, "use warmup_steps"),
    ("sft", "evaluation_strategy", "steps", "use eval_strategy"),
    ("sft", "no_cuda", True, "use use_cpu"),
    ("dpo", "rpo_alpha", 1.0, 'loss_type: ["sigmoid", "sft"]'),
    ("dpo", "reference_free", True, "TRL has dropped it"),
    ("sft", "tokenizer", "x", "the parent's tokenizer is used"),
    ("sft", "num_generations", 4, "an argument of grpo, rloo, ppo"),
    ("reward", "beta", 0.1, "an argument of dpo, kto, orpo, grpo, rloo, ppo"),
    ("sft", "zzz", 1, "see TRL's documentation"),
    # refused: where a run writes, whom it tells, whose code it runs, what makes it irreproducible
    ("sft", "output_dir", "x", "the stage controls where"),
    ("sft", "push_to_hub", True, "nothing may leave this machine"),
    ("sft", "hub_token", "x", "nothing may leave this machine"),
    ("sft", "report_to", "wandb", "curves are in reports/curves"),
    ("grpo", "log_completions", True, "record text is never logged"),
    ("sft", "resume_from_checkpoint", "x", "the stage controls"),
    ("sft", "trust_remote_code", True, "no code is loaded with a model"),
    ("sft", "seed", 3, "set `seed` of the stage"),
    ("grpo", "reward_weights", [1.0], "set `weight`"),
    ("sft", "auto_find_batch_size", True, "memory of the machine"),
    ("sft", "model_init_kwargs", {"revision": "main"}, "only dtype, attn_implementation"),
    (
        "sft",
        "model_init_kwargs",
        {"attn_implementation": "someone/kernel"},
        "paths and repository names",
    ),
    ("grpo", "generation_kwargs", {"custom_generate": "x"}, "custom_generate is not accepted"),
    (
        "grpo",
        "chat_template_kwargs",
        {"a": [{"trust_remote_code": True}]},
        "trust_remote_code is not accepted",
    ),
    ("sft", "optim_args", "/etc/passwd", "paths and repository names"),
    ("sft", "deepspeed", "ds.json", "expected: dict or null"),
    # types
    ("sft", "learning_rate", "fast", "expected: float"),
    ("sft", "max_steps", 1.5, "expected: int"),
    ("sft", "max_steps", True, "expected: int"),
    ("sft", "packing", "maybe", "expected: bool"),
    ("sft", "lr_scheduler_type", "cosinus", "cosine or"),
    ("sft", "learning_rate", float("nan"), "expected: float"),
    ("dpo", "loss_type", "sigmoid", "expected: list"),
]


@pytest.mark.parametrize(
    ("stage", "name", "value", "said"), TYPOS, ids=[f"{row[0]}-{row[1]}-{row[2]}" for row in TYPOS]
)
def test_a_wrong_argument_is_refused_with_what_to_write(
    stage: str, name: str, value: Any, said: str
) -> None:
    text = refusal(stage, trainer={name: value})
    assert f"params.yaml: stages.{stage}.trainer.{name}" in text
    assert said in text


def test_every_argument_that_tutorials_use_is_gone_and_every_refused_one_exists() -> None:
    known = {name for one in METHODS.values() for name in arguments.fields(one.config)}
    assert not set(arguments.GONE) & known
    assert set(arguments.REFUSED) <= known


def test_all_mistakes_are_reported_together() -> None:
    with pytest.raises(Problems) as caught:
        objective.resolve(
            params(sft={"trainer": {"learning_rat": 1, "max_steps": "x"}, "data": "desk_pref"}),
            "sft",
        )
    assert len(caught.value.problems) == 3


ROWS = [
    # what is changed, what is said
    ("sft", {"method": "sfd"}, "did you mean 'sft'"),
    ("sft", {"data": "desk_pref"}, "a dataset of kind conversation"),
    ("sft", {"parent": "reward", "scorer": "reward"}, "reward is a reward model"),
    ("sft", {"parent": "tiny", "scorer": "tiny"}, "an untrained architecture"),
    ("base", {"parent": "sft", "scorer": "sft"}, "sft has weights already"),
    ("base", {"lora": {"r": 4}}, "LoRA needs weights"),
    ("sft", {"rewards": [{"name": "route_exact"}]}, "sft uses no reward functions"),
    ("grpo", {"rewards": []}, "no reward functions"),
    ("grpo", {"rewards": [{"name": "route_exakt"}]}, "did you mean 'route_exact'"),
    (
        "grpo",
        {"rewards": [{"name": "model"}], "scorer": "sft"},
        "which is not a reward model method",
    ),
    ("grpo", {"rewards": [{"name": "route_exact"}], "scorer": "reward"}, "the scorer is not used"),
    ("sft", {"stop": {"reward_above": 1.0}}, "has neither KL nor reward to stop at"),
    (
        "grpo",
        {"stop": {"kl_above": 0.5}, "trainer": {"logging_steps": 0.1}},
        "with stop rules, a whole number of steps",
    ),
]


@pytest.mark.parametrize(("stage", "change", "said"), ROWS, ids=[row[2] for row in ROWS])
def test_a_row_that_cannot_train_is_refused(stage: str, change: dict[str, Any], said: str) -> None:
    assert said in refusal(stage, **change)


def test_numbers_are_numbers_however_they_are_written() -> None:
    assert trainer("sft", learning_rate="2e-3")["learning_rate"] == 2e-3
    assert trainer("sft", learning_rate=1)["learning_rate"] == 1.0
    assert trainer("sft", max_steps=3.0)["max_steps"] == 3


def test_our_defaults_give_way_to_what_is_given() -> None:
    assert trainer("sft")["assistant_only_loss"] is True
    assert trainer("sft", assistant_only_loss=False)["assistant_only_loss"] is False


CHANGES: list[dict[str, Any]] = [
    {"seed": 9},
    {"threads": 2},
    {"lora": None},
    {"lora": {"r": 16, "lora_alpha": 31}},
    {"trainer": {"max_steps": 1}},
    {"rewards": [{"name": "route_exact", "weight": 2.0}, {"name": "model"}]},
    {"rewards": [{"name": "route_fields"}, {"name": "model"}]},
    {"rewards": [{"name": "route_exact"}], "scorer": "dpo"},
    {"method": "rloo"},
    {"stop": {"kl_above": 0.5}},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_decides_the_result_changes_the_digest(change: dict[str, Any]) -> None:
    before, after = params(), params(grpo=change)
    assert objective.resolve(before, "grpo").digest != objective.resolve(after, "grpo").digest


def test_what_does_not_decide_it_does_not() -> None:
    before = objective.resolve(params(), "sft").digest
    assert objective.resolve(params(sft={"suite": "desk_pref_eval"}), "sft").digest == before


def test_an_objective_without_limits_has_the_digest_that_it_had_before_there_were_any() -> None:
    assert '"stop"' not in objective.resolve(params(), "grpo").text
    limited = objective.resolve(params(grpo={"stop": {"reward_above": 0.0}}), "grpo")
    assert '"stop":{"reward_above":0' in limited.text


def test_a_changed_reward_function_is_another_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    before = objective.resolve(params(), "grpo").digest
    tiny.replace_reward(monkeypatch, "route_exact", rewards.find)
    assert objective.resolve(params(), "grpo").digest != before


def test_resolving_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path\nfrom pipelines.training import objective; from"
        " pipelines.params import load_params\np = load_params(Path('.')); [objective.resolve(p,"
        " name) for name in p.stages]\nassert not {'torch', 'trl', 'transformers', 'pyarrow'} &"
        " set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="grpo"):
        method("gspo")


def test_the_snapshot_is_that_of_the_installed_trl() -> None:
    """After an upgrade: `python -m pipelines.training.arguments`, and read the diff."""
    made = arguments.render(arguments.snapshot())
    assert arguments.SNAPSHOT.read_text(encoding="utf-8") == made
