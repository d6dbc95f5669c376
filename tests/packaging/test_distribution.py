"""The name on a package index has one place, and the sdist and wheel hold what they must."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from governance.base.distribution import NAME, VERSION, pip_install
from pipelines.template import RECIPES
from tests.conftest import ROOT
from tests.packaging import built
from tests.packaging.built import Built, Place

PACKAGES = ("governance", "pipelines")
SHARED = "pipelines/templates/shared/"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built.build(tmp_path_factory.mktemp("distribution"))


def test_the_name_is_the_one_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == NAME != "countersign"
    assert set(project["optional-dependencies"]) >= {"pipeline", "server"}
    assert pip_install("server") == f"pip install '{NAME}[server]=={VERSION}'"


def test_nothing_tells_people_to_install_somebody_elses_package() -> None:
    """`countersign` on the index is not ours."""
    told = re.compile(r"pip3? install[^`\n]*\bcountersign(?!-llm)\b|\bcountersign\[")
    for name in built.files_of_the_tree():
        path = ROOT / name
        if path.suffix in (".md", ".py", ".j2", ".jinja", ".yaml", ".toml", ".txt"):
            text = path.read_text(encoding="utf-8")
            assert path == Path(__file__) or not told.search(text), name


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_the_project_they_are_used_with(
    distributions: Built,
) -> None:
    tracked = built.files_of_the_tree()
    ours = {name for name in tracked if name.partition("/")[0] in PACKAGES}
    project = {name for name in tracked if name.startswith(("policies/", "ci/"))}
    project |= {"params.yaml", "dvc.yaml", "constraints.txt", ".dvcignore"}
    with zipfile.ZipFile(distributions.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        for name in project:
            assert wheel.read(SHARED + name) == (ROOT / name).read_bytes()
        for name in ours:
            assert wheel.read(name) == (ROOT / name).read_bytes()
    assert held == ours | {SHARED + name for name in project}
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


@pytest.mark.slow
def test_the_sdist_holds_no_tests_and_no_docs(distributions: Built) -> None:
    with tarfile.open(distributions.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {*PACKAGES, "policies", "ci", "countersign_llm.egg-info"}


@pytest.fixture(scope="module")
def place(distributions: Built, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A machine with the wheel, far from this checkout."""
    return built.place(tmp_path_factory.mktemp("machine"), distributions.wheel)


@pytest.mark.slow
@pytest.mark.long
def test_a_project_from_the_wheel_runs_its_first_stages(place: Place) -> None:
    assert "Commands" in place.run("countersign", "--help")
    assert place.run("countersign", "--version") == f"countersign, version {VERSION}\n"
    packages = place.run("python", "-c", "import pipelines; print(pipelines.__path__[0])")
    assert str(place.folder / "venv") in packages
    place.run("countersign", "new", "first", "--recipe", "grpo")
    assert "nothing that is known now" in place.run("countersign", "plan", within="first")
    place.run("countersign", "repro", "ingest@desk_eval", "import_base@tiny", within="first")
    assert (place.folder / "first/models/tiny/model/config.json").is_file()
    verified = place.run("countersign", "verify", within="first")
    assert "ingest" in verified or "OK" in verified.upper()
    place.run("make", "test", within="first")


@pytest.mark.nightly
@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_project_of_each_recipe_is_made_whole(recipe: str, place: Place) -> None:
    """From the wheel to a registered model; then once more, and nothing is trained."""
    place.run("countersign", "new", recipe, "--recipe", recipe, "--name", f"{recipe}-x")
    place.run("make", "repro", within=recipe)
    assert f"{recipe}-x/1" in place.run("countersign", "status", within=recipe)
    assert "Running stage 'train@" not in place.run("make", "repro", within=recipe)
    place.run("countersign", "verify", within=recipe)
    changed = place.run("git", "status", "--porcelain", within=recipe).split()
    assert changed == ["??", "dvc.lock"]
