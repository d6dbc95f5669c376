"""Every part of a record reaches the trainer as it is, or the training is refused."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import CountersignError, InputError, TrainingError
from governance.base.progress import Progress
from pipelines import desk, json_texts
from pipelines.kinds import KINDS
from pipelines.metrics import METRICS
from pipelines.params import Generation, Suite
from pipelines.scoring import Scorer, score_loaded
from pipelines.training import chat, tokenizer
from pipelines.training.dataset import dataset, extra_names, parts_of
from pipelines.training.fit import fit
from pipelines.training.modelfolder import load_model, load_tokenizer
from tests.pipelines import tiny
from tests.pipelines.tables import said, table, write_records

pytestmark = pytest.mark.filterwarnings("ignore")

TOOLS = [{"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}]
CALLS = [
    {"name": "route", "arguments": {"z": 1.12345678901234567, "a": 2**65, "b": None}},
    {"id": "c2", "name": "close", "arguments": {"other": ["x", {}], "flag": True}},
]


def talk(calls: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [
        *said("Route it."),
        {"role": "assistant", "content": "", "tool_calls": json_texts.dumps(calls), **more},
        *({"role": "tool", "content": "done", "name": call["name"]} for call in calls),
        {"role": "assistant", "content": "It is routed."},
    ]


def made(kind: str, *rows: dict[str, Any]) -> Any:
    records = table(kind, *rows).select(list(KINDS[kind].content_columns))
    return dataset(records, parts_of(records), extra_names(records), chat.Form())


def test_plain_records_are_columns_of_role_and_content() -> None:
    found = made("conversation", {"messages": said("Q", "A")}, {"messages": said("R")})
    assert found.column_names == ["messages"]
    assert found[0] == {"messages": said("Q", "A")}
    sliced = table("conversation", {"messages": said("Q")}, {"messages": said("R", "B")})
    part = sliced.slice(1, 1).select(["messages"])
    assert dataset(part, parts_of(part), (), chat.Form())[0] == {"messages": said("R", "B")}


def test_each_call_keeps_its_own_arguments_to_the_last_digit() -> None:
    rows = [{"messages": talk([call]), "tools": json_texts.dumps(TOOLS)} for call in CALLS]
    for found in (made("conversation", *rows), made("conversation", *rows).map(lambda row: row)):
        for row, call in zip(found, CALLS, strict=True):
            (given,) = row["messages"][1]["tool_calls"]
            assert given["function"] == {"name": call["name"], "arguments": call["arguments"]}
            assert list(given["function"]["arguments"]) == list(call["arguments"])
            assert given.get("id") == call.get("id")
            assert row["messages"][0] == {"role": "user", "content": "Route it."}
            assert json.loads(row["tools"]) == TOOLS


def test_extra_columns_are_columns_of_their_own() -> None:
    extra = [{"tests": ["assert f(1.0)"], "limit": 3}, {"tests": {"a": None}, "limit": None}]
    rows = [{"prompt": said("Q"), "extra": json_texts.dumps(one)} for one in extra]
    found = made("prompt", *rows, {"prompt": said("Q")})
    assert [found[at]["tests"] for at in range(3)] == [["assert f(1.0)"], {"a": None}, None]
    assert [found[at]["limit"] for at in range(3)] == [3, None, None]


# --- templates ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours() -> Any:
    texts = desk.text_lines(300, random.Random(1))
    return tokenizer.train({"messages": [said(text) for text in texts]}, 400)


EVERY = frozenset({"tools", "tool_calls", "tool_call_id", "thinking"})
FULL = talk(CALLS, thinking="The desk is busy.")


def test_our_template_has_every_part(ours: Any) -> None:
    form = chat.form_of(ours, EVERY, "")
    text = ours.apply_chat_template(form.chat(FULL), tools=TOOLS, tokenize=False)
    for part in ("The desk is busy.", "1.1234567890123457", '"flag": true', "done", "close"):
        assert part in text
    assert '{"name": "route", "parameters": {"type": "object"}}' in text


@pytest.mark.parametrize(
    ("template", "lost"),
    [
        ("", "tools and calls of tools and answers of tools"),
        ("{{ tools | tojson if tools }}", "calls of tools and answers of tools"),
        ("{{ raise_exception('no tools') }}", "tools and calls of tools and answers of tools"),
    ],
)
def test_a_template_that_leaves_out_parts_is_refused(ours: Any, template: str, lost: str) -> None:
    ours = type(ours)(tokenizer_object=ours.backend_tokenizer, eos_token=ours.eos_token)
    ours.chat_template = template + "{% for m in messages if m.role == 'user' %}Q{% endfor %}"
    with pytest.raises(InputError, match=f"leaves out {lost}, which"):
        chat.form_of(ours, EVERY, "here")
    assert chat.form_of(ours, frozenset(), "") == chat.Form()


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ("m.reasoning_content", {"content": "A", "reasoning_content": "T"}),
        ("m.thinking", {"content": "A", "reasoning_content": "T"}),
        ("nothing", {"content": "<think>\nT\n</think>\n\nA"}),
    ],
)
def test_thinking_goes_where_the_template_reads_it(
    ours: Any, reads: str, expected: dict[str, str]
) -> None:
    ours = type(ours)(tokenizer_object=ours.backend_tokenizer, eos_token=ours.eos_token)
    ours.chat_template = (
        f"{{% for m in messages %}}{{{{ {reads} }}}}{{{{ m.content }}}}{{% endfor %}}"
    )
    form = chat.form_of(ours, {"thinking"}, "")
    message = {"role": "assistant", "content": "A", "thinking": "T"}
    assert form.chat([message]) == [{"role": "assistant", **expected}]


def test_a_template_that_cuts_thinking_off_is_refused(ours: Any) -> None:
    ours = type(ours)(tokenizer_object=ours.backend_tokenizer, eos_token=ours.eos_token)
    ours.chat_template = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    with pytest.raises(InputError, match="what the assistant thought"):
        chat.form_of(ours, {"thinking"}, "")


# --- training -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pre-trained language model."""
    home = tmp_path_factory.mktemp("models")
    text, bare = tiny.records(home / "text", "conversation"), tiny.architecture(home / "bare")
    base, _ = tiny.train(home / "base", tiny.objective("pretrain"), bare, text)
    return {"language": base / "model"}


