"""What the training tests share: a model of a few thousand parameters and a handful of records of
each kind.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from governance.attest.reward_source import RewardDeclaration
from pipelines import desk
from pipelines.kinds import KINDS
from pipelines.stages.import_base import take_architecture
from pipelines.training import rewards
from pipelines.training.fit import Fitted, Plan, fit
from pipelines.training.methods import METHODS
from pipelines.training.modelfolder import write_json
from pipelines.training.objective import Objective, ResolvedReward
from pipelines.training.release import release_adapter, release_model
from tests.pipelines.tables import write_records

ARCHITECTURE = {
    "model_type": "qwen2",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.06,
    "tie_word_embeddings": True,
    "vocab_size": 300,
}

LORA = {"r": 2, "lora_alpha": 4.0, "lora_dropout": 0.0, "target_modules": "all-linear"}

ARGUMENTS: dict[str, Any] = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "logging_steps": 1,
}
ONLINE = {"num_generations": 2, "max_completion_length": 8, "beta": 0.02}


def records(
    path: Path,
    kind: str,
    n: int = 24,
    *,
    held_out: bool = False,
    split: str = "train",
    validation: int = 0,
) -> Path:
    """`path`/records with `n` records of `kind`, the first `validation` of them in that
    split.
    """
    splits = ["validation"] * validation + [split] * (n - validation)
    cases = desk.cases(n, random.Random(7), held_out=held_out)
    rows = [
        {
            "id": f"{at:032x}",
            "split": splits[at],
            "file": "t.jsonl",
            "row": at + 1,
            **_content(kind, case),
        }
        for at, case in enumerate(cases)
    ]
    write_records(path / "records", pa.Table.from_pylist(rows, schema=KINDS[kind].schema), kind)
    return path / "records"


def answers(n: int) -> list[str]:
    """The reference answers of `n` records, in order."""
    return [case.answer for case in desk.cases(n, random.Random(7), held_out=False)]


def _content(kind: str, case: desk.Case) -> dict[str, Any]:
    asked, right = [_said("user", case.ticket)], [_said("assistant", case.answer)]
    wrong = [_said("assistant", desk.UNSAFE[0])]
    return {
        "conversation": {"messages": asked + right},
        "preference": {"prompt": asked, "chosen": right, "rejected": wrong},
        "unpaired": {"prompt": asked, "completion": right, "label": case.tier > 0},
        "prompt": {"prompt": asked, "answer": case.answer},
    }[kind]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def architecture(folder: Path) -> Path:
    """A model folder without weights."""
    folder.mkdir(parents=True)
    write_json(folder / "architecture.json", ARCHITECTURE)
    (folder / "model").mkdir()
    take_architecture(folder / "architecture.json", folder / "model")
    return folder / "model"


def _digest(name: str) -> str:
    return rewards.source_digest(name)


def objective(
    method: str, *, lora: bool = False, rewards: tuple[str, ...] = (), **trainer: Any
) -> Objective:
    """A resolved objective of a few steps."""
    chosen = METHODS[method]
    online = ONLINE if chosen.rewards else {}
    return Objective(
        method=method,
        seed=3,
        threads=1,
        lora=LORA if lora else None,
        rewards=[
            ResolvedReward(name=name, weight=1.0, options={}, source=_digest(name))
            for name in rewards
        ],
        trainer={**chosen.defaults, **ARGUMENTS, **online, **trainer},
    )


def replace_reward(
    monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]
) -> None:
    """From now on, a reward function is another one, which declares nothing."""
    find, declaration, text = rewards.find, rewards.declaration, rewards.source_text

    def found(given: str, where: str = "", source: str | None = None) -> Any:
        return function if given == name else find(given, where, source)

    def declared(given: str) -> RewardDeclaration:
        return RewardDeclaration() if given == name else declaration(given)

    def source_text(given: str) -> str:
        return inspect.getsource(function) if given == name else text(given)

    monkeypatch.setattr(rewards, "find", found)
    monkeypatch.setattr(rewards, "declaration", declared)
    monkeypatch.setattr(rewards, "source_text", source_text)


def plan(
    work: Path, wanted: Objective, parent: Path, data: Path, scorer: Path | None = None
) -> Plan:
    """A plan in a new work folder."""
    work.mkdir(parents=True, exist_ok=True)
    return Plan(stage="s", objective=wanted, parent=parent, scorer=scorer, records=data, work=work)


def train(
    work: Path, wanted: Objective, parent: Path, data: Path, scorer: Path | None = None
) -> tuple[Path, Fitted]:
    """Trains and releases: a folder with model/ and, for LoRA, adapter/."""
    made = plan(work, wanted, parent, data, scorer)
    fitted = fit(made, silent)
    lora, kind = wanted.lora is not None, METHODS[wanted.method].model
    release_model(work / "trained", parent, kind, lora=lora, target=work / "model")
    if lora:
        release_adapter(work / "trained", "0" * 64, work / "adapter")
    return work, fitted


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that many cases train on; read only."""
    home = tmp_path_factory.mktemp("base")
    text = records(home / "text", "conversation")
    bare = architecture(home / "bare")
    return train(home / "base", objective("pretrain"), bare, text)[0] / "model"


def silent(step: int, steps: int, signals: Any) -> None:
    """A listener that does nothing."""


class KilledError(Exception):
    """Stands for a kill."""
