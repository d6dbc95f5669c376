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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import networkx

ROOT = Path(__file__).parent.parent
PACKAGES = ("governance", "pipelines")
CORE = (
    *(f"governance.{name}" for name in ("base", "attest", "policy", "history", "gates", "models")),
    *(f"governance.log.{name}" for name in ("port", "merkle", "checkpoint", "sql", "sqlite")),
    "governance.log.evidence",
    "governance.log.heads",
    "governance.log.model_index",
    "governance.log.notes",
    "governance.log.rules",
    "governance.log.views",
)
"""The modules, with what is below them, that carry the promises."""
COMMENTS = {
    ".j2": r"\{#.*?#\}", ".jinja": r"\{#.*?#\}", ".html": r"<!--.*?-->", ".css": r"/\*.*?\*/",
    ".yaml": r"^\s*#[^\n]*", ".yml": r"^\s*#[^\n]*",
}  # fmt: skip
"""Suffixes of templates, style sheets and YAML, with the pattern of a comment."""
LAYOUT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """The counts of one file."""

    lines: int
    code: int
    tokens: int = 0
    public: int = 0
    function_lengths: tuple[int, ...] = ()
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
    def imports(self) -> networkx.DiGraph:
        """Which module imports which other module of this tree."""
        graph = networkx.DiGraph()
        graph.add_nodes_from(self.modules)
        for name, file in self.modules.items():
            for module, member in file.imports:
                target = f"{module}.{member}" if f"{module}.{member}" in self.modules else module
                if target in self.modules and target != name:
                    graph.add_edge(name, target)
        return graph

    def below(self, *prefixes: str) -> dict[str, File]:
        """The Python files of these packages and modules."""
        return {name: file for name, file in self.modules.items() if is_below(name, prefixes)}

    def texts_below(self, *prefixes: str) -> list[File]:
        """Their templates, style sheets and YAML."""
        return [
            file for path, file in self.texts.items() if is_below(path.replace("/", "."), prefixes)
        ]


