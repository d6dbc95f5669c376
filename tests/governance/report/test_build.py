"""The report of a version: what it says of a good story, and what it says when one thing in it is
spoiled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.findings import finding
from governance.attest.predicates import Train
from governance.base.errors import CountersignError, InputError
from governance.history.verify import TrustAnchors
from governance.policy.authority import _policies_in
from governance.policy.policies import load_policies
from governance.report import sections
from governance.report.build import build, latest
from governance.report.html import differs, json_twin, page, write
from governance.report.model.report import Report
from governance.report.training import against_kl, along_training, read_curves, shown_along
from tests.governance.examples import every_kind
from tests.governance.report.fields import NOT_STATED
from tests.governance.story import MODEL, Story, altered, begin, every_text


@pytest.fixture(scope="module")
def report(shared: Story) -> Report:
    return build(shared.sources, MODEL, "1")


def gate(report: Report, name: str) -> tuple[str, str]:
    row = next(row for row in report.gates if row.name == name)
    return row.result, row.value


def notices(report: Report) -> set[str]:
    return {notice.code for notice in report.exceptions}


def reasons(report: Report) -> list[str]:
    return [one.code for one in report.verdict.reasons]


def test_the_verdict_is_pending_where_all_is_well_and_nobody_approved(report: Report) -> None:
    assert report.verdict.word == "PENDING"
    assert reasons(report) == ["PASSED_THEN_AND_NOW", "TESTING_ONLY"]
    assert [row.result for row in report.gates] == [
        "pass", "pass", "pass", "not run", "pass", "no threshold", "not run", "pass",
    ]  # fmt: skip
    assert len(report.gates) <= 8
    assert report.separation.state == "not shown"


def test_exceptions_are_told(report: Report) -> None:
    assert {
        "DEVELOPMENT_KEYS",
        "DEVELOPMENT_RECORD_KEY",
        "NAMES_BY_LIST",
        "RECORDS_LEFT_OUT",
        "NOT_RUN",
        "REQUESTER_NOT_AUTHENTICATED",
    } == notices(report)


def test_required_records_say_what_is_missing(report: Report) -> None:
    lines = [line[2:] for line in sections.text(report, "records")]
    names = (
        "Dataset versions",
        "Model version",
        "Hyperparameters",
        "Evaluation",
        "Approval owner",
        "Deployment date",
        "Rollback path",
        "Incidents",
    )
    found = {name: line for name in names for line in lines if line.startswith(name)}
    said = {name: line[len(name) :].strip() for name, line in found.items()}
    assert said["Approval owner"] == "not done; needs: approval by 2 people in different roles"
    assert said["Deployment date"] == "not deployed"
    assert said["Rollback path"].startswith("none: there is no earlier version")
    assert said["Incidents"] == "0 recorded, 0 open"


def test_nothing_is_blank(report: Report) -> None:
    allowed_empty = {"ids_note", "curves_note", "card_note", "beyond_raters", *NOT_STATED}
    blank = [
        name
        for name, value in _fields(report.model_dump())
        if value == "" and name not in allowed_empty
    ]
    assert blank == []


def _fields(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _fields(item, str(key))]
    if isinstance(value, list):
        return [pair for item in value for pair in _fields(item, name)]
    return [(name, value)]


def test_data_is_followed_from_source_to_use(report: Report) -> None:
    sets = {item.name: item for item in report.datasets}
    assert set(sets) == {"desk_text", "desk_sft", "desk_eval"}
    assert sets["desk_eval"].used_by == ["evaluate@base", "evaluate@sft"]
    steps = sets["desk_sft"].steps
    assert [(step.records_in, step.records_out) for step in steps] == [
        (2910, 2907),
        (2907, 2905),
        (2905, 2900),
    ]
    reasons = [
        (item.reason, item.records, len(item.ids)) for step in steps for item in step.excluded
    ]
    assert reasons == [("FIELD_MISSING", 3, 3), ("PII_DROPPED", 2, 0), ("DUPLICATE", 5, 0)]
    assert all(len(part) == 12 for part in steps[0].excluded[0].ids)
    assert sets["desk_sft"].card["licence"] == "Apache-2.0"


def test_scores_have_intervals_differences_and_thresholds_fixed_before(report: Report) -> None:
    metric = next(metric for metric in report.metrics if metric.name == "greedy_exact")
    assert [(score.model, score.relation) for score in metric.scores] == [
        ("tiny", "base; not run"),
        ("base", "parent"),
        ("sft", "this version"),
    ]
    ours = metric.scores[-1]
    assert ours.low is not None and ours.mean is not None and ours.high is not None
    assert ours.low < ours.mean < ours.high
    assert metric.at_least == 0.9
    assert metric.differences[-1].words == "higher (the interval excludes zero)"
    assert report.thresholds_fixed.startswith("yes: policies")


def test_lineage_names_everything_behind_the_version(report: Report) -> None:
    assert {(node.kind, node.label) for node in report.nodes} == {
        ("base", "tiny"), ("stage", "base"), ("stage", "sft"), ("release", "support-desk/1"),
        ("dataset", "desk_text"), ("dataset", "desk_sft"), ("dataset", "desk_eval"),
        ("source", "desk_text"), ("source", "desk_sft"), ("source", "desk_eval"),
    }  # fmt: skip
    ids = {node.id for node in report.nodes}
    assert all({edge.start, edge.end} <= ids for edge in report.edges)
    slots = [node.row for node in report.nodes if node.kind == "dataset"]
    assert len(set(slots)) == len(slots)


def test_every_reference_is_in_the_index_with_its_digest(shared: Story, report: Report) -> None:
    indexed = {item.index: item.digest for item in report.evidence}
    logged = {item.index: item.digest for item in shared.view.all()}
    named = {
        value
        for name, value in _fields(report.model_dump())
        if name.endswith("evidence") and isinstance(value, int)
    }
    assert named <= indexed.keys()
    assert indexed.items() <= logged.items()


def test_the_same_log_gives_the_same_bytes(shared: Story) -> None:
    first, again = (build(shared.sources, MODEL, "1") for _ in range(2))
    assert page(first) == page(again)
    twin = json_twin(first)
    assert canonical.loads(twin)["model"] == MODEL
    assert sha256_bytes(twin) in page(first).decode()


def test_the_newest_version_is_found_and_an_unknown_one_is_not(shared: Story) -> None:
    assert latest(shared.sources) == (MODEL, "1")
    with pytest.raises(InputError, match="no version 9 of support-desk"):
        build(shared.sources, MODEL, "9")


def test_an_empty_log_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is registered yet"):
        latest(begin(tmp_path).sources)


def test_a_second_version_is_compared_with_the_first(story: Story) -> None:
    story.data("desk_pref", "preference", "preference", 480)
    story.train("dpo", "dpo", "preference", "desk_pref", "sft", accuracy=0.98, unsafe=0.01)
    story.register("dpo", "2")
    report = build(story.sources, MODEL, "2")
    changed = {change.what: (change.before, change.now) for change in report.changes}
    assert report.change_since.startswith("version 1")
    assert changed["greedy_exact on desk_eval"] == ("0.970", "0.980")
    assert changed["dpo: learning_rate"] == ("none", "0.01")
    assert "sft: learning_rate" not in changed
    assert report.way_back.target.startswith("version 1")
    assert gate(report, "Safety")[0] == "pass"


def test_a_changed_byte_overrides_everything(story: Story) -> None:
    altered(story.log, 7)
    report = build(story.sources, MODEL, "1")
    assert report.verdict.word == "EVIDENCE DOES NOT VERIFY"
    assert "entry 7" in report.integrity.first_broken
    assert report.gates == [] and report.datasets == [] and report.evidence == []
    assert b"EVIDENCE DOES NOT VERIFY" in page(report)


def _refused(story: Story) -> None:
    story.promote("sft", "1", [finding("THRESHOLD_NOT_MET", "model sft", "it scores too low")])


def _worse_now(story: Story) -> None:
    story.evaluate("sft", 0.5)


def _not_promotable(story: Story) -> None:
    path = story.root / "policies" / "policy.yaml"
    path.write_text(
        path.read_text().replace("promotable: true", "promotable: false"), encoding="utf-8"
    )
    _under_new_policies(story)


def _card_gone(story: Story) -> None:
    (story.root / "policies" / "datacards" / "desk_sft.yaml").unlink()
    _under_new_policies(story)


def _under_new_policies(story: Story) -> None:
    from governance.machine.machine import open_log

    story.policies = load_policies(story.root / "policies")
    story.log = open_log(story.machine, story.policies, story.now)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_refused, "REFUSED_THEN"),
        (_worse_now, "REFUSED_NOW"),
        (_not_promotable, "NOT_PROMOTABLE"),
        (_card_gone, "REFUSED_NOW"),
    ],
)
def test_what_is_spoiled_is_not_approved(
    story: Story, spoil: Callable[[Story], None], reason: str
) -> None:
    spoil(story)
    report = build(story.sources, MODEL, "1")
    assert report.verdict.word == "NOT APPROVED"
    assert reason in reasons(report)


def test_an_earlier_refusal_is_listed(story: Story) -> None:
    _refused(story)
    story.promote("sft", "1")
    report = build(story.sources, MODEL, "1")
    assert report.verdict.word == "PENDING"
    assert [
        item.answer for item in report.decisions if item.what == "May it become candidate?"
    ] == [
        "allowed",
        "refused",
        "allowed",
    ]


@pytest.mark.parametrize(
    ("name", "found", "put", "told"),
    [
        ("evaluation.yaml", "minimum_items: 50", "minimum_items: 40", "no: "),
        ("policy.yaml", "max_share: 0.05", "max_share: 0.04", "yes: policies "),
    ],
    ids=["thresholds", "something else"],
)
def test_thresholds_set_after_the_run_are_told(
    story: Story, name: str, found: str, put: str, told: str
) -> None:
    path = story.root / "policies" / name
    path.write_text(path.read_text().replace(found, put), encoding="utf-8")
    _under_new_policies(story)
    made = build(story.sources, MODEL, "1").thresholds_fixed
    assert made.startswith(told) and story.policies.digest[:12] in made


def test_uncommitted_code_is_an_exception(tmp_path: Path) -> None:
    story = begin(tmp_path)
    story.dirty = True
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny")
    story.register("base", "1")
    report = build(story.sources, MODEL, "1")
    assert "UNCOMMITTED_CODE" in notices(report)
    assert report.trainings[0].train.code.dirty
    assert "with changes that are not committed" in page(report).decode()


def test_the_log_carries_the_policies_it_is_judged_by(story: Story) -> None:
    """Whatever stands in the folder: a report on another machine says the same."""
    usual = page(build(story.sources, MODEL, "1"))
    unreadable = replace(story.sources, policies=CountersignError("cannot be read"))
    assert page(build(unreadable, MODEL, "1")) == usual
    path = story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text() + "# another byte\n", encoding="utf-8")
    edited = replace(story.sources, policies=load_policies(story.root / "policies"))
    assert page(build(edited, MODEL, "1")) == usual
    assert build(edited, MODEL, "1").policy.which.startswith(
        "the policies last recorded in the log"
    )


@pytest.mark.parametrize("broken", ["missing", "changed"])
def test_policies_that_are_not_those_recorded_are_not_used(
    story: Story,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A log of before 0.2 names its policies by digest only."""
    monkeypatch.setattr("governance.policy.authority.files_digest", lambda files: "another digest")
    _policies_in.cache_clear()
    request.addfinalizer(_policies_in.cache_clear)
    sources = story.sources
    if broken == "missing":
        sources = replace(sources, policies=CountersignError("cannot be read"))
    else:
        path = story.root / "policies" / "policy.yaml"
        path.write_text(path.read_text() + "# another byte\n", encoding="utf-8")
        sources = replace(sources, policies=load_policies(story.root / "policies"))
    report = build(sources, MODEL, "1")
    assert report.datasets[0].card == {}
    assert report.datasets[0].card_note.startswith("not recorded here")
    assert gate(report, "Evaluation")[0] == "no threshold"
    assert "POLICIES_NOT_AVAILABLE" in notices(report)
    assert b"not recorded here" in page(report)


