"""`countersign server` for real: a pipeline registers, people approve, an alias moves; and when it
does not start.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from governance.attest.digests import manifest
from governance.attest.predicates import Approval, Artifact, Promotion, Refusal, Requester
from governance.base.errors import CountersignError, StorageError
from governance.base.time import exact_instant
from governance.log import evidence
from governance.log.sql import SqlLog
from governance.machine.machine import log_of, machine
from governance.registry.governed.names import TRIAL_MODEL
from governance.registry.mlflow import open_registry
from governance.release import promotion
from governance.release.reconcile import reconcile
from governance.server.context import begun_log
from governance.server.run import _application, check_origin
from tests.governance.examples import ingest
from tests.governance.governed import governed, person
from tests.governance.registry.place import (
    MODEL,
    NotStarted,
    Place,
    Server,
    place,
    register,
    serving,
    start,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Server]:
    """A place and its server; one for all tests that leave the champion where it is."""
    here = place(tmp_path_factory.mktemp("server"))
    with serving(here, is_new=True) as server, pytest.MonkeyPatch.context() as patch:
        register(here, server, patch)
        yield here, server


def _entries(here: Place, kind: str) -> list[evidence.Evidence]:
    return list(promotion.state(here.scene.story.log).evidence.all(kind))


def test_it_says_what_it_rests_on(begun: tuple[Place, Server]) -> None:
    here, server = begun
    said = server.log.read_text(encoding="utf-8")
    first = here.scene.story.log.entry(0).leaf_hash.hex()
    assert f"origin     {first}" in said
    assert "refused 6 attempts to move a governed alias" in said
    assert server.uri in said
    assert "correct horse" not in said


def test_a_pipeline_registers_through_it(begun: tuple[Place, Server]) -> None:
    here, server = begun
    found = server.ask("GET", f"model-versions/get?name={MODEL}&version=1").value["model_version"]
    assert found["source"].startswith("mlflow-artifacts:/")
    assert found["aliases"] == ["candidate"]
    stored = next(here.artifacts.glob(f"*/{found['run_id']}/artifacts/model"))
    assert manifest(stored) == manifest(here.scene.story.root / "models/sft/model")


def test_nobody_comes_in_without_an_account(begun: tuple[Place, Server]) -> None:
    _, server = begun
    other = Server(server.uri, server.process, server.log, user="")
    assert other.ask("GET", f"registered-models/get?name={MODEL}").status == 401
    wrong = Server(server.uri, server.process, server.log, password="password1234")
    assert wrong.ask("GET", f"registered-models/get?name={MODEL}").status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "/ajax-api/3.0/jobs/search"),
        ("POST", "/gateway/x/mlflow/invocations"),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("GET", "/signup"),
    ],
)
def test_what_runs_commands_or_calls_out_is_not_there(
    begun: tuple[Place, Server], method: str, path: str
) -> None:
    assert begun[1].ask(method, path, {} if method == "POST" else None).status in (404, 405, 501)


def test_other_hosts_are_refused(begun: tuple[Place, Server]) -> None:
    _, server = begun
    for host in ("10.evil.example", "localhost.evil.example", "127.0.0.1"):
        other = Server(server.uri, server.process, server.log, headers={"Host": host})
        assert other.ask("GET", f"registered-models/get?name={MODEL}").status == 403, host


def test_other_origins_cannot_write(begun: tuple[Place, Server]) -> None:
    _, server = begun
    other = Server(
        server.uri, server.process, server.log, headers={"Origin": "https://evil.example"}
    )
    assert (
        other.ask("POST", "/ajax-api/2.0/mlflow/registered-models/create", {"name": "x"}).status
        == 403
    )


ROUTES = (
    f"/api/2.0/mlflow/registered-models/get?name={MODEL}",
    f"/ajax-api/2.0/mlflow/registered-models/get?name={MODEL}",
    "/api/2.0/mlflow-artifacts/artifacts/0/x",
    "/ajax-api/3.0/mlflow/mcp-servers",
    "/countersign/v1/checkpoint",
    f"/countersign/v1/index?model={MODEL}",
    "/v1/traces",
    "/graphql",
    "/",
)
"""One or more per web framework and part of the application."""


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "header",
    ["", "Bearer abc", "Digest username=admin", "Negotiate YII=", "x", "Basic", "Basic !="],
)
def test_an_unknown_scheme_is_no_account(
    begun: tuple[Place, Server], path: str, header: str
) -> None:
    _, server = begun
    other = Server(server.uri, server.process, server.log, user="")
    other.headers["Authorization"] = header.encode().decode("latin-1")
    method = "POST" if path in ("/v1/traces", "/graphql") else "GET"
    assert other.ask(method, path, {} if method == "POST" else None).status == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_page_of_another_site_cannot_reach_the_log(
    begun: tuple[Place, Server], method: str, headers: dict[str, str]
) -> None:
    """A browser that knows the password would send it."""
    _, server = begun
    other = Server(server.uri, server.process, server.log, headers=headers)
    path = "/countersign/v1/entries"
    answer = other.ask(method, path, raw=b"{}" if method == "POST" else None)
    assert answer.status == 403 and "another site" in answer.message
    assert server.ask("GET", path).status == 200


def test_only_an_administrator_lists_the_accounts(begun: tuple[Place, Server]) -> None:
    _, server = begun
    server.post("users/create", username="eve", password="password of eve")
    eve = Server(server.uri, server.process, server.log, user="eve", password="password of eve")
    for path in ("/api/2.0/mlflow/users/list", "/ajax-api/2.0/mlflow/users/list"):
        assert "eve" in server.ask("GET", path).text
        found = eve.ask("GET", path)
        assert found.status == 403 and "admin" not in found.text
    assert eve.ask("GET", "/ajax-api/2.0/mlflow/users/current").status == 200
    assert eve.ask("GET", "users/get?username=admin").status == 403
    assert eve.ask("GET", "users/get?username=nobody").status == 403
    assert eve.ask("GET", "/").status == 200


def test_its_secrets_are_nobody_elses(begun: tuple[Place, Server]) -> None:
    here, _ = begun
    folder = here.machine.state / "server"
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("secret-key", "accounts.ini", "accounts.db"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


@pytest.fixture
def copied(begun: tuple[Place, Server], tmp_path: Path) -> Iterator[Place]:
    """A place of its own, without a server."""
    yield place(tmp_path)


def test_an_alias_moves_by_signatures_and_by_nothing_else(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied
    with serving(here) as server:
        version = register(here, server, monkeypatch)
        move = {"name": MODEL, "alias": "champion", "version": version.number}
        refused = server.post("registered-models/alias", **move)
        assert refused.status == 403
        assert "REQUEST_MISSING" in refused.message and "countersign promote" in refused.message
        assert "PACKET_MISSING" in refused.message
        scene = here.scene
        scene.asked_for(version.number)
        assert server.post("registered-models/alias", **move).status == 200
        held = server.ask("GET", f"registered-models/alias?name={MODEL}&alias=champion").value[
            "model_version"
        ]
        assert held["version"] == "1"
        moved = _entries(here, "promotion")[-1].predicate
        assert moved.allowed and moved.caller == "admin" and moved.alias == "champion"
        tags = {one["key"]: one["value"] for one in held["tags"]}
        assert tags["governance.approved_by"] == "ada (ml-lead), ben (risk)"
        assert "champion since" in tags["governance.status"]
        assert "champion since" in held["description"]
        again = server.post("registered-models/alias", **move)
        assert again.status == 403 and "REQUEST" in again.message
        taken = server.ask(
            "DELETE", "registered-models/alias", {"name": MODEL, "alias": "champion"}
        )
        assert taken.status == 403
        assert server.stop() == 0


def test_a_version_is_retired_by_a_signed_request(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, scene = copied, copied.scene
    with serving(here) as server:
        version = register(here, server, monkeypatch)
        scene.asked_for(version.number)
        alias = {"name": MODEL, "alias": "champion"}
        assert server.post("registered-models/alias", **alias, version=version.number).status == 200
        assert server.ask("DELETE", "registered-models/alias", alias).status == 403
        asked = scene.request(version.number, action="retire")
        scene.approve("ada", "ml-lead", asked, "promotion")
        scene.approve("ben", "risk", asked, "promotion")
        taken = server.ask("DELETE", "registered-models/alias", alias)
        assert taken.status == 200, taken.text
        found = server.ask("GET", f"model-versions/get?name={MODEL}&version=1").value[
            "model_version"
        ]
        tags = {one["key"]: one["value"] for one in found["tags"]}
        assert found["aliases"] == ["candidate"]
        assert tags["governance.status"].startswith("retired")
    assert reconcile(scene.story.log, here.machine) == []


def test_a_refused_call_is_in_the_log_with_caller_and_reason(begun: tuple[Place, Server]) -> None:
    here, server = begun
    assert server.post("registered-models/rename", name=MODEL, new_name="other").status == 403
    said = _entries(here, "refusal")[-1].predicate
    assert (said.operation, said.model, said.caller) == ("rename_registered_model", MODEL, "admin")
    assert "never renamed" in said.reason
    size = here.scene.story.log.size()
    assert server.post("registered-models/rename", name=MODEL, new_name="other").status == 403
    assert here.scene.story.log.size() == size


def test_a_refused_file_is_in_the_log_too(begun: tuple[Place, Server]) -> None:
    """Its route is none of Flask's: the account is known all the same."""
    here, server = begun
    found = server.ask("GET", f"model-versions/get?name={MODEL}&version=1").value["model_version"]
    path = found["source"].removeprefix("mlflow-artifacts:/")
    made = server.post("users/create", username="dora", password="password of dora")
    assert made.status in (200, 400), made.text
    assert (
        server.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}/extra.txt", raw=b"x").status
        == 403
    )
    said = _entries(here, "refusal")[-1].predicate
    assert (said.operation, said.caller) == ("write artifact", "admin")
    assert "closed" in said.reason


