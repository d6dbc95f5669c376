"""Everything that can change a result of a family is part of its digest, and nothing that only runs
or records a stage.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pipelines import familycode
from pipelines.families import names
from tests.conftest import ROOT, rows

PACKAGES = ("governance", "pipelines")
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)
NEEDED = {
    "sample": "desk.py desk.yaml samples.py",
    "fetch": "hub.py",
    "ingest": "kinds.py pages.py templates/ingest.md.jinja templates/macros.md.jinja record_ids.py"
    " records.py slices.py sources/binding.py sources/messages.py sources/readers.py"
    " sources/shapes.py",
    "scan_pii": "kinds.py pages.py templates/scan_pii.md.jinja templates/macros.md.jinja"
    " pii/engine.py pii/filter.py pii/names.py pii/names.txt pii/presidio.py pii/recall.py"
    " pii/search.py pii/seeds.py pii/seeds.yaml record_ids.py records.py",
    "check_quality": "features/agreement.py features/leaks.py features/table.py features/turns.py"
    " kinds.py pages.py templates/check_quality.md.jinja templates/macros.md.jinja records.py",
    "evaluate": "failures.py kinds.py metrics.py shards.py scoring.py slices.py"
    " training/methods.py training/modelfolder.py training/rewards.py",
    "train": "failures.py kinds.py shards.py training/arguments.py training/callbacks.py"
    " training/chat.jinja training/finite.py training/fit.py training/launch.py"
    " training/methods.py training/modelfolder.py training/objective.py training/release.py"
    " training/rewards.py training/tokenizer.py training/trl_arguments.json training/usage.py",
}
"""What dvc.yaml listed before there was a lock, besides the stage's own module."""


@pytest.mark.parametrize("name", NEEDED)
def test_the_files_that_dvc_yaml_once_listed_count(name: str) -> None:
    listed = {f"pipelines/{file}" for file in NEEDED[name].split()}
    listed |= {f"pipelines/stages/{name}.py"}
    assert sorted(listed - set(familycode.files(name))) == []


# --- imports, read a second time by Python's own parser -------------------------------------------


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def imported(file: str) -> frozenset[str]:
    """The modules of ours that a file imports, anywhere in it."""
    return frozenset(_imported(file))


def _imported(file: str) -> Iterator[str]:
    known = {module_of(each) for each in MODULES}
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno} is relative"
            package = node.module or ""
            for alias in node.names:
                below = f"{package}.{alias.name}"
                yield from [below] if below in known else [package] if package in known else []


def is_outside(module: str) -> bool:
    whole = tuple(f"{name}." for name in familycode.OUTSIDE if name.startswith("governance."))
    return module in familycode.OUTSIDE or module.startswith(whole)


@pytest.mark.parametrize("name", names())
def test_every_module_that_a_family_reaches_counts(name: str) -> None:
    found, queue = set(), [f"pipelines/stages/{name}.py"]
    while queue:
        file = queue.pop()
        if file in found:
            continue
        found.add(file)
        inner = [module for module in imported(file) if not is_outside(module)]
        queue += [each for each in MODULES if module_of(each) in inner]
    assert sorted(found - set(familycode.files(name))) == []


@pytest.mark.slow
def test_a_package_that_runs_only_because_a_module_lies_in_it_has_no_code() -> None:
    """Python runs it before its modules; an import of it by name counts as any other."""
    found = []
    for file in MODULES:
        if file.endswith("/__init__.py") and file.count("/") < 3:
            body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
            rest = [node for node in body if not isinstance(node, ast.Expr | ast.ImportFrom)]
            if rest and not is_named(module_of(file)):
                found.append(file)
    assert found == []


def is_named(module: str) -> bool:
    return is_outside(module) or any(module in imported(file) for file in MODULES)


