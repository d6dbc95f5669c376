"""Which model serves: the log says so, and what is handed out is what was registered."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.attest.digests import manifest, tree_digest
from governance.base.errors import (
    ConfigError,
    CountersignError,
    InputError,
    StorageError,
    VerificationError,
)
from governance.commands.retrospect import live_command
from governance.commands.verify import verify_command
from governance.commands.verify import verify_model_command as command
from governance.history.state import state
from governance.log.port import Log
from governance.registry.rest import RegistryServer
from governance.release import promotion, retrospect, serving
from tests.governance.forged import forge, second
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    """One version, champion by a decision."""
    found = governed(tmp_path)
    found.released()
    return found


def serving_log(scene: Governed, **options: Any) -> Log:
    return serving.serving_log(scene.story.machine, scene.now, **options)


def files(scene: Governed) -> Path:
    return scene.story.root / "models/sft/model"


@pytest.mark.parametrize(
    "name",
    [
        "support-desk/1",
        "support-desk@champion",
        "models:/support-desk@champion",
        "countersign://support-desk@champion",
    ],
)
def test_the_log_says_which_version_is_meant(name: str, scene: Governed) -> None:
    served = serving.resolve(state(scene.story.log), name)
    assert (served.name, served.registration.model_digest) == (
        "support-desk/1",
        tree_digest(files(scene)),
    )
    assert not served.development and served.incident is None
    assert (served.move is not None) == ("@" in name)


NAMES = [
    "support-desk",
    "support-desk@latest",
    "models:/support-desk/latest",
    "support-desk/0",
    "support-desk/01",
    "support-desk/1\n",
    "Support-desk/1",
    "support-desk@champion ",
    "s\u0443pport-desk@champion",
    "../x/1",
    "support-desk@champ\u200bion",
    "support-desk/\uff11",
    "runs:/x/1",
    "",
    "support-desk/1@champion",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_only_looks_like_a_name_is_none(name: str, scene: Governed) -> None:
    with pytest.raises(ConfigError, match="names no version"):
        serving.resolve(state(scene.story.log), name)


def test_what_the_log_does_not_know_is_not_served(scene: Governed) -> None:
    now = state(scene.story.log)
    for name in ("support-desk/2", "support-desk@challenger", "other/1"):
        with pytest.raises(InputError):
            serving.resolve(now, name)


def test_an_alias_is_the_bytes_that_were_decided_on(scene: Governed) -> None:
    """Another model registered under the same number: the alias still means the first, the number
    alone nothing.
    """
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base")
    scene.story.register("sft", "1")
    now = state(scene.story.log)
    held = now.holder(MODEL, "champion")
    assert held is not None
    served = serving.resolve(now, "support-desk@champion")
    assert served.registration.model_digest == held.model_digest != tree_digest(files(scene))
    with pytest.raises(VerificationError, match="registered with different bytes"):
        serving.resolve(now, "support-desk/1")


def test_an_open_incident_is_told(scene: Governed) -> None:
    scene.incident("1", "open")
    assert "because" in str(
        serving.resolve(state(scene.story.log), "support-desk@champion").incident
    )
    scene.incident("1", "closed")
    assert serving.resolve(state(scene.story.log), "support-desk@champion").incident is None


def test_a_log_of_another_origin_is_not_believed(scene: Governed) -> None:
    log = scene.story.log
    assert serving_log(scene, pinned=log.entry(0).leaf_hash.hex()).size() == log.size()
    for quick, told in ((True, "another log"), (False, "the pinned origin")):
        with pytest.raises(VerificationError, match=told):
            serving_log(scene, pinned="0" * 64, quick=quick)
    pinned = replace(
        scene.story.machine, environ={**scene.story.machine.environ, "COUNTERSIGN_ORIGIN": "0" * 64}
    )
    with pytest.raises(VerificationError, match="the pinned origin"):
        serving.serving_log(pinned, scene.now)


def test_an_entry_that_was_taken_away_is_missed(scene: Governed) -> None:
    """Somebody with the database lets a rollback be forgotten: the head still verifies, the log
    does not.
    """
    entry = next(
        item.index
        for item in state(scene.story.log).view.all("promotion")
        if item.predicate.alias == "champion"
    )
    scene.incident("1", "open")
    with sqlite3.connect(scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_DELETE")
        database.execute("DELETE FROM countersign_entry WHERE idx = ?", (entry,))
    assert serving_log(scene, quick=True).size()
    with pytest.raises(VerificationError, match="does not verify"):
        serving_log(scene)


def test_a_private_copy_is_the_registered_model_and_goes_away(
    scene: Governed, tmp_path: Path
) -> None:
    served = serving.resolve(state(scene.story.log), "support-desk@champion")
    with serving.private_copy(served, files(scene), tmp_path) as copy:
        assert copy != files(scene) and tree_digest(copy) == served.registration.model_digest
        assert copy.parent.stat().st_mode & 0o077 == 0
    assert not copy.exists()
    (files(scene) / "config.json").write_text('{"a": 1}')
    with (
        pytest.raises(VerificationError, match=r"config.json: content changed"),
        serving.private_copy(served, files(scene), tmp_path),
    ):
        pytest.fail("handed out")
    assert not list(tmp_path.glob("countersign-model-*"))


@contextmanager
def serve(folder: Path, run: str, spoil: bytes = b"") -> Iterator[str]:
    """A registry's two routes that the loader asks: a version, and a file of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/model/")[2]
            if self.headers.get("Authorization") != "Basic YW5uOnNlY3JldA==":
                self.send_response(401)
                self.end_headers()
                return
            answer = {"model_version": {"source": f"mlflow-artifacts:/7/{run}/artifacts/model"}}
            is_run = self.path == "/api/2.0/mlflow/model-versions/get?name=support-desk&version=1"
            place = f"/api/2.0/mlflow-artifacts/artifacts/7/{run}/artifacts/model"
            is_description = self.path == f"{place}/MLmodel"
            assert is_run or is_description or self.path == f"{place}/model/{name}"
            self.send_response(200)
            self.end_headers()
            if is_run:
                self.wfile.write(json.dumps(answer).encode())
            elif not is_description:
                self.wfile.write((folder / name).read_bytes() + spoil)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ACCOUNT = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "secret"}


