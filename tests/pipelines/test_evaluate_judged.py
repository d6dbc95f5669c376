"""A judge compares the answers of two models, through the real stages: without a card that passes,
no figure is shown anywhere.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Evaluate, JudgeCard
from governance.attest.requests import judge_digest
from governance.log.evidence import Evidence
from tests.conftest import ROOT
from tests.pipelines.generation.asking import model
from tests.pipelines.generation.desk import (
    ANSWERS,
    CONSTITUTION,
    LABELLED,
    PAIRS,
    permit,
    preferred,
)
from tests.pipelines.generation.peer import peer, said
from tests.project import Project, write_yaml

ROW, SUITE = "sft_wins", "desk_wins"
ITEMS = 24
ANYTHING = {
    "kappa": -1, "below_people": 2, "consistent": 0, "longer": 1, "lists": 1, "follows_user": 1,
    "attacks": 1, "own_family": 1, "fewest": 1,
}  # fmt: skip
"""Limits that a model of eight training steps meets."""


@pytest.fixture(scope="module")
def judged(before_registering: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, whose model is compared with its parent by itself; policy requires it."""
    project = before_registering.copy(tmp_path_factory.mktemp("judged"))
    project.edit("params.yaml", _add_rows)
    project.edit("policies/evaluation.yaml", _require)
    folder = project.root / "policies" / "constitutions"
    folder.mkdir()
    write_yaml(folder / "support-desk.yaml", CONSTITUTION)
    card = ROOT / "policies" / "datacards" / f"{LABELLED}.yaml"
    shutil.copy(card, project.root / "policies" / "datacards")
    project.commit("a judged suite")
    for stage in ("sample", "ingest", "scan_pii", "check_quality"):
        run(project, stage, LABELLED)
    return project


def _add_rows(params: dict[str, Any]) -> None:
    params["samples"][LABELLED] = {"part": "preferences_held_out", "n": 60, "seed": 14}
    params["datasets"][LABELLED] = PAIRS
    params["judges"] = {
        "desk_judge": {
            "judge": "sft", "constitution": "support-desk", "labelled": LABELLED,
            "limit": 20, "probes": 4,
        }
    }  # fmt: skip
    params["judged"] = {
        ROW: {
            "model": "sft", "suite": SUITE, "prompts": "desk_eval", "opponent": "base",
            "judge": "desk_judge", "limit": ITEMS, "max_new_tokens": 8, "seed": 3,
        }
    }  # fmt: skip


def _require(policy: dict[str, Any]) -> None:
    why, policy["minimum_items"] = "only what is released is compared", ITEMS
    policy["suites"][SUITE] = {
        "role": "task",
        "required_of": ["support-desk"],
        "methods": {
            **{method: {"none": why} for method in ("base", "pretrain")},
            "sft": {
                "thresholds": {"win_rate": {"at_least": 0.0}},
            },
        },
    }


def run(project: Project, *stage: str) -> str:
    done = project.countersign("stage", *stage)
    assert done.code == 0, done.out
    return done.out


def scored(project: Project) -> Evidence[Evaluate]:
    found = [
        each
        for each in project.evidence("evaluate")
        if each.predicate.stage == f"evaluate_judged@{ROW}"
    ]
    return found[-1]


def figures(text: str) -> list[str]:
    """Lines that name the metric with a figure."""
    return re.findall(r"win_rate.*\d\.\d{3}", text)


