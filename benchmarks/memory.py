"""`python -m benchmarks.memory [RECORDS...]`: the peak memory of ingest, scan and quality check by
how many records a dataset has. Writes the rows of benchmarks/results.md to its output.

A stage runs as its own process. Peak: the largest sum of the anonymous memory of it and of the
processes that it starts, in which shared pages count once (`Pss_Anon` of Linux), sampled ten times
a second. What is read from files, e.g. the code of libraries, is left out: it depends on what else
runs. Works in build/bench-memory, with a log of its own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from benchmarks.scanning import texts

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build" / "bench-memory"
STAGES = ("ingest", "scan_pii", "check_quality")
NAME = "desk_sft"
"""The dataset whose source is replaced: it has a datacard and a quality suite."""
SIZES = (30_000, 300_000)
ENVIRON = {**os.environ, "COUNTERSIGN_HOME": str(WORK / ".state"), "COUNTERSIGN_WORKERS": "off"}


def main() -> None:
    """Each size in turn, and one row for each stage."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    peaks = {size: measured(size) for size in sizes}
    for stage in STAGES:
        found = ", ".join(f"{peaks[size][stage][0]:.0f} MB for {size:,}" for size in sizes)
        seconds = peaks[sizes[-1]][stage][1]
        print(f"| memory of {stage}, short conversations | {found} |  | {seconds:.0f} s |")


def measured(size: int) -> dict[str, tuple[float, float]]:
    """Stage to peak in MB, and seconds."""
    prepare(size)
    found = {}
    for stage in STAGES:
        found[stage] = peak(("countersign", "stage", stage, NAME))
        sys.stderr.write(f"bench: {stage}, {size:,} records: {found[stage][0]:.0f} MB\n")
    return found


def prepare(size: int) -> None:
    """A project with one dataset of so many records."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    shutil.copytree(ROOT / "policies", WORK / "policies")
    for name in ("dvc.yaml", "countersign.lock", ".gitignore"):
        shutil.copyfile(ROOT / name, WORK / name)
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    row = params["datasets"][NAME]
    row["source"], row["held_out"] = "source.jsonl", NAME
    yaml.dump(params, WORK / "params.yaml")
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=bench", "-c", "user.email=b@example.org", "commit", "-qm", "bench"),
    ):
        subprocess.run(["git", *command], cwd=WORK, check=True)
    words = random.Random(5)  # noqa: S311
    asked, said = texts(0.05, 1, size), texts(0.0, 2, size)
    with (WORK / "source.jsonl").open("w", encoding="utf-8") as stream:
        for question, answer in zip(asked, said, strict=True):
            sizes = words.randrange(60, 160), words.randrange(40, 120)
            turns = [("user", question[-sizes[0] :]), ("assistant", answer[-sizes[1] :])]
            messages = [{"role": role, "content": text.strip()} for role, text in turns]
            stream.write(json.dumps({"messages": messages}) + "\n")


def peak(command: tuple[str, ...]) -> tuple[float, float]:
    """Megabytes and seconds of a command, which must succeed."""
    began, most = time.monotonic(), 0
    with (WORK / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=WORK, env=ENVIRON, stdout=output, stderr=output)
        while process.poll() is None:
            most = max(most, _used(process.pid))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(f"bench: {' '.join(command)} failed:\n{(WORK / 'output.txt').read_text()[-2000:]}")
    return most / 1e6, time.monotonic() - began


def _used(pid: int) -> int:
    try:
        top = psutil.Process(pid)
        return sum(_of(each.pid) for each in (top, *top.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _of(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
