"""Mutants of the core: which changes of one operator or constant no test notices.

    python -m tests.mutation --mutants 600 --seed 1 --minutes 240

1. Every place of the core where a comparison, a boundary, a boolean, an operator, a returned value
   or a constant can be changed is a candidate; `--seed` draws `--mutants` of them.
2. Each is applied in a copy of the project of its own, and the core's tests run there until one
   fails: those of the same module first, then those of the same package. Those that survive meet
   all other tests of the core in a second round.
3. A mutant is killed by a failing test, or by a run that takes ten times as long as it should.

The result is written to `benchmarks/mutation.md`, survivors with their reason. A reason is looked up
in `tests/survivors.yaml` by file and change; a survivor without one needs a test.

Why a script of ours: mutmut changes no decorated function (validators, properties) and draws by no
seed; cosmic-ray changes files in place, one at a time, and orders no tests.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
CORE = ("base", "attest", "policy", "models", "history", "gates")
LOG = ("port", "merkle", "checkpoint", "sqlite", "evidence")
"""Modules of the log that belong to the core."""
TESTS = (*CORE, "log", "release")
"""Folders of tests. What is asked of a governed alias is tested where aliases move: release."""
EXCLUDED = ("test_postgres", "test_page", "test_carry", "test_mirror", "test_client")
"""Tests of the log's adapters, which are no part of the core."""
RESULT = ROOT / "benchmarks" / "mutation.md"
REASONS = ROOT / "tests" / "survivors.yaml"

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*",
    ast.LShift: ">>", ast.RShift: "<<", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one line."""

    file: str
    line: int
    kind: str
    start: int
    """Offsets of the changed text in the file, in characters."""
    end: int
    new: str
    old: str

    @property
    def change(self) -> str:
        """What stands in the table."""
        return f"{' '.join(self.old.split())} -> {' '.join(self.new.split())}"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    killed: str
    """The test, or `time limit`; empty where it survived."""
    seconds: float
    is_final: bool = True
    """Whether all tests ran: a survivor of its own package's tests may be killed by others."""


def modules() -> list[Path]:
    """The core's files."""
    found = [path for part in CORE for path in (ROOT / "governance" / part).rglob("*.py")]
    found += [ROOT / "governance" / "log" / f"{name}.py" for name in LOG]
    return sorted(path for path in found if path.exists() and path.name != "__init__.py")


# --- what can be changed --------------------------------------------------------------------------


def mutants(path: Path) -> Iterator[Mutant]:
    """Every change that can be made in a file."""
    text = path.read_text(encoding="utf-8")
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = text.splitlines(keepends=True)
    name = path.relative_to(ROOT).as_posix()

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def span(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)

    for node in _evaluated(ast.parse(text)):
        for kind, start, end, new in _changes(node, text, span):
            old = text[start:end]
            line = text.count("\n", 0, start) + 1
            yield Mutant(name, line, kind, start, end, new, old)


def _evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but annotations, docstrings and what stands under TYPE_CHECKING."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_skipped(child):
                continue
            yield child
            yield from _evaluated(child)