def test_files_at_hand_with_other_bytes_are_not_used(story: Story) -> None:
    (story.root / "reports/curves/sft.csv").write_text("step,loss\n1,0\n2,0\n", encoding="utf-8")
    (story.root / "data/ingested/desk_sft/excluded.jsonl").write_text("", encoding="utf-8")
    (story.root / "reports/curves/base.csv").unlink()
    report = build(story.sources, MODEL, "1")
    notes = {item.stage: item.curves_note for item in report.trainings}
    assert notes["sft"].startswith("not used:") and notes["base"].startswith("not at hand")
    left_out = (
        next(item for item in report.datasets if item.name == "desk_sft").steps[0].excluded[0]
    )
    assert left_out.ids == [] and left_out.ids_note.startswith("not used:")


def test_another_machine_sees_that_the_origin_is_not_established(story: Story) -> None:
    report = build(replace(story.sources, anchors=TrustAnchors()), MODEL, "1")
    assert "ORIGIN_NOT_ESTABLISHED" in notices(report)
    assert "not established" in report.integrity.origin


def test_curves_leave_out_what_is_no_number(tmp_path: Path) -> None:
    lines = ["step,loss,reward,note"] + [
        f"{i},{1 / (i + 1)},{'nan' if i else 1},x" for i in range(1000)
    ]
    (tmp_path / "c.csv").write_text("\n".join(lines), encoding="utf-8")
    curves = read_curves(tmp_path / "c.csv")
    assert [curve.name for curve in curves] == ["loss"]
    assert curves[0].points[0] == (0.0, 1.0) and curves[0].points[-1][0] == 999.0
    assert len(curves[0].points) <= 120


