"""Whether a process is known to be gone: certain cases only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from governance.registry.process import is_gone, this_process

CODE = "from governance.registry.process import this_process; print(this_process())"


def test_this_process_is_not_gone() -> None:
    assert not is_gone(this_process())


def test_an_ended_process_is_gone() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert is_gone(done.stdout.strip())


@pytest.mark.parametrize(
    ("part", "value", "gone"),
    [
        (0, "another-machine", False),  # cannot be known from here
        (1, "another-boot", True),  # this machine was started again since
        (2, "pid:[1]", False),  # another container of this machine
        (4, "1", True),  # the id was given to a later process: ours
    ],
)
def test_what_differs_decides(part: int, value: str, gone: bool) -> None:
    parts = this_process().split("|")
    parts[part] = value
    assert is_gone("|".join(parts)) is gone


@pytest.mark.parametrize("name", ["", "nonsense", "a|b|c|d|e"])
def test_a_name_that_is_none_decides_nothing(name: str) -> None:
    assert not is_gone(name)
