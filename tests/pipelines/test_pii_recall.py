"""Recall and precision on labelled public sets: the figures in docs/pii.md are those of the shipped
policy.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.pii_recall import Figures, Label, measure, tables
from benchmarks.pii_unseen import disguises, unseen
from pipelines.params import load_params
from pipelines.pii import recall as planting
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.search import Search
from tests.conftest import ROOT
from tests.pipelines.policies import pii, shipped_pii
from tests.pipelines.tables import ingested


@pytest.mark.slow
@pytest.mark.nightly
def test_the_figures_in_the_documentation_are_those_measured(public_data: Path) -> None:
    page = (ROOT / "docs" / "pii.md").read_text(encoding="utf-8")
    measured = tables(public_data, shipped_pii())
    assert page.split("<!-- python -m benchmarks.pii_recall -->")[1].strip() == measured


@pytest.mark.slow
def test_the_figures_of_unseen_text_in_the_documentation_are_those_measured() -> None:
    page, policy = (ROOT / "docs" / "pii.md").read_text(encoding="utf-8"), shipped_pii()
    _, shown, _ = re.split("<!-- (?:end|python -m benchmarks)[.: ]*pii_unseen -->", page)
    with Search(PlainEngine(policy, ROOT), None, b"") as search:
        measured = f"{unseen(search, policy)}\n\n{disguises(search, policy)}"
    assert shown.strip() == measured


FLOORS = {
    "EMAIL_ADDRESS": 1.0,
    "CREDIT_CARD": 1.0,
    "US_SSN": 1.0,
    "IP_ADDRESS": 1.0,
    "PHONE_NUMBER": 0.5,
    "PERSON": 0.8,
}


def test_recall_does_not_fall(public_data: Path, tmp_path: Path) -> None:
    (tmp_path / "presidio_research").mkdir()
    small = (public_data / "presidio_research" / "generated_small.json").read_bytes()
    (tmp_path / "presidio_research" / "generated_small.json").write_bytes(small)
    figures = measure(tmp_path, shipped_pii())["presidio_research"]
    recall = {name: figures.found[name] / figures.labels[name] for name in FLOORS}
    assert all(recall[name] >= floor for name, floor in FLOORS.items()), recall


def test_what_counts_as_found_covered_and_right() -> None:
    text = "mail a@b.com or +1 (212) 555-0188 now"
    labels = [Label(5, 12, "EMAIL_ADDRESS"), Label(16, 33, "PHONE_NUMBER"), Label(34, 37, "PERSON")]
    spans = (
        Span(5, 12, "EMAIL_ADDRESS", 1.0),
        Span(19, 33, "PHONE_NUMBER", 0.4),
        Span(0, 4, "PERSON", 0.5),
    )
    figures = Figures()
    figures.add(text, labels, spans, pii())
    assert figures.found == {"EMAIL_ADDRESS": 1, "PHONE_NUMBER": 1, "PERSON": 0}
    assert figures.covered == {
        "EMAIL_ADDRESS": 1,
        "PHONE_NUMBER": 1,
        "PERSON": 0,
    }, "a country code may stay"
    assert (figures.findings["PERSON"], figures.right["PERSON"]) == (1, 0)
    allowed = Figures()
    may_stay = pii(entities={"EMAIL_ADDRESS": {"action": "allow", "reason": "published"}})
    allowed.add(text, labels, spans, may_stay)
    assert allowed.covered["EMAIL_ADDRESS"] == 0


@pytest.mark.slow
def test_the_figures_of_planted_values_in_the_documentation_are_those_measured(
    tmp_path: Path,
) -> None:
    page = (ROOT / "docs" / "pii.md").read_text(encoding="utf-8")
    params, policy = load_params(ROOT), shipped_pii()
    records = ingested(params, "desk_sft", tmp_path)
    with Search(PlainEngine(policy, ROOT), None, b"") as search:
        measured = planting.measure([records], records.num_rows, "conversation", policy, search)
    rows: dict[str, set[str]] = {}
    (table,) = re.findall(r"\| found of 25 \|.*?\n\n", page, re.DOTALL)
    for number, kinds in re.findall(r"(?m)^\| (all|\d+) \| (.*) \|$", table):
        rows[number] = set(
            re.findall(
                r"[A-Z]+_[A-Z_]+|CRYPTO|URL|UUID|PERSON|PASSWORD|LOCATION|ORGANIZATION", kinds
            )
        )
    found: dict[str, set[str]] = {}
    for name, one in measured.entities.items():
        found.setdefault("all" if one.found == one.planted else str(one.found), set()).add(name)
    assert rows == found
