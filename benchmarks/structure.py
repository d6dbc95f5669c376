"""Size and shape of the code: `python -m benchmarks.structure [TREE...]` prints one table.

A tree is a folder or a git revision of this repository; without one, the working tree is measured.
`python -m benchmarks.architecture` writes the same table into docs/architecture.md.

How each figure is counted:

- *lines*: all lines of Python, templates, style sheets and YAML inside a package. Data (JSON, word
  lists) is not counted.
- *code*: the same files without blank lines, comments and docstrings. A line counts if a token of
  code is on it.
- *tokens*: Python tokens without comments, docstrings and layout. Unlike lines, they do not change
  when lines are wrapped; *tokens per line* shows how densely code is packed.
- *function length*: lines from `def` to the end, without the docstring.
- *complexity*: McCabe's number: one, plus one for each branch, loop, handler, condition of a
  comprehension and further operand of `and` and `or`.
- *public names*: functions, classes and constants of a module whose name has no leading underscore.
- *units*: the packages and modules directly below `governance` or `pipelines`; *imports between
  units* counts distinct pairs; *levels* is the longest chain of them.
- *import depth*: the longest chain of files that import each other, cycles counted as one file.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parent.parent
PACKAGES = ("governance", "pipelines")
COLUMNS = 100
CORE = (
    "governance.base",
    "governance.attest",
    "governance.policy",
    "governance.history",
    "governance.gates",
    "governance.models",
    "governance.log.port",
    "governance.log.merkle",
    "governance.log.checkpoint",
    "governance.log.sql",
    "governance.log.sqlite",
    "governance.log.evidence",
    "governance.log.views",
)
"""The modules, with what is below them, that carry the promises."""

TEXTS = {".j2": r"\{#.*?#\}", ".jinja": r"\{#.*?#\}", ".html": r"<!--.*?-->", ".css": r"/\*.*?\*/"}
"""Suffixes of templates and style sheets, with the pattern of a comment."""
YAML = (".yaml", ".yml")

Edges: TypeAlias = Mapping[str, frozenset[str]]
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


@dataclass(frozen=True)
class Function:
    """One function or method."""

    name: str
    lines: int
    complexity: int


@dataclass(frozen=True)
class File:
    """The counts of one file."""

    lines: int
    code: int
    comments: int = 0
    tokens: int = 0
    long_lines: int = 0
    public: int = 0
    functions: tuple[Function, ...] = ()
    imports: tuple[tuple[str, str], ...] = ()
    """Module and name of each import, the name empty for a plain `import`."""


@dataclass
class Tree:
    """All files of one version of the code."""

    modules: dict[str, File] = field(default_factory=dict)
    """Python files by the name of their module."""
    texts: dict[str, File] = field(default_factory=dict)
    """Templates, style sheets and YAML by their path."""

    @cached_property
    def edges(self) -> Edges:
        """The modules of this tree that each module imports."""
        found: dict[str, set[str]] = {name: set() for name in self.modules}
        for name, file in self.modules.items():
            for module, member in file.imports:
                target = f"{module}.{member}" if f"{module}.{member}" in self.modules else module
                if target in self.modules and target != name:
                    found[name].add(target)
        return {name: frozenset(targets) for name, targets in found.items()}


def read_tree(root: Path) -> Tree:
    """Measures the packages below a folder."""
    tree = Tree()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*")):
        relative = path.relative_to(root)
        if path.suffix == ".py":
            parts = relative.with_suffix("").parts
            package = parts if path.stem == "__init__" else parts[:-1]
            name = ".".join(parts).removesuffix(".__init__")
            tree.modules[name] = python_file(path.read_text(encoding="utf-8"), package)
        elif path.suffix in TEXTS or path.suffix in YAML:
            tree.texts[relative.as_posix()] = text_file(path)
    return tree


def read_revision(revision: str) -> Tree:
    """Measures a git revision of this repository."""
    command = ["git", "archive", "--format=tar", revision, *PACKAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{revision} is neither a folder nor a revision: {done.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        return read_tree(Path(folder))


def python_file(text: str, package: tuple[str, ...]) -> File:
    """Measures one Python file; `package` resolves its relative imports."""
    module = ast.parse(text)
    documented = docstring_lines(module)
    tokens = [token for token in python_tokens(text) if token.start[0] not in documented]
    rows = {row for token in tokens for row in range(token.start[0], token.end[0] + 1)}
    lines = text.splitlines()
    return File(
        lines=len(lines),
        code=len(rows),
        comments=sum(line.lstrip().startswith("#") for line in lines),
        tokens=len(tokens),
        long_lines=sum(len(line) > COLUMNS for line in lines),
        public=len(public_names(module)),
        functions=tuple(functions(module)),
        imports=tuple(imports(module, package)),
    )


def text_file(path: Path) -> File:
    """Measures a template, a style sheet or a YAML file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in YAML:
        code = [line for line in text.splitlines() if line.strip() and not re.match(r"\s*#", line)]
    else:
        without = re.sub(TEXTS[path.suffix], "", text, flags=re.DOTALL)
        code = [line for line in without.splitlines() if line.strip()]
    lines = text.splitlines()
    return File(
        lines=len(lines), code=len(code), long_lines=sum(len(line) > COLUMNS for line in lines)
    )


