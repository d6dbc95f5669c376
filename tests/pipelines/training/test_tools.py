"""Tools that a model calls while it answers: in a training, in an evaluation, and what stops them.

The model is scripted: where its trainer or scorer would generate, a text follows from what stands
before. All else is real.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch
from trl import GRPOTrainer

from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.progress import Bar
from pipelines import scoring
from pipelines.failures import StoppedError
from pipelines.kinds import KINDS
from pipelines.metrics import functions_of, metrics_of, suite_digest
from pipelines.params import Params, Suite, load_params
from pipelines.scoring import Scorer
from pipelines.stages import gate
from pipelines.stages.train import _tools
from pipelines.training import objective, rewards, tool_files, tool_loop
from pipelines.training.fit import fit
from pipelines.training.modelfolder import load_model, load_tokenizer
from pipelines.training.objective import ResolvedTools
from pipelines.training.plan import Plan
from tests.conftest import ROOT
from tests.pipelines import tiny
from tests.pipelines.tables import said, write_records

pytestmark = pytest.mark.filterwarnings("ignore")

LOOKUP = '''"""Stock of a product."""
PURPOSE = "says how many pieces of a product are there"
STOCK = {"router": 7, "phone": 12}


def stock(product: str) -> int:
    """Says how many pieces are there.

    Args:
        product: The name of the product.
    """
    return STOCK[product]
'''
REWARD = """PURPOSE = "the answer has the number of pieces"


def has_number(text, answer):
    return float(answer in text)
"""
CALL = '<tool_call>\n{"name": "stock", "arguments": {"product": "%s"}}\n</tool_call>'
PRODUCTS = ("router", "phone", "ladder")
"""What is asked for. There is no stock of the last one: its call fails."""
ANSWERS = {"router": "7", "phone": "12", "ladder": "error"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rewards" / "tools").mkdir(parents=True)
    (tmp_path / "rewards" / "has_number.py").write_text(REWARD)
    monkeypatch.chdir(tmp_path)
    write(LOOKUP)
    return tmp_path


def write(text: str, name: str = "stock") -> None:
    """The file of a tool."""
    Path("rewards", "tools", f"{name}.py").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer knows the characters of calls."""
    home = tmp_path_factory.mktemp("base")
    talks = [
        [*said(f"How many of {product}? {CALL % product}"), *said("", f"There are {number}.")[1:]]
        for product, number in ANSWERS.items()
    ]
    rows = [
        {
            "id": f"{at:032x}",
            "split": "train",
            "file": "t",
            "row": at + 1,
            "messages": talks[at % 3],
        }
        for at in range(24)
    ]
    schema = KINDS["conversation"].schema
    write_records(
        home / "text" / "records", pa.Table.from_pylist(rows, schema=schema), "conversation"
    )
    bare = tiny.architecture(home / "bare")
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    made, _ = tiny.train(home / "base", tiny.objective("pretrain"), bare, home / "text" / "records")
    return made / "model"


def prompts(folder: Path, *, tools: str | None = None, split: str = "train") -> Path:
    """Records that ask for a product."""
    rows = [
        {
            "id": f"{at:032x}",
            "split": split,
            "file": "t",
            "row": at + 1,
            "prompt": said(f"How many of {product}?"),
            "answer": ANSWERS[product],
            "tools": tools,
        }
        for at in range(12)
        if (product := PRODUCTS[at % 3])
    ]
    write_records(folder, pa.Table.from_pylist(rows, schema=KINDS["prompt"].schema), "prompt")
    return folder


def scripted(text: str) -> str:
    """What the model writes after a prompt: a call, or the number that the tool gave."""
    asked = re.findall(r"How many of (\w+)\?", text)[-1]
    results = re.findall(r"<\|tool\|>stock\n(.*?)<\|end\|>", text, re.DOTALL)
    if not results:
        return CALL % asked
    return "There is an error." if "error" in results[-1] else f"There are {results[-1]}."


