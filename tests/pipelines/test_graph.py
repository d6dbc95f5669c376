"""dvc.yaml says what the stages are: the same inputs and outputs, and all the code that their
results depend on.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import grimp
import pytest

from governance.base.yaml import read_yaml
from pipelines.params import Params, load_params
from pipelines.stage import FAMILIES
from pipelines.versions import ENGINES, GROUP_OF
from tests.conftest import ROOT

HARNESS = {
    f"pipelines.{name}"
    for name in ("job", "params", "paths", "process", "provenance", "stage", "versions", "cli")
}
"""What runs a stage without being part of what it writes; a stage's parameters are dependencies of
their own.
"""

WHETHER = {"pipelines.gate"}
"""What decides whether a stage runs, and nothing of what it writes."""

ALWAYS = {"gate", "import_base", "register", "report"}
"""Families that run at every repro, whatever changed."""


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
    return stages


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT)


def bodies(stages: dict[str, Any], family: str) -> dict[str, Any]:
    body: dict[str, Any] = stages[family].get("do", stages[family])
    return body


def rows(params: Params, stages: dict[str, Any], family: str) -> dict[str, Any]:
    """The rows of a foreach, as plain values; one nameless row for a single stage."""
    table = stages[family].get("foreach", "").strip("${}")
    return getattr(params, table) if table else {"": None}


def filled(texts: list[Any], key: str, row: Any, params: Params) -> set[str]:
    """Paths of a stage's `deps` or `outs` with DVC's templates filled in."""
    found = set()
    for text in (next(iter(item)) if isinstance(item, dict) else item for item in texts):
        for name in type(row).model_fields if row is not None else ():
            text = text.replace(f"${{item.{name}}}", str(getattr(row, name)))
        found.add(text.replace("${key}", key).replace("${release.stage}", params.release.stage))
    return found


def covered(path: Path, named: set[str]) -> bool:
    return any(parent.as_posix() in named for parent in (path, *path.parents))


def test_every_family_of_the_graph_has_a_module_and_the_other_way_round(
    stages: dict[str, Any],
) -> None:
    assert set(stages) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_outputs_are_those_of_the_stage_module(
    family: str, stages: dict[str, Any], params: Params
) -> None:
    module, body = importlib.import_module(FAMILIES[family]), bodies(stages, family)
    for key, row in rows(params, stages, family).items():
        deps = filled(body.get("deps", []), key, row, params)
        outs = filled(
            [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])],
            key,
            row,
            params,
        )
        missing = [item.path for item in module.inputs(params, key) if not covered(item.path, deps)]
        assert family in ALWAYS or not missing, f"{family}@{key}: not among its deps"
        strays = [item.path for item in module.outputs(params, key) if not covered(item.path, outs)]
        assert family == "report" or not strays, f"{family}@{key}: not among its outs"


def code_of(family: str) -> set[str]:
    """The modules of ours that a stage's module reaches, and the data files that those name."""
    graph = grimp.build_graph("pipelines", "governance")
    seen: set[str] = set()
    queue = [FAMILIES[family]]
    while queue:
        module = queue.pop()
        if module in seen or module in HARNESS | WHETHER:
            continue
        seen.add(module)
        queue += [
            name
            for name in graph.find_modules_directly_imported_by(module)
            if name.startswith("pipelines.")
        ]
    sources = {f"{name.replace('.', '/')}.py" for name in seen if name != "pipelines"}
    data = [
        path
        for path in (ROOT / "pipelines").rglob("*.*")
        if path.suffix in (".json", ".txt", ".jinja", ".yaml")
    ]
    texts = [(ROOT / source).read_text(encoding="utf-8") for source in sources]
    named = [path for path in data if any(f'"{path.name}"' in text for text in texts)]
    return sources | {path.relative_to(ROOT).as_posix() for path in named}


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - ALWAYS))
def test_all_code_that_a_result_depends_on_is_a_dependency(
    family: str, stages: dict[str, Any]
) -> None:
    needed = code_of(family)
    named = {dep for dep in bodies(stages, family)["deps"] if dep.startswith("pipelines/")}
    assert sorted(needed - named) == [], f"{family}: code that is missing from its deps"
    assert sorted(named - needed) == [], f"{family}: code it does not use"


def test_engines_are_parameters_of_the_stages_that_use_them(stages: dict[str, Any]) -> None:
    for family, group in GROUP_OF.items():
        if family == "fetch":
            continue
        assert {"pipelines/versions.yaml": [group]} in bodies(stages, family)["params"], family
    assert set(GROUP_OF.values()) == set(ENGINES)


def test_gates_run_at_every_repro(stages: dict[str, Any]) -> None:
    assert {family for family in stages if bodies(stages, family).get("always_changed")} == ALWAYS
