"""Who may read artifacts, on a real server: each route that gives them out asks policy first, and the
log has the read before the bytes are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Read, Refusal
from governance.attest.predicates.access import LONGEST_PURPOSE
from governance.base.errors import RefusedError
from governance.history.state import state
from governance.log.evidence import Evidence
from governance.log.http_client import PURPOSE_HEADER
from governance.registry.rest import RegistryServer
from tests.governance.governed import principals
from tests.governance.registry.place import MODEL, PASSWORD, place, register, serving
from tests.governance.registry.world import World

pytestmark = pytest.mark.slow
READERS = """
readers:
  datasets: {"*": []}
  models: {support-desk: [ml-lead, ci], "*": []}
"""
SERVED = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from opened(tmp_path_factory.mktemp("read"), READERS)


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose policy asks what each read is for."""
    yield from opened(tmp_path_factory.mktemp("asking"), f"{READERS}  purpose: required\n")


def opened(folder: Path, readers: str) -> Iterator[World]:
    here = place(folder, principals() + readers)
    with serving(here) as server, pytest.MonkeyPatch.context() as patch:
        world = World(here, server, patch)
        register(here, server, patch)  # version 1, which the story has told
        world.champion = world.fresh().number
        for name in ("ada", "eve", "nobody"):
            world.account(name)
        # what an account may see in MLflow is another matter
        for name in ("ada", "eve", "nobody"):
            server.post(
                "experiments/permissions/create",
                experiment_id="1",
                username=name,
                permission="MANAGE",
            )
        yield world


def reads(world: World) -> list[Evidence[Read]]:
    return state(world.scene.story.log).evidence.all(Read)


def root(world: World) -> Path:
    """The server's artifact root."""
    (found,) = {path.parents[2] for path in world.here.folder.rglob("1/*/artifacts")}
    return found


def paths(world: World) -> dict[str, str]:
    """Every way to a file of the registered version, or to names of them."""
    registered = state(world.scene.story.log).registration(MODEL, world.champion).predicate
    run = str(registered.run.detail["registry_run"])
    (found,) = (path for path in world.here.folder.rglob("config.json") if run in path.parts)
    file = found.relative_to(root(world)).as_posix()
    inside = file.partition("artifacts/")[2]
    folder = file.partition("/artifacts/")[0]
    return {
        "proxy": f"{SERVED}/{file}",
        "pages": f"/ajax-api/2.0/mlflow-artifacts/artifacts/{file}",
        "run": f"/get-artifact?run_id={run}&path={inside}",
        "version": f"/model-versions/get-artifact?name={MODEL}&version={world.champion}&path={inside.partition('/')[2]}",
        "list of run": f"artifacts/list?run_id={run}",
        "list of folder": f"{SERVED}?path={folder}/artifacts",
        "list of root": f"{SERVED}?path=",
    }


def asked(world: World, who: str, path: str, **headers: str) -> Any:
    server = replace(world.server, user=who, headers=headers)
    return server.ask("GET", path)


@pytest.mark.parametrize(
    "way", ["proxy", "pages", "run", "version", "list of run", "list of folder"]
)
def test_an_account_reads_what_policy_permits(way: str, world: World) -> None:
    path = paths(world)[way]
    for who in ("eve", "nobody", "admin"):
        answer = asked(world, who, path)
        assert answer.status == 403, (who, answer)
        assert "tokenizer" not in answer.text and "vocab" not in answer.text
    assert asked(world, "ada", path).status == 200, asked(world, "ada", path)
    (said,) = reads(world) or [None]
    if said is not None:
        assert (said.predicate.reader, said.predicate.account) == ("ada", "ada")
        assert [(one.role, one.name) for one in said.subjects] == [("model", MODEL)]
        assert said.subjects[0].sha256 == world.scene.story.models["attack0"]


def test_a_refused_read_is_recorded(world: World) -> None:
    asked(world, "eve", paths(world)["proxy"])
    refused = state(world.scene.story.log).evidence.all(Refusal)
    said = {
        (each.predicate.caller, each.predicate.operation, each.predicate.reason) for each in refused
    }
    assert ("eve", "read artifact", "READ_NOT_ALLOWED model support-desk") in said


