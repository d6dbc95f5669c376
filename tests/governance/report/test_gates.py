"""Page one's table: the place of each finding code, and the figures of a row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from governance.attest.codes import CODES
from governance.attest.predicates import Planted
from governance.attest.predicates.data import AllowedFindings
from governance.report.gates import (
    FAILING_CODES,
    SCORE_CODES,
    _kept_and_merged,
    _lowest_detection,
)

OF_THE_VERDICT = """
CHECK_CRASHED MODEL_UNKNOWN SUITE_NOT_DECLARED DATACARD_MISSING DATACARD_INCOMPLETE
DATACARD_EXPIRED PURPOSE_NOT_PERMITTED REGION_NOT_PERMITTED CLASSIFICATION_NOT_PERMITTED
LICENCE_NOT_PERMITTED SOURCE_UNPINNED BASE_NOT_ALLOWED OBJECTIVE_UNKNOWN REWARD_NOT_PERMITTED
APPROVAL_MISSING SEPARATE_EVALUATOR ALIAS_NOT_PERMITTED LAWFUL_BASIS_NOT_PERMITTED
"""
"""They answer none of the eight questions. The verdict and the open points show them."""


def test_each_code_of_a_gate_or_release_has_its_place_on_page_one() -> None:
    codes = {code for code, entry in CODES.items() if entry.section == "Gate and release"}
    in_rows = {code for row in FAILING_CODES.values() for code in row.split()} | SCORE_CODES
    of_the_verdict = set(OF_THE_VERDICT.split())
    assert codes <= in_rows | of_the_verdict <= CODES.keys()
    assert not in_rows & of_the_verdict


@pytest.mark.parametrize("found", [(20, 99), (99, 20)])
def test_the_lowest_detection_is_over_all_digests_of_a_dataset(found: tuple[int, int]) -> None:
    facts: Any = SimpleNamespace(policies=None)
    scans: Any = [
        SimpleNamespace(
            dataset="tickets",
            recall=SimpleNamespace(entities={"PERSON": Planted(planted=100, found=number)}),
        )
        for number in found
    ]
    (row,) = _lowest_detection(facts, scans)
    assert (row.fields["found"], row.fields["planted"]) == (20, 100)


def test_the_allow_list_and_merged_records_are_told_where_there_are_any() -> None:
    entry = {"entry": 1, "entity": "PHONE_NUMBER", "findings": 3}
    kept: Any = [AllowedFindings.model_validate({**entry, "until": "2027-01-01"})]
    scans: Any = [
        SimpleNamespace(allowances=kept, merged=2),
        SimpleNamespace(allowances=kept, merged=0),
    ]
    assert [one.text for one in _kept_and_merged(scans)] == [
        "Kept by the allow-list: 6 (entries: 1; first to end: 2027-01-01).",
        "Redaction made 2 records equal to others.",
    ]
    assert not list(_kept_and_merged([SimpleNamespace(allowances=[], merged=0)]))  # type: ignore[list-item]
