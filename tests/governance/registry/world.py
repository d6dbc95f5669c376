"""A governed world under attack: a server, a champion, and a fresh version for whoever attacks
next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from governance.attest.predicates import Finding
from governance.history.verify import TrustAnchors, verify_log
from governance.log import merkle
from governance.log.checkpoint import parse_checkpoint
from governance.release import promotion
from governance.release.reconcile import reconcile
from tests.governance.governed import Governed
from tests.governance.registry.place import MODEL, Answer, Place, Server, register


@dataclass
class Fresh:
    """A version that nobody has approved yet."""

    number: str
    stage: str
    run: str
    packet: str


@dataclass
class World:
    """A place, its server, and a champion that people approved."""

    here: Place
    server: Server
    patch: pytest.MonkeyPatch
    champion: str = ""
    made: list[str] = field(default_factory=list)
    accounts: set[str] = field(default_factory=set)

    @property
    def scene(self) -> Governed:
        return self.here.scene

    def fresh(self, accuracy: float = 0.97) -> Fresh:
        """Another model trained, registered and frozen."""
        stage = f"attack{len(self.made)}"
        self.made.append(stage)
        self.scene.story.train(stage, "sft", "conversation", "desk_sft", "base", accuracy=accuracy)
        version = register(self.here, self.server, self.patch, stage)
        assert version.run_id
        return Fresh(version.number, stage, version.run_id, self.scene.freeze(version.number))

    def account(self, name: str) -> Server:
        """The server as another account reaches it, which has no rights but MLflow's to read."""
        if name not in self.accounts:
            answer = self.server.post("users/create", username=name, password=self.server.password)
            assert answer.status == 200, answer.text
            self.accounts.add(name)
        return replace(self.server, user=name)

    def approve_all(self, fresh: Fresh) -> None:
        self.scene.approve("ada", "ml-lead", fresh.packet)
        self.scene.approve("ben", "risk", fresh.packet)

    def move(self, version: str, alias: str = "champion", model: str = MODEL) -> Answer:
        """What the UI, the client and REST all do."""
        return self.server.post("registered-models/alias", name=model, alias=alias, version=version)

    def tried(self, fresh: Fresh, **request: Any) -> Answer:
        """A request for the version, and the move."""
        self.scene.request(fresh.number, stage=request.pop("stage", fresh.stage), **request)
        return self.move(fresh.number)

    def holder(self) -> str | None:
        found = self.server.ask("GET", f"registered-models/alias?name={MODEL}&alias=champion")
        return str(found.value["model_version"]["version"]) if found.status == 200 else None

    def promote(self, fresh: Fresh) -> None:
        self.approve_all(fresh)
        answer = self.tried(fresh)
        assert answer.status == 200, answer.text
        self.champion = fresh.number

    def sql(self, statement: str, *values: object) -> None:
        """Somebody who can write the database."""
        if self.here.database.startswith("sqlite"):
            with sqlite3.connect(
                self.here.database.removeprefix("sqlite:///"), timeout=30
            ) as database:
                database.execute(statement, values)
        else:
            with psycopg.connect(self.here.database) as database:
                database.execute(statement.replace("?", "%s").encode(), values)

    def found(self) -> Sequence[Finding]:
        """The registry against the log, as `countersign verify` compares them."""
        found = reconcile(self.scene.story.log, self.here.machine)
        assert found is not None
        return found

    def detects(self, code: str, *parts: str) -> Finding:
        """The one finding there is."""
        found = list(self.found())
        assert [one.code for one in found] == [code], found
        told = (
            f"{found[0].subject} {found[0].message} {found[0].expected} {found[0].found}"
            f" {found[0].next}"
        )
        assert all(part in told for part in parts), told
        return found[0]

    @contextmanager
    def nothing_lost(self) -> Iterator[None]:
        """The champion stays, the log has only grown, registry and log agree."""
        log = self.scene.story.log
        old, _ = parse_checkpoint(log.checkpoint(), where="before")
        yield
        assert self.holder() == self.champion
        new, _ = parse_checkpoint(log.checkpoint(), where="after")
        proof = log.consistency_proof(old.size, new.size)
        merkle.verify_consistency(old.size, new.size, old.root, new.root, proof)
        assert list(self.found()) == []

    def all_verifies(self) -> None:
        """Every entry of the log, after all attacks."""
        log = self.scene.story.log
        anchors = TrustAnchors(origin=log.entry(0).leaf_hash.hex())
        report = verify_log(log, MODEL, self.scene.story.policies.keys, anchors)
        assert report.ok, report.broken
        held = promotion.state(log).holder(MODEL, "champion")
        assert held is not None and held.version == self.champion