def test_files_come_from_a_server_and_are_held_against_the_manifest(
    scene: Governed, tmp_path: Path
) -> None:
    served, run = serving.resolve(state(scene.story.log), "support-desk/1"), "a" * 32
    with serve(files(scene), run) as uri:
        with serving.private_copy(
            served, RegistryServer(uri, ACCOUNT).files(MODEL, "1"), tmp_path
        ) as copy:
            assert manifest(copy) == served.registration.files
        with pytest.raises(StorageError, match="401"):
            RegistryServer(uri, {}).files(MODEL, "1")
    with (
        serve(files(scene), run, b"x") as uri,
        pytest.raises(VerificationError, match="content changed"),
        serving.private_copy(served, RegistryServer(uri, ACCOUNT).files(MODEL, "1"), tmp_path),
    ):
        pytest.fail("handed out")
    with pytest.raises(StorageError, match="nothing listens") as told:
        RegistryServer("http://127.0.0.1:9", ACCOUNT).files(MODEL, "1")
    assert "secret" not in str(told.value)


def verify_model(scene: Governed, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(scene.story.root)
    for name, value in scene.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(command, list(arguments))


def test_the_command_says_what_a_folder_is(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = verify_model(
        scene, monkeypatch, "models/sft/model", "--against", "support-desk@champion"
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("VERIFIED: models/sft/model is support-desk/1, champion since ")
    (files(scene) / "extra.txt").write_text("")
    (files(scene) / "config.json").unlink()
    done = verify_model(
        scene, monkeypatch, "models/sft/model", "--against", "support-desk/1", "--json"
    )
    found = json.loads(done.output)
    assert (done.exit_code, found["verified"], found["version"]) == (5, False, "1")
    assert [fault["path"] for fault in found["faults"]] == ["config.json", "extra.txt"]
    done = verify_model(scene, monkeypatch, "models/sft/model", "--against", "support-desk/1")
    assert (
        "NOT THE REGISTERED MODEL" in done.output
        and "extra.txt: not in the manifest" in done.output
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("models/nowhere", "--against", "support-desk/1"), 3),
        (("models/sft/model", "--against", "support-desk"), 2),
        (("models/sft/model", "--against", "support-desk/9"), 3),
        (("models/sft/model", "--against", "support-desk/1", "--origin", "0" * 64), 5),
    ],
)
def test_the_command_says_what_it_cannot_do(
    arguments: tuple[str, ...], code: int, scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = verify_model(scene, monkeypatch, *arguments).exception
    assert isinstance(error, CountersignError) and error.exit_code == code


# -- Decisions that the log does not give ----------------------------------------------------------
def test_a_forged_move_is_not_served(scene: Governed) -> None:
    """Nobody approved version 2. Neither the alias nor the number gives it; `verify` says the
    same.
    """
    second(scene)
    entry = forge(scene, "2")
    now = state(scene.story.log)
    assert now.timeline.holders[MODEL, "champion"].version == "2"
    for name in ("support-desk@champion", "support-desk/2"):
        with pytest.raises(VerificationError, match="FORGED MOVE: support-desk/2 holds") as refused:
            serving.resolve(now, name)
        assert f"entry {entry}, promote champion" in str(refused.value)
        assert refused.value.exit_code == 5
    assert serving.resolve(now, "support-desk/1").move is None  # it serves nobody
    (found,) = retrospect.forged(now)
    assert found.subject == f"entry {entry}, support-desk@champion"


FORGED: dict[str, dict[str, Any]] = {
    "without what was asked": {"asked": None},
    "with nonsense as what was asked": {"asked": {"model": 1}},
    "of other bytes": {"model_digest": "ab" * 32},
    "a retirement of the champion": {"action": "retire"},
}


@pytest.mark.parametrize("row", FORGED)
def test_a_forged_move_of_any_form_is_not_served(row: str, scene: Governed) -> None:
    forge(scene, "1", **FORGED[row])
    now = state(scene.story.log)
    assert len(retrospect.forged(now)) == 1
    with pytest.raises(CountersignError):
        serving.resolve(now, "support-desk@champion")


def test_what_a_forged_move_carried_is_not_served_either(scene: Governed) -> None:
    """A weak version is forged to be the champion, so that the next one compares well with it."""
    second(scene)
    forge(scene, "2")
    second(scene, "3")
    scene.table.held[MODEL, "champion"] = "2"
    scene.released("3")
    with pytest.raises(VerificationError, match="FORGED MOVE: support-desk/2 holds champion"):
        serving.resolve(state(scene.story.log), "support-desk@champion")


def test_what_people_rolled_back_hinders_nobody(scene: Governed) -> None:
    """The way out of a forged move: the version before it is served again."""
    first = scene.story.models["sft"]
    second(scene)
    forge(scene, "2")
    scene.table.held[MODEL, "champion"] = "2"
    request = scene.request("1", action="rollback", model_digest=first)
    scene.approve("ben", "risk", request, "promotion")
    assert scene.consume("1").action == "rollback"
    now = state(scene.story.log)
    assert serving.resolve(now, "support-desk@champion").name == "support-desk/1"
    moves = [
        move.predicate.version
        for move in retrospect.leading(now, now.timeline.holders[MODEL, "champion"].given)
    ]
    assert moves == ["1", "1"]
    assert len(retrospect.forged(now)) == 1


def test_a_rollback_to_a_forged_release_is_not_served(scene: Governed) -> None:
    """The rollback was decided as the log demands. What it goes back to was not."""
    second(scene)
    forge(scene, "2")
    second(scene, "3")
    scene.table.held[MODEL, "champion"] = "2"
    scene.released("3")
    held = state(scene.story.log).timeline.released_before(MODEL, "champion", "3")
    digest = held[0].predicate.model_digest
    request = scene.request("2", action="rollback", model_digest=digest)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("2")
    with pytest.raises(VerificationError, match="FORGED MOVE"):
        serving.resolve(state(scene.story.log), "support-desk@champion")


CANDIDATES: dict[str, tuple[dict[str, Any], str]] = {
    "of a version without a registration": ({"version": "9"}, "no registration of support-desk/9"),
    "of other bytes than were registered": ({"model_digest": "ab" * 32}, "no registration"),
    "without what was asked": ({"asked": None}, "does not hold what was asked"),
    "that answers about another alias": ({}, "answers another question"),
}


@pytest.mark.parametrize("row", CANDIDATES)
def test_a_forged_candidate_is_not_served(row: str, scene: Governed) -> None:
    fields, told = CANDIDATES[row]
    asked = promotion.ask(state(scene.story.log), "promote", MODEL, "1", "champion")
    forge(scene, "1", **{"asked": asked.model_dump(mode="json"), "alias": "candidate", **fields})
    now = state(scene.story.log)
    with pytest.raises(CountersignError) as refused:
        serving.resolve(now, "support-desk@candidate")
    assert told in str(refused.value)
    (found,) = retrospect.forged(now)
    assert told in found.message and found.subject.endswith("support-desk@candidate")
    live = retrospect.live(now, MODEL, scene.now)
    assert [told in (held.not_reproduced or "") for held in live] == [True, False]


def test_verify_tells_of_a_candidate_that_was_written_past_the_server(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify() -> tuple[int, str]:
        done = CliRunner().invoke(verify_command, ["--no-files"])
        return done.exit_code, done.output

    verify_model(scene, monkeypatch)  # the surroundings
    monkeypatch.setattr("governance.commands.verify._registry", lambda *_: None)  # there is none
    assert verify()[0] == 0
    entry = forge(scene, "1", alias="candidate", asked=None)
    code, shown = verify()
    assert code == 5 and f"entry {entry}, support-desk@candidate" in shown


def test_live_and_the_command_tell_of_a_forged_move(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    second(scene)
    entry = forge(scene, "2")
    refused = verify_model(scene, monkeypatch, "models/sft/model", "--against", "support-desk/2")
    assert isinstance(refused.exception, VerificationError) and refused.exception.exit_code == 5
    done = CliRunner().invoke(live_command, ["support-desk", "--json"])
    (live,) = [row for row in json.loads(done.output)["live"] if row["alias"] == "champion"]
    assert done.exit_code == 5 and f"entry {entry}" in live["not_reproduced"]
    done = CliRunner().invoke(live_command, ["support-desk"])
    assert done.exit_code == 5 and "FORGED MOVE: support-desk/2 holds champion" in done.output
