"""Answers in service are searched as records are: types and counts come back, never text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.pii.answer_search import replies
from tests.conftest import ROOT
from tests.pipelines.policies import shipped_pii

POLICY = shipped_pii().model_copy(update={"ner": "name-list"})
Row = tuple[str, dict[str, int], bool, str]
ROWS: dict[str, Row] = {
    "an address": ("Write to anna@example.org before Monday.", {"EMAIL_ADDRESS": 1}, True, "en"),
    "twice": ("a.b@example.org, or better c.d@example.org", {"EMAIL_ADDRESS": 2}, True, "en"),
    "what may stay": ("The page is https://example.org/help", {"URL": 1}, False, "en"),
    "nothing": ("Ihre Bestellung kommt bald bei Ihnen an.", {}, False, "de"),
    "short": ("ok", {}, False, "und"),
}


def asked(policy: object, *texts: str) -> list[Any]:
    lines = [json.dumps(policy), *map(json.dumps, texts)]
    return [json.loads(line) for line in replies(iter(lines), ROOT)]


def test_types_counts_and_language_come_back() -> None:
    ready, *found = asked(POLICY.model_dump(mode="json"), *(row[0] for row in ROWS.values()))
    assert ready == {}
    assert found == [
        {"entities": entities, "holds": holds, "language": language}
        for _, entities, holds, language in ROWS.values()
    ]


def test_a_policy_that_names_what_is_not_there_is_no_search(tmp_path: Path) -> None:
    policy = POLICY.model_copy(update={"ner": "spacy:nowhere"})
    (reply,) = asked(policy.model_dump(mode="json"), "a")
    assert "nowhere" in reply["problem"]
    assert list(replies(iter([]), tmp_path)) == []
