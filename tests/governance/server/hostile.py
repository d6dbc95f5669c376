"""A governed server in this process, random requests by accounts without a right, and what others
are told before and after: `python -m tests.governance.server.hostile FOLDER SEED STEPS [DATABASE]`.

A process of its own, because MLflow reads its settings when it is imported. It prints JSON, which
`test_no_right_http` reads.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.history.state import state
from governance.log import sql
from governance.log.port import Entry
from governance.people.pending import pending
from governance.registry.governed.limit import Limit
from governance.release import promotion, retrospect
from governance.report.build import build
from tests.governance.registry.place import MODEL, PASSWORD, Answer, Place, Server, place
from tests.governance.registry.world import World
from tests.governance.server.statements import authorization, hostile_statement
from tests.ports import free_port

HOSTILE = ("stranger", "eve", "dora")
"""An account without a key; of a person without a role; of one whose role has no part in releases."""
OF_LOG = {"as_of", "log_range", "entries_read", "integrity", "evidence", "generator"}
"""Members of a report that say how long the log is, and when its last entry was made."""
Json = dict[str, Any]


@dataclass
class Cost:
    """What one request reads."""

    queries: int = 0
    entries: int = 0


class Counting:
    """Counts every SQL statement of this process, and every entry of a log that is read."""

    def __init__(self) -> None:
        from sqlalchemy import Engine, event

        self.cost = Cost()
        self.statements: Counter[str] = Counter()

        def of_mlflow(*arguments: Any) -> None:
            self._count(str(arguments[2]))

        event.listen(Engine, "before_cursor_execute", of_mlflow)
        entry, reading, writing = sql._entry, sql.SqlLog.reading, sql.SqlLog.writing

        def counted_entry(row: tuple[object, ...]) -> Entry:
            self.cost.entries += 1
            return entry(row)

        def counted(opened: Any) -> Any:
            @contextmanager
            def wrapped(log: sql.SqlLog) -> Iterator[Any]:
                with opened(log) as execute:
                    yield execute and self._counting(execute)

            return wrapped

        sql._entry = counted_entry
        sql.SqlLog.reading = counted(reading)  # type: ignore[method-assign]
        sql.SqlLog.writing = counted(writing)  # type: ignore[method-assign]

    def _count(self, statement: str) -> None:
        self.cost.queries += 1
        self.statements[" ".join(statement.split())[:160]] += 1

    def _counting(self, execute: Any) -> Any:
        def counted(statement: str, values: Any) -> Any:
            self._count(statement)
            return execute(statement, values)

        return counted

    def of(self, request: Callable[[], object]) -> tuple[Cost, Counter[str]]:
        self.cost, self.statements = Cost(), Counter()
        request()
        return self.cost, self.statements


@contextmanager
def serving_here(here: Place) -> Iterator[Server]:
    """The whole server, as `countersign server` makes it, on a thread of this process."""
    from governance.server import run
    from governance.server.context import begun_log
    from governance.server.settings import Settings, environment, own_secrets, write_accounts

    port = free_port()
    settings = Settings(
        here.database,
        here.artifacts,
        here.folder / "server",
        "127.0.0.1",
        port,
        (f"127.0.0.1:{port}",),
        (),
    )
    os.environ.update(here.environ())
    os.chdir(here.scene.story.root)
    for folder in (settings.state, settings.artifacts):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    run._prepare(settings, begun_log(here.database).database, lambda _: None)
    write_accounts(settings)
    os.environ.update(environment(settings, own_secrets(settings, os.environ), os.environ))
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(run._application(), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield Server(f"http://127.0.0.1:{port}", None, here.folder / "none")  # type: ignore[arg-type]
    finally:
        server.should_exit = True
        thread.join(30)


# -- Random requests
@dataclass
class Hostile:
    """Makes requests of every route from names that exist, names of its own, and nonsense."""

    world: World
    rng: random.Random
    values: dict[str, list[Any]]
    honest: list[Entry]
    seen: Counter[str] = field(default_factory=Counter)
    """Route and status."""

    def routes(self) -> list[tuple[str, str, Any]]:
        """Method, path and input message of every route of MLflow, and of ours. Without GraphQL,
        which only reads, and where MLflow fails on a query that is none.
        """
        from mlflow.protos import (
            databricks_pb2,
            mlflow_artifacts_pb2,
            model_registry_pb2,
            service_pb2,
            webhooks_pb2,
        )
        from mlflow.server import app

        found: dict[tuple[str, str], Any] = {}
        for rule in app.url_map.iter_rules():
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                if rule.rule == "/graphql":
                    continue
                found[method, rule.rule] = None
        for module in (service_pb2, model_registry_pb2, webhooks_pb2, mlflow_artifacts_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                for rpc in service.methods:
                    for end in rpc.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
                        for root in ("/api", "/ajax-api"):
                            path = f"{root}/{end.since.major}.0{end.path}"
                            found[end.method, path] = rpc.input_type
        for path in FASTAPI:
            for method in ("GET", "POST", "PATCH", "DELETE"):
                found[method, path] = None
        return [
            (method, path, message) for (method, path), message in sorted(found.items(), key=str)
        ]

    def step(self, route: tuple[str, str, Any]) -> None:
        """One request by one of the hostile accounts."""
        method, path, message = route
        who = self.rng.choice(HOSTILE)
        filled = self._path(path)
        body = self._message(message) if message is not None else self._loose()
        client = replace(self.world.server, user=who, password=PASSWORD)
        query = ""
        if method == "GET" or self.rng.random() < 0.2:
            flat = {name: value for name, value in body.items() if not isinstance(value, dict)}
            query = "?" + "&".join(
                f"{name}={value if not isinstance(value, list) else (value or [''])[0]}"
                for name, value in flat.items()
            )
        try:
            answer = client.ask(method, _quoted(filled + query), None if method == "GET" else body)
        except (OSError, ValueError) as error:
            answer = Answer(0, str(error))
        self.seen[f"{method} {path} {answer.status}"] += 1

    def append(self) -> None:
        """A statement sent to the log: another's, or what it says with changes, or one that an
        enrolled person may always make.
        """
        scene, rng = self.world.scene, self.rng
        who = rng.choice(HOSTILE)
        if rng.random() < 0.4:
            envelope, who = authorization(scene, rng.randint(1, 20)), "eve"
        else:
            envelope = hostile_statement(scene, rng, self.honest)
        client = replace(self.world.server, user=who, password=PASSWORD)
        answer = client.ask("POST", "/countersign/v1/entries", raw=envelope)
        self.seen[f"append {answer.status}"] += 1

    def _path(self, path: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1].split(":")[-1]
            return str(self.rng.choice(self.values.get(name, self.values["*"])))

        return re.sub(r"[<{]([^>}]*)[>}]", value, path)

    def _message(self, message: Any, depth: int = 0) -> Json:
        body: Json = {}
        for part in message.fields:
            if self.rng.random() < 0.8:
                value = self._value(part, depth)
                body[part.name] = [value] if part.is_repeated else value
        return body

    def _value(self, part: Any, depth: int) -> Any:
        if part.message_type is not None:
            return self._message(part.message_type, depth + 1) if depth < 3 else {}
        if part.enum_type is not None:
            return self.rng.choice([value.name for value in part.enum_type.values])
        if part.name in self.values:
            return self.rng.choice(self.values[part.name])
        if part.cpp_type == part.CPPTYPE_BOOL:
            return self.rng.random() < 0.5
        if part.cpp_type == part.CPPTYPE_STRING:
            return self.rng.choice(self.values["*"])
        return self.rng.randrange(3)

    def _loose(self) -> Json:
        chosen = self.rng.sample(sorted(self.values), 12)
        return {name: self.rng.choice(self.values[name]) for name in chosen if name != "*"}


FASTAPI = (
    "/v1/traces",
    "/v1/metrics",
    "/countersign/v1/entries",
    "/countersign/v1/index",
    "/countersign/v1/checkpoint",
    "/countersign/v1/cosigned",
    *(
        f"/{root}/3.0/mlflow/mcp-servers{rest}"
        for root in ("api", "ajax-api")
        for rest in ("", "/{name}", "/{name}/versions", "/{name}/versions/{version}")
    ),
)
"""Routes that are not Flask's."""


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="/?&=:%@+,-_.~")