def test_an_account_without_rights_gets_no_further_than_mlflow(begun: tuple[Place, Server]) -> None:
    here, server = begun
    server.post("users/create", username="dora", password="password of dora")
    dora = Server(server.uri, server.process, server.log, user="dora", password="password of dora")
    assert dora.ask("GET", f"registered-models/get?name={MODEL}").status == 200
    size = here.scene.story.log.size()
    assert (
        dora.post("registered-models/alias", name=MODEL, alias="champion", version="1").status
        == 403
    )
    assert here.scene.story.log.size() == size
    given = {
        "username": "dora",
        "resource_type": "registered_model",
        "resource_id": MODEL,
        "permission": "EDIT",
    }
    assert server.ask("POST", "/api/3.0/mlflow/users/permissions/grant", given).status == 200
    moved = dora.post("registered-models/alias", name=MODEL, alias="champion", version="1")
    assert moved.status == 403 and "REQUEST_MISSING" in moved.message
    assert _entries(here, "promotion")[-1].predicate.caller == "dora"
    answer = dora.post("registered-models/set-tag", name=MODEL, key="governance.x", value="y")
    assert answer.status == 403 and "Countersign refuses" in answer.message
    assert _entries(here, "refusal")[-1].predicate.caller == "dora"


def test_verify_tells_what_somebody_did_to_the_database(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied
    with serving(here) as server:
        register(here, server, monkeypatch)
    command = [
        sys.executable,
        "-c",
        "from pipelines.cli import main; main()",
        "verify",
        "--no-files",
    ]
    run = partial(
        subprocess.run,
        cwd=here.scene.story.root,
        env=here.environ(),
        capture_output=True,
        text=True,
    )
    done = run(command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "registry no difference(s) from the log" in done.stdout
    with sqlite3.connect(here.database.removeprefix("sqlite:///")) as database:
        database.execute(
            "INSERT INTO registered_model_aliases (workspace, name, alias, version)"
            " VALUES ('default', ?, 'champion', 1)",
            (MODEL,),
        )
    done = run(command)
    assert done.returncode == 5
    assert (
        "THE REGISTRY DOES NOT MATCH THE LOG: REGISTRY_ALIAS_MOVED support-desk@champion"
        in done.stdout
    )
    assert "expected nobody; found version 1" in done.stdout
    found = json.loads(run([*command, "--json"]).stdout)
    assert not found["verified"] and found["registry"][0]["code"] == "REGISTRY_ALIAS_MOVED"


@pytest.mark.parametrize(
    "delay", [0.2, *(pytest.param(s, marks=pytest.mark.nightly) for s in (0.02, 0.1, 0.35))]
)
def test_a_server_that_is_killed_leaves_the_old_state_or_the_new(
    copied: Place, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    here, scene = copied, copied.scene
    with serving(here) as server:
        version = register(here, server, monkeypatch)
        scene.asked_for(version.number)
        with ThreadPoolExecutor(1) as pool:
            move = {"name": MODEL, "alias": "champion", "version": version.number}
            asked = pool.submit(lambda: server.post("registered-models/alias", **move))
            time.sleep(delay)
            server.process.kill()
            server.process.wait()
            with contextlib.suppress(OSError, http.client.HTTPException):
                asked.result()
    log = scene.story.log
    assert reconcile(log, here.machine) == []
    held = promotion.state(log).holder(MODEL, "champion")
    with sqlite3.connect(here.database.removeprefix("sqlite:///")) as database:
        rows = database.execute(
            "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
        ).fetchall()
    assert rows == ([] if held is None else [(1,)])
    with serving(here) as server:
        again = server.post("registered-models/alias", **move)
        assert again.status == (200 if held is None else 403), again.text


def test_files_beside_a_version_are_written_once(
    begun: tuple[Place, Server], tmp_path: Path
) -> None:
    here, server = begun
    (tmp_path / "page.html").write_text("<p>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", server.user)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", server.password)
        registry = open_registry(replace(here.machine, registry_uri=server.uri))
        version = registry.versions(MODEL)[0]
        for _ in range(2):
            registry.attach(version, {"report/page.html": tmp_path / "page.html"})
        (tmp_path / "page.html").write_text("<p>other")
        with pytest.raises(StorageError, match="written once"):
            registry.attach(version, {"report/page.html": tmp_path / "page.html"})


@pytest.fixture
def away(begun: tuple[Place, Server], tmp_path: Path) -> SqlLog:
    """The server's log, as somebody at another machine has it."""
    here, server = begun
    environ = {
        "COUNTERSIGN_HOME": str(tmp_path),
        "COUNTERSIGN_LOG": server.uri,
        "COUNTERSIGN_USER": server.user,
    }
    environ |= {"COUNTERSIGN_PASSWORD": server.password}
    environ |= {"COUNTERSIGN_ORIGIN": here.scene.story.log.entry(0).leaf_hash.hex()}
    return log_of(machine(MODEL, environ))  # type: ignore[return-value]


def _approval(here: Place, who: str, role: str) -> Approval:
    said = here.scene.signed(
        who, role, decision="approve", about="packet", model=MODEL, page="0" * 64
    )
    return Approval.model_validate(said)


def test_people_speak_from_elsewhere(begun: tuple[Place, Server], away: SqlLog) -> None:
    here, _ = begun
    packet = Artifact(role="packet", name="x", sha256="ab" * 32)
    size = here.scene.story.log.size()
    evidence.record(away, person("ada"), "approval", [packet], _approval(here, "ada", "ml-lead"))
    assert here.scene.story.log.size() == size + 1


def test_what_nobody_may_say_from_elsewhere_is_not_taken(
    begun: tuple[Place, Server], away: SqlLog
) -> None:
    here, _ = begun
    log = here.scene.story.log
    packet = Artifact(role="packet", name="x", sha256="cd" * 32)
    model = Artifact(role="model", name="sft", sha256=here.scene.story.models["sft"])
    moved = Promotion(
        model=MODEL,
        version="1",
        alias="champion",
        model_digest=model.sha256,
        allowed=True,
        findings=[],
        policy="0" * 64,
        at=exact_instant(here.scene.now),
        run=here.scene.story.run(),
    )
    refusal = Refusal(
        operation="x", model=MODEL, caller="ann", reason="because", run=here.scene.story.run()
    )
    tries = [
        (person("stranger"), "approval", packet, _approval(here, "ada", "ml-lead")),
        (person("eve"), "approval", packet, _approval(here, "ada", "ml-lead")),
        (person("ada"), "approval", packet, _approval(here, "ada", "risk")),
        (person("ci"), "promotion", model, moved),
        (person("ci"), "refusal", packet, refusal),
        (person("ci"), "approval", packet, _approval(here, "ada", "ml-lead")),
    ]
    size = log.size()
    for signer, kind, subject, said in tries:
        with pytest.raises(CountersignError) as refused:
            evidence.record(away, signer, kind, [subject], said)
        assert refused.value.exit_code in (4, 5, 6) and str(refused.value)
    added = [
        one.predicate for one in promotion.state(log).evidence.all("refusal") if one.index >= size
    ]
    assert 4 <= len(added) == log.size() - size <= len(tries), "equal ones are one entry"
    assert {(one.operation, one.caller, one.model) for one in added} == {("append", "admin", "")}
    assert {one.reason for one in added} == {
        "not_verified",
        "approval: not_theirs",
        "promotion: governed_alias",
        "refusal: server_only",
    }


def test_a_run_that_somebody_allowed_afterwards_is_said_again(
    begun: tuple[Place, Server], away: SqlLog
) -> None:
    """The same work made again in a person's name: it counts, and is one entry more, not two."""
    log = begun[0].scene.story.log
    nobodys = ingest("ingest@twice")
    asked = Requester(name="dora", authenticated=True, authorization="ab" * 32)
    doras = nobodys.model_copy(
        update={"run": nobodys.run.model_copy(update={"requested_by": asked})}
    )
    size, records = log.size(), [Artifact(role="records", name="x", sha256="12" * 32)]
    said = [
        evidence.record(away, person("ci"), "ingest", records, one).index
        for one in (nobodys, nobodys)
    ]
    said += [
        evidence.record(away, person("ci"), "ingest", records, one).index
        for one in (doras, doras, nobodys)
    ]
    assert said == [size, size, size + 1, size + 1, size + 1] and log.size() == size + 2


def test_the_log_is_nobodys_without_an_account(begun: tuple[Place, Server]) -> None:
    _, server = begun
    for user, password in (("", ""), ("admin", "wrong password"), ("nobody", "wrong password")):
        other = Server(server.uri, server.process, server.log, user=user, password=password)
        assert other.ask("GET", "/countersign/v1/checkpoint").status == 401
        assert other.ask("POST", "/countersign/v1/entries", raw=b"{}").status == 401
    assert server.ask("GET", "/countersign/v1/checkpoint").text.startswith("countersign/")


def _spoil_origin(here: Place) -> dict[str, str]:
    return {"COUNTERSIGN_ORIGIN": "ab" * 32}


def _no_log(here: Place) -> dict[str, str]:
    here.scene.story.log.path.unlink()
    return {}


def _other_checkpoint_key(here: Place) -> dict[str, str]:
    shutil.move(here.machine.keys / "checkpoint.pem", here.folder / "elsewhere.pem")
    return {}


def _unknown_signer(here: Place) -> dict[str, str]:
    from tests.governance.governed import keypair

    return {"CI_KEY": keypair("stranger")[0].decode()}


def _writable(here: Place) -> dict[str, str]:
    here.scene.story.log.path.chmod(0o666)
    return {}


def _readable_key(here: Place) -> dict[str, str]:
    (here.machine.keys / "checkpoint.pem").chmod(0o644)
    return {}


def _short_password(here: Place) -> dict[str, str]:
    return {"COUNTERSIGN_ADMIN_PASSWORD": "password"}


def _insecure(here: Place) -> dict[str, str]:
    return {"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true"}


def _altered(here: Place) -> dict[str, str]:
    """The policies in the log's first entry are not what its digest says."""
    with sqlite3.connect(here.scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        (envelope,) = database.execute(
            "SELECT envelope FROM countersign_entry WHERE idx = 0"
        ).fetchone()
        middle = (
            len(envelope) // 2
        )  # within their text: before it stand the keys, behind it the signature
        spoiled = envelope[:middle] + envelope[middle:].replace(b"A", b"B", 1)
        database.execute("UPDATE countersign_entry SET envelope = ? WHERE idx = 0", (spoiled,))
    return {}


def _altered_later(here: Place) -> dict[str, str]:
    """An entry is replaced by another one, with its hash, but not in the tree."""
    with sqlite3.connect(here.scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        database.execute(
            "UPDATE countersign_entry SET (envelope, leaf) ="
            " (SELECT envelope, leaf FROM countersign_entry WHERE idx = 8) WHERE idx = 7"
        )
    return {}


def _misfiled(here: Place) -> dict[str, str]:
    """An entry is unchanged, and nobody who asks for its kind finds it."""
    with sqlite3.connect(here.scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        database.execute("UPDATE countersign_entry SET kind = 'drill' WHERE kind = 'evaluate'")
    return {}


def _restored(here: Place) -> dict[str, str]:
    """An older copy of the database is put back."""
    path = here.scene.story.log.path
    shutil.copy(path, here.folder / "older.db")
    here.scene.incident("1", "open")
    shutil.copy(here.folder / "older.db", path)
    return {}


def test_a_server_that_mlflow_cannot_make_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MLflow's messages quote the address of the database."""
    from mlflow.exceptions import MlflowException

    def no_store() -> None:
        raise MlflowException("got unsupported URI 'governed+postgresql://desk:a%2Fb-pass@db/log'")

    monkeypatch.setattr("governance.server.plugin.app", no_store)
    with pytest.raises(StorageError, match="unsupported URI") as told:
        _application()
    assert "b-pass" not in str(told.value) and "@db/log" in str(told.value)


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        (_spoil_origin, 5, "the pinned origin"),
        (_no_log, 6, "there is no log in this database"),
        (_other_checkpoint_key, 5, "nothing shows that this is the log you mean"),
        (_unknown_signer, 2, "policy does not name the key of this server"),
        (_writable, 6, "other accounts can write it"),
        (_readable_key, 6, "other accounts can read a private key"),
        (_short_password, 2, "at least 12"),
        (_insecure, 2, "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"),
        (_altered, 5, "entry 0: the entry's bytes are not those that were logged"),
        (_altered_later, 5, "the log does not verify: entry 7: "),
        (_misfiled, 5, "what the log keeps to find this entry by does not follow from it"),
        (_restored, 5, "fewer than the"),
    ],
)
def test_it_does_not_start_when(tmp_path: Path, spoil: object, code: int, sentence: str) -> None:
    here = place(tmp_path)
    environ = spoil(here)  # type: ignore[operator]
    with pytest.raises(NotStarted) as ended:
        start(here, **environ)
    assert (ended.value.code, sentence in ended.value.said) == (code, True), ended.value.said
    assert "Traceback" not in ended.value.said


def test_it_starts_where_the_policies_on_disk_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update may refuse a key that these policies have. The log has those in force."""
    scene = governed(tmp_path)
    machine_here = scene.story.machine
    policy = scene.story.root / "policies" / "policy.yaml"
    policy.write_text(policy.read_text() + "no_such_rule: 1\n")
    monkeypatch.chdir(scene.story.root)
    log = begun_log(machine_here.log_uri)
    assert check_origin(log, machine_here, log.entry(0).leaf_hash.hex()) == "the origin given"


def test_it_does_not_start_where_somebody_listens(begun: tuple[Place, Server]) -> None:
    here, server = begun
    port = server.uri.rpartition(":")[2]
    with pytest.raises(NotStarted) as ended:
        start(here, "--port", port)
    assert ended.value.code == 7 and "cannot listen on" in ended.value.said


def test_it_tells_at_its_start_what_somebody_did_to_the_registry(copied: Place) -> None:
    with serving(copied):
        pass
    with sqlite3.connect(copied.database.removeprefix("sqlite:///")) as database:
        database.execute(
            "INSERT INTO registered_models (workspace, name) VALUES ('default', 'Support-Desk')"
        )
    with serving(copied) as server:
        assert "REGISTRY_LOOKALIKE model 'Support-Desk'" in server.log.read_text(encoding="utf-8")


def test_a_server_that_governs_nothing_is_found_out(tmp_path: Path) -> None:
    """The trial against MLflow's own stores: MLflow handles the call, and the attempt says so."""
    script = f"""
import os, sys
os.environ.update({{"MLFLOW_AUTH_CONFIG_PATH": "{tmp_path}/a.ini", "MLFLOW_AUTH_ADMIN_PASSWORD": "{"x" * 16}",
  "MLFLOW_FLASK_SERVER_SECRET_KEY": "k", "_MLFLOW_SERVER_FILE_STORE": "sqlite:///{tmp_path}/plain.db",
  "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/", "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
  "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "{tmp_path}/files", "_MLFLOW_SGI_NAME": "uvicorn"}})
open("{tmp_path}/a.ini", "w").write("[mlflow]\\ndefault_permission = READ\\ndatabase_uri = sqlite:///{tmp_path}/a.db\\n"
  "admin_username = admin\\n")
from mlflow.server.auth import create_app
from starlette.testclient import TestClient
from governance.server.run import attempt
try:
    attempt(TestClient(create_app(), base_url="http://localhost"), "admin", "{"x" * 16}")
except Exception as error:
    print(type(error).__name__, error); sys.exit(7)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 7, done.stderr[-2000:]
    assert "does not start" in done.stdout and "was answered 404" in done.stdout


def test_the_trial_leaves_no_model(begun: tuple[Place, Server]) -> None:
    here, _ = begun
    with sqlite3.connect(here.scene.story.log.path) as database:
        query = "SELECT count(*) FROM registered_models WHERE name = ?"
        assert database.execute(query, (TRIAL_MODEL,)).fetchone() == (0,)