def test_a_file_of_no_run_is_closed(world: World) -> None:
    """Nothing says what it is, so the rows `*` decide."""
    stray = root(world) / "1" / "stray.txt"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("a record")
    other = stray.parent / ("b" * 32) / "artifacts" / "x.txt"
    other.parent.mkdir(parents=True)
    other.write_text("a record")
    for path in ("1/stray.txt", f"1/{'b' * 32}/artifacts/x.txt"):
        answer = asked(world, "ada", f"{SERVED}/{path}")
        assert answer.status == 403 and "a record" not in answer.text
    assert asked(world, "ada", paths(world)["list of root"]).status == 403


def test_a_service_takes_a_versions_files(world: World, tmp_path: Path) -> None:
    world.account("ci")
    environ = {
        "COUNTERSIGN_USER": "ci",
        "COUNTERSIGN_PASSWORD": PASSWORD,
        "COUNTERSIGN_PURPOSE": "serving",
    }
    environ |= {"COUNTERSIGN_LOG": world.server.uri}
    before = len(reads(world))
    fetch = RegistryServer(world.server.uri, environ).files(MODEL, world.champion)
    registered = state(world.scene.story.log).registration(MODEL, world.champion).predicate
    names = {file.path for file in registered.files}
    assert "config.json" in names
    for file in registered.files:
        target = tmp_path / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(file, target)
        assert target.stat().st_size == file.size
    (said,) = reads(world)[before:]
    assert (said.predicate.account, said.predicate.purpose) == ("ci", "serving")


@pytest.mark.parametrize("way", ["proxy", "pages", "run", "version"])
def test_policy_may_ask_what_a_read_is_for(way: str, asking: World) -> None:
    path, before = paths(asking)[way], len(reads(asking))
    for headers in ({}, {PURPOSE_HEADER: "  "}, {PURPOSE_HEADER: "x" * (LONGEST_PURPOSE + 1)}):
        answer = asked(asking, "ada", path, **headers)
        assert answer.status == 403 and PURPOSE_HEADER in answer.text, (headers, answer)
        assert "vocab" not in answer.text
    assert len(reads(asking)) == before
    for _ in range(2):  # the same read is recorded once a day
        answer = asked(asking, "ada", path, **{PURPOSE_HEADER: f" audit of {way} "})
        assert answer.status == 200, answer
    (said,) = reads(asking)[before:]
    assert (said.predicate.reader, said.predicate.purpose) == ("ada", f"audit of {way}")


def test_a_purpose_gives_no_right(asking: World) -> None:
    before = len(reads(asking))
    answer = asked(asking, "eve", paths(asking)["proxy"], **{PURPOSE_HEADER: "audit"})
    assert answer.status == 403 and "vocab" not in answer.text
    assert len(reads(asking)) == before


def test_a_purpose_that_is_not_ascii_is_refused(asking: World) -> None:
    before = len(reads(asking))
    answer = asked(asking, "ada", paths(asking)["proxy"], **{PURPOSE_HEADER: "prüfung"})
    assert 400 <= answer.status < 500, answer
    assert len(reads(asking)) == before


def test_a_service_without_a_purpose_takes_no_file(asking: World, tmp_path: Path) -> None:
    asking.account("ci")
    environ = {"COUNTERSIGN_USER": "ci", "COUNTERSIGN_PASSWORD": PASSWORD}
    environ |= {"COUNTERSIGN_LOG": asking.server.uri}
    registered = state(asking.scene.story.log).registration(MODEL, asking.champion).predicate
    file = next(file for file in registered.files if file.path == "config.json")
    with pytest.raises(RefusedError, match=f"{MODEL}.*{PURPOSE_HEADER}"):
        fetch = RegistryServer(asking.server.uri, environ).files(MODEL, asking.champion)
        fetch(file, tmp_path / "config.json")
    assert not (tmp_path / "config.json").exists()
