"""DVC with faster YAML writes the bytes that DVC writes."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from dvc.utils.serialize import _yaml

from pipelines.dvc_yaml import LockWriter

LOCK = """\
schema: '2.0'
stages:
  gate@sft:
    cmd: countersign stage gate sft
    deps:
    - path: data/ready/desk_sft
      hash: md5
      md5: 0123456789abcdef0123456789abcdef.dir
      size: 4711
      nfiles: 3
    params:
      params.yaml:
        stages.sft:
          learning_rate: 0.004
          rewards: []
          name: '12'
          trainer:
            beta: 1e-05
            use: true
            last:
    outs:
    - path: gates/sft.json
      hash: md5
      md5: 8f14e45fceea167a5a36dedd4bea2543
      size: 12
"""
CHANGE = """
import sys
from pathlib import Path
from dvc import dvcfile
path, fast, change = Path(sys.argv[1]), sys.argv[2] == "fast", sys.argv[3] == "change"
if fast:
    from pipelines import dvc_yaml
    dvc_yaml.install()
with dvcfile.modify_yaml(str(path)) as data:
    if change:
        data["stages"]["gate@sft"]["outs"][0]["md5"] = "0" * 32
        data["stages"].update({"new": {"cmd": "x: y", "deps": [{"path": "ä", "size": 1}]}})
"""


def changed(path: Path, *how: str) -> tuple[bytes, int]:
    path.write_text(LOCK, encoding="utf-8")
    before = path.stat().st_mtime_ns
    subprocess.run([sys.executable, "-P", "-c", CHANGE, str(path), *how], check=True)
    return path.read_bytes(), path.stat().st_mtime_ns - before


def test_dvc_lock_gets_the_bytes_that_dvc_writes(tmp_path: Path) -> None:
    slow, _ = changed(tmp_path / "dvc.lock", "slow", "change")
    fast, _ = changed(tmp_path / "dvc.lock", "fast", "change")
    assert fast == slow != LOCK.encode()


def test_an_equal_dvc_lock_is_not_written(tmp_path: Path) -> None:
    content, later = changed(tmp_path / "dvc.lock", "fast", "same")
    assert (content, later) == (LOCK.encode(), 0)


ENTRY = {
    "cmd": "countersign stage gate x --with a-very-long-argument --and another-one that is as long",
    "params": {
        "params.yaml": {"a": [1, 1.0, True, None, "1", "on", "0x1", 1e-5], "b": {}, "c": []}
    },
    "outs": [{"path": "ä: # b", "md5": "1" * 32, "size": 12}, {"path": "x" * 100 + " y" * 20}],
}
LOCKS: list[Any] = [
    {"schema": "2.0", "stages": {"gate@x": ENTRY, "12": {"cmd": "a\nb"}, "ä b": {}}},
    {"schema": "2.0", "stages": {}},
    {"schema": "2.0", "stages": None},
    {"schema": "2.0", "stages": {"a": {"cmd": "x"}}, "more": 1},
    {"schema": "2.0"},
    {"stages": {"a": {"cmd": "x"}}},
    {},
]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: ",".join(lock))
def test_stage_by_stage_the_same_text_is_written(lock: Any) -> None:
    """Also of a stage that was written before, and of one that changed since then."""

    def text(write: Callable[[Any, IO[str]], Any]) -> str:
        stream = io.StringIO()
        write(lock, stream)
        return stream.getvalue()

    lock, writer = copy.deepcopy(lock), LockWriter(_yaml._dump)
    assert text(writer) == text(writer) == text(_yaml._dump)
    for value in (1, 1.0, True, "1"):
        if lock.get("stages"):
            lock["stages"][next(iter(lock["stages"]))]["size"] = value
        assert text(writer) == text(_yaml._dump)


READ_TWICE = """
from dvc.utils import serialize
from pipelines import dvc_yaml
dvc_yaml.install()
first = serialize.parse_yaml("a: {b: [1, 2]}", "params.yaml")
first["a"]["b"].append(3)
first["c"] = 1
assert serialize.parse_yaml("a: {b: [1, 2]}", "params.yaml") == {"a": {"b": [1, 2]}}
"""


def test_a_change_of_a_value_that_was_read_changes_no_other() -> None:
    subprocess.run([sys.executable, "-P", "-c", READ_TWICE], check=True)


LOCKED = """
import json, sys
from dvc import rwlock
from dvc.fs import localfs
from pipelines import dvc_yaml
if sys.argv[2] == "fast":
    dvc_yaml.install()
with rwlock.rwlock(sys.argv[1], localfs, "dvc repro \\u00e4", ["/a"], ["/b"], False):
    print(open(sys.argv[1] + "/rwlock").read().replace(str(__import__("os").getpid()), "PID"))
print(open(sys.argv[1] + "/rwlock").read())
"""


def test_the_table_of_locks_is_what_dvc_writes(tmp_path: Path) -> None:
    slow, fast = (
        subprocess.run(
            [sys.executable, "-P", "-c", LOCKED, str(tmp_path), how], check=True,
            capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # DVC's schema orders the members by hash
        ).stdout
        for how in ("slow", "fast")
    )  # fmt: skip
    assert "PID" in slow
    assert fast == slow