def python_tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens of code: no comments, no layout."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            yield token


def docstring_lines(module: ast.Module) -> set[int]:
    """The rows of strings that stand alone: docstrings, and those below a field or constant."""
    rows: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and is_text(node.value):
            rows.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return rows


def is_text(node: ast.expr) -> bool:
    """Whether an expression is a string as written."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def functions(module: ast.Module) -> Iterator[Function]:
    """Every function and method, inner ones too."""
    for node in ast.walk(module):
        if isinstance(node, FunctionNode):
            rows = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if isinstance(first, ast.Expr) and is_text(first.value):
                rows -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield Function(node.name, rows, complexity(node))


def complexity(function: FunctionNode) -> int:
    """McCabe's number of a function, without its inner functions."""
    total = 1
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, FunctionNode):
            continue
        if isinstance(node, BRANCHES):
            total += 1
        elif isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            total += 1 + len(node.ifs)
        waiting.extend(ast.iter_child_nodes(node))
    return total


def public_names(module: ast.Module) -> set[str]:
    """Functions, classes and constants at the top of a module."""
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, FunctionNode | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def imports(module: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every import of a file, those inside functions too, but not those for types alone."""
    for node in executed(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (start, node.module) if part)
            yield from ((source, alias.name) for alias in node.names)


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from executed(child)


def depth(edges: Edges) -> int:
    """The number of nodes on the longest chain; a cycle counts as one node."""
    component = components(edges)
    groups: dict[int, set[int]] = defaultdict(set)
    for name, targets in edges.items():
        groups[component[name]] |= {component[target] for target in targets}
        groups[component[name]].discard(component[name])
    longest: dict[int, int] = {}
    for group in sorted(groups):  # Tarjan numbers a component after those that it reaches
        longest[group] = 1 + max((longest[target] for target in groups[group]), default=0)
    return max(longest.values(), default=0)


def components(edges: Edges) -> dict[str, int]:
    """The number of each node's strongly connected component (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    component: dict[str, int] = {}
    stack: list[str] = []
    count = 0

    def visit(name: str) -> None:
        nonlocal count
        number[name] = low[name] = len(number)
        stack.append(name)
        for target in edges[name]:
            if target not in number:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target not in component:
                low[name] = min(low[name], number[target])
        if low[name] == number[name]:
            while name not in component:
                component[stack.pop()] = count
            count += 1

    for name in edges:
        if name not in number:
            visit(name)
    return component


def unit(module: str) -> str:
    """The package or module directly below the top that a module belongs to."""
    return ".".join(module.split(".")[:2])


def unit_edges(edges: Edges) -> Edges:
    """Which unit imports which; the top package's own file is left out."""
    found: dict[str, set[str]] = {unit(name): set() for name in edges if "." in name}
    for name, targets in edges.items():
        if "." in name:
            found[unit(name)] |= {unit(target) for target in targets if "." in target}
    return {name: frozenset(targets - {name}) for name, targets in found.items()}


def inside(edges: Edges, prefix: str) -> Edges:
    """The part of a graph whose nodes are in a package."""
    kept = {name for name in edges if below(name, (prefix,))}
    return {name: frozenset(edges[name] & kept) for name in kept}


def below(module: str, prefixes: Iterable[str]) -> bool:
    """Whether a module is one of these, or below one."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def figures(tree: Tree, package: str) -> dict[str, str]:
    """The rows of the table for one package of one tree."""
    return {**figures_of_size(tree, package), **figures_of_shape(tree, package)}


def figures_of_size(tree: Tree, package: str) -> dict[str, str]:
    """Lines, tokens and functions."""
    python = [file for name, file in tree.modules.items() if below(name, (package,))]
    texts = [file for path, file in tree.texts.items() if path.startswith(f"{package}/")]
    every = [*python, *texts]
    lines = sum(file.lines for file in every)
    tokens = sum(file.tokens for file in python)
    too_long = sum(file.long_lines for file in every)
    python_lines = sum(file.lines for file in python)
    python_code = sum(file.code for file in python)
    comments = sum(file.comments for file in python)
    found = [function for file in python for function in file.functions]
    lengths = sorted(function.lines for function in found)
    branches = [function.complexity for function in found]
    return {
        "lines": f"{lines:,}",
        "code": f"{sum(file.code for file in every):,}",
        "of it templates, styles, YAML": f"{sum(file.code for file in texts):,}",
        "tokens": f"{tokens:,}",
        "tokens per line of code": f"{tokens / python_code:.1f}",
        "comment lines": f"{100 * comments / python_lines:.1f} %",
        f"lines over {COLUMNS} columns": f"{too_long:,} ({100 * too_long / lines:.1f} %)",
        "functions": f"{len(found):,}",
        "function length: median / 90th percentile / max": (
            f"{statistics.median(lengths):g} / {lengths[len(lengths) * 9 // 10]} / {lengths[-1]}"
        ),
        "complexity: mean / max": f"{statistics.mean(branches):.1f} / {max(branches)}",
    }


def figures_of_shape(tree: Tree, package: str) -> dict[str, str]:
    """Names, files and imports."""
    modules = {name: file for name, file in tree.modules.items() if below(name, (package,))}
    edges = inside(tree.edges, package)
    units = unit_edges(edges)
    return {
        "public names": f"{sum(file.public for file in modules.values()):,}",
        "files": f"{len(modules):,}",
        "units": f"{len(units)}",
        "imports between units": f"{sum(len(targets) for targets in units.values())}",
        "levels of units": f"{depth(units)}",
        "import depth (files)": f"{depth(edges)}",
    }


def core_figures(tree: Tree) -> dict[str, str]:
    """Size of the core, and what it imports beside itself: one row each."""
    core = {name for name in tree.modules if below(name, CORE)}
    texts = [file for path, file in tree.texts.items() if below(path.replace("/", "."), CORE)]
    every = [*(tree.modules[name] for name in core), *texts]
    outside = {
        target
        for name in core
        for target in tree.edges[name]
        if target not in core and "." in target
    }
    return {
        "lines": f"{sum(file.lines for file in every):,}",
        "code": f"{sum(file.code for file in every):,}",
        "files": f"{len(core):,}",
        "imports from outside the core": ", ".join(sorted(outside)) or "none",
    }


def table(trees: Mapping[str, Tree], package: str) -> list[str]:
    """A Markdown table of one package, a column per tree."""
    columns = [figures(tree, package) for tree in trees.values()]
    return [
        f"| {package} | {' | '.join(trees)} |",
        f"|---|{'---|' * len(trees)}",
        *(f"| {row} | {' | '.join(column[row] for column in columns)} |" for row in columns[0]),
    ]


def core_table(tree: Tree) -> list[str]:
    """A Markdown table of the core, and of each unit of governance."""
    rows = [f"| {name} | {value} |" for name, value in core_figures(tree).items()]
    return ["| core | |", "|---|---|", *rows]


def unit_table(tree: Tree) -> list[str]:
    """A Markdown table of code per package of governance."""
    code: dict[str, int] = defaultdict(int)
    for name, file in tree.modules.items():
        code[unit(name)] += file.code
    for path, file in tree.texts.items():
        code[unit(path.replace("/", "."))] += file.code
    largest = sorted(
        (name for name in code if name.startswith("governance.")), key=lambda name: -code[name]
    )
    rows = [f"| {name.removeprefix('governance.')} | {code[name]:,} |" for name in largest]
    return ["| package | code |", "|---|---|", *rows]


def read(tree: str) -> Tree:
    """A tree by the path of a folder or the name of a revision."""
    return read_tree(Path(tree)) if (Path(tree) / PACKAGES[0]).is_dir() else read_revision(tree)


def main() -> None:
    """Prints the tables of the trees that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure")
    parser.add_argument("trees", nargs="*", default=["."], metavar="TREE")
    parser.add_argument("--packages", action="store_true", help="code per package of governance")
    options = parser.parse_args()
    trees = {name: read(name) for name in options.trees}
    tables = [table(trees, package) for package in PACKAGES]
    tables += [core_table(tree) for tree in trees.values()]
    if options.packages:
        tables += [unit_table(tree) for tree in trees.values()]
    sys.stdout.write("\n\n".join("\n".join(lines) for lines in tables) + "\n")


if __name__ == "__main__":
    main()
