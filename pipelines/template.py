"""The files of a new project, by recipe and name.

1. Parameters, policies and dvc.yaml are those of Countersign's own repository: a wheel holds copies
   (setup.py), a checkout is read where it lies.
2. A recipe may replace and add rows of params.yaml and policies/evaluation.yaml, and add files
   (`templates/recipes/RECIPE`). Rows and datacards that its released stage does not need are left
   out.
3. The name of the project stands in the place of `support-desk`.
4. The same version, recipe and name give the same files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from governance.base.distribution import NAME, VERSION
from governance.base.yaml import parse_yaml

HERE = Path(__file__).parent
SHARED = ("params.yaml", "dvc.yaml", "constraints.txt", "policies", "ci", ".dvcignore")
"""Files and folders that every project has from this repository; setup.py names them too."""
DOTTED = {"gitignore", "dvc", "github"}
"""Names that begin with a dot in a project."""
SLUG_OF_THE_SHARED = "support-desk"
NAMED = ("params.yaml", "policies/policy.yaml", "policies/evaluation.yaml", "README.md")
"""(3) The files that name the project."""
TABLES = ("params.yaml", "policies/evaluation.yaml")
"""(2) The files of which a recipe has rows."""
DATACARDS = "policies/datacards/"
Block = tuple[str, str | None, list[str]]
"""Table, row and lines; without a row, what stands between the rows."""


@dataclass(frozen=True)
class Recipe:
    """A kind of project."""

    what: str
    stage: str | None = None
    """The stage that is released, if it is not that of the shared params.yaml."""
    rewards: tuple[str, ...] = ()
    """Own reward functions that policy permits in addition."""


RECIPES = {
    "support-desk": Recipe("pre-training, SFT, a reward model, DPO and GRPO"),
    "sft-dpo": Recipe("pre-training, SFT and DPO", stage="dpo"),
    "grpo": Recipe(
        "pre-training, SFT, and GRPO with verified answers and a reward function of your own",
        stage="grpo",
        rewards=("one_line",),
    ),
    "safety": Recipe("pre-training, SFT, DPO, and refusals of harmful requests", stage="safety"),
}
"""Recipe name to recipe."""


def files(recipe: str, name: str) -> dict[str, bytes]:
    """POSIX path to content of every file of a project called `name`."""
    found = {**_shared(), **_project(HERE / "templates" / "project")}
    replaced = HERE / "templates" / "recipes" / recipe
    if replaced.is_dir():
        own = _project(replaced)
        for path in TABLES:
            rows = own.pop(path, b"").decode()
            found[path] = with_rows(found[path].decode(), rows, path).encode()
        found |= own
    found["requirements.txt"] = f"{NAME}[pipeline]=={VERSION}\n".encode()
    _choose(found, RECIPES[recipe])
    for path in NAMED:
        found[path] = re.sub(rf"\b{SLUG_OF_THE_SHARED}\b", name, found[path].decode()).encode()
    return dict(sorted(found.items()))


def shared_root() -> Path:
    """(1) The folder of the files that every project has from here."""
    packaged = HERE / "templates" / "shared"
    return packaged if packaged.is_dir() else HERE.parent


def _shared() -> dict[str, bytes]:
    """(1)"""
    root = shared_root()
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for name in SHARED
        for path in _below(root / name)
    }


def _project(folder: Path) -> dict[str, bytes]:
    """The files of a folder of templates; see `DOTTED`."""
    found = {}
    for path in _below(folder):
        parts = [f".{part}" if part in DOTTED else part for part in path.relative_to(folder).parts]
        found["/".join(parts)] = path.read_bytes()
    return found


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name != "__pycache__":
            yield from _below(entry)


# --- what a recipe keeps --------------------------------------------------------------------------


def _choose(found: dict[str, bytes], recipe: Recipe) -> None:
    """(2)"""
    if recipe.stage is not None:
        text = re.sub(
            r"^(release.*?\bstage: )[\w-]+",
            rf"\g<1>{recipe.stage}",
            found["params.yaml"].decode(),
            flags=re.MULTILINE | re.DOTALL,
        )
        found["params.yaml"] = without_rows(text, recipe.stage).encode()
    datasets = parse_yaml(found["params.yaml"].decode(), "params.yaml")["datasets"]
    for path in list(found):
        if path.startswith(DATACARDS) and Path(path).stem not in datasets:
            del found[path]
    if recipe.rewards:
        policy = found["policies/policy.yaml"].decode()
        permitted = f"rewards: [{', '.join(recipe.rewards)}, "
        found["policies/policy.yaml"] = policy.replace("rewards: [", permitted, 1).encode()


def without_rows(text: str, stage: str) -> str:
    """params.yaml without the rows that the released `stage` does not need."""
    params: dict[str, Any] = parse_yaml(text, "params.yaml")
    kept = _needed(params, stage)
    lines = []
    for section, row, block in _blocks(text):
        if row is None or section not in kept or row in kept[section]:
            lines += block
    return "".join(lines)


def with_rows(text: str, rows: str, path: str) -> str:
    """A file with rows in place of those of the same table and name; new ones follow its last row.
    Raises `ValueError` for a table that the file does not have.
    """
    new: dict[str, dict[str | None, list[str]]] = {}
    for table, row, block in _blocks(rows):
        if row is not None:
            new.setdefault(table, {})[row] = block
    lines: list[str] = []
    for table, blocks in groupby(_blocks(text), key=lambda block: block[0]):
        lines += _table_with_rows([*blocks], new.pop(table, {}))
    if new:
        raise ValueError(f"{path} has no such tables: {sorted(new)}")
    return "".join(lines)


def _table_with_rows(table: list[Block], new: dict[str | None, list[str]]) -> list[str]:
    """The lines of one table, of which the first block is the head."""
    parts = [new.pop(row, block) for _, row, block in table]
    last = max((at for at, (_, row, _) in enumerate(table) if row), default=0)
    if new and last == 0:
        parts[0] = [line.replace(": {}", ":") for line in parts[0]]
    parts[last] = [*parts[last], *(line for block in new.values() for line in block)]
    return [line for part in parts for line in part]


def _needed(params: dict[str, Any], stage: str) -> dict[str, set[str]]:
    """Table to the rows that a released stage rests on."""
    stages, bases, datasets = params["stages"], params["bases"], params["datasets"]
    models, queue = set[str](), [stage]
    while queue:
        name = queue.pop()
        if name not in models and name in stages:
            queue += [stages[name]["parent"], stages[name]["scorer"]]
        models.add(name)
    suites = {(stages.get(name) or bases[name])["suite"] for name in models}
    rows = {key: row for key, row in params["evaluations"].items() if row["model"] in models}
    suites |= {row["suite"] for row in rows.values()}
    data = suites | {stages[name]["data"] for name in models if name in stages}
    data |= {datasets[name]["held_out"] for name in data}
    samples = {Path(datasets[name]["source"]).stem for name in data}
    return {
        "samples": samples,
        "datasets": data,
        "bases": models,
        "stages": models,
        "suites": suites,
        "evaluations": {*rows},
    }


def _blocks(text: str) -> Iterator[Block]:
    """Every row of a table with the lines that belong to it, and what stands between."""
    section, row, block = "", None, list[str]()
    for line in text.splitlines(keepends=True):
        table, entry = re.match(r"(\w+):", line), re.match(r"  ([\w-]+):", line)
        if table or entry or not line.startswith("   "):
            if block:
                yield section, row, block
            section = table[1] if table else section
            row, block = (entry[1] if entry else None), []
        block.append(line)
    if block:
        yield section, row, block
