"""The PII engine: what it finds, that it asks no network and no torch, and that nothing unsearched
passes for clean.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError
from governance.policy.data import PiiPolicy
from pipelines.pii.engine import OVERLAP, WINDOW, PlainEngine, Unscanned, cannot_find
from tests.conftest import ROOT
from tests.pipelines.pii.models import spacy_model
from tests.pipelines.policies import pii, shipped_pii


@pytest.fixture(scope="module")
def engine() -> PlainEngine:
    return PlainEngine(shipped_pii(), ROOT)


def found(engine: PlainEngine, text: str) -> set[tuple[str, str]]:
    return {(one.entity, text[one.start : one.end]) for one in engine.find(text)}


FINDS = [
    ("Write to anna.weber@example.com.", ("EMAIL_ADDRESS", "anna.weber@example.com")),
    ("Call me at +44 20 7946 0123.", ("PHONE_NUMBER", "+44 20 7946 0123")),
    ("My number is (415) 555-2671.", ("PHONE_NUMBER", "(415) 555-2671")),
    ("I paid with 4111 1111 1111 1111.", ("CREDIT_CARD", "4111 1111 1111 1111")),
    ("I paid from DE89370400440532013000.", ("IBAN_CODE", "DE89370400440532013000")),
    ("It is at 192.0.2.17.", ("IP_ADDRESS", "192.0.2.17")),
    ("My SSN is 536-22-1234.", ("US_SSN", "536-22-1234")),
    ("Ask for Mrs. Anna Weber.", ("PERSON", "Anna Weber")),
    ("JAMES MILLER said so", ("PERSON", "JAMES MILLER")),
    ("Ask Dr. Wijtze, he knows.", ("PERSON", "Wijtze")),
    ("token ghp_" + "a1B2" * 9, ("API_KEY", "ghp_" + "a1B2" * 9)),
    (
        "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
        ("PRIVATE_KEY", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    ),
    ('db_password = "Tr0ub4dor&3"', ("PASSWORD", 'db_password = "Tr0ub4dor&3')),
]


@pytest.mark.parametrize(("text", "expected"), FINDS, ids=[entity for _, (entity, _) in FINDS])
def test_what_is_found(engine: PlainEngine, text: str, expected: tuple[str, str]) -> None:
    assert expected in found(engine, text)


@pytest.mark.parametrize(
    "text",
    [
        "Hello. My router drops off the network every hour.",
        "It clicks without end. team: repair; priority: p4; fix: clean fan",
        "Will you go in May? Turn the page.",
        "There are 48 clips, 24 in April and 72 altogether.",
        "Please enter your password: it is required.",
        "4111 1111 1111 1112 fails its checksum",
    ],
)
def test_what_is_not_found(engine: PlainEngine, text: str) -> None:
    assert found(engine, text) == set()


def test_a_word_nearby_raises_the_score(engine: PlainEngine) -> None:
    assert found(engine, "the plate says H12234567 in blue") == set()
    assert ("US_DRIVER_LICENSE", "H12234567") in found(engine, "my driver license is H12234567")


@pytest.mark.slow
def test_the_engine_imports_no_torch_and_asks_no_network() -> None:
    script = """
import socket, sys
def refuse(*args, **more): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from pathlib import Path
from pipelines.pii.engine import PlainEngine
from tests.pipelines.policies import shipped_pii
spans = PlainEngine(shipped_pii(), Path(".")).find("mail anna@example.co.uk and call +44 20 7946 0123")
assert {one.entity for one in spans} >= {"EMAIL_ADDRESS", "PHONE_NUMBER"}, spans
heavy = {"torch", "transformers", "tensorflow", "stanza"} & {name for name, module in sys.modules.items() if module}
assert not heavy, heavy
import importlib.util
assert importlib.util.find_spec("torch"), "what was hidden while Presidio was imported is there again"
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_thresholds_by_entity_and_by_recognizer() -> None:
    text = "Call me at +44 20 7946 0123."
    strict = {"entities": {"PHONE_NUMBER": {"action": "redact", "threshold": 0.9}}}
    assert "PHONE_NUMBER" in {one.entity for one in PlainEngine(pii(), ROOT).find(text)}
    assert "PHONE_NUMBER" not in {one.entity for one in PlainEngine(pii(**strict), ROOT).find(text)}
    by_recognizer = pii(recognizer_thresholds={"PhoneRecognizer": 0.9})
    assert "PHONE_NUMBER" not in {one.entity for one in PlainEngine(by_recognizer, ROOT).find(text)}


def test_recognizers_are_switched_on_and_off_by_policy() -> None:
    assert "UK_NINO" in PlainEngine(pii(enabled_recognizers=["UkNinoRecognizer"]), ROOT).entities
    assert "URL" not in PlainEngine(pii(disabled_recognizers=["UrlRecognizer"]), ROOT).entities
    with pytest.raises(ConfigError, match="UrlRecogniser"):
        PlainEngine(pii(disabled_recognizers=["UrlRecogniser"]), ROOT)


def test_several_languages_are_searched_together() -> None:
    engine = PlainEngine(pii(languages=["en", "es"]), ROOT)
    assert {"ES_NIF", "US_SSN"} <= set(engine.entities)
    for text in ("Mi NIF es 55555555K, gracias", "My Spanish number is 55555555K, thank you"):
        assert ("ES_NIF", "55555555K") in found(engine, text)
    assert ("EMAIL_ADDRESS", "a@example.com") in found(engine, "mail a@example.com")


