"""`countersign agreement`: every shape of file, away from any project; what is wrong is named."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from governance.base.errors import ConfigError, CountersignError, InputError
from pipelines.commands.agreement import command

RATERS = ("ann", "bo", "cy")
LONG = ("--item", "item", "--rater", "who", "--value", "vote")
WIDE = ("--raters", "ann,bo,cy")


def votes(items: int = 60, seed: int = 8) -> list[dict[str, Any]]:
    """Rows with a column for each rater; each is right nine times in ten, and one vote is lacking."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for at in range(items):
        truth = int(rng.integers(1, 4))
        row = {name: truth if rng.random() < 0.9 else int(rng.integers(1, 4)) for name in RATERS}
        topic = "even" if at % 2 == 0 else "odd"
        rows.append({"item": f"q{at}", "topic": topic, "truth": truth, **row})
    rows[5]["bo"] = None
    return rows


def single(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same votes, one in a row."""
    return [
        {"item": row["item"], "topic": row["topic"], "who": name, "vote": row[name]}
        for row in rows
        for name in RATERS
        if row[name] is not None
    ]


def written(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"votes{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    elif suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def ran(path: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [str(path), *options, "--samples", "200", "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    shown: dict[str, Any] = json.loads(result.output)
    return shown


def failed(path: Path, *options: str) -> CountersignError:
    error = CliRunner().invoke(command, [str(path), *options]).exception
    assert isinstance(error, CountersignError), error
    return error


def test_every_format_and_shape_gives_the_same_figures(tmp_path: Path) -> None:
    shown = [
        ran(written(tmp_path, suffix, shape), *options, "--slice", "topic")
        for suffix in (".jsonl", ".json", ".csv", ".parquet")
        for shape, options in ((votes(), WIDE), (single(votes()), LONG))
    ]
    figures = [{name: each[name] for name in each if name != "file"} for each in shown]
    assert all(each == figures[0] for each in figures)
    first = figures[0]
    assert (first["items"], first["ratings"], list(first["raters"])) == (60, 179, list(RATERS))
    assert first["slices"]["topic"]["odd"]["items"] == 30
    alpha = first["pool"]["alpha"]
    assert 0.5 < alpha["low"] < alpha["value"] < alpha["high"] < 1
    assert first["findings"] == [] and first["without"] is None


def test_it_runs_outside_of_any_project(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv", votes())
    program = [sys.executable, "-c", "from pipelines.cli import main; main()"]
    done = subprocess.run(
        [*program, "agreement", path.name, *WIDE], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Krippendorff's alpha" in done.stdout and "no rater stands out" in done.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_bad_rater_is_named_and_figures_without_them_are_shown(tmp_path: Path) -> None:
    others = votes(100, seed=9)
    rows = [
        {**row, "dee": 1, "eve": other["ann"] if at % 10 == 0 else row["truth"]}
        for at, (row, other) in enumerate(zip(votes(100), others, strict=True))
    ]
    path = written(tmp_path, ".jsonl", rows)
    shown = ran(path, "--raters", "ann,bo,cy,dee,eve")
    assert {(each["code"], each["subject"]) for each in shown["findings"]} == {
        ("RATER_SAME_ANSWER", "rater dee"),
        ("RATER_DISAGREES", "rater dee"),
    }
    assert shown["left_out"] == ["dee"]
    assert shown["without"]["pool"]["alpha"]["low"] > shown["pool"]["alpha"]["high"]
    asked = ran(path, "--raters", "ann,bo,cy,dee,eve", "--exclude", "eve,dee")
    assert asked["left_out"] == ["eve", "dee"]
    assert asked["without"]["raters"].keys() == set(RATERS)
    text = CliRunner().invoke(command, [str(path), "--raters", "ann,bo,cy,dee,eve"]).output
    assert "without dee" in text and "RATER_SAME_ANSWER  rater dee" in text


@pytest.mark.parametrize("shape", ["wide", "long"])
def test_position_and_seconds_are_read(tmp_path: Path, shape: str) -> None:
    """cy always chooses what stood first, and bo takes a second."""
    rng = np.random.default_rng(4)
    rows = []
    for at in range(120):
        first = {f"{name}_first": int(rng.integers(1, 3)) for name in RATERS}
        truth = int(rng.integers(1, 3))
        seconds = {f"{name}_s": float(rng.integers(20, 40)) for name in RATERS} | {"bo_s": 1.0}
        rows.append(
            {"item": at, "ann": truth, "bo": truth, "cy": first["cy_first"]} | first | seconds
        )
    options = (*WIDE, "--position", "{rater}_first", "--seconds", "{rater}_s")
    if shape == "long":
        rows = [
            {"item": row["item"], "who": name, "vote": row[name]}
            | {"first": row[f"{name}_first"], "s": row[f"{name}_s"]}
            for row in rows
            for name in RATERS
        ]
        options = (*LONG, "--position", "first", "--seconds", "s")
    found = ran(written(tmp_path, ".csv", rows), *options)["findings"]
    accused = {(each["code"], each["subject"]) for each in found}
    assert {("RATER_FOLLOWS_POSITION", "rater cy"), ("RATER_TOO_FAST", "rater bo")} <= accused
    assert {subject for _, subject in accused} == {"rater bo", "rater cy"}


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...], type[CountersignError], str]] = {
    "no such column": ({}, ("--raters", "ann,bob"), ConfigError, "did you mean 'bo'?"),
    "one rater": ({}, ("--raters", "ann"), ConfigError, "--raters names 1"),
    "half a shape": ({}, ("--item", "item"), ConfigError, "belong together"),
    "a list": ({"bo": [1]}, WIDE, InputError, "votes.jsonl:3: column bo holds list"),
    "a text at a level of numbers": (
        {"bo": "x"},
        (*WIDE, "--kind", "ordinal"),
        InputError,
        "no number",
    ),
    "below zero": ({"bo": -1}, (*WIDE, "--kind", "ratio"), InputError, "negative"),
    "not a rater": ({}, (*WIDE, "--exclude", "dee"), ConfigError, "no rater 'dee'"),
    "too few remain": ({}, (*WIDE, "--exclude", "ann,bo"), ConfigError, "1 raters would remain"),
    "seconds of text": (
        {"topic": 3},
        (*WIDE, "--seconds", "topic"),
        InputError,
        "number of seconds",
    ),
    "position of nothing": ({}, (*WIDE, "--position", "topic"), InputError, "none of the ratings"),
    "many slices": ({}, (*WIDE, "--slice", "item"), InputError, "at most 50 slices"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    change, options, error, message = WRONG[case]
    rows = votes()
    rows[2] |= change
    found = failed(written(tmp_path, ".jsonl", rows), *options)
    assert type(found) is error and message in str(found)


def test_a_second_rating_of_one_item_is_refused(tmp_path: Path) -> None:
    rows = single(votes())
    found = failed(written(tmp_path, ".jsonl", [*rows, rows[3]]), *LONG)
    assert isinstance(found, InputError) and found.where.endswith(f":{len(rows) + 1}")
    moved = [*rows[:3], {**rows[3], "topic": "odd"}, {**rows[4], "topic": "even"}, *rows[5:]]
    assert "another slice" in str(
        failed(written(tmp_path, ".jsonl", moved), *LONG, "--slice", "topic")
    )


def test_a_broken_row_is_not_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, ".jsonl", votes())
    path.write_text(path.read_text() + "[1]\n")
    assert "ROW_NOT_OBJECT" in str(failed(path, *WIDE))


def test_numbers_and_their_texts_are_one_rating(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": "1.0"}, {"a": 0, "b": "0"}, {"a": "tie", "b": " tie "}] * 10
    shown = ran(written(tmp_path, ".jsonl", rows), "--raters", "a,b")
    assert shown["pool"]["agreement"]["value"] == 1
    names = [{"a": "007", "b": 7}, {"a": "x", "b": "x"}] * 10
    shown = ran(written(tmp_path, ".jsonl", names), "--raters", "a,b")
    assert shown["pool"]["agreement"]["value"] == 0.5


PAIRS = ("--item", "question,turn", "--pair", "model_a,model_b", "--rater", "judge")


def test_choices_between_two_are_read_in_either_order(tmp_path: Path) -> None:
    """Rows as MT-Bench has them. The last judge sees each pair in the other order, and always
    chooses what stands first.
    """
    rng, rows = np.random.default_rng(2), []
    for at in range(80):
        better = ("vicuna", "gpt-4", "tie")[int(rng.integers(3))]
        for judge in ("h1", "h2", "h3", "bot"):
            models = ("vicuna", "gpt-4") if judge != "bot" else ("gpt-4", "vicuna")
            names = {"model_a": models[0], "model_b": models[1]}
            winner = {models[0]: "model_a", models[1]: "model_b"}.get(better, "tie")
            winner = "model_a" if judge == "bot" else winner
            rows.append(
                {"question": at // 2, "turn": at % 2, **names, "judge": judge} | {"w": winner}
            )
    shown = ran(written(tmp_path, ".jsonl", rows), *PAIRS, "--value", "w", "--exclude", "bot")
    assert (shown["items"], shown["ratings"]) == (80, 320)
    assert shown["without"]["pool"]["alpha"]["value"] == 1
    assert {each["subject"] for each in shown["findings"]} == {"rater bot"}
    assert "RATER_FOLLOWS_POSITION" in {each["code"] for each in shown["findings"]}
    named = [{**row, "w": row[row["w"]] if row["w"] != "tie" else "tie"} for row in rows]
    again = ran(written(tmp_path, ".json", named), *PAIRS, "--value", "w")
    assert again["pool"] == shown["pool"]
    rows[7]["model_b"] = rows[7]["model_a"]
    path = written(tmp_path, ".csv", rows)
    assert "with itself" in str(failed(path, *PAIRS, "--value", "w"))


def test_a_batch_that_drifts_and_a_group_that_is_overruled_are_named(tmp_path: Path) -> None:
    rows = [
        {**row, **{f"{name}{copy}": row["truth"] for name in RATERS for copy in range(2)}}
        for row in votes(400)
    ]
    rng = np.random.default_rng(3)
    raters = [f"{name}{copy}" for name in RATERS for copy in range(2)]
    for at, row in enumerate(rows):
        row["day"] = f"2026-03-0{1 + at // 100}"
        for name in raters:
            if rng.random() < 0.15:
                row[name] = int(rng.integers(1, 4))
        if at >= 300 and row["truth"] == 3:
            row |= dict.fromkeys(raters, 2)
    groups = tmp_path / "raters.csv"
    lines = [f"{name},{name[:-1]}," for name in raters]
    groups.write_text("\n".join(["rater,team,site", *lines]))
    path = written(tmp_path, ".jsonl", rows)
    named = ("--raters", ",".join(raters), "--batch", "day", "--groups", str(groups))
    shown = ran(path, *named)
    assert [(each["code"], each["subject"]) for each in shown["findings"]] == [
        ("GUIDELINE_DRIFTS", "batch 2026-03-04")
    ]
    assert shown["left_out"] == []
    (table,) = shown["overruled"].values()
    assert list(table) == ["(small groups)"] and table["(small groups)"]["raters"] == 6
    disputes = shown["disputes"]
    assert sum(disputes.values()) == 400 and disputes["unanimous"] < 250
    text = CliRunner().invoke(command, [str(path), *named]).output
    assert "team: overruled" in text and "not looked for: raters who follow position" in text


def test_an_item_can_be_rated_in_several_batches(tmp_path: Path) -> None:
    rows = [{**row, "day": day} for day in ("d1", "d2") for row in single(votes(40))]
    for row in rows[len(rows) // 2 :]:
        row["vote"] = 1 if row["vote"] == 2 else row["vote"]
    shown = ran(written(tmp_path, ".jsonl", rows), *LONG, "--batch", "day")
    (found,) = shown["findings"]
    assert (found["code"], found["subject"]) == ("GUIDELINE_DRIFTS", "batch d2")
    assert found["found"].endswith("40 items rated in both") and shown["items"] == 80
