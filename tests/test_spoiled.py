"""Spoiled inputs: each ends with its documented exit code and one clear message, and leaves nothing
half-written.

The table is the specification: what was spoiled, the exit code (see `pipelines.cli`), and what the
message must say (what was found, where, what to do). For every row: no traceback, no text of a
record, no output, a log that verifies.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.process import exclusive
from tests.conftest import rows
from tests.project import Done, Project, fresh

MARK = "Zebrafish-4711"
"""Stands in the text of every record, and so in no message."""


def conversation(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"{MARK} asks for the {number}th time"},
            {"role": "assistant", "content": f"{MARK} has answer {number}"},
        ]
    }


ROWS = [json.dumps(conversation(number)) for number in range(60)]
WHOLE = "\n".join(ROWS) + "\n"


@dataclass(frozen=True)
class Spoiled:
    """One way to spoil a project."""

    how: Callable[[Project], None]
    code: int
    says: tuple[str, ...]
    target: str = "ingest@mine"
    output: str = "data/ingested/mine"
    environ: dict[str, str] = field(default_factory=dict)


def source(content: str | bytes, name: str = "mine.jsonl") -> Callable[[Project], None]:
    """The dataset's file has this content."""

    def how(project: Project) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (project.root / name).write_bytes(data)
        project.edit("params.yaml", lambda params: params["datasets"]["mine"].update(source=name))

    return how


def params(change: Callable[[Any], None]) -> Callable[[Project], None]:
    """params.yaml is changed."""
    return lambda project: project.edit("params.yaml", change)


def text(file: str, old: str, new: str) -> Callable[[Project], None]:
    """A file of the project has other text."""
    return lambda project: project.replace(file, old, new)


def appended(file: str, more: str) -> Callable[[Project], None]:
    """A file of the project has more text."""

    def how(project: Project) -> None:
        path = project.root / file
        path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")

    return how