def test_long_text_is_searched_to_the_end_and_across_windows(engine: PlainEngine) -> None:
    address = "anna.weber@example.com"
    places = [10, WINDOW - 8, 2 * (WINDOW - OVERLAP) + OVERLAP - 8, 3 * WINDOW]
    text = "word " * (4 * WINDOW // 5)
    for place in places:
        text = f"{text[:place]} {address} {text[place + len(address) + 2 :]}"
    spans = [one for one in engine.find(text) if one.entity == "EMAIL_ADDRESS"]
    assert [one.start for one in spans] == [place + 1 for place in places]


def test_a_pattern_that_times_out_is_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {
        "name": "slow",
        "entity": "SLOW",
        "patterns": [{"name": "slow", "regex": r"(?:x+x+)+y"}],
    }
    engine = PlainEngine(pii(recognizers=[slow]), ROOT)
    monkeypatch.setattr("presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS", 0.05)
    with pytest.raises(Unscanned, match="took longer"):
        engine.find("x" * 5000 + "z")
    assert engine.find("nothing here") == []


def test_a_recognizer_that_fails_does_not_quote_the_text(
    engine: PlainEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Did not find word 'anna@example.com'")

    monkeypatch.setattr(engine.analyzer, "analyze", fail)
    with pytest.raises(Unscanned) as caught:
        engine.find("anna@example.com")
    assert "anna" not in str(caught.value) and "ValueError" in str(caught.value)


def test_the_digest_follows_what_can_change_findings_and_nothing_else() -> None:
    def digest(policy: PiiPolicy) -> str:
        return PlainEngine(policy, ROOT).digest

    base = digest(pii())
    assert digest(pii(entities={"US_SSN": {"action": "drop"}})) == base
    assert digest(pii(threshold=0.5)) != base
    assert digest(pii(phone_regions=["US"])) != base
    assert digest(pii(disabled_recognizers=["UrlRecognizer"])) != base


# --- a real model ---------------------------------------------------------------------------------


def test_a_spacy_model_finds_names_by_one_line_of_policy(tmp_path: Path) -> None:
    spacy_model(tmp_path / "ner")
    engine = PlainEngine(pii(ner="spacy:ner"), tmp_path)
    text = "Ask Zorblax Quux, or mail z@example.com, driver license H12234567."
    assert ("PERSON", "Zorblax Quux") in found(engine, text)
    assert {"EMAIL_ADDRESS", "US_DRIVER_LICENSE"} <= {entity for entity, _ in found(engine, text)}
    assert ("PERSON", "John Smith") in found(engine, "Ask John Smith.")


def test_another_model_is_another_digest(tmp_path: Path) -> None:
    folder = spacy_model(tmp_path / "ner")
    before = PlainEngine(pii(ner="spacy:ner"), tmp_path)
    (folder / "note.txt").write_text("other")
    after = PlainEngine(pii(ner="spacy:ner"), tmp_path)
    assert before.describe["ner_sha256"] != after.describe["ner_sha256"]
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("ner", "message"),
    [
        ("spacy:nowhere", "no model 'nowhere'"),
        ("transformers:nowhere", "no model 'nowhere'"),
        ("transformers:pickled", "no safetensors weights"),
    ],
)
def test_a_model_that_is_not_there_or_pickled_is_refused(
    tmp_path: Path, ner: str, message: str
) -> None:
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match=message):
        PlainEngine(pii(ner=ner), tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_transformers_model_is_loaded_from_a_local_folder(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast
folder = Path(sys.argv[1]) / "ner"
folder.mkdir()
(folder / "vocab.txt").write_text("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ask", "for", "anna"]))
BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                    id2label={0: "B-PER"}, label2id={"B-PER": 0}, num_labels=1)
BertForTokenClassification(config).save_pretrained(folder)
from pipelines.pii.engine import PlainEngine
from tests.pipelines.policies import pii
engine = PlainEngine(pii(ner="transformers:ner"), Path(sys.argv[1]))
assert "PERSON" in {one.entity for one in engine.find("ask for anna")}, engine.find("ask for anna")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_report_says_what_the_name_list_cannot_find() -> None:
    by_list, by_model = cannot_find(pii()), cannot_find(pii(ner="spacy:x"))
    assert any("names of people" in line for line in by_list)
    assert not any("names of people" in line for line in by_model)


def test_the_report_names_every_recognizer_that_is_off() -> None:
    def off(**more: Any) -> str:
        (line,) = [
            one
            for one in cannot_find(pii(**more))
            if one.startswith("kinds whose recognizers are off")
        ]
        return line

    assert "UkNino" in off() and "DeTaxId" in off() and "EsNif" in off()
    assert "CreditCard" not in off() and "HuggingFaceNer" not in off()
    assert "UkNino" not in off(enabled_recognizers=["UkNinoRecognizer"])
    assert "EsNif" not in off(languages=["en", "es"]) and "DeTaxId" in off(languages=["de"])
    assert "CreditCard" in off(disabled_recognizers=["CreditCardRecognizer"])
    searched = {one.name.removesuffix("Recognizer") for one in PlainEngine(pii(), ROOT).recognizers}
    assert not searched & set(off().partition(": ")[2].split(", "))
