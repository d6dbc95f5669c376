"""Records are compared with every suite and task of the project: planted contamination is found
whichever suite it comes from, and a further suite that finds nothing changes no output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import InputError
from governance.base.yaml import load_model
from governance.policy.data import PiiPolicy, QualitySuite
from pipelines import held_out, paths
from pipelines.features.leaks import Around, HeldOut, HeldOutTexts
from pipelines.features.table import leaks_held_out
from pipelines.features.turns import Records
from pipelines.job import Outcome
from pipelines.params import Dataset, Params, Splits, Suite, TaskEvaluation, load_params
from pipelines.records import read_excluded
from pipelines.stages import check_quality, suite
from pipelines.tasks import items, scan
from tests.conftest import ROOT
from tests.pipelines.jobs import job
from tests.pipelines.tables import contents_of, conversations, said, table, write_records
from tests.pipelines.tasks.written import CHOICE, write

LEAK = {
    "name": "no-leak", "column": "leaks_held_out", "action": "drop", "reason": "LEAK_HELD_OUT",
    "check": "expect_column_values_to_be_in_set", "value_set": [False],
}  # fmt: skip
NEAR = {
    "name": "near", "column": "near_held_out", "action": "report", "severity": "warning",
    "check": "expect_column_mean_to_be_between", "max_value": 0.1, "reason": "NEAR_HELD_OUT",
}  # fmt: skip
QUALITY = QualitySuite.model_validate({"kind": "conversation", "expectations": [LEAK, NEAR]})
FIRST = "Which of the two cables belongs into the left socket of the router?"
SECOND = "How long may a customer of the silver plan keep a borrowed tablet?"
OF_TASK = "What colour does the lamp of the printer have while it is warming up?"
VALIDATION = "Who has to sign the form before a speaker is sent back for repair?"
TEST_ONLY = Splits(train=0, validation=0, test=1)


def project(
    root: Path, *, suites: Sequence[str] = ("first", "second"), task: bool = True
) -> Params:
    """Dataset `d` names `first`; `second` and the task `colours` are evaluated on, too."""
    whole = load_params(ROOT)
    row = whole.datasets["desk_sft"].model_copy(update={"suite": "s", "held_out": "first"})
    datasets: dict[str, Dataset] = {"d": row}
    for name, split, text in (("first", "test", FIRST), ("second", "test", SECOND)):
        datasets[name] = row.model_copy(update={"kind": "prompt", "splits": TEST_ONLY})
        records = table(
            "prompt",
            {"prompt": said(text), "split": split},
            {"prompt": said(VALIDATION), "split": "train"},
        )
        write_records(root / paths.scanned(name) / "records", records, "prompt")
    write(root, CHOICE, [{"question": OF_TASK, "options": ["red", "green"], "right": 0}])
    tasks = {
        name: TaskEvaluation(model=model, task="colours")
        for name, model in (("sft_colours", "sft"), ("dpo_colours", "dpo"))
    }
    params = whole.model_copy(
        update={
            "datasets": datasets,
            "suites": {name: Suite(metrics=["greedy_exact"]) for name in suites},
            "tasks": tasks if task else {},
        }
    )
    (root / "rewards").mkdir(exist_ok=True)
    (root / "rewards" / "README.md").write_text("none")
    for name in suites:
        made = job(suite, "suite", name, root, root / "made", params)
        suite.run(made)
        marker = root / paths.held_out_suite(name)
        marker.parent.mkdir(parents=True, exist_ok=True)
        made.output("held_out").replace(marker)
    for name in params.tasks:
        marker = root / paths.held_out_task(name)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text("{}")
    return params


def check(root: Path, params: Params, *questions: str) -> tuple[Outcome, Path]:
    records = conversations(*(said(question, "an answer") for question in questions))
    write_records(root / "data/scanned/d/records", records, "conversation")
    policies = SimpleNamespace(quality={"s": QUALITY}, suite_digest=lambda name: "0" * 64)
    made = root / "made"
    work = job(check_quality, "check_quality", "d", root, made, params, policies=policies)
    return check_quality.run(work), made / "data/ready/d"


def left_out(folder: Path) -> list[int | None]:
    return sorted(one.row for one in read_excluded(folder / "excluded.jsonl"))


def test_contamination_from_every_suite_and_task_is_found(tmp_path: Path) -> None:
    params = project(tmp_path)
    asked = ["a harmless question", FIRST, SECOND, f"Please tell me: {OF_TASK} Thanks.", VALIDATION]
    outcome, folder = check(tmp_path, params, *asked)
    rows = left_out(folder)
    # the dataset that the row names is compared whole, so its record of another split counts, too
    assert len(rows) == 4 and outcome.predicate["counts"].records_out == 1
    stated = {each.name: each for each in outcome.predicate["compared"]}
    assert stated.keys() == {"first", "second", "colours"}
    assert [each.harness for each in stated.values()].count("lm-eval") == 1
    demanded = held_out.demanded(params, tmp_path, "d")
    assert sorted(demanded, key=str) == sorted(stated.values(), key=str)


def test_of_a_further_suite_only_its_split_is_held_out(tmp_path: Path) -> None:
    params = project(tmp_path, suites=["second"], task=False)
    row = params.datasets["d"].model_copy(update={"held_out": "d"})
    params = params.model_copy(update={"datasets": {**params.datasets, "d": row}})
    _, folder = check(tmp_path, params, "a harmless question", SECOND, VALIDATION)
    assert len(left_out(folder)) == 1


def test_a_further_suite_that_finds_nothing_changes_no_output(tmp_path: Path) -> None:
    """Training reads the records, so it does not run again; the statement names the suite."""
    one = project(tmp_path, suites=["first"], task=False)
    before, folder = check(tmp_path, one, "a harmless question", FIRST)
    content = contents_of(folder)
    after, folder = check(tmp_path, project(tmp_path), "a harmless question", FIRST)
    assert contents_of(folder) == content
    assert len(before.predicate["compared"]) == 1 and len(after.predicate["compared"]) == 3


@pytest.mark.parametrize(
    ("splits", "split", "compared"),
    [
        (None, None, True),
        (None, "validation", True),  # trained on, and evaluated on another split
        (None, "train", False),  # held out as a whole
        (TEST_ONLY, "test", False),
    ],
)
def test_which_datasets_are_compared(
    tmp_path: Path, splits: Splits | None, split: Any, compared: bool
) -> None:
    params = project(tmp_path)
    row = params.datasets["d"].model_copy(update={"splits": splits or Splits(train=1.0)})
    more = {"d": Suite(metrics=["greedy_exact"], split=split)} if split else {}
    params = params.model_copy(
        update={"datasets": {**params.datasets, "d": row}, "suites": {**params.suites, **more}}
    )
    assert held_out.is_compared(params, "d") == compared
    names = {item.role for item in held_out.inputs(params, "d")}
    assert ("held_out_suite_second" in names) == compared and "held_out_suite_d" not in names


def test_a_suite_without_records_here_is_an_error_and_no_permission(tmp_path: Path) -> None:
    params = project(tmp_path, suites=["first", "second"])
    (tmp_path / paths.scanned("second") / "records").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError):
        held_out.demanded(params, tmp_path, "d")


WORD = st.text("abcdefgh", min_size=2, max_size=6)
SENTENCE = st.lists(WORD, min_size=8, max_size=14).map(" ".join)


@given(
    st.lists(SENTENCE, min_size=1, max_size=4),
    st.lists(SENTENCE, min_size=1, max_size=4),
    st.data(),
)
def test_what_one_of_several_suites_finds_their_union_finds(
    of_suite: list[str], of_task: list[str], data: st.DataObject
) -> None:
    """A record that quotes any held-out question is found, and none that quotes no part of one."""
    prompts = table("prompt", *({"prompt": said(text)} for text in of_suite))
    texts = HeldOutTexts.of_texts(of_task, [])
    union = HeldOut([prompts], "prompt", [texts])
    quoted = data.draw(st.sampled_from([*of_suite, *of_task]))
    records = Records(
        conversations(said(f"zz {quoted} zz", "y"), said("zz zz zz", "y")), "conversation"
    )
    assert leaks_held_out(records, Around(union)).tolist() == [True, False]
    alone = [HeldOut([prompts], "prompt"), HeldOut(further=[texts])]
    either = [leaks_held_out(records, Around(one)) for one in alone]
    assert (either[0] | either[1]).tolist() == [True, False]


# --- tasks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("question", {"question"}),
        ("Question: {{question}}\nAnswer:", {"question"}),
        ("{% for one in options %}{{one}}{% endfor %}{{stem.text}}", {"options", "stem"}),
        ("{{ broken", set()),
    ],
)
def test_the_fields_of_a_question(template: str, fields: set[str]) -> None:
    assert items.fields_of(template) == fields


def test_questions_and_answers_of_a_task(tmp_path: Path) -> None:
    long_choice = "one two three four five six seven eight"
    item = {"question": "Q?", "options": ["red", long_choice], "why": "because", "right": 0}
    write(tmp_path, {**CHOICE, "doc_to_text": "{{question}} {{options[0]}}"}, [item])
    found = items.read_items(tmp_path, "colours")
    assert found.questions == {"Q?", long_choice} and found.answers == {"red", "because"}


@pytest.mark.parametrize("text", ["", "not json\n", "[1, 2]\n", '{"question": \n'])
def test_items_that_cannot_be_read_stop_the_check(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path, CHOICE, [{"question": "Q?"}])
    (folder / "test.jsonl").write_text(text)
    with pytest.raises(InputError):
        items.read_items(tmp_path, "colours")


@pytest.mark.parametrize(
    ("format_", "name", "text"),
    [
        ("json", "test.json", json.dumps([{"question": OF_TASK}])),
        ("csv", "test.csv", f'question,right\n"{OF_TASK}",red\n'),
    ],
)
def test_other_formats_of_items(tmp_path: Path, format_: str, name: str, text: str) -> None:
    files = {"test": f"tasks/colours/{name}"}
    task = {**CHOICE, "dataset_path": format_, "dataset_kwargs": {"data_files": files}}
    folder = write(tmp_path, task, [])
    (folder / name).write_text(text)
    assert OF_TASK in items.read_items(tmp_path, "colours").questions


@pytest.mark.slow
def test_the_files_of_a_task_are_searched_for_personal_data(tmp_path: Path) -> None:
    from pipelines.pii.engine import PlainEngine
    from pipelines.pii.search import Search

    write(
        tmp_path,
        {**CHOICE, "description": "Ask jane.roe@example.org first."},
        [{"question": "Call +49 30 901820 now?", "options": ["mail joe@example.org", "no"]}],
    )
    policy = load_model(ROOT / "policies/pii.yaml", PiiPolicy)
    with Search(PlainEngine(policy, ROOT), None, b"0" * 32) as search:
        tally = scan.examine(tmp_path, "colours", policy, search)
    assert tally.found["EMAIL_ADDRESS"] == 2 and tally.found["PHONE_NUMBER"] == 1
    blocked = replace(tally, found=tally.found + type(tally.found)({"API_KEY": 1}), problems=1)
    codes = [found.code for found in scan.findings("colours", policy, blocked)]
    assert codes == ["PII_BLOCKED", "PII_UNSCANNED"]
    assert scan.findings("colours", policy, tally) == ()
