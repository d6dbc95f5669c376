"""dvc.yaml says what the stages are: the same inputs and outputs, and all the code that their
results depend on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grimp
import pytest

from governance.base.yaml import read_yaml
from pipelines.families import all_families, family, names
from pipelines.params import Params, load_params
from tests.conftest import ROOT

HARNESS = {
    f"pipelines.{name}"
    for name in (
        *("cli", "families", "harness", "job", "params", "paths", "process", "project"),
        *(
            "provenance",
            "stages",
            "versions",
            "boot",
            "codefiles",
            "commit",
            "installed",
            "isolation",
            "shown",
        ),
    )
}
"""What runs a stage without being part of what it writes; a stage's parameters are dependencies of
their own.
"""

WHETHER = {"pipelines.stages.gate"}
"""What decides whether a stage runs, and nothing of what it writes."""

FAMILIES = all_families()
ALWAYS = {name for name, declared in FAMILIES.items() if declared.always_runs}


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
    return stages


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT)


def bodies(stages: dict[str, Any], name: str) -> dict[str, Any]:
    body: dict[str, Any] = stages[name].get("do", stages[name])
    return body


def rows(params: Params, stages: dict[str, Any], name: str) -> dict[str, Any]:
    """The rows of a foreach, as plain values; one nameless row for a single stage."""
    table = stages[name].get("foreach", "").strip("${}")
    assert table == FAMILIES[name].table
    return getattr(params, table) if table else {"": None}


def filled(texts: list[Any], key: str, row: Any) -> set[str]:
    """Paths of a stage's `deps` or `outs` with DVC's templates filled in."""
    found = set()
    for text in (next(iter(item)) if isinstance(item, dict) else item for item in texts):
        for name in type(row).model_fields if row is not None else ():
            text = text.replace(f"${{item.{name}}}", str(getattr(row, name)))
        found.add(text.replace("${key}", key))
    return found


def covered(path: Path, named: set[str]) -> bool:
    return any(parent.as_posix() in named for parent in (path, *path.parents))


def test_dvc_yaml_names_every_family(stages: dict[str, Any]) -> None:
    assert sorted(stages) == list(names())


@pytest.mark.parametrize("name", names())
def test_inputs_and_outputs_are_those_of_the_stage_module(
    name: str, stages: dict[str, Any], params: Params
) -> None:
    body = bodies(stages, name)
    for key, row in rows(params, stages, name).items():
        deps = filled(body.get("deps", []), key, row)
        made = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
        outs = filled(made, key, row)
        inputs, outputs = family(name).inputs(params, key), family(name).outputs(params, key)
        missing = [item.path for item in inputs if not covered(item.path, deps)]
        assert name in ALWAYS or not missing, f"{name}@{key}: not among its deps"
        strays = [item.path for item in outputs if not covered(item.path, outs)]
        assert not strays, f"{name}@{key}: not among its outs"


def code_of(name: str) -> set[str]:
    """The modules of ours that a stage's module reaches, and the data files that those name."""
    graph = grimp.build_graph("pipelines", "governance")
    seen: set[str] = set()
    queue = [f"pipelines.stages.{name}"]
    while queue:
        module = queue.pop()
        if module in seen or module in HARNESS | WHETHER:
            continue
        seen.add(module)
        queue += [
            imported
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.startswith("pipelines.")
        ]
    sources = {f"{module.replace('.', '/')}.py" for module in seen if module != "pipelines"}
    data = [
        path
        for path in (ROOT / "pipelines").rglob("*.*")
        if path.suffix in (".json", ".txt", ".jinja", ".yaml")
    ]
    texts = [(ROOT / source).read_text(encoding="utf-8") for source in sources]
    named = [path for path in data if any(f'"{path.name}"' in text for text in texts)]
    return sources | {path.relative_to(ROOT).as_posix() for path in named}


@pytest.mark.parametrize("name", sorted(set(names()) - ALWAYS))
def test_all_code_that_a_result_depends_on_is_a_dependency(
    name: str, stages: dict[str, Any]
) -> None:
    needed = code_of(name)
    listed = {dep for dep in bodies(stages, name)["deps"] if dep.startswith("pipelines/")}
    assert sorted(needed - listed) == [], f"{name}: code that is missing from its deps"
    assert sorted(listed - needed) == [], f"{name}: code it does not use"


@pytest.mark.parametrize("name", names())
def test_engines_are_parameters_of_the_stages_that_use_them(
    name: str, stages: dict[str, Any]
) -> None:
    engines = {"pipelines/versions.yaml": [name]}
    listed = engines in bodies(stages, name).get("params", [])
    assert listed == bool(FAMILIES[name].engines)


@pytest.mark.parametrize("name", names())
def test_families_that_always_run_say_so_to_dvc(name: str, stages: dict[str, Any]) -> None:
    assert bodies(stages, name).get("always_changed", False) == FAMILIES[name].always_runs