def test_each_data_file_of_the_stages_counts_for_a_family() -> None:
    counted = {file for name in names() for file in familycode.files(name)}
    data = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pipelines").rglob("*")
        if path.suffix in (".json", ".txt", ".jinja", ".yaml")
    }
    left = {file for file in data - counted if not is_of_a_project(file)}
    # What trains the tagger; scans depend on its weights, which do count.
    assert left == {"pipelines/pii/tagger/templates.txt"}
    assert "pipelines/pii/tagger/weights.safetensors" in familycode.files("scan_pii")


def is_of_a_project(file: str) -> bool:
    """What `countersign new` copies."""
    return file.startswith("pipelines/templates/") and file.count("/") > 2


# --- what changes the digest ----------------------------------------------------------------------


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Files of the set have one more byte."""
    files: set[str] = set()
    read = familycode._read

    def other(file: str) -> bytes:
        return read(file) + b"\n" if file in files else read(file)

    monkeypatch.setattr(familycode, "_read", other)
    yield files


ALIKE = {"evaluate_base", "evaluate_further", "evaluate_task", "evaluate_judged", "check_judge"}
"""Families with nearly the files of `evaluate`."""
OF_DVC = sorted(set(names()) - {"register", "report"})


@pytest.mark.parametrize("name", rows(OF_DVC, in_ci=set(OF_DVC) - ALIKE))
def test_any_change_of_its_code_changes_the_digest(name: str, changed: set[str]) -> None:
    before, files = familycode.digest(name), familycode.files(name)
    for file in files:
        changed.clear()
        changed.add(file)
        assert familycode.digest(name) != before, file
    changed.clear()
    changed |= {*MODULES} - set(files)
    assert familycode.digest(name) == before


EVALUATE = {"evaluate", "evaluate_base", "evaluate_further", "evaluate_task", "evaluate_judged"}


@pytest.mark.parametrize(
    ("file", "families"),
    [
        ("pipelines/harness.py", set()),
        ("governance/log/evidence.py", {"gate", "check_judge", "evaluate_judged"}),
        ("governance/attest/predicates/data.py", set()),
        ("pipelines/pii/names.txt", {"ingest", "scan_pii", "scan_task", "generate", *EVALUATE}),
        ("pipelines/architectures/tiny.json", {"import_base"}),
        (
            "pipelines/metrics.py",
            {*EVALUATE, "gate", "suite", "generate", "train", "probe_leaks", "check_judge"},
        ),
        ("pipelines/rewards/route_exact.py", {"suite"}),
        (
            "pipelines/rewards/refusal.py",
            {*EVALUATE, "check_quality", "gate", "suite", "generate", "train"}
            | {"probe_leaks", "check_judge"},
        ),
        ("pipelines/training/fit.py", {"train"}),
        ("governance/gates/decisions.py", {"gate"}),
    ],
)
def test_a_change_runs_only_the_families_that_use_it(file: str, families: set[str]) -> None:
    using = {name for name in names() if file in familycode.files(name)}
    assert using - {"register", "report"} == families - {"register", "report"}


def test_other_defaults_of_a_table_change_the_families_that_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipelines.params import Generation, Stage

    before = {name: familycode.digest(name) for name in names()}
    monkeypatch.setattr(Stage.model_fields["seed"], "default", 7)
    monkeypatch.setattr(Generation.model_fields["temperature"], "default", 0.5)
    differing = {name for name in names() if familycode.digest(name) != before[name]}
    assert differing == {"train", "evaluate", "evaluate_base", "evaluate_further", "gate", "suite"}


def test_it_is_the_same_for_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and bytes count, not where they lie."""
    import shutil

    before = {name: familycode.digest(name) for name in names()}
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    caches = (familycode._path, familycode._read, familycode._names, familycode._file)
    monkeypatch.setattr(familycode.governance, "__path__", [str(tmp_path / "governance")])
    monkeypatch.setattr(familycode.pipelines, "__path__", [str(tmp_path / "pipelines")])
    try:
        for cached in (*caches, familycode._imports):
            cached.cache_clear()
        assert {name: familycode.digest(name) for name in names()} == before
    finally:
        for cached in (*caches, familycode._imports):
            cached.cache_clear()
