"""What MLflow's pages show of a version follows the log: votes, waivers, incidents, policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.attest.digests import manifest
from governance.attest.predicates import Artifact, Registration
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import signer
from governance.policy.policies import load_policies
from governance.registry.mlflow import open_registry
from governance.registry.port import VersionRequest
from governance.release import shown
from tests.governance.governed import MODEL, Governed, authorize, empty
from tests.governance.registry.tables import with_tables
from tests.governance.registry.told import client
from tests.governance.story import tell
from tests.governance.terminal import at_terminal, run


@pytest.fixture
def scene(tmp_path: Path, mlflow_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """A registered version on one machine, and somebody at its terminal."""
    scene = empty(tmp_path)
    authorize(scene)
    story = scene.story
    tell(story)
    with_tables(mlflow_tables, story.log.path)
    folder = story.root / "models/sft/model"
    files, digest = manifest(folder), story.models["sft"]
    registry = open_registry(story.machine)
    version = registry.register(VersionRequest(MODEL, folder, digest, files, "register"))
    said = Registration(
        model=MODEL,
        version=version.number,
        stage="sft",
        tier="limited",
        model_digest=digest,
        files=files,
        chain=[],
        policy=story.policies.digest,
        run=story.run({"registry_run": version.run_id}),
    )
    subject = Artifact(role="model", name="models/sft/model", sha256=digest)
    evidence.record(story.log, signer(story.machine), "registration", [subject], said)
    scene.freeze("1")
    at_terminal(scene, monkeypatch)
    return scene


def page(scene: Governed) -> Any:
    return client(scene.story.machine.registry_uri).get_model_version(MODEL, "1")


@pytest.mark.slow
def test_what_people_sign_is_shown_at_once(scene: Governed, tmp_path: Path) -> None:
    assert "governance.status" not in page(scene).tags
    code, told = run(
        "incident",
        "open",
        f"{MODEL}/1",
        "--reason",
        "it invents prices",
        "--role",
        "risk",
        who="ben",
        keys=tmp_path,
    )
    assert code == 0, told
    tags = page(scene).tags
    assert (
        tags["governance.status"].startswith("candidate since")
        and tags["governance.approved_by"] == "nobody"
    )
    assert tags["governance.incidents"].startswith("entry ")
    assert "invents" not in str(tags) + page(scene).description
    code, told = run(
        "incident",
        "close",
        f"{MODEL}/1",
        "--reason",
        "it does not",
        "--effective",
        "none of 300 answers",
        "--role",
        "ml-lead",
        who="ada",
        keys=tmp_path,
    )
    assert code == 0, told
    assert page(scene).tags["governance.incidents"] == "none"
    reason = ("--reason", "prices")
    code, told = run("reject", f"{MODEL}/1", *reason, "--role", "risk", who="ben", keys=tmp_path)
    assert code == 0, told
    assert page(scene).tags["governance.rejected_by"] == "ben (risk)"
    code, told = run("promote", f"{MODEL}/1", "--to", "champion", who="cleo", keys=tmp_path)
    assert code == 4
    assert "APPROVAL_MISSING" in page(scene).tags["governance.findings"]
    assert "Rejected by: ben (risk)" in page(scene).description


def test_a_waiver_is_shown_with_its_end(scene: Governed) -> None:
    story = scene.story
    database = story.log.database
    assert shown.write(database, state(story.log), scene.now) == 1
    assert shown.write(database, state(story.log), scene.now) == 0
    scene.waive("MODEL_UNPINNED", "model sft", 7)
    assert shown.write(database, state(story.log), scene.now) == 1
    waivers = page(scene).tags["governance.waivers"]
    assert waivers.startswith("MODEL_UNPINNED model sft until 2")


@pytest.mark.slow
def test_an_approval_counts_under_the_policy_in_force(scene: Governed) -> None:
    """Somebody whose role policy takes away is no approver any more, on the page too."""
    story, looks = scene.story, shown.Refreshing(scene.story.log, lambda: scene.now, print)
    scene.approve("ben", "risk", scene.freeze("1"))
    looks.look()
    assert page(scene).tags["governance.approved_by"] == "ben (risk)"
    path = story.root / "policies/policy.yaml"
    path.write_text(
        path.read_text().replace(
            "approvers: [ml-lead, risk, product]", "approvers: [ml-lead, product]"
        )
    )
    changed = load_policies(path.parent)
    scene.propose(changed)
    looks.look()
    assert page(scene).tags["governance.approved_by"] == "ben (risk)"
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", changed.digest, "policy")
    looks.look()
    assert page(scene).tags["governance.approved_by"] == "nobody"
    looks._size = 0
    before = story.log.size()
    looks.look()
    assert story.log.size() == before


def test_a_registry_elsewhere_or_none_is_left_alone(scene: Governed) -> None:
    machine = scene.story.machine
    shown.refresh(replace(machine, registry_uri="http://127.0.0.1:9"), scene.story.log, scene.now)
    assert "governance.status" not in page(scene).tags
    shown.refresh(machine, scene.story.log, scene.now)
    assert page(scene).tags["governance.status"].startswith("candidate since")
