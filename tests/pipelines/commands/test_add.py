"""`countersign add`: a right guess, a row and a datacard that load, comments kept, nothing
overwritten.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.attest.digests import sha256_file
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.yaml import load_model, parse_yaml
from governance.policy.rules import Datacard, Rules
from pipelines.commands import add
from pipelines.commands.params_edit import flow, with_dataset
from pipelines.params import load_params
from tests.conftest import ROOT

PAIRS = [{"prompt": f"zanzibar {at}", "chosen": "mombasa", "rejected": "kilwa"} for at in range(5)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params.yaml with a data file beside it."""
    shutil.copy2(ROOT / "params.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / "policies/quality", tmp_path / "policies/quality")
    shutil.copy2(ROOT / "policies/policy.yaml", tmp_path / "policies/policy.yaml")
    (tmp_path / "My Pairs-2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*arguments: str) -> Result:
    result = CliRunner().invoke(add.command, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_row_and_a_datacard_are_written_and_everything_else_is_kept(project: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    said = json.loads(ran("My Pairs-2.jsonl", "--json").output)
    assert (said["name"], said["kind"], said["rows_tried"], said["problems"]) == (
        "my_pairs_2",
        "preference",
        5,
        {},
    )
    row = load_params(project).datasets["my_pairs_2"]
    assert (row.kind, row.source, row.suite, row.held_out) == (
        "preference",
        "My Pairs-2.jsonl",
        "preference",
        "desk_eval",
    )
    after = (project / "params.yaml").read_text()
    added = [line for line in after.splitlines() if "my_pairs_2" in line]
    assert len(added) == 1 and after.replace(f"{added[0]}\n", "") == before
    card = load_model(project / "policies/datacards/my_pairs_2.yaml", Datacard)
    assert card.suite == "preference"
    assert card.source_sha256 == sha256_file(project / "My Pairs-2.jsonl")
    assert card.blanks() == said["blanks"] and {
        "licence",
        "lawful_basis",
        "retention.until",
    } <= set(said["blanks"])
    assert said["next"] == [
        "fill in policies/datacards/my_pairs_2.yaml",
        "countersign repro check_quality@my_pairs_2",
    ]


def test_fields_that_no_record_keeps_are_written_to_policy_and_every_other_rule_stays(
    project: Path,
) -> None:
    policy = project / "policies/policy.yaml"
    before = policy.read_text()
    ran("My Pairs-2.jsonl")
    assert policy.read_text() == before, "no field is left out"
    extra = {"id": 7, "Anna <anna@example.com>": 1, "tags[0]": "x"}
    lines = [json.dumps({**row, **extra}) for row in PAIRS]
    (project / "wide.jsonl").write_text("\n".join(lines))
    said = json.loads(ran("wide.jsonl", "--json").output)
    permitted = ["(odd name)", "id", "tags[[]0]"]
    assert said["ignored_fields"] == permitted and "ignore" not in said["row"]
    ingest = load_model(policy, Rules).ingest
    assert ingest.ignored_fields == {"wide": permitted}
    assert ingest.not_permitted("wide", {"(odd name)": 5, "id": 5, "tags[0]": 5}) == {}
    assert ingest.not_permitted("other", {"id": 5}) == {"id": 5}
    changed = [line for line in policy.read_text().splitlines() if line not in before.splitlines()]
    assert len(changed) == 1 and changed[0].startswith("ingest: ")
    shown = ran("wide.jsonl", "--name", "again").output
    assert "ingest.ignored_fields.again" in shown and "anna" not in policy.read_text()


def test_the_list_of_fields_in_a_row_is_refused_with_its_new_place(project: Path) -> None:
    path = project / "params.yaml"
    ran("My Pairs-2.jsonl")
    text = path.read_text().replace('source: "My Pairs-2', 'ignore: [id], source: "My Pairs-2')
    path.write_text(text)
    with pytest.raises(ConfigError, match="`ignore` is now policy") as caught:
        load_params(project)
    assert '{"ignored_fields": {"my_pairs_2": ["id"]}}' in str(caught.value)


def test_text_is_shown_on_a_terminal_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "zanzibar" not in ran("My Pairs-2.jsonl", "--name", "a", "--json").output
    piped = ran("My Pairs-2.jsonl", "--name", "b").output
    assert (
        "zanzibar" not in piped and "record 3" in piped and "prompt / user: 10 characters" in piped
    )
    rows = add.first_rows(Path("My Pairs-2.jsonl"), "utf-8")
    binding = add.bind("preference", rows, {})
    lines = [
        line
        for record in add.tried_rows(binding, rows).records[: add.SHOWN]
        for line in add._lines(record, texts=True)
    ]
    assert "  prompt / user: zanzibar 0" in lines and len(lines) == 9
    assert add._text("a\x1b[2Jb\n" + "c" * 200, texts=True).startswith(
        "a [2Jb ccc"
    ) and "\x1b" not in add._text("\x1b", texts=True)


def test_nothing_is_overwritten(project: Path) -> None:
    ran("My Pairs-2.jsonl", "--name", "mine")
    once = [
        (project / name).read_bytes() for name in ("params.yaml", "policies/datacards/mine.yaml")
    ]
    with pytest.raises(ConfigError, match="already"):
        ran("My Pairs-2.jsonl", "--name", "mine")
    (project / "policies/datacards/mine.yaml").unlink()
    with pytest.raises(ConfigError, match="'mine' is there already"):
        ran("My Pairs-2.jsonl", "--name", "mine")
    assert (project / "params.yaml").read_bytes() == once[0]
    assert not (project / "policies/datacards/mine.yaml").exists()
    (project / "policies/datacards/other.yaml").write_text("title: mine\n")
    with pytest.raises(ConfigError, match="there is a datacard already"):
        ran("My Pairs-2.jsonl", "--name", "other")
    assert (project / "policies/datacards/other.yaml").read_text() == "title: mine\n"
    assert (project / "params.yaml").read_bytes() == once[0]


REFUSED: dict[str, tuple[list[str], type[CountersignError], str]] = {
    "no such file": (["nowhere.jsonl"], InputError, "no such file"),
    "rows of no kind": (["odd.jsonl"], InputError, "fit no known kind|known shape"),
    "a kind that does not fit": (
        ["My Pairs-2.jsonl", "--kind", "rated"],
        InputError,
        "no known shape of kind rated",
    ),
    "a field that is none": (
        ["My Pairs-2.jsonl", "--field", "promt=prompt"],
        ConfigError,
        "did you mean",
    ),
    "half a field": (["My Pairs-2.jsonl", "--field", "prompt"], ConfigError, "TARGET=SOURCE"),
    "no dataset to hold out": (["My Pairs-2.jsonl", "--held-out", "nobody"], ConfigError, "nobody"),
    "no such suite": (
        ["My Pairs-2.jsonl", "--suite", "preferense"],
        ConfigError,
        "did you mean 'preference'",
    ),
    "a suite for another kind": (
        ["My Pairs-2.jsonl", "--suite", "prompt"],
        ConfigError,
        "'prompt' is for prompt",
    ),
    "another encoding": (["latin.csv"], InputError, "--encoding cp1252"),
    "a name that is none": (["My Pairs-2.jsonl", "--name", "Not A Name"], ConfigError, "no name"),
    "a file without a name": (["123.jsonl"], ConfigError, "--name"),
    "an empty file": (["empty.jsonl"], InputError, "no rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_added_changes_nothing(project: Path, name: str) -> None:
    arguments, error, match = REFUSED[name]
    (project / "odd.jsonl").write_text('{"uhr": 1}\n')
    (project / "123.jsonl").write_text(json.dumps(PAIRS[0]) + "\n")
    (project / "empty.jsonl").write_text("")
    (project / "latin.csv").write_bytes("prompt,completion\ncafé,ja\n".encode("cp1252"))
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(error, match=match):
        ran(*arguments)
    assert (project / "params.yaml").read_bytes() == before and not (
        project / "policies/datacards"
    ).exists()


def test_a_source_outside_the_project_is_named_relative_to_it_with_a_hint(project: Path) -> None:
    outside = project.parent / f"{project.name}-outside.csv"
    outside.write_text("question,answer\n1+1?,2\n")
    try:
        said = json.loads(ran(str(outside), "--name", "sums", "--kind", "prompt", "--json").output)
    finally:
        outside.unlink()
    assert said["row"]["source"] == f"../{outside.name}" and "data/source" in said["next"][0]


def test_a_source_that_git_ignores_is_given_to_dvc(project: Path) -> None:
    own, hub = Path("data/source/My pairs.jsonl"), Path("data/source/desk_pref.jsonl")
    own.parent.mkdir(parents=True)
    for path in (own, hub):
        shutil.copy(project / "My Pairs-2.jsonl", path)
    steps = [
        json.loads(ran(str(path), "--name", name, "--json").output)["next"]
        for path, name in ((own, "own"), (hub, "again"))
    ]
    assert steps[0][0] == "dvc add 'data/source/My pairs.jsonl'"
    assert not any("dvc add" in step for step in steps[1])


@pytest.mark.parametrize("name", ["null", "true", "../x", "", "Pairs"])
def test_a_name_that_no_dataset_can_have_is_refused(name: str, project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(ConfigError, match="no name of a dataset"):
        ran("My Pairs-2.jsonl", "--name", name)
    assert (project / "params.yaml").read_bytes() == before


def test_fields_named_by_hand_reach_params(project: Path) -> None:
    (project / "turns.jsonl").write_text('{"turns": ["a", "b"], "ref": "r"}\n')
    ran("turns.jsonl", "--kind", "prompt", "--field", "prompt=turns.0", "--field", "answer=ref")
    assert load_params(project).datasets["turns"].fields == {"prompt": "turns.0", "answer": "ref"}


NAMES = [
    ("pairs.jsonl", "pairs"),
    ("v0.6-dedupe.json", "v0_6_dedupe"),
    ("My Data (1).csv", "my_data_1"),
]


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_a_file_names_its_dataset(file: str, name: str) -> None:
    assert add.slug(Path(file)) == name


SUITES = [
    # rows, arguments, the suite that fits
    ([{"question": "1+1?", "answer": "2"}], ["--kind", "prompt"], "prompt"),
    ([{"question": "why?"}], [], "question"),
    (
        [{"question": "a?", "answer": "b"}, {"question": "c?", "answer": None}],
        ["--kind", "prompt"],
        "prompt",
    ),
    ([{"text": "a tale"}], [], "text"),
    ([{"question": "why?"}], ["--suite", "prompt"], "prompt"),
]


@pytest.mark.parametrize(("rows", "arguments", "suite"), SUITES)
def test_the_suite_is_one_that_such_records_can_pass(
    project: Path, rows: list[dict[str, Any]], arguments: list[str], suite: str
) -> None:
    (project / "file.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert json.loads(ran("file.jsonl", "--json", *arguments).output)["row"]["suite"] == suite


LAYOUTS: dict[str, str] = {
    "block of flow rows": (
        "a: 1\ndatasets:\n  x: {k: 1}  # one\n\n  # two\n  y: {k: 2}\n\nafter: 1\n"
    ),
    "block rows": (
        "datasets:\n    x:\n        k: 1\n        l: [1,\n            2]\n# tail\nafter: {}\n"
    ),
    "last in the file, no line end": "a: 1\ndatasets:\n  x: {k: 1}",
    "empty flow": "datasets: {}  # none yet\nafter: 1\n",
    "flow": "datasets: {x: {k: 1}}\nafter: 1\n",
    "flow over lines": "datasets: {x: {k: 1},\n  y: {k: 2}\n  }\nafter: 1\n",
    "nothing": "datasets:\nafter: 1\n",
    "windows line ends": "datasets:\r\n  x: {k: 1}\r\nafter: 1\r\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_is_added_to_any_layout_and_no_line_of_the_file_is_lost(layout: str) -> None:
    text, row = (
        LAYOUTS[layout],
        {"kind": "prompt", "source": "a b/c:d.csv", "fields": {"prompt": "x"}, "n": "123"},
    )
    before, after = parse_yaml(text, ""), with_dataset(text, "new", row)
    assert parse_yaml(after, "") == {
        **before,
        "datasets": {**(before["datasets"] or {}), "new": row},
    }
    comments = [line for line in text.splitlines() if "#" in line and "{}" not in line]
    assert all(comment in after.splitlines() for comment in comments)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "a/b.jsonl",
        "../x",
        "a b",
        "1",
        "true",
        "null",
        "~",
        "-",
        "a: b",
        "x #y",
        "",
        "é",
        "2030-01-01",
        "[x",
    ],
)
def test_text_is_quoted_where_yaml_would_read_something_else(value: str) -> None:
    for form in (value, {"k": value}, [value, 1, None, True]):
        assert parse_yaml(f"v: {flow(form)}", "")["v"] == form


PUBLIC: dict[str, Any] = {
    "hh_rlhf/harmless-base-test.part.jsonl": ("preference", "two whole conversations"),
    "pandalm/testset-v1.part.json": ("rated", "two answers and raters"),
    "gsm8k/train.jsonl": ("conversation", "question and answer"),
    "llamafactory_demo/kto_en_demo.json": ("unpaired", "messages and label"),
    "xstest/xstest_prompts.csv": ("prompt", "question"),
    "pii_anon/test_technology.en.jsonl": ("conversation", "text"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_files_are_guessed_right(project: Path, public_data: Path, name: str) -> None:
    said = json.loads(ran(str(public_data / name), "--name", "x", "--json").output)
    assert (said["kind"], said["shape"]) == PUBLIC[name]
    usual = "text" if said["shape"] == "text" else said["kind"]
    assert said["row"]["suite"] == ("question" if name == "xstest/xstest_prompts.csv" else usual)
    assert load_params(project).datasets["x"].kind == said["kind"]


def test_evaluation_data_never_trains_and_has_its_suite(project: Path) -> None:
    rows = [{"question": f"zanzibar {at}", "answer": f"#### {at}"} for at in range(5)]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = ran("test.jsonl", "--evaluation", "--kind", "prompt").output
    params = load_params(project)
    row = params.datasets["test"]
    assert (row.held_out, row.splits.train, row.splits.test) == ("test", 0, 1)
    assert params.suites["test"].metrics == ["greedy_exact"]
    assert "policies/evaluation.yaml, suites.test" in said
    assert list(params.suites)[:-1] == list(load_params(ROOT).suites)


def test_what_no_metric_compares_models_on_is_no_evaluation_data(project: Path) -> None:
    Path("ask.jsonl").write_text('{"prompt": "zanzibar"}\n' * 5)
    before = Path("params.yaml").read_text()
    with pytest.raises(ConfigError, match="--metric greedy_refused"):
        ran("ask.jsonl", "--evaluation")
    for metric in ("greedy_exact", "loss", "sampled_refused", "nosuch"):
        with pytest.raises(ConfigError):
            ran("ask.jsonl", "--evaluation", "--metric", metric)
    assert Path("params.yaml").read_text() == before


def test_prompts_without_answers_are_evaluated_by_what_needs_none(project: Path) -> None:
    Path("ask.jsonl").write_text('{"prompt": "zanzibar"}\n' * 5)
    assert ran("ask.jsonl", "--evaluation", "--metric", "greedy_refused").exit_code == 0
    params = load_params(project)
    assert params.datasets["ask"].suite == "question"
    assert params.suites["ask"].metrics == ["greedy_refused"]


def test_a_datacard_begins_with_that_of_another_dataset(project: Path) -> None:
    shutil.copytree(ROOT / "policies/datacards", project / "policies/datacards")
    said = json.loads(ran("My Pairs-2.jsonl", "--card", "desk_sft", "--json").output)
    card = load_model(project / "policies/datacards/my_pairs_2.yaml", Datacard)
    other = load_model(project / "policies/datacards/desk_sft.yaml", Datacard)
    assert said["blanks"] == [] and (card.title, card.steward) == (other.title, other.steward)
    assert card.suite == "preference"
    assert card.source_sha256 == sha256_file(project / "My Pairs-2.jsonl")
    with pytest.raises(ConfigError, match="did you mean 'desk_sft'"):
        ran("My Pairs-2.jsonl", "--name", "more", "--card", "desk_sf")
