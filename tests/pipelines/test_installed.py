"""What is installed is identified by its files, not by what RECORD says of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines import boot, installed
from pipelines.installed import Installed
from tests.kept import KEPT

PACKAGE = "kit/train.py"
SOURCE = b"REWARD = 1\n"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one distribution, a `.pth` file and compiled code, long installed."""
    folder = tmp_path / "site-packages"
    (folder / "kit" / "__pycache__").mkdir(parents=True)
    (folder / "kit" / "table.json").write_bytes(b"{}")
    (folder / PACKAGE).write_bytes(SOURCE)
    (folder / "kit" / "__pycache__" / "train.pyc").write_bytes(b"compiled")
    (folder / "loose.pth").write_text("\n", encoding="utf-8")
    record = folder / "kit-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    lines = [f"{name},sha256={recorded(folder / name)},1" for name in (PACKAGE, "kit/table.json")]
    lines += [
        "kit/gone.py,sha256=AAAA,1",
        "kit-1.0.dist-info/RECORD,,",
        "../../bin/kit,sha256=AA,1",
    ]
    record.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(installed, "_folders", lambda: {"purelib": str(folder)})
    return folder


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is so young that its hash is not kept."""
    monkeypatch.setattr(installed, "RECENT_NANOSECONDS", -3_600_000_000_000)


def recorded(path: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode().rstrip("=")


def edited(folder: Path) -> None:
    """Of the same size, at the same time of the content: only `st_ctime` differs."""
    path = folder / PACKAGE
    status = path.stat()
    path.write_bytes(SOURCE.replace(b"1", b"9"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_ino == status.st_ino


def replaced(folder: Path) -> None:
    """Another file of the same size and time takes its place."""
    path, other = folder / PACKAGE, folder / "other"
    status = path.stat()
    other.write_bytes(SOURCE.replace(b"1", b"9"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def path_file(folder: Path) -> None:
    (folder / "more.pth").write_text("import os\n", encoding="utf-8")


def site(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import os\n", encoding="utf-8")


def a_table(folder: Path) -> None:
    (folder / "kit" / "table.json").write_bytes(b"[]")


def removed(folder: Path) -> None:
    (folder / "kit" / "table.json").unlink()


def linked(folder: Path) -> None:
    """A package that is a link to code elsewhere."""
    other = folder.parent / "elsewhere"
    other.mkdir()
    (other / "code.py").write_bytes(b"X = 1\n")
    (folder / "linked").symlink_to(other)


def without_source(folder: Path) -> None:
    (folder / "sourceless.pyc").write_bytes(b"compiled")


CHANGES: dict[Callable[[Path], None], tuple[str, ...]] = {
    edited: (f"purelib/{PACKAGE}",),
    replaced: (f"purelib/{PACKAGE}",),
    path_file: (),
    site: (),
    a_table: ("purelib/kit/table.json",),
    removed: (),
    linked: (),
    without_source: (),
}
"""A change, and the files whose RECORD says otherwise."""


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_change_gives_another_digest(
    change: Callable[[Path], None], packages: Path, tmp_path: Path, old: None
) -> None:
    before = installed.installed(tmp_path / "state")
    assert before == installed.installed(tmp_path / "state") == installed.installed(tmp_path / "x")
    assert before.altered == ()
    record = (packages / "kit-1.0.dist-info" / "RECORD").read_bytes()
    change(packages)
    assert (packages / "kit-1.0.dist-info" / "RECORD").read_bytes() == record
    after = installed.installed(tmp_path / "state")
    assert after.digest != before.digest
    assert after.altered == CHANGES[change]
    assert after == installed.installed(tmp_path / "state") == installed.installed(tmp_path / "y")


def test_an_edit_with_its_record_gives_another_digest(packages: Path, tmp_path: Path) -> None:
    """RECORD names the new bytes, so nothing says that the file is altered: the digest does."""
    before = installed.installed(tmp_path / "state")
    record = packages / "kit-1.0.dist-info" / "RECORD"
    old = recorded(packages / PACKAGE)
    edited(packages)
    record.write_text(record.read_text().replace(old, recorded(packages / PACKAGE)))
    after = installed.installed(tmp_path / "state")
    assert after.altered == ()
    assert after.digest != before.digest


def test_code_behind_a_link_counts(packages: Path, tmp_path: Path, old: None) -> None:
    linked(packages)
    before = installed.installed(tmp_path / "state")
    (packages.parent / "elsewhere" / "code.py").write_bytes(b"X = 2\n")
    assert installed.installed(tmp_path / "state").digest != before.digest


def test_compiled_code_does_not_count(packages: Path, tmp_path: Path) -> None:
    before = installed.installed(tmp_path / "state")
    (packages / "kit" / "__pycache__" / "train.pyc").write_bytes(b"other")
    assert installed.installed(tmp_path / "state") == before


def test_a_link_to_a_folder_above_ends(packages: Path, tmp_path: Path) -> None:
    (packages / "kit" / "up").symlink_to(packages)
    (packages / "kit" / "nowhere").symlink_to(tmp_path / "nowhere")
    assert installed.installed(tmp_path / "state").altered == ()


def test_a_young_file_is_hashed_again(packages: Path, tmp_path: Path) -> None:
    """Two changes within one tick of the clock of the file system have the same status."""
    before = installed.installed(tmp_path / "state")
    (kept,) = (tmp_path / "state" / "installed").iterdir()
    assert json.loads(kept.read_bytes()).keys() == {"python"}
    edited(packages)
    assert installed.installed(tmp_path / "state").digest != before.digest


def test_a_hash_is_taken_once(
    packages: Path, tmp_path: Path, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = installed._hash
    monkeypatch.setattr(installed, "_hash", lambda path: hashed.append(path) or real(path))
    installed.installed(tmp_path / "state")
    assert len(hashed) == 5  # with the interpreter
    installed.installed(tmp_path / "state")
    edited(packages)
    installed.installed(tmp_path / "state")
    assert hashed[5:] == [str(packages / PACKAGE)]


def test_hashes_that_another_account_can_write_are_not_read(
    packages: Path, tmp_path: Path, old: None
) -> None:
    before = installed.installed(tmp_path / "state")
    for path in (tmp_path / "state" / "installed").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_bytes(path.read_bytes().replace(before.digest.encode(), b"0" * 64))
    assert installed.installed(tmp_path / "state").digest == "0" * 64  # this account may sign, too
    for path in (tmp_path / "state" / "installed").iterdir():
        path.chmod(0o666)
    assert installed.installed(tmp_path / "state") == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"key": 1}'])
def test_kept_hashes_that_cannot_be_read_are_taken_again(
    content: bytes, packages: Path, tmp_path: Path, old: None
) -> None:
    before = installed.installed(tmp_path / "state")
    for path in (tmp_path / "state" / "installed").iterdir():
        path.write_bytes(content)
    assert installed.installed(tmp_path / "state") == before


def test_a_file_that_changed_during_the_run_is_altered(
    packages: Path, tmp_path: Path, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file was there while modules were imported; the first one is there again."""
    monkeypatch.setattr(boot, "STARTED", time.time_ns() + 1)
    before = installed.installed(tmp_path / "state")
    assert before.altered == ()
    monkeypatch.setattr(boot, "STARTED", (packages / PACKAGE).stat().st_ctime_ns - 1)
    time.sleep(0.02)
    edited(packages)
    (packages / PACKAGE).write_bytes(SOURCE)
    after = installed.installed(tmp_path / "state")
    assert after.digest == before.digest
    assert f"purelib/{PACKAGE}" in after.altered


