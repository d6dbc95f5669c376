"""The model card: read as Hugging Face reads it, and text in it stays text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.base.yaml import parse_yaml
from governance.exports.formats.model_card import metadata, model_card
from governance.exports.records import Records
from governance.exports.text import line, markdown, yaml_text
from tests.governance.exports.cards import MARKDOWN, body, read, shape
from tests.governance.exports.told import HOSTILE, PEOPLE, carded, judged_by


def test_hugging_face_reads_the_evaluation_from_it(plain: Records) -> None:
    card = read(model_card(plain))
    results = {one.metric_type: one for one in card.data.eval_results}
    assert results["greedy_exact"].metric_value == pytest.approx(0.97)
    assert results["greedy_exact"].dataset_type == "desk_eval"
    assert results["greedy_exact"].dataset_revision == plain.facts.suites[0].digest
    assert card.data.model_name == plain.name
    assert card.data.pipeline_tag == "text-generation"


def test_what_no_record_gives_is_left_out_of_the_metadata_and_said_in_words(plain: Records) -> None:
    text = model_card(plain)
    assert not {"license", "datasets", "language"} & set(metadata(plain))
    assert "verified:" not in text.partition("\n---\n")[0]
    assert "| Licence of the model | not recorded" in text
    assert "- energy: not measured" in text


def test_it_is_short(plain: Records, released: Records) -> None:
    """Under 900 words, the metadata included."""
    assert max(len(model_card(records).split()) for records in (plain, released)) < 900


def test_use_is_what_policy_says_and_nothing_else(plain: Records, released: Records) -> None:
    text = model_card(plain)
    assert "Intended purpose: customer-support." in text
    assert "- any purpose other than customer-support" in text
    assert "- serving users: the verdict is PENDING" in text
    assert "serving users" not in model_card(released) and "| APPROVED |" in model_card(released)


def test_a_dataset_that_may_not_leave_a_region_or_serve_the_purpose_is_a_limit(
    plain: Records,
) -> None:
    text = model_card(carded(plain, regions=["EU"], purposes=["research"]))
    assert r"- processing dataset desk\_sft outside EU" in text
    assert r"- customer-support: dataset desk\_sft permits research" in text


def test_a_blank_card_says_so(plain: Records) -> None:
    text = model_card(carded(plain, origin="", licence="", labelling="", lawful_basis=None))
    rows = [one for one in text.splitlines() if one.startswith(r"| desk\_sft |")]
    assert rows[0].count("| not stated |") == 1 and "not stated | not stated" in rows[0]
    assert r"- Origin of desk\_text, desk\_sft, desk\_eval: not stated" in text


def test_it_begins_with_what_it_is_and_names_the_worst_slice(plain: Records) -> None:
    text = model_card(plain)
    begins = (
        r"A model for customer-support, made from tiny by pretrain on desk\_text, then sft on"
        r" desk\_sft."
    )
    assert f"# {plain.name}\n\n{begins}\n" in text
    assert (
        r"- greedy\_exact on desk\_eval: worst of 2 slices by language: language=de 0.850" in text
    )
    assert "results by slice" not in text and "none to none" not in text


def test_a_threshold_that_is_not_met_is_a_limit(plain: Records) -> None:
    policies = plain.facts.policies
    assert policies is not None
    stricter = policies.evaluation.model_dump()
    stricter["suites"]["desk_eval"]["methods"]["sft"]["thresholds"]["greedy_exact"]["at_least"] = (
        0.99
    )
    changed = replace(policies, evaluation=type(policies.evaluation).model_validate(stricter))
    text = model_card(replace(plain, facts=judged_by(plain.facts, changed)))
    assert re.search(r"- greedy\\_exact at least 0\.99 .* not met; the result is 0\.970", text)


def test_without_policies_it_says_why_and_claims_no_use(plain: Records) -> None:
    facts = judged_by(plain.facts, None, "not recorded here: for a test")
    text = model_card(replace(plain, facts=facts))
    assert "No intended use is stated: not recorded here: for a test." in text
    assert "- any use" in text


def test_what_the_search_cannot_find_is_a_limit(plain: Records) -> None:
    (told,) = [one for one in model_card(plain).splitlines() if "cannot find" in one]
    assert told == "- the search for personal data cannot find: names that are on no list"


def test_waivers_are_told_without_the_words_or_name_of_who_accepted(released: Records) -> None:
    text = model_card(released)
    row = next(one for one in text.splitlines() if one.startswith(r"| PII\_REMAINING"))
    assert "risk" in row and "somebody looks" in row and "in force" in row
    assert "said so" not in text


def test_nobody_is_named(released: Records) -> None:
    assert not [name for name in PEOPLE if re.search(rf"\b{name}\b", model_card(released))]


def test_a_hostile_card_adds_nothing_to_the_page(plain: Records) -> None:
    hostile = carded(
        plain, title=HOSTILE, steward=HOSTILE, origin=HOSTILE, licence=HOSTILE, labelling=HOSTILE
    )
    calm = carded(plain, title="x", steward="x", origin="x", licence="x", labelling="x")
    assert shape(body(hostile)) == shape(body(calm))
    assert read(model_card(hostile)).data.to_dict() == read(model_card(calm)).data.to_dict()
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2028\u2029\ud800-\udfff]",
        model_card(hostile),
    )


ANY = st.text(st.characters(codec=None), max_size=120) | st.text(
    "-=+*_#|<>[]()`~!&$@:\\ \n\r\t.0123456789ab", max_size=60
)


@given(ANY)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_one_piece_of_text_in_a_paragraph_and_in_a_table(text: str) -> None:
    told = markdown(text)
    (outer,) = [token for token in MARKDOWN.parse(f"- {told}") if token.type == "inline"]
    assert outer.children is not None
    assert {child.type for child in outer.children} <= {"text", "text_special"}
    assert "".join(child.content for child in outer.children) == (line(text) or "not stated")
    assert shape(f"| a | b |\n|---|---|\n| {told} | x |") == shape(
        "| a | b |\n|---|---|\n| x | x |"
    )


@given(ANY, ANY)
@settings(deadline=None)
def test_any_text_is_one_value_of_the_metadata(key: str, text: str) -> None:
    told = yaml_text({"model-index": [{"name": text}], f"x{key}": text})
    assert parse_yaml(told, "front matter") == {
        "model-index": [{"name": line(text)}],
        line(f"x{key}"): line(text),
    }
    assert not re.search(r"^---", told, re.MULTILINE)