def ignore(step: int, steps: int, signals: Mapping[str, float]) -> None:
    pass


def with_template(models: dict[str, Path], folder: Path, template: str) -> Path:
    shutil.copytree(models["language"], folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def records(folder: Path, kind: str, *contents: dict[str, Any]) -> Path:
    write_records(folder / "records", table(kind, *contents), kind)
    return folder / "records"


def contents(kind: str, parts: dict[str, Any]) -> list[dict[str, Any]]:
    asked, answers = FULL[:4], FULL[4:]
    content: dict[str, Any] = {
        "conversation": {"messages": FULL},
        "preference": {"prompt": asked, "chosen": answers, "rejected": said(("assistant", "No."))},
        "unpaired": {"prompt": asked, "completion": answers, "label": True},
        "prompt": {"prompt": said("Route it."), "answer": "done"},
    }[kind]
    other = {"label": False} if kind == "unpaired" else {}
    return [{**content, **parts, **(other if at % 2 else {})} for at in range(8)]


WITH_TOOLS = {"tools": json_texts.dumps(TOOLS)}
METHODS = [
    ("sft", "conversation", []),
    ("dpo", "preference", []),
    ("kto", "unpaired", [pytest.mark.slow]),
    ("reward", "preference", [pytest.mark.slow]),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(name, kind, marks=marks) for name, kind, marks in METHODS],
)
def test_a_method_trains_on_tools_calls_and_thinking(
    name: str,
    kind: str,
    models: dict[str, Path],
    tmp_path: Path,
) -> None:
    data = records(tmp_path, kind, *contents(kind, WITH_TOOLS))
    fitted = fit(
        tiny.plan(tmp_path / "work", tiny.objective(name), models["language"], data), ignore
    )
    assert (fitted.records, fitted.thinking) == (8, "reasoning_content")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("orpo", "preference"), ("grpo", "prompt"), ("ppo", "prompt"), ("rloo", "prompt")],
)
def test_a_trainer_that_would_lose_the_tools_is_refused(
    name: str,
    kind: str,
    models: dict[str, Path],
    tmp_path: Path,
) -> None:
    data = records(tmp_path, kind, *contents(kind, WITH_TOOLS))
    wanted = tiny.objective(name, rewards=("route_exact",) if kind == "prompt" else ())
    with pytest.raises(TrainingError, match=f"tools, which the trainer of {name} leaves out"):
        fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)


