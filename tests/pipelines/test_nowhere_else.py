"""Personal data stands in the source, in the records as ingested, and nowhere else: values are
planted in every part of a source that can hold text, the data stages run and are refused, and then
everything that was written is searched.

`MAY_HOLD` is the whole list of what may have them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project
from tests.searching import Searcher

MAY_HOLD = (
    "data/source/leak_*",
    "data/ingested/leak_*/records",
)
"""Below the project: sources, and records before the scan. DVC's cache has the same files, and git
none of them.
"""

NAME, MAIL, PHONE = "Quorvath", "zyxquell", "5558943"
SPACED, KEY, ADDRESS, NUMBER = "555 8943", "Zk7QpV3xW9", "Vexholm", "48213977"
HIDDEN, RATER, COLUMN, FILE = "qumbrel", "ratorquist", "Columbrant", "Filigrast"
VALUES = (NAME, MAIL, PHONE, SPACED, KEY, ADDRESS, NUMBER, HIDDEN, RATER, COLUMN, FILE)
PLAIN = (
    f"I am Mrs. Wilhelmina {NAME}, {MAIL}.w@example.com, call +1 415 {SPACED} or +1415{PHONE}. "
    f"My key is sk-proj-{KEY}aB4cD5eF6gH7iJ8kL9mN0. I live at 4711 {ADDRESS} Lane, Dayton, OH 45402."
    f" Medical record number {NUMBER}."
)
DISGUISED = (
    f"Write to {HIDDEN} dot w at example dot com, or to "
    f"{base64.b64encode(f'mail {HIDDEN}.w@example.com now'.encode()).decode()}, "
    f"or https://example.com/?to={HIDDEN}.w%40example.com."
)


def said(user: str, assistant: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": user},
            {"role": "assistant", "content": assistant, **more},
        ]
    }


def conversations() -> Iterator[Any]:
    """Rows that become records, and rows that do not."""
    call = {
        "type": "function",
        "function": {"name": "look_up", "arguments": json.dumps({"q": PLAIN})},
    }
    for at in range(60):
        yield said(
            f"Where is parcel {at}? I ask for the {at}. time.", f"Parcel {at} is on its way."
        )
    yield said(f"Hello. {PLAIN}", "Thank you, I have noted it.")
    yield {
        **said("Which file is it?", "The second one."),
        f"Wilhelmina {COLUMN}": PLAIN,
        MAIL + "@x": 1,
    }
    yield said("Who wrote to us today?", f"It was this customer: {PLAIN}")
    yield said("What do you think of it?", "I cannot say yet.", thinking=f"They wrote: {PLAIN}")
    yield said("Please look it up for me.", "", tool_calls=[call])
    yield said(f"A riddle for you. {DISGUISED}", "I see what you mean.")
    yield {"messages": [{"role": f"{MAIL}.w@example.com", "content": "x"}]}
    yield {"messages": PLAIN}
    yield {"messages": [{"role": "user", "content": {MAIL: PLAIN}}]}
    yield {f"{MAIL}.w@example.com": PLAIN, f"Wilhelmina {COLUMN}": PLAIN}


def prompts() -> Iterator[Any]:
    for at in range(40):
        yield {
            "prompt": f"Which team takes case {at}?",
            "answer": f"team {at}",
            "hint": f"case {at}",
        }
    yield {"prompt": f"Who is this? {PLAIN}", "answer": PLAIN, "hint": PLAIN}


def ratings() -> Iterator[Any]:
    for at in range(8):
        for who in (f"{RATER}.a@example.com", f"{RATER}.b@example.com"):
            yield {
                "prompt": f"Which answer is better for case {at}?",
                "responses": ["Restart the router.", f"Ask {PLAIN}"],
                "rater": who,
                "preferred": 1 + at % 2,
                "comment": PLAIN,
            }


def write(path: Path, rows: Iterator[Any], end: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + end, encoding="utf-8")


def planted(project: Project) -> None:
    """Sources with values, their rows in params.yaml and their datacards."""
    source = project.root / "data/source"
    write(source / "leak_sft" / "a.jsonl", conversations(), f"{{not JSON: {PLAIN}\n")
    write(source / "leak_sft" / f"Wilhelmina {FILE}.jsonl", iter([said("Hi there", "Hello you")]))
    write(source / "leak_eval.jsonl", prompts())
    write(source / "leak_rated.jsonl", ratings())
    (source / "leak_bad.jsonl").write_bytes(b"\xff\xfe" + PLAIN.encode("utf-16-le"))
    kinds = {"leak_sft": "conversation", "leak_bad": "conversation", "leak_eval": "prompt"}
    kinds["leak_rated"] = "rated"

    def rows(params: Any) -> None:
        for name, kind in kinds.items():
            file = name if name == "leak_sft" else f"{name}.jsonl"
            row = {"kind": kind, "source": f"data/source/{file}", "suite": kind}
            params["datasets"][name] = {**row, "held_out": "desk_eval"}
        test = {"splits": {"train": 0, "test": 1}, "extra": {"hint": "hint"}}
        params["datasets"]["leak_eval"] |= test
        params["stages"]["sft"] |= {"data": "leak_sft"}

    project.edit("params.yaml", rows)
    cards = project.root / "policies/datacards"
    for name, kind in kinds.items():
        shutil.copy(cards / "desk_eval.yaml", cards / f"{name}.yaml")
        project.edit(
            f"policies/datacards/{name}.yaml", lambda card, kind=kind: card.update(suite=kind)
        )


def permit(project: Project) -> None:
    """What made the first runs fail."""
    permitted = {"max_share": 0.5, "ignored_fields": {"leak_sft": ["(odd name)"]}}
    project.edit("policies/policy.yaml", lambda policy: policy["ingest"].update(permitted))


def redact(project: Project) -> None:
    """Keys do not refuse the dataset."""
    key = {"action": "redact"}
    project.edit("policies/pii.yaml", lambda policy: policy["entities"]["API_KEY"].update(key))


def found_in(project: Project, *folders: Path) -> list[tuple[str, str]]:
    """Files with a value that may not have one."""
    may = {
        path
        for pattern in MAY_HOLD
        for place in project.root.glob(pattern)
        for path in (place, *place.rglob("*"))
    }
    cached = {hashlib.md5(path.read_bytes()).hexdigest() for path in may if path.is_file()}
    return [
        (path.as_posix(), value)
        for folder in folders
        for path, value in Searcher(VALUES).in_folder(folder)
        if path not in may and path.parent.name + path.name not in cached
    ]


@pytest.fixture
def project(before_training: Project, tmp_path: Path) -> Project:
    (tmp_path / "tmp").mkdir()
    project = before_training.copy(tmp_path)
    project = replace(project, environ={"TMPDIR": str(tmp_path / "tmp")})
    planted(project)
    return project


def told(project: Project, codes: set[int], *arguments: str) -> None:
    """A command that ends so; what it says is kept beside the project, to be searched."""
    done = project.countersign(*arguments)
    with (project.root.parent / "told.txt").open("a", encoding="utf-8") as stream:
        stream.write(f"{arguments[0]}: {done.code}\n{done.out}\n")
    assert done.code in codes, done.out


def data_stages(project: Project) -> None:
    """Failed, refused, and done."""
    told(project, {3}, "stage", "ingest", "leak_bad")
    told(project, {3, 4}, "stage", "ingest", "leak_rated")
    told(project, {4}, "stage", "ingest", "leak_sft")
    permit(project)
    told(project, {0}, "stage", "ingest", "leak_sft")
    told(project, {4}, "stage", "scan_pii", "leak_sft")
    redact(project)
    told(project, {0}, "stage", "scan_pii", "leak_sft")
    told(project, {0}, "stage", "check_quality", "leak_sft")
    told(project, {0}, "trace", "--subject", f"{MAIL}.w@example.com", "--exhaustive", "--json")


@pytest.mark.slow
def test_what_is_planted_is_in_sources_and_ingested_records_alone(project: Project) -> None:
    data_stages(project)
    folder = project.root.parent
    assert {value for _, value in Searcher(VALUES).in_folder(project.root / "data/source")} == set(
        VALUES
    )
    assert found_in(project, folder) == []
