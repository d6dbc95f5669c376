"""Reads what raters answered, and writes it as rated records and as votes.

1. A file is Label Studio's export (JSON: tasks with annotations), or the JSONL of the local page.
   The format is told by the file's first character.
2. Every vote must be of a task of this folder, and of the texts that were drawn. A file that has
   others, or two votes of one rater on one item, is refused: nothing is skipped but annotations
   that the rater cancelled, which are counted. On the local page the last vote of a rater counts.
3. Raters become pseudonyms under the project's record key. Messages never have their names.
4. Records and votes name the models' answers, not left and right: answer 1 is the first model's.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from governance.base.errors import InputError
from governance.base.model import Model
from pipelines.labelling.tasks import CHOICE, Choice, Folder, Task, first_is_left
from pipelines.record_ids import Key

TIE = "tie"
VALUES = {"first": 1, "second": 2, TIE: 0}
"""What a vote means to a `rated` record."""


class PageVote(Model):
    """One line of the local page's JSONL."""

    item: str
    rater: str
    """The pseudonym."""
    choice: Choice
    shown_first: Choice
    """Which of the task's answers stood on the left for this rater."""
    seconds: float
    at: datetime


@dataclass(frozen=True)
class Vote:
    """One rater's vote on one item."""

    item: str
    rater: str
    """The pseudonym."""
    choice: Choice
    """Of the task."""
    shown_first: Choice = "left"
    seconds: float | None = None
    at: str = ""


@dataclass(frozen=True)
class Votes:
    """What the files say."""

    votes: tuple[Vote, ...]
    cancelled: int = 0


def read(path: Path, folder: Folder, key: Key) -> Votes:
    """The votes of a file. Raises `InputError`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({type(error).__name__})", where=str(path)) from None
    if text.lstrip().startswith("["):
        return _label_studio(text, path, folder, key)
    return _page(text, path, folder)


def joined(each: Iterable[tuple[Path, Votes]]) -> Votes:
    """The votes of several files. Raises `InputError` where two have a vote of one rater on one
    item.
    """
    votes: dict[tuple[str, str], Vote] = {}
    cancelled = 0
    for path, one in each:
        for vote in one.votes:
            if (vote.item, vote.rater) in votes:
                found = f"a second vote of {vote.rater} on item {vote.item[:12]}"
                raise InputError(found, where=str(path), fix="give each file once")
            votes[vote.item, vote.rater] = vote
        cancelled += one.cancelled
    return Votes(tuple(votes.values()), cancelled)


# --- Label Studio ---------------------------------------------------------------------------------


def _label_studio(text: str, path: Path, folder: Folder, key: Key) -> Votes:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=str(path), expected="Label Studio's JSON") from None
    tasks = {task.item: task for task in folder.tasks}
    votes: dict[tuple[str, str], Vote] = {}
    cancelled = 0
    for at, row in enumerate(rows):
        where = f"{path}: task {at + 1}"
        task = _task(row, tasks, where)
        for annotation in _list_of(row.get("annotations"), f"{where}: annotations"):
            if annotation.get("was_cancelled"):
                cancelled += 1
                continue
            vote = _annotation(annotation, task, key, where)
            if (vote.item, vote.rater) in votes:
                raise InputError(f"a second annotation of {vote.rater}", where=where)
            votes[vote.item, vote.rater] = vote
    return Votes(tuple(votes.values()), cancelled)


def _task(row: Any, tasks: Mapping[str, Task], where: str) -> Task:
    """(2) The task of a row, if its texts are those that were drawn."""
    data = row.get("data") if isinstance(row, dict) else None
    item = data.get("item") if isinstance(data, dict) else None
    task = tasks.get(item) if isinstance(item, str) else None
    if task is None or not isinstance(data, dict):
        fix = "give the folder that was exported for this labelling"
        raise InputError("not a task of this folder", where=where, fix=fix)
    if any(data.get(name) != value for name, value in task.model_dump().items()):
        raise InputError("prompt or answers are not those that were drawn", where=where)
    return task


def _list_of(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        fix = "export from Label Studio as JSON, not JSON-MIN"
        raise InputError("not a list of objects", where=where, fix=fix)
    return value


def _annotation(annotation: dict[str, Any], task: Task, key: Key, where: str) -> Vote:
    """One annotation. `completed_by` is an account's number, or an object with it."""
    by = annotation.get("completed_by")
    number = by.get("id", by.get("email")) if isinstance(by, dict) else by
    if not isinstance(number, int | str) or isinstance(number, bool) or number == "":
        raise InputError("an annotation names no rater", where=where, expected="completed_by")
    seconds = annotation.get("lead_time")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise InputError("lead_time is no number", where=where, expected="seconds")
    return Vote(
        item=task.item,
        rater=key.rater_name(str(number)),
        choice=_choice(annotation.get("result"), where),
        seconds=None if seconds is None else float(seconds),
        at=str(annotation.get("created_at", ""))[:40],
    )