def test_of_a_folder_that_a_pth_file_added_code_counts(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "_folders", lambda: {"path4": str(packages)})
    before = installed.installed(tmp_path / "state")
    a_table(packages)
    assert installed.installed(tmp_path / "state").digest == before.digest
    edited(packages)
    assert installed.installed(tmp_path / "state").digest != before.digest


def test_the_folders_are_those_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "none")])
    folders = installed._folders()
    assert {"stdlib", "purelib"} <= folders.keys()
    assert str(tmp_path) in folders.values()
    assert str(tmp_path / "none") not in folders.values()
    assert not any(folder.endswith("lib-dynload") for folder in folders.values())


def nothing(folder: Path) -> None:
    """No change."""


def a_target(folder: Path) -> None:
    """The link to nothing leads somewhere. In its own folder nothing changes."""
    (folder.parent / "nowhere.py").write_bytes(SOURCE)


def behind_the_link(folder: Path) -> None:
    """The folder that a link leads to has another file."""
    (folder.parent / "elsewhere" / "more.py").write_bytes(SOURCE)


@pytest.mark.parametrize("link", [None, linked], ids=["no link", "a link"])
@pytest.mark.parametrize("change", [nothing, *CHANGES], ids=lambda change: change.__name__)
def test_a_snapshot_that_is_still_whole_says_what_a_new_one_would(
    change: Callable[[Path], None],
    link: Callable[[Path], None] | None,
    packages: Path,
    tmp_path: Path,
    old: None,
) -> None:
    if link and change is not linked:
        link(packages)
    before = installed.snapshot(tmp_path / "state")
    assert before.is_still_whole()
    change(packages)
    assert before.is_still_whole() == (change is nothing)
    assert (before == installed.snapshot(tmp_path / "state")) == (change is nothing)


