"""What the report says of a version in service."""

from __future__ import annotations

from governance.policy.monitoring import MonitoringRules
from governance.report.service import lines
from tests.governance.examples import B
from tests.governance.history.windows import window

RULES = MonitoringRules.model_validate(
    {
        "drift": [
            {"name": "liked", "metric": "preferred", "limit": 0.0, "minimum": 1, "hours": 1},
            {"name": "longer", "metric": "answer_characters", "limit": 0, "minimum": 1, "hours": 1},
        ]
    }
)


def compared(hour: int, won: int, lost: int) -> object:
    counts = {"preferred": won, "not_preferred": lost}
    return window(hour, compared=[{"version": "1", "sha256": B, **counts}], feedback=counts)


def test_personal_data_languages_and_preferences_are_rows() -> None:
    searched = {"answers": 9, "left": 2, "holding": 1, "entities": {"URL": 4}}
    found = [
        compared(0, 90, 10),
        compared(1, 10, 90),
        window(2, searched={**searched, "languages": {"de": 9}}),
    ]
    rows = lines(found, RULES, "support-desk")
    assert rows[3:] == [
        "personal data that may not stay: in 1 of 9 answers searched, 2 more in the sample not searched; found: URL 4",
        "language of these answers: de 9",
        "preferred over version 1: 0.500 of 200 (95% interval 0.431 to 0.569)",
        "drift liked 1: FOUND; preferred changed by 0.800 (limit 0, chance explains 0.356);"
        " at first 0.900 of 100 (95% interval 0.826 to 0.945), of late 0.100 of 100 (95% interval 0.055 to 0.174)",
    ]
    assert lines(found, None, "support-desk") == rows[:6]
    assert lines([], RULES, "support-desk") == []
