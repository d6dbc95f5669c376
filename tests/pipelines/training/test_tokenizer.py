"""The tokenizer of a model trained from scratch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import InputError
from pipelines import desk
from pipelines.training import tokenizer
from pipelines.training.modelfolder import write_json


def conversations(texts: list[str]) -> dict[str, Any]:
    return {"messages": [[{"role": "assistant", "content": text}] for text in texts]}


@pytest.fixture(scope="module")
def trained() -> Any:
    return tokenizer.train(conversations(desk.text_lines(2000, random.Random(1))), 1024)


def test_the_same_records_give_the_same_tokenizer(trained: Any) -> None:
    again = tokenizer.train(conversations(desk.text_lines(2000, random.Random(1))), 1024)
    assert again.backend_tokenizer.to_str() == trained.backend_tokenizer.to_str()


@pytest.mark.parametrize(
    "text",
    ["", "<EMAIL_ADDRESS>", "Grüße, 你好 👋", "tab\tand\nline", "<|endish|>", "  two  spaces "],
)
def test_any_text_comes_back(text: str, trained: Any) -> None:
    assert trained.decode(trained.encode(text, add_special_tokens=False)) == text


def test_markers_are_one_token_each(trained: Any) -> None:
    for marker in (tokenizer.END, tokenizer.PAD, *tokenizer.MARKERS):
        assert len(trained.encode(marker, add_special_tokens=False)) == 1


def test_every_token_of_every_answer_stands_in_the_text(trained: Any) -> None:
    """What never occurs while the embeddings are trained, LoRA cannot learn to say."""

    def tokens(contents: list[str]) -> set[int]:
        rendered = [
            trained.apply_chat_template(one, tokenize=False)
            for one in conversations(contents)["messages"]
        ]
        return {
            token
            for ids in trained(rendered, add_special_tokens=False)["input_ids"]
            for token in ids
        }

    rng = random.Random(2)
    answers = [case.answer for case in desk.cases(400, rng, held_out=False)]
    assert tokens(answers) <= tokens(desk.text_lines(2000, random.Random(1)))


def test_the_template_marks_what_the_assistant_says(trained: Any) -> None:
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "It is urgent!"},
    ]
    got = trained.apply_chat_template(
        said, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [
        token for token, mask in zip(got["input_ids"], got["assistant_masks"], strict=True) if mask
    ]
    assert trained.decode(marked) == f"It is urgent!{tokenizer.END}"
    prompt = trained.apply_chat_template(said[:2], tokenize=False, add_generation_prompt=True)
    assert trained.apply_chat_template(said, tokenize=False).startswith(prompt)
    assert prompt == "<|system|>Be kind.<|end|><|user|>Hello.<|end|><|assistant|>"


@pytest.mark.parametrize("config", [{}, {"vocab_size": "many"}, {"vocab_size": 100}])
def test_an_architecture_needs_room_for_every_byte(config: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", config)
    with pytest.raises(InputError):
        tokenizer.vocabulary_limit(tmp_path)
