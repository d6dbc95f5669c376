"""Every record that is offered to a training is used, or left out for one reason, for every method."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training import usage
from pipelines.training.methods import METHODS


class Characters:
    """A tokenizer with a token for each character, and one that begins each message."""

    bos_token_id, eos_token_id = None, 0

    def apply_chat_template(
        self, conversations: list[list[dict[str, str]]], tokenize: bool, add_generation_prompt: bool
    ) -> list[str]:
        texts = [
            "".join(f"<{message['role'][0]}{message['content']}" for message in messages)
            for messages in conversations
        ]
        return [f"{text}<a" if add_generation_prompt else text for text in texts]

    def __call__(self, texts: list[str], add_special_tokens: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(character) for character in text] for text in texts]}


TEXT = st.text("ab", max_size=30)


def says(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def record(kind: str, prompt: str, first: str, second: str) -> dict[str, Any]:
    asked, answer = says("user", prompt), says("assistant", first)
    return {
        "conversation": {"messages": [*asked, *answer]},
        "preference": {"prompt": asked, "chosen": answer, "rejected": says("assistant", second)},
        "unpaired": {"prompt": asked, "completion": answer, "label": True},
        "prompt": {"prompt": asked, "answer": first},
    }[kind]


@pytest.mark.parametrize("name", METHODS)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=8), limit=st.integers(1, 60))
def test_each_record_is_used_or_left_out_for_one_reason(
    name: str, rows: list[tuple[str, str, str]], limit: int
) -> None:
    method = METHODS[name]
    args = SimpleNamespace(max_length=limit, assistant_only_loss=True)
    records = [record(method.kind, *row) for row in rows]
    kept, use = usage.measure(records, Characters(), method, args)
    assert use.offered == len(rows) == use.used + sum(use.dropped.values())
    assert kept == sorted(set(kept)) and len(kept) == use.used and use.truncated <= use.used
    assert set(use.dropped) <= {"EMPTY_ANSWER", "NO_ROOM", "TOO_LONG"}
    if method.rewards:  # answers are still to be generated
        assert kept == list(range(len(rows)))
        return
    last, cut = {"preference": 3}.get(method.kind, 2), 0
    for at in kept:
        prompt, answers = len(f"<u{rows[at][0]}<a"), rows[at][1:last]
        assert all(answers), "an empty answer teaches nothing"
        total = prompt + max(map(len, answers)) + (name == "orpo")  # it adds an end
        assert total <= limit if method.model == "scorer" else min(prompt, total) <= limit
        cut += total > limit
    assert use.truncated == cut


@pytest.mark.parametrize("name", ["grpo", "rloo"])
@given(records=st.integers(0, 40), batch=st.integers(1, 6), generations=st.integers(2, 4))
def test_the_last_batch_of_a_pass_is_counted_as_the_sampler_leaves_it_out(
    name: str, records: int, batch: int, generations: int
) -> None:
    sampler = pytest.importorskip("trl.trainer.utils").RepeatSampler
    args = SimpleNamespace(
        max_steps=-1,
        num_train_epochs=1,
        shuffle_dataset=True,
        generation_batch_size=batch * generations,
        num_generations=generations,
    )
    reached = set(sampler(range(records), generations, batch, 2, True, 7))
    assert records - usage.unfinished(METHODS[name], args, records) == len(reached)
    args.num_train_epochs = 2
    assert usage.unfinished(METHODS[name], args, records) == 0
    args.shuffle_dataset = False
    assert records - usage.unfinished(METHODS[name], args, records) == len(reached)
    assert usage.unfinished(METHODS["sft"], args, records) == 0


@pytest.mark.parametrize("name", ["sft", "grpo", "rloo"])
@given(
    records=st.integers(1, 40),
    steps=st.integers(1, 12),
    batch=st.integers(1, 3),
    accumulated=st.integers(1, 3),
)
def test_the_records_that_an_early_end_reaches_are_those_of_the_sampler(
    name: str, records: int, steps: int, batch: int, accumulated: int
) -> None:
    args = SimpleNamespace(
        gradient_accumulation_steps=accumulated,
        train_batch_size=batch * 2,
        generation_batch_size=batch * 2 * accumulated,
        num_generations=2,
        steps_per_generation=accumulated,
        num_iterations=1,
    )
    order, batch = list(range(records)), args.train_batch_size
    if METHODS[name].rewards:  # each batch of the loader is one generation
        sampler = pytest.importorskip("trl.trainer.utils").RepeatSampler
        batch = args.generation_batch_size
        order = list(sampler(order, 2, batch // 2, accumulated, True, 7))
    drawn = order[: steps * accumulated * batch]
    if METHODS[name].rewards and len(set(drawn)) == len(set(order)):
        return  # a whole pass, whose last batch `unfinished` counts
    seen = usage.seen(METHODS[name], args, steps, records, records, 1)
    assert (records if seen is None else seen) == len(set(drawn))


def test_packed_records_are_estimated() -> None:
    args = SimpleNamespace(gradient_accumulation_steps=1, train_batch_size=2)
    assert usage.seen(METHODS["sft"], args, 3, rows=12, used=50, processes=1) == 25
    assert usage.seen(METHODS["sft"], args, 3, rows=12, used=50, processes=2) is None