def own_things(world: World, values: dict[str, list[Any]]) -> None:
    """What MLflow lets any account do. Its ids become values, so that random requests reach the
    stores.
    """
    for who in HOSTILE:
        client = replace(world.server, user=who, password=PASSWORD)
        made = client.post("experiments/create", name=f"of-{who}")
        run = client.post("runs/create", experiment_id=made.value["experiment_id"], start_time=1)
        run_id = run.value["run"]["info"]["run_id"]
        for name, value in (("run", run_id), ("experiment", made.value["experiment_id"])):
            values[f"{name}_id"] += [value] * 2
            values[f"{name}_ids"].append([value])
        client.post("runs/log-metric", run_id=run_id, key="accuracy", value=1.0, timestamp=1)
        name = f"model-of-{who}"
        assert client.post("registered-models/create", name=name).status == 200
        for alias in ("champion", "candidate"):
            client.post("registered-models/alias", name=name, alias=alias, version="1")
        for model in (MODEL, name):
            client.post("registered-models/get-latest-versions", name=model)
            client.ask("GET", f"registered-models/get-latest-versions?name={model}")
            client.post("registered-models/alias", name=model, alias="champion", version="1")
            client.post("model-versions/create", name=model, source=f"runs:/{run_id}/model")
        client.post("registered-models/create", name="support_desk")
        client.post(
            "registered-models/create",
            name=MODEL,
            tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}],
        )