def test_a_parent_whose_template_drops_calls_is_refused(
    models: dict[str, Path],
    tmp_path: Path,
) -> None:
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    parent = with_template(models, tmp_path / "parent", plain)
    data = records(tmp_path, "conversation", *contents("conversation", {}))
    with pytest.raises(CountersignError, match="leaves out calls of tools, which"):
        fit(tiny.plan(tmp_path / "work", tiny.objective("sft"), parent, data), ignore)


def test_rewards_get_extra_columns_and_prompts_in_several_turns_are_left_out(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "checks.py").write_text(
        "def checks(text, answer, tests):\n"
        "    assert tests == [1.5, {'a': None}] and '<think>' not in text\n"
        "    return float(len(text))\n"
    )
    extra = {"extra": json_texts.dumps({"tests": [1.5, {"a": None}], "other": 1})}
    rows = contents("prompt", extra)
    rows[0] = {**rows[0], "turns": json_texts.dumps(["And then?"])}
    wanted = tiny.objective("grpo", rewards=("checks",))
    data = records(tmp_path, "prompt", *rows)
    fitted = fit(tiny.plan(tmp_path / "work", wanted, models["language"], data), ignore)
    assert fitted.use["train"].dropped["TURNS_UNANSWERED"] == 1


# --- evaluation -----------------------------------------------------------------------------------


def test_further_turns_are_asked_after_the_models_own_answers(
    models: dict[str, Path], tmp_path: Path
) -> None:
    model, tokenizer = (
        load_model(models["language"], "language"),
        load_tokenizer(models["language"]),
    )
    suite = Suite(metrics=["greedy_exact"], generation=Generation(max_new_tokens=4))
    scorer = Scorer(model, tokenizer, suite, Progress(io.StringIO()).bar(0, ""))
    rows = [
        {"prompt": said("Route it."), "turns": json_texts.dumps(["Why?", "Are you sure?"])},
        {"prompt": said("Close it.")},
    ]
    talk = said("Route it.")
    for turn in ("Why?", "Are you sure?"):
        (made,) = scorer._generated([(talk, None)], 1, sampled=False)
        talk += [{"role": "assistant", "content": made.text}, *said(turn)]
    (last,) = scorer._generated([(talk, None)], 1, sampled=False)
    (alone,) = scorer._generated([(said("Close it."), None)], 1, sampled=False)
    for row, expected in zip(rows, (last, alone), strict=True):
        assert scorer._answers([row], 1, sampled=False) == [[expected.text]]
    sampled = scorer._answers(rows, 3, sampled=True)
    assert [len(answers) for answers in sampled] == [3, 3]


def test_an_evaluation_with_tools_needs_a_template_that_has_them(
    models: dict[str, Path], tmp_path: Path
) -> None:
    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    parent = with_template(models, tmp_path / "parent", plain)
    model, tokenizer = load_model(parent, "language"), load_tokenizer(parent)
    suite = Suite(metrics=["greedy_exact"])
    rows = [{"prompt": said("Route it."), "answer": "A", **WITH_TOOLS}]
    bar = Progress(io.StringIO()).bar(0, "")
    with pytest.raises(InputError, match="leaves out tools"):
        score_loaded(model, tokenizer, rows, suite, [METRICS["greedy_exact"]], bar)
