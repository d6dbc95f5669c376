"""The code of a run is read from disk and compared with the commit, whatever git is told to
believe.

Each attack edits a file and makes `git status` say that nothing changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.predicates import Code
from pipelines import boot, codefiles
from pipelines.commit import UnreadableError, object_id, read_commit
from tests.conftest import ROOT

FILE = "pipelines/training/rewards.py"
"""Where each attack edits a reward."""
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHON"))
}


def git(root: Path, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments],
        cwd=root,
        env={**CLEAN, **environ},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A committed project with the code that this process imports."""
    root = tmp_path / "project"
    for name in ("governance", "pipelines", "policies"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("params.yaml", "dvc.yaml", "countersign.lock", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a project")
    return root


def edit(root: Path) -> None:
    path = root / FILE
    path.write_text(path.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")


def assume_unchanged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "update-index", "--assume-unchanged", FILE)
    edit(root)


def skip_worktree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "update-index", "--skip-worktree", FILE)
    edit(root)


def other_git_dir(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second repository, in which the edited files are committed."""
    edit(root)
    second = root.parent / "second.git"
    git(root, "init", "-q", "--bare", str(second))
    there = {"GIT_DIR": str(second), "GIT_WORK_TREE": str(root)}
    git(root, "add", "-A", **there)
    git(root, "commit", "-q", "-m", "edited", **there)
    for name, value in there.items():
        monkeypatch.setenv(name, value)


def other_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of the attacker's own, in which the file is assumed to be unchanged."""
    index = root.parent / "index"
    shutil.copy(root / ".git" / "index", index)
    git(root, "update-index", "--assume-unchanged", FILE, GIT_INDEX_FILE=str(index))
    edit(root)
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))


