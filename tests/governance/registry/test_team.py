"""A whole run and its release over a governed server, every command from a machine that has no
database.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.governance.registry.team import Team, begun, serving
from tests.postgres import Cluster

pytestmark = pytest.mark.slow

MODEL = "support-desk"
V1, V2 = f"{MODEL}/1", f"{MODEL}/2"


def released(team: Team) -> None:
    """Ingest to report by the pipeline, then people: refused, approved, promoted."""
    assert "cleo has not authorized this run" in team.says(
        "repro", "--dry", "sample@desk_eval", on=team.ci
    )
    team.says("authorize", "--hours", "8", "--yes", who="cleo")
    stranger = replace(
        team.ci, environ={**team.ci.environ, "COUNTERSIGN_PASSWORD": "a wrong one, quite"}
    )
    assert "COUNTERSIGN_PASSWORD" in team.says("repro", on=stranger, code=2)
    told = team.says("repro", on=team.ci)
    assert "has not authorized" not in told and f"next: countersign review {V1}" in told
    assert f"{V1}" in team.says("status", on=team.ci)
    told = team.says("promote", V1, "--yes", who="cleo", code=4)
    assert (
        "APPROVAL_MISSING" in told
        and "missing   the packet: 2 of ada as ml-lead, ben as risk" in told
    )
    team.approve(V1)
    assert f"{V1} is now champion" in team.says("promote", V1, "--yes", who="cleo")
    assert "SAME RESULT" in team.says("explain", V1)
    told = team.says("verify")
    assert told.startswith("EVIDENCE VERIFIES"), told


@pytest.mark.long
@pytest.mark.nightly
def test_a_run_and_a_release(tmp_path: Path) -> None:
    """With a second version, and back."""
    team = begun(tmp_path)
    with serving(team) as server:
        released(team)
        reproduced(team)
        another(team)
        back(team)
        told(team)
        verified(team)
        assert server.process.poll() is None


@pytest.mark.nightly
def test_a_run_and_a_release_on_postgresql(tmp_path: Path, cluster: Cluster) -> None:
    team = begun(tmp_path, cluster.database())
    with serving(team):
        released(team)


def reproduced(team: Team) -> None:
    assert "the same bytes" in team.says("reproduce", "sft", on=team.ci)
    team.ci.commit("dvc.lock")
    clone = team.clone()
    assert "no version to go back to" in team.says("drill", MODEL, on=clone, code=4)


def another(team: Team) -> None:
    """Version 2, promoted; the way back is tried from a checkout without any outputs."""
    team.ci.edit(
        "params.yaml", lambda params: params["stages"]["sft"]["trainer"].update(learning_rate=2e-2)
    )
    team.ci.commit("a higher learning rate")
    team.says("repro", on=team.ci)
    team.approve(V2)
    team.says("promote", V2, "--yes", who="cleo")
    said = team.says("drill", MODEL, on=team.clone())
    assert "PASSED" in said and "files" in said


def back(team: Team) -> None:
    """Rolled back; then version 2 retired by two people."""
    said = team.says("rollback", MODEL, "--reason", "it invents prices", "--dry-run", who="cleo")
    assert f"ROLLBACK {V1} as champion" in said and "would be ALLOWED" in said
    team.says("rollback", MODEL, "--reason", "it invents prices", "--yes", who="cleo")
    live = json.loads(team.says("live", MODEL, "--json"))["live"]
    assert {one["alias"]: one["version"] for one in live} == {"candidate": "2", "champion": "1"}
    said = team.says("retire", V1, "--reason", "no longer sold", "--yes", who="cleo", code=4)
    (request,) = set(re.findall(r"countersign approve promotion (\w+)", said))
    team.says("approve", "promotion", request, "--reason", "agreed", "--yes", who="ada")
    team.says("retire", V1, "--reason", "no longer sold", "--yes", who="cleo")
    live = json.loads(team.says("live", MODEL, "--json"))["live"]
    assert [one["alias"] for one in live] == ["candidate"]


def told(team: Team) -> None:
    """Everything that reads, on a person's machine."""
    history = team.says("history", MODEL)
    assert [line for line in history.splitlines() if "retire" in line] and "rollback" in history
    assert "WITHDRAWN" in team.says("report", V1)


def verified(team: Team) -> None:
    """Its evidence, in a file and on each machine."""
    assert "Nobody authenticated" not in team.says("show", V1)
    bundle = team.folder / "one.bundle"
    team.says("bundle", V1, "-o", str(bundle))
    assert "EVIDENCE VERIFIES" in team.says("verify", str(bundle))
    assert "EVIDENCE VERIFIES" in team.says("verify", on=team.ci)