def is_below(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a module is one of these, or below one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


# --- reading --------------------------------------------------------------------------------------


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
        elif path.suffix in COMMENTS:
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
    statements = [node for node in ast.walk(module) if isinstance(node, ast.stmt)]
    documented = {row for node in statements if is_docstring(node) for row in rows_of(node)}
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in LAYOUT and token.start[0] not in documented
    ]
    return File(
        lines=len(text.splitlines()),
        code=len({row for one in tokens for row in range(one.start[0], one.end[0] + 1)}),
        tokens=len(tokens),
        public=len(public_names(module)),
        function_lengths=tuple(
            len(rows_of(node)) - (len(rows_of(node.body[0])) if is_docstring(node.body[0]) else 0)
            for node in statements
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        imports=tuple(imports(module, package)),
    )


def text_file(path: Path) -> File:
    """Measures a template, a style sheet or a YAML file."""
    text = path.read_text(encoding="utf-8")
    code = re.sub(COMMENTS[path.suffix], "", text, flags=re.DOTALL | re.MULTILINE)
    return File(len(text.splitlines()), sum(bool(line.strip()) for line in code.splitlines()))


def is_docstring(node: ast.stmt) -> bool:
    """Whether this is a string that stands alone: a docstring, or one below a field or constant."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def rows_of(node: ast.stmt) -> range:
    """The rows of a statement."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def public_names(module: ast.Module) -> set[str]:
    """Functions, classes and constants at the top of a module."""
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
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


# --- figures --------------------------------------------------------------------------------------


def depth(graph: networkx.DiGraph) -> int:
    """The number of nodes on the longest chain; a cycle counts as one node."""
    return len(networkx.dag_longest_path(networkx.condensation(graph)))


def unit(module: str) -> str:
    """The package or module directly below the top that a module belongs to."""
    return ".".join(module.split(".")[:2])


def units(graph: networkx.DiGraph) -> networkx.DiGraph:
    """Which unit imports which; the top package's own file is left out."""
    found = networkx.DiGraph()
    found.add_nodes_from(unit(name) for name in graph if "." in name)
    pairs = [(unit(name), unit(target)) for name, target in graph.edges if "." in name]
    found.add_edges_from(pair for pair in pairs if pair[0] != pair[1] and "." in pair[1])
    return found


def figures(tree: Tree, package: str) -> dict[str, str]:
    """The rows of the table for one package of one tree."""
    modules, texts = tree.below(package), tree.texts_below(package)
    python = list(modules.values())
    every = [*python, *texts]
    tokens = sum(file.tokens for file in python)
    lengths = sorted(length for file in python for length in file.function_lengths)
    graph = tree.imports.subgraph(modules)
    between = units(graph)
    return {
        "lines": f"{sum(file.lines for file in every):,}",
        "code": f"{sum(file.code for file in every):,}",
        "of it templates, styles, YAML": f"{sum(file.code for file in texts):,}",
        "tokens": f"{tokens:,}",
        "tokens per line of code": f"{tokens / max(1, sum(file.code for file in python)):.1f}",
        "functions": f"{len(lengths):,}",
        "function length: median / 90th percentile / max": (
            f"{statistics.median(lengths):g} / {lengths[len(lengths) * 9 // 10]} / {lengths[-1]}"
            if lengths
            else "-"
        ),
        "public names": f"{sum(file.public for file in python):,}",
        "files": f"{len(modules):,}",
        "units": f"{len(between)}",
        "imports between units": f"{between.number_of_edges()}",
        "levels of units": f"{depth(between)}",
        "import depth (files)": f"{depth(graph)}",
    }


def core_figures(tree: Tree) -> dict[str, str]:
    """Size of the core, and what it imports beside itself."""
    core = tree.below(*CORE)
    every = [*core.values(), *tree.texts_below(*CORE)]
    targets = {target for name in core for target in tree.imports[name]}
    outside = sorted(target for target in targets if target not in core and "." in target)
    return {
        "lines": f"{sum(file.lines for file in every):,}",
        "code": f"{sum(file.code for file in every):,}",
        "files": f"{len(core):,}",
        "imports from outside the core": ", ".join(outside) or "none",
    }


def unit_figures(tree: Tree) -> dict[str, str]:
    """Code per package of governance, the largest first."""
    code: Counter[str] = Counter()
    for name, file in [*tree.modules.items(), *tree.texts.items()]:
        top, _, rest = name.replace("/", ".").partition(".")
        if top == "governance" and rest:
            code[rest.split(".")[0]] += file.code
    return {name: f"{count:,}" for name, count in code.most_common()}


def table(title: str, columns: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table; every column has the same rows."""
    rows = next(iter(columns.values()))
    lines = [f"| {title} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row in rows:
        lines.append(f"| {row} | {' | '.join(column[row] for column in columns.values())} |")
    return "\n".join(lines)


def tables(trees: Mapping[str, Tree]) -> str:
    """Every table: each package for all trees; the core and the packages' code for the last."""
    *_, last = trees.values()
    parts = [
        table(name, {label: figures(tree, name) for label, tree in trees.items()})
        for name in PACKAGES
    ]
    parts.append(table("core", {"": core_figures(last)}))
    parts.append(table("package", {"code": unit_figures(last)}))
    return "\n\n".join(parts)


def read(tree: str) -> Tree:
    """A tree by the path of a folder or the name of a revision."""
    return read_tree(Path(tree)) if (Path(tree) / PACKAGES[0]).is_dir() else read_revision(tree)


def main() -> None:
    """Prints the tables of the trees that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure")
    parser.add_argument("trees", nargs="*", default=["."], metavar="TREE")
    options = parser.parse_args()
    sys.stdout.write(tables({name: read(name) for name in options.trees}) + "\n")


if __name__ == "__main__":
    main()
