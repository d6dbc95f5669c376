"""`repro` with nothing to do, in CPU seconds of all its processes, against DVC alone.

DVC alone has the same graph, in which no stage always runs. Runs alternate. CPU time depends less
than wall-clock time on what else the machine does. Processes that outlive their parent count too:
the command runs below a process that they fall to (`PR_SET_CHILD_SUBREAPER`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

COUNTED = """
import ctypes, os, resource, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
sys.exit(code)
"""
DVC = (sys.executable, "-m", "dvc", "repro")
OURS = (("countersign repro", ("countersign", "repro")), ("dvc repro", DVC))
READING = ("status", "live support-desk")


def cpu_seconds(command: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> float:
    """User and system time of a command and of all processes that it starts."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *command], cwd=folder, env=dict(environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed with {done.returncode}")
    return float(done.stdout)


def rows(
    say: Callable[[str], None], folder: Path, environ: Mapping[str, str], times: int = 5
) -> list[tuple[str, str, str, str]]:
    """The rows of the table, of a project in which everything has run."""
    say("repro with nothing to do")
    file = folder / "dvc.yaml"
    governed = file.read_text(encoding="utf-8")
    bare = "".join(line for line in governed.splitlines(True) if "always_changed" not in line)

    def seconds(text: str, command: tuple[str, ...]) -> float:
        file.write_text(text, encoding="utf-8")
        return cpu_seconds(command, folder, environ)

    found = []
    try:
        for name, command in OURS:
            seconds(bare, DVC), seconds(governed, command)  # what is done once
            pairs = [(seconds(governed, command), seconds(bare, DVC)) for _ in range(times)]
            ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
            found.append((
                f"{name}, nothing to do, CPU time", f"{ours:.2f} s",
                f"bare DVC, same graph: {plain:.2f} s",
                f"{ours - plain:+.2f} s, {ours / plain:.2f} times",
            ))  # fmt: skip
    finally:
        file.write_text(governed, encoding="utf-8")
    for command in READING:
        used = [
            cpu_seconds(("countersign", *command.split()), folder, environ) for _ in range(times)
        ]
        found.append(
            (f"countersign {command}, CPU time", f"{statistics.median(used):.2f} s", "", "")
        )
    return found


def main() -> None:
    """The rows of the project in a folder: `python -m benchmarks.repeating FOLDER`."""

    def say(text: str) -> None:
        sys.stderr.write(f"bench: {text}\n")

    for cells in rows(say, Path(sys.argv[1]), os.environ):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
