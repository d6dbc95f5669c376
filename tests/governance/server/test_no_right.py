"""No account without a right changes any answer: random statements by strangers, by an enrolled person
without a role, and replays of what others signed.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Authorization
from governance.base.errors import CountersignError
from governance.log import api, evidence
from governance.log.port import Entry
from governance.log.sql import SqlLog
from governance.log.views import LogSource
from governance.machine.machine import signer
from governance.registry.governed.governor import Governor
from governance.registry.governed.limit import Limit
from governance.release import promotion
from governance.server.append import NotAcceptedError, recording, verifier
from governance.server.context import GovernedLog, account
from tests.governance.governed import Governed, authorize, empty, governed
from tests.governance.server.statements import authorization, hostile_statement
from tests.governance.story import MODEL, tell
from tests.postgres import Cluster

STEPS = 60


@dataclass(frozen=True)
class Answers:
    """What others are told, and which entries that takes."""

    decision: Any
    facts: Any
    snapshot: Any
    read: Counter[str]
    """Kind to the number of entries that a decision reads."""


def _answers(scene: Governed, governor: Governor, patch: pytest.MonkeyPatch) -> Answers:
    log, read = scene.story.log, Counter[str]()
    select = SqlLog._select

    def counted(self: SqlLog, where: str, *values: object) -> list[Entry]:
        entries = select(self, where, *values)
        read.update(entry.kind for entry in entries)
        return entries

    with patch.context() as patched:
        patched.setattr(SqlLog, "_select", counted)
        now = promotion.state(log)
        asked = promotion.ask(now, "promote", MODEL, "1", "champion")
        decision = promotion.decide(now, asked, scene.now)
        decided = Counter(read)
    timeline, authority = now.timeline, now.authority
    facts = (
        authority.in_force.digest,
        authority.proposals,
        authority.revoked,
        authority.checkpoint_keys,
        timeline.registrations,
        timeline.holders,
        timeline.requests.keys(),
        [statement.index for statement in timeline.all_open_incidents],
        timeline.waivers,
    )
    findings = [(finding.code, finding.subject, finding.figures) for finding in decision.findings]
    snapshot = governor.surroundings.snapshot()
    return Answers((decision.allowed, findings), facts, snapshot, decided)


def test_nobody_files_an_authorization_under_the_key_of_another(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    log = scene.story.log
    with pytest.raises(NotAcceptedError, match="about the key that signed it") as caught:
        verifier(log, scene.story.now)(authorization(scene, 1, key="dora"), "eve")
    assert caught.value.reason == "other_key"
    # whoever can write the database can append it: it counts for nobody
    size = log.size()
    api.append(
        log,
        lambda envelope, _: evidence.filed_under(envelope),
        authorization(scene, 1, key="dora"),
    )
    now = promotion.state(log)
    (statement,) = (sent for sent in now.evidence.all("authorization") if sent.index == size)
    assert now.authority.speaker(statement) is None


def test_a_refused_sender_is_told_which_account_sends_it(tmp_path: Path) -> None:
    """The machine of a person runs the pipeline with the service's key and the person's account."""
    scene = governed(tmp_path)
    log = scene.story.log
    (gate, *_) = (entry for entry in log.entries() if entry.kind == "gate")
    with pytest.raises(NotAcceptedError, match="sends it: ci, not ada") as caught:
        verifier(log, scene.story.now)(gate.envelope, "ada")
    assert "COUNTERSIGN_USER" in caught.value.fix


def test_of_an_upgraded_log_only_the_old_authorizations_are_read_one_by_one(
    tmp_path: Path,
) -> None:
    scene = governed(tmp_path)
    log = scene.story.log
    (old,) = promotion.state(log).evidence.all("authorization")
    for hours in (1, 2):
        api.append(log, verifier(log, scene.story.now), authorization(scene, hours))
    now = promotion.state(log)
    assert now.evidence.all_before(old.index + 1, Authorization) == [old]
    source = now.evidence.source
    assert isinstance(source, LogSource)
    assert not {index for index in source._read if index > log.size() - 2}
    assert len(now.evidence.all_before(None, Authorization)) == 3


def _on_postgres(folder: Path, address: str) -> Governed:
    scene = empty(folder, COUNTERSIGN_LOG=address)
    authorize(scene)
    tell(scene.story)
    return scene


@pytest.mark.parametrize(
    ("seed", "adapter"),
    [
        *((seed, "sqlite") for seed in range(3)),
        pytest.param(3, "postgresql", marks=pytest.mark.slow),
    ],
)
def test_no_account_without_a_right_changes_any_answer(
    seed: int,
    adapter: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if adapter == "sqlite":
        scene = governed(tmp_path)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        scene = _on_postgres(tmp_path, cluster.database())
    scene.asked_for()
    scene.waive("THRESHOLD_NOT_MET", "model sft")
    scene.incident("1", "open")
    scene.incident("1", "closed")
    log, rng = scene.story.log, random.Random(seed)
    assert isinstance(log, SqlLog)
    service = signer(scene.story.machine)
    surroundings = GovernedLog(log, service, scene.story.machine, scene.story.now)
    governor = Governor(surroundings, Limit(scene.story.now), Limit(scene.story.now))
    verify = recording(verifier(log, scene.story.now, Limit(scene.story.now)), governor)
    honest, size = list(log.entries()), log.size()
    before = _answers(scene, governor, monkeypatch)
    for _ in range(STEPS):
        sender = rng.choice(["eve", "nobody"])
        token = account.set(sender)
        try:
            api.append(log, verify, hostile_statement(scene, rng, honest), account=sender)
        except CountersignError as error:
            assert str(error)
        finally:
            account.reset(token)
    for hours in (1, 2):  # what an enrolled person may always do
        api.append(log, verify, authorization(scene, hours), account="eve")
        authorize(scene, hours=hours)  # dora has no part in releases, but runs are in her name
    added = Counter(entry.kind for entry in log.entries(size))
    assert added["authorization"] >= 2
    assert added["refusal"] and set(added) <= {"refusal", "authorization"}, added
    assert added["refusal"] <= 2 * 32, "as many as the limit lets each account have"
    assert _answers(scene, governor, monkeypatch) == before
