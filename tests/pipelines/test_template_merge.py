"""A newer template is merged three ways; what a person wrote is never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import ConfigError, CountersignError, InputError
from pipelines import template_record
from pipelines.template_merge import Newer, merge
from pipelines.template_record import RECORD, TemplateRecord

BASE = "one\ntwo\nthree\nfour\nfive\n"
THEIRS = BASE.replace("one", "ONE")
MINE = BASE.replace("five", "FIVE")
BOTH = THEIRS.replace("five", "FIVE")
OTHER = BASE.replace("one", "uno")
GONE = None


def record(text: str | None, version: str) -> TemplateRecord:
    files = {} if text is None else {"folder/file": text}
    return TemplateRecord(version=version, recipe="grpo", name="mine", files=files)


def put(root: Path, text: str | None) -> None:
    if text is not None:
        (root / "folder").mkdir(exist_ok=True)
        (root / "folder" / "file").write_text(text, encoding="utf-8")


TABLE = [
    # old template, the project's file, new template, what happens, the file after it
    (BASE, MINE, BASE, None, MINE),
    (BASE, BASE, THEIRS, "updated", THEIRS),
    (BASE, THEIRS, THEIRS, None, THEIRS),
    (BASE, MINE, THEIRS, "merged", BOTH),
    (BASE, GONE, THEIRS, "kept", GONE),
    (GONE, GONE, THEIRS, "added", THEIRS),
    (GONE, THEIRS, THEIRS, None, THEIRS),
    (BASE, BASE, GONE, "removed", GONE),
    (BASE, MINE, GONE, "kept", MINE),
    (BASE, GONE, GONE, None, GONE),
]


@pytest.mark.parametrize(("old", "mine", "new", "how", "after"), TABLE)
def test_three_ways(
    old: str | None, mine: str | None, new: str | None, how: str | None, after: str | None,
    tmp_path: Path,
) -> None:  # fmt: skip
    put(tmp_path, mine)
    newer = record(new, "2")
    changes = merge(tmp_path, record(old, "1"), newer)
    assert [change.how for change in changes] == ([how] if how else [])
    Newer(record(old, "1"), newer, changes).write(tmp_path)
    file = tmp_path / "folder" / "file"
    assert (file.read_text() if file.exists() else None) == after
    assert template_record.read(tmp_path) == newer
    assert not [again for again in merge(tmp_path, newer, newer) if again.diff]


@pytest.mark.parametrize(("old", "mine", "new"), [(BASE, OTHER, THEIRS), (None, OTHER, BASE)])
def test_a_conflict_is_marked_as_git_marks_it(
    old: str | None, mine: str, new: str, tmp_path: Path
) -> None:
    put(tmp_path, mine)
    (change,) = merge(tmp_path, record(old, "0.1.0"), record(new, "0.2.0"))
    assert change.how == "conflict" and change.after is not None
    assert "<<<<<<< yours\n" in change.after and ">>>>>>> template 0.2.0\n" in change.after
    assert "uno" in change.after and change.diff.startswith("--- a/folder/file\n")
    put(tmp_path, change.after)
    with pytest.raises(ConfigError, match="earlier conflict"):
        merge(tmp_path, record(old, "0.1.0"), record(new, "0.2.0"))


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "ä"]), max_size=8)


@given(base=LINES, mine=LINES, theirs=LINES)
def test_no_line_of_a_person_is_lost(
    base: list[str], mine: list[str], theirs: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each line that only the person has, is there after the merge."""
    root = tmp_path_factory.mktemp("merge")
    old, written, new = ("".join(f"{line}\n" for line in text) for text in (base, mine, theirs))
    put(root, written)
    changes = merge(root, record(old, "1"), record(new, "2"))
    after = changes[0].after if changes else written
    own = set(mine) - set(base)
    assert own <= set((after or "").split())


def test_a_run_that_was_stopped_is_done_again(tmp_path: Path) -> None:
    put(tmp_path, MINE)
    old, new = record(BASE, "1"), record(THEIRS, "2")
    (change,) = merge(tmp_path, old, new)
    put(tmp_path, change.after)  # and killed before the record was written
    again = merge(tmp_path, old, new)
    assert not [each for each in again if each.diff or each.how == "conflict"]


@pytest.mark.parametrize(
    "path",
    [
        "../out",
        "/etc/x",
        "a/../../b",
        ".git/hooks/x",
        "a//b",
        "",
        ".GIT/hooks/x",
        "a\x1b[2J",
        "a\nb",
    ],
)
def test_a_record_names_no_file_outside_the_project(path: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).parent.mkdir()
    content = {"version": "1", "recipe": "grpo", "name": "mine", "files": {path: "x"}}
    (tmp_path / RECORD).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="no path of a file"):
        template_record.read(tmp_path)


VERSION = b'{"version": "1\\u001b[2J", "recipe": "grpo", "name": "x", "files": {}}'
NAMED = b'{"version": "1", "recipe": "grpo", "name": "../x", "files": {}}'


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"version": 1}', NAMED, VERSION])
def test_a_damaged_record_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / RECORD).parent.mkdir()
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(ConfigError, match="damaged"):
        template_record.read(tmp_path)


def test_what_is_no_text_is_not_merged(tmp_path: Path) -> None:
    put(tmp_path, BASE)
    (tmp_path / "folder" / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        merge(tmp_path, record(BASE, "1"), record(THEIRS, "2"))
    (tmp_path / "folder" / "file").unlink()
    (tmp_path / "folder" / "file").symlink_to("/etc/hostname")
    with pytest.raises(CountersignError, match="a link"):
        merge(tmp_path, record(BASE, "1"), record(THEIRS, "2"))


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link"):
        merge(tmp_path / "project", record(None, "1"), record(BASE, "2"))


def test_a_project_without_a_record_has_no_template(tmp_path: Path) -> None:
    assert template_record.read(tmp_path) is None
