"""What decides the findings, told without the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from governance.base.yaml import load_model
from governance.policy.data import EntityPolicy, PatternRecognizer, PiiPolicy
from pipelines.pii.decides import OF_POLICY, inputs_digest

ROOT = Path(__file__).parents[3]
POLICY = load_model(ROOT / "policies/pii.yaml", PiiPolicy)
AFTERWARDS = {"require_ner", "replacement", "allowances", "minimum_recall"}
"""Fields that say what follows from findings."""
OWN = {
    "name": "own-number",
    "entity": "OWN_NUMBER",
    "patterns": [{"name": "own", "regex": r"own-\d+", "score": 0.9}],
}


def test_each_field_of_policy_decides_the_findings_or_what_follows() -> None:
    assert set(PiiPolicy.model_fields) == OF_POLICY | AFTERWARDS | {"entities", "default"}


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.5},
        {"detect_languages": []},
        {"ner": "name-list"},
        {"phone_regions": ["US"]},
        {"recognizers": [PatternRecognizer.model_validate(OWN)]},
        {"disabled_recognizers": ["UrlRecognizer"]},
        {"entities": {"URL": EntityPolicy(action="redact", threshold=0.99)}},
    ],
)
def test_what_changes_the_findings_changes_the_digest(change: dict[str, Any]) -> None:
    changed = POLICY.model_copy(update=change)
    assert inputs_digest(changed, ROOT) != inputs_digest(POLICY, ROOT)


def test_what_is_done_about_findings_does_not_change_it() -> None:
    entities = {
        name: each.model_copy(update={"action": "drop"}) for name, each in POLICY.entities.items()
    }
    changed = POLICY.model_copy(update={"entities": entities, "replacement": "entity"})
    assert inputs_digest(changed, ROOT) == inputs_digest(POLICY, ROOT)