# -- What others are told
def answers(world: World, runs: list[str]) -> Json:
    """Decisions, report, aliases, limits and what the registry shows of the governed model."""
    scene, ask = world.scene, world.server.ask
    log, at = scene.story.log, scene.now
    now = state(log)
    asked = promotion.ask(now, "promote", MODEL, "1", "champion")
    decision = promotion.decide(now, asked, at)
    report = build(replace(scene.story.sources), MODEL, world.champion).model_dump(mode="json")
    events = retrospect.history(now, MODEL)
    paths = {
        "model": f"registered-models/get?name={MODEL}",
        "versions": f"model-versions/search?filter=name%3D'{MODEL}'",
        "champion": f"registered-models/alias?name={MODEL}&alias=champion",
        "candidate": f"registered-models/alias?name={MODEL}&alias=candidate",
        **{f"run {run}": f"runs/get?run_id={run}" for run in runs},
        **{f"files {run}": f"artifacts/list?run_id={run}" for run in runs},
        "experiment": "experiments/get?experiment_id=0",
        "accounts": "/api/2.0/mlflow/users/list",
        **{f"account {who}": f"/api/2.0/mlflow/users/get?username={who}" for who in HOSTILE},
        "webhooks": "/api/2.0/mlflow/webhooks",
    }
    return {
        "decision": [decision.allowed, [one.model_dump(mode="json") for one in decision.findings]],
        "report": {name: value for name, value in report.items() if name not in OF_LOG},
        "pending": [one.model_dump(mode="json") for one in pending(now, at)],
        "history": [
            one.model_dump(mode="json") for one in events if "refused by rule" not in str(one)
        ],
        "found": [one.model_dump(mode="json") for one in world.found()],
        **{name: _without_own(ask("GET", path).text) for name, path in paths.items()},
    }


def _without_own(text: str) -> str:
    """An account may make things of its own, and lose rights to them: of accounts, only the names
    and who is an administrator are others' answers.
    """
    value = json.loads(text)
    users = value.get("users") or ([value["user"]] if "user" in value else None)
    if users is not None:
        return json.dumps(sorted((one["username"], one["is_admin"]) for one in users))
    return json.dumps(value, sort_keys=True)


def requests_of_others(world: World, envelope: bytes) -> dict[str, Callable[[], object]]:
    """Requests that change nothing when they are made again."""
    scene, server = world.scene, world.server
    log, at = scene.story.log, scene.now

    def decide() -> None:
        now = promotion.state(log)
        promotion.decide(now, promotion.ask(now, "promote", MODEL, "1", "champion"), at)

    def get(path: str) -> Callable[[], Answer]:
        return lambda: server.ask("GET", path)

    return {
        "decision": decide,
        "status": lambda: pending(state(log), at),
        "promotion": lambda: world.move("1"),
        "candidate": lambda: world.move(world.champion, "candidate"),
        "append again": lambda: server.ask("POST", "/countersign/v1/entries", raw=envelope),
        "model": get(f"registered-models/get?name={MODEL}"),
        "alias": get(f"registered-models/alias?name={MODEL}&alias=champion"),
        "versions": get(f"model-versions/search?filter=name%3D'{MODEL}'"),
        "checkpoint": get("/countersign/v1/checkpoint"),
        "index": get(f"/countersign/v1/index?model={MODEL}"),
        "register": lambda: server.post(
            "model-versions/create", name=MODEL, source="mlflow-artifacts:/none", run_id="none"
        ),
    }


def costs(world: World, counting: Counting, envelope: bytes) -> dict[str, Any]:
    """Of each request, the second time: each entry is read once by whoever asks first."""
    found = {}
    for name, request in requests_of_others(world, envelope).items():
        request()
        cost, statements = counting.of(request)
        found[name] = ([cost.queries, cost.entries], dict(statements))
    return found