def writes(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def file(name: str, content: str) -> Callable[[Project], None]:
    """A file of the project has this content and no other."""
    return lambda project: writes(project.root / name, content)


def folder(name: str) -> Callable[[Project], None]:
    """There is an empty folder."""
    return lambda project: (project.root / name).mkdir()


def both(*ways: Callable[[Project], None]) -> Callable[[Project], None]:
    """Spoiled in several ways."""

    def how(project: Project) -> None:
        for way in ways:
            way(project)

    return how


def base(make: Callable[[Path], None]) -> Callable[[Project], None]:
    """The base model is a local folder, made so."""

    def how(project: Project) -> None:
        folder = project.root / "mine"
        folder.mkdir()
        (folder / "config.json").write_text(
            '{"model_type": "qwen3", "vocab_size": 8}', encoding="utf-8"
        )
        make(folder)
        other_base("mine")(project)

    return how


def other_base(source: str) -> Callable[[Project], None]:
    """A second base model."""
    return params(
        lambda content: content["bases"].update(other={"source": source, "suite": "desk_eval"})
    )


def tensors(folder: Path) -> None:
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04\x95")


def remote_code(folder: Path) -> None:
    tensors(folder)
    config = {"model_type": "qwen3", "vocab_size": 8, "auto_map": {"AutoModel": "modeling_x.X"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def code_beside(folder: Path) -> None:
    tensors(folder)
    (folder / "modeling_x.py").write_text("print(1)", encoding="utf-8")


def torn_weights(folder: Path) -> None:
    tensors(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-2])


def hub_dataset(content: Any) -> None:
    content["hub"] = {"mine": {"path": "someone/something", "revision": "0" * 40}}
    content["datasets"]["mine"]["source"] = "data/source/mine.parquet"


BASE = {"target": "import_base@other", "output": "models/other"}
BOMB = "bomb: &a [x, x]\nmore: [*a, *a, *a]\n"

SPOILED: dict[str, Spoiled] = {
    "truncated JSONL": Spoiled(
        source(WHOLE[:-30]),
        3,
        ("mine.jsonl:60", "cut off", "next: copy the file"),
    ),
    "wrong encoding": Spoiled(
        source(WHOLE.replace("answer", "Größe").encode("latin-1")),
        3,
        ("mine.jsonl", "ROW_ENCODING", "next: ", "encoding"),
    ),
    "UTF-16": Spoiled(
        source(WHOLE.encode("utf-16")), 3, ("mine.jsonl", "utf-16", "next: set `encoding`")
    ),
    "unknown encoding": Spoiled(
        params(lambda content: content["datasets"]["mine"].update(encoding="utf-9")),
        2,
        ("utf-9", "params.yaml"),
    ),
    "a 50 MB line": Spoiled(
        source(ROWS[0].replace("answer", "x" * (50 << 20)) + "\n" + ROWS[1] + "\n"),
        4,
        ("ROW_TOO_LONG", "mine.jsonl:1", "1 of 2 rows", "next: "),
    ),
    "missing column": Spoiled(
        source(
            "ticket,response\n" + "".join(f"{MARK} {n},{MARK}\n" for n in range(60)), "mine.csv"
        ),
        3,
        ("mine.csv", "ticket", "response", "next: "),
    ),
    "ragged CSV": Spoiled(
        source("prompt,completion\n" + f"{MARK},{MARK},{MARK}\n" * 60, "mine.csv"),
        3,
        ("mine.csv:2", "ROW_UNREADABLE", "3 fields, the header has 2", "next: "),
    ),
    "empty file": Spoiled(source(""), 3, ("mine.jsonl", "the file holds no rows", "expected: ")),
    "binary file": Spoiled(
        source(bytes(range(256)) * 40),
        3,
        ("mine.jsonl: this is not text", "expected: utf-8", "next: "),
    ),
    "zipped file": Spoiled(
        source(b"\x1f\x8b" + bytes(90)), 3, ("mine.jsonl", "gzip", "next: unpack the file first")
    ),
    "absent source": Spoiled(
        params(lambda content: content["datasets"]["mine"].update(source="nowhere.jsonl")),
        3,
        (
            "params.yaml:",
            "datasets.mine.source: 'nowhere.jsonl': no such file",
            "next: copy it there",
        ),
    ),
    "folder without data": Spoiled(
        both(
            folder("empty"),
            params(lambda content: content["datasets"]["mine"].update(source="empty")),
        ),
        3,
        ("empty", "the folder is empty", "expected: "),
    ),
    "another kind than the file's": Spoiled(
        params(
            lambda content: content["datasets"]["mine"].update(
                kind="preference", suite="preference"
            )
        ),
        3,
        ("mine.jsonl", "preference", "next: "),
    ),
    "unknown kind": Spoiled(
        params(lambda content: content["datasets"]["mine"].update(kind="chat")),
        2,
        ("params.yaml", "datasets.mine.kind", "'chat'", "conversation"),
    ),
    "unknown parameter": Spoiled(
        params(lambda content: content["datasets"]["mine"].update(suit="conversation")),
        2,
        ("params.yaml", "datasets.mine.suit", "unknown field", "next: did you mean 'suite'?"),
    ),
    "row left out": Spoiled(
        params(lambda content: content.pop("records")),
        2,
        ("params.yaml:1: records: Field required",),
    ),
    "unknown trainer argument": Spoiled(
        params(lambda content: content["stages"]["sft"]["trainer"].update(learning_rat=1.0)),
        2,
        ("params.yaml: stages.sft.trainer.learning_rat", "next: did you mean 'learning_rate'?"),
    ),
    "unknown method": Spoiled(
        params(lambda content: content["stages"]["sft"].update(method="sftt")),
        2,
        ("params.yaml: stages.sft.method", "sftt", "next: did you mean 'sft'?"),
    ),
    "stage without its parent": Spoiled(
        params(lambda content: content["stages"]["sft"].update(parent="bass", scorer="bass")),
        2,
        (
            "params.yaml:",
            "stages.sft.parent: no other stage or base 'bass'",
            "expected: one of base, tiny",
            "did you mean 'base'?",
        ),
    ),
    "policy typo": Spoiled(
        text("policies/policy.yaml", "promotable: false", "promotabel: false"),
        2,
        (
            "policies/policy.yaml:",
            "tiers.experimental.promotabel",
            "next: did you mean 'promotable'?",
        ),
    ),
    "policies with several mistakes": Spoiled(
        both(
            text("policies/policy.yaml", "tier: limited", "tier: limitted"),
            text("policies/pii.yaml", "{action: block}", "{action: blok}"),
        ),
        2,
        ("'limitted' is no tier", "did you mean 'limited'?", "policies/pii.yaml:", "blok"),
    ),
    "policy file missing": Spoiled(
        lambda project: (project.root / "policies/bases.yaml").unlink(),
        2,
        ("policies/bases.yaml", "no such file"),
    ),
    "empty policy": Spoiled(
        file("policies/policy.yaml", ""),
        2,
        ("policies/policy.yaml", "models: Field required", "tiers: Field required"),
    ),
    "suite that is not there": Spoiled(
        params(lambda content: content["datasets"]["mine"].update(suite="converstion")),
        2,
        (
            "params.yaml:",
            "datasets.mine.suite: ",
            "'converstion'",
            "did you mean 'conversation'?",
        ),
    ),
    "YAML bomb": Spoiled(
        appended("params.yaml", BOMB), 2, ("params.yaml:", "aliases are not accepted", "next: ")
    ),
    "YAML tag": Spoiled(
        appended("policies/pii.yaml", "x: !!python/object/apply:os.system ['true']\n"),
        2,
        ("policies/pii.yaml:", "YAML tags are not accepted", "next: write the value out"),
    ),
    "duplicate YAML key": Spoiled(
        appended("params.yaml", "project: other\n"), 2, ("params.yaml:", "project")
    ),
    "YAML that is cut off": Spoiled(
        appended("params.yaml", "more: [1, 2\n"), 2, ("params.yaml:", "valid YAML")
    ),
    "tabs and control characters": Spoiled(
        appended("params.yaml", "more: \x07\n"), 2, ("params.yaml", "valid YAML")
    ),
    "path as a name": Spoiled(
        params(
            lambda content: content["datasets"].update(
                {"../../etc": dict(content["datasets"]["mine"])}
            )
        ),
        2,
        ("params.yaml:", "datasets.../../etc", "lower-case letters"),
    ),
    "line break in a name": Spoiled(
        params(
            lambda content: content["datasets"].update({"a\nb": dict(content["datasets"]["mine"])})
        ),
        2,
        ("params.yaml:", r"datasets.'a\nb'", "lower-case letters"),
    ),
    "homograph in a name": Spoiled(
        params(
            lambda content: content["stages"]["sft"].update(parent="b\u0430se", scorer="b\u0430se")
        ),
        2,
        ("params.yaml:", "stages.sft.parent: 'b\\u0430se'", "lower-case letters"),
    ),
    "shell code as a source": Spoiled(
        params(
            lambda content: content["datasets"]["mine"].update(source="mine.jsonl; touch pwned")
        ),
        3,
        ("'mine.jsonl; touch pwned': no such file", "next: "),
    ),
    "base with pickled weights": Spoiled(
        base(pickled),
        3,
        ("pytorch_model.bin", "expected: safetensors only", "next: save a trusted copy"),
        **BASE,
    ),
    "base with an auto_map": Spoiled(
        base(remote_code),
        3,
        ("config.json", "auto_map", "next: use a model of an architecture that transformers has"),
        **BASE,
    ),
    "base with code beside": Spoiled(
        base(code_beside), 3, ("modeling_x.py", "expected: a model without code"), **BASE
    ),
    "torn safetensors": Spoiled(
        base(torn_weights),
        3,
        ("model.safetensors", "expected: a well-formed safetensors file", "next: "),
        **BASE,
    ),
    "base without weights": Spoiled(
        base(lambda folder: None), 3, ("no *.safetensors", "expected: "), **BASE
    ),
    "base of another source": Spoiled(
        other_base("Qwen/Qwen3-0.6B"),
        2,
        (
            "params.yaml:",
            "bases.other.source",
            "'Qwen/Qwen3-0.6B'",
            "expected: an architecture",
        ),
        **BASE,
    ),
    "base of the Hub, no network": Spoiled(
        other_base(f"Qwen/Qwen3-0.6B@{'0' * 40}"),
        8,
        (
            "params.yaml: bases.other.source",
            "cannot be reached",
            "next: run this once with a network",
        ),
        **BASE,
        environ={"HTTPS_PROXY": "http://127.0.0.1:9", "HF_ENDPOINT": "https://127.0.0.1:9"},
    ),
    "dataset of the Hub, no network": Spoiled(
        params(hub_dataset),
        8,
        ("someone/something", "cannot be reached", "next: run this once with a network"),
        target="fetch@mine",
        output="data/source/mine.parquet",
        environ={"HTTPS_PROXY": "http://127.0.0.1:9", "HF_ENDPOINT": "https://127.0.0.1:9"},
    ),
}


THROUGH_DVC = {
    "unknown kind",  # exit code 2
    "empty file",  # 3
    "a 50 MB line",  # 4
    "dataset of the Hub, no network",  # 8
    # what only the check before DVC finds
    "absent source",
    "shell code as a source",
    "unknown trainer argument",
    "unknown method",
    "suite that is not there",
    "base of another source",
}
"""Rows that run as people do, with `countersign repro`: one of each exit code. The others run the stage,
as DVC would.
"""


@pytest.fixture(scope="module")
def unspoiled(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with a dataset from a file of one's own; nothing is made yet."""
    project = fresh(tmp_path_factory.mktemp("unspoiled"))
    (project.root / "mine.jsonl").write_text(WHOLE, encoding="utf-8")
    row = {
        "kind": "conversation",
        "source": "mine.jsonl",
        "suite": "conversation",
        "held_out": "mine",
    }
    project.edit("params.yaml", lambda content: content["datasets"].update(mine=row))
    return project


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILED)
def test_spoiled(name: str, unspoiled: Project, tmp_path: Path) -> None:
    one, project = SPOILED[name], unspoiled.copy(tmp_path)
    one.how(project)
    if name in THROUGH_DVC:
        done = project.repro(one.target, **one.environ)
    else:
        done = project.countersign("stage", *one.target.split("@"), **one.environ)
    print(done.out)
    check(project, done, one)


def check(project: Project, done: Done, one: Spoiled) -> None:
    """What holds for every row."""
    assert done.code == one.code, done.out
    assert [wanted for wanted in one.says if wanted not in done.out] == [], done.out
    assert "Traceback" not in done.out
    assert MARK not in done.out
    assert not (project.root / one.output).exists()
    assert not (project.root / "pwned").exists()
    left = [
        path.name
        for path in (project.root / ".dvc" / "tmp" / "countersign").glob("*")
        if path.is_dir()
    ]
    assert left == []
    assert not project.database.exists() or not project.log.size() or project.log_is_whole()


# --- the disk -------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """`folder` is a file system of its own; skips where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(folder: Path, left: int) -> Iterator[None]:
    """All but `left` bytes of the file system of `folder` are taken."""
    room = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - left)))
    yield
    filler.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 60_000])
