"""A real server and real witnesses: asked in the background, on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from governance.attest.envelope import sign_statement
from governance.attest.keys import public_key
from governance.attest.predicates import Artifact, Incident, Revocation, Signed
from governance.history.verify import TrustAnchors, verify_log
from governance.log import evidence
from governance.log.checkpoint import parse_checkpoint
from governance.log.mirror import MirrorLog
from governance.log.mirror import Server as LogServer
from governance.log.notes import LOG_KEY, VerifierKey, parse_note
from governance.log.sql import SqlLog
from governance.machine.machine import checkpoint_keys
from governance.policy.policies import load_policies
from governance.policy.witnesses import log_requirement
from governance.release import promotion
from tests.governance import governed
from tests.governance.governed import person
from tests.governance.registry.place import MODEL, place, register, serving
from tests.governance.registry.world import World
from tests.governance.witness.served import Witness, witness
from tests.postgres import Cluster

pytestmark = pytest.mark.slow
NAME = "audit.example/w1"


@dataclass
class Here:
    world: World
    witness: Witness

    @property
    def log(self) -> SqlLog:
        log = self.world.scene.story.log
        assert isinstance(log, SqlLog)
        return log

    def cosigned(self) -> int:
        """The entries that the witness has cosigned."""
        return max((parse_note(note).size for note in self.log.cosigned()), default=0)

    def until_cosigned(self) -> None:
        until = time.monotonic() + 120
        while self.cosigned() < self.log.size():
            assert time.monotonic() < until, self.world.server.log.read_text(encoding="utf-8")
            time.sleep(0.2)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)]
)
def here(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Here]:
    environ = {}
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": cluster.database()}
    folder = tmp_path_factory.mktemp("witnessed")
    with witness(folder / "witness", NAME) as outside, pytest.MonkeyPatch.context() as patch:
        rows = f"witnesses:\n  - {{name: {NAME}, key: '{outside.key}', url: '{outside.url}'}}\n"
        there = place(
            folder / "here", rules=governed.RULES + rows, tier="    witnesses: 1\n", **environ
        )
        with serving(there) as server:
            register(there, server, patch)
            yield Here(World(there, server, patch), outside)


@pytest.fixture(scope="module")
def seen(here: Here) -> Here:
    """Refused while the witness does not know the log, then cosigned and promoted. Each test needs
    it: pytest's workers may share this module.
    """
    world = here.world
    fresh = world.fresh()
    world.approve_all(fresh)
    answer = world.tried(fresh)
    assert answer.status == 403 and "WITNESSES_MISSING" in answer.text
    assert here.cosigned() == 0  # the witness does not know the log yet
    origin = parse_checkpoint(here.log.checkpoint())[0].origin
    key = VerifierKey(origin, public_key(checkpoint_keys(here.log)[-1][1]), LOG_KEY)
    here.witness.add(origin, str(key))
    here.until_cosigned()
    moved = world.move(fresh.number)
    assert moved.status == 200, moved.text
    assert [entry.kind for entry in here.log.entries()][-2:] == ["cosigned", "promotion"]
    world.champion = fresh.number
    return here


def test_the_server_asks_its_witness_and_promotes_what_was_seen(seen: Here) -> None:
    seen.until_cosigned()
    size = seen.log.size()
    time.sleep(3)
    assert seen.log.size() == size  # cosignatures by themselves are no entries
    assert seen.world.scene.story.policies.rules.witnesses
    seen.world.all_verifies()


def test_a_mirror_has_the_cosignatures(seen: Here, tmp_path: Path) -> None:
    here = seen
    here.until_cosigned()
    server = here.world.server
    mirror = MirrorLog(
        LogServer(server.uri, server.user, server.password), MODEL, tmp_path, checkpoint_keys
    )
    policies = load_policies(here.world.scene.story.root / "policies")
    anchors = TrustAnchors(
        here.log.entry(0).leaf_hash.hex(),
        witnesses=log_requirement(policies.rules),
        at=here.world.scene.now,
    )
    report = verify_log(mirror, MODEL, policies.keys, anchors)
    assert report.ok, report.broken
    assert [(one.witness, one.size) for one in report.witnessed] == [(NAME, mirror.size())]


def _sent(here: Here, who: str, kind: str, subject: Artifact, predicate: Signed) -> None:
    """To the server, as a person sends it."""
    statement = evidence.build_statement(kind, [subject], predicate)
    answer = here.world.server.ask(
        "POST", "/countersign/v1/entries", raw=sign_statement(statement, person(who))
    )
    assert answer.status == 200, answer.text


def test_a_missing_witness_delays_no_rollback_no_revocation_and_no_incident(seen: Here) -> None:
    here, world, scene = seen, seen.world, seen.world.scene
    here.until_cosigned()
    before, stage = world.champion, world.made[0]
    second = world.fresh()
    world.promote(second)
    here.witness.kill()
    started = time.monotonic()
    model = Artifact(role="model", name="x", sha256=scene.story.models[second.stage])
    opened = scene.signed("ben", "risk", model=MODEL, version=second.number, state="open")
    _sent(here, "ben", "incident", model, Incident.model_validate(opened))
    key = Artifact(role="key", name="eve", sha256=person("eve").keyid)
    revoked = scene.signed("ben", "policy-owner", owner="eve")
    _sent(here, "ben", "revocation", key, Revocation.model_validate(revoked))
    scene.request(
        before, stage=stage, action="rollback", break_glass=True, from_version=second.number
    )
    answer = world.move(before)
    assert answer.status == 200, answer.text
    assert time.monotonic() - started < 60
    now = promotion.state(here.log)
    assert person("eve").keyid in now.authority.revoked
    assert [one.predicate.version for one in now.timeline.all_open_incidents] == [second.number]
    here.witness.start()