def test_a_file_added_behind_a_link_shows(packages: Path, tmp_path: Path, old: None) -> None:
    linked(packages)
    before = installed.snapshot(tmp_path / "state")
    behind_the_link(packages)
    assert not before.is_still_whole()


def test_with_a_link_to_nothing_a_snapshot_is_never_whole(
    packages: Path, tmp_path: Path, old: None
) -> None:
    (packages / "late.py").symlink_to(packages.parent / "nowhere.py")
    before = installed.snapshot(tmp_path / "state")
    assert not before.is_still_whole()
    a_target(packages)
    assert installed.snapshot(tmp_path / "state").installed != before.installed


def test_with_another_path_a_snapshot_is_not_whole(
    packages: Path, tmp_path: Path, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed.snapshot(tmp_path / "state")
    more = {"purelib": str(packages), "path4": str(tmp_path)}
    monkeypatch.setattr(installed, "_folders", lambda: more)
    assert not before.is_still_whole()


def test_a_snapshot_with_a_young_file_is_not_whole(packages: Path, tmp_path: Path) -> None:
    """Its next change could be within the same tick of the clock."""
    assert not installed.snapshot(tmp_path / "state").is_still_whole()


@pytest.mark.parametrize("used", [None, "opened", "loaded", "opened by a library"])
def test_a_fork_uses_the_snapshot_only_while_what_it_used_is_the_same(
    used: str | None, packages: Path, tmp_path: Path, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, natively = packages / "kit" / "table.json", used == "opened by a library"
    monkeypatch.setattr(installed, "_TAKEN", [])
    monkeypatch.setattr(installed, "_OPENED", set())
    monkeypatch.setattr(installed, "OPENS_ITSELF", {"pytest"} if natively else frozenset())
    installed.take_snapshot(tmp_path / "state")
    taken = installed._TAKEN[0].installed
    assert installed.still_installed(tmp_path / "state") is taken
    monkeypatch.chdir(packages)
    if used == "opened":
        assert Path("kit/table.json").read_bytes()
    if used == "loaded":
        monkeypatch.setitem(boot.LOADED, str(table), "")
    assert installed.still_installed(tmp_path / "state") is taken
    os.utime(table)  # changes it without opening it
    assert (installed.still_installed(tmp_path / "state") is taken) == (used is None)
    path_file(packages)
    assert installed.still_installed(tmp_path / "state") is not taken


@pytest.mark.slow
def test_nothing_is_altered_in_this_environment() -> None:
    """The files of real packages are those that their RECORD names."""
    found = installed.installed(KEPT)
    assert isinstance(found, Installed)
    assert found.altered == ()
