"""Which failures are the disk's, whoever raised them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from governance.base import storage
from governance.base.errors import StorageError

FULL = OSError(errno.ENOSPC, "No space left on device", "/data/x")


def raised(error: BaseException, cause: BaseException, *, explicit: bool) -> BaseException:
    """A library's error as Python has it: raised `from` its cause, or while that was handled."""
    if explicit:
        error.__cause__ = cause
    error.__context__ = cause if not explicit else None
    return error


@pytest.mark.parametrize("explicit", [True, False])
def test_the_disk_is_found_behind_a_librarys_error(explicit: bool) -> None:
    failure = storage.disk_failure(raised(ValueError("a record"), FULL, explicit=explicit))
    assert failure is not None
    assert (failure.found, failure.where) == ("No space left on device", "/data/x")


def test_another_cause_is_none_of_the_disks() -> None:
    assert storage.disk_failure(ValueError("no column `text`")) is None
    other = raised(ValueError("a record"), KeyError("prompt"), explicit=True)
    assert storage.disk_failure(other) is None


def test_causes_in_a_circle_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert storage.disk_failure(first) is None


def test_a_home_that_is_not_there_leaves_the_path_as_it_is() -> None:
    assert storage.home_expanded("~/keys/ada") == Path.home() / "keys" / "ada"
    assert storage.home_expanded("~nobody-of-this-name/keys") == Path("~nobody-of-this-name/keys")


@pytest.mark.parametrize("mode", [None, 0o600, 0o640])
def test_a_file_is_replaced_whole_with_the_mode_asked_for(mode: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old", encoding="utf-8")
    before = os.umask(0)
    try:
        storage.write_atomic(path, b"new", **({} if mode is None else {"mode": mode}))
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == (mode or 0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        storage.write_atomic(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]
