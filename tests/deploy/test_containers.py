"""The Containerfile: what it copies exists and is enough to install, versions are pinned, and no
image runs as root. No image was built from it.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from governance.base.distribution import VERSION
from pipelines.cli import cli
from tests.conftest import ROOT
from tests.packaging import built

FILE = ROOT / "deploy" / "Containerfile"
IMAGES = ("client", "witness", "server", "proxy")


@dataclass(frozen=True)
class Stage:
    """One `FROM ... AS name`, and its instructions."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]


def instructions(text: str) -> list[tuple[str, str]]:
    """Each instruction with its text on one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), " ".join(rest.split())) for name, rest in found]


def parsed(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Arguments before the first stage, and the stages by name."""
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for name, rest in instructions(text):
        if name == "FROM":
            base, word, stage = rest.split()
            assert word == "AS" and stage not in stages
            stages[stage] = Stage(stage, base)
        elif stages:
            stages[list(stages)[-1]].steps.append((name, rest))
        else:
            assert name == "ARG"
            key, _, value = rest.partition("=")
            arguments[key] = value
    return arguments, stages


ARGUMENTS, STAGES = parsed(FILE.read_text(encoding="utf-8"))


def line_of(stage: str, stages: dict[str, Stage] = STAGES) -> list[Stage]:
    """The stage and those that it continues, the outermost first."""
    here = stages[stage]
    return [*(line_of(here.base, stages) if here.base in stages else []), here]


def user(stage: str, stages: dict[str, Stage] = STAGES) -> str:
    """Under whom the image runs; root where it says nothing."""
    said = [text for each in line_of(stage, stages) for text in each.all("USER")]
    return said[-1] if said else "0"


def sources() -> set[str]:
    """What is copied from the repository."""
    copied = [text.split() for each in STAGES.values() for text in each.all("COPY")]
    return {path for words in copied if "--from" not in words[0] for path in words[:-1]}


def test_there_is_an_image_of_each_part() -> None:
    assert set(STAGES) >= set(IMAGES)
    shown = set(re.findall(r"--target (\w+)", FILE.read_text(encoding="utf-8")))
    assert shown == set(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numbered_account_that_is_not_root(image: str) -> None:
    """By number: Kubernetes cannot see of a name that it is not root's."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user(image))
    broken = {**STAGES, image: Stage(image, STAGES[image].base, [("USER", "root")])}
    assert user(image, broken) == "root"


def test_the_base_has_a_tag_and_every_stage_begins_with_it_or_with_another_stage() -> None:
    (name,) = ARGUMENTS
    assert re.fullmatch(r"docker\.io/library/python:3\.11-[a-z-]+", ARGUMENTS[name])
    before: set[str] = set()
    for stage in STAGES.values():
        assert stage.base in before | {f"${{{name}}}"}
        froms = [text.split()[0] for text in stage.all("COPY") if text.startswith("--from")]
        assert {each.partition("=")[2] for each in froms} <= before
        before.add(stage.name)


def test_everything_is_installed_in_pinned_versions() -> None:
    installs = [
        text for each in STAGES.values() for text in each.all("RUN") if "pip install" in text
    ]
    assert len(installs) == 3
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for text in installs:
        *options, target = shlex.split(text)[2:]
        assert options == ["--constraint", "constraints.txt"]
        extra = re.fullmatch(r"\.(?:\[([\w-]+)\])?", target)
        assert extra is not None
        assert extra[1] is None or extra[1] in project["optional-dependencies"]


def needed(requirements: Iterable[str], done: set[tuple[str, str]]) -> set[str]:
    """The names of all packages that these requirements bring, as they are installed here."""
    names = set()
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        names.add(name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in done:
                done.add((name, extra))
                names |= needed(brought(name, extra), done)
    return names


def brought(name: str, extra: str) -> list[str]:
    """What a package with this extra requires; nothing is known of one that is not installed."""
    try:
        requires = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [text for text in requires if is_wanted(text, extra)]


def is_wanted(text: str, extra: str) -> bool:
    """Whether this requirement holds on this machine, with this extra."""
    marker = Requirement(text).marker
    return marker is None or marker.evaluate({"extra": extra})


@pytest.mark.parametrize("extra", ["", "server", "serve"])
def test_constraints_name_every_package_of_an_image(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}
    found = needed(wanted, set())
    assert found > {"click", "pydantic-core"}
    assert found - pinned <= {"setuptools"}  # which a new environment has


def test_everything_that_is_copied_exists() -> None:
    tracked = built.files_of_the_tree()
    for path in sources():
        assert path in tracked or any(name.startswith(f"{path}/") for name in tracked), path


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_a_command_that_exists(image: str) -> None:
    (start,) = [text for each in line_of(image) for text in each.all("ENTRYPOINT")]
    assert json.loads(start) == ["countersign"]
    (text,) = STAGES[image].all("CMD")
    words = json.loads(text)
    command: click.Command | None = cli
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    if "--help" not in words:
        command.make_context(image, words)  # raises for options that it lacks


def test_the_images_of_the_kubernetes_files_are_built_from_it() -> None:
    named = {
        match
        for path in (ROOT / "deploy").rglob("*")
        if path.is_file()
        for match in re.findall(r"/countersign-(\w+):([\w.]+)", path.read_text(encoding="utf-8"))
    }
    assert {image for image, _ in named} == set(IMAGES) and {tag for _, tag in named} == {VERSION}


@pytest.mark.slow
def test_what_is_copied_is_enough_to_install(tmp_path: Path) -> None:
    """A wheel of these files only has all modules and the project that `countersign new` copies."""
    tracked = built.files_of_the_tree()
    wanted = sources()
    for name in tracked:
        if name in wanted or name.partition("/")[0] in wanted:
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "source" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "-w", str(tmp_path), "."], cwd=tmp_path / "source", check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in tracked if name.startswith(("governance/", "pipelines/"))} <= held
    assert "pipelines/templates/shared/constraints.txt" in held