def _is_skipped(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _changes(node: ast.AST, text: str, span) -> Iterator[tuple[str, int, int, str]]:  # type: ignore[no-untyped-def]
    """Kind, offsets and new text of each change at a node."""
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            start, end = span(left)[1], span(right)[0]
            between = text[start:end]
            word = next(
                (one for one in sorted(_SPELLED, key=len, reverse=True) if one in between), None
            )
            if word and between.strip(" ()\n") == word:
                yield "comparison", start, end, between.replace(word, COMPARISONS[type(operator)])
    elif isinstance(node, ast.BoolOp):
        start, end = span(node)
        operator = " or " if isinstance(node.op, ast.And) else " and "
        yield "boolean", start, end, f"({_joined(node, text, span, operator)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        start, end = span(node)
        yield "boolean", start, end, f"bool({text[slice(*span(node.operand))]})"
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            return
        start, end = span(node)
        left, right = (text[slice(*span(one))] for one in (node.left, node.right))
        yield "arithmetic", start, end, f"(({left}) {OPERATORS[type(node.op)]} ({right}))"
    elif isinstance(node, ast.Return) and node.value is not None:
        start, end = span(node.value)
        if text[start:end] not in ("None", "True", "False"):
            yield "return", start, end, "None"
    elif isinstance(node, ast.Constant):
        start, end = span(node)
        if isinstance(node.value, bool):
            yield "constant", start, end, str(not node.value)
        elif isinstance(node.value, int | float):
            yield "constant", start, end, f"({text[start:end]} + 1)"


_SPELLED = ("not in", "is not", "in", "is", "<=", ">=", "==", "!=", "<", ">")


def _joined(node: ast.BoolOp, text: str, span, operator: str) -> str:  # type: ignore[no-untyped-def]
    return operator.join(f"({text[slice(*span(value))]})" for value in node.values)


def drawn(count: int, seed: int) -> tuple[list[Mutant], int]:
    """So many of all that still compile, and how many there are."""
    known = [mutant for path in modules() for mutant in mutants(path)]
    chosen = random.Random(seed).sample(known, len(known))
    valid = (one for one in chosen if _compiles(one))
    return [one for one, _ in zip(valid, range(count), strict=False)], len(known)


def applied(mutant: Mutant, text: str) -> str:
    """The file's text with the change in it."""
    return text[: mutant.start] + mutant.new + text[mutant.end :]


def _compiles(mutant: Mutant) -> bool:
    try:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        compile(applied(mutant, text), mutant.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


# --- running --------------------------------------------------------------------------------------


def tests_of(file: str, all_tests: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Test files in the order they are run: the module's, its package's, the others."""
    _, package, *_ = file.split("/")
    stem = Path(file).stem.rstrip("s")
    rest = list(all_tests)
    own = [one for one in rest if Path(one).stem.startswith(f"test_{stem}")]
    beside = [one for one in rest if f"/{package}/" in one and one not in own]
    others = [one for one in rest if one not in own and one not in beside]
    return own, beside, others


def core_tests() -> list[str]:
    """The test files of the core."""
    found = [
        path for part in TESTS for path in (ROOT / "tests/governance" / part).glob("test_*.py")
    ]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if path.stem not in EXCLUDED)


def run(mutant: Mutant, copy: Path, limit: float, *, first: bool) -> Outcome:
    """Applies a mutant in a copy of the project, runs the tests of a round, and takes it back."""
    path = copy / mutant.file
    whole = path.read_text(encoding="utf-8")
    own, beside, others = tests_of(mutant.file, core_tests())
    began, killed = time.monotonic(), ""
    try:
        path.write_text(applied(mutant, whole), encoding="utf-8")
        for batch in (own, beside) if first else (others,):
            killed = killed or (killed_by(copy, batch, limit) if batch else "")
    finally:
        path.write_text(whole, encoding="utf-8")
    return Outcome(mutant, killed, time.monotonic() - began, bool(killed) or not first)


def killed_by(copy: Path, tests: list[str], limit: float) -> str:
    """The first test that fails; `time limit`; or nothing."""
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-n", "0", "-m", "not slow"]
    command += ["-k", "not postgresql"]  # no part of the core
    command += ["--no-header", "--tb=no", "-W", "ignore", "-p", "no:randomly", *tests]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command,
        cwd=copy,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "time limit"
    if process.returncode == 0:
        return ""
    failed = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].split(maxsplit=1)[1] if failed else "the tests do not start"


def copies(folder: Path, count: int) -> list[Path]:
    """Copies of what the tests need."""
    made = []
    for number in range(count):
        copy = folder / str(number)
        copy.mkdir()
        for name in ("governance", "pipelines", "policies", "tests", "docs", "benchmarks"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy(path, copy / path.name)
        made.append(copy)
    return made


def session(chosen: list[Mutant], minutes: float, limit: float, at_once: int) -> list[Outcome]:
    """Runs mutants until they or the time are over."""
    until = time.monotonic() + 60 * minutes
    outcomes: dict[Mutant, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies(Path(folder), at_once):
            free.put(copy)
        if by := killed_by(copy, core_tests(), 10 * limit):
            raise SystemExit(f"the tests fail without any change: {by}")

        def one(mutant: Mutant, first: bool) -> None:
            if time.monotonic() > until:
                return
            copy = free.get()
            try:
                outcomes[mutant] = outcome = run(mutant, copy, limit, first=first)
            finally:
                free.put(copy)
            print(f"{len(outcomes)}/{len(chosen)} {told(outcome)}", flush=True)

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda mutant: one(mutant, True), chosen))
            survivors = [outcome.mutant for outcome in outcomes.values() if not outcome.killed]
            list(pool.map(lambda mutant: one(mutant, False), survivors))
    return list(outcomes.values())


def told(outcome: Outcome) -> str:
    """One line of the log."""
    mutant = outcome.mutant
    word = "SURVIVED" if outcome.is_final else "survived its own package's tests"
    word = f"killed by {outcome.killed}" if outcome.killed else word
    place = f"{mutant.file}:{mutant.line} {mutant.kind}: {mutant.change[:100]}"
    return f"{place}: {word} ({outcome.seconds:.0f} s)"


# --- the result -----------------------------------------------------------------------------------


def report(outcomes: list[Outcome], known: int, seed: int, asked: int) -> str:
    """The page of results."""
    killed = [one for one in outcomes if one.killed]
    survivors = sorted(
        (one for one in outcomes if not one.killed),
        key=lambda one: (one.mutant.file, one.mutant.line),
    )
    reasons = YAML(typ="safe").load(REASONS) or {} if REASONS.exists() else {}
    share = len(killed) / max(1, len(outcomes))
    lines = [
        "# Mutants of the core",
        "",
        "Made by `python -m tests.mutation`; `make nightly` runs 600.",
        "",
        f"- {known} possible changes in {len(modules())} files; {asked} drawn with seed {seed};"
        f" {len(outcomes)} run",
        f"- killed: {len(killed)} of {len(outcomes)} ({share:.1%})",
        f"- by the time limit: {sum(one.killed == 'time limit' for one in killed)}",
        f"- survivors that met only the tests of their own package, for lack of time:"
        f" {sum(not one.is_final for one in outcomes)}",
        "",
        "| Kind | Run | Killed |",
        "|---|---|---|",
    ]
    for kind in sorted({one.mutant.kind for one in outcomes}):
        of = [one for one in outcomes if one.mutant.kind == kind]
        lines.append(f"| {kind} | {len(of)} | {sum(bool(one.killed) for one in of)} |")
    lines += ["", "## Survivors", "", "| Place | Change | Reason |", "|---|---|---|"]
    for one in survivors:
        change = one.mutant.change.replace("|", "\\|")
        reason = reasons.get(f"{one.mutant.file}: {one.mutant.change}", "needs a test")
        lines.append(f"| {one.mutant.file}:{one.mutant.line} | `{change[:120]}` | {reason} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the mutants and writes the page; 1 where fewer than 90 % were killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=480)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one batch of tests")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    chosen, known = drawn(options.mutants, options.seed)
    outcomes = session(chosen, options.minutes, options.limit, options.at_once)
    options.result.write_text(report(outcomes, known, options.seed, len(chosen)), encoding="utf-8")
    killed = sum(bool(one.killed) for one in outcomes)
    print(f"killed {killed} of {len(outcomes)}; see {options.result}")
    return int(killed < 0.9 * len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
