"""Scores of a task are those that lm-evaluation-harness gives, and those that the model's own
probabilities say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError, InputError
from pipelines.params import TaskEvaluation
from pipelines.tasks import definition
from pipelines.tasks.scores import Scored, score
from pipelines.training.modelfolder import load_model, load_tokenizer
from tests.pipelines import tiny
from tests.pipelines.tasks.written import CHOICE, TEXT, write

pytest.importorskip("lm_eval")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
QUESTIONS = ["The router is down", "My laptop is slow", "The camera broke", "No network here"]
OPTIONS = ["network; high", "hardware; low", "billing; high"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("model")
    text = tiny.records(home / "text", "conversation")
    bare = tiny.architecture(home / "bare")
    return tiny.train(home / "base", tiny.objective("pretrain"), bare, text)[0] / "model"


@pytest.fixture(scope="module")
def root(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both tasks. The right answer of every second item is what the model says; of the others,
    something else.
    """
    made = tmp_path_factory.mktemp("project")
    likeliest, said = _likeliest(model), _generated(model)
    choices = [(at if number % 2 == 0 else (at + 1) % 3) for number, at in enumerate(likeliest)]
    rows = zip(QUESTIONS, choices, strict=True)
    write(made, CHOICE, [{"question": q, "options": OPTIONS, "right": at} for q, at in rows])
    answers = [text if number % 2 == 0 else "none" for number, text in enumerate(said)]
    pairs = zip(QUESTIONS, answers, strict=True)
    write(made, TEXT, [{"question": q, "answer": text} for q, text in pairs])
    return made


def _likeliest(folder: Path) -> list[int]:
    """The likeliest option of each question, from the model's probabilities."""
    import torch

    model, tokenizer = load_model(folder, "language", dtype=torch.float32), load_tokenizer(folder)

    def likelihood(prompt: str, answer: str) -> float:
        whole = tokenizer(f"{prompt} {answer}", add_special_tokens=False)["input_ids"]
        begins = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.inference_mode():
            logs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(float(logs[at - 1, whole[at]]) for at in range(begins, len(whole)))

    prompts = [f"Question: {question}\nAnswer:" for question in QUESTIONS]
    values = [[likelihood(prompt, option) for option in OPTIONS] for prompt in prompts]
    return [row.index(max(row)) for row in values]


def _generated(folder: Path) -> list[str]:
    import torch

    model, tokenizer = load_model(folder, "language", dtype=torch.float32), load_tokenizer(folder)
    texts = []
    for question in QUESTIONS:
        prompt = tokenizer(question, add_special_tokens=False, return_tensors="pt")
        made = model.generate(**prompt, do_sample=False, max_new_tokens=6)
        answer = made[0, prompt["input_ids"].shape[1] :]
        texts.append(tokenizer.decode(answer, skip_special_tokens=True).split("\n\n")[0])
    return texts


def scored(model: Path, root: Path, name: str, cache: Path, **settings: Any) -> Scored:
    row = TaskEvaluation(model="sft", task=name, **settings)
    return score(model, definition.read(root, name), row, root, cache, 1)


def by_the_library(
    model: Path, root: Path, name: str, cache: Path, **settings: Any
) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    task = definition.read(root, name).configuration(root, cache)
    harness = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=16)
    made = simple_evaluate(
        model=harness, tasks=[task], task_manager=TaskManager(include_defaults=False), **settings
    )
    results: dict[str, Any] = made["results"][name]
    return results


@pytest.mark.parametrize("name", ["colours", "words"])
def test_scores_are_the_known_ones_and_those_of_the_library(
    name: str, model: Path, root: Path, tmp_path: Path
) -> None:
    found = scored(model, root, name, tmp_path / "a")
    metric = "acc" if name == "colours" else "exact_match"
    assert found.scores[metric] == [1.0, 0.0, 1.0, 0.0]
    library = by_the_library(model, root, name, tmp_path / "b")
    means = {key: sum(filter(None, row)) / len(row) for key, row in found.scores.items()}
    assert means == {key: library[f"{key},none"] for key in means}
    assert found.answers == ([] if name == "colours" else _generated(model))
    assert scored(model, root, name, tmp_path / "c") == found


def test_the_chat_template_examples_and_the_limit_are_those_of_the_library(
    model: Path, root: Path, tmp_path: Path
) -> None:
    task = {**CHOICE, "task": "shown", "num_fewshot": 1, "fewshot_split": "test"}
    task["dataset_kwargs"] = {"data_files": {"test": "tasks/shown/test.jsonl"}}
    items = (root / "tasks/colours/test.jsonl").read_text(encoding="utf-8").splitlines()
    write(root, task, [json.loads(item) for item in items])
    found = scored(model, root, "shown", tmp_path / "a", chat_template=True, limit=3)
    settings = {"apply_chat_template": True, "limit": 3}
    library = by_the_library(model, root, "shown", tmp_path / "b", **settings)
    assert found.items == 3
    assert sum(filter(None, found.scores["acc"])) / 3 == pytest.approx(library["acc,none"])


def test_several_filters_have_metrics_of_their_own(model: Path, root: Path, tmp_path: Path) -> None:
    cut = {"function": "regex", "regex_pattern": "x{99}"}
    filters = [
        {"name": "whole", "filter": [{"function": "take_first"}]},
        {"name": "none_at_all", "filter": [cut, {"function": "take_first"}]},
    ]
    task = {**TEXT, "task": "cut", "filter_list": filters}
    task["dataset_kwargs"] = {"data_files": {"test": "tasks/cut/test.jsonl"}}
    items = (root / "tasks/words/test.jsonl").read_text(encoding="utf-8").splitlines()
    write(root, task, [json.loads(item) for item in items])
    found = scored(model, root, "cut", tmp_path)
    assert found.scores == {
        "exact_match_whole": [1.0, 0.0, 1.0, 0.0],
        "exact_match_none_at_all": [0.0] * 4,
    }


def test_a_template_cannot_reach_python(model: Path, root: Path, tmp_path: Path) -> None:
    attack = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    write(tmp_path, {**CHOICE, "doc_to_text": attack}, [{"options": OPTIONS, "right": 0}])
    with pytest.raises(InputError, match="SecurityError"):
        scored(model, tmp_path, "colours", tmp_path / "cache")
    from lm_eval import utils

    assert "sandbox" not in type(utils.env).__module__, "the library has its own again"


def test_an_error_of_the_library_tells_no_item(model: Path, tmp_path: Path) -> None:
    write(tmp_path, {**CHOICE, "doc_to_text": "{{absent}}"}, [{"options": OPTIONS, "right": 0}])
    with pytest.raises(InputError, match="UndefinedError") as told:
        scored(model, tmp_path, "colours", tmp_path / "cache")
    assert "network" not in str(told.value)


def test_a_prompt_that_would_be_cut_stops_the_evaluation(model: Path, tmp_path: Path) -> None:
    long = {"question": "word " * 300, "options": OPTIONS, "right": 0}
    short = {"question": "word", "options": OPTIONS, "right": 0}
    write(tmp_path, CHOICE, [long, short])
    with pytest.raises(ConfigError, match="3 of 6 requests are longer"):
        scored(model, tmp_path, "colours", tmp_path / "cache")
