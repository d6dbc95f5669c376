"""The training content summary: filled from records; what is not recorded stays open."""

from __future__ import annotations

from governance.exports.formats.training_summary import OPEN, training_summary
from governance.exports.records import Records
from tests.governance.exports.cards import shape
from tests.governance.exports.told import HOSTILE, PEOPLE, carded


def test_training_data_is_in_it_and_evaluation_data_is_not(plain: Records) -> None:
    text = training_summary(plain)
    digests = {chain.dataset: chain.sha256 for chain, _ in plain.facts.datasets}
    assert digests["desk_text"] in text and digests["desk_sft"] in text
    assert digests["desk_eval"] not in text
    assert "8800 training records" in text


def test_blanks_stay_open(plain: Records) -> None:
    filled = training_summary(plain).count(OPEN)
    blank = carded(plain, origin="", licence="", labelling="", lawful_basis=None)
    assert training_summary(blank).count(OPEN) == filled + 2 * 4


def test_text_of_a_datacard_stays_text_and_nobody_is_named(released: Records) -> None:
    hostile = carded(released, title=HOSTILE, origin=HOSTILE, licence=HOSTILE, labelling=HOSTILE)
    calm = carded(released, title="x", origin="x", licence="x", labelling="x")
    assert shape(training_summary(hostile)) == shape(training_summary(calm))
    assert not {name for name in PEOPLE if name in training_summary(released).split()}
