"""`countersign scan`: any folder, no project, exit codes, and nothing written over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import cli
from tests.conftest import ROOT
from tests.project import BIN

DATA = ROOT.parent / "shared" / "data"
MAIL = "tom.miller@example.org"
POLICY = """\
default: {action: redact}
replacement: token
entities:
  URL: {action: allow, reason: public}
  API_KEY: {action: block}
recognizers:
  - {name: keys, entity: API_KEY, patterns: [{name: hf, regex: 'hf_[a-z]{30}'}]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(f'{{"a": "to {MAIL}"}}\n')
    (tmp_path / "in" / "sub").mkdir()
    (tmp_path / "in" / "sub" / "b.txt").write_text("nothing here\n")
    return tmp_path


def scan(*words: str, **more: Any) -> Result:
    given = [] if "--policy" in words else ["--policy", "p.yaml"]
    return CliRunner().invoke(cli, ["scan", *words, *given], **more)


def report(*words: str, code: int = 0) -> dict[str, Any]:
    done = scan(*words, "--json")
    assert done.exit_code == code, done.output or done.exception
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_exit_codes(folder: Path) -> None:
    assert scan("in").exit_code == 4
    assert scan("in/sub").exit_code == 0
    (folder / "in" / "sub" / "bad.jsonl").write_text('{"a": \n{"a": 1}\n')
    done = scan("in/sub")
    assert done.exit_code == 3
    assert "not searched: 1 problem(s):\n  in/sub/bad.jsonl:1: not valid JSON" in done.output
    assert scan("in").exit_code == 4  # what was found is certain
    assert scan("in/a.jsonl", "--redact", "out.jsonl").exit_code == 0
    assert scan("out.jsonl").exit_code == 0


def test_findings_hold_places_and_no_text(folder: Path) -> None:
    scan("in", "--findings", "f.jsonl")
    lines = [json.loads(line) for line in (folder / "f.jsonl").read_text().splitlines()]
    assert [one for one in lines if one["entity_type"] == "EMAIL_ADDRESS"] == [
        {
            "file": "in/a.jsonl", "record": 1, "row": 1, "field": "a", "start": 3, "end": 25,
            "entity_type": "EMAIL_ADDRESS", "score": 1.0, "recognizer": "EmailRecognizer",
        }
    ]  # fmt: skip
    assert "miller" not in (folder / "f.jsonl").read_text()
    assert (folder / "f.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_folder_is_written_as_a_folder_and_a_blocked_file_not_at_all(folder: Path) -> None:
    (folder / "in" / "key.txt").write_text(f"hf_{'a' * 30}\n")
    result = report("in", "--redact", "out", code=4)
    written = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    assert [path.relative_to(folder / "out").as_posix() for path in written] == [
        "a.jsonl",
        "sub/b.txt",
    ]
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    refused = {file["file"]: file["refused"] for file in result["files"] if file["refused"]}
    assert refused == {"in/key.txt": {"API_KEY is blocked": 1}}
    assert MAIL not in written[0].read_text() and "<EMAIL_ADDRESS_" in written[0].read_text()


def test_no_file_is_written_over(folder: Path) -> None:
    before = (folder / "in" / "a.jsonl").read_text()
    (folder / "link.jsonl").symlink_to("in/a.jsonl")
    for words in (
        ["in/a.jsonl", "--redact", "in/a.jsonl"],
        ["in/a.jsonl", "--redact", "link.jsonl"],
        ["in", "--redact", "in"],
        ["in/a.jsonl", "--findings", "link.jsonl"],
        ["in/a.jsonl", "--redact", "x.jsonl", "--findings", "x.jsonl"],
        ["in/a.jsonl", "--redact", "x.csv"],
        ["in/a.jsonl", "link.jsonl", "in/sub", "in/sub/b.txt", "--redact", "p.yaml/x"],
    ):
        done = scan(*words)
        assert done.exit_code or done.exception, words
        assert (folder / "in" / "a.jsonl").read_text() == before
    assert not (folder / "x.jsonl").exists()


def test_tokens_are_the_same_under_the_same_key(folder: Path) -> None:
    (folder / "key").write_text("ab" * 32)
    for name in ("1", "2"):
        result = report("in/a.jsonl", "--redact", f"{name}.jsonl", "--key", "key")
        assert result["tokens"] == "file"
    assert (folder / "1.jsonl").read_text() == (folder / "2.jsonl").read_text()
    done = scan("in/a.jsonl", "--redact", "3.jsonl")
    assert "a key of this run only" in done.output
    assert (folder / "3.jsonl").read_text() != (folder / "1.jsonl").read_text()


def test_what_is_no_known_file_is_named_and_links_lead_in_no_circle(folder: Path) -> None:
    (folder / "in" / "circle").symlink_to(".")
    (folder / "in" / "x.bin").write_bytes(b"\0")
    (folder / "in" / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "in" / "pipe.txt")
    result = report("in", "in/a.jsonl", code=4)
    assert [file["file"] for file in result["files"]] == ["in/a.jsonl", "in/sub/b.txt"]
    assert {Path(one["file"]).name: one["why"] for one in result["skipped"]} == {
        "circle": "a link to a folder",
        "gone.txt": "no regular file, or a link to none",
        "pipe.txt": "no regular file, or a link to none",
        "x.bin": "no known suffix",
    }


@pytest.mark.parametrize(
    ("words", "code", "found"),
    [
        (["nowhere"], 3, "no such file or folder"),
        (["empty"], 3, "no file to search"),
        (["p.yaml"], 3, "no reader for .yaml"),
        (["-", "--format", "parquet"], 2, "Parquet cannot be read from standard input"),
        (["-", "-"], 2, "standard input is named twice"),
        (["in", "--encoding", "no"], 2, "no encoding 'no'"),
        (["in", "--key", "p.yaml"], 2, "not a record key"),
        (["in", "--policy", "missing.yaml"], 2, "missing.yaml"),
    ],
)
def test_mistakes(folder: Path, words: list[str], code: int, found: str) -> None:
    (folder / "empty").mkdir()
    done = scan(*words)
    assert getattr(done.exception, "exit_code", None) == code, done.output
    assert found in str(done.exception)


def test_standard_input(folder: Path) -> None:
    words = ["scan", "-", "--format", "csv", "--redact", "out.csv", "--policy", "p.yaml"]
    data = f"a,b\n1,{MAIL}\n".encode()
    done = subprocess.run([BIN / "countersign", *words], input=data, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "out.csv").read_text().startswith("a,b\n1,<EMAIL_ADDRESS_")


def test_the_shipped_policy_is_the_default(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["scan", "in", "--json"])
    assert done.exit_code == 4
    result = json.loads(done.stdout)
    assert result["policy"] == "the shipped policies/pii.yaml"
    assert result["engine"]["ner"] == "tagger"


def test_in_a_project_its_policy_key_and_cache_are_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_HOME", str(folder / "home"))
    shutil.copytree(ROOT / "policies", folder / "policies")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "policies" / "pii.yaml").write_text(POLICY)
    done = CliRunner().invoke(cli, ["scan", "in/a.jsonl", "--redact", "out.jsonl"])
    assert done.exit_code == 0, done.output or done.exception
    assert "public development key" in done.output
    assert list((folder / "home").rglob("pii.sqlite"))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_public_data_of_each_format(folder: Path) -> None:
    sources: dict[str, Path] = {}
    for path in sorted(DATA.rglob("*")):
        if path.is_file() and 0 < path.stat().st_size < 40_000:
            sources.setdefault(path.suffix, path)
    chosen = [
        sources[suffix]
        for suffix in (".jsonl", ".json", ".csv", ".parquet", ".md", ".txt")
        if suffix in sources
    ]
    assert len(chosen) >= 2
    for path in chosen:
        shutil.copy(path, folder / f"set{path.suffix}")
        name = f"set{path.suffix}"
        first = report(name, "--redact", f"out-{name}", "--policy", str(ROOT / "policies/pii.yaml"))
        assert first["files"][0]["written"], first
        again = report(f"out-{name}", "--policy", str(ROOT / "policies/pii.yaml"))
        assert {row["action"] for row in again["entities"].values()} <= {"allow"}
