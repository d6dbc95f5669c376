"""LoRA on a parent that is held in 4 bits, and the precision of what is released.

Each quantised training runs in a new process, as a stage does: what PEFT finds at its import stays.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from governance.attest.digests import tree_digest
from governance.base.errors import TrainingError
from pipelines.params import Lora
from pipelines.training import engines, quantization
from pipelines.training.fit import _trainer
from pipelines.training.methods import METHODS
from pipelines.training.modelfolder import load_model
from pipelines.training.objective import Objective
from tests.conftest import rows
from tests.pipelines import tiny

pytestmark = pytest.mark.filterwarnings("ignore")

TUNING = [name for name in METHODS if name != "pretrain"]
REWARDS = {"grpo": ("route_fields",), "rloo": ("no_secrets_asked",), "ppo": ("no_secrets_asked",)}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    text = tiny.records(home / "text", "conversation")
    made, _ = tiny.train(
        home / "base", tiny.objective("pretrain"), tiny.architecture(home / "bare"), text
    )
    return made / "model"


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield pool


def quantized(name: str, **options: Any) -> Objective:
    wanted = tiny.objective(name, lora=True, rewards=REWARDS.get(name, ()))
    return wanted.model_copy(update={"lora": {**tiny.LORA, "quantize": "nf4", **options}})


def train(name: str, parent: Path, folder: Path) -> tuple[int, str]:
    """The steps, and the digest of the released model."""
    data = tiny.records(folder / "data", METHODS[name].kind)
    made, fitted = tiny.train(folder / "work", quantized(name), parent, data)
    return fitted.steps, tree_digest(made / "model")


def loaded(parent: Path, folder: Path, options: dict[str, Any]) -> tuple[set[str], set[Any]]:
    """The linear layers of the trainer's model that are in 4 bits, and how they are."""
    from bitsandbytes.nn import Linear4bit

    made = tiny.plan(
        folder / "work", quantized("sft", **options), parent, tiny.records(folder, "conversation")
    )
    trainer, _, _ = _trainer(made, METHODS["sft"], lambda step, steps, signals: None)
    layers = {
        name: layer
        for name, layer in trainer.model.named_modules()
        if isinstance(layer, Linear4bit)
    }
    states = [(layer, layer.weight.quant_state) for layer in layers.values()]
    how = {(str(layer.compute_dtype), state.quant_type, state.nested) for layer, state in states}
    return {name.removesuffix(".base_layer").rpartition(".")[2] for name in layers}, how


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(TUNING, in_ci=("grpo",)))
def test_every_method_trains_on_a_quantised_parent(
    name: str, parent: Path, process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    steps, made = process.submit(train, name, parent, tmp_path).result()
    assert (steps, made != tree_digest(parent)) == (4, True)


@pytest.mark.slow
def test_two_trainings_give_the_same_bits(
    parent: Path, process: ProcessPoolExecutor, tmp_path: Path
) -> None:
    both = [process.submit(train, "sft", parent, tmp_path / name).result() for name in "ab"]
    assert both[0] == both[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("torch.bfloat16", "nf4", False)),
        ({"double_quantize": True, "compute_dtype": "float32"}, ("torch.float32", "nf4", True)),
    ],
)
def test_every_layer_of_the_parent_is_held_in_4_bits(
    options: dict[str, Any],
    expected: tuple[str, str, bool],
    parent: Path,
    process: ProcessPoolExecutor,
    tmp_path: Path,
) -> None:
    layers, how = process.submit(loaded, parent, tmp_path, options).result()
    attention, rest = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj"}
    assert layers == attention | rest | {"down_proj"}
    assert how == {expected}


@pytest.mark.parametrize("lora", [True, False])
def test_a_model_keeps_its_parents_precision(lora: bool, parent: Path, tmp_path: Path) -> None:
    import torch

    half = tmp_path / "half"
    load_model(parent, "language", dtype=torch.bfloat16).save_pretrained(half)
    for path in parent.iterdir():
        if not (half / path.name).exists():
            (half / path.name).write_bytes(path.read_bytes())
    data = tiny.records(tmp_path / "data", "conversation")
    made, _ = tiny.train(tmp_path / "work", tiny.objective("sft", lora=lora), half, data)
    weights = load_model(made / "model", "language", dtype="auto").state_dict().values()
    assert {weight.dtype for weight in weights} == {torch.bfloat16}
    assert tree_digest(made / "model") != tree_digest(half)


def test_without_bitsandbytes_a_quantised_training_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("bitsandbytes", "bitsandbytes.functional"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TrainingError, match="not installed") as refused:
        quantization.require_able("cpu")
    assert "[qlora]" in refused.value.fix


def test_a_device_that_cannot_quantise_is_refused() -> None:
    with pytest.raises(TrainingError, match="cannot quantise on xla here"):
        quantization.require_able("xla")


@pytest.mark.parametrize("option", [{"double_quantize": True}, {"compute_dtype": "float32"}])
def test_options_of_quantisation_need_it(option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="options of `quantize: nf4`"):
        Lora(**option)


def test_lora_without_quantisation_has_the_digest_that_it_had() -> None:
    assert set(Lora().model_dump()) == {"r", "lora_alpha", "lora_dropout", "target_modules"}


def test_engines_that_an_objective_uses_are_named_and_asked_for() -> None:
    names = engines.used({"quantize": "nf4"}, {"use_liger_kernel": True, "use_vllm": False})
    assert names == ["liger-kernel", "bitsandbytes"]
    assert engines.used({"r": 16}, {}) == engines.used(None, {}) == []
    assert set(engines.versions(names)) <= set(names)
    wrong = list(engines.missing(["pytest", "no-such-engine"], "here"))
    assert [error.found for error in wrong] == ["no-such-engine is not installed"]
