"""Every change of one operator, constant or returned value that can be made in the core's files."""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

CORE = ("base", "attest", "policy", "models", "history", "gates")
LOG = ("port", "merkle", "checkpoint", "sql", "sqlite", "evidence", "views")
"""Modules of the log that belong to the core."""

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*",
    ast.LShift: ">>", ast.RShift: "<<", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
SPELLED = ("not in", "is not", "in", "is", "<=", ">=", "==", "!=", "<", ">")

Span = Callable[[ast.expr], tuple[int, int]]


@dataclass(frozen=True)
class Mutant:
    """One change of one place."""

    file: str
    line: int
    function: str
    """The innermost function around it, with its class; empty at the module's own level."""
    first: int
    """First and last line of that function; 0 at the module's own level."""
    last: int
    kind: str
    start: int
    """Offsets of the changed text in the file, in characters."""
    end: int
    old: str
    new: str
    number: int = 0
    """Among equal changes of one function, in the order of the file."""

    @property
    def change(self) -> str:
        """What stands in the table."""
        return f"{' '.join(self.old.split())} -> {' '.join(self.new.split())}"

    @property
    def name(self) -> str:
        """What it is called in `survivors.yaml` and in the file of results; lines may move."""
        number = f" #{self.number + 1}" if self.number else ""
        return f"{self.file} {self.function or '(module)'}: {self.change}{number}"

    def rank(self, seed: int) -> str:
        """Its place in the draw: a change elsewhere in the core moves it by little."""
        return hashlib.sha256(f"{seed} {self.name}".encode()).hexdigest()


def core_files(root: Path) -> list[Path]:
    """The core's files."""
    files = [path for part in CORE for path in (root / "governance" / part).rglob("*.py")]
    files += [root / "governance" / "log" / f"{name}.py" for name in LOG]
    return sorted(path for path in files if path.exists() and path.name != "__init__.py")


def drawn(root: Path, count: int, seed: int) -> tuple[list[Mutant], int]:
    """So many of all that still compile, and how many there are."""
    known = [mutant for path in core_files(root) for mutant in mutants_of(path, root)]
    chosen: list[Mutant] = []
    for mutant in sorted(known, key=lambda one: one.rank(seed)):
        if len(chosen) == count:
            break
        if _compiles(mutant, root):
            chosen.append(mutant)
    return chosen, len(known)


def mutants_of(path: Path, root: Path) -> Iterator[Mutant]:
    """Every change that can be made in a file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = _functions(tree)
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    def span(node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)

    seen: Counter[str] = Counter()
    for node in _evaluated(tree):
        for kind, start, end, new in _changes(node, text, span):
            line = text.count("\n", 0, start) + 1
            around = [one for one in functions if one[1] <= line <= one[2]]
            function, first, last = max(around, key=lambda one: one[1], default=("", 0, 0))
            file = path.relative_to(root).as_posix()
            mutant = Mutant(
                file, line, function, first, last, kind, start, end, text[start:end], new
            )
            yield replace(mutant, number=seen[mutant.name])
            seen[mutant.name] += 1


def _functions(tree: ast.AST, prefix: str = "") -> list[tuple[str, int, int]]:
    """Name, first and last line of every function, decorators with it."""
    functions = []
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{node.name}".lstrip(".")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            functions.append((name, first, node.end_lineno or node.lineno))
        functions += _functions(node, name)
    return functions


def _evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but annotations, docstrings, `frozen` and what stands under TYPE_CHECKING."""
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
    if isinstance(node, ast.keyword):  # a guard against programmers, which no input reaches
        return node.arg == "frozen"
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _changes(node: ast.AST, text: str, span: Span) -> Iterator[tuple[str, int, int, str]]:
    """Kind, offsets and new text of each change at a node."""
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            start, end = span(left)[1], span(right)[0]
            between = text[start:end]
            word = next(
                (one for one in sorted(SPELLED, key=len, reverse=True) if one in between), None
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


def _joined(node: ast.BoolOp, text: str, span: Span, operator: str) -> str:
    return operator.join(f"({text[slice(*span(value))]})" for value in node.values)


def applied(mutant: Mutant, text: str) -> str:
    """The file's text with the change in it."""
    return text[: mutant.start] + mutant.new + text[mutant.end :]


def _compiles(mutant: Mutant, root: Path) -> bool:
    text = (root / mutant.file).read_text(encoding="utf-8")
    try:
        compile(applied(mutant, text), mutant.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True
