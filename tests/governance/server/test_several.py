"""Several projects on one server and one PostgreSQL: ten clients at once mix up and lose nothing,
and no request by people of one project changes what the other has.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from governance.history.verify import TrustAnchors, verify_log
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.release.reconcile import reconcile
from tests.governance.registry.place import PASSWORD, Place, Server, place, register, start
from tests.governance.registry.world import World
from tests.governance.server.statements import authorization
from tests.postgres import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.long]

MODELS = {"desk": ("chat", "tickets", "shared"), "claims": ("letters", "shared")}
"""Five models; both projects have one of the same name."""
TOLD = "support-desk"
"""The model of the story, which is in the log only until a test registers it."""
CLIENTS, ROUNDS = 10, 4
ENTRIES = "/countersign/v1/entries"
TRICKS = (
    "/claims/../desk/{rest}", "/claims/%2e%2e/desk/{rest}", "/claims//desk/{rest}",
    "//desk/{rest}", "/%64esk/{rest}", "/DESK/{rest}", "/desk%2f{rest}", "/claims/..%2fdesk/{rest}",
    "/claims/;/../desk/{rest}", "/desk/{rest}", "/{rest}",
)  # fmt: skip


@dataclass
class Two:
    """A server of two projects."""

    front: Server
    places: dict[str, Place]

    def server(self, project: str, user: str = "admin") -> Server:
        state = self.places[project].machine.state
        own = (state / "server" / "admin-password").read_text()
        password = own if user == "admin" else PASSWORD
        return replace(self.front, uri=f"{self.front.uri}/{project}", user=user, password=password)

    def rows(self, project: str) -> dict[str, Any]:
        """Everything in a project's database: log, registry, runs."""
        with psycopg.connect(self.places[project].database) as database:
            names = database.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
            return {
                name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"').fetchall()))
                for (name,) in sorted(names)
            }


