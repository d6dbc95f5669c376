"""No account without a right changes any answer, over every route of the server: MLflow's and ours.

`hostile` runs the server, and makes random requests as an account without a key, as a person
without a role, and as a person whose role has no part in releases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.governance.server.hostile import HOSTILE
from tests.postgres import Cluster

pytestmark = pytest.mark.slow
STEPS = int(os.environ.get("TESTS_HOSTILE_STEPS", "300"))
REPO = Path(__file__).parents[3]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)]
)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    database = []
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        database = [cluster.database()]
    folder = tmp_path_factory.mktemp("hostile")
    seed = os.environ.get("TESTS_HOSTILE_SEED", "1")
    command = [sys.executable, "-m", "tests.governance.server.hostile", str(folder), seed]
    environ = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [*command, str(STEPS), *database],
        cwd=REPO,
        env=environ,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_requests_reach_the_routes(told: Any) -> None:
    answers = [one.rsplit(" ", 1)[1] for one in told["seen"]]
    assert told["routes"] > 300 and len(answers) > STEPS / 2
    assert told["seen"]["append 200"] and told["seen"]["append 403"]
    assert {"200", "403"} <= set(answers)
    ours = [one for one in told["seen"] if "/countersign/" in one or one.startswith("append")]
    assert ours and not [one for one in ours if one.endswith(" 500")], ours


def test_no_answer_of_others_changes(told: Any) -> None:
    (before, _), (after, _) = told["before"], told["after"]
    assert set(before) == set(after) and "decision" in before
    for name in before:
        assert after[name] == before[name], name


def test_others_requests_read_no_more(told: Any) -> None:
    (_, before), (_, after) = told["before"], told["after"]
    for name in before:
        (cost, statements), (cost_now, statements_now) = before[name], after[name]
        more = {
            statement: (statements.get(statement), number)
            for statement, number in statements_now.items()
            if statements.get(statement) != number
        }
        assert cost_now == cost, (name, more)


def test_limits_of_others_count_nothing(told: Any) -> None:
    before, after = told["limits"]
    assert after == before


def test_only_what_they_may_is_in_the_log(told: Any) -> None:
    assert set(told["appended"]) <= {"refusal", "authorization"}, told["appended"]
    assert told["appended"]["refusal"] <= 32 * len(HOSTILE) * 20