def replaced_object(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is replaced by one with the edited file: `git status` compares with that."""
    first = git(root, "rev-parse", "HEAD").strip()
    edit(root)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "edited")
    second = git(root, "rev-parse", "HEAD").strip()
    git(root, "update-ref", "HEAD", first)
    git(root, "replace", first, second)


def cleaning_filter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter gives git the committed bytes in place of those on disk."""
    kept = root.parent / "committed"
    shutil.copy(root / FILE, kept)
    (root / ".git" / "info" / "attributes").write_text(f"{FILE} filter=hide\n", encoding="utf-8")
    git(root, "config", "filter.hide.clean", f"cat {kept}")
    edit(root)


def watched_by_fsmonitor(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook tells git that no file changed."""
    hook = root.parent / "nothing-changed"
    hook.write_text('#!/bin/sh\nprintf "token\\0"\n', encoding="utf-8")
    hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(hook))
    git(root, "update-index", "--fsmonitor")
    git(root, "status")
    edit(root)


def stat_unchanged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file of the same size and times; git is told to compare nothing else."""
    path = root / FILE
    git(root, "config", "core.trustctime", "false")
    git(root, "config", "core.checkStat", "minimal")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    git(root, "update-index", "--refresh")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("return", "RETURN"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    os.utime(path, (1_600_000_000, 1_600_000_000))


def ignored_module(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the package that an ignore rule outside the commit names."""
    (root / ".git" / "info" / "exclude").write_text("pipelines/extra.py\n", encoding="utf-8")
    (root / "pipelines" / "extra.py").write_text("X = 1\n", encoding="utf-8")


def added_to_the_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is in the index and not in the commit: `git ls-files --others` names it not."""
    (root / "policies" / "extra.yaml").write_text("{}\n", encoding="utf-8")
    git(root, "add", "policies/extra.yaml")


def other_work_tree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git compares an untouched copy of the files."""
    copy = root.parent / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".git"))
    git(root, "config", "core.worktree", str(copy))
    edit(root)


def object_with_other_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree object of the commit has the bytes of a tree with the edited file."""
    folder = "HEAD:pipelines/training"
    before = git(root, "rev-parse", folder).strip()
    first = git(root, "rev-parse", "HEAD").strip()
    edit(root)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "edited")
    after = git(root, "rev-parse", folder).strip()
    git(root, "update-ref", "HEAD", first)
    objects = root / ".git" / "objects"
    target = objects / before[:2] / before[2:]
    target.chmod(0o644)
    target.write_bytes((objects / after[:2] / after[2:]).read_bytes())
    assert zlib.decompress(target.read_bytes()).startswith(b"tree ")


def submodule(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose files another repository holds."""
    shutil.move(root / "pipelines" / "pii", root.parent / "pii")
    other = root.parent / "pii"
    git(other, "init", "-q")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "pii")
    git(root, "rm", "-r", "-q", "--cached", "pipelines/pii")
    shutil.move(other, root / "pipelines" / "pii")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a submodule")


def linked_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A committed link to code outside the project."""
    shutil.move(root / "pipelines" / "pii", root.parent / "pii")
    (root / "pipelines" / "pii").symlink_to(root.parent / "pii")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a link")


Attack = Callable[[Path, pytest.MonkeyPatch], None]
ATTACKS: list[Attack] = [
    assume_unchanged, skip_worktree, other_git_dir, other_index, replaced_object, cleaning_filter,
    watched_by_fsmonitor, stat_unchanged, ignored_module, added_to_the_index, other_work_tree,
    object_with_other_bytes, submodule, linked_folder,
]  # fmt: skip


def test_committed_code_is_clean(project: Path) -> None:
    found = codefiles.code(project)
    assert found.commit == git(project, "rev-parse", "HEAD").strip()
    assert not found.dirty
    assert found.sources == codefiles.packages().digest
    (project / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    (project / "pipelines" / "__pycache__").mkdir()
    (project / "pipelines" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert codefiles.code(project, found) == found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_edit_that_git_is_told_to_overlook_is_an_uncommitted_change(
    attack: Attack, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(project, "rev-parse", "HEAD").strip()
    attack(project, monkeypatch)
    found = codefiles.code(project)
    assert found.dirty
    if attack not in (submodule, linked_folder, object_with_other_bytes):
        assert found.commit == commit


@pytest.mark.parametrize(
    "name",
    [
        "params.yaml",
        "policies/policy.yaml",
        "pipelines/stages/train.py",
        "dvc.yaml",
        "countersign.lock",
    ],
)
def test_a_file_that_is_gone_or_edited_is_a_change(name: str, project: Path) -> None:
    path = project / name
    content = path.read_bytes()
    path.unlink()
    assert codefiles.code(project).dirty
    path.write_bytes(content + b"\n")
    assert codefiles.code(project).dirty
    path.write_bytes(content)
    assert not codefiles.code(project).dirty


def test_a_file_that_nobody_ignores_is_a_change(project: Path) -> None:
    (project / "notes.txt").write_text("x", encoding="utf-8")
    assert codefiles.code(project).dirty


def test_parameters_that_were_never_committed_are_a_change(project: Path) -> None:
    git(project, "rm", "-q", "--cached", "params.yaml")
    (project / ".gitignore").write_text("params.yaml\n", encoding="utf-8")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "no parameters")
    assert (project / "params.yaml").exists()
    assert codefiles.code(project).dirty


def test_code_from_elsewhere_that_differs_from_the_commit_is_a_change(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The project is as committed; the packages that this process imports are others."""
    other = tmp_path / "other" / "pipelines"
    shutil.copytree(ROOT / "pipelines", other, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codefiles.pipelines, "__path__", [str(other)])
    clean = codefiles.code(project)
    assert not clean.dirty
    edit(other.parent)
    found = codefiles.code(project)
    assert found.dirty
    assert found.sources != clean.sources


def test_code_that_changed_after_it_was_imported_is_a_change(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was another one when it was imported, and is as committed again."""
    path = str(Path(codefiles.pipelines.__path__[0]) / "training" / "rewards.py")
    monkeypatch.setitem(boot.LOADED, path, codefiles.packages().files[FILE])
    assert not codefiles.code(project).dirty
    monkeypatch.setitem(boot.LOADED, path, "0" * 64)
    assert codefiles.code(project).dirty


def test_a_change_during_the_work_counts(project: Path) -> None:
    before = codefiles.code(project)
    git(project, "commit", "-q", "--allow-empty", "-m", "another")
    assert codefiles.code(project, before).dirty
    earlier = before.model_copy(update={"sources": "0" * 64})
    git(project, "reset", "-q", "--hard", str(before.commit))
    assert codefiles.code(project, earlier).dirty


def test_a_project_below_the_top_of_its_repository_is_compared_at_its_place(
    tmp_path: Path,
) -> None:
    root = tmp_path / "one" / "two"
    root.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "countersign.lock"):
        (root / name).write_text("{}\n", encoding="utf-8")
    (tmp_path / "beside.txt").write_text("x", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "a project below")
    assert set(read_commit(root).files) == {"params.yaml", "dvc.yaml", "countersign.lock"}
    assert not codefiles.code(root).dirty
    (tmp_path / "beside.txt").write_text("y", encoding="utf-8")
    assert not codefiles.code(root).dirty
    (root / "more.txt").write_text("y", encoding="utf-8")
    assert codefiles.code(root).dirty


def test_a_linked_worktree_has_its_own_commit(project: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    git(project, "worktree", "add", "-q", str(second), "-b", "other")
    git(second, "commit", "-q", "--allow-empty", "-m", "there")
    assert read_commit(second).id == git(second, "rev-parse", "HEAD").strip()
    assert read_commit(second).id != read_commit(project).id
    assert not codefiles.code(second).dirty


def test_without_a_work_tree_or_a_commit_the_code_is_uncommitted(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    sources = codefiles.packages().digest
    assert codefiles.code(outside) == Code(commit=None, dirty=True, sources=sources)
    git(outside, "init", "-q")
    assert codefiles.code(outside) == Code(commit=None, dirty=True, sources=sources)


def test_a_repository_with_sha256_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    (tmp_path / "params.yaml").write_text("{}\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "sha256")
    commit = read_commit(tmp_path)
    assert len(commit.id) == 64
    assert commit.files["params.yaml"].is_at(tmp_path / "params.yaml")


@given(st.binary(max_size=200))
def test_the_id_of_a_file_is_the_one_that_git_computes(content: bytes) -> None:
    done = subprocess.run(
        ["git", "hash-object", "--stdin", "--no-filters"],
        input=content,
        capture_output=True,
        env=CLEAN,
        check=True,
        cwd="/",
    )
    assert object_id("blob", content, "sha1") == done.stdout.decode().strip()


def test_a_folder_without_git_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        read_commit(tmp_path)


def test_an_old_statement_keeps_its_bytes() -> None:
    assert Code(commit=None, dirty=True).model_dump(mode="json") == {"commit": None, "dirty": True}
