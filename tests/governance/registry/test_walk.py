"""docs/registry.md and docs/people.md, followed word by word: from an empty log to a champion, with a
whole run of the pipeline through the server.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.governance.registry.walk import Walk, following, steps
from tests.postgres import Cluster
from tests.project import Project, fresh


def test_the_section_names_whom_it_needs() -> None:
    """Who does what, in this order: a page with fewer blocks would test less."""
    order = [who for who, _ in steps()]
    assert order == [
        "each person", "server", "ci", "ada", "ada", "server", "server", "each person", "ben",
        "dora", "ci", "ada", "ben", "server", "cleo",
    ]  # fmt: skip


def one_stage(folder: Path) -> Project:
    """The small project, which releases its first stage."""
    project = fresh(folder)

    def fewer(params: dict[str, object]) -> None:
        params["project"] = "support-desk"
        params["stages"] = {"base": params["stages"]["base"]}  # type: ignore[index]
        params["releases"] = {"support-desk": {"stage": "base"}}

    project.edit("params.yaml", fewer)
    project.commit("one stage")
    return project


LOAD = """
export MLFLOW_TRACKING_URI=$COUNTERSIGN_LOG
export MLFLOW_TRACKING_USERNAME=$COUNTERSIGN_USER MLFLOW_TRACKING_PASSWORD=$COUNTERSIGN_PASSWORD
python -c '
import mlflow
pipe = mlflow.transformers.load_model("models:/support-desk@candidate")
print("loaded:", pipe("hello", max_new_tokens=2)[0]["generated_text"])
'
"""
"""As docs/registry.md loads a version in MLflow."""


def followed(folder: Path, database: str = "") -> None:
    walk = Walk(folder, one_stage(folder / "server"), database)
    with following(walk):
        (released,) = (text for _, lines, text in walk.said if "countersign promote" in lines)
        assert "support-desk/1 is now champion" in released and "EVIDENCE VERIFIES" in released
        live = json.loads(walk.run("cleo", "countersign live support-desk --json"))["live"]
        assert {row["alias"]: row["version"] for row in live} == {"candidate": "1", "champion": "1"}
        assert "loaded: hello" in walk.run("cleo", LOAD)
        history = walk.run("ben", "countersign history support-desk")
        assert re.search(r"promote candidate.* ci\b", history), history
        told = walk.run("ci", "COUNTERSIGN_USER=ben countersign plan", code=2)
        assert "may not write to experiment 1 and registered_model support-desk" in told
        assert "the server takes what ci signs from no other account" in told


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.long
def test_the_pages_lead_to_a_champion(tmp_path: Path) -> None:
    followed(tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
def test_the_pages_lead_to_a_champion_on_postgresql(tmp_path: Path, cluster: Cluster) -> None:
    followed(tmp_path, cluster.database())
