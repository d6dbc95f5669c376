"""A stage as a process: one at a time, and gone when its run is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from governance.base.errors import BusyError
from pipelines.process import exclusive
from tests.project import wait_for

STAGE = """
import os, sys, time, pathlib
from pipelines.process import end_with_parent
end_with_parent({"DVC_STAGE": "train@x"})
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(3600)
"""

SECOND = """
import sys, pathlib
from pipelines import process
process.PATIENCE_SECONDS = 0
with process.exclusive(pathlib.Path(sys.argv[1]), "train@sft"):
    pass
"""

DVC = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


def test_a_second_run_of_a_stage_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "train@sft.lock"
    with exclusive(lock, "train@sft"):
        second = subprocess.run(
            [sys.executable, "-c", SECOND, str(lock)], capture_output=True, text=True, check=False
        )
        assert "BusyError" in second.stderr
        assert "train@sft is already running" in second.stderr
    with exclusive(lock, "train@sft"):
        pass
    assert BusyError.exit_code == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_library_that_swallows_the_end_of_a_process_delays_it_only(
    number: signal.Signals,
) -> None:
    code = f"""
import os
from pipelines.process import end_when_asked
require_wanted = end_when_asked()
require_wanted()
try:
    os.kill(os.getpid(), {number.value})
except:
    print("swallowed", flush=True)
require_wanted()
print("recorded")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("swallowed\n", 128 + number)


def test_a_stage_ends_when_the_run_that_started_it_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    run = subprocess.Popen([sys.executable, "-c", DVC, STAGE, str(pid_file)])
    wait_for(lambda: pid_file.exists() and pid_file.read_text() != "", 300, "the stage starts")
    stage = psutil.Process(int(pid_file.read_text()))
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    try:
        stage.wait(timeout=300)
    except psutil.TimeoutExpired:
        stage.kill()
        pytest.fail("the stage outlived its run")
