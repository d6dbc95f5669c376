"""`make bench` compares each figure with a plain alternative. Runs alternate; it reports medians.

Works in build/bench, with a log and registry of its own; writes benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import governing, judging, log, repeating, reporting, scanning, serving, tracing

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build" / "bench"
ENVIRON = {
    **os.environ,
    "COUNTERSIGN_HOME": str(WORK / ".state"),
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
SHORT, LONG = 10, 1200
"""SFT steps: one run that is mostly set-up, and one of more than a minute."""

Row = tuple[str, str, str, str]


def main() -> None:
    """Runs everything and writes the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument(
        "--log",
        type=int,
        default=log.ENTRIES,
        metavar="ENTRIES",
        help="size of the log's benchmark",
    )
    entries = options.parse_args().log
    say("preparing build/bench (a copy of the project, brought up to the stage sft)")
    prepare()
    rows: list[Row] = [
        *training(),
        *scanning.rows(say),
        *judging.rows(say),
        *tracing.rows(say),
        *governing.rows(say),
        *reporting.rows(say),
        *log.rows(say, entries),
        *serving.rows(say),
        *repeating.rows(say, WORK, ENVIRON),
        *command_line(),
    ]
    (ROOT / "benchmarks" / "results.md").write_text(page(rows), encoding="utf-8")
    say("written: benchmarks/results.md")


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"bench: {text}\n")


def run(command: list[str]) -> float:
    """Seconds that a command takes in the working folder; it must succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=WORK, env=ENVIRON, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


def compared(
    ours: Callable[[], float], plain: Callable[[], float], times: int
) -> tuple[float, float]:
    """Median seconds of both. They run in turns, so that load on the machine affects both."""
    pairs = [(ours(), plain()) for _ in range(times)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def prepare() -> None:
    """Copies the project with its repository and runs everything that `sft` needs."""
    shutil.rmtree(WORK, ignore_errors=True)
    made = ("data", "models", "evaluations", "gates", "reports", "dvc.lock")
    skip = shutil.ignore_patterns(".venv", ".git", "build", "tmp", "cache", "__pycache__", *made)
    shutil.copytree(ROOT, WORK, ignore=skip)
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=WORK, check=True, capture_output=True)
    subprocess.run(
        [
            "git",
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@example.org",
            "commit",
            "-qm",
            "bench",
        ],
        cwd=WORK,
        check=True,
        capture_output=True,
    )
    run(["countersign", "repro"])


def training() -> list[Row]:
    """A governed stage against the bare TRL script on the same work."""
    found = []
    for steps, times in ((SHORT, 3), (LONG, 2)):
        say(f"training {steps} steps, governed and bare")
        params = (WORK / "params.yaml").read_text(encoding="utf-8")
        (WORK / "params.yaml").write_text(
            params.replace("max_steps: 150", f"max_steps: {steps}"), encoding="utf-8"
        )
        run(["countersign", "stage", "gate", "sft"])
        ours, plain = compared(
            lambda: run(["countersign", "stage", "train", "sft"]),
            partial(
                run, [sys.executable, str(ROOT / "benchmarks/bare_sft.py"), str(steps), ".bare"]
            ),
            times,
        )
        (WORK / "params.yaml").write_text(params, encoding="utf-8")
        found.append(row(f"SFT stage, {steps} steps", ours, "bare TRL script", plain))
    run(["countersign", "repro"])
    return found


def command_line() -> list[Row]:
    """Start-up of the command."""
    say("start-up of the command line")
    ours, plain = compared(
        lambda: run(["countersign", "--help"]),
        lambda: run([sys.executable, "-c", "import click"]),
        10,
    )
    return [row("countersign --help", ours, "python -c 'import click'", plain)]


def row(what: str, ours: float, alternative: str, plain: float) -> Row:
    """One line of the table: seconds, the alternative's, and the difference and ratio."""
    return (
        what,
        f"{ours:.2f} s",
        f"{alternative}: {plain:.2f} s",
        f"{ours - plain:+.2f} s, {ours / plain:.2f} times",
    )


def page(rows: list[Row]) -> str:
    """The results as Markdown."""
    lines = [
        "# Benchmark",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}. {machine()}.",
        (
            "Medians of runs that alternate with the plain alternative; wall-clock time of whole"
            " processes, where a row does not say CPU time."
        ),
        "",
        "| what | governed | plain alternative | difference |",
        "|---|---|---|---|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores, memory, Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{model}, {os.cpu_count()} cores, {memory} GiB, {platform.system()}, Python"
        f" {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
