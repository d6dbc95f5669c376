"""`countersign evidence push|pull`: statements carried between logs, unchanged, each once, refused
where need be.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from governance.attest import canonical
from governance.attest.envelope import payload_of, sign_statement
from governance.base.errors import OfflineError
from governance.log import evidence
from governance.log.carry import NOT_COPIED, Transfer, carry
from governance.log.sqlite import SqliteLog
from governance.log.views import log_evidence
from governance.machine.machine import machine, open_log, signer
from governance.policy.policies import load_policies
from governance.server.append import verifier
from tests.conftest import ROOT
from tests.governance.examples import (
    NOON,
    PROJECT,
    A,
    Scene,
    artifact,
    every_kind,
    gate,
    ingest,
    verified,
)
from tests.governance.keys import stranger
from tests.governance.served import ACCOUNT, PASSWORD, Served, serving


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(f"project: {PROJECT}\n")
    shutil.copytree(ROOT / "policies", root / "policies")
    return root


def begun(home: Path, project: Path) -> Scene:
    place = machine(PROJECT, {"COUNTERSIGN_HOME": str(home)})
    return Scene(
        place, open_log(place, load_policies(project / "policies"), lambda: NOON), signer(place)
    )


@pytest.fixture
def laptop(tmp_path: Path, project: Path) -> Scene:
    place = begun(tmp_path / "laptop", project)
    for n in range(3):
        place.record("ingest", ingest(f"ingest@d{n}"), artifact("records"))
    for day, allowed in enumerate((True, False, True)):
        place.record("gate", gate(allowed, at=f"2026-11-2{day}T12:00:00Z"), artifact("gate"))
    evidence.record(
        place.log, stranger(), "ingest", [artifact("records")], ingest("ingest@stranger")
    )
    return place


@pytest.fixture
def team(tmp_path: Path, project: Path, laptop: Scene) -> Scene:
    """A log whose origin names the laptop's development key, and that has one of its statements."""
    (tmp_path / "team" / PROJECT / "keys").mkdir(parents=True)
    shutil.copy(laptop.machine.keys / "development.pem", tmp_path / "team" / PROJECT / "keys")
    place = begun(tmp_path / "team", project)
    place.record("ingest", ingest("ingest@d1"), artifact("records"))
    return place


def call(project: Path, place: Scene, *arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main()", "evidence", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "COUNTERSIGN_HOME": str(place.machine.home),
            **environ,
        },
    )
    return done.returncode, done.stdout + done.stderr


def decided(place: Scene) -> list[tuple[str, bool]]:
    """The gates' decisions that count."""
    gates = log_evidence(place.log, evidence.key_ring(place.log, {})).all("gate")
    return [(gate.predicate.at, gate.predicate.allowed) for gate in gates]


@pytest.mark.slow
def test_pull_carries_each_statement_once_in_order_and_lists_what_it_refuses(
    project: Path, laptop: Scene, team: Scene
) -> None:
    source = laptop.machine.log_uri
    code, text = call(project, team, "pull", source, "--dry-run")
    assert (
        code == 4
        and "5 statement(s) would be carried, 1 there already, 1 would be refused; 1 of kinds"
        in text
    )
    assert verified(team) == 2
    code, text = call(project, team, "pull", source)
    assert code == 4 and "5 statement(s) carried, 1 there already, 1 refused" in text
    assert (
        "refused  entry 7 (ingest): signed by an unknown key" in text
        and "error: 1 statement(s) were refused" in text
    )
    assert verified(team) == 7
    assert decided(team) == decided(laptop)
    assert [entry.kind for entry in team.log.entries(2)] == [
        "ingest",
        "ingest",
        "gate",
        "gate",
        "gate",
    ]
    code, text = call(project, team, "pull", source)
    assert (
        code == 4
        and "0 statement(s) carried, 6 there already, 1 refused" in text
        and verified(team) == 7
    )
    code, text = call(project, team, "pull", source, "--json")
    found = json.loads(text[: text.rindex("}") + 1])
    assert found["complete"] and [one["outcome"] for one in found["statements"]] == [
        "there"
    ] * 6 + ["refused"]


@pytest.mark.slow
def test_a_log_that_is_not_ours_to_append_to_is_left_alone(
    project: Path, laptop: Scene, team: Scene
) -> None:
    code, text = call(project, laptop, "push", team.machine.log_uri)
    assert code == 6 and "the checkpoint key this log was begun with is not here" in text
    code, text = call(project, laptop, "pull", "sqlite:////nowhere/log.db")
    assert code == 6 and "there is no log" in text
    code, text = call(project, laptop, "pull", "nonsense")
    assert code == 2 and "not an address of a log" in text
    assert verified(team) == 2


