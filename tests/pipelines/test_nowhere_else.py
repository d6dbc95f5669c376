"""Personal data stands in the source, in the records as ingested, and nowhere else: values are
planted in every part of a source that can hold text, stages run and are refused, and then
everything that was written is searched. After an erasure it stands in the source alone.

1. In CI, the data stages run on many forms of values, with the ways in which they fail; and the
   whole chain of the small project is searched for the values of its sample.
2. At night, the whole chain runs on the many forms, with a suite that has them, too: training,
   evaluation, registration, report, exports, bundle, index of records, and an erasure.

`MAY_HOLD` is the whole list of what may have them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.erasing.rehearsal import PIPELINE, erase, governed, stages
from tests.project import Project
from tests.searching import Searcher

SOURCES = "data/source"
MAY_HOLD = (SOURCES, "data/ingested/*/records")
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
    for at in range(80):
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

    def more(policy: Any) -> None:
        policy["ingest"]["max_share"] = 0.5
        policy["ingest"]["ignored_fields"]["leak_sft"] = ["(odd name)"]

    project.edit("policies/policy.yaml", more)


def redact(project: Project) -> None:
    """Keys do not refuse the dataset."""
    key = {"action": "redact"}
    project.edit("policies/pii.yaml", lambda policy: policy["entities"]["API_KEY"].update(key))


def found_in(
    project: Project,
    *folders: Path,
    values: Iterable[str] = VALUES,
    may_hold: Iterable[str] = MAY_HOLD,
) -> list[tuple[str, str]]:
    """Files with a value that may not have one."""
    may = {
        path
        for pattern in may_hold
        for place in project.root.glob(pattern)
        for path in (place, *place.rglob("*"))
    }
    kept = {name for path in may if path.is_file() for name in _names(path.read_bytes())}
    return [
        (path.as_posix(), value)
        for folder in folders
        for path, value in Searcher(values).in_folder(folder)
        if path not in may and path.parent.name + path.name not in kept
    ]


def _names(data: bytes) -> Iterator[str]:
    """The object of DVC's cache with these bytes, and that of git."""
    yield hashlib.md5(data).hexdigest()
    yield hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def project(before_training: Project, tmp_path: Path) -> Project:
    (tmp_path / "tmp").mkdir()
    project = before_training.copy(tmp_path)
    project = replace(project, environ={"TMPDIR": str(tmp_path / "tmp"), "COUNTERSIGN_DEBUG": "1"})
    planted(project)
    return project


def told(project: Project, codes: set[int], *arguments: str) -> None:
    """A command that ends so; what it says is kept beside the project, to be searched. Its errors
    have tracebacks.
    """
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


def in_sources(project: Project, values: Iterable[str]) -> set[str]:
    """Those of the values that sources have."""
    return {value for _, value in Searcher(values).in_folder(project.root / SOURCES)}


@pytest.mark.slow
def test_what_is_planted_is_in_sources_and_ingested_records_alone(project: Project) -> None:
    data_stages(project)
    assert in_sources(project, VALUES) == set(VALUES)
    assert found_in(project, project.root.parent) == []


# --- the whole chain ------------------------------------------------------------------------------

SAMPLED = (
    "anna.weber", "j.miller", "7946 0123", "555 2671", "DE89370400440532013000",
    "GB29NWBK60161331926819", "4111 1111 1111", "5500 0000 0000", "Anna Weber", "James Miller",
    "192.0.2.17", "198.51.100.4",
)  # fmt: skip
"""Personal data of the small project's sample; `pipelines/desk.yaml`, from which it is made, has it
too.
"""


@pytest.mark.slow
def test_no_stage_up_to_the_report_writes_what_the_sample_has(small: Project) -> None:
    may = (*MAY_HOLD, "pipelines")
    assert in_sources(small, SAMPLED) == set(SAMPLED)
    assert found_in(small, small.root, small.home, values=SAMPLED, may_hold=may) == []


def evaluated_on_planted_prompts(project: Project) -> None:
    """The suite of the stage that is trained on the planted conversations has planted prompts."""

    def suite(params: Any) -> None:
        params["suites"]["leak_eval"] = deepcopy(params["suites"]["desk_eval"])
        params["stages"]["sft"] |= {"suite": "leak_eval"}
        params["datasets"].pop("leak_bad")

    def demand_nothing(policy: Any) -> None:
        policy["suites"]["leak_eval"] = deepcopy(policy["suites"]["desk_eval"])

    project.edit("params.yaml", suite)
    project.edit("policies/evaluation.yaml", demand_nothing)


VERSION = "support-desk/1"
READ = (
    ("look", "leak_sft"),
    ("look", "leak_sft", "--left-out"),
    ("answers", VERSION),
    ("lineage", VERSION, "--records", "--json"),
    ("bundle", VERSION, "-o", "version.bundle"),
    ("export", VERSION),
    ("report", "--all"),
    ("retention", "--json"),
    ("status", "--json"),
    ("verify",),
)
"""What people ask of a version that is made."""


@pytest.mark.nightly
def test_the_whole_chain_writes_no_value_and_an_erasure_leaves_it_to_the_source(
    project: Project, tmp_path: Path
) -> None:
    data_stages(project)
    evaluated_on_planted_prompts(project)
    assert found_in(project, tmp_path) == []
    people = tmp_path / "people"
    people.mkdir()
    moved = governed(project, people)
    project = replace(moved, environ={**project.environ, **moved.environ})
    told(project, {0}, "repro", "suite@leak_eval")
    stages(project, *PIPELINE[: PIPELINE.index("gate@sft")])
    told(project, {0}, "repro", "report@support-desk")
    for command in READ:
        told(project, {0}, *command)
    assert in_sources(project, VALUES) == set(VALUES)
    assert found_in(project, people) == []
    done = erase(project, "--subject", f"{MAIL}.w@example.com")
    assert done.code == 0, done.out
    assert found_in(project, people, may_hold=(SOURCES,)) == []
    told(project, {0}, "repro", "report@support-desk")
    assert found_in(project, people, values=(MAIL,), may_hold=(SOURCES,)) == []
    assert found_in(project, people) == []
