"""How much a scan finds: what a reader is told, and what of it policy refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from governance.attest.predicates import Planted, Recall
from governance.exports.records import recall_summary
from governance.gates import recall
from governance.policy.data import EntityPolicy, PiiPolicy
from governance.report.build import build
from governance.report.html import page
from governance.report.sections import text
from tests.governance.story import MODEL, Story, digest, told


def measured(**entities: tuple[int, int]) -> Recall:
    found = {
        name: Planted(planted=planted, found=hits) for name, (planted, hits) in entities.items()
    }
    return Recall(seeds=digest("seeds"), texts=10, entities=found)


def policy(**minimum: float) -> PiiPolicy:
    return PiiPolicy(default=EntityPolicy(action="redact"), minimum_recall=minimum)


def test_the_interval_is_wilsons() -> None:
    one = recall.interval(Planted(planted=10, found=9))
    assert (one.n, one.mean, round(one.low, 4), round(one.high, 4)) == (10, 0.9, 0.5958, 0.9821)


def test_more_found_than_planted_is_no_evidence() -> None:
    with pytest.raises(ValidationError, match="more were found"):
        Planted(planted=3, found=4)


def test_what_is_demanded_and_not_measured_is_a_finding_of_its_own() -> None:
    wanted = policy(PERSON=0.2, URL=0.5)
    (none,) = recall.findings("d", None, wanted)
    assert (none.code, none.found) == ("RECALL_NOT_MEASURED", "scanned before recall was measured")
    (some,) = recall.findings("d", measured(URL=(25, 25)), wanted)
    assert (some.code, some.expected) == ("RECALL_NOT_MEASURED", "PERSON: 0.2")
    both = recall.findings("d", measured(URL=(25, 5)), wanted)
    assert [one.code for one in both] == ["RECALL_NOT_MEASURED", "RECALL_TOO_LOW"]


def test_the_lower_end_of_the_interval_decides() -> None:
    assert not list(recall.findings("d", measured(URL=(25, 25)), policy(URL=0.86)))
    (low,) = recall.findings("d", measured(URL=(25, 25)), policy(URL=0.87))
    assert low.found == "URL: 1.000 [0.867, 1.000], n=25"
    assert not list(recall.findings("d", None, policy()))


def test_the_least_of_all_datasets_is_told_and_those_without_are_named() -> None:
    good, poor = measured(URL=(25, 25), PERSON=(25, 20)), measured(URL=(25, 24), PERSON=(25, 10))
    assert (
        recall_summary({"a": good, "b": poor})
        == "recall on made-up values: 0 of 2 kinds all found, least PERSON 0.400 [0.234, 0.593],"
        " n=25 (b)"
    )
    assert recall_summary({"a": good, "b": None}).endswith(
        "(a); not recorded: scanned before recall was measured for b"
    )
    assert recall_summary({"a": None}) == "recall not recorded: scanned before recall was measured"
    assert recall_summary({}) == "recall not recorded: no scan is"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("recall"))


def test_page_one_and_the_section_tell_recall_with_n_and_interval(story: Story) -> None:
    made = build(story.sources, MODEL, "1")
    (row,) = [gate for gate in made.gates if gate.name == "Personal data"]
    assert row.result == "pass" and row.reasons[1].fields == {
        "found": 12,
        "planted": 25,
        "name": "PERSON",
        "dataset": "desk_eval",
        "required": "policy requires 20%",
    }
    lines = "\n".join(text(made, "pii"))
    assert "PERSON | 25 | 12 | 0.480 | 0.300 to 0.665 | 0.2: met" in lines
    assert "400 texts of the dataset" in lines


def test_that_names_are_found_by_a_list_is_told(story: Story) -> None:
    made = build(story.sources, MODEL, "1")
    assert "NAMES_BY_LIST" in [notice.code for notice in made.exceptions]


def test_the_page_has_a_row_where_something_was_missed_and_names_the_rest(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = page(build(story.sources, MODEL, "1")).decode()
    row = (
        '<th scope="row">PERSON</th><td class="num">25</td><td class="num">12</td><td'
        ' class="num">0.480</td>'
    )
    assert f'{row}<td class="num">0.300 to 0.665</td><td>0.2: met</td>' in made
    assert "API_KEY 25 of 25 (at least 0.867), CREDIT_CARD 25 of 25" in made
    monkeypatch.setattr(Story, "recall", lambda self: measured(PERSON=(25, 12), API_KEY=(4, 4)))
    other = story.copy(tmp_path)
    other.data("desk_sft", "conversation", "conversation", 2900)
    few = page(build(other.sources, MODEL, "1")).decode()
    assert '<strong class="broken">0.75: NOT met</strong>' in few, "all of four is not enough"


def test_a_scan_of_before_it_was_measured_says_so_and_is_refused_where_policy_demands_it(
    story: Story, tmp_path: Path
) -> None:
    other = story.copy(tmp_path)
    other.data("desk_sft", "conversation", "conversation", 2900, recall=False)
    made = build(other.sources, MODEL, "1")
    (row,) = [gate for gate in made.gates if gate.name == "Personal data"]
    assert row.result == "fail" and row.codes == ["RECALL_NOT_MEASURED"]
    assert row.reasons[-1].fields == {"datasets": ["desk_sft"]}
    assert "  Detection       not recorded: scanned before recall was measured" in text(made, "pii")


@pytest.mark.parametrize(("more", "count"), [(0.0, 0), (1e-9, 1)])
def test_a_recall_that_is_exactly_the_least_is_enough(more: float, count: int) -> None:
    lower = recall.interval(Planted(planted=25, found=20)).low
    assert len([*recall.findings("d", measured(URL=(25, 20)), policy(URL=lower + more))]) == count
