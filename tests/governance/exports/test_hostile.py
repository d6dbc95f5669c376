"""Any text, in policies or in evidence itself: every format stays readable by its own tool, and
means the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from governance.attest.predicates import Scan, Train
from governance.exports.catalog import export
from governance.exports.formats.croissant import datasets
from governance.exports.formats.cyclonedx import bom
from governance.exports.formats.model_card import model_card
from governance.exports.records import Records
from governance.log.evidence import Evidence
from governance.log.views import EvidenceView
from tests.conftest import examples
from tests.governance.exports.cards import body, read, shape
from tests.governance.exports.told import HOSTILE, carded
from tests.governance.exports.tools import bom_error, croissant_dataset
from tests.governance.story import every_text

ANY = st.text(st.characters(codec=None), min_size=1, max_size=60) | st.just(HOSTILE)
FEW = examples(20)


class Said(EvidenceView):
    """A view of evidence whose scans and trainings say `text` wherever a text may stand."""

    def __init__(self, view: EvidenceView, text: str) -> None:
        super().__init__(self)
        self.view, self.text = view, text

    def about(self, sha256: str) -> list[Evidence]:
        return [self._said(item) for item in self.view.by_subject(sha256)]

    def of_kind(self, kind: str | None) -> list[Evidence]:
        return [self._said(item) for item in self.view.all(kind)]

    def rules_at(self, index: int) -> int:
        return self.view.rules_at(index)

    def _said(self, item: Evidence) -> Evidence:
        return replace(
            item, predicate=item.predicate.model_copy(update=self._fields(item.predicate))
        )

    def _fields(self, said: Any) -> dict[str, Any]:
        text = self.text
        if isinstance(said, Scan):
            counts = said.counts.model_copy(update={"excluded": {text: 2}})
            named = {
                "found": {text: 3},
                "remaining": {text: 1},
                "actions": {text: text},
                "entities_searched": [text],
            }
            return {
                **named,
                "cannot_find": [text],
                "languages": [text],
                "engine": {text: text},
                "counts": counts,
            }
        if isinstance(said, Train):
            environment = said.environment.model_copy(
                update={"versions": {text: text}, "python": text}
            )
            return {
                "parameters": {text: {text: text}},
                "device": text,
                "final": {text: 1.0},
                "environment": environment,
            }
        return {}


def saying(records: Records, text: str) -> Records:
    """The version with this text in its evidence and on every datacard."""
    told = carded(
        records, title=text, steward=text, origin=text, licence=text, labelling=text, notes=text
    )
    return replace(told, facts=replace(told.facts, view=Said(told.facts.view, text)))


def visible(value: Any) -> bool:
    return all(text.isprintable() for text in every_text(value))


def test_the_text_is_really_told(plain: Records) -> None:
    told = saying(plain, "needle")
    assert model_card(told).count("needle") > 4
    assert bom(told).count(b"needle") > 20
    assert all(data.count(b"needle") > 10 for _, data in datasets(told))


@pytest.mark.slow
@given(ANY)
@FEW
def test_the_page_has_the_same_elements(plain: Records, text: str) -> None:
    told, calm = saying(plain, text), saying(plain, "x")
    assert shape(body(told)) == shape(body(calm))
    assert read(model_card(told)).data.to_dict() == read(model_card(calm)).data.to_dict()
    assert model_card(told).replace("\n", "").isprintable()


@given(ANY)
@FEW
def test_the_bill_of_materials_stays_valid(plain: Records, text: str) -> None:
    data = bom(saying(plain, text)).decode()
    assert bom_error(data) is None
    assert visible(json.loads(data))


@given(ANY)
@FEW
def test_every_statement_stays_one(plain: Records, text: str) -> None:
    for one in export(saying(plain, text), ["slsa-provenance", "slsa-vsa", "test-result"]).values():
        for document in one.documents:
            parsed = json_format.Parse(document.data.decode(), statement_pb2.Statement())
            Statement.copy_from_pb(parsed).validate()
            assert visible(json.loads(document.data))


@pytest.mark.parametrize(
    "text", [HOSTILE, "@id", "http://evil.example/", "rai:dataBiases", "\x00", "\u2028"]
)
def test_croissant_documents_stay_datasets(plain: Records, text: str) -> None:
    for _, data in datasets(saying(plain, text)):
        document = json.loads(data)
        assert croissant_dataset(document).metadata.ctx.issues.errors == set()
        assert visible(document)
