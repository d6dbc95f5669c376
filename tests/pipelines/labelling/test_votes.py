"""Votes come back as they were given, by whichever tool, or the file is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from governance.base.errors import InputError
from pipelines.agreement.reading import Columns
from pipelines.agreement.reading import read as read_ratings
from pipelines.labelling import tasks, votes
from pipelines.labelling.tasks import first_is_left
from tests import fuzzing
from tests.pipelines.labelling.made import KEY, exported, label_studio

CHOSEN = ["left", "right", "tie", "left", "left", "right"]


def saved(path: Path, rows: Any) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_a_vote_for_a_side_is_a_vote_for_the_model_that_stood_there(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    assert len({first_is_left(KEY, task.item) for task in folder.tasks}) == 2
    read = votes.read(saved(tmp_path / "ls.json", label_studio(tmp_path, CHOSEN)), folder, KEY)
    records = list(votes.records(folder, read.votes, KEY))
    for task, choice, record in zip(folder.tasks, CHOSEN, records, strict=True):
        (rating,) = record["ratings"]
        taken = {"left": task.left, "right": task.right, "tie": None}[choice]
        value = int(rating["value"])
        assert (record["completions"][value - 1] if value else None) == taken
        assert [text.split()[0] for text in record["completions"]] == ["one", "two"]


def test_raters_have_pseudonyms_and_a_time(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    rows = label_studio(tmp_path, CHOSEN, {"id": 4, "email": "ann@example.org"})
    (first, *_) = votes.read(saved(tmp_path / "ls.json", rows), folder, KEY).votes
    assert first.rater == KEY.rater_name("4") and first.seconds == 12.5


def test_the_votes_are_read_by_agreement(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    files = [
        (path := saved(tmp_path / f"{rater}.json", label_studio(tmp_path, CHOSEN, rater)),
         votes.read(path, folder, KEY))
        for rater in (1, 2)
    ]  # fmt: skip
    joined = votes.joined(files)
    lines = [json.dumps(row) for row in votes.rows(folder, joined.votes, KEY)]
    (tmp_path / "votes.jsonl").write_text("\n".join(lines), encoding="utf-8")
    columns = Columns(
        item=("item",), rater="rater", value="vote", position="stood_first", seconds="seconds"
    )
    panel = read_ratings(tmp_path / "votes.jsonl", columns, "nominal").panel
    assert panel.codes.shape == (6, 2) and (panel.codes[:, 0] == panel.codes[:, 1]).all()
    with pytest.raises(InputError, match="second vote"):
        votes.joined([files[0], files[0]])


def _cancel(rows: list[Any]) -> None:
    rows[0]["annotations"][0]["was_cancelled"] = True


def test_a_cancelled_annotation_is_counted(tmp_path: Path) -> None:
    folder, rows = exported(tmp_path), label_studio(tmp_path, CHOSEN)
    _cancel(rows)
    read = votes.read(saved(tmp_path / "ls.json", rows), folder, KEY)
    assert (len(read.votes), read.cancelled) == (5, 1)


SPOILED: dict[str, Callable[[list[Any]], None]] = {
    "another item": lambda rows: rows[0]["data"].update(item="f" * 32),
    "other texts": lambda rows: rows[0]["data"].update(left="something else"),
    "swapped": lambda rows: rows[0]["data"].update(
        left=rows[0]["data"]["right"], right=rows[0]["data"]["left"]
    ),
    "no rater": lambda rows: rows[0]["annotations"][0].pop("completed_by"),
    "no choice": lambda rows: rows[0]["annotations"][0].update(result=[]),
    "another choice": lambda rows: rows[0]["annotations"][0]["result"][0]["value"].update(
        choices=["both"]
    ),
    "twice": lambda rows: rows[0]["annotations"].append(rows[0]["annotations"][0]),
    "lead time": lambda rows: rows[0]["annotations"][0].update(lead_time="long"),
    "min": lambda rows: rows[0].update(annotations=None),
    "not a task": lambda rows: rows.append(7),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_export_is_refused(name: str, tmp_path: Path) -> None:
    folder, rows = exported(tmp_path), label_studio(tmp_path, CHOSEN)
    SPOILED[name](rows)
    with pytest.raises(InputError) as refused:
        votes.read(saved(tmp_path / "ls.json", rows), folder, KEY)
    assert "something else" not in str(refused.value)


def test_any_other_file_is_read_or_refused(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    data = json.dumps(label_studio(tmp_path, CHOSEN)).encode()
    path = tmp_path / "other.json"
    for chance in fuzzing.cases(60):
        path.write_bytes(fuzzing.other_bytes(data, chance))
        _read_or_refused(path, folder)
    for chance in fuzzing.cases(60):
        rows = label_studio(tmp_path, CHOSEN)
        _spoil(rows, chance)
        _read_or_refused(saved(path, rows), folder)


def _spoil(rows: list[Any], chance: Random) -> None:
    place = chance.choice([each for each in fuzzing.places(rows) if each])
    fuzzing.within(rows, place[:-1])[place[-1]] = fuzzing.other_value(
        fuzzing.within(rows, place), chance
    )


def _read_or_refused(path: Path, folder: tasks.Folder) -> None:
    try:
        for vote in votes.read(path, folder, KEY).votes:
            assert vote.item in {task.item for task in folder.tasks}
    except InputError:
        pass


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [(tasks.TASKS, "one", "two"), (tasks.SAMPLE, "rule", "role"), (tasks.SAMPLE, "{", "[")],
)
def test_a_folder_that_was_changed_is_refused(
    file: str, old: str, new: str, tmp_path: Path
) -> None:
    exported(tmp_path)
    content = (tmp_path / file).read_text(encoding="utf-8")
    (tmp_path / file).write_text(content.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError):
        tasks.read(tmp_path)
