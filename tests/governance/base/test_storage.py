"""Which failures are the disk's, whoever raised them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from governance.base import storage

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
