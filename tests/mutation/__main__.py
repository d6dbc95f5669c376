"""Mutants of the core: which changes of one operator or constant no test notices.

    python -m tests.mutation --mutants 600 --seed 1 --minutes 240 --workers 2

1. Every place of the core where a comparison, a boolean, an operator, a returned value or a constant
   can be changed is a candidate; `--seed` draws `--mutants` of them.
2. One run of the core's tests without a change tells which functions each test reaches. Tests that
   fail or cannot be imported here (a missing package) are left out and named.
3. Each mutant is applied in a worker's own copy of the project. The first tests that reach its
   function run until one fails: those of its own module first, then those that reach few functions.
   Survivors without a reason meet all other tests of the core in a second round.
4. A mutant is killed by a failing test, or by a test that takes twenty times as long as it should.

After every mutant the results are written to `benchmarks/mutation.json`, and at the end, or when
`--minutes` are over, to `benchmarks/mutation.md`. The next call runs only what is missing there: a
result counts as long as the mutant's function is the same, or its file where it stands in no
function. `--again` runs the survivors once more, after tests were added. A survivor's reason stands
in `tests/survivors.yaml` under its name; a survivor without a reason needs a test.

It needs the dependencies of governance, pytest, pytest-xdist and hypothesis, and no git.

Why a script of ours: mutmut changes no decorated function (validators, properties) and draws by no
seed; cosmic-ray changes files in place, one at a time, and orders no tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ruamel.yaml import YAML

from tests.mutation.mutants import CORE, Mutant, applied, core_files, drawn
from tests.mutation.reached import FOLDER

ROOT = Path(__file__).parent.parent.parent
TESTS = (*CORE, "log", "release")
"""Folders of tests. What is asked of a governed alias is tested where aliases move: release."""
EXCLUDED = ("test_postgres", "test_page", "test_carry", "test_mirror", "test_faults")
"""Tests of the log's adapters, which are no part of the core."""
REASONS = ROOT / "tests" / "survivors.yaml"
FIRST_BATCH = 30
"""So many tests run before those that reach more of the core are even imported."""
FIRST_ROUND = 250
"""So many tests that reach a mutant run in the first round. Later ones seldom kill."""
PASSING = 0.9
"""The share that has to be killed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    killed: str
    """The test, or `time limit`; empty where it survived."""
    seconds: float
    tests: int
    """How many tests reach it."""
    is_final: bool
    """Whether it is killed or has met every test of the core."""

    def line(self) -> str:
        """One line of the log."""
        word = "SURVIVED" if self.is_final else "survived the first tests"
        word = f"killed by {self.killed}" if self.killed else word
        return f"{self.mutant.name[:160]} (line {self.mutant.line}): {word} ({self.seconds:.0f} s)"


@dataclass
class Suite:
    """The core's tests as they are without a change."""

    seconds: dict[str, float]
    places: dict[str, frozenset[str]]
    """Where the functions begin that each test reaches: `FILE:LINE`."""
    left_out: list[str] = field(default_factory=list)

    def reaching(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant's function; all where it stands in none."""
        places = {f"{mutant.file}:{line}" for line in range(mutant.first, mutant.last + 1)}
        names = [
            name for name, reached in self.places.items() if not mutant.function or places & reached
        ]
        stem = f"/test_{Path(mutant.file).stem.rstrip('s')}"
        package = f"/{mutant.file.split('/')[1]}/"

        def distance(name: str) -> tuple[bool, bool, int, str]:
            return stem not in name, package not in name, len(self.places[name]), name

        return sorted(names, key=distance)

    def limits(self, names: Iterable[str]) -> dict[str, float]:
        """Seconds after which each test is ended."""
        return {name: 60 + 20 * self.seconds[name] for name in names}

    def batches(self, mutant: Mutant, *, first: bool) -> list[dict[str, float]]:
        """The tests of a round, in the order in which they run."""
        reaching = self.reaching(mutant)
        nearest = reaching[:FIRST_ROUND]
        if first:
            parts = [nearest[:FIRST_BATCH], nearest[FIRST_BATCH:]]
        else:
            parts = [reaching[FIRST_ROUND:], sorted(self.seconds.keys() - set(reaching))]
        return [self.limits(part) for part in parts if part]


# --- copies of the project ------------------------------------------------------------------------


def copied(source: Path, copy: Path) -> Path:
    """A copy of what the tests need, byte code with it."""
    copy.mkdir()
    for name in ("governance", "pipelines", "policies", "tests", "docs", "benchmarks"):
        shutil.copytree(source / name, copy / name)
    for path in source.iterdir():
        if path.is_file():
            shutil.copy2(path, copy / path.name)
    # In place of pyproject.toml's options, which need plugins that may be missing here.
    (copy / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    return copy


def environment(copy: Path, **more: str) -> dict[str, str]:
    """Of a process that runs in a copy."""
    return {**os.environ, "PYTHONPATH": str(copy), "TESTS_PROFILE": "mutation", **more}


def without_change(copy: Path, workers: int) -> Suite:
    """Runs the core's tests once, which also compiles them."""
    folder = copy / "reached"
    folder.mkdir()
    files = [
        path for part in TESTS for path in (copy / "tests/governance" / part).glob("test_*.py")
    ]
    names = [str(path.relative_to(copy)) for path in sorted(files) if path.stem not in EXCLUDED]
    options = ["-q", "-m", "not slow", "-k", "not postgresql", "-W", "ignore", "--tb=line"]
    options += ["-n", str(workers), "--dist", "worksteal", "--continue-on-collection-errors"]
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-p",
        "tests.mutation.reached",
        *options,
        *names,
    ]
    done = subprocess.run(
        command, cwd=copy, env=environment(copy, **{FOLDER: str(folder)}), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()]
    tests = {name: test for part in parts for name, test in part["tests"].items()}
    errors = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ERROR ")]
    left_out = sorted({*errors, *(name for part in parts for name in part["failed"])})
    if len(tests) < 9 * len(left_out) or not tests:
        raise SystemExit(f"the tests fail without any change:\n{done.stdout[-5000:]}")
    shutil.rmtree(folder)
    return Suite(
        {name: test["seconds"] for name, test in tests.items()},
        {name: frozenset(test["places"]) for name, test in tests.items()},
        left_out,
    )


class Worker:
    """A process that runs mutants in its own copy."""

    def __init__(self, copy: Path) -> None:
        self.copy = copy
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.mutation.worker"],
            cwd=copy,
            env=environment(copy, PYTHONDONTWRITEBYTECODE="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def tries(self, mutant: Mutant, batches: list[dict[str, float]]) -> dict[str, Any] | None:
        """What killed it and how long that took; nothing where the worker was ended meanwhile."""
        assert self.process.stdin is not None and self.process.stdout is not None
        text = applied(mutant, (ROOT / mutant.file).read_text(encoding="utf-8"))
        order = {"file": mutant.file, "text": text, "batches": batches}
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except (OSError, ValueError):
            return None
        return json.loads(answer) if answer else None

    def end(self) -> None:
        """Ends it at once, in the middle of a mutant, too."""
        self.process.terminate()
        self.process.wait()


# --- the results ----------------------------------------------------------------------------------


@dataclass
class Results:
    """What became of the mutants drawn, kept in a file."""

    path: Path
    seed: int
    chosen: list[Mutant]
    known: int
    suite: Suite | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def read(self, *, again: bool) -> None:
        """Takes what an earlier call found of functions that are still the same."""
        if not self.path.exists():
            return
        by_name = {mutant.name: mutant for mutant in self.chosen}
        reasons = read_reasons()
        content = json.loads(self.path.read_text(encoding="utf-8"))
        for name, kept in (content["survivors"] | content["killed_mutants"]).items():
            mutant = by_name.get(name)
            if mutant is None or kept["source"] != source_digest(mutant):
                continue
            if kept["killed"] or not again or name in reasons:
                self.outcomes[name] = Outcome(
                    mutant, kept["killed"], kept["seconds"], kept["tests"], kept["is_final"]
                )

    def missing(self, *, first: bool) -> list[Mutant]:
        """The mutants that a round has still to run."""
        if first:
            return [mutant for mutant in self.chosen if mutant.name not in self.outcomes]
        return [self.outcomes[name].mutant for name in self.unfinished()]

    def unfinished(self) -> list[str]:
        """Survivors without a reason that have not met every test of the core."""
        reasons = read_reasons()
        return [
            name
            for name, outcome in self.outcomes.items()
            if not outcome.is_final and name not in reasons
        ]

    def add(self, outcome: Outcome) -> None:
        """Keeps an outcome, in the file too."""
        self.outcomes[outcome.mutant.name] = outcome
        print(f"{len(self.outcomes)}/{len(self.chosen)} {outcome.line()}", flush=True)
        self.write()

    def write(self) -> None:
        """The file, replaced at once."""
        content = {
            "seed": self.seed,
            "candidates": self.known,
            "drawn": len(self.chosen),
            "run": len(self.outcomes),
            "killed": sum(bool(one.killed) for one in self.outcomes.values()),
            "left_out": self.suite.left_out if self.suite else [],
            "survivors": {name: self._kept(one) for name, one in self._sorted() if not one.killed},
            "killed_mutants": {name: self._kept(one) for name, one in self._sorted() if one.killed},
        }
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)

    def _sorted(self) -> list[tuple[str, Outcome]]:
        """Survivors first, in the order of their files."""
        return sorted(
            self.outcomes.items(),
            key=lambda item: (bool(item[1].killed), item[1].mutant.file, item[1].mutant.line),
        )

    @staticmethod
    def _kept(outcome: Outcome) -> dict[str, Any]:
        mutant = outcome.mutant
        return {
            "killed": outcome.killed,
            "is_final": outcome.is_final,
            "file": mutant.file,
            "line": mutant.line,
            "function": mutant.function,
            "kind": mutant.kind,
            "old": mutant.old,
            "new": mutant.new,
            "tests": outcome.tests,
            "seconds": outcome.seconds,
            "source": source_digest(mutant),
        }

    def page(self) -> Iterator[str]:
        """The lines of the page of results."""
        outcomes = [outcome for _, outcome in self._sorted()]
        killed = [one for one in outcomes if one.killed]
        survivors = [one for one in outcomes if not one.killed]
        reasons = read_reasons()
        share = len(killed) / max(1, len(outcomes))
        yield "# Mutants of the core"
        yield ""
        yield "Made by `python -m tests.mutation`; `make nightly` runs 600."
        yield ""
        yield (
            f"- {self.known} possible changes in {len(core_files(ROOT))} files;"
            f" {len(self.chosen)} drawn with seed {self.seed}; {len(outcomes)} run"
        )
        yield f"- killed: {len(killed)} of {len(outcomes)} ({share:.1%})"
        yield f"- by the time limit: {sum(one.killed == 'time limit' for one in killed)}"
        yield f"- survivors with a reason: {sum(one.mutant.name in reasons for one in survivors)}"
        if unfinished := len(self.unfinished()):
            yield f"- survivors that met {FIRST_ROUND} tests only, for lack of time: {unfinished}"
        if self.suite:
            left_out = len(self.suite.left_out)
            yield f"- {len(self.suite.seconds)} tests used; {left_out} left out, which do not pass here"
        yield ""
        yield "| Kind | Run | Killed |"
        yield "|---|---|---|"
        for kind in sorted({one.mutant.kind for one in outcomes}):
            of_kind = [one for one in outcomes if one.mutant.kind == kind]
            yield f"| {kind} | {len(of_kind)} | {sum(bool(one.killed) for one in of_kind)} |"
        yield ""
        yield "[Mutants made by hand](mutants_by_hand.md) have a page of their own."
        yield ""
        yield "## Survivors"
        yield ""
        yield "| Place | Change | Tests that reach it | Reason |"
        yield "|---|---|---|---|"
        for one in survivors:
            change = one.mutant.change.replace("|", "\\|")
            reason = reasons.get(one.mutant.name, "needs a test")
            place = f"{one.mutant.file}:{one.mutant.line} {one.mutant.function}"
            yield f"| {place} | `{change[:120]}` | {one.tests} | {reason} |"


def read_reasons() -> dict[str, str]:
    """Why survivors may survive, by their names."""
    return (YAML(typ="safe").load(REASONS) or {}) if REASONS.exists() else {}


def source_digest(mutant: Mutant) -> str:
    """Of a mutant's function as it is now; of the whole file where it stands in none."""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    if mutant.function:
        text = "".join(text.splitlines(keepends=True)[mutant.first - 1 : mutant.last])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- running --------------------------------------------------------------------------------------


def run(results: Results, until: float, count: int) -> None:
    """Runs what is missing until it or the time is over."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        first = copied(ROOT, Path(folder) / "0")
        results.suite = suite = without_change(first, count)
        copies = [first, *(copied(first, Path(folder) / str(1 + i)) for i in range(count - 1))]
        print(f"{len(suite.seconds)} tests pass without a change, {len(suite.left_out)} left out")
        workers = [Worker(copy) for copy in copies]
        ending = threading.Timer(
            max(0, until - time.monotonic()), lambda: [worker.end() for worker in workers]
        )
        ending.start()
        try:
            for is_first in (True, False):
                _round(results, suite, workers, first=is_first)
        finally:
            ending.cancel()
            for worker in workers:
                worker.end()


def _round(results: Results, suite: Suite, workers: list[Worker], *, first: bool) -> None:
    """Every worker takes the next mutant until none is left."""
    waiting: SimpleQueue[Mutant] = SimpleQueue()
    for mutant in results.missing(first=first):
        waiting.put(mutant)
    lock = threading.Lock()

    def work(worker: Worker) -> None:
        while True:
            try:
                mutant = waiting.get_nowait()
            except Empty:
                return
            answer = worker.tries(mutant, suite.batches(mutant, first=first))
            if answer is None:
                return
            reaching = len(suite.reaching(mutant))
            killed = answer["killed"]
            is_final = bool(killed) or not first
            with lock:
                results.add(Outcome(mutant, killed, answer["seconds"], reaching, is_final))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Runs the mutants and writes the page; 1 where too few were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=480)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="run survivors without a reason again")
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "mutation.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen, known = drawn(ROOT, options.mutants, options.seed)
    results = Results(options.result, options.seed, chosen, known)
    results.read(again=options.again)
    try:
        if results.missing(first=True) or results.missing(first=False):
            run(results, time.monotonic() + 60 * options.minutes, options.workers)
    finally:
        page = options.result.with_suffix(".md")
        page.write_text("\n".join(results.page()) + "\n", encoding="utf-8")
    outcomes = results.outcomes.values()
    killed = sum(bool(one.killed) for one in outcomes)
    print(f"killed {killed} of {len(outcomes)}, {len(chosen)} drawn; see {page}")
    return int(killed < PASSING * len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