def test_files_are_written_whole_and_compared(report: Report, tmp_path: Path) -> None:
    made = {f"{MODEL}-1.json": json_twin(report), f"{MODEL}-1.html": page(report)}
    assert differs(tmp_path, made)
    paths = write(tmp_path / "deep" / "er", made)
    assert [path.name for path in paths] == ["support-desk-1.json", "support-desk-1.html"]
    assert not differs(tmp_path / "deep" / "er", made)
    assert json.loads(paths[0].read_bytes())["verdict"]["word"] == "PENDING"


def test_no_text_of_a_record_or_key_gets_in(shared: Story, report: Report) -> None:
    texts = "\n".join(every_text(report.model_dump()))
    assert "PRIVATE KEY" not in texts and str(shared.root) not in texts


def test_a_clone_without_the_data_still_has_its_report(story: Story) -> None:
    shutil.rmtree(story.root / "data")
    shutil.rmtree(story.root / "models")
    report = build(story.sources, MODEL, "1")
    assert report.verdict.word == "PENDING"
    assert report.datasets[0].steps[0].excluded[0].ids_note.startswith("not at hand")


def _train(looks: list[int], *, kl: bool = True) -> Train:
    """A training of 40 steps whose curve has a point every second step."""
    scored = [{"step": at, "scores": {"exact": {"mean": at / 100, "error": 0.0}}} for at in looks]
    seen = {"suite": "eval", "items": 9, "count": len(looks), "points": scored}
    points = [
        {"step": at, "reward": at / 10, **({"kl": at / 1000} if kl else {})}
        for at in range(2, 41, 2)
    ]
    statement = every_kind()["train"].model_dump(mode="json")
    return Train.model_validate({**statement, "curve": points, "looks": seen if looks else None})


def test_a_training_is_shown_by_its_divergence() -> None:
    rows = along_training(_train([5, 6, 39]))
    assert [row.step for row in rows] == [*range(2, 41, 2)]
    assert {row.step: row.scores for row in rows if row.scores} == {
        6: {"exact": 0.06},
        40: {"exact": 0.39},
    }
    reward, exact = against_kl(rows)
    assert (reward.name, reward.points[0]) == ("reward", (0.002, 0.2))
    assert (exact.name, exact.points) == ("exact", [(0.006, 0.06), (0.04, 0.39)])
    assert [row.step for row in shown_along(rows)] == [6, 40]


def test_a_training_without_looks_or_divergence_is_shown_by_some_steps() -> None:
    rows = along_training(_train([], kl=False))
    assert against_kl(rows) == []
    assert [row.step for row in shown_along(rows)] == [*range(4, 41, 4)]
    assert shown_along([]) == []