def test_full_disk_under_the_log(left: int, unspoiled: Project, tmp_path: Path) -> None:
    project = unspoiled.copy(tmp_path)
    with small_disk(project.home, 8):
        with filled(project.home, left):
            done = project.repro("ingest@mine")
            check(project, done, Spoiled(print, 6, (str(project.home), "next: free")))
        project.made("ingest@mine")
        assert project.log_is_whole()


@pytest.mark.slow
def test_full_disk_under_the_project(unspoiled: Project, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32):
        project = unspoiled.copy(tmp_path / "disk" / "here")
        project = Project(project.root, tmp_path / "home")
        with filled(tmp_path / "disk", 8_000):
            done = project.repro("ingest@mine")
            check(project, done, Spoiled(print, 6, ("next: free some space",)))
        project.made("ingest@mine")
        assert project.log_is_whole()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kilobytes", [40, *(pytest.param(size, marks=pytest.mark.nightly) for size in (8, 400))]
)
def test_no_file_may_grow(kilobytes: int, unspoiled: Project, tmp_path: Path) -> None:
    """As on a full disk, by a limit on the size of files, which needs no rights."""
    project = unspoiled.copy(tmp_path)
    limited = project.run(
        "bash",
        "-c",
        f"ulimit -f {kilobytes}; exec countersign repro ingest@mine",
        PYTHONDONTWRITEBYTECODE="1",  # importlib would leave byte code that is cut off
    )
    if limited.code:
        check(project, limited, Spoiled(print, 6, ("next: ",)))
    project.made("ingest@mine")
    assert project.log_is_whole()


