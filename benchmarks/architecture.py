"""`make architecture`: draws docs/architecture.svg from the imports, and writes the measured tables
into docs/architecture.md between its markers.

The drawing holds only what the imports say, so that it changes when the design changes. A test
compares it. The tables change with nearly every commit; they name the revision they were taken at.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from xml.sax.saxutils import escape

from benchmarks import structure

PAGE = structure.ROOT / "docs" / "architecture.md"
DRAWING = structure.ROOT / "docs" / "architecture.svg"
BEFORE = "b0a8ead"
"""The last revision before the redesign."""
WRAPPED = "1de3f0e"
"""The same code in packages, wrapped at 100 columns: what lines must be compared with."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

ROW, LEFT, NAME_WIDTH, GRID, CELL, TOP = 30, 12, 104, 590, 28, 108
"""Pixels: height of a row, margin, width of a name, where the grid begins, its cells, headings."""
PIPELINES = ("pipelines", "the DVC stages: ingest, scan, check, gate, train, evaluate, register")


def main() -> None:
    """Writes both files."""
    tree = structure.read_tree(structure.ROOT)
    DRAWING.write_text(drawing(tree), encoding="utf-8")
    trees = {
        f"before ({BEFORE})": structure.read_revision(BEFORE),
        f"before, wrapped at 100 columns ({WRAPPED})": structure.read_revision(WRAPPED),
        "now": tree,
    }
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_tables(text, measured(trees, revision())), encoding="utf-8")
    sys.stderr.write(f"written: {PAGE.name}, {DRAWING.name}\n")


def revision() -> str:
    """The commit that is checked out, shortened."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=structure.ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measured(trees: Mapping[str, structure.Tree], commit: str) -> str:
    """The tables of the page as Markdown."""
    head = f'Measured by `python -m benchmarks.structure`; "now" is the tree on top of {commit}.'
    return f"{head}\n\n{structure.tables(trees)}"


def with_tables(page: str, tables: str) -> str:
    """The page with new tables between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        sys.exit(f"docs/{PAGE.name} lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def purposes(root: str = "governance") -> dict[str, str]:
    """What each package is for, as the docstring of `governance` lists it."""
    text = (structure.ROOT / root / "__init__.py").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+) {2,}(\S.*)$", text, re.MULTILINE))


def package_imports(tree: structure.Tree) -> dict[str, frozenset[str]]:
    """Which package of governance imports which, and what `pipelines` imports of them."""
    own = tree.imports.subgraph(tree.below("governance"))
    graph = structure.units(own)
    found = {short(name): frozenset(map(short, graph[name])) for name in graph}
    used = {
        short(structure.unit(target))
        for name in tree.below("pipelines")
        for target in tree.imports[name]
        if target.startswith("governance.")
    }
    return {"pipelines": frozenset(used), **found}


def short(unit: str) -> str:
    """A package's name without `governance.`."""
    return unit.removeprefix("governance.")


def ordered(imports: Mapping[str, frozenset[str]]) -> list[str]:
    """Packages so that each stands above all it imports: as the docstring lists them."""
    listed = ["pipelines", *purposes()]
    missing = sorted(set(imports) ^ set(listed))
    if missing:
        sys.exit(f"governance/__init__.py lists other packages than there are: {missing}")
    return listed


def in_core(package: str) -> bool:
    """Whether a package, or a part of it, belongs to the core."""
    name = f"governance.{package}"
    return any(part == name or part.startswith(f"{name}.") for part in structure.CORE)


def drawing(tree: structure.Tree) -> str:
    """The packages from top to bottom, and a grid of which imports which, as SVG."""
    imports = package_imports(tree)
    names = ordered(imports)
    described = {**purposes(), PIPELINES[0]: PIPELINES[1]}
    width, height = GRID + CELL * len(names) + LEFT, TOP + ROW * len(names) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(LEFT, 24, "Countersign: packages and their imports", 'font-size="16"'),
        text(LEFT, 46, "A row imports the columns with a dot. Every dot is right of the diagonal:"),
        text(LEFT, 63, "imports go one way, downwards."),
        core_band(names, width),
    ]
    for place, name in enumerate(names):
        parts += [heading(place, name), row(place, name, described[name])]
        parts += [dot(place, names.index(target)) for target in sorted(imports[name])]
    parts += [
        text(
            LEFT,
            height - 16,
            "Blue: the core. It carries the promises and imports nothing else."
            " Of log: the port, Merkle tree, checkpoints, SQLite and evidence.",
        ),
        "</svg>\n",
    ]
    return "\n".join(parts)


def core_band(names: list[str], width: int) -> str:
    """The blue ground behind the packages of the core."""
    rows = [place for place, name in enumerate(names) if in_core(name)]
    top, count = TOP + ROW * rows[0], rows[-1] - rows[0] + 1
    return (
        f'<rect x="4" y="{top - 2}" width="{width - 8}" height="{ROW * count}" rx="6"'
        ' fill="#e3eefb"/>'
    )


def heading(place: int, name: str) -> str:
    """A column's name, upright."""
    x = GRID + CELL * place + CELL // 2 + 4
    return text(x, TOP - 8, name, f'transform="rotate(-60 {x} {TOP - 8})"')


def row(place: int, name: str, purpose: str) -> str:
    """A package with its purpose, and its square on the diagonal."""
    y = TOP + ROW * place
    return "\n".join(
        [
            f'<rect x="{LEFT}" y="{y}" width="{NAME_WIDTH}" height="{ROW - 5}" rx="4" fill="#fff"'
            f' stroke="{"#1f5fa8" if in_core(name) else "#777"}"/>',
            text(LEFT + 8, y + 17, name, 'font-weight="bold"'),
            text(LEFT + NAME_WIDTH + 10, y + 17, purpose, 'font-size="11" fill="#333"'),
            f'<rect x="{GRID + CELL * place}" y="{y}" width="{CELL - 4}" height="{ROW - 5}"'
            ' fill="#bbb"/>',
        ]
    )


def dot(place: int, target: int) -> str:
    """One import."""
    x, y = GRID + CELL * target + CELL // 2 - 2, TOP + ROW * place + ROW // 2 - 2
    return f'<circle cx="{x}" cy="{y}" r="5" fill="#1f5fa8"/>'


def text(x: int, y: int, words: str, attributes: str = "") -> str:
    """A line of text."""
    return f'<text x="{x}" y="{y}" {attributes}>{escape(words)}</text>'.replace(" >", ">")


if __name__ == "__main__":
    main()
