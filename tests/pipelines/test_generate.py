"""Rows of `generate`: mistakes that are found before a run, and what ingest keeps of the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import InputError
from governance.machine.machine import machine
from pipelines.params import Dataset, Generate, Params, Release, broken_references
from pipelines.project import Project
from pipelines.record_ids import load_key
from pipelines.sources.ingest import ingest
from pipelines.sources.lineage import write_lineage
from pipelines.stages import generate
from tests.pipelines import gated
from tests.simulator import policies

ROW = {
    "kind": "pairs", "prompts": "tickets", "constitution": "desk", "generator": "sft",
    "judge": "reward",
}  # fmt: skip


def params(**changes: Any) -> Params:
    made = gated.params()
    row = Generate.model_validate({**ROW, **changes})
    source = {"source": "data/source/ai.jsonl"}
    datasets = {**made.datasets, "told": made.datasets["pairs"].model_copy(update=source)}
    return made.model_copy(update={"generate": {"ai": row}, "datasets": datasets})


def mistakes(root: Path, given: Params, environ: dict[str, str] | None = None) -> list[str]:
    (root / "params.yaml").write_text("generate: {ai: {}}\n")
    here = machine("desk", {"COUNTERSIGN_HOME": str(root), **(environ or {})})
    return [each.found for each in generate.unfit_rows(Project(root, given, policies(), here))]


def test_a_row_in_order_has_no_mistakes(tmp_path: Path) -> None:
    assert mistakes(tmp_path, params()) == []
    assert params().generated("told") == "ai" and params().generated("tickets") is None
    assert params().released_with("ai") == ["support-desk"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"prompts": "chats"}, "chats has records of kind conversation"),
        ({"generator": "reward"}, "reward is a reward model"),
        ({"kind": "revisions"}, "reward is a reward model"),
    ],
)
def test_kinds_of_prompts_and_models_must_fit(
    tmp_path: Path, changes: dict[str, Any], found: str
) -> None:
    (mistake,) = mistakes(tmp_path, params(**changes))
    assert mistake.startswith(found)


def test_a_folder_with_a_generated_file_is_no_source(tmp_path: Path) -> None:
    given = params()
    folder = given.datasets["text"].model_copy(update={"source": "data/source"})
    given = given.model_copy(update={"datasets": {**given.datasets, "text": folder}})
    (mistake,) = mistakes(tmp_path, given)
    assert "the folder that text reads" in mistake


def test_dvc_needs_the_table(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("foreach: ${generate}\n")
    assert mistakes(tmp_path, gated.params()) == [
        "dvc.yaml has the stage `generate`, and there is no table"
    ]
    (tmp_path / "dvc.yaml").write_text("policies/policy.yaml: [endpoints]\n")
    found = "dvc.yaml reads `endpoints`, and there is no such table"
    assert mistakes(tmp_path, params()) == [found] and mistakes(tmp_path, gated.params()) == []


def test_a_key_is_named_and_not_given(tmp_path: Path) -> None:
    given = params(endpoints={"judge": "frontier"})
    keys = {"COUNTERSIGN_ENDPOINT_KEYS": "frontier=sk-1"}
    assert len(mistakes(tmp_path, given, keys)) == 1
    assert mistakes(tmp_path, given) == []


@pytest.mark.parametrize("field", ["prompts", "generator", "judge"])
def test_a_row_names_what_there_is(tmp_path: Path, field: str) -> None:
    (tmp_path / "params.yaml").write_text("generate: {ai: {}}\n")
    (broken,) = broken_references(params(**{field: "nothing"}), tmp_path / "params.yaml")
    assert "nothing" in broken.found


# --- what ingest keeps ----------------------------------------------------------------------------
LINEAGE = {"parent": "a" * 32, "principle": "b" * 64, "template": "c" * 64, "judge": "d" * 64}


def taken(folder: Path, *lineages: Any) -> Any:
    rows = [
        {"prompt": f"q{at}", "chosen": "yes", "rejected": "no", "lineage": lineage}
        for at, lineage in enumerate(lineages)
    ]
    source = folder / "ai.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    dataset = Dataset(kind="preference", source="ai.jsonl", suite="preference", held_out="ai")
    key = load_key(folder, gated.params().records)
    tally, _ = ingest(source, dataset, key, folder / "records", generated=True)
    return tally


def test_ingest_keeps_what_a_record_was_made_from_beside_it(tmp_path: Path) -> None:
    tally = taken(tmp_path, LINEAGE, {**LINEAGE, "parent": "e" * 32})
    assert not tally.unused and len(tally.lineage) == 2
    write_lineage(tmp_path / "lineage.jsonl", tally.lineage)
    rows = [json.loads(line) for line in (tmp_path / "lineage.jsonl").read_text().splitlines()]
    assert {row["parent"] for row in rows} == {"a" * 32, "e" * 32}
    assert {row["id"] for row in rows} == tally.lineage.keys()


@pytest.mark.parametrize(
    "odd", [None, "text", {}, {**LINEAGE, "parent": "jane@example.org"}, {**LINEAGE, "more": "x"}]
)
def test_a_lineage_that_is_none_leaves_its_row_out(tmp_path: Path, odd: Any) -> None:
    tally = taken(tmp_path, LINEAGE, odd)
    assert [each.reason for each in tally.excluded] == ["FIELD_MISSING"]
    with pytest.raises(InputError):
        taken(tmp_path / "..", odd)


# -- Prompts that are generated, too ---------------------------------------------------------------
def prompted(suite: str = "eval", prompts: str = "eval", **questions: str) -> Params:
    """`reward` writes the prompts `asked`, from which `base` writes `told`, on which dpo trains."""
    made = gated.params()
    written = {
        "asked": {"kind": "prompt", "source": "data/source/questions.jsonl"},
        "told": {"kind": "preference", "source": "data/source/answers.jsonl"},
    }
    datasets = {
        name: {**row, "suite": row["kind"], "held_out": "eval"} for name, row in written.items()
    }
    rows = {
        "questions": {**ROW, "prompts": prompts, "generator": "sft", **questions},
        "answers": {**ROW, "prompts": "asked", "generator": "base", "judge": "base"},
    }
    changed = {"data": "told", "suite": suite}
    return made.model_copy(
        update={
            "datasets": {
                **made.datasets,
                **{name: Dataset.model_validate(row) for name, row in datasets.items()},
            },
            "generate": {name: Generate.model_validate(row) for name, row in rows.items()},
            "stages": {**made.stages, "dpo": made.stages["dpo"].model_copy(update=changed)},
            "suites": {**made.suites, suite: made.suites["eval"]},
            "releases": {name: Release(stage=name) for name in ("dpo", "base")},
        }
    )


def test_who_writes_prompts_is_behind_what_is_trained_on_the_answers() -> None:
    given = prompted()
    assert given.released_from("reward") == ["dpo"]
    assert given.released_with("questions") == given.released_with("answers") == ["dpo"]


@pytest.mark.parametrize(
    "given",
    [
        prompted(prompts="told"),  # prompts that are made from the answers to them
        prompted(generator="dpo"),  # a model that writes its own prompts
    ],
)
def test_what_is_made_from_itself_is_refused(given: Params, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("generate: {}\n", encoding="utf-8")
    assert broken_references(prompted(), path) == []
    (broken,) = broken_references(given, path)
    assert "generate@questions" in broken.found and "build on each other" in broken.found


def test_a_suite_that_models_of_the_project_write_is_refused(tmp_path: Path) -> None:
    """All data is compared with it before those models are trained."""
    (tmp_path / "params.yaml").write_text("generate: {}\n", encoding="utf-8")
    (broken,) = broken_references(prompted(suite="asked"), tmp_path / "params.yaml")
    assert "writes the suite asked" in broken.found and "questions.jsonl" in broken.fix
