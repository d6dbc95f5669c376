"""Page one's row "Privacy leakage": figures with intervals, or what was not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.exports.formats import cyclonedx
from governance.report.build import build
from governance.report.html import page
from governance.report.model.front import Gate
from governance.report.model.report import Report
from tests.governance.exports.told import records_of
from tests.governance.gates.leaking import KEEPS, PLANTED, probed
from tests.governance.story import MODEL, Story, begin, tell

LIMITS = "\nleaks: {required_of: [support-desk], extracted: 0, canaries: 4, auc: 0.65}\n"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The same story under policies that limit leaks; read only."""

    def limit(policies: Path) -> None:
        with (policies / "evaluation.yaml").open("a", encoding="utf-8") as file:
            file.write(LIMITS)

    return tell(begin(tmp_path_factory.mktemp("limited"), limit))


def probed_so(shared: Story, folder: Path, found: dict[str, Any] | None) -> Story:
    """Version 9 comes from a training with canaries; `found`: what a probe found."""
    story = shared.copy(folder)
    story.train("sft", "sft", "conversation", "desk_sft", "base", canaries=PLANTED)
    if found is not None:
        story.probe("sft", "desk_sft", found)
    story.register("sft", "9")
    return story


def told(shared: Story, folder: Path, found: dict[str, Any] | None) -> Report:
    return build(probed_so(shared, folder, found).sources, MODEL, "9")


def row(report: Report) -> Gate:
    (found,) = [gate for gate in report.gates if gate.name == "Privacy leakage"]
    return found


def test_without_a_probe_nothing_was_run(shared: Story, tmp_path: Path) -> None:
    found = row(told(shared, tmp_path, None))
    assert (found.result, found.evidence) == ("not run", [])
    assert [one.code for one in found.reasons] == ["LEAKAGE_NOT_TESTED"]


def test_figures_stand_with_intervals_and_what_was_not_measured(
    shared: Story, tmp_path: Path
) -> None:
    report = told(shared, tmp_path, KEEPS)
    found = row(report)
    assert found.result == "no threshold" and len(found.evidence) == 1
    codes = [one.code for one in found.reasons]
    assert codes == ["LEAKED_CANARIES", "LEAKED_MEMBERS", "LEAKS_NOT_MEASURED", "NO_THRESHOLD"]
    canaries, members, missing, _ = found.reasons
    assert canaries.fields["extracted"] == 0 and canaries.fields["count"] == 4
    assert canaries.fields["interval"] == "95% interval 0.000 to 0.490"
    assert members.fields["auc"] == "0.540 (0.505 to 0.575)"
    assert "0.022 of them (0.012 to 0.039)" in str(members.fields["found"])
    assert missing.fields["parts"] == "base (no leak probe)"
    assert "gives away 0 (95% interval" in page(report).decode()
    assert not any("privacy leakage" in str(one.fields.get("tests")) for one in report.exceptions)


def test_a_limit_that_is_not_met_fails_the_row(limited: Story, tmp_path: Path) -> None:
    leaking = probed(canaries={"extracted": 3, "ranks": [1, 1, 1, 90]})
    found = row(told(limited, tmp_path, leaking))
    assert found.result == "fail" and "TRAINING_DATA_LEAKS" in found.codes
    assert found.reasons[0].code == "FINDINGS" and found.threshold
    assert "at most 0 canaries" in found.threshold and "AUC" in found.threshold


def test_a_demand_without_a_probe_fails_the_row(limited: Story, tmp_path: Path) -> None:
    found = row(told(limited, tmp_path, None))
    assert (found.result, found.codes) == ("fail", ["LEAKS_NOT_MEASURED"])


def test_other_documents_say_the_same(shared: Story, tmp_path: Path) -> None:
    records = records_of(probed_so(shared, tmp_path, KEEPS), "9")
    document = cyclonedx.bom(records).decode()
    assert "memorisation of training data: Of 4 secrets" in document and "AUC 0.540" in document