UNWRITABLE = {
    "the project": (".", "data"),
    "its data": ("data", "data"),
    "DVC's folder": (".dvc", ".dvc"),
    "the state folder": ("../home", "home"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(UNWRITABLE, in_ci={"its data", "the state folder"}))
def test_folder_that_cannot_be_written(name: str, unspoiled: Project, tmp_path: Path) -> None:
    """Root is no exception here: it runs without the right to pass over permissions."""
    project = unspoiled.copy(tmp_path)
    where, named = UNWRITABLE[name]
    (project.root / where).mkdir(exist_ok=True)
    (project.root / where).chmod(0o555)
    drop = "-dac_override,-dac_read_search"
    ordinary = (
        ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"] if os.geteuid() == 0 else []
    )
    if ordinary and not shutil.which("setpriv"):
        pytest.skip("root without setpriv")
    done = project.run(*ordinary, "countersign", "repro", "ingest@mine")
    (project.root / where).chmod(0o755)
    check(project, done, Spoiled(print, 6, (named, "Permission denied", "next: ")))
    project.made("ingest@mine")
    assert project.log_is_whole()


# --- further along the graph ----------------------------------------------------------------------


@pytest.mark.slow
def test_datacard_with_a_blank(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    project.edit("policies/datacards/desk_sft.yaml", lambda card: card.pop("lawful_basis"))
    done = project.repro("train@base")
    wanted = (
        "the run refused, 1 finding(s)",
        "DATACARD_INCOMPLETE",
        "found blank: lawful_basis",
        "next: policies/",
    )
    check(
        project,
        done,
        Spoiled(print, 4, (*wanted, "policies/datacards/desk_sft.yaml")),
    )
    done = project.run("dvc", "repro", "train@base")  # which asks no plan
    assert "gate@base refused, 1 finding(s)" in done.out and wanted[1] in done.out
    assert not (project.root / "gates/base.json").exists()
    assert (project.root / "reports/gates/base.md").exists()
    assert project.said()[-1] == ("gate", "gate@base", False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("repro", "--force", "train@sft"),
        ("repro", "--force", "register"),
        ("stage", "train", "sft"),
    ],
    ids=" ".join,
)
def test_mlflow_server_that_does_not_answer(
    command: tuple[str, ...], small: Project, tmp_path: Path
) -> None:
    """It is asked before anything runs or is removed."""
    project = small.copy(tmp_path)
    done = project.countersign(*command, COUNTERSIGN_REGISTRY="http://127.0.0.1:9")
    says = ("http://127.0.0.1:9", "nothing listens there", "next: start it")
    check(project, done, Spoiled(print, 6, says, output="nothing"))
    assert (project.root / "models/sft").exists()
    assert project.said() == small.said()


@pytest.mark.slow
def test_two_runs_at_once_of_one_stage(unspoiled: Project, tmp_path: Path) -> None:
    project = unspoiled.copy(tmp_path)
    lock = project.root / ".dvc/tmp/countersign/ingest@mine.lock"
    with exclusive(lock, "ingest@mine"):
        done = project.repro("ingest@mine")
    wanted = (
        "ingest@mine is already running",
        str(lock.relative_to(project.root)),
        "next: wait until it ends",
    )
    check(project, done, Spoiled(print, 7, wanted))