def _choice(result: Any, where: str) -> Choice:
    chosen = [
        each["value"]["choices"]
        for each in _list_of(result, f"{where}: result")
        if each.get("from_name") == CHOICE
        and isinstance(each.get("value"), dict)
        and isinstance(each["value"].get("choices"), list)
    ]
    known: tuple[Choice, ...] = ("left", "right", "tie")
    for choice in known:
        if chosen == [[choice]]:
            return choice
    expected = f"one choice `{CHOICE}`: left, right or tie (label.xml)"
    raise InputError("an annotation without its choice", where=where, expected=expected)


# --- the local page -------------------------------------------------------------------------------


def _page(text: str, path: Path, folder: Folder) -> Votes:
    items = {task.item for task in folder.tasks}
    votes: dict[tuple[str, str], Vote] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            one = PageVote.model_validate_json(line)
        except ValidationError:
            expected = "a vote of the local page, or Label Studio's JSON"
            raise InputError("not a vote", where=f"{path}:{number}", expected=expected) from None
        if one.item not in items:
            raise InputError("not an item of this folder", where=f"{path}:{number}")
        at = one.at.isoformat()
        vote = Vote(one.item, one.rater, one.choice, one.shown_first, one.seconds, at)
        votes[one.item, one.rater] = vote
    return Votes(tuple(votes.values()))


# --- what is written ------------------------------------------------------------------------------


def answer_of(choice: Choice, *, first_left: bool) -> str:
    """(4) `first`, `second` or `tie`, from left and right."""
    if choice == "tie":
        return TIE
    return "first" if (choice == "left") == first_left else "second"


def records(folder: Folder, votes: Sequence[Vote], key: Key) -> Iterator[dict[str, Any]]:
    """Rows of a `rated` dataset: an item that somebody rated, in the order of the tasks."""
    by_item: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    for task in folder.tasks:
        if not by_item[task.item]:
            continue
        first_left = first_is_left(key, task.item)
        answers = [task.left, task.right] if first_left else [task.right, task.left]
        ratings = [
            _rating(vote, first_left=first_left)
            for vote in sorted(by_item[task.item], key=lambda vote: vote.rater)
        ]
        yield {"prompt": task.prompt, "completions": answers, "ratings": ratings}


def _rating(vote: Vote, *, first_left: bool) -> dict[str, Any]:
    """One rating, with the answer that stood first, and how long it took where that is known."""
    rating: dict[str, Any] = {
        "rater": vote.rater,
        "value": VALUES[answer_of(vote.choice, first_left=first_left)],
        "first": VALUES[answer_of(vote.shown_first, first_left=first_left)],
    }
    return rating if vote.seconds is None else {**rating, "seconds": vote.seconds}


def rows(folder: Folder, votes: Sequence[Vote], key: Key) -> Iterator[dict[str, Any]]:
    """A row for each vote, as `countersign agreement` reads them: which model's answer was taken,
    which stood first, and how long it took.
    """
    for vote in sorted(votes, key=lambda vote: (vote.item, vote.rater)):
        first_left = first_is_left(key, vote.item)
        yield {
            "item": vote.item,
            "rater": vote.rater,
            "vote": answer_of(vote.choice, first_left=first_left),
            "stood_first": answer_of(vote.shown_first, first_left=first_left),
            "seconds": vote.seconds,
            "at": vote.at,
        }
