"""Numbers within decimals, DOIs and ISBNs are no cards or social security numbers; others are."""

from __future__ import annotations

import pytest

from pipelines.pii.engine import PlainEngine
from pipelines.pii.search import Search
from tests.conftest import ROOT
from tests.pipelines.policies import pii


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("the value is 0.4111111111111111 and so on", set()),
        ("doi 10.1016/j.cell.2021.4111111111111111 is cited", set()),
        ("ISBN 536-22-12345 and ISBN-10: 0-306-40615-2", set()),
        ("978-3-16-148410-0 is a book", set()),
        ("She earns 200 - 40 - 60 - 20 = <<200-40-60-20=80>>80.", set()),
        ("260 - 24 - 63 kids - 25 kids = <<260-24-63-25=148>>148", set()),
        ("SSN 536-22-8726 = hers", {"NATIONAL_ID", "US_SSN"}),
        ("card 4111111111111111.", {"CREDIT_CARD"}),
        ("ISBN 978-3-16-148410-0, card 4111 1111 1111 1111", {"CREDIT_CARD"}),
    ],
)
def test_only_numbers_within_something_else_are_left_out(text: str, entities: set[str]) -> None:
    with Search(PlainEngine(pii(), ROOT), None, b"") as search:
        (found,) = search.find([text])
    assert {one.entity for one in found.spans} - {"URL"} == entities
