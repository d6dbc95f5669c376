"""Erased records: data that was ingested without the exclusions trains nothing, and a version that
has seen them gets no alias after the deadline. In the story, `base` was trained on desk_text, `sft`
from it on desk_sft; both are evaluated on desk_eval.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.predicates import Artifact, Erased, Erasure, Finding
from governance.attest.requests import asked_of_gate
from governance.base.time import exact_instant
from governance.gates.decisions import decide_automatic, decide_gate
from governance.history import erasures
from governance.people.pending import pending
from governance.release import promotion, retrospect
from governance.report.front import waiting
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL, digest

Act = Callable[[Governed], object]
ROOT, OTHER = digest("list"), digest("other list")
DATASETS = ("desk_text", "desk_sft", "desk_eval")
DAYS = 30


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    return governed(tmp_path)


def erase(
    scene: Governed,
    root: str = ROOT,
    dataset: str = "desk_sft",
    model: str = "",
    who: str = "ben",
    role: str = "risk",
    reference: str = "DSR-1",
) -> int:
    said = {
        "reference": reference,
        "deadline": exact_instant(scene.now + timedelta(days=DAYS)),
        "by": "subject",
        "exclusions": 1,
        "counts": {"records": 1},
    }
    subjects = [
        Artifact(role=erasures.LIST, name=reference, sha256=root),
        Artifact(role=erasures.DATASET, name=dataset, sha256=scene.story.records[dataset]),
    ]
    if model:
        sha256 = scene.story.models[model]
        subjects.append(Artifact(role=erasures.MODEL, name=f"{MODEL}/1", sha256=sha256))
    predicate = Erasure.model_validate(scene.signed(who, role, **said))
    return scene.say(who, "erasure", subjects, predicate)


def ingested(*roots: str, datasets: tuple[str, ...] = DATASETS) -> Act:
    """The same records were ingested again, with these lists."""

    def act(scene: Governed) -> None:
        for name in datasets:
            (before,) = [
                each
                for each in promotion.state(scene.story.log).evidence.all("ingest")
                if each.predicate.dataset == name and each.predicate.exclusions is None
            ]
            scene.story.record(
                "ingest", f"ingest@{name}", list(before.subjects), list(before.predicate.inputs),
                dataset=name, kind=before.predicate.kind, record_key="development",
                fields_unused={}, counts=before.predicate.counts,
                exclusions={"digest": digest("file"), "count": len(roots), "roots": list(roots)},
            )  # fmt: skip

    return act


def at_gate(scene: Governed, stage: str = "sft") -> list[Finding]:
    now = promotion.state(scene.story.log)
    (gate,) = [one for one in now.evidence.all("gate") if one.predicate.stage == f"gate@{stage}"]
    decided = decide_gate(
        asked_of_gate(gate.predicate), now.authority.policies, now.evidence, scene.now,
        authority=now.authority, governed=True,
    )  # fmt: skip
    return list(decided.findings)


def at_promotion(scene: Governed, days: int = 0) -> list[Finding]:
    now = promotion.state(scene.story.log)
    request = promotion.ask(now, "promote", MODEL, "1", "champion")
    at = scene.now + timedelta(days=days)
    return list(decide_automatic(request, now.evidence, at, now.authority).findings)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(each.code, each.subject.partition(" ")[2]) for each in findings]


USED = "ERASED_DATA_USED"
AT_GATE: dict[str, tuple[list[Act], list[tuple[str, str]]]] = {
    "nothing was erased": ([], []),
    "nobody ingested again": ([erase], [(USED, "desk_sft"), (USED, "desk_eval")]),
    "all ingested again": ([erase, ingested(ROOT)], []),
    "ingested with the list before it was signed": ([ingested(ROOT), erase], []),
    "the suite's data was not": (
        [erase, ingested(ROOT, datasets=("desk_sft",))],
        [(USED, "desk_eval")],
    ),
    "another list was applied": (
        [erase, ingested(OTHER)],
        [(USED, "desk_sft"), (USED, "desk_eval")],
    ),
    "one of two lists was applied": (
        [erase, lambda scene: erase(scene, OTHER, reference="DSR-2"), ingested(ROOT)],
        [(USED, "desk_sft"), (USED, "desk_eval")],
    ),
    "two lists were applied": (
        [erase, lambda scene: erase(scene, OTHER, reference="DSR-2"), ingested(ROOT, OTHER)],
        [],
    ),
    "a later list of the same case replaces the first": (
        [erase, lambda scene: erase(scene, OTHER), ingested(OTHER)],
        [],
    ),
    "the first list of a case that has a later one": (
        [erase, lambda scene: erase(scene, OTHER), ingested(ROOT)],
        [(USED, "desk_sft"), (USED, "desk_eval")],
    ),
    "signed by somebody whose role approves no data": (
        [lambda scene: erase(scene, who="dora", role="engineer")],
        [],
    ),
    "signed under another name": ([lambda scene: erase(scene, who="ben", role="ml-lead")], []),
}


@pytest.mark.parametrize("row", AT_GATE)
def test_data_is_used_only_with_the_exclusions_of_every_erasure(scene: Governed, row: str) -> None:
    acts, expected = AT_GATE[row]
    for act in acts:
        act(scene)
    assert codes(at_gate(scene)) == expected
    assert at_promotion(scene) == []  # trained before


OVERDUE = [("ERASURE_OVERDUE", "support-desk")]
AT_PROMOTION: dict[str, tuple[Act, int, list[tuple[str, str]]]] = {
    "before the deadline": (lambda scene: erase(scene, model="sft"), DAYS - 1, []),
    "after it, the model is named": (
        lambda scene: erase(scene, dataset="desk_eval", model="sft"),
        DAYS + 1,
        OVERDUE,
    ),
    "after it, a parent is named": (
        lambda scene: erase(scene, dataset="desk_eval", model="base"),
        DAYS + 1,
        OVERDUE,
    ),
    "after it, its data is named": (erase, DAYS + 1, OVERDUE),
    "after it, data of a parent is named": (
        lambda scene: erase(scene, dataset="desk_text"),
        DAYS + 1,
        OVERDUE,
    ),
    "after it, it was evaluated on them only": (
        lambda scene: erase(scene, dataset="desk_eval"),
        DAYS + 1,
        [],
    ),
    "after it, signed without a right": (
        lambda scene: erase(scene, who="dora", role="engineer"),
        DAYS + 1,
        [],
    ),
}


@pytest.mark.parametrize("row", AT_PROMOTION)
def test_a_version_that_has_seen_them_gets_no_alias_after_the_deadline(
    scene: Governed, row: str
) -> None:
    act, days, expected = AT_PROMOTION[row]
    act(scene)
    assert codes(at_promotion(scene, days)) == expected


def test_a_live_version_waits_for_a_decision_until_it_is_retired(scene: Governed) -> None:
    scene.released()
    index = erase(scene, model="sft")

    def open_at(days: int) -> list[tuple[str, bool]]:
        now, at = promotion.state(scene.story.log), scene.now + timedelta(days=days)
        waits = [each for each in pending(now, at) if each.reason == "erasure"]
        points = [each for each in waiting(now, at) if each.code == "ERASURE"]
        live = [each for each in retrospect.live(now, MODEL, at) if each.alias == "champion"]
        assert [each.due for each in waits] == [each.due for each in points]
        assert [bool(each.erased) for each in live] == [bool(waits)] * len(live)
        assert all("OVERDUE" in each.why for each in waits) == all(each.overdue for each in points)
        return [(each.about, each.overdue) for each in points]

    assert open_at(0) == [("support-desk/1", False)]
    assert open_at(DAYS + 1) == [("support-desk/1", True)]
    request = scene.request("1", action="retire", alias="retired", from_version=None)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1", "retired", action="retire")
    assert open_at(DAYS + 1) == []

    said = {"reference": "DSR-1", "removed": {}, "searched": {}, "found": {}, "not_removed": {}}
    now = promotion.state(scene.story.log)
    assert [each.reason for each in pending(now, scene.now)].count("not_erased") == 1
    (erasure,) = erasures.counted(now.evidence, now.authority)
    assert erasure.index == index
    subject = Artifact(role="erasure", name="DSR-1", sha256=erasure.digest)
    scene.say(
        "ben", "erased", [subject], Erased.model_validate(scene.signed("ben", "risk", **said))
    )
    now = promotion.state(scene.story.log)
    assert "not_erased" not in [each.reason for each in pending(now, scene.now)]
    told = [each.what for each in retrospect.history(now, MODEL)]
    assert told[-1] == "erased DSR-1" and "erasure DSR-1" in told
