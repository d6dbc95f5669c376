"""Training data is compared with every suite and task, and the files of tasks are scanned: gate,
registration, promotion, both verifiers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Artifact, Finding, Promotion, Scan
from governance.attest.requests import FurtherSuite, asked_of_gate
from governance.gates.checks import suites
from governance.gates.decisions import decide_automatic, decide_gate
from governance.log.rules import CURRENT
from governance.release import promotion
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, digest

UNCHECKED, UNSCANNED = "HELD_OUT_UNCHECKED", "TASK_NOT_SCANNED"
LATER = {"name": "safety", "records": digest("scanned safety"), "split": "test"}
TASK = {"name": "aqua", "records": digest("tasks/aqua"), "split": "task", "harness": "lm-eval"}


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    """`base` was trained on desk_text, `sft` on desk_sft; both are evaluated on desk_eval."""
    return governed(tmp_path)


def at_gate(scene: Governed, *further: dict[str, str]) -> list[Finding]:
    """What the gate of `sft` finds, in a project with further suites and tasks."""
    now = promotion.state(scene.story.log)
    (gate,) = [one for one in now.evidence.all("gate") if one.predicate.stage == "gate@sft"]
    asked = asked_of_gate(gate.predicate)
    content = asked.model_dump()
    content["compared"] = [*content["compared"], *further]
    decided = decide_gate(
        type(asked).model_validate(content), now.authority.policies, now.evidence, scene.now,
        authority=now.authority, governed=True,
    )  # fmt: skip
    return list(decided.findings)


def at_promotion(scene: Governed, version: str = "2") -> list[Finding]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, version, "champion")
    return list(decide_automatic(request, now.evidence, scene.now, now.authority).findings)


def checked_again(scene: Governed, *compared: dict[str, str]) -> None:
    """The same records of both datasets, compared with these beside; nothing else changed."""
    story = scene.story
    for statement in promotion.state(story.log).evidence.all("quality"):
        said: dict[str, Any] = statement.predicate.model_dump(mode="json")
        if not said.get("compared"):
            continue
        said["compared"] = [*said["compared"], *compared]
        stage, read = said.pop("stage"), said.pop("inputs")
        common = ("environment", "run", "parameters", "log", "requested_by")
        fields = {name: value for name, value in said.items() if name not in common}
        read = [Artifact.model_validate(each) for each in read]
        story.record("quality", stage, list(statement.subjects), read, **fields)


def scanned(scene: Governed, **said: Any) -> None:
    """A scan of the task's files, as that of a dataset but for what is given."""
    story = scene.story
    scan = promotion.state(story.log).evidence.all(Scan)[-1].predicate
    names = (
        "languages",
        "engine",
        "entities_searched",
        "cannot_find",
        "actions",
        "counts",
    )
    fields = {name: getattr(scan, name) for name in names}
    about = [Artifact(role="task", name="tasks/aqua", sha256=TASK["records"])]
    story.record(
        "scan", "scan_task@sft_aqua", about, about,
        **{**fields, "dataset": "aqua", "passed": True, "found": {}, "remaining": {}, "config": story.policies.pii_digest, **said},
    )  # fmt: skip


def evaluated_on(scene: Governed, suite: dict[str, str]) -> None:
    """Another version of the same model, which is evaluated on a suite or task beside its own."""
    story = scene.story
    row = FurtherSuite(
        row=f"sft_{suite['name']}", digest=digest(f"suite {suite['name']}"),
        **(suite if "harness" in suite else {**suite, "records": digest("ready safety")}),
    )  # fmt: skip
    if "harness" not in suite:
        story.records["safety"] = row.records
    story.evaluate_further("sft", suite["name"], {"greedy_exact": [1.0] * 300})
    story.further["sft"] = [row]
    story.register("sft", "2")


def test_a_suite_that_is_added_later_is_refused_until_the_data_is_checked_again(
    scene: Governed,
) -> None:
    assert at_gate(scene) == []
    (found,) = at_gate(scene, LATER)
    assert (found.code, found.subject) == (UNCHECKED, "dataset desk_sft")
    assert found.figures == [f"safety {LATER['records']}"]
    assert found.next == "countersign repro check_quality@desk_sft"
    checked_again(scene, LATER)
    assert at_gate(scene, LATER) == at_gate(scene) == []


@pytest.mark.parametrize(
    "change", [{"records": digest("other items")}, {"split": "validation"}, {"harness": "lm-eval"}]
)
def test_what_was_compared_is_known_by_its_digest_and_split(
    scene: Governed, change: dict[str, str]
) -> None:
    checked_again(scene, LATER)
    assert UNCHECKED in {each.code for each in at_gate(scene, {**LATER, **change})}
    assert at_gate(scene, {**LATER, "name": "renamed"}) == []


def test_a_comparison_that_was_made_counts_although_a_later_check_lacks_it(
    scene: Governed,
) -> None:
    """A suite was replaced: what was trained before was compared with the one of its time."""
    checked_again(scene, LATER)
    other = {**LATER, "records": digest("scanned safety, second edition")}
    checked_again(scene, other)
    assert at_gate(scene, LATER) == at_gate(scene, other) == []


@pytest.mark.parametrize("suite", [LATER, TASK], ids=["suite", "task"])
def test_a_version_that_is_evaluated_on_more_than_was_compared_is_refused(
    scene: Governed, suite: dict[str, str]
) -> None:
    """At registration and promotion: each training behind it counts."""
    scanned(scene)
    evaluated_on(scene, suite)
    last = promotion.state(scene.story.log).evidence.all(Promotion)[-1].predicate
    assert last.alias == "candidate"
    for findings in (last.findings, at_promotion(scene)):
        found = [each for each in findings if each.code == UNCHECKED]
        assert [each.subject for each in found] == ["dataset desk_sft", "dataset desk_text"]


def test_files_of_a_task_that_were_not_searched_are_said_plainly(scene: Governed) -> None:
    checked_again(scene, TASK)
    (found,) = at_gate(scene, TASK)
    assert (found.code, found.subject) == (UNSCANNED, "task aqua")
    scanned(scene, passed=False)
    assert [each.code for each in at_gate(scene, TASK)] == [UNSCANNED]
    scanned(scene)
    assert at_gate(scene, TASK) == []


def test_a_scan_of_a_task_counts_under_the_policy_in_force_and_while_its_allowances_last(
    scene: Governed,
) -> None:
    checked_again(scene, TASK)
    scanned(scene, config=digest("another policy"))
    assert [each.code for each in at_gate(scene, TASK)] == [UNSCANNED]
    entry = {"entry": 1, "entity": "PHONE_NUMBER", "until": "2020-01-01", "findings": 2}
    scanned(scene, allowances=[entry])
    assert [each.code for each in at_gate(scene, TASK)] == ["ALLOWANCE_ENDED"]


def test_under_earlier_rules_and_in_older_requests_nothing_is_demanded(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated_on(scene, LATER)
    monkeypatch.setattr(suites, "COMPARES_SUITES", CURRENT + 1)
    assert at_gate(scene, LATER, TASK) == []
    assert UNCHECKED not in {each.code for each in at_promotion(scene)}