@pytest.fixture
def served(team: Scene) -> Iterator[Served]:
    with serving(team.log) as found:
        found.verifier = verifier(team.log, lambda: NOON)  # type: ignore[method-assign]
        yield found


@pytest.mark.slow
def test_push_to_a_server(project: Path, laptop: Scene, team: Scene, served: Served) -> None:
    account = {"COUNTERSIGN_USER": ACCOUNT, "COUNTERSIGN_PASSWORD": PASSWORD}
    code, text = call(project, laptop, "push", served.url, **account)
    assert code == 4 and "5 statement(s) carried, 1 there already, 1 refused" in text
    assert verified(team) == 7 and decided(team) == decided(laptop)
    code, text = call(project, laptop, "push", served.url, COUNTERSIGN_USER="eve")
    assert code == 2 and "does not accept the account or its password" in text


def test_the_password_of_one_server_goes_to_no_other(
    project: Path, laptop: Scene, served: Served
) -> None:
    account = {"COUNTERSIGN_USER": ACCOUNT, "COUNTERSIGN_PASSWORD": PASSWORD}
    code, text = call(
        project, laptop, "pull", served.url, COUNTERSIGN_LOG="https://registry.example", **account
    )
    assert code == 2 and "is for https://registry.example; it is not sent to" in text, text


def test_what_was_carried_before_an_end_is_said_and_the_rest_follows(
    laptop: Scene, team: Scene
) -> None:
    class Failing(SqliteLog):
        left = 3

        def append(self, *arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OfflineError("gone")
            return super().append(*arguments, **options)

    failing, made = Failing(team.log.path, PROJECT, team.log.signer), Transfer()
    with pytest.raises(OfflineError):
        carry(laptop.log, failing, verifier(team.log, lambda: NOON), signer(laptop.machine), made)
    assert made.count("carried") == 3 and verified(team) == 5
    again = Transfer()
    carry(laptop.log, team.log, verifier(team.log, lambda: NOON), signer(laptop.machine), again)
    assert (again.count("carried"), again.count("there"), again.count("refused")) == (
        2,
        4,
        1,
    ) and verified(team) == 7


def test_origin_policies_and_what_happened_to_a_registry_stay(laptop: Scene, team: Scene) -> None:
    before = team.log.size()
    for kind in NOT_COPIED - {"origin", "policy"}:
        laptop.record(kind, every_kind()[kind], artifact("records", A))
    made = Transfer()
    carry(laptop.log, team.log, verifier(team.log, lambda: NOON), signer(laptop.machine), made)
    assert made.stayed == len(NOT_COPIED) - 1 and made.count("carried") == 5
    assert not {entry.kind for entry in team.log.entries(before)} & NOT_COPIED


def test_what_only_claims_this_machines_key_is_not_signed(laptop: Scene, team: Scene) -> None:
    """Whoever gets somebody to pull from their log would have any statement signed."""
    predicate = ingest("ingest@planted").model_copy(update={"log": "ab" * 32})
    statement = evidence.build_statement("ingest", [artifact("records")], predicate)
    foreign = json.loads(sign_statement(statement, stranger()))
    foreign["signatures"][0]["keyid"] = team.signer.keyid
    envelope = canonical.dumps(foreign)
    laptop.log.append(envelope, evidence.filed_under(envelope))
    before = team.log.size()
    transfer = Transfer()
    carry(laptop.log, team.log, verifier(team.log, lambda: NOON), team.signer, transfer)
    planted = transfer.statements[-1]
    assert planted.outcome == "refused" and "does not verify" in planted.reason
    assert all(b"planted" not in payload_of(entry.envelope) for entry in team.log.entries(before))


def test_an_entry_that_is_misfiled_is_refused(laptop: Scene, team: Scene) -> None:
    connection = sqlite3.connect(laptop.log.path)
    connection.execute("DROP TRIGGER countersign_entry_UPDATE")
    connection.execute("UPDATE countersign_entry SET kind = 'scan' WHERE idx = 1")
    connection.commit()
    made = Transfer()
    carry(laptop.log, team.log, verifier(team.log, lambda: NOON), signer(laptop.machine), made)
    assert "filed under scan" in made.statements[0].reason and made.count("carried") == 4
