"""What people and reasons are called changes nothing but the displayed name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from governance.commands.exit_codes import exit_code
from governance.commands.report import summary
from governance.report import sections, terminal
from governance.report.build import build
from governance.report.html import page
from governance.report.model.front import GateName
from governance.report.model.report import Report
from governance.report.scores import MEANINGS
from pipelines.metrics import METRICS
from tests.conftest import rows
from tests.governance.governed import Governed, authorize, empty, principals
from tests.governance.report.fields import CATALOGUE
from tests.governance.story import MODEL, tell

WORDS = ("brokenshire", "none", "waived", "failed", "E1")
PLAIN = "adalbert"
CODED = ("word", "kind", "code", "result", "state", "did", "answer", "severity", "action", "role")
"""Fields of few values."""


def _world(folder: Path, name: str) -> Governed:
    """A release with a waiver. Whoever asked for the runs has this name, every reason is the name."""
    slug = name.lower()  # no other name is a person's
    scene = empty(folder, people=principals().replace('"dora"', f'"{slug}"'))
    authorize(scene, slug, key="dora")
    tell(scene.story)
    scene.story.evaluate("sft", 0.905)
    named = {"owner": name, "control": name, "reason": name}
    scene.waive("THRESHOLD_NOT_MET", "model sft", **named)
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet, reason=name)
    scene.approve("ben", "risk", packet, reason=name)
    scene.request(reason=name)
    scene.consume()
    return scene


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return build(_world(tmp_path_factory.mktemp("plain"), PLAIN).story.sources, MODEL, "1")


@pytest.fixture(scope="module")
def plain_text(plain: Report) -> dict[str, list[str]]:
    return _text(plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(WORDS, in_ci={"none", "E1"}))
def test_a_name_changes_nothing_but_the_name(
    name: str, plain: Report, plain_text: dict[str, list[str]], tmp_path: Path
) -> None:
    made = build(_world(tmp_path, name).story.sources, MODEL, "1")
    assert made.verdict.word == "APPROVED WITH CONDITIONS" and exit_code(made) == 0
    assert _codes(made.model_dump()) == _codes(plain.model_dump())
    assert _text(made) == plain_text
    assert _html(made) == _html(plain)


def _codes(value: Any) -> Any:
    """Codes, states, numbers and nulls of a report, in its structure."""
    if isinstance(value, dict):
        found = {key: item for key, item in value.items() if key in CODED or not _free(item)}
        return {key: item if key in CODED else _codes(item) for key, item in found.items()}
    return [_codes(item) for item in value if not _free(item)] if isinstance(value, list) else value


def _free(value: Any) -> bool:
    return isinstance(value, str)


def _text(report: Report) -> dict[str, list[str]]:
    """Every section in a terminal, of a page that is made once for all, and what `report` prints."""
    html = page(report).decode()
    found = {name: terminal.section(html, name) for name in sections.SECTIONS}
    found |= {"summary": summary(report, Path("x")).splitlines()}
    found |= {"page": sections.text(report, "page")}
    return {name: [_named(line) for line in lines] for name, lines in found.items()}


def _html(report: Report) -> list[str]:
    """What the page marks as good, bad or missing, in order."""
    return re.findall(r'class="([^"]*)"', page(report).decode())


def _named(line: str) -> str:
    """A line without digests and without any of the names."""
    line = re.sub(r"[0-9a-f]{12,64}|[A-Za-z0-9+/]{43}=", "#", line)
    return re.sub(rf"\b({'|'.join([*WORDS, 'e1', PLAIN])})\b", "NAME", line)


@pytest.mark.slow
@pytest.mark.parametrize("word", WORDS)
def test_every_free_text_may_be_any_word(
    word: str, plain: Report, plain_text: dict[str, list[str]]
) -> None:
    """Model, people, titles, reasons: page, terminal and exit code follow the codes alone."""
    kept = set(_coded(plain.model_dump()))
    made = Report.model_validate(_renamed(plain.model_dump(), kept, word))
    assert made.model == word and exit_code(made) == exit_code(plain)
    found = {name: len(lines) for name, lines in _text(made).items()}
    assert found == {name: len(lines) for name, lines in plain_text.items()}
    assert _html(made) == _html(plain)


def _renamed(value: Any, kept: set[str], word: str) -> Any:
    """Every text but the kept ones is the word. What is not stated stays so."""
    if isinstance(value, dict):
        return {name: _renamed(part, kept, word) for name, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, kept, word) for part in value]
    return word if value and isinstance(value, str) and value not in kept else value


def _coded(value: Any, key: str = "") -> Iterator[str]:
    """Values of coded fields, digests and times."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _coded(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _coded(item, key)
    elif isinstance(value, str):
        fixed = value in get_args(GateName) or key in (
            *CODED,
            *CATALOGUE,
            "group",
            "id",
            "start",
            "end",
            "as_of",
            "at",
        )
        if fixed or re.fullmatch(r"[0-9a-f]{12,64}|\d{4}-\d\d-\d\dT.*Z|\d{5}\.parquet", value):
            yield value


def test_every_metric_has_a_sentence() -> None:
    assert METRICS.keys() <= MEANINGS.keys()