def limits_of_others() -> dict[str, int]:
    """What limits have counted, without the hostile accounts."""
    import gc

    counted: dict[str, int] = {}
    for limit in (each for each in gc.get_objects() if isinstance(each, Limit)):
        for key, (_, number) in limit._seen.items():
            if not set(key) & set(HOSTILE):
                counted[str(key)] = max(counted.get(str(key), 0), number)
    return counted


def main(folder: Path, seed: int, steps: int, database: str = "") -> Json:
    """Before, the random requests, and after."""
    environ = {"COUNTERSIGN_LOG": database} if database else {}
    here, rng = place(folder, **environ), random.Random(seed)
    with serving_here(here) as server, pytest.MonkeyPatch.context() as patch:
        world = World(here, server, patch)
        from tests.governance.registry.place import register

        register(here, server, patch)
        fresh = world.fresh()
        world.promote(fresh)
        for who in HOSTILE:
            server.post("users/create", username=who, password=PASSWORD)
        counting = Counting()
        runs = [fresh.run]
        honest = list(here.scene.story.log.entries())
        values = _values(world, fresh.run, honest)
        hostile = Hostile(world, rng, values, honest)
        for _ in range(2):
            costs(world, counting, honest[-1].envelope)  # refusals of others are recorded by now
        before = answers(world, runs), costs(world, counting, honest[-1].envelope)
        limits = limits_of_others()
        size = here.scene.story.log.size()
        own_things(world, values)
        routes = hostile.routes()
        # writes first, and each route at least once if there are enough steps
        writes = [route for route in routes if route[0] != "GET"]
        reads = [route for route in routes if route[0] == "GET"]
        rng.shuffle(writes)
        rng.shuffle(reads)
        for route in [*writes, *reads][:steps]:
            hostile.step(route)
            if rng.random() < 0.15:
                hostile.append()
        appended = Counter(entry.kind for entry in here.scene.story.log.entries(size))
        unchanged = limits_of_others()
        after = answers(world, runs), costs(world, counting, honest[-1].envelope)
    return {
        "before": before,
        "after": after,
        "limits": [limits, unchanged],
        "seen": dict(hostile.seen),
        "appended": dict(appended),
        "routes": len(routes),
    }


def _values(world: World, run: str, honest: list[Entry]) -> dict[str, list[Any]]:
    """For each name of a field or part of a path, what to send."""
    names = [MODEL, "support_desk", "Support-Desk", *(f"model-of-{who}" for who in HOSTILE), "new"]
    people = ["admin", "ci", "ada", *HOSTILE]
    until = (world.scene.now + timedelta(hours=1)).timestamp()
    envelope = base64.b64encode(honest[-1].envelope).decode()
    tag = {"key": "governance.status", "value": "approved"}
    return {
        "*": ["x", "", "1", run, MODEL, "admin", "champion", "\u202e", "y" * 300, envelope],
        "name": names,
        "new_name": names,
        "model_name": names,
        "prompt_name": names,
        "version": ["1", "2", "99"],
        "alias": ["champion", "candidate", "latest", "mine"],
        "stage": ["Production", "Archived"],
        "run_id": [run, "0" * 32],
        "run_uuid": [run],
        "run_ids": [[run]],
        "run_name": ["mine"],
        "experiment_id": ["0", "1", "2", "3"],
        "experiment_ids": [["0"], ["1"]],
        "username": people,
        "user_id": people,
        "password": ["another password"],
        "new_password": ["another password"],
        "is_admin": [True],
        "permission": ["MANAGE", "EDIT", "NO_PERMISSIONS"],
        "source": [f"mlflow-artifacts:/0/{run}/artifacts/model", f"runs:/{run}/model", "/etc"],
        "key": ["governance.status", "mine", "pipeline.stage"],
        "value": ["approved"],
        "tag": [tag],
        "tags": [[tag], [{"key": "mine", "value": "1"}]],
        "path": ["model", "../x", f"0/{run}/artifacts/model/config.json", ""],
        "artifact_path": [f"0/{run}/artifacts/model/config.json"],
        "max_results": [1, 100],
        "model": [MODEL],
        "expected_size": [0, 1],
        "start": [0, -1],
        "limit": [1, 10**9],
        "url": ["http://127.0.0.1:1/x", "https://example.org/hook"],
        "expiration": [until],
        "query": ["query { __typename }"],
    }


if __name__ == "__main__":
    out = io.StringIO()
    with contextlib.redirect_stdout(sys.stderr):
        result = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    print(json.dumps(result))