def _place(folder: Path, project: str, database: str, home: Path) -> Place:
    """A project whose policies name its models."""
    named = "".join(
        f"  {model}: {{tier: limited, purpose: customer-support, region: EU}}\n"
        for model in MODELS[project]
    )
    return place(
        folder / project, project=project, models=named,
        COUNTERSIGN_HOME=str(home), COUNTERSIGN_LOG=database,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("several")
    home = folder / "home"
    places = {name: _place(folder, name, cluster.database(), home) for name in MODELS}
    rows = {name: {"log": here.database, "signer": "env:CI_KEY"} for name, here in places.items()}
    file = folder / "projects.yaml"
    file.write_text(json.dumps({"projects": rows}))
    front = start(
        places["desk"], "--projects", str(file), ready="/desk/health", COUNTERSIGN_ADMIN_PASSWORD=""
    )
    try:
        yield Two(front, places)
    finally:
        assert front.stop() in (0, -signal.SIGTERM), front.log.read_text()


@dataclass(frozen=True)
class Made:
    """What a client was told."""

    project: str
    model: str
    version: str
    caller: str
    content: bytes
    artifact: str
    entry: int
    envelope: bytes


def _client(two: Two, number: int) -> list[Made]:
    """Runs, files, versions and statements by one account of one project."""
    project = [*MODELS][number % 2]
    server = two.server(project, f"client{number}")
    scene = two.places[project].scene
    made = []
    for turn in range(ROUNDS):
        model = MODELS[project][(number + turn) % len(MODELS[project])]
        run = server.post("runs/create", experiment_id="0").value["run"]["info"]
        folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        content = json.dumps({"vocab_size": 1 + number * ROUNDS + turn}).encode()
        path = f"/api/2.0/mlflow-artifacts/artifacts/{folder}/model/config.json"
        assert server.ask("PUT", path, raw=content).status == 200
        body = {"source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        answer = server.post("model-versions/create", name=model, **body)
        assert answer.status == 200, answer.text
        version = str(answer.value["model_version"]["version"])
        envelope = authorization(scene, 1 + number * ROUNDS + turn, "dora", "engineer")
        said = server.ask("POST", ENTRIES, raw=envelope)
        assert said.status == 200, said.text
        made.append(
            Made(
                project, model, version, server.user, content, f"{folder}/model/config.json",
                said.value["index"], envelope,
            )
        )  # fmt: skip
    return made


def _accounts(two: Two) -> None:
    for project, models in MODELS.items():
        admin = two.server(project)
        for model in models:
            assert admin.post("registered-models/create", name=model).status == 200
        for number in range(CLIENTS):
            if [*MODELS][number % 2] != project:
                continue
            name = f"client{number}"
            made = admin.post("users/create", username=name, password=PASSWORD)
            assert made.status == 200, made.text
            grants = [("experiment", "0"), *(("registered_model", model) for model in models)]
            for kind, identity in grants:
                grant = admin.ask(
                    "POST", "/api/3.0/mlflow/users/permissions/grant",
                    {"username": name, "resource_type": kind, "resource_id": identity,
                     "permission": "EDIT"},
                )  # fmt: skip
                assert grant.status == 200, grant.text


def test_ten_clients_at_once_mix_up_and_lose_nothing(two: Two) -> None:
    _accounts(two)
    with ThreadPoolExecutor(CLIENTS) as pool:
        made = [one for done in pool.map(lambda n: _client(two, n), range(CLIENTS)) for one in done]
    assert len(made) == CLIENTS * ROUNDS
    for project, here in two.places.items():
        log, models = here.scene.story.log, MODELS[project]
        mine = [one for one in made if one.project == project]
        others = [one for one in made if one.project != project]
        view = log_evidence(log, key_ring(log, here.scene.story.policies.keys))
        calls = [item.predicate for item in view.all("call") if item.predicate.model in models]
        versions = [(each.model, each.version, each.caller) for each in calls]
        assert sorted(versions) == sorted((one.model, one.version, one.caller) for one in mine)
        for model in MODELS[project]:
            numbers = sorted(int(one.version) for one in mine if one.model == model)
            assert numbers == list(range(1, len(numbers) + 1))
        entries = {entry.index: entry.envelope for entry in log.entries()}
        assert all(entries[one.entry] == one.envelope for one in mine)
        assert not {one.envelope for one in others} & set(entries.values())
        for one in mine:
            assert (here.artifacts / one.artifact).read_bytes() == one.content
        _verifies(here)


def _verifies(here: Place) -> None:
    """The log, from its first entry, and the registry against it."""
    log = here.scene.story.log
    anchors = TrustAnchors(origin=log.entry(0).leaf_hash.hex())
    report = verify_log(log, here.machine.project, here.scene.story.policies.keys, anchors)
    assert report.ok, report.broken
    found = [one for one in reconcile(log, here.machine) or [] if TOLD not in one.subject]
    assert found == []


def test_a_release_in_one_project_moves_nothing_in_the_other(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name, in both: an alias and its entry commit together, in the one that is asked."""
    worlds = {name: World(here, two.server(name), monkeypatch) for name, here in two.places.items()}
    for name, world in worlds.items():
        assert register(two.places[name], world.server, monkeypatch).number == "1"
    before = two.rows("claims")
    fresh = worlds["desk"].fresh()
    worlds["desk"].promote(fresh)
    assert worlds["desk"].holder() == fresh.number
    _verifies(two.places["desk"])
    assert two.rows("claims") == before
    assert worlds["claims"].holder() is None


def test_no_request_by_one_project_changes_the_other(two: Two) -> None:
    """Accounts of `claims`, its administrator among them, and what its people signed."""
    rng = random.Random(7)
    claims, desk = two.places["claims"].scene, two.places["desk"].scene
    admin = two.server("claims")
    admin.post("users/create", username="ada", password=PASSWORD)
    before = two.rows("desk")
    signed = [entry.envelope for entry in claims.story.log.entries()]
    foreign = [entry.envelope for entry in desk.story.log.entries()]
    statuses: set[tuple[str, int]] = set()
    size = claims.story.log.size()
    for _ in range(150):
        what = rng.choice([*TRICKS, "replay", "foreign"])
        server = two.server("claims", rng.choice(["admin", "ada"]))
        if what in ("replay", "foreign"):
            # to the other's address, with one's own account; to one's own, with the other's words
            to = "desk" if what == "replay" else "claims"
            body = rng.choice(signed if what == "replay" else foreign[1:])
            answer = replace(server, uri=f"{two.front.uri}/{to}").ask("POST", ENTRIES, raw=body)
            statuses.add((what, answer.status))
            continue
        method, rest, body = rng.choice(
            [
                ("GET", "countersign/v1/entries?start=0", None),
                ("POST", "countersign/v1/entries", rng.choice(signed)),
                ("POST", "api/2.0/mlflow/registered-models/alias",
                 b'{"name": "shared", "alias": "champion", "version": "1"}'),
                ("POST", "api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}'),
                ("DELETE", "api/2.0/mlflow/registered-models/delete", b'{"name": "tickets"}'),
                ("GET", "api/2.0/mlflow/registered-models/search", None),
                ("PUT", "api/2.0/mlflow-artifacts/artifacts/0/x/model/config.json", b"{}"),
            ]
        )  # fmt: skip
        status, text = _raw(server, method, what.format(rest=rest), body, rng)
        statuses.add((what, status))
        assert "tickets" not in text and "chat" not in text, (what, text[:300])
    assert two.rows("desk") == before
    assert {status for what, status in statuses if what == "replay"} <= {401, 429}
    assert {status for what, status in statuses if what == "foreign"} == {403}
    assert not [
        one for one in statuses if one[0] in ("/desk/{rest}", "//desk/{rest}") and one[1] < 400
    ]
    grown = [entry.kind for entry in claims.story.log.entries(size)]
    assert set(grown) <= {"refusal", "call"}, "nothing of the other's log is in it"


def _raw(
    server: Server, method: str, target: str, body: bytes | None, rng: random.Random
) -> tuple[int, str]:
    """A request whose path no library makes tidy, with headers that claim another place."""
    import base64

    token = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    if rng.random() < 0.5:
        headers |= {"X-Forwarded-Prefix": "/desk", "X-Forwarded-For": "127.0.0.1"}
        headers |= {"X-Script-Name": "/desk", "X-Original-URL": "/desk/", "Connection": "host"}
    place = urlsplit(server.uri)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")


@pytest.mark.nightly
def test_a_server_that_is_killed_is_started_again_and_the_other_serves_on(two: Two) -> None:
    home = str(two.places["desk"].machine.home)
    servers = [each.pid for each in psutil.process_iter() if _serves(each, home)]
    assert len(servers) == 2
    os.kill(servers[0], signal.SIGKILL)
    answers = {name: two.server(name).ask("GET", "/health").status for name in MODELS}
    assert sorted(answers.values()) == [200, 503]
    until = time.monotonic() + 120
    while {two.server(name).ask("GET", "/health").status for name in MODELS} != {200}:
        assert time.monotonic() < until, two.front.log.read_text()
        time.sleep(0.2)


def _serves(process: psutil.Process, home: str) -> bool:
    """Whether it is the server of one project of this test."""
    with contextlib.suppress(psutil.Error):
        is_server = any("governance.server.several" in word for word in process.cmdline())
        return is_server and process.environ().get("COUNTERSIGN_HOME") == home
    return False
