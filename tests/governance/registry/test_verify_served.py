"""`countersign verify` where the registry is a server's, and where its files are not in the usual
folder.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.release.reconcile import reconcile
from tests.governance.registry.client import Client
from tests.governance.registry.place import MODEL, Place, Server, place, register, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Server]]:
    """A server with two versions, its files in a folder of their own; the log says of the second
    which run has them.
    """
    folder = tmp_path_factory.mktemp("verify")
    here = place(folder)
    with (
        serving(here, "--artifacts", str(folder / "files")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        register(here, server, patch)
        here.scene.story.train("other", "sft", "conversation", "desk_sft", "base", accuracy=0.9)
        register(here, server, patch, "other")
        yield here, server


@pytest.fixture
def client(served: tuple[Place, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    here, server = served
    monkeypatch.setenv("COUNTERSIGN_ORIGIN", here.scene.story.log.entry(0).leaf_hash.hex())
    return Client(tmp_path, server, monkeypatch)


CHANGES = {
    "REGISTRY_ALIAS_MOVED": (
        (
            "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES"
            " ('default', ?, 'champion', 1)"
        ),
        "DELETE FROM registered_model_aliases WHERE name = ? AND alias = 'champion'",
    ),
    "REGISTRY_DIGEST_CHANGED": (
        (
            "UPDATE model_version_tags SET value = value || '0' WHERE name = ? AND version = 2"
            " AND key = 'countersign.digest'"
        ),
        (
            "UPDATE model_version_tags SET value = substr(value, 1, 64) WHERE name = ? AND version"
            " = 2 AND key = 'countersign.digest'"
        ),
    ),
    "REGISTRY_SOURCE_CHANGED": (
        "UPDATE model_versions SET storage_location = source || '2' WHERE name = ? AND version = 2",
        "UPDATE model_versions SET storage_location = source WHERE name = ? AND version = 2",
    ),
    "REGISTRY_STAGE_SET": (
        "UPDATE model_versions SET current_stage = 'Production' WHERE name = ? AND version = 2",
        "UPDATE model_versions SET current_stage = 'None' WHERE name = ? AND version = 2",
    ),
    "REGISTRY_VERSION_MISSING": (
        (
            "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = ? AND"
            " version = 2"
        ),
        "UPDATE model_versions SET current_stage = 'None' WHERE name = ? AND version = 2",
    ),
    "REGISTRY_LOOKALIKE": (
        "INSERT INTO registered_models (workspace, name) VALUES ('default', replace(?, 'o', '0'))",
        "DELETE FROM registered_models WHERE name = replace(?, 'o', '0')",
    ),
    "REGISTRY_RUN_MISSING": (
        (
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid ="
            " (SELECT run_id FROM model_versions WHERE name = ? AND version = 2)"
        ),
        (
            "UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid ="
            " (SELECT run_id FROM model_versions WHERE name = ? AND version = 2)"
        ),
    ),
}
"""What somebody with the database does, and takes back, by the finding that tells."""


@pytest.mark.parametrize("code", CHANGES)
def test_what_the_server_shows_is_held_against_the_log(
    code: str, served: tuple[Place, Server], client: Client
) -> None:
    """From elsewhere as where the database is."""
    here, _ = served
    done, back = CHANGES[code]
    with sqlite3.connect(here.database.removeprefix("sqlite:///"), timeout=30) as database:
        database.execute(done, (MODEL,))
    try:
        exit_code, told = client.run("verify")
        assert exit_code == 5 and told.startswith(f"THE REGISTRY DOES NOT MATCH THE LOG: {code}"), (
            told
        )
        local = reconcile(here.scene.story.log, here.machine) or []
        found = json.loads(client.run("verify", "--json")[1])["registry"]
        assert [one["code"] for one in found] == [one.code for one in local] == [code]
    finally:
        with sqlite3.connect(here.database.removeprefix("sqlite:///"), timeout=30) as database:
            database.execute(back, (MODEL,))
    assert client.run("verify")[0] == 0


def test_files_in_a_local_folder_are_none_of_a_server_even_if_every_version_names_one(
    served: tuple[Place, Server], client: Client
) -> None:
    here, _ = served
    columns = "SELECT source, storage_location, run_id, version FROM model_versions"
    change = "UPDATE model_versions SET source = ?, storage_location = ? WHERE version = ?"
    with sqlite3.connect(here.database.removeprefix("sqlite:///"), timeout=30) as database:
        before = database.execute(columns).fetchall()
        for _, _, run, version in before:
            folder = f"file:///tmp/elsewhere/{run}/artifacts/model"
            database.execute(change, (folder, folder, version))
    try:
        exit_code, told = client.run("verify", "--json")
        codes = {difference["code"] for difference in json.loads(told)["registry"]}
        assert exit_code == 5 and codes == {"REGISTRY_SOURCE_CHANGED"}
    finally:
        with sqlite3.connect(here.database.removeprefix("sqlite:///"), timeout=30) as database:
            for source, location, _, version in before:
                database.execute(change, (source, location, version))
    assert client.run("verify")[0] == 0


def test_nothing_is_wrong_and_the_report_says_so(
    served: tuple[Place, Server], client: Client
) -> None:
    exit_code, told = client.run("verify")
    assert exit_code == 0 and told.startswith("EVIDENCE VERIFIES"), told
    assert "registry no difference(s) from the log" in told
    assert "agrees with the log" in client.run("show", f"{MODEL}/1")[1]


def test_an_account_that_is_not_shown_all_of_it(
    served: tuple[Place, Server], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told so; what it does not see is not called missing."""
    _, server = served
    server.post("users/create", username="dora", password="password of dora")
    given = {"username": "dora", "resource_type": "registered_model", "resource_id": MODEL}
    none = server.ask(
        "POST", "/api/3.0/mlflow/users/permissions/grant", {**given, "permission": "DENY"}
    )
    assert none.status == 200, none.text
    monkeypatch.setenv("COUNTERSIGN_USER", "dora")
    monkeypatch.setenv("COUNTERSIGN_PASSWORD", "password of dora")
    exit_code, told = client.run("verify")
    assert (
        exit_code == 0 and "registry not compared" in told and "the server answers 403" in told
    ), told


def test_a_server_that_is_away_is_no_difference(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.run("verify")[0] == 0
    monkeypatch.setenv("COUNTERSIGN_REGISTRY", "http://127.0.0.1:9")
    exit_code, told = client.run("verify")
    assert exit_code == 0 and "registry not compared" in told and "nothing listens there" in told, (
        told
    )


def test_files_are_found_where_the_server_was_told_to_keep_them(
    served: tuple[Place, Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, server = served
    client = Client(tmp_path, server, monkeypatch)
    for name in client.environ:
        monkeypatch.delenv(name)
    for name, value in here.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here.scene.story.root)
    exit_code, told = client.run("verify")
    assert exit_code == 0 and "the files of 1 registered version(s)" in told, told
    for stored in (here.folder / "files").glob("*/*/artifacts/model/config.json"):
        stored.chmod(0o644)
        stored.write_text('{"a": 1}')
    exit_code, told = client.run("verify")
    assert (
        exit_code == 5 and "FILES DO NOT MATCH THE EVIDENCE: registered support-desk/2" in told
    ), told
