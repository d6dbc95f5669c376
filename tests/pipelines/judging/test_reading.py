"""Every shape of file is read as its authors mean it; a spoiled file is an error with its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from governance.base.errors import ConfigError, CountersignError, InputError
from pipelines.commands.judge import command
from pipelines.judging.reading import read, read_all

Row = dict[str, Any]


def alpaca(at: int, preference: float | None, **more: Any) -> Row:
    """The answer of `m` is longer for even questions."""
    return {
        "instruction": f"question {at}", "output_1": "a" * 10, "generator_1": "base",
        "output_2": "b" * (20 if at % 2 == 0 else 5), "generator_2": "m", "annotator": "judge",
        "preference": preference, "price_per_example": 0.25, **more,
    }  # fmt: skip


def pair(at: int, first: str, second: str, **more: Any) -> Row:
    games = {"g1_winner": first, "g2_winner": second}
    who = {"model_1": "m", "model_2": "n", "judge": ["gpt-4", "pair-v2"]}
    return {"question_id": at, **who, **games, "g1_judgment": "[[A]]", "turn": 1, **more}


def arena(at: int, winner: str, **more: Any) -> Row:
    def talk(text: str) -> list[Row]:
        return [{"role": "user", "content": "x"}, {"role": "assistant", "content": text}]

    return {
        "question_id": f"q{at}", "model_a": "m", "model_b": "n", "winner": winner,
        "conversation_a": talk("- one\n- two"), "conversation_b": talk("**one**"), **more,
    }  # fmt: skip


def single(at: int, model: str, score: float, turn: int = 1) -> Row:
    judge = ["gpt-4", "single-v1"]
    return {"question_id": at, "model": model, "judge": judge, "score": score, "turn": turn}


def written(folder: Path, rows: list[Row], suffix: str = ".jsonl") -> Path:
    path = folder / f"judged{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            for row in rows:
                values = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                writer.writerow(values)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def figures(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json", "--samples", "100")
    assert result.exception is None, result.output
    return json.loads(result.stdout)


def test_alpaca_eval(tmp_path: Path) -> None:
    said = [1, 2, 1.0, 2.0, 0, 1.5, 1.25, None]
    judged = read(written(tmp_path, [alpaca(at, each) for at, each in enumerate(said)], ".json"))
    assert [each.win for each in judged.battles] == [0, 1, 0, 1, 0.5, 0.5, 0.25, None]
    first = judged.battles[0]
    assert (first.first, first.second, first.price) == ("m", "base", 0.25)
    assert first.answers is not None
    assert [each.style.length for each in first.answers] == [20, 10]
    assert judged.has_baseline


def test_both_games_of_mt_bench(tmp_path: Path) -> None:
    """A win in one order and a loss in the other is a tie, as is a tie in one of them."""
    said = [
        ("model_1", "model_1"), ("model_2", "model_2"), ("model_1", "model_2"),
        ("tie", "model_1"), ("tie", "tie"), ("error", "model_1"),
    ]  # fmt: skip
    path = written(tmp_path, [pair(at, *each) for at, each in enumerate(said)])
    assert [each.win for each in read(path).battles] == [1, 0, 0.5, 0.5, 0.5, None]
    found = figures(path)
    assert found["judges"] == ["gpt-4 pair-v2"]
    assert found["orders"]["comparisons"] == 5
    assert (found["orders"]["consistent"], found["orders"]["first"]) == (3, 1)
    assert found["orders"]["rate"]["value"] == 0.6
    assert [each["rate"]["value"] for each in found["win_rates"]] == [0.5, 0.5]
    assert found["win_rates"][0]["no_verdict"] == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_battles_of_arena(tmp_path: Path, suffix: str) -> None:
    said = ["model_a", "model_b", "tie", "tie (bothbad)", "both_bad", "model_a"]
    path = written(tmp_path, [arena(at, each) for at, each in enumerate(said)], suffix)
    judged = read(path)
    assert [each.win for each in judged.battles] == [1, 0, 0.5, 0.5, 0.5, 1]
    first = judged.battles[0].answers
    assert first is not None
    assert [(each.style.lists, each.style.bold) for each in first] == [(2, 0), (0, 1)]
    found = figures(path, "--anchor", "n")
    assert found["ratings"]["models"]["n"]["value"] == 1000
    assert found["ratings"]["models"]["m"]["value"] == pytest.approx(
        1058.45, abs=0.01
    )  # odds of 3.5 to 2.5


def test_counts_of_arenas_metadata(tmp_path: Path) -> None:
    counts = {
        f"{name}_{side}": value
        for side in "ab"
        for name, value in {
            "header_count": {"h1": 1, "h2": 2}, "list_count": {"ordered": 4}, "bold_count": {"**": 5},
        }.items()
    }  # fmt: skip
    counts |= {"sum_assistant_a_tokens": 70, "sum_assistant_b_tokens": 80}
    (found,) = read(written(tmp_path, [arena(1, "model_a", conv_metadata=counts)])).battles
    assert found.answers is not None
    assert [each.style for each in found.answers] == [(70, 3, 4, 5), (80, 3, 4, 5)]


def test_one_hot_winners(tmp_path: Path) -> None:
    rows = [
        {"id": at, "model_a": "m", "model_b": "n", "response_a": '["one"]', "response_b": '["four"]',
         **{f"winner_{name}": int(name == won) for name in ("model_a", "model_b", "tie")}}
        for at, won in enumerate(["model_a", "tie", "model_b"])
    ]  # fmt: skip
    judged = read(written(tmp_path, rows, ".csv"))
    assert [each.win for each in judged.battles] == [1, 0.5, 0]
    assert judged.battles[0].answers is not None
    assert [each.style.length for each in judged.battles[0].answers] == [3, 4]


def test_scores_of_mt_bench(tmp_path: Path) -> None:
    """-1 is no score."""
    rows = [single(at, "m", 8, turn) for at in range(2) for turn in (1, 2)]
    rows += [single(0, "n", 4), single(1, "n", -1), single(1, "n", 5, 2)]
    found = figures(written(tmp_path, rows))["scores"]
    assert [(each["model"], each["mean"]["value"]) for each in found] == [("m", 8.0), ("n", 4.5)]
    assert found[1]["no_verdict"] == 1
    assert found[1]["turns"] == {"1": 4.0, "2": 5.0}


def test_difficulties_and_verdicts_of_alpaca_eval(tmp_path: Path) -> None:
    rows = [alpaca(at, 1 + (at * 7 % 10) / 9) for at in range(40)]
    path = written(tmp_path, rows, ".json")
    table = tmp_path / "df_gamed.csv"
    lines = [f"gamed,{at},{at % 2},{at % 5 - 2},{at % 3 - 1},False" for at in range(40)]
    head = "model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline"
    table.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    plain, known = figures(path), figures(path, "--difficulties", table)
    assert plain["length_controlled"]["m"]["difficulty"] is None
    assert known["length_controlled"]["m"]["difficulty"] is not None
    assert known["price"] == 10.0
    table.write_text("\n".join([head, *lines[:20]]) + "\n", encoding="utf-8")
    result = run(path, "--difficulties", table)
    assert isinstance(result.exception, ConfigError)
    table.write_text(f"{head}\n{lines[0].replace('gamed,0', 'gamed,x')}\n", encoding="utf-8")
    assert isinstance(run(path, "--difficulties", table).exception, InputError)


SPOILED: dict[str, tuple[list[Row], str, str]] = {
    "no known shape": ([{"a": 1}], "fields of no known shape: a", ""),
    "another shape": ([arena(1, "tie"), alpaca(2, 1)], "field model_a is missing", ":2"),
    "a word": ([arena(1, "model_c")], "field winner holds another word", ":1"),
    "a number": ([alpaca(1, 3)], "field preference is out of range", ":1"),
    "between": ([alpaca(1, 0.4)], "field preference lies between 0 and 1", ":1"),
    "true": ([alpaca(1, True)], "field preference is boolean", ":1"),
    "text": ([single(1, "m", 8) | {"score": "ten"}], "field score is text", ":1"),
    "no name": ([arena(1, "tie", model_a=None)], "field model_a is null", ":1"),
    "escapes": ([arena(1, "tie", model_a="m\x1b[2J")], "holds control characters", ":1"),
    "itself": ([arena(1, "tie", model_b="m")], "field model_b names the same model", ":1"),
    "twice": ([pair(1, "tie", "tie")] * 2, "it judges again what row 1", ":2"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_row_ends_the_reading(tmp_path: Path, name: str) -> None:
    rows, found, place = SPOILED[name]
    error = run(written(tmp_path, rows)).exception
    assert isinstance(error, InputError)
    assert found in str(error)
    assert place in str(error)
    assert error.exit_code == 3


def test_files_that_are_cut_off_or_empty(tmp_path: Path) -> None:
    path = written(tmp_path, [alpaca(at, 1) for at in range(3)], ".json")
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    assert isinstance(run(path).exception, CountersignError)
    path.write_text("[]", encoding="utf-8")
    assert "no rows" in str(run(path).exception)


def test_an_anchor_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [alpaca(at, 1 + at % 2) for at in range(4)], ".json")
    error = run(path, "--anchor", "bas").exception
    assert isinstance(error, ConfigError)
    assert "base" in str(error)


def test_files_of_different_kinds_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path, [single(1, "m", 8)])
    second = written(tmp_path, [alpaca(1, 1)], ".json")
    with pytest.raises(InputError, match="scores of single answers"):
        read_all([first, second])


def test_what_people_read(tmp_path: Path) -> None:
    said = [("model_1", "model_1")] * 20 + [("model_1", "model_2")] * 5
    path = written(tmp_path, [pair(at, *each) for at, each in enumerate(said)])
    output = run(path, "--samples", "100").output
    assert "25 questions, 25 comparisons; judge: gpt-4 pair-v2" in output
    assert "order consistency: 0.800" in output
    assert "the answer shown first won both times in 5, the second in 0" in output
    assert "m                     0.900" in output
    unrated = [pair(at, "model_1", "model_1") for at in range(3)]
    assert "rating: none; these models did not both win and lose" in run(
        written(tmp_path, unrated)
    ).output  # fmt: skip