@pytest.mark.slow
def test_a_judged_suite_decides_and_is_shown_only_with_a_judge_that_passes(
    judged: Project,
) -> None:
    project = judged
    early = project.countersign("stage", "evaluate_judged", ROW)
    assert early.code == 3 and "judges/desk_judge/card.json" in early.out
    failed = run(project, "check_judge", "desk_judge")
    assert "JUDGE_FAILED" in failed
    said = run(project, "evaluate_judged", ROW)
    assert "not shown: JUDGE_FAILED" in said and "0." not in said
    first = scored(project)
    by = first.predicate.judged_by
    (card,) = project.evidence("judge_card")
    checked: JudgeCard = card.predicate
    assert by is not None and judge_digest(by.judge) == checked.judge
    wins = first.predicate.scores["win_rate"]
    assert len(wins) == len(by.lengths) == ITEMS and set(wins) <= {0.0, 0.5, 1.0, None}
    counted = by.consistent + by.inconsistent + by.equal + by.no_verdict
    assert (by.opponent_name, by.prompts, counted) == ("base", "desk_eval", ITEMS)
    folder = project.root / "evaluations" / "sft" / ROW
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(json.loads(before["metrics.json"])) == {
        "items", "consistent", "inconsistent", "equal", "no_verdict",
    }  # fmt: skip
    lines = [json.loads(line) for line in before["scores.jsonl"].splitlines()]
    assert [line["win_rate"] for line in lines] == wins
    assert [line["length"] for line in lines] == by.lengths

    refused = project.countersign("stage", "register", "support-desk")
    assert refused.code == 4 and "JUDGE_FAILED" in refused.out
    assert f"model sft on {SUITE}" in refused.out and figures(refused.out) == []

    def lenient(policy: dict[str, Any]) -> None:
        policy["judges"] = ANYTHING

    project.edit("policies/evaluation.yaml", lenient)
    project.commit("any judge passes")
    assert "win_rate " in run(project, "evaluate_judged", ROW)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = scored(project)  # an entry of its own: policies and commit are others
    assert again.predicate.scores == first.predicate.scores
    registered = run(project, "register", "support-desk")
    (registration,) = project.evidence("registration")
    (further,) = registration.predicate.further
    assert (further.stage, further.name, further.judge) == (
        f"evaluate_judged@{ROW}", SUITE, checked.judge,
    )  # fmt: skip
    assert further.digest == first.predicate.suite and registered
    chain = {link.sha256 for link in registration.predicate.chain}
    assert {again.digest, card.digest} <= chain
    shown = project.countersign("show", "support-desk/1", "evaluation")
    assert figures(shown.out), shown.out

    def strict(policy: dict[str, Any]) -> None:
        del policy["judges"]

    project.edit("policies/evaluation.yaml", strict)
    project.commit("the default limits")
    assert "JUDGE_FAILED" in project.countersign("stage", "register", "support-desk").out
    shown = project.countersign("show", "support-desk/1", "evaluation")
    assert "not shown: JUDGE_FAILED" in shown.out and figures(shown.out) == [], shown.out
    exported = project.countersign("export", "support-desk/1", "test-result", "--output", "made")
    assert exported.code == 0, exported.out
    texts = [path.read_text() for path in (project.root / "made").rglob("*") if path.is_file()]
    told = [text for text in texts if SUITE in text]
    assert told and all("not shown: JUDGE_FAILED" in text for text in told)

    project.edit("policies/constitutions/support-desk.yaml", lambda made: made.update(title="B"))
    other = project.countersign("stage", "evaluate_judged", ROW)
    assert other.code == 3 and "the card is that of another judge" in other.out


USAGE = {"total_tokens": 7, "completion_tokens": 1}


def _choosing(chosen: set[str]) -> Any:
    """A judge that decides labelled pairs as people did, and of other answers takes the one that
    comes later in the alphabet. It counts its tokens.
    """

    def choose(question: str) -> str:
        first, second = ANSWERS.findall(question)[:2]
        worth = [(text in chosen) + any(one in text for one in chosen) for text in (first, second)]
        if any(worth):
            return "A" if worth[0] > worth[1] else "B"
        return "A" if first > second else "B"

    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        reply = json.loads(said(model(body, choose)))
        return 200, {}, json.dumps({**reply, "usage": USAGE}).encode()

    return answer


@pytest.mark.nightly
def test_an_endpoint_judges_where_policy_permits_it_and_its_replies_are_kept(
    judged: Project, tmp_path: Path
) -> None:
    project = judged.copy(tmp_path)

    def elsewhere(params: dict[str, Any]) -> None:
        row = params["judges"]["desk_judge"]
        row |= {"endpoint": "frontier", "limit": 60, "probes": 50, "max_new_tokens": 8}

    project.edit("params.yaml", elsewhere)
    with peer(_choosing(preferred(project))) as server:
        permit(project, server.uri)
        project.commit("an endpoint as judge")
        assert "the judge passes" in run(project, "check_judge", "desk_judge")
        asked = len(server.asked)
        permit(project, server.uri, "confidential")
        refused = project.countersign("stage", "evaluate_judged", ROW)
        assert refused.code == 4 and "ENDPOINT_NOT_PERMITTED" in refused.out
        assert "sft learned from" in refused.out and len(server.asked) == asked
        permit(project, server.uri)
        assert "win_rate 0." in run(project, "evaluate_judged", ROW)
        assert len(server.asked) > asked
    first = scored(project)
    by = first.predicate.judged_by
    assert by is not None and by.judge.kind == "endpoint" and by.name == "m at frontier"
    asked_twice = 2 * (by.consistent + by.inconsistent)
    assert by.replies is not None and by.tokens == 7 * asked_twice and by.inconsistent == 0
    assert by.cost is not None and by.cost.requests == asked_twice
    assert (by.cost.tokens, by.cost.written) == (by.tokens, asked_twice)
    assert by.cost.currency is None, "policy has no price"
    (card,) = project.evidence("judge_card")
    assert card.predicate.cost is not None and card.predicate.cost.tokens == 7 * asked
    scores = project.root / "evaluations" / "sft" / ROW / "scores.jsonl"
    before = scores.read_bytes()
    scores.unlink()
    run(project, "evaluate_judged", ROW)  # nobody answers any more
    assert scores.read_bytes() == before and scored(project).index == first.index