def generating(
    script: Callable[[str], str] = scripted,
) -> Callable[..., tuple[list[list[int]], None]]:
    """In the place of the trainer's method that generates."""

    def single_turn(trainer: Any, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
        tokenizer = trainer.processing_class
        texts = [script(tokenizer.decode(ids)) + tokenizer.eos_token for ids in prompt_ids]
        return tokenizer(texts, add_special_tokens=False)["input_ids"], None

    return single_turn


def plan(work: Path, base: Path, data: Path, rounds: int = 2, longest: int = 160) -> Plan:
    """Two steps of four answers."""
    arguments: dict[str, Any] = {"max_completion_length": longest, "max_steps": 3}
    wanted = tiny.objective("grpo", lora=True, rewards=("has_number",), **arguments)
    tools = ResolvedTools(functions={"stock": tool_files.source_digest("stock")}, rounds=rounds)
    return tiny.plan(work, wanted.model_copy(update={"tools": tools}), base, data)


def silent(step: int, steps: int, signals: Any) -> None:
    """A listener that does nothing."""


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """Each batch that a trainer learns from, with its tokenizer."""
    seen: list[tuple[Any, dict[str, Any]]] = []
    compute = GRPOTrainer._compute_loss

    def spied(self: Any, model: Any, inputs: dict[str, Any]) -> Any:
        seen.append((self.processing_class, inputs))
        return compute(self, model, inputs)

    monkeypatch.setattr(GRPOTrainer, "_compute_loss", spied)
    return seen


def test_a_result_reaches_the_answer_and_carries_no_loss(
    base: Path, tmp_path: Path, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating())
    fitted = fit(plan(tmp_path / "work", base, prompts(tmp_path / "data")), silent)
    assert batches
    results = set()
    for tokenizer, batch in batches:
        for ids, mask, own in zip(
            batch["completion_ids"], batch["completion_mask"], batch["tool_mask"], strict=True
        ):
            text = tokenizer.decode(ids[mask.bool()])
            theirs = tokenizer.decode(ids[(mask * (1 - own)).bool()])
            mine = tokenizer.decode(ids[(mask * own).bool()])
            (result,) = re.findall(r"<\|tool\|>stock\n(.*?)<\|end\|>", text, re.DOTALL)
            results.add(result)
            assert theirs == f"<|tool|>stock\n{result}<|end|><|assistant|>"
            assert "<|tool|>" not in mine and mine.count("<|end|>") == 2
            answer = "an error" if "error" in result else result
            assert mine.endswith(f"{answer}.<|end|>")
    assert {"7", "12"} < results and any(
        "KeyError" in result or "ladder" in result for result in results
    )
    assert fitted.history[-1]["reward"] == 1.0  # each answer has what the tool said
    resolved = plan(tmp_path / "again", base, tmp_path / "data").objective
    use = _tools(resolved, fitted)["tools"]
    assert use.functions == {"stock": tool_files.source_digest("stock")}
    assert use.calls == 1.0 and 0.0 < use.failed < 1.0
    saved = json.loads((tmp_path / "work" / "trained" / "tokenizer_config.json").read_text())
    assert not saved.get("response_template")


def test_no_loss_moves_with_the_tokens_of_a_result(
    base: Path, tmp_path: Path, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a batch does not depend on the probability of a result's tokens."""
    answers = count()

    def uneven(text: str) -> str:
        written = scripted(text)
        is_wrong = written.startswith("There") and next(answers) % 3 == 0
        return "There are many." if is_wrong else written

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating(uneven))
    seen: list[Any] = []
    compute = GRPOTrainer._get_per_token_logps_and_entropies

    def spied(self: Any, *args: Any, **more: Any) -> Any:
        made = compute(self, *args, **more)
        if made[0].requires_grad:
            made[0].retain_grad()
            seen.append(made[0])
        return made

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", spied)
    fit(plan(tmp_path / "work", base, prompts(tmp_path / "data")), silent)
    checked = 0
    for logps, (_, batch) in zip(seen, batches, strict=True):
        given = batch["completion_mask"] * (1 - batch["tool_mask"])
        assert torch.all(logps.grad[given.bool()] == 0)
        checked += int(given.sum()) * int(logps.grad.abs().sum() > 0)
    assert checked


def test_the_number_of_rounds_is_bounded(
    base: Path, tmp_path: Path, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating(lambda _: CALL % "phone"))
    made = plan(tmp_path / "work", base, prompts(tmp_path / "data"), rounds=2, longest=400)
    fitted = fit(made, silent)
    (tokenizer, batch), *_ = batches
    text = tokenizer.decode(batch["completion_ids"][0])
    assert text.count("<|tool|>") == 2 and text.count("<tool_call>") == 3
    assert fitted.history[-1]["reward"] == 0.0


REACHES = {
    "it opens a connection": (
        "import socket\n    socket.create_connection(('127.0.0.1', 9), 0.1)", "network"
    ),
    "it swallows the error": (
        "try:\n        __import__('socket').socket()\n    except BaseException:\n        pass",
        "network",
    ),
    "it starts a program": (
        "import subprocess\n    subprocess.run(['true'])", "another process or thread"
    ),
    "it reads a file": ("open('params.yaml').read()", "a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REACHES)
def test_a_tool_that_reaches_out_stops_a_training(
    case: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although TRL takes what a tool raises as an answer for the model."""
    body, access = REACHES[case]
    write(LOOKUP.replace("return STOCK", f"{body}\n    return STOCK"))
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating())
    with pytest.raises(StoppedError) as caught:
        fit(plan(tmp_path / "work", base, prompts(tmp_path / "data")), silent)
    (reason,) = caught.value.stopped.findings
    assert (reason.code, reason.subject, reason.found) == (
        "TOOL_REACHED_OUT", "tool stock", access,
    )  # fmt: skip
    assert not (tmp_path / "work" / "trained").exists()


SUITE = {
    "metrics": ["greedy:has_number", "sampled:has_number"],
    "split": "test",
    "generation": {"max_new_tokens": 160, "samples": 2, "batch_size": 8},
    "tools": {"names": ["stock"], "rounds": 2},
}


def scorer(base: Path, monkeypatch: pytest.MonkeyPatch, **suite: Any) -> Scorer:
    """The scorer of a scripted model."""
    tokenizer = load_tokenizer(base)
    made = Scorer(
        load_model(base, "language", dtype=torch.float32),
        tokenizer,
        Suite.model_validate({**SUITE, **suite}),
        Bar(None, 0, ""),
    )

    def continued(prompts: Any, per_item: int, *, sampled: bool) -> Any:
        state = SimpleNamespace(processing_class=tokenizer)
        given = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(prompts["input_ids"], prompts["attention_mask"], strict=True)
            for _ in range(per_item)
        ]
        answers, _ = generating()(state, given)
        width = max(map(len, answers))
        return torch.tensor(
            [ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids in answers]
        )

    monkeypatch.setattr(made, "_continued", continued)
    return made


def rows(data: Path) -> list[dict[str, Any]]:
    """The records of a folder."""
    from pipelines.shards import read_records

    found: list[dict[str, Any]] = read_records(data).to_pylist()
    return found


def test_an_evaluation_runs_the_loop_of_the_training(
    base: Path, tmp_path: Path, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prompts(tmp_path / "data")
    made = scorer(base, monkeypatch)
    scores = scoring.score(made, rows(data), metrics_of(made.suite, ""))
    assert scores == {name: [1.0] * 12 for name in SUITE["metrics"]}
    use = made.tool_use
    assert use is not None and use.calls == 1.0 and use.failed == pytest.approx(1 / 3)
    assert made.scored["greedy"][0] == ["There are 7."]

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating())
    fit(plan(tmp_path / "work", base, data), silent)
    trained = {
        tokenizer.decode(ids[mask.bool()])
        for tokenizer, batch in batches
        for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    }
    evaluated = made.samples(rows(data), 2)
    assert {made.tokenizer.decode(one.tokens) for group in evaluated for one in group} >= trained
    asked = {
        tokenizer.decode(ids[mask.bool()])
        for tokenizer, batch in batches
        for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
    }
    given = made.prompt_tokens([one.asked for group in evaluated for one in group])
    assert {made.tokenizer.decode(ids) for ids in given} >= asked
    assert all("says how many" not in text and "Says how many" in text for text in asked)


def test_measures_count_the_models_own_tokens(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.likelihood import log_likelihoods

    made = scorer(base, monkeypatch)
    ((one, _), *_) = made.samples(rows(prompts(tmp_path / "data")), 2)
    assert one.own is not None and len(one.own_tokens) == sum(one.own) < len(one.tokens)
    (prompt,) = made.prompt_tokens([one.asked])
    pad, temperature = made.tokenizer.pad_token_id, 1.0
    with torch.inference_mode():
        both = [
            log_likelihoods(made.model, [prompt], [one.tokens], pad, temperature, own)[0]
            for own in ([one.own], [[1 - own for own in one.own]], None)
        ]
    assert both[0] + both[1] == pytest.approx(both[2], abs=1e-3) and both[1] < 0


def test_a_tool_that_reaches_out_stops_an_evaluation(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(LOOKUP.replace("return STOCK", "__import__('socket').socket()\n    return STOCK"))
    made = scorer(base, monkeypatch)
    with pytest.raises(StoppedError) as caught:
        scoring.score(made, rows(prompts(tmp_path / "data")), metrics_of(made.suite, ""))
    assert [one.code for one in caught.value.stopped.findings] == ["TOOL_REACHED_OUT"]


@pytest.mark.parametrize("named", ["stock", "other"])
def test_prompts_that_name_tools_name_those_of_the_stage(
    named: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = json.dumps([{"type": "function", "function": {"name": named}}])
    data = prompts(tmp_path / "data", tools=tools)
    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", generating())
    doing = [
        lambda: fit(plan(tmp_path / "work", base, data), silent),
        lambda: scorer(base, monkeypatch).samples(rows(data), 2),
    ]
    for do in doing:
        if named == "stock":
            do()
        else:
            with pytest.raises(ConfigError, match="a record has the tools other"):
                do()


def test_a_template_whose_calls_cannot_be_read_is_refused(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(InputError, match="leaves out calls of tools"):
        tool_loop.prepare(tokenizer)
    own = load_tokenizer(base)
    own.chat_template = own.chat_template + "\n"
    with pytest.raises(InputError, match="TRL cannot read calls"):
        tool_loop.prepare(own)


def test_a_model_keeps_its_own_template_where_the_training_needs_another(
    base: Path, tmp_path: Path
) -> None:
    """Qwen 3's template leaves out earlier thoughts, so TRL has another one for trainings."""
    from trl.chat_template_utils import qwen3_chat_template

    parent = shutil.copytree(base, tmp_path / "parent")
    (parent / "chat_template.jinja").write_text(qwen3_chat_template, encoding="utf-8")
    prepared = load_tokenizer(parent)
    tool_loop.prepare(prepared)
    assert prepared.chat_template != qwen3_chat_template and prepared.response_template
    fit(plan(tmp_path / "work", parent, prompts(tmp_path / "data")), silent)
    kept = load_tokenizer(tmp_path / "work" / "trained")
    assert kept.chat_template == qwen3_chat_template
    assert getattr(kept, "response_template", None) is None


UNFIT = {
    "no purpose": (LOOKUP.replace("PURPOSE", "WHY"), "declares no PURPOSE"),
    "no types": (LOOKUP.replace("product: str", "product"), "without a type"),
    "another name": (LOOKUP.replace("def stock", "def stocks"), "it defines stocks"),
    "no docstring": (re.sub(r'"""Says.*?"""', "x = 1", LOOKUP, flags=re.DOTALL), "no docstring"),
    "a file of the project": (f"import has_number\n{LOOKUP}", "a file of this project"),
    "a module that reads files": (f"import pandas\n{LOOKUP}", "which can read files"),
    "no Python": ("def", "not valid Python"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_file_that_is_no_tool_is_refused_unread(case: str) -> None:
    text, said_of_it = UNFIT[case]
    write(text)
    assert any(said_of_it in str(each) for each in tool_files.mistakes("stock", "params.yaml"))
    with pytest.raises(CountersignError):
        tool_files.load({"stock": tool_files.source_digest("stock")})


def test_a_tool_is_what_was_decided_on_and_can_be_described() -> None:
    assert not [*tool_files.mistakes("stock", "")]
    (unknown,) = tool_files.mistakes("stok", "params.yaml")
    assert "did you mean 'stock'" in str(unknown)
    with pytest.raises(CountersignError, match="changed during the run"):
        tool_files.load({"stock": "0" * 64})
    write(LOOKUP.replace("        product: The name of the product.", "        other: What."))
    with pytest.raises(ConfigError, match="the model cannot be told of it"):
        tool_files.load({"stock": tool_files.source_digest("stock")})


RESULTS = {
    "text": ("return 'x'", "x"),
    "a number": ("return 7", "7"),
    "JSON": ("return {'a': [1, None]}", '{"a": [1, null]}'),
}


@pytest.mark.parametrize("case", RESULTS)
def test_a_result_is_text(case: str) -> None:
    body, text = RESULTS[case]
    write(LOOKUP.replace("return STOCK[product]", body))
    (tool,) = tool_files.load({"stock": tool_files.source_digest("stock")})
    assert tool(product="x") == text


@pytest.mark.parametrize("body", ["return 'x' * 10_001", "return object()", "raise SystemExit(3)"])
def test_what_is_no_result_is_an_error_for_the_model(body: str) -> None:
    write(LOOKUP.replace("return STOCK[product]", body))
    (tool,) = tool_files.load({"stock": tool_files.source_digest("stock")})
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        tool(product="x")


def test_a_result_is_no_answer() -> None:
    """Where an answer ends with the result of a tool, nothing of the model is scored."""
    call = {"role": "assistant", "content": "", "tool_calls": []}
    assert rewards.text_of([call, {"role": "tool", "content": "7"}]) == ""
    assert rewards.text_of([{"role": "assistant", "tool_calls": []}]) == ""
    assert rewards.text_of([call, {"role": "assistant", "content": "7"}]) == "7"


TOOLS = {"names": ["stock"], "rounds": 3}


def params(stage: dict[str, Any], suite: dict[str, Any]) -> Params:
    """The shipped parameters with other fields of `grpo` and of its suite."""
    content = load_params(ROOT).model_dump()
    for name, change in {"grpo": stage, "rloo": {**stage, "method": "rloo"}}.items():
        content["stages"][name] = {**content["stages"]["grpo"], **change}
    content["suites"]["desk_eval"] |= suite
    return Params.model_validate(content)


def test_tools_are_part_of_objective_request_and_suite() -> None:
    made = params({"tools": TOOLS}, {"tools": TOOLS})
    resolved, plain = (objective.resolve(each, "grpo") for each in (made, params({}, {})))
    digest = tool_files.source_digest("stock")
    assert resolved.tools == ResolvedTools(functions={"stock": digest}, rounds=3)
    assert '"tools"' not in plain.text and resolved.digest != plain.digest
    assert objective.texts(resolved)[digest] == LOOKUP
    assert gate.declared_request(made, "grpo").decided_on["reward/tools/stock"] == digest
    suite = made.suites["desk_eval"]
    assert functions_of(suite, metrics_of(suite, ""))["tools/stock"] == digest
    before = suite_digest(suite, "0" * 64)
    write(LOOKUP + "\n")
    assert suite_digest(suite, "0" * 64) != before
    assert objective.resolve(made, "grpo").digest != resolved.digest


MISTAKES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("rloo", {"tools": TOOLS}, {"tools": TOOLS}, "the trainer of rloo calls no tools"),
    ("grpo", {"tools": TOOLS}, {}, "has other tools"),
    ("grpo", {"tools": TOOLS}, {"tools": {**TOOLS, "rounds": 4}}, "has other tools"),
    (
        "grpo",
        {"tools": TOOLS, "trainer": {"max_tool_calling_iterations": 9}},
        {"tools": TOOLS},
        "beside tools",
    ),
    (
        "grpo",
        {"tools": {"names": ["nothing"]}},
        {"tools": {"names": ["nothing"]}},
        "no tool 'nothing'",
    ),
]


@pytest.mark.parametrize(("stage", "row", "suite", "said_of_it"), MISTAKES)
def test_a_row_whose_tools_cannot_be_used_is_refused(
    stage: str, row: dict[str, Any], suite: dict[str, Any], said_of_it: str
) -> None:
    with pytest.raises(CountersignError) as caught:
        objective.resolve(params(row, suite), stage)
    assert said_of_it in str(caught.value)
