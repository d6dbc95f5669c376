"""Each finding code of a gate or release belongs to a row of page one, or is named here."""

from __future__ import annotations

from governance.attest.codes import CODES
from governance.report.gates import FAILING_CODES, SCORE_CODES

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
